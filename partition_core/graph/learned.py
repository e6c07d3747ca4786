"""Finds the operators of a model that have weights: what a network learns, and what it does not.

A constant that an operator reads is a weight if training could have made it. What each operator
means is a row of a table here; no model is known by its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from partition_core.graph.constants import Constants
from partition_core.graph.file.graph import Graph, Key, Model, Node, Value
from partition_core.graph.marks import is_mark, unmarked_reads, unmarked_value

_MICROSOFT = "com.microsoft"

LEARNED: dict[tuple[str, str], tuple[int, ...]] = {
    # Convolutions and products: the kernel, the matrix.
    ("", "Conv"): (1,),
    ("", "ConvTranspose"): (1,),
    ("", "ConvInteger"): (1,),
    ("", "QLinearConv"): (3,),
    ("", "DeformConv"): (1,),
    ("", "Gemm"): (0, 1),
    ("", "MatMul"): (0, 1),
    ("", "MatMulInteger"): (0, 1),
    ("", "QLinearMatMul"): (0, 3),
    ("", "Einsum"): (0, 1, 2, 3),
    # Recurrent layers: the input's and the state's matrices.
    ("", "LSTM"): (1, 2),
    ("", "GRU"): (1, 2),
    ("", "RNN"): (1, 2),
    # Norms: the scale is learned, also where no convolution is before it to take it up.
    ("", "BatchNormalization"): (1, 2, 3, 4),
    ("", "InstanceNormalization"): (1,),
    ("", "GroupNormalization"): (1,),
    ("", "LayerNormalization"): (1,),
    ("", "RMSNormalization"): (1,),
    ("", "PRelu"): (1,),
    # What onnxruntime's optimizer and quantizer make of the same layers.
    (_MICROSOFT, "FusedConv"): (1,),
    (_MICROSOFT, "NhwcFusedConv"): (1,),
    (_MICROSOFT, "FusedGemm"): (0, 1),
    (_MICROSOFT, "FusedMatMul"): (0, 1),
    (_MICROSOFT, "QGemm"): (0, 3),
    (_MICROSOFT, "MatMulNBits"): (1,),
    (_MICROSOFT, "MatMulBnb4"): (1,),
    (_MICROSOFT, "DynamicQuantizeMatMul"): (1,),
    (_MICROSOFT, "MatMulIntegerToFloat"): (0, 1),
    (_MICROSOFT, "DynamicQuantizeLSTM"): (1, 2),
    (_MICROSOFT, "Attention"): (1,),
    (_MICROSOFT, "QAttention"): (1,),
    (_MICROSOFT, "SkipLayerNormalization"): (2,),
    (_MICROSOFT, "BiasGelu"): (1,),
    # Their operators in ONNX's own domain, of which onnx knows nothing.
    ("", "SimplifiedLayerNormalization"): (1,),
    # The operators of mmcv that MMDeploy writes.
    ("mmdeploy", "MMCVDeformConv2d"): (2,),
    ("mmdeploy", "MMCVModulatedDeformConv2d"): (3,),
}
"""The inputs of an operator, by domain and name, of which one that is constant is a weight."""

SUPPRESSIONS = frozenset(
    (
        ("", "NonMaxSuppression"),
        ("mmdeploy", "NonMaxSuppression"),
        ("mmdeploy", "TRTBatchedNMS"),
        ("mmdeploy", "TRTBatchedRotatedNMS"),
        ("mmdeploy", "NMSRotated"),
        ("mmdeploy", "NMSMatch"),
        ("mmcv", "NonMaxSuppression"),
        ("TRT", "EfficientNMS_TRT"),
        ("TRT", "BatchedNMS_TRT"),
        ("TRT", "BatchedNMSDynamic_TRT"),
        ("TRT", "EfficientNMSX_TRT"),
        ("TRT", "YOLOX_NMS_TRT"),
        ("", "EfficientNMS_TRT"),
        ("", "BatchedNMS_TRT"),
        ("", "BatchedNMSDynamic_TRT"),
        ("trt.plugins", "EfficientNMS_TRT"),
        ("torchvision", "nms"),
    )
)
"""The operators that suppress boxes, ONNX's own and the plugins that exporters write for them."""

