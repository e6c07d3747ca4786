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
from partition_core.base.wording import counted
from partition_core.chain.picture import PICTURE_CHANNELS
from partition_core.recipe.draft import Check, Draft
from partition_core.recipe.values import NETWORK_POLICIES
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
        what = f"has {counted(len(shape.items), 'dim')}"
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
        expected = "it takes normalized pictures"
        remedy = "remove 'dtype'" + (
            "; 'precision: float16' under 'export' makes the exported model compute in float16"
            if dtype.text == "float16"
            else ""
        )
        yield Problem(dtype.place, what, expected, remedy)


def _keys_without_effect(draft: Draft) -> Iterator[Problem]:
    for source, steps, what, expected, remedy in _WITHOUT_EFFECT:
        node = draft.tree.get(*steps) if draft.source == source else None
        if node is not None and node.value != ():
            yield Problem(node.place, what, expected, remedy)


_WITHOUT_EFFECT = (
    (
        "torch",
        ("export", "masks"),
        "only an mmdet model has masks that can be pasted",
        "",
        "remove it; the outputs are what the module returns",
    ),
    (
        "torch",
        ("proof", "images"),
        "has no meaning here",
        "a torch model is proven on the arrays in 'proof.inputs'",
        "remove it",
    ),
    (
        "mmdet",
        ("proof", "inputs"),
        "has no meaning here",
        "an mmdet model is proven on the pictures in 'proof.images'",
        "remove it",
    ),
    (
        "mmdet",
        ("export", "args"),
        "an mmdet model takes a picture and nothing else",
        "",
        "remove it; 'overrides' change its config",
    ),
    (
        "mmdet",
        ("export", "output_names"),
        "the outputs of an mmdet model have names: 'dets', 'labels', 'masks', 'panoptic'",
        "",
        "remove it; a segment's 'output_names' name its outputs",
    ),
)
"""A source, a key that has no effect on its models, why, what is expected, and what to do."""


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
                if axis != "0" or not _is_network(draft):
                    yield Problem(symbols.entries[axis].place, *_DETECTOR_AXES[axis])


def _is_network(draft: Draft) -> bool:
    policy = draft.tree.get("partition", "type")
    return policy is not None and policy.text in NETWORK_POLICIES


_DETECTOR_AXES = {
    "0": (
        "the batch size of an mmdet model can be dynamic only in front of its post-processing, "
        "which loops over the pictures of a batch in Python",
        f"{one_of(NETWORK_POLICIES)} as 'partition.type'",
        "write that, or remove '0' and write the number of pictures in 'shape'",
    ),
    "1": (
        "the number of channels cannot be dynamic",
        "the first convolution has weights for each channel",
        "remove '1'",
    ),
}


def _answers(draft: Draft) -> Iterator[Problem]:
    lines: set[str] = set()
    for at in draft.tree.select("export", "answers", EVERY, "at"):
        if at.text in lines:
            yield Problem(at.place, f"{quoted(at.text)} is answered twice", "", "keep one answer")
        lines.add(at.text or "")


def _axes_beyond_rank(symbols: Node, shape: Node | None) -> Iterator[Problem]:
    if shape is None or not isinstance(shape.value, tuple):
        return
    rank = len(shape.items)
    for axis, symbol in symbols.entries.items():
        if axis.isdecimal() and int(axis) >= rank:
            what = f"there is no axis {axis}: the input has {counted(rank, 'dim')}"
            expected = f"expected an axis from 0 to {rank - 1}" if rank else ""
            yield Problem(symbol.place, what, expected)


def _checkpoint(draft: Draft) -> Iterator[Problem]:
    for node in draft.tree.select("model", "weights", "checkpoint"):
        text = node.text or ""
        scheme = _SCHEME.match(text)
        if scheme is None:
            continue
        if scheme[1].lower() not in ("http", "https"):
            what = f"{quoted(scheme[1] + ':')} is not a supported scheme"
            yield Problem(node.place, what, "expected an http or https URL, or a path")
        elif not _has_host(text):
            what = f"{quoted(text)} is not a complete URL"
            yield Problem(node.place, what, "expected 'https://host/path'")


def _escaping_paths(draft: Draft) -> Iterator[Problem]:
    for steps in _INPUT_PATHS:
        for node in draft.tree.select(*steps):
            text = node.text or ""
            if text.startswith("~"):
                what = f"{quoted(text)} starts with '~', which is not expanded in recipes"
                expected = "expected a path relative to the project, or an absolute one"
                yield Problem(node.place, what, expected)
            elif not _SCHEME.match(text) and not os.path.isabs(text) and _escapes(text):
                what = f"{quoted(text)} is outside the project"
                remedy = "write an absolute path if that is intended"
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
        if not _may_exist(text):
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
            installed = importlib.metadata.distributions()
            known = {str(package.metadata["Name"]) for package in installed}
            what = f"no package {quoted(name)} is installed"
            yield Problem(
                node.place,
                what,
                "expected the name of an installed package",
                suggestion(name, known),
            )


_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def _proof_files(draft: Draft) -> Iterator[Problem]:
    for kind in ("images", "inputs"):
        for node in draft.tree.select("proof", kind, EVERY):
            if not node.text or not _may_exist(node.text):
                continue
            if not os.path.isfile(draft.root / node.text):
                yield Problem(node.place, *missing_file(draft.root, node.text))


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
            remedy = "'tensors' are both inputs and outputs"
            yield Problem(mark.entries[sides[0]].place, what, remedy)
        elif set(mark.entries) == {"name"}:
            what = "names no tensor"
            yield Problem(mark.place, what, "expected 'tensors', or 'inputs' and 'outputs'")


def _marks_of_one_line(draft: Draft) -> Iterator[Problem]:
    marks, start = draft.tree.get("marks"), draft.tree.get("partition", "from")
    if draft.is_onnx and marks is not None and marks.items and start is not None:
        what = "has no meaning beside 'from' and 'to', which name tensors themselves"
        yield Problem(marks.place, what, "", "remove it, or write 'type' and 'segments'")


def _may_exist(text: str) -> bool:
    """Return whether a path is worth looking up; other checks report those that are not."""
    inside = os.path.isabs(text) or not _escapes(text)
    return bool(text) and not text.startswith("~") and inside


def _escapes(path: str) -> bool:
    return os.path.normpath(path).split(os.sep)[0] == os.pardir


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


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
    _onnx_path,
    _tensor_marks,
    _marks_of_one_line,
)
