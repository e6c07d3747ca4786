"""The key `model.source`, which decides what all other keys mean, as written or as intended.

A recipe that lacks or misspells it is checked as the source it looks like, so that one mistake is
one problem. Imports only yaml_tree and errors.
"""

from __future__ import annotations

from dataclasses import dataclass

from partition_core.base.errors import Problem, nearest, one_of, quoted, suggestion
from partition_core.recipe.yaml_tree import Node

SOURCES = ("mmdet", "torch", "onnx")
_KEY = "source"
_SOURCE_OF_KEY = {"config": "mmdet", "factory": "torch", "path": "onnx", "url": "onnx"}
"""Keys that only one source has."""


@dataclass(frozen=True)
class Sourced:
    """A recipe's tree with a known `model.source`, or None if it cannot be guessed."""

    tree: Node | None
    problems: tuple[Problem, ...] = ()


def sourced(tree: Node) -> Sourced:
    """Return the recipe with a known source, and what is wrong with the source it has."""
    model = tree.get("model")
    if model is None or not model.entries:
        return Sourced(tree)  # the schema reports it
    source = model.entries.get(_KEY)
    if source is not None and source.text in SOURCES:
        return Sourced(tree)
    problem, intended, instead = _read(model, source)
    guess = intended if intended in SOURCES else _looks_like(model)
    if guess is None:
        return Sourced(None, (problem,))
    entries = {key: node for key, node in model.entries.items() if key != instead}
    entries[_KEY] = Node(problem.place, guess)
    top = {**tree.entries, "model": Node(model.place, entries)}
    return Sourced(Node(tree.place, top), (problem,))


def _read(model: Node, source: Node | None) -> tuple[Problem, str | None, str]:
    """Return what is wrong, the intended source, and the key written in place of `source`."""
    if source is not None:
        near = nearest(source.text or "", SOURCES)
        what = f"is {quoted(source.text)}" if source.text is not None else "is not text"
        remedy = suggestion(source.text or "", SOURCES)
        return Problem(source.place, what, one_of(SOURCES), remedy), near, _KEY
    for key, node in model.entries.items():
        name, colon, value = key.partition(":")
        if colon and name == _KEY and node.value is None:
            what = f"{quoted(key)} is a key without a value"
            remedy = f"put a space after the colon: '{_KEY}: {value}'"
            return Problem(node.place, what, "", remedy), nearest(value, SOURCES), key
        if key not in _SOURCE_OF_KEY and nearest(key, [_KEY]):
            what, remedy = f"unknown key {quoted(key)}", suggestion(key, [_KEY])
            return Problem(node.place, what, f"expected '{_KEY}'", remedy), node.text, key
    guess = _looks_like(model)
    remedy = f"write '{_KEY}: {guess}'" if guess else ""
    return (
        Problem(model.place, f"the key '{_KEY}' is missing", one_of(SOURCES), remedy),
        guess,
        _KEY,
    )


def _looks_like(model: Node) -> str | None:
    """Return the source whose keys a model has; None if it has no such key, or those of two."""
    sources = {source for key, source in _SOURCE_OF_KEY.items() if key in model.entries}
    return sources.pop() if len(sources) == 1 else None