_UNBIASED = frozenset(("ConvInteger", "Einsum", "MatMul", "MatMulInteger", "Mul"))
"""Layers whose bias can only be added behind them."""
_BIASED = frozenset(("Conv", "ConvTranspose", "Gemm"))
"""Layers with a bias as their third input, if they have one."""

_ACTIVATIONS = frozenset(
    (
        "Celu", "Elu", "Gelu", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Relu", "Selu", "Swish",
        "ThresholdedRelu",
    )
)  # fmt: skip
"""Functions that belong to a layer and never to post-processing, as a sigmoid or softmax does."""

_BIAS = 2
_QUANTIZING = frozenset(("QuantizeLinear", "DequantizeLinear"))

_MOST_ARITHMETIC = 4096
_KEEPS_PLACE = frozenset(("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity"))


@dataclass
class Operators:
    """What is known of a model's operators.

    `learned` have weights. `suppressing` suppress boxes, themselves or in a body or function.
    `doubtful` read constants of which it is not known whether they are weights.
    """

    learned: set[Node] = field(default_factory=set)
    suppressing: set[Node] = field(default_factory=set)
    doubtful: set[Node] = field(default_factory=set)


def operators_of(model: Model, constants: Constants) -> Operators:
    """Return what is known of the operators of the main graph of `model`, in linear time."""
    operators = Operators()
    for node in model.graph:
        for kind in _kinds(model, node, constants, ()):
            getattr(operators, kind).add(node)
    return operators


def belongs_to_layer(node: Node, constants: Constants, layers: set[Node]) -> bool:
    """Return whether a node without weights is the end of the layer in front of it, of `layers`.

    That is a bias, an activation, or the change to integers and back of a quantized model.
    """
    makers = {value.producer for value in unmarked_reads(node) if value not in constants}
    if node.domain or len(makers) != 1 or not makers <= layers or node.bodies:
        return False
    (layer,) = makers
    if layer is None:
        return False
    return (
        node.op_type in _ACTIVATIONS
        or node.op_type in _QUANTIZING
        or _is_bias(node, layer, constants)
        or _is_clip_at_six(node, constants)
    )


def _is_bias(node: Node, layer: Node, constants: Constants) -> bool:
    if node.op_type != "Add" or layer.op_type not in _BIASED | _UNBIASED:
        return False
    if layer.op_type in _BIASED and len(layer.inputs) > _BIAS:
        return False
    if layer.op_type == "Mul" and not any(value in constants for value in layer.inputs):
        return False
    added = [value for value in node.inputs if value is not None and value in constants]
    dims = constants.dims(added[0]) if len(added) == 1 else None
    return dims is not None and sum(size != 1 for size in dims) <= 1


def _is_clip_at_six(node: Node, constants: Constants) -> bool:
    if node.op_type != "Clip":
        return False
    limits = [None if value is None else constants.elements(value) for value in node.inputs[1:3]]
    return [None if each is None else each.tolist() for each in limits] in (
        [0.0, 6.0],
        [[0.0], [6.0]],
    )


def _kinds(model: Model, node: Node, constants: Constants, within: Sequence[Key]) -> set[str]:
    if is_mark(node):
        return set()
    domain = "" if node.domain == "ai.onnx" else node.domain
    function = model.functions.get(node.key)
    if function is not None and node.key not in within:
        inside = constants.inside(function.graph, node.inputs)
        return _kinds_in(model, function.graph, inside, (*within, node.key))
    kinds = set()
    for body in node.bodies:
        kinds |= _kinds_in(model, body, constants.inside(body), within)
    if (domain, node.op_type) in SUPPRESSIONS:
        kinds.add("suppressing")
    elif (domain, node.op_type) in LEARNED:
        weights = _weights(node, domain)
        if any(_is_weight(node, value, constants) for value in weights):
            kinds.add("learned")
    elif domain and any(_is_large(value, constants) for value in node.inputs if value):
        kinds.add("doubtful")
    elif _scales_a_norm(node, constants):
        kinds.add("learned")
    return kinds


