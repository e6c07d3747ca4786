"""Divides a model at the modules of a stack: into groups of about equal cost, or where a recipe
says."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from partition_core.base.errors import CutError, Problem, one_of, problem, quoted, suggestion
from partition_core.base.wording import counted
from partition_core.graph.constants import Constants
from partition_core.graph.costs import flops_of, types_of, weights_of
from partition_core.graph.file.graph import Model, Node, Value
from partition_core.graph.marks import is_mark
from partition_core.graph.module_paths import module_path, pattern_of, stacks
from partition_core.graph.parts import Parts, backward, constant_reads, filled
from partition_core.recipe.values import Balance, LayerCut

_AT = "partition.segments"


def layer_parts(model: Model, constants: Constants, cut: LayerCut) -> Parts:
    """Return the part of each node of `model`, whose nodes are in order, as `cut` says.

    Raises CutError if the model has no such modules, or they do not run one after the other.
    """
    paths = {node: module_path(node) for node in model.graph if not is_mark(node)}
    stack = _stack(paths, cut)
    starts = (
        _starts_at(stack, cut.at)
        if cut.at
        else _balanced(_costs(model, constants, stack, cut.balance), cut.groups)
    )
    group = {layer: sum(start <= index for start in starts) for index, layer in enumerate(stack)}
    known = {node: group[layer] for layer, nodes in stack.items() for node in nodes}
    parts = filled(model.graph, constants, known)
    _check(parts, paths, len(starts) + 1)
    return parts


def _stack(paths: Mapping[Node, str], cut: LayerCut) -> dict[str, list[Node]]:
    """Return the nodes of each module of the stack, in the order of their first nodes."""
    patterns = cut.every or tuple(dict.fromkeys(_siblings(path) for path in cut.at))
    layers: dict[str, list[Node]] = {}
    matching: set[str] = set()
    for text in patterns:
        pattern = pattern_of(text)
        for node, path in paths.items():
            if fits := pattern.match(path):
                matching.add(text)
                layers.setdefault(fits[1], []).append(node)
    known = set(filter(None, paths.values()))
    CutError.refuse(_no_module(text, known) for text in cut.every if text not in matching)
    if cut.groups > len(layers):
        what = f"the model has {counted(len(layers), 'module')} for {cut.groups} groups"
        expected = f"they are {', '.join(map(quoted, layers))}"
        raise CutError.at(f"{_AT}.groups", what, expected, "ask for fewer groups")
    _check_each_known(layers, cut.at, known)
    order = {node: index for index, node in enumerate(paths)}
    return dict(sorted(layers.items(), key=lambda layer: order[layer[1][0]]))


def _siblings(path: str) -> str:
    return ".".join([*path.split(".")[:-1], "*"])


def _no_module(text: str, known: Iterable[str]) -> Problem:
    place, what = f"{_AT}.every", f"no module of the model fits '{text}'"
    numbered = stacks(known)
    if not numbered:
        expected = "no node says that it comes from a module with a number"
        return problem(place, what, expected, "cut between tensors instead: `doit tensors`")
    expected = one_of([f"{pattern} ({count} modules)" for pattern, count in numbered.items()])
    return problem(place, what, expected, suggestion(text, numbered))


def _check_each_known(layers: Mapping[str, object], at: Sequence[str], known: set[str]) -> None:
    near = [*layers, *known]
    CutError.refuse(
        problem(
            f"{_AT}.at[{index}]", f"the model has no module '{path}'", "", suggestion(path, near)
        )
        for index, path in enumerate(at)
        if path not in layers
    )


def _starts_at(stack: Mapping[str, object], at: Sequence[str]) -> list[int]:
    order = list(stack)
    starts = [order.index(path) for path in at]
    CutError.refuse(
        problem(f"{_AT}.at[{index}]", f"'{path}' runs before '{before}'", "", "sort them")
        for index, (before, path) in enumerate(itertools.pairwise(at), 1)
        if starts[index] < starts[index - 1]
    )
    return starts


def _costs(
    model: Model, constants: Constants, stack: Mapping[str, Sequence[Node]], balance: Balance
) -> list[int]:
    """Return the cost of each module, the first and last with what is in front of it or behind."""
    known = {node: index for index, nodes in enumerate(stack.values()) for node in nodes}
    parts = filled(model.graph, constants, known)
    if balance == "flops":
        return _operations(model, parts, len(stack))
    read: list[set[Value]] = [set() for _ in stack]
    for node, part in parts.items():
        read[part].update(constant_reads(node, constants))
    return [weights_of(values).size for values in read]


def _operations(model: Model, parts: Parts, count: int) -> list[int]:
    type_in = types_of(model)
    totals = [0] * count
    unknown: dict[str, None] = {}
    for node, part in parts.items():
        operations = flops_of(node, type_in, {})
        if operations is None:
            unknown[node.op_type] = None
        totals[part] += operations or 0
    if not any(totals):
        what = f"the operations of {', '.join(unknown)} are not known from the dims in the model"
        raise CutError.at(f"{_AT}.balance", what, "", "write 'balance: weights'")
    return totals


def _balanced(costs: Sequence[int], groups: int) -> list[int]:
    """Return where each group but the first starts, so that the largest is as small as can be.

    Of several such divisions, the one whose groups differ least by the sum of their squares.
    """
    before = [0]
    for cost in costs:
        before.append(before[-1] + cost)
    best: list[tuple[int, int, tuple[int, ...]]] = [(total, total * total, ()) for total in before]
    for group in range(1, groups):
        best = [
            min(
                (
                    max(best[start][0], before[end] - before[start]),
                    best[start][1] + (before[end] - before[start]) ** 2,
                    (*best[start][2], start),
                )
                for start in range(group, end)
            )
            if end > group
            else (1 << 80, 1 << 160, ())
            for end in range(len(before))
        ]
    return list(best[-1][2])


def _check(parts: Parts, paths: Mapping[Node, str], count: int) -> None:
    if against := backward(parts):
        maker, reader = against
        what = f"{_called(reader, paths)} reads what {_called(maker, paths)} gives"
        expected = "expected modules that run one after the other: a later group would feed this"
        raise CutError.at(_AT, what, expected, "cut elsewhere")
    if empty := sorted(set(range(count)) - set(parts.values())):
        what = f"part {empty[0]} has no operators"
        raise CutError.at(_AT, what, "", "leave out the module that it would start before")


def _called(node: Node, paths: Mapping[Node, str]) -> str:
    return f"{node.op_type} of module '{paths[node]}'" if paths[node] else f"a {node.op_type}"
