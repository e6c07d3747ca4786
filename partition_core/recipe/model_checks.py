"""The checks of a recipe's model, export and proof, as a table; opens no file."""

from __future__ import annotations

import glob
import importlib.metadata
import os
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from partition_core.base.errors import Problem, one_of, quoted, suggestion
from partition_core.base.missing import missing_file
from partition_core.chain.picture import PICTURE_CHANNELS
from partition_core.recipe.draft import Check, Draft
from partition_core.recipe.yaml_tree import EVERY, Node

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


def _detector_inputs(draft: Draft) -> Iterator[Problem]:
    inputs = draft.tree.get("export", "inputs")
    if draft.source != "mmdet" or inputs is None:
        return
    if len(inputs.entries) > 1:
        what = f"has {len(inputs.entries)} inputs"
        yield Problem(inputs.place, what, "expected exactly one for an mmdet model")
    for tensor in inputs.entries.values():
        yield from _picture_shape(tensor.get("shape"))
        yield from _picture_dtype(tensor.get("dtype"))


def _picture_shape(shape: Node | None) -> Iterator[Problem]:
    if shape is None or not isinstance(shape.value, tuple):
        return
    if len(shape.items) != 4:
        what = f"has {_count(len(shape.items), 'dim')}"
        yield Problem(shape.place, what, "expected 4 for an mmdet model: [1, 3, height, width]")
        return
    channels = shape.items[1].value
    if isinstance(channels, int) and channels not in PICTURE_CHANNELS:
        what = (
            f"is {channels}, and mmdet reads pictures with 3 channels, or with 1 if they are gray"
        )
        expected = "expected [1, 3, height, width] or [1, 1, height, width]"
        yield Problem(shape.items[1].place, what, expected)


def _picture_dtype(dtype: Node | None) -> Iterator[Problem]:
    if dtype is not None and dtype.text != "float32":
        what = f"the input of an mmdet model is float32, not {dtype.text}"
        expected = "it takes pictures that are normalized"
        remedy = "leave 'dtype' out" + (
            "; 'precision: float16' under 'export' makes the exported model compute in float16"
            if dtype.text == "float16"
            else ""
        )
        yield Problem(dtype.place, what, expected, remedy)


def _keys_without_effect(draft: Draft) -> Iterator[Problem]:
    for source, steps, what, remedy in _WITHOUT_EFFECT:
        node = draft.tree.get(*steps) if draft.source == source else None
        if node is not None and node.value != ():
            yield Problem(node.place, what, "", remedy)


_WITHOUT_EFFECT = (
    (
        "torch",
        ("export", "masks"),
        "only an mmdet model has masks that can be pasted",
        "remove it; the outputs are what the module returns",
    ),
    (
        "torch",
        ("proof", "images"),
        "only an mmdet model is proven on pictures",
        "remove it; a torch model is proven on random inputs",
    ),
    (
        "mmdet",
        ("export", "args"),
        "an mmdet model takes a picture and nothing else",
        "remove it; 'overrides' change what its config says",
    ),
    (
        "mmdet",
        ("export", "output_names"),
        "the outputs of an mmdet model have names: 'dets', 'labels', 'masks', 'panoptic'",
        "remove it; 'output_names' of a segment name the outputs of that",
    ),
)
"""A source, a key that says nothing about its models, why, and what to do."""


def _dynamic_axes(draft: Draft) -> Iterator[Problem]:
    inputs = draft.tree.get("export", "inputs")
    known = inputs.entries if inputs is not None else {}
    for axes in draft.tree.select("export", "dynamic_axes"):
        for tensor, symbols in axes.entries.items():
            if known and tensor not in known:
                what = f"unknown input {quoted(tensor)}"
                yield Problem(symbols.place, what, one_of(known), suggestion(tensor, known))
            elif known:
                yield from _axes_beyond_rank(symbols, known[tensor].get("shape"))


def _detector_axes(draft: Draft) -> Iterator[Problem]:
    if draft.source != "mmdet":
        return
    for axes in draft.tree.select("export", "dynamic_axes"):
        for symbols in axes.entries.values():
            for axis in sorted(_DETECTOR_AXES.keys() & symbols.entries.keys()):
                yield Problem(symbols.entries[axis].place, *_DETECTOR_AXES[axis])


_DETECTOR_AXES = {
    "0": (
        "the number of pictures of an mmdet model cannot be dynamic",
        "mmdet's post-processing takes the pictures of a batch one by one, in Python, so that the "
        "graph holds as many copies of it as there are pictures",
        "leave '0' out; for several pictures at a time write their number in 'shape'",
    ),
    "1": (
        "the number of channels cannot be dynamic",
        "the first convolution has a weight for each",
        "leave '1' out",
    ),
}


def _answers(draft: Draft) -> Iterator[Problem]:
    lines: set[str] = set()
    for at in draft.tree.select("export", "answers", EVERY, "at"):
        if at.text in lines:
            yield Problem(at.place, f"{quoted(at.text)} is answered twice", "", "leave one answer")
        lines.add(at.text or "")


def _axes_beyond_rank(symbols: Node, shape: Node | None) -> Iterator[Problem]:
    if shape is None or not isinstance(shape.value, tuple):
        return
    rank = len(shape.items)
    for axis, symbol in symbols.entries.items():
        if axis.isdecimal() and int(axis) >= rank:
            what = f"there is no axis {axis}: the input has {_count(rank, 'dim')}"
            expected = f"expected an axis from 0 to {rank - 1}" if rank else ""
            yield Problem(symbol.place, what, expected)


