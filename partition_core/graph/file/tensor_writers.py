"""Decides where the bytes of weights go: into the model, into a file beside it, or nowhere."""

from __future__ import annotations

from collections.abc import Callable, Collection

from partition_core.graph.file.byte_range import Piece, content_of
from partition_core.graph.file.tensor import (
    DOUBLES,
    FLOATS,
    LOCATIONS,
    NAME,
    PLACE,
    RAW,
    Folder,
    Tensor,
    tensor_fields,
)
from partition_core.graph.file.wire import counted, in_order, message, named, sized, written

ALIGNMENT = 4096
"""Tensors start at a multiple of the page size in a data file, so that they can be mapped."""
SMALL = 1024
"""Tensors with fewer bytes stay in the model: shapes and axes that shape inference reads."""


class Inline:
    """All bytes go into the model, also those from other files."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def written(self, tensor: Tensor, name: str) -> list[Piece]:
        """Return the TensorProto of `tensor` under `name`; raises CutError."""
        if tensor.external is None:
            return _as_it_is(tensor, name)
        return _with(tensor, name, RAW, message(RAW, [self._folder.bytes_of(tensor)]))


class Changed:
    """All bytes go into the model, as `change` returns them for a tensor's dtype and bytes."""

    def __init__(self, folder: Folder, change: Callable[[int, bytes], bytes]) -> None:
        self._folder = folder
        self._change = change

    def written(self, tensor: Tensor, name: str) -> list[Piece]:
        """Return the TensorProto of `tensor` under `name`; raises CutError."""
        content = self._folder.bytes_of(tensor) if tensor.external else tensor.raw
        if content is None:
            return _as_it_is(tensor, name)
        changed = self._change(tensor.dtype, content_of(content))
        return _with(tensor, name, RAW, message(RAW, [changed]))


class Beside:
    """Large tensors go into one data file called `location`, whose content is `pieces`.

    Only those called `names`, unless it is None.
    """

    def __init__(self, folder: Folder, location: str, names: Collection[str] | None = None) -> None:
        self._folder = folder
        self._location = location
        self._names = None if names is None else frozenset(names)
        self.pieces: list[Piece] = []
        self.size = 0

    def written(self, tensor: Tensor, name: str) -> list[Piece]:
        """Return the TensorProto of `tensor` under `name`; raises CutError."""
        content = self._folder.bytes_of(tensor) if tensor.external else tensor.raw
        if content is None:
            return _as_it_is(tensor, name)
        if len(content) < SMALL or (self._names is not None and name not in self._names):
            return _with(tensor, name, RAW, message(RAW, [content]))
        gap = -self.size % ALIGNMENT
        entries = external_data(self._location, self.size + gap, len(content))
        self.pieces += [bytes(gap), content]
        self.size += gap + len(content)
        return _with(tensor, name, LOCATIONS, [entries])


class Referred:
    """External data stays where it is: `prefix` leads from the new model's folder to the old one.

    It is empty, or ends with a slash.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def written(self, tensor: Tensor, name: str) -> list[Piece]:
        """Return the TensorProto of `tensor` under `name`."""
        external = tensor.external
        if external is None or not self._prefix:
            return _as_it_is(tensor, name)
        location = self._prefix + external.location
        entries = external_data(location, external.offset, external.length)
        return _with(tensor, name, LOCATIONS, [entries])


class Renamed:
    """External data is in the file `location`, otherwise unchanged; `former` are its old names."""

    def __init__(self, location: str) -> None:
        self._location = location
        self.former: set[str] = set()

    def written(self, tensor: Tensor, name: str) -> list[Piece]:
        """Return the TensorProto of `tensor` under `name`."""
        external = tensor.external
        if external is None:
            return _as_it_is(tensor, name)
        self.former.add(external.location)
        entries = external_data(self._location, external.offset, external.length)
        return _with(tensor, name, LOCATIONS, [entries])


def external_data(location: str, offset: int, length: int | None) -> bytes:
    """Return the fields of a TensorProto for bytes in another file."""
    entries = {"location": location, "offset": str(offset)}
    if length is not None:
        entries["length"] = str(length)
    content = b"".join(
        sized(LOCATIONS, named(1, key) + named(2, value)) for key, value in entries.items()
    )
    return content + counted(PLACE, 1)


def _as_it_is(tensor: Tensor, name: str) -> list[Piece]:
    return [tensor.message] if name == tensor.name else _rewritten(tensor, name, (NAME,))


def _with(tensor: Tensor, name: str, number: int, content: list[Piece]) -> list[Piece]:
    # The tensor with its bytes elsewhere; tensors of strings and varints never get here.
    moved = (NAME, FLOATS, RAW, DOUBLES, LOCATIONS, PLACE)
    return _rewritten(tensor, name, moved, (number, content))


def _rewritten(
    tensor: Tensor, name: str, left_out: Collection[int], *added: tuple[int, list[Piece]]
) -> list[Piece]:
    kept = [
        (key >> 3, written(key, value))
        for key, value in tensor_fields(tensor.message)
        if key >> 3 not in left_out
    ]
    new_name: list[Piece] = [named(NAME, name)] if name else []
    return in_order([*kept, (NAME, new_name), *added])
