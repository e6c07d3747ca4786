"""The key `model.source`, which decides what all other keys mean: what it says, or was to say.

A recipe in which it is missing or misspelt is checked as what it looks like, so that one mistake is
one problem. Imports only yaml_tree and errors.
"""

from __future__ import annotations

from dataclasses import dataclass

from partition_core.base.errors import Problem, nearest, one_of, quoted, suggestion
from partition_core.recipe.yaml_tree import Node

SOURCES = ("mmdet", "torch", "onnx")
_KEY = "source"
_OF_KEYS = {"config": "mmdet", "factory": "torch", "path": "onnx", "url": "onnx"}
"""The sources that have these keys beside `source`; no other source has them."""


@dataclass(frozen=True)
class Sourced:
    """A recipe's tree whose `model.source` is a known one, or None if that cannot be guessed."""

    tree: Node | None
    problems: tuple[Problem, ...] = ()


def sourced(tree: Node) -> Sourced:
    """Return the recipe with a source that is known, and what is wrong with the one it has."""
    model = tree.get("model")
    if model is None or not model.entries:
        return Sourced(tree)  # the schema tells what a model is
    given = model.entries.get(_KEY)
    if given is not None and given.text in SOURCES:
        return Sourced(tree)
    problem, meant, instead = _read(model, given)
    guess = meant if meant in SOURCES else _looks_like(model)
    if guess is None:
        return Sourced(None, (problem,))
    entries = {key: node for key, node in model.entries.items() if key != instead}
    entries[_KEY] = Node(problem.place, guess)
    top = {**tree.entries, "model": Node(model.place, entries)}
    return Sourced(Node(tree.place, top), (problem,))


def _read(model: Node, given: Node | None) -> tuple[Problem, str | None, str]:
    """Return what is wrong, the source that was meant, and the key that stands for `source`."""
    if given is not None:
        near = nearest(given.text or "", SOURCES)
        what = f"is {quoted(given.text)}" if given.text is not None else "is not text"
        remedy = suggestion(given.text or "", SOURCES)
        return Problem(given.place, what, one_of(SOURCES), remedy), near, _KEY
    for key, node in model.entries.items():
        name, colon, value = key.partition(":")
        if colon and name == _KEY and node.value is None:
            what = f"{quoted(key)} is a key without a value"
            remedy = f"put a space behind the colon: '{_KEY}: {value}'"
            return Problem(node.place, what, "", remedy), nearest(value, SOURCES), key
        if key not in _OF_KEYS and nearest(key, [_KEY]):
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
    """Return the source of which a model has a key; None if it has none, or those of two."""
    found = {source for key, source in _OF_KEYS.items() if key in model.entries}
    return found.pop() if len(found) == 1 else None
