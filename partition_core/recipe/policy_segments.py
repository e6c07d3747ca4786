"""The segments of a shared policy for the number of pictures that a recipe has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from partition_core.recipe.draft import REFERENCE_KEYS
from partition_core.recipe.mark_reference import parse_reference
from partition_core.recipe.yaml_tree import Node

_CALLED_FOR_EACH_PICTURE = frozenset({"multiclass_nms"})
"""Known marks on functions that mmdet calls once for each picture of a batch."""

_NAMES = {"start": "input_names", "end": "output_names"}


def for_pictures(segments: Node, count: int) -> Node:
    """Return `segments` with each reference to a call for one picture repeated for all pictures.

    Names beside such a reference get the picture's number as a suffix, from the second on.
    """
    if count < 2:
        return segments
    return Node(segments.place, tuple(_segment(segment, count) for segment in segments.items))


def _segment(segment: Node, count: int) -> Node:
    entries = dict(segment.entries)
    for key in REFERENCE_KEYS:
        references = segment.get(key)
        if references is None:
            continue
        names = segment.get(_NAMES.get(key, ""))
        if names is not None and len(names.items) == len(references.items):
            pairs = zip(references.items, names.items, strict=True)
            both = [
                (each, name if number == 0 else Node(name.place, f"{name.text}_{number}"))
                for reference, name in pairs
                for number, each in enumerate(_calls(reference, count))
            ]
            entries[_NAMES[key]] = Node(names.place, tuple(name for _, name in both))
        called = tuple(each for node in references.items for each in _calls(node, count))
        entries[key] = Node(references.place, called)
    return Node(segment.place, entries)


def _calls(node: Node, count: int) -> Iterator[Node]:
    reference = parse_reference(node.text or "")
    if reference is None or reference.mark not in _CALLED_FOR_EACH_PICTURE:
        yield node
        return
    for number in range(count):
        yield Node(node.place, str(replace(reference, call=reference.call * count + number)))
