"""The segments of parts: groups of layers that a recipe writes, and parts that a build finds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from partition_core.base.errors import Problem
from partition_core.recipe.mark_reference import MarkReference
from partition_core.recipe.values import PART, Partition, Segment
from partition_core.recipe.yaml_tree import Node

OF_OPERATORS = "supported"
"""The type of a partition by what operators a runtime has."""
SUPPORTED, REST = "supported", "rest"
"""The names of its parts, with a number from the second of a kind on."""
PART_OF_OPERATORS = re.compile(rf"({SUPPORTED}|{REST})(_[0-9]+)?")
MOST_PARTS = 100
_SAVE_FILE = "part_{}.onnx"
_OF_THE_CUT = ("every", "groups", "balance", "at")


def with_parts(partition: Partition, names: Sequence[str]) -> Partition:
    """Return a partition by operators with a segment for each of its parts `names`."""
    sizes = (MarkReference("model", "input"),)
    segments = (
        Segment(
            f"{name}.onnx",
            (MarkReference(name, "input"),),
            (MarkReference(name, "output"),),
            sizes_from=sizes,
        )
        for name in names
    )
    return replace(partition, segments=tuple(segments))


def with_layers(tree: Node) -> Node:
    """Return a recipe with a segment for each group of layers, and where the marks are as `cut`.

    Returns the recipe as it is if it writes its segments in another way, or wrongly.
    """
    partition = tree.get("partition")
    layers = tree.get("partition", "segments")
    count = None if layers is None else _count(layers)
    if partition is None or layers is None or count is None or "cut" in partition.entries:
        return tree
    file = layers.get("save_file") or Node(layers.place, _SAVE_FILE)
    if (pattern := file.text or "").count("{}") != 1:
        return tree
    targets = {"targets": layers.entries["targets"]} if "targets" in layers.entries else {}
    segments = tuple(
        Node(
            file.place,
            {**_segment(Node(file.place, pattern.replace("{}", str(number))), number), **targets},
        )
        for number in range(count)
    )
    cut = {key: layers.entries[key] for key in _OF_THE_CUT if key in layers.entries}
    entries = {
        **partition.entries,
        "cut": Node(layers.place, cut),
        "segments": Node(layers.place, segments),
    }
    return Node(tree.place, {**tree.entries, "partition": Node(partition.place, entries)})


def _count(layers: Node) -> int | None:
    """Return the number of parts; None if it is not written, or not as the schema asks."""
    groups, at = layers.get("groups"), layers.get("at")
    if groups is not None and type(groups.value) is int and at is None:
        return groups.value if 2 <= groups.value <= MOST_PARTS else None
    if at is not None and at.items and groups is None:
        return len(at.items) + 1 if len(at.items) < MOST_PARTS else None
    return None


def _segment(file: Node, number: int) -> Mapping[str, Node]:
    def references(text: str) -> Node:
        return Node(file.place, (Node(file.place, text),))

    mark = PART.format(number)
    return {
        "save_file": file,
        "start": references(f"{mark}:input"),
        "sizes_from": references("model:input"),
        "end": references(f"{mark}:output"),
    }


def layer_problems(tree: Node) -> Iterator[Problem]:
    """Yield what is wrong with groups of layers besides what the schema says."""
    layers = tree.get("partition", "segments")
    if layers is None or not layers.entries:
        return
    if (cut := tree.get("partition", "cut")) is not None:
        what = "'cut' has no meaning beside groups of layers"
        yield Problem(cut.place, what, "they say where the cuts are", "remove it")
