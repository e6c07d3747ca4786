"""The module that each node of a model comes from, by its metadata or by its name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from partition_core.graph.file.attributes import metadata_of, module_of
from partition_core.graph.file.graph import Node

_SCOPES = "pkg.torch.onnx.name_scopes"
"""The key of a node's metadata where torch.onnx lists its modules from the outside in, and what
they contain last."""


def module_path(node: Node) -> str:
    """Return the dotted path of the module that a node comes from; empty if nothing says it.

    Of a file that torch.onnx wrote, also the paths that it has in metadata or in names of nodes,
    such as `model.layers.0` of `/model/layers.0/MatMul`.
    """
    if path := module_of(node):
        return path
    scopes = metadata_of(node).get(_SCOPES)
    if scopes is not None:
        return _last_module(scopes)
    return node.name.strip("/").rpartition("/")[0].replace("/", ".")


def _last_module(scopes: str) -> str:
    try:
        names = ast.literal_eval(scopes)
    except (SyntaxError, ValueError):
        return ""
    return str(names[-2]) if isinstance(names, list) and len(names) > 1 else ""


def pattern_of(text: str) -> re.Pattern[str]:
    """Return the expression for paths that start with what `text` fits: `*` is one name, `**` any
    number of them. Its first group is that part of the path."""
    words = {"*": r"[^.]+", "**": r".+?"}
    inside = r"\.".join(words.get(word, _word(word)) for word in text.split("."))
    return re.compile(rf"({inside})(?:\.|$)")


def _word(text: str) -> str:
    return r"[^.]*".join(map(re.escape, text.split("*")))


def stacks(paths: Iterable[str]) -> dict[str, int]:
    """Return the patterns of the stacks in a model, and how many modules each has: modules with
    numbers for names, and the same module around them."""
    members: dict[str, set[str]] = {}
    for path in paths:
        words = path.split(".")
        for depth, word in enumerate(words):
            if word.isdigit():
                members.setdefault(".".join([*words[:depth], "*"]), set()).add(word)
    return {pattern: len(numbers) for pattern, numbers in members.items() if len(numbers) > 1}
