"""Loads a segment's IR as a callable, on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from partition_core.backends.openvino.unreported import openvino
from partition_core.base.arrays import Array
from partition_core.base.errors import Place, RunError, one_of, problem
from partition_core.base.wording import one_line

_RESULT = "/sink_port_0"
_HINT = openvino.properties.hint
_OPTIONS = {
    # A processor with bfloat16 would compute in that otherwise.
    _HINT.inference_precision: openvino.Type.f32,
    _HINT.performance_mode: _HINT.PerformanceMode.LATENCY,
    # What runs beside it would be pinned to the same cores.
    _HINT.enable_cpu_pinning: False,
}
_INTEGER = np.iinfo(np.int32)


class Session:
    """A segment in OpenVINO, called with its inputs by name."""

    def __init__(self, *files: Path, threads: int = 0) -> None:
        where = Place(str(files[0]))
        try:
            model = openvino.Core().read_model(*map(str, files))
            self._request = _compiled(model, threads)
        except Exception as error:  # openvino's exceptions have no common class
            raise RunError.at(where, "OpenVINO cannot load it", one_line(error)) from error
        self.inputs, self.outputs = names_of(model)
        self._types = {
            name: (port.get_element_type().to_dtype(), port.get_partial_shape())
            for name, port in zip(self.inputs, model.inputs, strict=True)
        }
        self._lock = threading.Lock()

    def __call__(self, inputs: Mapping[str, Array], /) -> dict[str, Array]:
        """Return all outputs by name; raises RunError, with OpenVINO's reason if it has one."""
        self._check(inputs)
        with self._lock:
            try:
                for index, name in enumerate(self.inputs):
                    array = np.asarray(inputs[name], order="C")
                    self._request.set_input_tensor(index, openvino.Tensor(array))
                self._request.infer()
                return {
                    name: np.array(self._request.get_output_tensor(index).data)
                    for index, name in enumerate(self.outputs)
                }
            except Exception as error:  # openvino's exceptions have no common class
                what = "it cannot run the segment"
                raise RunError.at("OpenVINO", what, one_line(error)) from error

    def _check(self, inputs: Mapping[str, Array]) -> None:
        RunError.refuse(
            problem(f"input '{name}'", "is missing", one_of(self.inputs))
            for name in self.inputs
            if name not in inputs
        )
        for name, (dtype, dims) in self._types.items():
            array = inputs[name]
            if array.dtype != dtype or not dims.compatible(openvino.PartialShape(array.shape)):
                what = f"it is {array.dtype}[{', '.join(map(str, array.shape))}]"
                raise RunError.at(f"input '{name}'", what, f"expected {dtype}{dims}")
            # OpenVINO computes with int32 on CPUs and cuts off what does not fit.
            if array.dtype.kind in "iu" and array.dtype.itemsize >= 4 and array.size:
                low, high = int(array.min()), int(array.max())
                if low < _INTEGER.min or high > _INTEGER.max:
                    what = f"it has values from {low} to {high}"
                    expected = "OpenVINO computes with int32 on CPUs"
                    raise RunError.at(f"input '{name}'", what, expected)


def names_of(model: openvino.Model) -> tuple[list[str], list[str]]:
    """Return the names of the inputs and of the outputs of a model, as in the ONNX file."""
    inputs = [port.get_node().get_friendly_name() for port in model.inputs]
    results = [port.get_node().get_friendly_name() for port in model.outputs]
    return inputs, [name.removesuffix(_RESULT) for name in results]


def _compiled(model: openvino.Model, threads: int) -> openvino.InferRequest:
    options = {**_OPTIONS, openvino.properties.inference_num_threads: threads}
    return openvino.Core().compile_model(model, "CPU", options).create_infer_request()
