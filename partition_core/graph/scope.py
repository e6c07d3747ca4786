"""Decides which part of the end2end model belongs to a segment, and why it cannot be cut; must
not build graphs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from partition_core.base.errors import CutError, Problem, problem, quoted
from partition_core.base.wording import counted
from partition_core.graph.boundary import (
    UNTYPED,
    Boundary,
    Inferred,
    boundary,
    boundary_names,
    clashes,
    distinctly_named,
    symbol_renames,
)
from partition_core.graph.file.graph import Graph, Model, Value
from partition_core.graph.file.value_type import symbols_in
from partition_core.graph.inference import inference_failure, inferred_info
from partition_core.graph.marks import MarkedTensor, MarkTable, is_mark, marks_of, unmarked_value
from partition_core.graph.start_sizes import start_sizes
from partition_core.graph.static_sizes import sizes_of, with_sizes
from partition_core.graph.undefined import check_defined
from partition_core.graph.walk import Walk, dependents, nodes_within, reads, walk_back
from partition_core.recipe.mark_reference import MarkReference
from partition_core.recipe.values import Segment


@dataclass(frozen=True)
class Scope:
    """A segment as parts of the end2end model: its boundary, and everything between.

    The nodes of `walk` include the Mark nodes that are crossed. `symbols` maps each symbolic dim
    that the segment renames to its new name.
    """

    segment: Segment
    inputs: tuple[Boundary, ...]
    outputs: tuple[Boundary, ...]
    walk: Walk
    symbols: Mapping[str, str]


@dataclass(frozen=True)
class _Side:
    # The tensors that one side of a segment lists, each with the index of its reference.
    at: str
    tensors: tuple[MarkedTensor, ...]
    indexes: tuple[int, ...]

    @property
    def values(self) -> list[Value]:
        return [tensor.value for tensor in self.tensors]

    def place(self, position: int) -> str:
        return f"{self.at}[{self.indexes[position]}]"


def scope_of(model: Model, segment: Segment, at: str, table: MarkTable | None = None) -> Scope:
    """Return the scope of `segment`; `at` is its YAML path, such as `partition.segments[0]`.

    `table` has the marks that references select from, by default those of the model's Mark nodes.
    Raises CutError with every problem of the segment that can be found at once.
    """
    table = table or marks_of(model)
    problems: list[Problem] = []
    start = _select(table, segment.start, f"{at}.start", problems)
    end = _select(table, segment.end, f"{at}.end", problems)
    if not segment.end:
        problems.append(problem(f"{at}.end", "the segment has no end", "expected a mark reference"))
    CutError.refuse(problems)

    def inferred(name: str) -> bytes:
        return inferred_info(model, name)

    count = len(problems)
    inputs = _boundaries(start, segment.input_names, f"{at}.input_names", inferred, problems)
    outputs = _boundaries(end, segment.output_names, f"{at}.output_names", inferred, problems)
    untyped = [each for each in problems[count:] if each.expected == UNTYPED]
    if untyped and (failure := inference_failure(model)):
        problems = [*(each for each in problems if each not in untyped), _untyped(at, failure)]
    inputs, outputs = distinctly_named(inputs, outputs, segment)
    different = {item.value: item for item in reversed(inputs)}
    passing = [item for item in outputs if _passes(item, inputs)]
    new = [item for item in outputs if item not in passing]
    problems += clashes([*reversed(different.values()), *new], at)
    problems += _repeated(start)
    sizes = start_sizes(model.graph, start.values)
    # A size is only taken from a start that the segment needs anyway.
    needed = walk_back(model.graph, start.values, end.values).needed_starts
    substitutes = {node: value for node, value in sizes.items() if value in needed}
    walk = walk_back(model.graph, start.values, end.values, substitutes)
    if _is_reversed(model, start, end, walk):
        problems.append(_reversed(segment, start, end, at))
        CutError.refuse(problems)
    if sized := _sized(table, segment, walk, f"{at}.sizes_from", problems):
        return scope_of(model, _with_sizes(segment, sized), at, table)
    if not all(value.is_input for value in walk.inputs):
        check_defined(model, at)
    problems += _unneeded(segment, start, walk)
    problems += _unbounded(model.graph, table, segment, end, walk)
    CutError.refuse(problems)
    used = frozenset(_symbols(walk, (*inputs, *outputs)) if segment.dynamic_axes else ())
    symbols, items, problems = symbol_renames(
        (*inputs, *outputs), segment.dynamic_axes, used, f"{at}.dynamic_axes"
    )
    CutError.refuse(problems)
    free = [item.named(symbols) for item in items]
    static, problems = sizes_of(free[: len(inputs)], segment.inputs, f"{at}.inputs")
    CutError.refuse(problems)
    named = tuple(with_sizes(item, static) for item in free)
    return Scope(segment, named[: len(inputs)], named[len(inputs) :], walk, symbols)


def scopes_of(
    model: Model, segments: Sequence[Segment], table: MarkTable | None = None
) -> list[Scope]:
    """Return the scopes of a recipe's segments; raises CutError with the problems of all."""
    scopes: list[Scope] = []
    problems: list[Problem] = []
    for index, segment in enumerate(segments):
        try:
            scopes.append(scope_of(model, segment, f"partition.segments[{index}]", table))
        except CutError as error:
            problems.extend(error.problems)
    CutError.refuse(problems)
    return scopes


