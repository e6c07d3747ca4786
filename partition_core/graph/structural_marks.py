"""Puts marks where the structure of a model says that its heads or its post-processing begin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from partition_core.base.errors import CutError, quoted
from partition_core.graph.constants import Constants, constants_of
from partition_core.graph.costs import TypeOf, types_of
from partition_core.graph.features import features_of
from partition_core.graph.file.graph import Graph, Model, Node, Value
from partition_core.graph.file.value_type import DTYPES
from partition_core.graph.learned import Operators, operators_of
from partition_core.graph.marks import MarkTable, is_mark, unmarked_value
from partition_core.graph.named_tensors import NamedTensor, marks_by_name
from partition_core.graph.tail import Tail, before, between, tail_of
from partition_core.graph.walk import reads
from partition_core.recipe.mark_reference import Side
from partition_core.recipe.values import Cut

_AT = "partition.type"
_MOST_LISTED = 12


def structural_marks(model: Model, cut: Cut, at: str = _AT) -> MarkTable:
    """Return the marks `front`, `tail` and `model` of a model, whose nodes are in order.

    `front` has the inputs of the model that the part in front of the cut reads, and what crosses;
    `tail` what the rest reads and gives; `model` all inputs. Raises CutError, with what could be
    cut instead, where the structure does not decide.
    """
    constants = constants_of(model)
    operators = operators_of(model, constants)
    tail = tail_of(model.graph, operators, constants, is_joined=cut == "joined_heads")
    _check(model, operators, constants, tail, at)
    if cut == "features":
        tail = _behind_features(model, operators, constants, tail, at)
    inputs = [value for value in model.graph.inputs if value.tensor is None]
    read = {value for node in tail.nodes for value in _unmarked_reads(node)}
    sides: list[tuple[str, Side, Iterable[Value]]] = [
        ("model", "input", inputs),
        ("front", "input", tail.inputs),
        ("front", "output", tail.heads),
        ("tail", "input", (*(v for v in tail.heads if v in read), *tail.others)),
        ("tail", "output", tail.outputs),
    ]
    named = [
        NamedTensor(mark, side, tuple(value.name.split(".")), value.name, at)
        for mark, side, values in sides
        for value in values
    ]
    return marks_by_name(model, named)


def _behind_features(
    model: Model, operators: Operators, constants: Constants, tail: Tail, at: str
) -> Tail:
    """Return what lies behind the features of a model, whose post-processing is `tail`."""
    graph = model.graph
    features = features_of(graph, tail.heads, operators.learned, constants)
    makers = [value.producer for value in features if value.producer is not None]
    behind = between(graph, constants, before(graph, makers))
    if not features or set(behind.heads) != set(features):
        what = "the heads of the model are no towers of convolutions that share a map at each scale"
        expected = "so its structure does not say where they begin"
        raise CutError.at(at, what, expected, _candidates(model, [("behind the heads", tail)]))
    return behind


def _unmarked_reads(node: Node) -> Iterator[Value]:
    return map(unmarked_value, reads(node))


def _check(model: Model, operators: Operators, constants: Constants, tail: Tail, at: str) -> None:
    """Raise CutError where it is not sure that `tail` is the post-processing."""
    graph = model.graph
    if not operators.learned:
        what = "the model has no operator with weights, so that nothing says where a network ends"
        raise CutError.at(at, what, "", "write segments, or 'save_file', 'from' and 'to'")
    network = [node for node in graph if node not in tail.nodes and not is_mark(node)]
    early = [node for node in network if node in operators.suppressing]
    if early:
        _refuse_two_stages(model, operators, constants, tail, early, at)
    if not any(_depends(node, constants) for node in tail.nodes):
        what = "the last operators with weights give the outputs of the model themselves"
        remedy = "there is no post-processing to cut off: use the model as it is"
        raise CutError.at(at, what, f"they are {_listed(tail.heads)}", remedy)
    doubtful = [node for node in graph if node in tail.nodes and node in operators.doubtful]
    if doubtful:
        _refuse_unknown(model, operators, constants, tail, doubtful, at)


def _depends(node: Node, constants: Constants) -> bool:
    return any(value not in constants for value in reads(node))


def _refuse_two_stages(
    model: Model,
    operators: Operators,
    constants: Constants,
    tail: Tail,
    early: Sequence[Node],
    at: str,
) -> None:
    graph = model.graph
    behind = _behind(graph, early)
    first_stage = Operators(operators.learned - behind)
    what = f"{_called(early[0])} suppresses boxes in front of operators with weights"
    expected = "so the model has more than one stage, and its structure does not say which ends it"
    candidates = [
        ("in front of the suppression", _first_stage(graph, first_stage, constants, behind)),
        ("behind the last operators with weights", tail),
    ]
    raise CutError.at(at, what, expected, _candidates(model, candidates))


def _refuse_unknown(
    model: Model,
    operators: Operators,
    constants: Constants,
    tail: Tail,
    doubtful: Sequence[Node],
    at: str,
) -> None:
    names = ", ".join(_called(node) for node in doubtful[:_MOST_LISTED])
    what = f"{names} has constants behind the last operators with weights that are known"
    expected = "it is not known whether they are weights"
    with_them = Operators(operators.learned | set(doubtful))
    candidates = [
        ("if they are not", tail),
        ("if they are", tail_of(model.graph, with_them, constants)),
    ]
    raise CutError.at(at, what, expected, _candidates(model, candidates))


def _behind(graph: Graph, nodes: Iterable[Node]) -> set[Node]:
    made = {value for node in nodes for value in node.outputs}
    behind = set(nodes)
    for node in graph:
        if any(value in made for value in reads(node)):
            behind.add(node)
            made.update(node.outputs)
    return behind


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


def _candidates(model: Model, candidates: Sequence[tuple[str, Tail]]) -> str:
    type_of_value = types_of(model)
    readers: dict[Value, dict[str, None]] = {}
    for node in model.graph:
        for value in reads(node):
            readers.setdefault(value, {})[node.op_type] = None
    texts = []
    for where, tail in candidates:
        inputs, heads = _names(tail.inputs), _names(tail.heads)
        described = "; ".join(
            _described(value, type_of_value, readers) for value in tail.heads[:_MOST_LISTED]
        )
        yaml = f"partition: {{save_file: network.onnx, from: [{inputs}], to: [{heads}]}}"
        texts.append(f"{where}: `{yaml}` ({described})")
    return "choose " + ", or ".join(texts)


def _described(value: Value, type_in: TypeOf, readers: Mapping[Value, Mapping[str, None]]) -> str:
    kind = type_in(value)
    dims = list(kind.dims) if kind is not None and kind.dims is not None else "of unknown rank"
    dtype = DTYPES.get(kind.dtype, "undefined") if kind is not None else "undefined"
    op_type = value.producer.op_type if value.producer else "input"
    read_by = ", ".join(readers.get(value, ())) or "nothing"
    return f"{quoted(value.name)} is {dtype} {dims} from {op_type}, read by {read_by}"


def _names(values: Iterable[Value]) -> str:
    return ", ".join(quoted(value.name) for value in values)


def _listed(values: Sequence[Value]) -> str:
    more = len(values) - _MOST_LISTED
    return _names(values[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _called(node: Node) -> str:
    return f"{node.op_type} node {quoted(node.name)}" if node.name else f"a {node.op_type} node"
