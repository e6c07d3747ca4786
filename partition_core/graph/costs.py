"""The floating-point operations of nodes and the bytes of tensors and weights, computed from
shapes; must not run anything.

A multiplication and an addition are two operations. Only arithmetic on floating-point numbers
counts; moving, choosing and comparing them is free, and a function such as exp is one operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from partition_core.graph.file.attributes import Attribute, attributes_of
from partition_core.graph.file.graph import Model, Node, Value
from partition_core.graph.file.value_type import ValueType, byte_size, type_of
from partition_core.graph.inference import inferred_info
from partition_core.graph.marks import is_mark

Sizes = Mapping[str, int]
"""The sizes of symbolic dims, by symbol."""
TypeOf = Callable[[Value], ValueType | None]
Shape = tuple[int, ...]

_FLOATS = frozenset((1, 10, 11, 14, 15, 16, *range(17, 21), 23, 24, 27, 28))
_NO_WEIGHTS = frozenset((7, 8, 9))  # int64, strings and bools: shapes, axes and masks


@dataclass(frozen=True)
class ParameterCount:
    """The weights of some nodes, each once: `count` numbers in `size` bytes."""

    count: int
    size: int


def types_of(model: Model) -> TypeOf:
    """Return a function for the types of values of the main graph: the file's, or inferred."""

    def type_in(value: Value) -> ValueType | None:
        kind = value.type
        if kind is None or (kind.dims is None and not kind.composed):
            kind = type_of(inferred_info(model, value.name)) or kind
        return kind

    return type_in


def total(numbers: Iterable[int | None]) -> int | None:
    """Return the sum of `numbers`, or None if one of them is unknown."""
    terms = list(numbers)
    known = [number for number in terms if number is not None]
    return sum(known) if len(known) == len(terms) else None


def weights_of(values: Iterable[Value]) -> ParameterCount:
    """Return the weights among `values`: initializers, without those that hold shapes or masks."""
    tensors = [value.tensor for value in dict.fromkeys(values) if value.tensor is not None]
    counted = [tensor for tensor in tensors if tensor.dtype not in _NO_WEIGHTS]
    return ParameterCount(
        sum(math.prod(tensor.dims) for tensor in counted),
        sum(tensor.nbytes for tensor in counted),
    )


def tensor_bytes(value_type: ValueType | None, sizes: Sizes) -> int | None:
    """Return how many bytes a tensor of a type takes, or None if a dim is unknown."""
    shape = _shape(value_type, sizes)
    return None if value_type is None or shape is None else byte_size(value_type.dtype, shape)


def _tensor(value: Value, type_in: TypeOf, sizes: Sizes) -> tuple[int, Shape] | None:
    kind = type_in(value)
    shape = _shape(kind, sizes)
    return None if kind is None or shape is None else (kind.dtype, shape)


def _shape(value_type: ValueType | None, sizes: Sizes) -> Shape | None:
    if value_type is None or value_type.dims is None:
        return None
    dims = [sizes.get(dim) if isinstance(dim, str) else dim for dim in value_type.dims]
    known = tuple(dim for dim in dims if dim is not None)
    return known if len(known) == len(dims) else None


@dataclass(frozen=True)
class _Shapes:
    """The shapes around a node whose arithmetic is on floating-point numbers, all known."""

    inputs: Sequence[Shape]
    outputs: Sequence[Shape]
    attributes: Mapping[str, Attribute]

    @property
    def input_size(self) -> int:
        return math.prod(self.inputs[0])

    @property
    def output_size(self) -> int:
        return math.prod(self.outputs[0])

    def kernel(self) -> int:
        shape = self.attributes.get("kernel_shape")
        return math.prod(shape) if isinstance(shape, tuple) else math.prod(self.inputs[1][2:])


def flops_of(node: Node, type_in: TypeOf, sizes: Sizes) -> int | None:
    """Return the floating-point operations of `node`; None for an unknown shape or operator, and
    with bodies."""
    if is_mark(node):
        return 0
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type in _FREE:
        return 0
    rule = _RULES.get(node.op_type)
    if rule is None or node.bodies:
        return None
    values = [value for value in (*node.inputs, *node.outputs) if value is not None and value.name]
    types = [type_in(value) for value in values]
    if all(kind is not None and kind.dtype and kind.dtype not in _FLOATS for kind in types):
        return 0
    inputs = [_tensor(v, type_in, sizes) for v in node.inputs if v is not None]
    outputs = [_tensor(value, type_in, sizes) for value in node.outputs if value.name]
    shapes = [tensor[1] for tensor in (*inputs, *outputs) if tensor is not None]
    if len(shapes) < len(inputs) + len(outputs) or not inputs or not outputs:
        return None
    return rule(_Shapes(shapes[: len(inputs)], shapes[len(inputs) :], attributes_of(node)))


