"""The checks of a recipe's marks and segments, as a table; opens no file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from partition_core.base.errors import Problem, one_of, quoted, suggestion
from partition_core.recipe.draft import REFERENCE_KEYS, Check, Draft
from partition_core.recipe.mark_reference import GRAMMAR, MarkReference, parse_reference
from partition_core.recipe.names import is_reserved_on_windows
from partition_core.recipe.parts import PART_OF_OPERATORS
from partition_core.recipe.values import PART, SHOWN_POLICIES, STRUCTURAL_MARKS
from partition_core.recipe.yaml_tree import EVERY, Node

# The names in policies/marks/mmdet.yaml; a test compares the two.
KNOWN_MARK_NAMES = (
    "detector_forward",
    "detr_predict",
    "extract_feat",
    "BaseDenseHead",
    "yolo_head",
    "rtmdet_head",
    "multiclass_nms",
    "roi_extractor",
    "bbox_head_forward",
    "mask_roi_extractor",
    "mask_head_forward",
)
RESERVED_FILES = frozenset({"end2end.onnx"})


def _repeated_names(draft: Draft) -> Iterator[Problem]:
    for steps in _LISTS_OF_DISTINCT_NAMES:
        for names in draft.tree.select(*steps):
            yield from _repetitions(names.items, str)


_LISTS_OF_DISTINCT_NAMES = (
    ("export", "output_names"),
    ("marks", EVERY, "any_of"),
    ("marks", EVERY, "inputs"),
    ("marks", EVERY, "outputs"),
    ("marks", EVERY, "tensors"),
    ("partition", "cut", "at"),
    ("partition", "cut", "every"),
    ("partition", "from"),
    ("partition", "to"),
    ("partition", "segments", EVERY, "input_names"),
    ("partition", "segments", EVERY, "output_names"),
    ("proof", "images"),
    ("proof", "inputs"),
)


def _repeated_marks(draft: Draft) -> Iterator[Problem]:
    yield from _repetitions(draft.tree.select("marks", EVERY, "name"), str)


def _repeated_files(draft: Draft) -> Iterator[Problem]:
    files = list(draft.tree.select("partition", "segments", EVERY, "save_file"))
    files += draft.tree.select("partition", "save_file")
    yield from _repetitions(files, str.lower)
    for file in files:
        if file.text and file.text.lower() in RESERVED_FILES:
            what = f"{quoted(file.text)} is the name of a file that every build writes"
            yield Problem(file.place, what, "", "choose another name")
        elif file.text and is_reserved_on_windows(file.text):
            what = f"{quoted(file.text)} is reserved for a device on Windows"
            yield Problem(file.place, what, "", "choose another name")


def _detector_marks(draft: Draft) -> Iterator[Problem]:
    if draft.source != "torch":
        return
    for on in draft.tree.select("marks", EVERY, "on"):
        if on.text == "detector":
            what = "'detector' exists for mmdet models only"
            yield Problem(on.place, what, "expected 'model' or a dotted path", "write 'on: model'")


def _no_marks(draft: Draft) -> Iterator[Problem]:
    if draft.is_onnx:  # its own Mark nodes may be all it needs
        return
    if draft.tree.get("partition", "cut") is not None:
        return  # the structure of the model has the marks
    if draft.tree.get("marks") is None and any(True for _ in draft.segments()):
        yield Problem(draft.tree.place, "the key 'marks' is missing", "expected a list of marks")


def _references(draft: Draft) -> Iterator[Problem]:
    marks = _structural_marks(draft) | dict(reversed(list(draft.marks())))
    complete = _all_are_named(draft)
    for segment in draft.segments():
        for side in REFERENCE_KEYS:
            for node in segment.select(side, EVERY):
                if node.text is not None:
                    yield from _reference_problems(node, node.text, marks, complete, draft.is_onnx)
            yield from _repetitions(segment.select(side, EVERY), _canonical)


def _structural_marks(draft: Draft) -> dict[str, Node]:
    """Return the marks that the key 'cut' puts, which declare no tensors."""
    cut = draft.tree.get("partition", "cut")
    if cut is None:
        return {}
    parts = [PART.format(number) for number, _ in enumerate(draft.segments())]
    return dict.fromkeys(STRUCTURAL_MARKS if cut.text else ["model", *parts], cut)


def _names_of_structural_marks(draft: Draft) -> Iterator[Problem]:
    structural = _structural_marks(draft)
    by_operators = draft.tree.get("partition", "operators") is not None
    for name, mark in draft.marks():
        if name in structural or (by_operators and PART_OF_OPERATORS.fullmatch(name)):
            what = f"{quoted(name)} is the name of a mark that the partition puts by structure"
            yield Problem(mark.entries["name"].place, what, "", "rename it")


def _all_are_named(draft: Draft) -> bool:
    """Return whether every mark has a name; a reference may mean a mark without one."""
    marks = draft.tree.get("marks")
    named = len(list(draft.marks()))
    return marks is not None and isinstance(marks.value, tuple) and named == len(marks.items)


def _reference_problems(
    node: Node, text: str, marks: dict[str, Node], complete: bool, is_onnx: bool
) -> Iterator[Problem]:
    reference = parse_reference(text)
    if reference is None:
        what = f"{quoted(text)} is not a mark reference"
        yield Problem(node.place, what, f"expected {GRAMMAR}")
    elif is_onnx:
        return  # the file may have marks too: the names are compared once it is open
    elif reference.mark in marks:
        yield from _unmarked_tensor(node, reference, marks[reference.mark])
    elif complete:
        what = f"unknown mark {quoted(reference.mark)}"
        near = suggestion(reference.mark, [*marks, *KNOWN_MARK_NAMES])
        yield Problem(node.place, what, one_of(marks), near)


def _unmarked_tensor(node: Node, reference: MarkReference, mark: Node) -> Iterator[Problem]:
    declared = mark.get(f"{reference.side}s")
    if declared is None or not isinstance(declared.value, tuple):
        return
    names = [name.text for name in declared.items if name.text]
    if not declared.items:
        what = f"mark '{reference.mark}' marks no {reference.side}s"
        yield Problem(node.place, what, f"its '{reference.side}s' is an empty list")
    elif reference.path and reference.path[0] not in names:
        word = reference.path[0]
        what = f"mark '{reference.mark}' has no {reference.side} {quoted(word)}"
        yield Problem(node.place, what, one_of(names), suggestion(word, names))


def _segment_ends(draft: Draft) -> Iterator[tuple[Node, Node, Node]]:
    for segment in draft.segments():
        start, end = segment.get("start"), segment.get("end")
        if start is not None and end is not None:
            yield segment, start, end


def _empty_segments(draft: Draft) -> Iterator[Problem]:
    for _, start, end in _segment_ends(draft):
        meanings = _meanings(start)
        if meanings and meanings == _meanings(end):
            what = "'start' and 'end' are the same, so nothing lies between them"
            yield Problem(end.place, what, "expected different mark references")


def _reversed_segments(draft: Draft) -> Iterator[Problem]:
    targets = ((name, mark.get("on")) for name, mark in draft.marks())
    whole = {name for name, on in targets if on is not None and on.text == "detector"}
    for segment, start, end in _segment_ends(draft):
        if _meanings(start) == _meanings(end):
            continue
        behind, before = _sides(start, "output"), _sides(end, "input")
        calls = {(reference.mark, reference.call) for reference in (*behind, *before)}
        reason = ""
        if behind and {reference.mark for reference in behind} <= whole:
            reason = f"nothing comes after '{behind[0]}'"
        elif before and {reference.mark for reference in before} <= whole:
            reason = f"nothing comes before '{before[0]}'"
        elif behind and before and len(calls) == 1:
            reason = f"'{before[0]}' comes before '{behind[0]}'"
        elif pair := _in_known_order(draft, start, end):
            reason = "in every detector '{}' comes before '{}'".format(*pair)
        if reason:
            what = "'start' and 'end' are the wrong way round"
            yield Problem(segment.place, what, reason, "exchange the two")


_ORDER = {
    ("extract_feat", 0): 0,
    ("BaseDenseHead", 0): 1,
    ("yolo_head", 0): 2,
    ("rtmdet_head", 0): 2,
    ("multiclass_nms", 0): 3,
    ("roi_extractor", 0): 4,
    ("bbox_head_forward", 0): 5,
    ("multiclass_nms", 1): 6,
    ("mask_roi_extractor", 0): 7,
    ("mask_head_forward", 0): 8,
}
"""The known marks and their calls, in the order in which every detector passes them."""


def _in_known_order(draft: Draft, start: Node, end: Node) -> tuple[str, str] | None:
    """Return a mark of `end` and one of `start` if all are known and those of `end` come first."""
    own = {
        name for name, mark in draft.marks() if not mark.place.file.startswith(f"{SHOWN_POLICIES}/")
    }
    ranks: list[list[tuple[int, str]]] = []
    for side in (end, start):
        references = [parse_reference(node.text or "") for node in side.items]
        ranked = [
            (2 * _ORDER[known.mark, known.call] + (known.side == "output"), str(known))
            for known in references
            if known is not None and known.mark not in own and (known.mark, known.call) in _ORDER
        ]
        if not ranked or len(ranked) < len(references):
            return None
        ranks.append(ranked)
    (last, before), (first, behind) = max(ranks[0]), min(ranks[1])
    return (before, behind) if last < first else None


def _sides(references: Node, side: str) -> list[MarkReference]:
    """Return the references if all are to this side of their marks, else an empty list."""
    parsed = [parse_reference(node.text or "") for node in references.items]
    same_side = [each for each in parsed if each is not None and each.side == side]
    return same_side if len(same_side) == len(parsed) else []


def _repetitions(nodes: Iterable[Node], key: Callable[[str], str]) -> Iterator[Problem]:
    first: dict[str, tuple[str, Node]] = {}
    for node in nodes:
        if node.text is None:
            continue
        spelling, known = first.setdefault(key(node.text), (node.text, node))
        if known is not node:
            what = f"{quoted(node.text)} appears twice"
            spelt = "" if spelling == node.text else f"{quoted(spelling)} "
            earlier = f"the first is {spelt}at {known.place.file}:{known.place.line}"
            yield Problem(node.place, what, earlier, "keep or rename one of them")


def _meanings(references: Node) -> set[str]:
    return {_canonical(node.text) for node in references.items if node.text is not None}


def _canonical(text: str) -> str:
    return str(parse_reference(text) or text)


PARTITION_CHECKS: tuple[Check, ...] = (
    _repeated_names,
    _repeated_marks,
    _names_of_structural_marks,
    _repeated_files,
    _detector_marks,
    _no_marks,
    _references,
    _empty_segments,
    _reversed_segments,
)
