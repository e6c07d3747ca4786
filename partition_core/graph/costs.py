"""What a node costs, counted from its shapes: floating-point operations, bytes that it makes and
weights that it reads; must not run anything.

A multiplication and an addition are two operations. Counted is arithmetic on floating-point
numbers; moving, choosing and comparing them is free, and a function such as exp is one operation.
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
"""What symbolic dims stand for, by symbol."""
TypeOf = Callable[[Value], ValueType | None]
Shape = tuple[int, ...]

_FLOATS = frozenset((1, 10, 11, 14, 15, 16, *range(17, 21), 23, 24, 27, 28))
_NO_WEIGHTS = frozenset((7, 8, 9))  # int64, strings and bools: shapes, axes and masks


@dataclass(frozen=True)
class Cost:
    """What running a node takes; None where a shape is not known, or the operator is not.

    `flops` are floating-point operations, `output_bytes` the bytes of all that it makes.
    """

    flops: int | None
    output_bytes: int | None


@dataclass(frozen=True)
class Weights:
    """The weights of some nodes, each once: `count` numbers in `size` bytes."""

    count: int
    size: int


def types_of(model: Model) -> TypeOf:
    """Return what tells the type of a value of the main graph: the file, or else inference."""

    def type_in(value: Value) -> ValueType | None:
        found = value.type
        if found is None or (found.dims is None and not found.composed):
            found = type_of(inferred_info(model, value.name)) or found
        return found

    return type_in


def cost_of(node: Node, type_in: TypeOf, sizes: Sizes) -> Cost:
    """Return what one run of `node` takes; of a node with bodies, only what it makes is known."""
    made = [tensor_bytes(type_in(value), sizes) for value in node.outputs if value.name]
    return Cost(flops=_flops(node, type_in, sizes), output_bytes=total(made))


def total(numbers: Iterable[int | None]) -> int | None:
    """Return the sum of `numbers`, or None if one of them is not known."""
    found = list(numbers)
    return None if None in found else sum(number for number in found if number is not None)


def weights_of(values: Iterable[Value]) -> Weights:
    """Return the weights among `values`: initializers, without those that hold shapes or masks."""
    tensors = [value.tensor for value in dict.fromkeys(values) if value.tensor is not None]
    counted = [tensor for tensor in tensors if tensor.dtype not in _NO_WEIGHTS]
    return Weights(
        sum(math.prod(tensor.dims) for tensor in counted),
        sum(tensor.weight for tensor in counted),
    )


def tensor_bytes(value_type: ValueType | None, sizes: Sizes) -> int | None:
    """Return how many bytes a tensor of a type takes, or None if a dim is not known."""
    shape = _shape(value_type, sizes)
    return None if value_type is None or shape is None else byte_size(value_type.dtype, shape)


def _tensor(value: Value, type_in: TypeOf, sizes: Sizes) -> tuple[int, Shape] | None:
    found = type_in(value)
    shape = _shape(found, sizes)
    return None if found is None or shape is None else (found.dtype, shape)


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
    def read(self) -> int:
        return math.prod(self.inputs[0])

    @property
    def made(self) -> int:
        return math.prod(self.outputs[0])

    def kernel(self) -> int:
        given = self.attributes.get("kernel_shape")
        return math.prod(given) if isinstance(given, tuple) else math.prod(self.inputs[1][2:])


def _flops(node: Node, type_in: TypeOf, sizes: Sizes) -> int | None:
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
    if all(one is not None and one.dtype and one.dtype not in _FLOATS for one in types):
        return 0
    inputs = [_tensor(v, type_in, sizes) for v in node.inputs if v is not None]
    outputs = [_tensor(value, type_in, sizes) for value in node.outputs if value.name]
    around = [one[1] for one in (*inputs, *outputs) if one is not None]
    if len(around) < len(inputs) + len(outputs) or not inputs or not outputs:
        return None
    return rule(_Shapes(around[: len(inputs)], around[len(inputs) :], attributes_of(node)))


def _conv(s: _Shapes) -> int:
    # The weight is (out channels, in channels / group, kernel).
    each = 2 * math.prod(s.inputs[1][1:])
    return s.made * (each + (len(s.inputs) > 2))


def _conv_transpose(s: _Shapes) -> int:
    # The weight is (in channels, out channels / group, kernel).
    return s.read * 2 * math.prod(s.inputs[1][1:]) + s.made * (len(s.inputs) > 2)


def _deform_conv(s: _Shapes) -> int:
    # Besides the convolution, each place of the kernel is interpolated of four numbers.
    weight = s.inputs[1]
    groups = s.attributes.get("group", 1)
    channels = weight[1] * (groups if isinstance(groups, int) else 1)
    places = s.made // weight[0] * math.prod(weight[2:])
    return s.made * (2 * math.prod(weight[1:]) + (len(s.inputs) > 3)) + 8 * places * channels


def _matmul(s: _Shapes) -> int:
    return 2 * s.made * s.inputs[0][-1] if s.inputs[0] else 0


def _gemm(s: _Shapes) -> int:
    depth = s.inputs[0][0 if s.attributes.get("transA") else 1]
    return s.made * (2 * depth + (len(s.inputs) > 2))


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


def _made(times: int) -> Callable[[_Shapes], int]:
    return lambda s: times * s.made


def _read(times: int) -> Callable[[_Shapes], int]:
    return lambda s: times * s.read


def _resize(s: _Shapes) -> int:
    return 0 if s.attributes.get("mode", "nearest") == "nearest" else 8 * s.made


_RULES: dict[str, Callable[[_Shapes], int | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DeformConv": _deform_conv,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "AveragePool": lambda s: s.made * s.kernel(),
    "GridSample": _made(8),
    "Resize": _resize,
    "BatchNormalization": _made(2),
    **dict.fromkeys(
        ("InstanceNormalization", "GroupNormalization", "LayerNormalization"), _read(7)
    ),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _read(4)),
    **dict.fromkeys(("HardSigmoid", "Gelu", "Mish", "HardSwish", "LpNormalization"), _made(4)),
    **dict.fromkeys(
        (
            "ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
            "ReduceLogSumExp", "ReduceSumSquare", "GlobalAveragePool", "CumSum",
        ),
        _read(1),
    ),
    **dict.fromkeys(
        (
            "Abs", "Acos", "Add", "Asin", "Atan", "Ceil", "Cos", "Cosh", "Div", "Elu", "Erf",
            "Exp", "Floor", "LeakyRelu", "Log", "Mod", "Mul", "Neg", "PRelu", "Pow", "Reciprocal",
            "Round", "Selu", "Sigmoid", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub",
            "Tan", "Tanh",
        ),
        _made(1),
    ),
    "Sum": lambda s: s.made * (len(s.inputs) - 1),
    "Mean": lambda s: s.made * len(s.inputs),
}  # fmt: skip
# Arithmetic whose amount the data decides, as of NonMaxSuppression and RoiAlign, is not among
# these, nor a node with bodies: nothing is known of them.
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
