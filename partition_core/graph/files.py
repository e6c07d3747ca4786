"""Reads and writes ONNX files: whole or not at all, equal models as equal bytes."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from partition_core.base.child_process import DiedError, RaisedError, run_in_child
from partition_core.base.disk import file_digest
from partition_core.base.disk_errors import writing
from partition_core.base.errors import CutError, problem
from partition_core.graph.cut import cut
from partition_core.graph.external import locations
from partition_core.graph.file.byte_mover import write_pieces
from partition_core.graph.file.graph import Model, release
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.file.graph_writer import write_model
from partition_core.graph.file.tensor import Tensor
from partition_core.graph.file.tensor_writers import SMALL, Beside, Inline, Referred, Renamed
from partition_core.graph.file.value_type import byte_size
from partition_core.graph.inference import SECONDS, crash_problem, room_for
from partition_core.graph.mark_nodes import put_marks
from partition_core.graph.marks import MarkTable
from partition_core.graph.named_tensors import between
from partition_core.graph.skeleton import skeleton_bytes
from partition_core.graph.stored_models import published_name
from partition_core.graph.structural_marks import structural_marks
from partition_core.recipe.values import Cut, Segment

if TYPE_CHECKING:
    import onnx_ir as ir

DataPlacement = Literal["inline", "external", "referred"]
"""Where the weights of a file that is written are: in it, in one file beside it with the suffix
`.data`, or in the files where the source model has its external data."""

LARGEST = (1 << 31) - 1
"""The size of the largest file that protobuf, and so every runtime, can load."""


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    # Every object of a graph lives until the end: looking for cycles among them again and again
    # would make the time grow faster than the graph.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def cut_file(
    source: Path,
    segment: Segment,
    target: Path,
    *,
    at: str = "segment",
    table: MarkTable | None = None,
    weights: DataPlacement = "inline",
    check: bool = True,
) -> list[Path]:
    """Cut `segment` out of the file `source` into the file `target`; return the files written.

    The weights are copied from file to file and need no memory. `at` and `table` are as in
    `cut`. Raises CutError, also if the segment is not valid ONNX (see `check_model`), and
    OSError if writing fails; then there is no file.
    """
    with _no_collections():
        return _cut_and_save(read_model(source), segment, at, table, target, weights, check)


def cut_between(
    source: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    target: Path,
    *,
    weights: DataPlacement = "inline",
    check: bool = True,
) -> list[Path]:
    """Cut what lies between the tensors `inputs` and `outputs` of `source` into `target`.

    Everything else is as in `cut_file`.
    """
    with _no_collections():
        model = read_model(source)
        segment, table = between(model, inputs, outputs, target.name)
        return _cut_and_save(model, segment, "segment", table, target, weights, check)


def save(
    model: Model,
    target: Path,
    weights: DataPlacement = "inline",
    outside: Collection[str] | None = None,
) -> list[Path]:
    """Write `model` to `target` and return the files written, `target` last.

    With external weights, only the tensors called `outside` are outside of the model; None means
    all. Each file appears whole, or none does. Raises CutError if the model is too large for one
    file, or its external data is invalid; OSError if writing fails.
    """
    data = target.with_name(f"{target.name}.data")
    weights_target = _weights_target(model, target, data, weights, outside)
    pieces = write_model(model, weights_target)
    size = sum(map(len, pieces))
    if size > LARGEST:
        what = f"it would have {size} bytes, and no ONNX file can have more than {LARGEST}"
        remedy = "keep its weights in a file of their own (in a recipe: `export.weights`)"
        raise CutError.at(target.name, what, "", remedy)
    files = [(target, pieces)]
    if isinstance(weights_target, Beside) and weights_target.pieces:
        files.insert(0, (data, weights_target.pieces))
    parts = [path.with_name(f".{path.name}.{os.getpid()}.part") for path, _ in files]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        for (path, content), part in zip(files, parts, strict=True):
            with writing(path):
                write_pieces(content, part)
        for (path, _), part in zip(files, parts, strict=True):
            part.replace(path)
    except EOFError as error:
        raise CutError.at(
            target.name, "its source was truncated while it was read", "", "try again"
        ) from error
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return [path for path, _ in files]


def check_model(model: Model, name: str) -> None:
    """Raise CutError if onnx.checker with shape inference rejects `model`, for messages `name`.

    Large weights are checked by type, shape and number of bytes; they are not read.
    """
    import onnx

    CutError.refuse(
        problem(f"initializer '{tensor.name}'", f"it has {size} bytes", f"expected {needed}")
        for tensor, size, needed in _sizes(model)
        if size != needed
    )
    content = skeleton_bytes(model)

    def checked() -> bytes:
        onnx.checker.check_model(content, full_check=True)
        return b""

    try:
        run_in_child(checked, SECONDS, room_for(content))
    except RaisedError as error:
        raise CutError.at(name, "is not a valid ONNX model", str(error)) from error
    except DiedError as error:
        raise CutError(crash_problem(name, "onnx.checker", error)) from error


def save_traced(
    model: ir.Model,
    target: Path,
    weights: DataPlacement = "inline",
    cut: Cut | None = None,
    is_network: bool = False,
    outside: Sequence[str] | None = None,
) -> list[Path]:
    """Write `model` to `target` as `save` does, checked; equal models give equal bytes.

    `cut` puts structural marks into it; `is_network` allows that nothing lies behind them. With
    external weights, `outside` are the names of those that are outside of the model, in their order
    there; None means all, in the order of the model.

    While a weight is written, a second copy of it is in memory, never of all weights. Raises
    CutError if the model is not valid ONNX (see `check_model`).
    """
    import onnx_ir as ir

    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        traced = Path(folder) / "traced.onnx"
        with writing(target):
            ir.save(model, traced, external_data="weights", size_threshold_bytes=SMALL)
        read = read_model(traced)
        if cut:
            marks = structural_marks(read, cut, is_file=False, is_network=is_network)
            read = put_marks(read, marks.tensors)
        check_model(read, target.name)
        if outside is not None:
            place = {name: number for number, name in enumerate(outside)}
            read.graph.initializers.sort(key=lambda value: place.get(value.name, len(place)))
        return save(read, target, weights, outside)


def weights_files(model: Path) -> frozenset[str]:
    """Return the locations of all external data that the file `model` names."""
    renamed = Renamed("")
    write_model(read_model(model), renamed)
    return frozenset(renamed.former)


def rename_weights(model: Path, location: str) -> None:
    """Let `model` look for all its external data in the file `location` beside it.

    The file itself must be put there by the caller; offsets in it stay. Raises CutError if the
    model names more than one file.
    """
    read = read_model(model)
    renamed = Renamed(location)
    pieces = write_model(read, renamed)
    if len(renamed.former) > 1:
        what = f"its weights are in several files: {', '.join(sorted(renamed.former))}"
        raise CutError.at(model.name, what, "expected one file")
    part = model.with_name(f".{model.name}.{os.getpid()}.part")
    write_pieces(pieces, part)
    part.replace(model)


def _cut_and_save(
    model: Model,
    segment: Segment,
    at: str,
    table: MarkTable | None,
    target: Path,
    weights: DataPlacement,
    check: bool,
) -> list[Path]:
    piece = cut(model, segment, at, table)
    if check:
        check_model(piece, target.name)
    files = save(piece, target, weights)
    release(piece, model)
    return files


def _sizes(model: Model) -> Iterator[tuple[Tensor, int, int]]:
    for value in model.graph.initializers:
        tensor = value.tensor
        if tensor is not None and tensor.raw is not None:
            needed = byte_size(tensor.dtype, tensor.dims)
            if needed is not None:
                yield tensor, len(tensor.raw), needed


def _weights_target(
    model: Model,
    target: Path,
    data: Path,
    weights: DataPlacement,
    outside: Collection[str] | None = None,
) -> Inline | Beside | Referred:
    if weights == "inline":
        return Inline(model.folder)
    if weights == "external":
        return Beside(model.folder, data.name, outside)
    if model.folder.path is None or not locations(model):
        return Referred("")
    prefix = os.path.relpath(model.folder.path, target.parent)
    if prefix.startswith(os.pardir):
        what = f"the weights are in '{model.folder.path}', outside the folder of '{target.name}'"
        raise CutError.at(target.name, what, "ONNX refers to files below its own folder")
    return Referred("" if prefix == os.curdir else f"{prefix}/")


def move_into(folder: Path, written: list[Path], weights: str) -> None:
    """Move a model that was just `written`, its own file last, into `folder`.

    If `weights` is the name of a file of the step, the weights are moved to it, and the model
    refers to them by their published name.
    """
    *data_files, model = written
    if weights and data_files:
        (data,) = data_files
        rename_weights(model, published_name(weights, file_digest(data)))
        data.replace(folder / weights)
    elif weights:
        (folder / weights).touch()
    model.replace(folder / model.name)
