"""Recognizes files that are given instead of an ONNX file by their first bytes. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

LONGEST = 64
"""Bytes needed to recognize a file."""


class Kind(NamedTuple):
    """A kind of file: what it is, and what to do about it."""

    what: str
    remedy: str


_OF_TORCH = "export the model to ONNX, or give a recipe of `source: torch` the code that makes it"
_KINDS: tuple[tuple[re.Pattern[bytes], Kind], ...] = tuple(
    (re.compile(start, re.DOTALL | re.IGNORECASE), Kind(what, remedy))
    for start, what, remedy in (
        (rb"\Z", "it is empty", "fetch it again"),
        (
            rb"version https://git-lfs",
            "it is a Git LFS pointer instead of the file",
            "run `git lfs pull` in its repository",
        ),
        (
            rb"\s*<(!doctype|html|head|body)",
            "it is a web page",
            "open its address in a browser: it may need a login, or another address for the file",
        ),
        (rb"PK\x03\x04", "it is a zip archive, as torch.save makes", f"unpack it, or {_OF_TORCH}"),
        (rb"\x1f\x8b", "it is compressed with gzip", "decompress it with `gunzip`"),
        (rb"\x80[\x02-\x05]", "it is a Python pickle", _OF_TORCH),
        (rb"\x89HDF\r\n", "it is an HDF5 file, as Keras makes", "convert it with tf2onnx"),
        (rb".{4}TFL3", "it is a TensorFlow Lite model", "convert it with tf2onnx"),
        (rb".{4}ORTM", "it is in onnxruntime's own format", "use the .onnx file it was made from"),
        (rb"\s*<\?xml", "it is XML, as OpenVINO makes", "use the .onnx file it was made from"),
        (
            rb"\s*\{\s*(\"|\})",
            "it is JSON",
            "look into it: it may be an error message from a server",
        ),
    )
)


def kind_of(start: bytes) -> Kind | None:
    """Return the kind of a file whose first bytes are `start`; None if unknown."""
    return next((kind for pattern, kind in _KINDS if pattern.match(start)), None)
