"""Files that come in the place of an ONNX file, told by their first bytes. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

LONGEST = 64
"""Bytes that tell what a file is."""


class Kind(NamedTuple):
    """A kind of files: what one is, and what to do about it."""

    what: str
    remedy: str


_OF_TORCH = "export the model to ONNX, or give a recipe of `source: torch` the code that makes it"
_KINDS: tuple[tuple[re.Pattern[bytes], Kind], ...] = tuple(
    (re.compile(start, re.DOTALL | re.IGNORECASE), Kind(what, remedy))
    for start, what, remedy in (
        (rb"\Z", "it is empty", "fetch it again"),
        (
            rb"version https://git-lfs",
            "it is a pointer of Git LFS in the place of the file",
            "run `git lfs pull` in its repository",
        ),
        (
            rb"\s*<(!doctype|html|head|body)",
            "it is a page of the web",
            "open its address in a browser: it may need a login, or another address for the file",
        ),
        (rb"PK\x03\x04", "it is a zip archive, as torch.save makes", f"unpack it, or {_OF_TORCH}"),
        (rb"\x1f\x8b", "it is packed by gzip", "unpack it with `gunzip`"),
        (rb"\x80[\x02-\x05]", "it is a pickle of Python", _OF_TORCH),
        (rb"\x89HDF\r\n", "it is an HDF5 file, as Keras makes", "convert it with tf2onnx"),
        (rb".{4}TFL3", "it is a model of TensorFlow Lite", "convert it with tf2onnx"),
        (rb".{4}ORTM", "it is in onnxruntime's own format", "take the .onnx it was made of"),
        (rb"\s*<\?xml", "it is XML, as OpenVINO makes", "take the .onnx it was made of"),
        (rb"\s*\{\s*(\"|\})", "it is JSON", "look into it: a server may tell an error so"),
    )
)


def kind_of(start: bytes) -> Kind | None:
    """Return what a file is whose first bytes are `start`; None for what nobody knows."""
    return next((kind for pattern, kind in _KINDS if pattern.match(start)), None)
