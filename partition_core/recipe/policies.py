"""The policies and marks that ship with the package, put into a recipe that names them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from partition_core.base.errors import Problem, one_of, quoted, suggestion
from partition_core.recipe.completed import Completed
from partition_core.recipe.draft import REFERENCE_KEYS
from partition_core.recipe.mark_reference import parse_reference
from partition_core.recipe.names import recipe_names
from partition_core.recipe.operators import with_operators
from partition_core.recipe.parts import OF_OPERATORS, layer_problems, with_layers
from partition_core.recipe.schema import POLICY_SCHEMA, schema_problems
from partition_core.recipe.values import SHOWN_POLICIES
from partition_core.recipe.yaml_text import read_yaml
from partition_core.recipe.yaml_tree import EVERY, Node

POLICIES = Path(__file__).parent.parent / "policies"
STRUCTURAL = POLICIES / "structural"
KNOWN_MARKS = POLICIES / "marks" / "mmdet.yaml"
_POSTPROCESS = "postprocess.onnx"
"""What the policies call the segment behind the network."""
_OF_SEGMENTS = {"targets"}
"""The keys of a partition that say something about segments, which a policy may have."""


def completed(tree: Node, root: Path) -> Completed:
    """Return the recipe with the segments of the policy that it names, and their known marks.

    `root` is the folder that paths in it start from.

    The recipe's own segments may refer to known marks as well; a mark of its own takes
    precedence over a known one of the same name. A policy's marks come before the recipe's.
    Groups of layers are segments then, and a list of operators is in it.
    """
    problems = tuple(layer_problems(tree))
    if (partition := tree.get("partition")) is not None and "operators" in partition.entries:
        listed = with_operators(tree, partition, root)
        return Completed(listed.tree, listed.files, (*problems, *listed.problems))
    done = _completed(with_layers(tree))
    return replace(done, problems=(*problems, *done.problems))


def _completed(tree: Node) -> Completed:
    partition, label = tree.get("partition"), tree.get("partition", "type")
    if partition is None or label is None or not label.text:
        return Completed(tree)
    source = tree.get("model", "source")
    is_mmdet = source is not None and source.text == "mmdet"
    known = dict.fromkeys(recipe_names(STRUCTURAL), STRUCTURAL)
    if is_mmdet:
        known |= dict.fromkeys(recipe_names(POLICIES), POLICIES)
    if "segments" in partition.entries and label.text in known:
        what = f"{quoted(label.text)} is the name of a shared policy, which has its own segments"
        remedy = "choose another name, or remove 'segments'"
        return Completed(tree, problems=(Problem(label.place, what, "", remedy),))
    if "cut" in partition.entries and "segments" not in partition.entries:
        what = "'cut' says where marks of segments are, and there are no segments"
        remedy = "write 'segments', or leave out 'cut' and name a shared policy"
        cut = partition.entries["cut"].place
        return Completed(tree, problems=(Problem(cut, what, "", remedy),))
    own_keys = partition.entries.keys() - _OF_SEGMENTS
    if label.text == OF_OPERATORS and len(own_keys) == 1:
        what = f"{quoted(label.text)} needs the key 'operators' beside it"
        expected = "expected the operators that the runtime has, such as {file: npu.yaml}"
        return Completed(tree, problems=(Problem(label.place, what, expected),))
    if len(own_keys) > 1:
        own = {name.text for name in tree.select("marks", EVERY, "name")}
        wanted = {name for name in _referenced(tree) if name not in own}
        return _with_known_marks(tree, wanted) if is_mmdet and wanted else Completed(tree)
    if label.text not in known:
        what = f"{quoted(label.text)} is not a shared policy, and there are no segments"
        if label.text in recipe_names(POLICIES):
            what = f"policy {quoted(label.text)} refers to functions of mmdet"
        remedy = suggestion(label.text, known) or "choose one, or write 'segments'"
        return Completed(tree, problems=(Problem(label.place, what, one_of(known), remedy),))
    return _with_policy(tree, partition, known[label.text] / f"{label.text}.yaml", is_mmdet)


def _with_policy(tree: Node, partition: Node, path: Path, is_mmdet: bool) -> Completed:
    """Return `tree` with what the policy at `path` says in its `partition`."""
    text = read_yaml(path, _shown(path))
    problems = tuple(text.problems)
    if text.root is not None and not problems:
        problems = tuple(schema_problems(text.root, POLICY_SCHEMA))
    if text.root is None or problems:
        return Completed(tree, (path,), problems)
    segments = _for_pictures(text.root.entries["segments"], _pictures(tree))
    if is_mmdet and _has_open_batch(tree):
        # Nothing behind the heads is exported.
        segments = Node(segments.place, tuple(filter(_is_network, segments.items)))
    chosen = {**partition.entries, **text.root.entries, "segments": segments}
    grafted = Node(tree.place, {**tree.entries, "partition": Node(partition.place, chosen)})
    marked = Completed(grafted)
    if is_mmdet:
        marked = _with_known_marks(grafted, set(_referenced(grafted)))
    return Completed(marked.tree, (path, *marked.files), marked.problems)


def _pictures(tree: Node) -> int:
    """Return how many pictures the model takes at once; 1 if the recipe's shape is wrong."""
    inputs = tree.get("export", "inputs")
    first = next(iter(inputs.entries.values()), None) if inputs is not None else None
    count = first.get("shape", 0) if first is not None else None
    return count.value if count is not None and type(count.value) is int else 1


def _is_network(segment: Node) -> bool:
    return segment.entries["save_file"].text != _POSTPROCESS


def _has_open_batch(tree: Node) -> bool:
    axes = tree.get("export", "dynamic_axes")
    return axes is not None and any("0" in symbols.entries for symbols in axes.entries.values())


def _with_known_marks(tree: Node, wanted: set[str]) -> Completed:
    """Return `tree` with the known marks among those `wanted` before its own."""
    text = read_yaml(KNOWN_MARKS, _shown(KNOWN_MARKS))
    if text.root is None or text.problems:
        return Completed(tree, (KNOWN_MARKS,), tuple(text.problems))
    known = text.root.entries["marks"]
    added = tuple(mark for mark in known.items if mark.entries["name"].text in wanted)
    marks = tree.get("marks")
    if not added or (marks is not None and not isinstance(marks.value, tuple)):
        return Completed(tree)
    place = known.place if marks is None else marks.place
    both = Node(place, added + (() if marks is None else marks.items))
    return Completed(Node(tree.place, {**tree.entries, "marks": both}), (KNOWN_MARKS,))


def _referenced(tree: Node) -> Iterator[str]:
    for side in REFERENCE_KEYS:
        for node in tree.select("partition", "segments", EVERY, side, EVERY):
            reference = parse_reference(node.text or "")
            if reference is not None:
                yield reference.mark


def _shown(path: Path) -> str:
    return f"{SHOWN_POLICIES}/{path.relative_to(POLICIES).as_posix()}"


_CALLED_FOR_EACH_PICTURE = frozenset({"multiclass_nms"})
"""Known marks on functions that mmdet calls once for each picture of a batch."""

_NAMES = {"start": "input_names", "end": "output_names"}


def _for_pictures(segments: Node, count: int) -> Node:
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