def _conv(s: _Shapes) -> int:
    # The weight is (out channels, in channels / group, kernel).
    each = 2 * math.prod(s.inputs[1][1:])
    return s.output_size * (each + (len(s.inputs) > 2))


def _conv_transpose(s: _Shapes) -> int:
    # The weight is (in channels, out channels / group, kernel).
    return s.input_size * 2 * math.prod(s.inputs[1][1:]) + s.output_size * (len(s.inputs) > 2)


def _deform_conv(s: _Shapes) -> int:
    # Besides the convolution, each kernel position is interpolated from four numbers.
    weight = s.inputs[1]
    groups = s.attributes.get("group", 1)
    channels = weight[1] * (groups if isinstance(groups, int) else 1)
    positions = s.output_size // weight[0] * math.prod(weight[2:])
    return (
        s.output_size * (2 * math.prod(weight[1:]) + (len(s.inputs) > 3)) + 8 * positions * channels
    )


def _matmul(s: _Shapes) -> int:
    return 2 * s.output_size * s.inputs[0][-1] if s.inputs[0] else 0


def _gemm(s: _Shapes) -> int:
    depth = s.inputs[0][0 if s.attributes.get("transA") else 1]
    return s.output_size * (2 * depth + (len(s.inputs) > 2))


def _einsum(s: _Shapes) -> int | None:
    equation = str(s.attributes.get("equation", ""))
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    if "." in equation or [len(term) for term in terms] != [len(shape) for shape in s.inputs]:
        return None
    letters = {
        letter: size
        for term, shape in zip(terms, s.inputs, strict=True)
        for letter, size in zip(term, shape, strict=True)
    }
    return 2 * math.prod(letters.values())


def _per_output(times: int) -> Callable[[_Shapes], int]:
    return lambda s: times * s.output_size


def _per_input(times: int) -> Callable[[_Shapes], int]:
    return lambda s: times * s.input_size


def _resize(s: _Shapes) -> int:
    return 0 if s.attributes.get("mode", "nearest") == "nearest" else 8 * s.output_size


_RULES: dict[str, Callable[[_Shapes], int | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DeformConv": _deform_conv,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "AveragePool": lambda s: s.output_size * s.kernel(),
    "GridSample": _per_output(8),
    "Resize": _resize,
    "BatchNormalization": _per_output(2),
    **dict.fromkeys(
        ("InstanceNormalization", "GroupNormalization", "LayerNormalization"), _per_input(7)
    ),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _per_input(4)),
    **dict.fromkeys(
        ("HardSigmoid", "Gelu", "Mish", "HardSwish", "LpNormalization"), _per_output(4)
    ),
    **dict.fromkeys(
        (
            "ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
            "ReduceLogSumExp", "ReduceSumSquare", "GlobalAveragePool", "CumSum",
        ),
        _per_input(1),
    ),
    **dict.fromkeys(
        (
            "Abs", "Acos", "Add", "Asin", "Atan", "Ceil", "Cos", "Cosh", "Div", "Elu", "Erf",
            "Exp", "Floor", "LeakyRelu", "Log", "Mod", "Mul", "Neg", "PRelu", "Pow", "Reciprocal",
            "Round", "Selu", "Sigmoid", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub",
            "Tan", "Tanh",
        ),
        _per_output(1),
    ),
    "Sum": lambda s: s.output_size * (len(s.inputs) - 1),
    "Mean": lambda s: s.output_size * len(s.inputs),
}  # fmt: skip
# Operators whose arithmetic depends on the data, such as NonMaxSuppression and RoiAlign, are in
# neither table, nor are nodes with bodies: their cost is unknown.
_FREE = frozenset(
    (
        "And", "ArgMax", "ArgMin", "Cast", "CastLike", "Clip", "Compress", "Concat", "Constant",
        "ConstantOfShape", "DepthToSpace", "Dropout", "Equal", "Expand", "EyeLike", "Flatten",
        "Gather", "GatherElements", "GatherND", "GlobalMaxPool", "Greater", "GreaterOrEqual",
        "Identity", "IsInf", "IsNaN", "Less", "LessOrEqual", "Max", "MaxPool", "Min", "NonZero",
        "Not", "OneHot", "Or", "Pad", "Range", "ReduceMax", "ReduceMin", "Relu", "Reshape",
        "ScatterElements", "ScatterND", "Shape", "Sign", "Size", "Slice", "SpaceToDepth", "Split",
        "Squeeze", "Tile", "TopK", "Transpose", "Trilu", "Unique", "Unsqueeze", "Where", "Xor",
    )
)  # fmt: skip
