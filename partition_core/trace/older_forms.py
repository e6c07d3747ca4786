"""How uses of operators that an opset changed are written before it; exact, or an ObstacleError.

Changes that only allow more dtypes, or add an attribute whose default is what was before, need no
row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import onnx_ir as ir


class ObstacleError(Exception):
    """A use of an operator, `what`, that no opset before `since` has."""

    def __init__(self, what: str, since: int) -> None:
        super().__init__(what, since)
        self.what, self.since = what, since


def count_of(values: Sequence[ir.Value | None]) -> int:
    """Return how many inputs a node has, without those left out at the end."""
    return max((k + 1 for k, value in enumerate(values) if value is not None), default=0)


class Builder:
    """Adds constants and nodes to a graph, under names that nothing else has."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._names = {value.name for node in graph.all_nodes() for value in node.outputs}
        self._names |= {value.name for value in graph.inputs} | set(graph.initializers)
        self._constants: dict[bytes, ir.Value] = {}
        self._idle: list[ir.Value] = []
        self._node: ir.Node
        self._nodes: list[ir.Node]

    def at(self, node: ir.Node) -> Builder:
        """Begin to make what stands in the place of `node`."""
        self._node, self._nodes = node, []
        return self

    def __call__(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """Return the output of a new node, of the module of the node that it replaces."""
        result = ir.Value(name=self._fresh(f"{self._node.outputs[0].name}_{op_type}"))
        self._nodes.append(
            ir.node(
                op_type,
                inputs,
                attributes=attributes,
                outputs=[result],
                name=f"node_{result.name}",
                metadata_props=dict(self._node.metadata_props),
            )
        )
        return result

    def constant(self, values: Any, dtype: ir.DataType = ir.DataType.INT64) -> ir.Value:
        """Return an initializer of the main graph, each of the same values once."""
        array = np.asarray(values, dtype.numpy())
        key = repr((dtype, array.shape, array.tolist())).encode()
        if key not in self._constants:
            name = self._fresh(f"{self._node.outputs[0].name}_constant")
            value = ir.Value(
                name=name,
                type=ir.TensorType(dtype),
                shape=ir.Shape(array.shape),
                const_value=ir.tensor(array, name=name),
            )
            self._graph.register_initializer(value)
            self._constants[key] = value
        return self._constants[key]

    def without(self, *positions: int) -> None:
        """Take inputs from the node; constants that nothing reads then are removed at the end."""
        for position in sorted(positions, reverse=True):
            if position < len(self._node.inputs):
                value = self._node.inputs[position]
                if value is not None:
                    self._idle.append(value)
                self._node.replace_input_with(position, None)
        kept = max(
            (k + 1 for k, value in enumerate(self._node.inputs) if value is not None), default=0
        )
        self._node.resize_inputs(kept)

    def replace(self, node: ir.Node, value: ir.Value) -> None:
        """Let `value` stand for the output of `node`, under its name."""
        self._idle += [each for each in node.inputs if each is not None]
        if not self._nodes or self._nodes[-1].outputs[0] is not value:
            value = self("Identity", value)
        ir.convenience.replace_nodes_and_values(
            node.graph or self._graph, node, [node], self._nodes, node.outputs[:1], [value]
        )

    def remove_idle_constants(self) -> None:
        """Remove what nothing reads any more of the constants that were read."""
        for value in self._idle:
            producer = value.producer()
            if value.uses() or value.is_graph_output():
                continue
            if value.is_initializer():
                self._graph.initializers.pop(str(value.name), None)
            elif producer is not None and producer.op_type == "Constant" and producer.graph:
                producer.graph.remove(producer, safe=True)

    def _fresh(self, name: str) -> str:
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


Form = Callable[[ir.Node, Builder, int], ir.Value | None]
"""Writes a node as before an opset, back to 11: changes it and returns None, or returns what takes
its place."""


def _int(node: ir.Node, name: str, default: int) -> int:
    return node.attributes[name].as_int() if name in node.attributes else default


def _text(node: ir.Node, name: str, default: str) -> str:
    return node.attributes[name].as_string() if name in node.attributes else default


def _input(node: ir.Node, position: int) -> ir.Value | None:
    return node.inputs[position] if position < len(node.inputs) else None


def _dims(value: ir.Value | None, node: ir.Node, since: int) -> Sequence[int | ir.SymbolicDim]:
    if value is None or value.shape is None:
        raise ObstacleError(f"{node.op_type} of an unknown rank", since)
    return value.shape.dims


def _known(value: ir.Value | None, what: str, since: int) -> list[int]:
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    if tensor is None:
        raise ObstacleError(what, since)
    return [int(number) for number in tensor.numpy().flat]


def _attribute(name: str) -> Form:
    """Return the form of an operator whose second input, a constant, was the attribute `name`."""

    def form(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
        given = _input(node, 1)
        if given is not None:
            what = f"{node.op_type} with computed {name}"
            node.attributes[name] = ir.AttrInt64s(name, _known(given, what, since))
            build.without(1)
        return None

    return form


def _reduction(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    axes = _input(node, 1)
    idle = _int(node, "noop_with_empty_axes", 0)
    node.attributes.pop("noop_with_empty_axes", None)
    if axes is not None and not _known(axes, f"{node.op_type} with computed axes", since):
        build.without(1)
    elif axes is not None:
        return _attribute("axes")(node, build, since)
    if not idle:
        return None
    if node.op_type in ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"):
        return node.inputs[0]
    raise ObstacleError(f"{node.op_type} over no axes", since)


def _even_split(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    if "num_outputs" not in node.attributes:
        return None
    node.attributes.pop("num_outputs")
    count = len(node.outputs)
    size = _dims(node.inputs[0], node, since)[_int(node, "axis", 0)]
    if not isinstance(size, int):
        raise ObstacleError("Split into num_outputs of a free size", since)
    if size % count:
        # The last one is smaller, and before that all were of one size unless they are listed.
        each = -(-size // count)
        sizes = [each] * (count - 1) + [size - each * (count - 1)]
        node.resize_inputs(2)
        node.replace_input_with(1, build.constant(sizes))
    return None


def _padding(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    given = _input(node, 3)
    if given is None:
        return None
    rank = len(_dims(node.inputs[0], node, since))
    axes = _known(given, "Pad with computed axes", since)
    pads = _known(node.inputs[1], "Pad with axes and computed pads", since)
    whole = [0] * (2 * rank)
    for number, axis in enumerate(axes):
        whole[axis % rank] = pads[number]
        whole[axis % rank + rank] = pads[number + len(axes)]
    build.without(1, 3)
    node.resize_inputs(max(2, len(node.inputs)))
    node.replace_input_with(1, build.constant(whole))
    return None


def _scattering(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    reduction = _text(node, "reduction", "none")
    if reduction in ("max", "min"):
        raise ObstacleError(f"{node.op_type} with reduction {reduction}", since)
    return None


def _layer_norm(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    x, scale, bias = node.inputs[0], node.inputs[1], _input(node, 2)
    others = [value for value in node.outputs[1:] if value.uses() or value.is_graph_output()]
    if others or x is None:
        raise ObstacleError("LayerNormalization with more than one output", since)
    rank, axis = len(_dims(x, node, since)), _int(node, "axis", -1)
    axes = list(range(axis % rank, rank))
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    # It is computed in float32 whatever the dtype of its input.
    is_half = x.dtype is not None and x.dtype != ir.DataType.FLOAT
    whole = build("Cast", x, to=int(ir.DataType.FLOAT)) if is_half else x
    centred = build("Sub", whole, build("ReduceMean", whole, axes=axes))
    variance = build("ReduceMean", build("Mul", centred, centred), axes=axes)
    deviation = build("Sqrt", build("Add", variance, build.constant(epsilon, ir.DataType.FLOAT)))
    result = build("Div", centred, deviation)
    if is_half:
        result = build("Cast", result, to=int(x.dtype or 0))
    result = build("Mul", result, scale)
    return result if bias is None else build("Add", result, bias)


def _region_pooling(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    mode = _text(node, "coordinate_transformation_mode", "half_pixel")
    if mode != "output_half_pixel":
        raise ObstacleError(f"RoiAlign with coordinate_transformation_mode {mode}", since)
    node.attributes.pop("coordinate_transformation_mode")
    return None


def _shape(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    start, end = _int(node, "start", 0), _int(node, "end", np.iinfo(np.int64).max)
    if (start, end) == (0, np.iinfo(np.int64).max):
        node.attributes.pop("start", None)
        return None
    return build(
        "Slice", build("Shape", node.inputs[0]), build.constant([start]), build.constant([end])
    )


def _cast_like(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    like = node.inputs[1]
    if like is None or like.dtype is None:
        raise ObstacleError("CastLike to an unknown dtype", since)
    return build("Cast", node.inputs[0], to=int(like.dtype))


def _hard_swish(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    gate = build("HardSigmoid", node.inputs[0], alpha=1 / 6, beta=0.5)
    return build("Mul", node.inputs[0], gate)


def _reshape(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    """Write a shape whose zeros are sizes as one whose zeros mean the size of the input there."""
    is_literal = _int(node, "allowzero", 0)
    node.attributes.pop("allowzero", None)
    if not is_literal:
        return None
    given = None if node.inputs[1] is None else ir.convenience.get_const_tensor(node.inputs[1])
    if given is not None and given.numpy().all():
        return None
    source = node.inputs[0].shape if node.inputs[0] is not None else None
    before = source.dims if source is not None else ()
    shape: list[int] = []
    for axis, dim in enumerate(_dims(node.outputs[0], node, since)):
        if isinstance(dim, int) and dim:
            shape.append(dim)
        elif axis < len(before) and before[axis] == dim and _is_named(dim):
            shape.append(0)
        else:
            shape.append(-1)
    # Of no elements, -1 beside a size that is copied has no answer.
    if shape.count(-1) > 1 or (-1 in shape and 0 in shape):
        raise ObstacleError("Reshape to sizes that may be 0", since)
    build.without(1)
    node.resize_inputs(2)
    node.replace_input_with(1, build.constant(shape))
    return None


def _is_named(dim: int | ir.SymbolicDim) -> bool:
    return isinstance(dim, int) or dim.value is not None


def _last_axis(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    """Write an operator along one axis as one along all from its axis on."""
    rank = len(_dims(node.inputs[0], node, since))
    axis = _int(node, "axis", -1) % rank
    if axis == rank - 1:
        node.attributes["axis"] = ir.AttrInt64("axis", axis)
        return None
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    moved = build("Transpose", node.inputs[0], perm=order)
    return build("Transpose", build(node.op_type, moved, axis=rank - 1), perm=order)


def _resize(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    inputs = list(node.inputs)
    node.resize_inputs(max(3, len(inputs)))
    for position in (1, 2):
        if node.inputs[position] is None:
            node.replace_input_with(position, build.constant([], ir.DataType.FLOAT))
    return None


def _per_tensor(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    if len(_dims(node.inputs[1], node, since)):
        raise ObstacleError(f"{node.op_type} with a scale for each channel", since)
    node.attributes.pop("axis", None)
    return None


def _constant(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    (name,) = node.attributes
    if name in _NUMBERS:
        array = np.asarray(node.attributes.pop(name).value, _NUMBERS[name])
        node.attributes["value"] = ir.AttrTensor("value", ir.tensor(array))
    return None


_NUMBERS = {
    "value_int": np.int64,
    "value_ints": np.int64,
    "value_float": np.float32,
    "value_floats": np.float32,
}


def _extreme(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    if _is_real(node):
        return None
    return reduce(_choice(build, node.op_type), node.inputs)


def _clip(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    if _is_real(node):
        return None
    result, low, high = node.inputs[0], _input(node, 1), _input(node, 2)
    if low is not None:
        result = _choice(build, "Max")(result, low)
    return result if high is None else _choice(build, "Min")(result, high)


def _is_real(node: ir.Node) -> bool:
    value = node.inputs[0]
    return value is None or value.dtype is None or value.dtype.is_floating_point()


def _choice(build: Builder, kind: str) -> Callable[[Any, Any], Any]:
    """Return Max or Min of two integers, of which before only Less and Where knew."""

    def choice(left: ir.Value, right: ir.Value) -> ir.Value:
        pair = (right, left) if kind == "Max" else (left, right)
        return build("Where", build("Less", left, right), *pair)

    return choice


def _or_equal(strict: str) -> Form:
    def form(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
        equal = build("Equal", *node.inputs)
        return build("Or", build(strict, *node.inputs), equal)

    return form


def _sampling(node: ir.Node, build: Builder, since: int) -> ir.Value | None:
    mode = _text(node, "mode", "linear")
    node.attributes["mode"] = ir.AttrString("mode", _MODES.get(mode, mode))
    return None


_MODES = {"linear": "bilinear", "cubic": "bicubic"}
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSumSquare",
)  # fmt: skip
FORMS: Mapping[str, Sequence[tuple[int, Form]]] = {
    **dict.fromkeys(_REDUCTIONS, ((18, _reduction),)),
    "CastLike": ((15, _cast_like),),
    "Clip": ((12, _clip),),
    "Constant": ((12, _constant),),
    "DequantizeLinear": ((13, _per_tensor),),
    "GreaterOrEqual": ((12, _or_equal("Greater")),),
    "GridSample": ((20, _sampling),),
    "HardSwish": ((14, _hard_swish),),
    "Hardmax": ((13, _last_axis),),
    "LayerNormalization": ((17, _layer_norm),),
    "LessOrEqual": ((12, _or_equal("Less")),),
    "LogSoftmax": ((13, _last_axis),),
    "Max": ((12, _extreme),),
    "Min": ((12, _extreme),),
    "Pad": ((18, _padding),),
    "QuantizeLinear": ((13, _per_tensor),),
    "ReduceSum": ((13, _reduction),),
    "Reshape": ((14, _reshape),),
    "Resize": ((13, _resize),),
    "RoiAlign": ((16, _region_pooling),),
    "ScatterElements": ((18, _scattering),),
    "ScatterND": ((18, _scattering),),
    "Shape": ((15, _shape),),
    "Softmax": ((13, _last_axis),),
    "Split": ((18, _even_split), (13, _attribute("split"))),
    "Squeeze": ((13, _attribute("axes")),),
    "Unsqueeze": ((13, _attribute("axes")),),
}
"""Of each operator, the opsets that changed it, newest first, with how it was written before."""
