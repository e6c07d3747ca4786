"""Describes a cut in a recipe's terms: by the model's own marks, and by marks on its modules."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from partition_core.graph.file.attributes import module_of
from partition_core.graph.file.graph import Model, Value
from partition_core.graph.marks import MarkTable, live_nodes, marks_of, unmarked_value
from partition_core.recipe.mark_reference import MarkReference
from partition_core.suggest.flow import Flow, flowing_values
from partition_core.suggest.search import Parts

_EFFORTS = {"mark": 1, "module": 2, "none": 16}


@dataclass(frozen=True)
class Words:
    """How a recipe can refer to the tensors of a model.

    `modules` maps a tensor's name to the path of the outermost module that is called once and
    returns only this tensor. `names` is for ONNX files, where a mark names any tensor: it maps
    names here to those in the file where they differ.
    """

    table: MarkTable
    values: dict[str, Value]
    modules: dict[str, str]
    names: dict[str, str] | None = None

    def efforts(self, flow: Flow) -> tuple[int, ...]:
        """Return for each tensor of a flow how hard it is to name; the lower the easier."""
        if self.names is not None:
            return (_EFFORTS["mark"],) * len(flow.tensors)
        return tuple(
            _EFFORTS[
                "mark"
                if self.values[tensor.name] in self.table.by_value
                else "module"
                if tensor.name in self.modules
                else "none"
            ]
            for tensor in flow.tensors
        )


@dataclass
class CutText:
    """A cut in a recipe's terms: segments as (start, end), and the marks that they refer to.

    `known` are names of marks that the recipe has, `new` maps names to paths of modules, `tensors`
    maps names to those of tensors. `unmarkable` are tensors that no mark can name.
    """

    segments: list[tuple[list[str], list[str]]] = field(default_factory=list)
    known: dict[str, None] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, list[str]] = field(default_factory=dict)
    unmarkable: dict[str, None] = field(default_factory=dict)


def words_of(model: Model, flow: Flow, prefix: str) -> Words:
    """Return how a recipe can refer to `model`; `prefix` is the path of the user's own model.

    Raises CutError for a Mark node that lacks a required attribute.
    """
    return Words(marks_of(model), flowing_values(model), _sole_outputs(model, flow, prefix))


def words_of_file(model: Model, flow: Flow) -> Words:
    """Return how a recipe can refer to `model`, an ONNX file with its recipe's marks put in.

    Raises CutError for a Mark node that lacks a required attribute.
    """
    names = {unmarked_value(value).name: value.name for value in model.graph.outputs}
    return Words(marks_of(model), flowing_values(model), {}, names)


def cut_text(words: Words, flow: Flow, parts: Parts) -> CutText:
    """Return the cut of a flow into `parts` as segments between marks."""
    if words.names is not None:
        return _by_tensors(words, words.names, flow, parts)
    text = CutText()
    for part in range(max(parts) + 1):
        start, end = [], []
        for tensor in flow.tensors:
            made_here = tensor.maker >= 0 and parts[tensor.maker] == part
            readers = {parts[reader] for reader in tensor.readers}
            if made_here and (tensor.is_output or readers - {part}):
                end.append(tensor.name)
            elif not made_here and part in readers:
                start.append(tensor.name)
        text.segments.append((_refer(words, start, text), _refer(words, end, text)))
    return text


def _by_tensors(words: Words, names: Mapping[str, str], flow: Flow, parts: Parts) -> CutText:
    """Return a cut by marks on tensors: one for all that go from a part to the same others."""
    places: dict[tuple[int, frozenset[int], bool], list[str]] = {}
    for tensor in flow.tensors:
        maker = parts[tensor.maker] if tensor.maker >= 0 else -1
        readers = frozenset(parts[reader] for reader in tensor.readers) - {maker}
        if readers or tensor.is_output:
            named = names.get(tensor.name, tensor.name)
            places.setdefault((maker, readers, tensor.is_output), []).append(named)
    used = {tensor.mark for tensor in words.table.tensors}
    text = CutText([([], []) for _ in range(max(parts) + 1)])
    for number, ((maker, readers, _), tensors) in enumerate(sorted(places.items(), key=_order)):
        mark = _mark_name(f"place_{number}", used)
        text.tensors[mark] = tensors
        if maker >= 0:
            text.segments[maker][1].append(f"{mark}:input")
        for reader in sorted(readers):
            text.segments[reader][0].append(f"{mark}:output")
    return text


def _order(
    place: tuple[tuple[int, frozenset[int], bool], list[str]],
) -> tuple[int, list[int], bool]:
    (maker, readers, is_output), _ = place
    return maker, sorted(readers), is_output


def _refer(words: Words, names: Sequence[str], text: CutText) -> list[str]:
    """Return references that select exactly the tensors `names`; adds the marks that they need."""
    remaining = {words.values[name]: name for name in names}
    chosen: list[str] = []
    for reference, values in _choices(words.table):
        if values <= remaining.keys():
            chosen.append(str(reference))
            text.known[reference.mark] = None
            for value in values:
                del remaining[value]
    for name in remaining.values():
        if name not in words.modules:
            text.unmarkable[name] = None
            continue
        path = words.modules[name]
        mark = _mark_name(path, {tensor.mark for tensor in words.table.tensors})
        text.new[mark] = path
        chosen.append(f"{mark}:output")
    return chosen


def _choices(table: MarkTable) -> Iterator[tuple[MarkReference, set[Value]]]:
    """Yield the references to whole sides of marks, then those to single tensors."""
    sides: dict[MarkReference, set[Value]] = {}
    inside: set[MarkReference] = set()
    for tensor in table.tensors:
        whole = MarkReference(tensor.mark, tensor.side, tensor.call)
        sides.setdefault(whole, set()).add(tensor.value)
        if tensor.enclosing:
            inside.add(whole)
    yield from ((side, values) for side, values in sides.items() if side not in inside)
    for tensor in table.tensors:
        if not tensor.enclosing:
            yield tensor.reference, {tensor.value}


def _mark_name(path: str, used: Collection[str]) -> str:
    name = re.sub(r"\W", "_", path)
    name = name if name[:1].isalpha() else f"module_{name}"
    while name in used:
        name += "_"
    return name


def _sole_outputs(model: Model, flow: Flow, prefix: str) -> dict[str, str]:
    nodes = live_nodes(model.graph)
    below: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        for path in _paths(module_of(node)):
            below.setdefault(path, []).append(index)
    modules: dict[str, str] = {}
    start = f"{prefix}." if prefix else ""
    for path in sorted(below, key=len):
        own = set(below[path])
        results = [
            flow.tensors[tensor].name
            for index in below[path]
            for tensor in flow.steps[index].makes
            if flow.tensors[tensor].is_output or not own.issuperset(flow.tensors[tensor].readers)
        ]
        if path.startswith(start) and len(results) == 1 and _is_called_once(flow, own, path):
            modules.setdefault(results[0], path.removeprefix(start))
    return modules


def _is_called_once(flow: Flow, steps: Iterable[int], path: str) -> bool:
    """Return whether none of the module's own weights is read twice, as in a second call."""
    read = [
        weight
        for index in steps
        for weight in flow.steps[index].weights
        if flow.weights[weight].name.startswith(f"{path}.")
    ]
    return len(read) == len(set(read))


def _paths(module: str) -> Iterator[str]:
    steps = module.split(".") if module else []
    for count in range(1, len(steps) + 1):
        yield ".".join(steps[:count])
