"""The checks of the targets of segments; opens no file."""

from __future__ import annotations

from collections.abc import Iterator

from partition_core.base.errors import Problem, one_of, quoted, suggestion
from partition_core.recipe.draft import Check, Draft
from partition_core.recipe.parts import PART_OF_OPERATORS
from partition_core.recipe.target import DEFAULT_PRECISION, PRECISIONS, target_name
from partition_core.recipe.yaml_tree import Node


def _targets(draft: Draft) -> Iterator[tuple[str, Node]]:
    """Yield the file of a segment and its list of targets, wherever a recipe writes them."""
    for segment in draft.segments():
        if (listed := segment.get("targets")) is not None:
            yield _text(segment, "save_file"), listed
    if (partition := draft.tree.get("partition")) is None:
        return
    if (written := partition.get("targets")) is None:
        return
    if written.items:
        yield _text(partition, "save_file"), written
    yield from written.entries.items()


def _text(node: Node, key: str) -> str:
    value = node.get(key)
    return "" if value is None else value.text or ""


def _unknown_segments(draft: Draft) -> Iterator[Problem]:
    written = draft.tree.get("partition", "targets")
    if written is None or not written.entries:
        return
    files = [_text(segment, "save_file") for segment in draft.segments()]
    by_operators = draft.tree.get("partition", "operators") is not None
    for file, listed in written.entries.items():
        is_part = PART_OF_OPERATORS.fullmatch(file.removesuffix(".onnx"))
        if by_operators and not is_part:
            what = f"{quoted(file)} is not a part by operators"
            expected = "expected 'supported.onnx' or 'rest.onnx', perhaps with a number"
            yield Problem(listed.place, what, expected)
        elif not by_operators and files and file not in files:
            what = f"no segment is saved as {quoted(file)}"
            yield Problem(listed.place, what, one_of(files), suggestion(file, files))


def _repeated_targets(draft: Draft) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for file, listed in _targets(draft):
        for target in listed.items:
            name = _name(target)
            if name and (file, name) in seen:
                what = f"target {quoted(name)} of {quoted(file)} appears twice"
                yield Problem(target.place, what, "", "remove one of them")
            seen.add((file, name))


def _name(target: Node) -> str:
    backend = target.text or _text(target, "backend")
    return target_name(backend, _text(target, "precision") or DEFAULT_PRECISION)


def _precisions(draft: Draft) -> Iterator[Problem]:
    for _, listed in _targets(draft):
        for target in listed.items:
            backend, precision = _text(target, "backend"), target.get("precision")
            able = next((able for name, able in PRECISIONS.items() if name == backend), ())
            if precision is not None and able and precision.text not in able:
                what = f"backend {quoted(backend)} has no precision {quoted(precision.text or '')}"
                yield Problem(precision.place, what, one_of(able))


TARGET_CHECKS: tuple[Check, ...] = (_unknown_segments, _repeated_targets, _precisions)
