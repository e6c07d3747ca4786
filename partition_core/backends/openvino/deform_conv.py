"""ONNX's DeformConv for OpenVINO, which has the operator and does not read it from ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from partition_core.backends.openvino.unreported import openvino

_NOTHING = "NullNode"  # what stands for an input that is left out


def reader() -> Any:
    """Return a `Core` that reads DeformConv, too."""
    from openvino.frontend.onnx import ConversionExtension

    core = openvino.Core()
    core.add_extension(ConversionExtension("DeformConv", _converted))
    return core


def _converted(node: Any) -> Any:
    count = node.get_input_size()
    data, weights, offsets, bias, mask = (
        node.get_input(index) if index < count else None for index in range(5)
    )
    pads = node.get_attribute("pads", [0, 0, 0, 0])
    result = openvino.opset8.deformable_convolution(
        data,
        offsets,
        weights,
        node.get_attribute("strides", [1, 1]),
        pads[:2],
        pads[2:],
        node.get_attribute("dilations", [1, 1]),
        mask if _is_given(mask) else None,
        group=node.get_attribute("group", 1),
        deformable_group=node.get_attribute("offset_group", 1),
        # A sample at the edge is interpolated with zeros beyond it.
        bilinear_interpolation_pad=True,
    )
    if _is_given(bias):
        # One for each channel, and the spatial dims behind it.
        column = openvino.opset8.unsqueeze(bias, np.array([1, 2]))
        result = openvino.opset8.add(result, column)
    return result.outputs()


def _is_given(value: Any) -> bool:
    return value is not None and value.get_node().get_type_name() != _NOTHING