def _sized(
    table: MarkTable, segment: Segment, walk: Walk, at: str, problems: list[Problem]
) -> list[MarkedTensor]:
    """Return the tensors of `sizes_from` that the segment needs, for nothing but their sizes."""
    chosen = _select(table, segment.sizes_from, at, problems).tensors
    needed = [tensor for tensor in chosen if tensor.value in walk.inputs]
    return [tensor for tensor in needed if _only_sizes(walk, tensor.value)]


def _only_sizes(walk: Walk, value: Value) -> bool:
    readers = [
        node
        for node in walk.nodes
        if not is_mark(node) and value in (unmarked_value(read) for read in reads(node))
    ]
    return all(node.op_type == "Shape" and not node.domain for node in readers)


def _with_sizes(segment: Segment, tensors: Sequence[MarkedTensor]) -> Segment:
    names = tuple(tensor.name for tensor in tensors) if segment.input_names else ()
    return replace(
        segment,
        start=(*segment.start, *(tensor.reference for tensor in tensors)),
        input_names=(*segment.input_names, *names),
        sizes_from=(),
    )


def _select(
    table: MarkTable, references: Sequence[MarkReference], at: str, problems: list[Problem]
) -> _Side:
    chosen: list[tuple[MarkedTensor, int]] = []
    for index, reference in enumerate(references):
        tensors = table.select(reference, f"{at}[{index}]")
        if isinstance(tensors, Problem):
            problems.append(tensors)
        else:
            chosen.extend((tensor, index) for tensor in tensors)
    return _Side(at, tuple(tensor for tensor, _ in chosen), tuple(index for _, index in chosen))


def _boundaries(
    chosen: _Side, own_names: Sequence[str], at: str, inferred: Inferred, problems: list[Problem]
) -> list[Boundary]:
    names = boundary_names(chosen.tensors, own_names, at)
    if isinstance(names, Problem):
        problems.append(names)
        return []
    boundaries: list[Boundary] = []
    for position, (tensor, name) in enumerate(zip(chosen.tensors, names, strict=True)):
        item = boundary(tensor, name, chosen.place(position), inferred)
        if isinstance(item, Problem):
            problems.append(item)
        else:
            boundaries.append(item)
    return boundaries


def _untyped(at: str, failure: str) -> Problem:
    what = f"the types of the model cannot be inferred: {failure}"
    remedy = "fix the model, or write the types of these tensors under 'types'"
    return problem(at.partition(".")[0], what, "", remedy)  # the same for all segments


def _passes(output: Boundary, inputs: Sequence[Boundary]) -> bool:
    # An input that is also an output, under one name: ONNX allows it.
    return any((item.value, item.name) == (output.value, output.name) for item in inputs)


def _repeated(start: _Side) -> Iterator[Problem]:
    first: dict[Value, MarkedTensor] = {}
    for position, tensor in enumerate(start.tensors):
        if tensor.value not in first:
            first[tensor.value] = tensor
            continue
        what = f"'{tensor}' is the same tensor as '{first[tensor.value]}', listed before it"
        yield problem(start.place(position), what, "", "list it once")


def _is_reversed(model: Model, start: _Side, end: _Side, walk: Walk) -> bool:
    """Return whether the end needs no start, and the start needs all of the end."""
    if not start.values or any(value in walk.needed_starts for value in start.values):
        return False
    other = walk_back(model.graph, end.values, start.values)
    return all(value in other.needed_starts for value in end.values)


def _reversed(segment: Segment, start: _Side, end: _Side, at: str) -> Problem:
    what = f"segment '{segment.save_file}' is the wrong way round: its start, "
    what += f"{_listed(start.tensors)}, is computed from its end, {_listed(end.tensors)}"
    return problem(at, what, "", "exchange the two")


