"""Puts marks where the structure of a model says that its heads or its post-processing begin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from partition_core.base.errors import CutError, quoted
from partition_core.base.wording import first_of
from partition_core.graph.candidates import candidates_text
from partition_core.graph.constants import Constants, constants_of
from partition_core.graph.features import features_of
from partition_core.graph.file.graph import Graph, Model, Node, Value
from partition_core.graph.layers import layer_parts
from partition_core.graph.learned import Operators, operators_of
from partition_core.graph.marks import MarkTable, is_mark, unmarked_reads
from partition_core.graph.named_tensors import NamedTensor, marks_by_name
from partition_core.graph.parts import part_marks
from partition_core.graph.supported import divided
from partition_core.graph.tail import Tail, before, between, tail_of
from partition_core.graph.walk import dependents, reads
from partition_core.recipe.mark_reference import Side
from partition_core.recipe.values import PART, Cut, HeadCut, LayerCut, OperatorCut

_AT = "partition.type"
_MOST_LISTED = 12


def structural_marks(model: Model, cut: Cut, is_file: bool, is_network: bool = False) -> MarkTable:
    """Return the marks that `cut` puts into a model, whose nodes are in order.

    Raises CutError where the structure does not decide, or is not as `cut` says. `is_file` says
    whether a recipe can name the tensors of the model, as those of a given ONNX file,
    `is_network` whether it may have no post-processing.
    """
    if isinstance(cut, LayerCut):
        constants = constants_of(model)
        parts = layer_parts(model, constants, cut)
        names = [PART.format(number) for number in range(max(parts.values()) + 1)]
        return part_marks(model, constants, parts, names, "partition.segments")
    if isinstance(cut, OperatorCut):
        division = divided(model, cut)
        return part_marks(
            model, division.constants, division.parts, division.names, "partition.operators"
        )
    return _marks_of_heads(model, cut, is_file, is_network)


def _marks_of_heads(model: Model, cut: HeadCut, is_file: bool, is_network: bool) -> MarkTable:
    """Return the marks `front`, `tail` and `model` of a model.

    `front` has the inputs of the model that the part in front of the cut reads, and what crosses;
    `tail` what the rest reads and gives; `model` all inputs. Raises CutError, with what could be
    """
    constants = constants_of(model)
    operators = operators_of(model, constants)
    tail = tail_of(model.graph, operators, constants, is_joined=cut == "joined_heads")
    _check(model, operators, constants, tail, is_file, is_network)
    if cut == "features":
        tail = _behind_features(model, operators, constants, tail, is_file)
    inputs = [value for value in model.graph.inputs if value.tensor is None]
    read = {value for node in tail.nodes for value in unmarked_reads(node)}
    sides: list[tuple[str, Side, Iterable[Value]]] = [
        ("model", "input", inputs),
        ("front", "input", tail.inputs),
        ("front", "output", tail.heads),
        ("tail", "input", (*(v for v in tail.heads if v in read), *tail.others)),
        ("tail", "output", tail.outputs),
    ]
    named = [
        NamedTensor(mark, side, tuple(value.name.split(".")), value.name, _AT)
        for mark, side, values in sides
        for value in values
    ]
    return marks_by_name(model, named)


def _behind_features(
    model: Model, operators: Operators, constants: Constants, tail: Tail, is_file: bool
) -> Tail:
    """Return what lies behind the features of a model, whose post-processing is `tail`."""
    graph = model.graph
    features = features_of(graph, tail.heads, operators.learned, constants)
    makers = [value.producer for value in features if value.producer is not None]
    behind = between(graph, constants, before(graph, makers))
    if not features or set(behind.heads) != set(features):
        what = "the heads of the model are no towers of convolutions that share a map at each scale"
        expected = "so its structure does not say where they begin"
        raise CutError.at(
            _AT, what, expected, candidates_text(model, is_file, [("behind the heads", tail)])
        )
    return behind


def _check(
    model: Model,
    operators: Operators,
    constants: Constants,
    tail: Tail,
    is_file: bool,
    is_network: bool,
) -> None:
    """Raise CutError where it is not sure that `tail` is the post-processing."""
    graph = model.graph
    if not operators.learned:
        what = "the model has no operator with weights, so that nothing says where a network ends"
        raise CutError.at(_AT, what, "", "write segments, or 'save_file', 'from' and 'to'")
    network = [node for node in graph if node not in tail.nodes and not is_mark(node)]
    early = [node for node in network if node in operators.suppressing]
    if early:
        _refuse_two_stages(model, operators, constants, tail, early, is_file)
    if not is_network and not any(_depends(node, constants) for node in tail.nodes):
        what = "the last operators with weights give the outputs of the model themselves"
        remedy = "there is no post-processing to cut off: use the model as it is"
        raise CutError.at(
            _AT,
            what,
            f"they are {first_of([quoted(value.name) for value in tail.heads], _MOST_LISTED)}",
            remedy,
        )
    doubtful = [node for node in graph if node in tail.nodes and node in operators.doubtful]
    if doubtful:
        _refuse_unknown(model, operators, constants, tail, doubtful, is_file)


def _depends(node: Node, constants: Constants) -> bool:
    return any(value not in constants for value in reads(node))


def _refuse_two_stages(
    model: Model,
    operators: Operators,
    constants: Constants,
    tail: Tail,
    early: Sequence[Node],
    is_file: bool,
) -> None:
    graph = model.graph
    made = dependents(graph, [value for node in early for value in node.outputs])
    behind = {node for node in graph if not made.isdisjoint(node.outputs)}
    first_stage = Operators(operators.learned - behind)
    what = f"{_called(early[0])} suppresses boxes in front of operators with weights"
    expected = "so the model has more than one stage, and its structure does not say which ends it"
    candidates = [
        ("in front of the suppression", _first_stage(graph, first_stage, constants, behind)),
        ("behind the last operators with weights", tail),
    ]
    raise CutError.at(_AT, what, expected, candidates_text(model, is_file, candidates))


def _refuse_unknown(
    model: Model,
    operators: Operators,
    constants: Constants,
    tail: Tail,
    doubtful: Sequence[Node],
    is_file: bool,
) -> None:
    names = ", ".join(_called(node) for node in doubtful[:_MOST_LISTED])
    what = f"{names} has constants behind the last operators with weights that are known"
    expected = "it is not known whether they are weights"
    with_them = Operators(operators.learned | set(doubtful))
    candidates = [
        ("if they are not", tail),
        ("if they are", tail_of(model.graph, with_them, constants)),
    ]
    raise CutError.at(_AT, what, expected, candidates_text(model, is_file, candidates))


def _first_stage(
    graph: Graph, operators: Operators, constants: Constants, behind: set[Node]
) -> Tail:
    """Return the tail of what leads to the suppression, without what is behind it."""
    leading = before(graph, behind)
    part = Graph(
        nodes=[node for node in graph if node in leading and node not in behind],
        inputs=graph.inputs,
        outputs=[
            value
            for node in behind
            for value in reads(node)
            if value.producer not in behind and value.producer is not None
        ],
        initializers=graph.initializers,
    )
    return tail_of(part, operators, constants)


def _called(node: Node) -> str:
    return f"{node.op_type} node {quoted(node.name)}" if node.name else f"a {node.op_type} node"