def _kinds_in(model: Model, graph: Graph, constants: Constants, within: Sequence[Key]) -> set[str]:
    kinds: set[str] = set()
    for node in graph:
        kinds |= _kinds(model, node, constants, within)
    return kinds


def _weights(node: Node, domain: str) -> Iterator[Value]:
    for index in LEARNED[domain, node.op_type]:
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is not None:
            yield value


def _is_large(value: Value, constants: Constants) -> bool:
    dims = constants.dims(value) if value in constants else None
    return dims is not None and len(dims) > 1


def _is_weight(node: Node, value: Value, constants: Constants) -> bool:
    if value not in constants:
        return False
    is_sum = node.op_type in _SUMS and (
        _is_arithmetic(value, constants) or _integrates(node, value, constants)
    )
    return not is_sum


_SUMS = frozenset(
    ("Conv", "ConvInteger", "Einsum", "Gemm", "MatMul", "MatMulInteger", "QLinearConv")
)


def _integrates(node: Node, weight: Value, constants: Constants) -> bool:
    """Return whether a node sums a softmax with one set of weights: the mean of a distribution.

    Quantized, its weights are no arithmetic progression any more.
    """
    dims = constants.dims(weight)
    is_one_sum = dims is not None and (
        len(dims) == 1 or (dims[0] == 1 if "Conv" in node.op_type else dims[-1] == 1)
    )
    value = node.inputs[0]
    while value is not None and (maker := unmarked_value(value).producer) is not None:
        if maker.op_type == "Softmax":
            return is_one_sum
        if maker.op_type not in _KEEPS_PLACE | _QUANTIZING:
            break
        value = maker.inputs[0]
    return False


def _is_arithmetic(value: Value, constants: Constants) -> bool:
    """Return whether a constant is a rule of calculation and not a weight.

    A DFL sums the bins of a distribution times 0, 1, 2, …; a matrix of halves and ones changes
    the form of boxes; other sums over positions have steps of one size.
    """
    import numpy as np  # a cut between named tensors does without

    elements = constants.elements(value, _MOST_ARITHMETIC)
    # Of integers any kernel has whole numbers: its scale is elsewhere.
    if elements is None or elements.size < 2 or elements.dtype.kind in "iub":
        return False
    flat = elements.astype(np.float64).ravel()
    if not np.isfinite(flat).all() or flat.min() == flat.max():
        return False
    if flat.size <= 64 and bool((flat * 2 == np.round(flat * 2)).all()):
        return True
    steps = np.diff(flat)
    return flat.size > 2 and bool(np.allclose(steps, steps[0], rtol=1e-3, atol=0))


def _scales_a_norm(node: Node, constants: Constants) -> bool:
    """Return whether a Mul is the learned scale of a norm that is written out in arithmetic."""
    if node.op_type != "Mul" or node.domain or len(node.inputs) != 2:
        return False
    first, second = node.inputs
    if first is None or second is None or (first in constants) == (second in constants):
        return False
    scale, data = (first, second) if first in constants else (second, first)
    dims = constants.dims(scale)
    return (
        dims is not None
        and sum(size != 1 for size in dims) == 1
        and _is_normalized(unmarked_value(data).producer)
    )


def _is_normalized(node: Node | None) -> bool:
    if node is None or node.op_type not in ("Div", "Mul") or node.domain:
        return False
    return any(_is_root(value) for value in node.inputs if value is not None)


def _is_root(value: Value) -> bool:
    maker = unmarked_value(value).producer
    if maker is not None and maker.op_type == "Reciprocal" and maker.inputs[0] is not None:
        maker = unmarked_value(maker.inputs[0]).producer
    return maker is not None and maker.op_type == "Sqrt" and not maker.domain