def _unneeded(segment: Segment, start: _Side, walk: Walk) -> Iterator[Problem]:
    for index, reference in enumerate(segment.start):
        pairs = zip(start.tensors, start.indexes, strict=True)
        chosen = [tensor for tensor, position in pairs if position == index]
        idle = [tensor for tensor in chosen if tensor.value not in walk.needed_starts]
        needed = [tensor for tensor in chosen if tensor.value in walk.needed_starts]
        what = f"nothing in segment '{segment.save_file}' needs "
        if idle and needed:
            what += f"{_listed(idle)}, which '{reference}' selects"
            remedy = f"list the needed ones one by one: {_listed(needed)}"
            yield problem(f"{start.at}[{index}]", what, "", remedy)
        elif idle:
            name = _listed(idle) if idle[0].label else f"'{reference}'"
            yield problem(f"{start.at}[{index}]", f"{what}{name}", "", "remove it")


def _unbounded(
    graph: Graph, table: MarkTable, segment: Segment, end: _Side, walk: Walk
) -> Iterator[Problem]:
    for value in walk.inputs:
        what = f"segment '{segment.save_file}' needs '{value.name}', which its start does not list"
        # A mark that depends on a start would replace that start instead of joining it.
        nearest, everywhere = _nearest(
            table, end, walk, value, dependents(walk.nodes, walk.needed_starts)
        )
        if not everywhere:
            nearest, everywhere = _nearest(table, end, walk, value, ())
        suppliers = _listed(_supplier(table, segment, v) for v in table.by_value if v in nearest)
        remedy = f"add {suppliers} to start" if suppliers else ""
        skips = _skips(walk, value)
        if skips and nearest <= {value}:
            names = ", ".join(quoted(skip.name) for skip in skips)
            remedy = f"mark {names} and add {'it' if len(skips) == 1 else 'them'} to start"
            if all(
                str(tensor) == tensor.marked_value.name for tensor in end.tensors
            ):  # the one-line form
                remedy = f"add {names} to 'from'"
            if suppliers:
                nodes = walk_back(graph, [value, *walk.needed_starts], skips).nodes
                again = counted(sum(not is_mark(node) for node in nodes), "node")
                remedy += f"; {suppliers} there would also work, but run {again} again"
        elif not everywhere:
            mark = f"mark a tensor on every path from '{value.name}' to the end"
            remedy = f"{remedy}, and {mark}" if remedy else f"{mark} and add it to start"
        yield problem(f"{end.at.removesuffix('end')}start", what, "", remedy)


def _skips(walk: Walk, source: Value) -> list[Value]:
    """Return the values made of `source` alone where they join values made of the starts."""
    if not walk.needed_starts:
        return []
    joined = dependents(walk.nodes, walk.needed_starts)
    alone = dependents(walk.nodes, [source], walk.needed_starts) - joined
    joints = {
        unmarked_value(value): None
        for node in walk.nodes
        if any(value in joined for value in node.outputs)
        for value in reads(node)
        if value in alone
    }
    return [] if source in joints else list(joints)


def _nearest(
    table: MarkTable, end: _Side, walk: Walk, source: Value, avoid: Collection[Value]
) -> tuple[set[Value], bool]:
    # The marked values nearest to the end on the paths from `source`; whether each path has one.
    ends = set(end.values)
    behind = dependents(walk.nodes, [source], walk.needed_starts)
    nearest: set[Value] = set()
    visited: set[Value] = set()
    everywhere = True
    pending = list(end.values)
    while pending:
        value = unmarked_value(pending.pop())
        if value in visited or value not in behind:
            continue
        visited.add(value)
        usable = value is source or (value not in ends and value not in avoid)
        if usable and value in table.by_value:
            nearest.add(value)
        elif value is source:
            everywhere = False
        elif (node := value.producer) is not None:
            pending.extend(reads(node))
    return nearest, everywhere


def _supplier(table: MarkTable, segment: Segment, value: Value) -> MarkedTensor:
    listed = {(reference.mark, reference.call, reference.side) for reference in segment.start}
    tensors = table.by_value[value]
    return ([t for t in tensors if (t.mark, t.call, t.side) in listed] or tensors)[-1]


def _symbols(walk: Walk, boundaries: Sequence[Boundary]) -> Iterator[str]:
    for item in boundaries:
        yield from item.symbols
    for top in walk.nodes:
        for node in (top, *nodes_within(top)):
            for value in node.outputs:
                yield from symbols_in(value.info)


def _listed(tensors: Iterable[MarkedTensor]) -> str:
    return ", ".join(f"'{tensor}'" for tensor in tensors)
