"""Weights of an ONNX file: the content of their TensorProto, and where their bytes are."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from partition_core.base.errors import CutError
from partition_core.graph.file.byte_range import File, Piece, Range, content_of
from partition_core.graph.file.value_type import DTYPES, byte_size, tensor_info
from partition_core.graph.file.wire import (
    SIZED,
    Field,
    WireError,
    entry_of,
    fields,
    integers,
    number,
    piece,
    text,
)

# Field numbers of TensorProto, and of the entries of its external_data.
DIMS, DTYPE, FLOATS, NAME, RAW, DOUBLES, LOCATIONS, PLACE = 1, 2, 4, 8, 9, 10, 13, 14
_STRINGS = 6
_CONTENT = frozenset((FLOATS, 5, _STRINGS, 7, RAW, DOUBLES, 11))
_EXTERNAL = 1
_VALUES = 1
_SNAPSHOTS, _BLOBS = "snapshots", "blobs"
_WHOLE = re.compile("[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class External:
    """Where a tensor's bytes are: in the file `location`, relative to the model's folder.

    A `length` of None means as many as the tensor needs.
    """

    location: str
    offset: int
    length: int | None


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as in its message; its bytes are read only when needed.

    `raw` are its bytes in the layout of raw_data if they are in the message (also those of
    float_data, which are the same), `external` is where they are otherwise. A sparse tensor has
    neither.
    """

    name: str
    dtype: int
    dims: tuple[int, ...]
    message: Piece
    raw: Piece | None = None
    external: External | None = None
    sparse: bool = False

    @property
    def info(self) -> bytes:
        """The ValueInfoProto of a value that holds this tensor; a sparse one reads as dense."""
        return tensor_info(self.name, self.dtype, self.dims)

    @property
    def nbytes(self) -> int:
        """Its size in memory, or that of its message if it holds strings."""
        return byte_size(self.dtype, self.dims) or len(self.message)


def tensor_fields(message: Piece) -> list[Field]:
    """Return the fields of a TensorProto; if it is a range, large contents are ranges."""
    return fields(message, _CONTENT)


def read_tensor(message: Piece) -> Tensor:
    """Return the tensor in a TensorProto; raises WireError and EOFError."""
    parts = tensor_fields(message)
    last = {key >> 3: value for key, value in parts}
    raw = last.get(RAW)
    for number_of in (FLOATS, DOUBLES):
        runs = [(key, value) for key, value in parts if key >> 3 == number_of]
        # One packed run of float_data is the same as raw_data.
        if raw is None and len(runs) == 1 and runs[0][0] & 7 == SIZED:
            raw = runs[0][1]
    external = _external(parts) if last.get(PLACE) == _EXTERNAL else None
    return Tensor(
        name=text(last.get(NAME, b"")),
        dtype=number(last.get(DTYPE, 0)),
        dims=tuple(integers(parts, DIMS)),
        message=message,
        raw=None if raw is None or external else piece(raw),
        external=external,
    )


def read_sparse_tensor(message: Piece) -> Tensor:
    """Return the tensor in a SparseTensorProto, which has the name of its values."""
    inside = fields(message)
    values = [piece(value) for key, value in inside if key >> 3 == _VALUES]
    dense = read_tensor(values[-1]) if values else None
    if dense is None:
        raise WireError("a sparse tensor has no values")
    return Tensor(dense.name, dense.dtype, tuple(integers(inside, 3)), message, sparse=True)


def _external(parts: list[Field]) -> External:
    entries: dict[str, str] = {}
    for key, value in parts:
        if key >> 3 == LOCATIONS:
            key_of, text_of = entry_of(content_of(piece(value)))
            entries[key_of] = text_of
    offset, length = entries.get("offset") or "0", entries.get("length")
    if not _WHOLE.fullmatch(offset) or not _WHOLE.fullmatch(length or "0"):
        raise WireError("offset and length of external data must be whole numbers")
    return External(entries.get("location", ""), int(offset), int(length) if length else None)


@dataclass
class Folder:
    """The folder of a model's external data: `path`, that of its file; None for one in memory."""

    path: Path | None
    _files: dict[str, File] = field(default_factory=dict)

    def bytes_of(self, tensor: Tensor) -> Range:
        """Return the range of the bytes of an external tensor; raises CutError if it is invalid."""
        external = tensor.external
        if external is None:
            raise ValueError(f"'{tensor.name}' is not external")
        needed = byte_size(tensor.dtype, tensor.dims)
        length = needed if external.length is None else external.length
        where = f"initializer '{tensor.name}'"
        if needed is None or length is None or length != needed:
            what = f"its external data has {length} bytes"
            dtype = DTYPES.get(tensor.dtype, "undefined")
            expected = f"expected {needed} for {dtype} {list(tensor.dims)}"
            raise CutError.at(where, what, expected)
        file = self._file(external.location, where)
        if external.offset + length > file.size:
            what = f"'{external.location}' ends at byte {file.size}"
            raise CutError.at(where, what, f"expected at least {external.offset + length}")
        return Range(file, external.offset, length)

    def _check_link(self, path: Path, where: str) -> None:
        """Raise CutError for a link that leads out of the folder: such a file is not the model's.

        It may lead to the blobs of the same model in the Hugging Face cache, where each file of a
        snapshot is such a link.
        """
        real, folder = path.resolve(), (self.path or path.parent).resolve()
        caches = (
            above.parent / _BLOBS for above in (folder, *folder.parents) if above.name == _SNAPSHOTS
        )
        if not any(real.is_relative_to(allowed) for allowed in (folder, *caches)):
            what = f"its external data in '{path.name}' is a link to '{real}', outside the folder"
            expected = "expected a file beside the model"
            remedy = "put the file there, or a hard link: a link of a model may lead to anything"
            raise CutError.at(where, what, expected, remedy)

    def _file(self, location: str, where: str) -> File:
        if location in self._files:
            return self._files[location]
        steps = PurePosixPath(location.replace(os.sep, "/"))
        if not location or steps.is_absolute() or ".." in steps.parts or self.path is None:
            what = f"its external data is in '{location}'"
            raise CutError.at(where, what, "expected a path below the model's folder")
        try:
            self._files[location] = File(self.path / location)
            self._check_link(self._files[location].path, where)
        except OSError as error:
            what = f"its external data in '{location}' cannot be read: {error.strerror}"
            remedy = "keep the file beside the model"
            raise CutError.at(where, what, "", remedy) from error
        return self._files[location]
