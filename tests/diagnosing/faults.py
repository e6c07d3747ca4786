"""Faults of a converter: each changes the node with a given output, where a model has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

Change = Callable[[onnx.ModelProto, onnx.NodeProto], None]
"""Changes a node of a model, which computes something else then."""

_SWAPPED = {
    "Add": "Sub",
    "AveragePool": "MaxPool",
    "Elu": "Softplus",
    "Exp": "Softplus",
    "Gelu": "Relu",
    "GlobalAveragePool": "GlobalMaxPool",
    "HardSwish": "Relu",
    "LeakyRelu": "Elu",
    "MaxPool": "AveragePool",
    "Mul": "Add",
    "ReduceMean": "ReduceMax",
    "Sigmoid": "HardSigmoid",
    "Softmax": "Sigmoid",
    "Tanh": "Softsign",
}
_ATTRIBUTES: dict[str, dict[str, object]] = {
    "AveragePool": {"count_include_pad": 1},
    "BatchNormalization": {"epsilon": 0.2},
    "Gemm": {"alpha": 1.1},
    "LayerNormalization": {"epsilon": 0.2},
    "LeakyRelu": {"alpha": 0.3},
    "Resize": {"mode": "nearest"},
}
_AXES = {"Softmax": 2}


@dataclass(frozen=True)
class Fault:
    """A change of the node that makes the tensor `output`.

    `with_output` is that of another node, without which the change does not happen: a fusion.
    """

    kind: str
    output: str
    change: Change
    with_output: str = ""

    def __str__(self) -> str:
        return f"{self.kind} of {self.output}"

    def apply(self, model: onnx.ModelProto) -> None:
        """Apply it to a model if that has the node."""
        nodes = {name: node for node in model.graph.node for name in node.output}
        if self.output in nodes and (not self.with_output or self.with_output in nodes):
            self.change(model, nodes[self.output])


def faults_of(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield the faults that fit each node of a model."""
    for node in model.graph.node:
        output = node.output[0]
        if node.op_type in _SWAPPED:
            yield Fault("swapped operator", output, _swap)
        if node.op_type in _ATTRIBUTES:
            yield Fault("changed attribute", output, _set_attribute)
        if node.op_type == "Conv" and any(_pads(node)):
            yield Fault("shifted padding", output, _shift_padding)
        if node.op_type == "Concat":
            yield Fault("swapped inputs", output, _swap_inputs)
        if any(name.startswith("w") for name in node.input) and node.op_type not in (
            *("Reshape", "Resize"),
        ):
            yield Fault("scaled weight", output, _scale_weight)
        yield Fault("flipped channels", output, _flip)


def fusions_of(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield faults that need the node in front as well."""
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        before = makers.get(node.input[0])
        if before is not None and before.op_type in ("Conv", "BatchNormalization", "MatMul"):
            yield Fault("fusion", node.output[0], _scale_output, before.output[0])


def _swap(_: onnx.ModelProto, node: onnx.NodeProto) -> None:
    node.op_type = _SWAPPED[node.op_type]
    kept = {"kernel_shape", "strides", "pads", "keepdims"}
    attributes = [each for each in node.attribute if each.name in kept]
    del node.attribute[:]
    node.attribute.extend(attributes)


def _set_attribute(_: onnx.ModelProto, node: onnx.NodeProto) -> None:
    for name, value in _ATTRIBUTES[node.op_type].items():
        for old in [each for each in node.attribute if each.name == name]:
            node.attribute.remove(old)
        node.attribute.append(helper.make_attribute(name, value))


def _pads(node: onnx.NodeProto) -> list[int]:
    return next((list(each.ints) for each in node.attribute if each.name == "pads"), [])


def _shift_padding(_: onnx.ModelProto, node: onnx.NodeProto) -> None:
    pads = next(each for each in node.attribute if each.name == "pads")
    top, left, bottom, right = pads.ints
    pads.ints[:] = [top + bottom, left + right, 0, 0]


def _swap_inputs(_: onnx.ModelProto, node: onnx.NodeProto) -> None:
    node.input[:] = node.input[::-1]


def _scale_weight(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    index = next(i for i, name in enumerate(node.input) if name.startswith("w"))
    old = next(each for each in model.graph.initializer if each.name == node.input[index])
    array = numpy_helper.to_array(old)
    node.input[index] = f"{node.output[0]} scaled"
    model.graph.initializer.append(
        numpy_helper.from_array(np.asarray(array * np.float32(1.2)), node.input[index])
    )


def _flip(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    before = f"{node.output[0]} before"
    constants = {"starts": -1, "ends": np.iinfo(np.int64).min, "axes": 1, "steps": -1}
    for name, value in constants.items():
        array = np.array([value], np.int64)
        model.graph.initializer.append(numpy_helper.from_array(array, f"{before} {name}"))
    inputs = [before, *(f"{before} {name}" for name in constants)]
    _behind(model, node, helper.make_node("Slice", inputs, [node.output[0]]))


def _scale_output(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    before = f"{node.output[0]} before"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1.2), f"{before} scale"))
    inputs = [before, f"{before} scale"]
    _behind(model, node, helper.make_node("Mul", inputs, [node.output[0]]))


def _behind(model: onnx.ModelProto, node: onnx.NodeProto, new: onnx.NodeProto) -> None:
    node.output[0] = new.input[0]
    model.graph.node.insert(list(model.graph.node).index(node) + 1, new)