def _checkpoint(draft: Draft) -> Iterator[Problem]:
    for node in draft.tree.select("model", "weights", "checkpoint"):
        text = node.text or ""
        scheme = _SCHEME.match(text)
        if scheme is None:
            continue
        if scheme[1].lower() not in ("http", "https"):
            what = f"{quoted(scheme[1] + ':')} cannot be loaded from"
            yield Problem(node.place, what, "expected an http or https URL, or a path")
        elif not _has_host(text):
            what = f"{quoted(text)} is not a complete URL"
            yield Problem(node.place, what, "expected 'https://host/path'")


def _escaping_paths(draft: Draft) -> Iterator[Problem]:
    for steps in _INPUT_PATHS:
        for node in draft.tree.select(*steps):
            text = node.text or ""
            if text.startswith("~"):
                what = f"{quoted(text)} begins with '~', which no recipe replaces by a folder"
                expected = "expected a path relative to the project, or an absolute one"
                yield Problem(node.place, what, expected)
            elif not _SCHEME.match(text) and not os.path.isabs(text) and _escapes(text):
                what = f"{quoted(text)} leads out of the project"
                remedy = "write an absolute path if that is meant"
                yield Problem(node.place, what, "expected a path inside the project", remedy)


_INPUT_PATHS = (
    ("model", "config"),
    ("model", "path"),
    ("model", "weights", "checkpoint"),
    ("model", "depends_on", "files", EVERY),
    ("proof", "images", EVERY),
    ("proof", "inputs", EVERY),
)


def _declared_files(draft: Draft) -> Iterator[Problem]:
    for node in draft.tree.select("model", "depends_on", "files", EVERY):
        text = node.text or ""
        if not _may_be_there(text):
            continue
        if not any(map(os.path.isfile, glob.iglob(str(draft.root / text), recursive=True))):
            yield Problem(node.place, *missing_file(draft.root, text))


def _declared_packages(draft: Draft) -> Iterator[Problem]:
    for node in draft.tree.select("model", "depends_on", "packages", EVERY):
        name = node.text or ""
        if not _PACKAGE.fullmatch(name):
            continue
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            known = {str(one.metadata["Name"]) for one in importlib.metadata.distributions()}
            what = f"no package {quoted(name)} is installed"
            yield Problem(
                node.place, what, "expected a name that pip knows", suggestion(name, known)
            )


_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def _proof_files(draft: Draft) -> Iterator[Problem]:
    for kind in ("images", "inputs"):
        for node in draft.tree.select("proof", kind, EVERY):
            if not node.text or not _may_be_there(node.text):
                continue
            if not os.path.isfile(draft.root / node.text):
                yield Problem(node.place, *missing_file(draft.root, node.text))


def _proof_of_another_source(draft: Draft) -> Iterator[Problem]:
    for source, key, expected in _PROVEN_OTHERWISE:
        node = draft.tree.get("proof", key)
        if node is not None and draft.source == source:
            yield Problem(node.place, "has no meaning here", expected, "remove it")


_PROVEN_OTHERWISE = (
    ("torch", "images", "a torch model is proven on arrays, which 'proof.inputs' names"),
    ("mmdet", "inputs", "an mmdet model is proven on pictures, which 'proof.images' names"),
)


def _onnx_path(draft: Draft) -> Iterator[Problem]:
    for path in draft.tree.select("model", "path"):
        if draft.is_onnx and path.text and _SCHEME.match(path.text):
            yield Problem(path.place, f"{quoted(path.text)} is a URL", "", "write it as 'url'")


def _tensor_marks(draft: Draft) -> Iterator[Problem]:
    if not draft.is_onnx:
        return
    for mark in draft.tree.select("marks", EVERY):
        sides = [side for side in ("inputs", "outputs") if side in mark.entries]
        if "tensors" in mark.entries and sides:
            what = f"the keys 'tensors' and '{sides[0]}' exclude each other"
            remedy = "'tensors' are both what goes in and what comes out"
            yield Problem(mark.entries[sides[0]].place, what, remedy)
        elif set(mark.entries) == {"name"}:
            what = "names no tensor"
            yield Problem(mark.place, what, "expected 'tensors', or 'inputs' and 'outputs'")


def _marks_of_one_line(draft: Draft) -> Iterator[Problem]:
    marks, start = draft.tree.get("marks"), draft.tree.get("partition", "from")
    if draft.is_onnx and marks is not None and marks.items and start is not None:
        what = "has no meaning beside 'from' and 'to', which name tensors themselves"
        yield Problem(marks.place, what, "", "remove it, or write 'type' and 'segments'")


def _may_be_there(text: str) -> bool:
    """Return whether a path is worth a look; of others it is told already what is wrong."""
    inside = os.path.isabs(text) or not _escapes(text)
    return bool(text) and not text.startswith("~") and inside


def _escapes(path: str) -> bool:
    return os.path.normpath(path).split(os.sep)[0] == os.pardir


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


MODEL_CHECKS: tuple[Check, ...] = (
    _detector_inputs,
    _dynamic_axes,
    _detector_axes,
    _keys_without_effect,
    _answers,
    _checkpoint,
    _escaping_paths,
    _declared_files,
    _declared_packages,
    _proof_files,
    _proof_of_another_source,
    _onnx_path,
    _tensor_marks,
    _marks_of_one_line,
)
