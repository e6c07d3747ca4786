"""Files as inputs of a model: pictures of a detector, or tensors in `.npz` files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from partition_core.base.array_files import arrays_in
from partition_core.base.arrays import Array
from partition_core.base.errors import Place, RunError
from partition_core.base.wording import one_line

if TYPE_CHECKING:
    from partition_core.runtime.pipeline import Pipeline


_PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_TENSORS = ".npz"


@dataclass(frozen=True)
class Sample:
    """One set of inputs: its name for output files, its source files, and its reader."""

    name: str
    files: tuple[Path, ...]
    inputs: Callable[[], Mapping[str, Array]]


def pictures_in(source: Path) -> list[Path]:
    """Return a picture file, or the sorted pictures of a folder; raises RunError for none."""
    return _files(source, _PICTURES, "pictures (JPEG, PNG, …)")


def samples_in(pipeline: Pipeline, source: Path) -> list[Sample]:
    """Return the samples in a folder, or a file, for a model; nothing is read yet.

    Batches of pictures for a detector (the last one is padded with its last picture), for other
    models `.npz` files with the inputs by name. Raises RunError for a folder without them.
    """
    if pipeline.manifest.picture is None:
        expected = f"`.npz` files with {', '.join(t.name for t in pipeline.inputs)}"
        files = _files(source, (_TENSORS,), expected)
        names = names_of(files)
        return [Sample(name, (f,), _reader(f)) for name, f in zip(names, files, strict=True)]
    files, size = pictures_in(source), pipeline.manifest.pictures
    names = names_of(files)
    return [
        Sample(names[start], tuple(batch), _preparer(pipeline, batch, size))
        for start in range(0, len(files), size)
        for batch in [files[start : start + size]]
    ]


def names_of(files: Sequence[Path]) -> list[str]:
    """Return a name for each file: without its suffix, unless two would have the same name."""
    counts = Counter(file.stem for file in files)
    return [file.stem if counts[file.stem] == 1 else file.name for file in files]


def _preparer(
    pipeline: Pipeline, files: Sequence[Path], size: int
) -> Callable[[], Mapping[str, Array]]:
    return lambda: pipeline.preprocess(*files, *[files[-1]] * (size - len(files))).inputs


def _reader(file: Path) -> Callable[[], Mapping[str, Array]]:
    def read() -> Mapping[str, Array]:
        try:
            return arrays_in(file)
        except (OSError, ValueError) as error:
            reason = one_line(error)
            raise RunError.at(
                Place(str(file)), f"cannot be read: {reason}", "expected an `.npz` file"
            ) from error

    return read


def _files(source: Path, endings: tuple[str, ...], what: str) -> list[Path]:
    if source.is_file():
        return [source]
    files = (
        sorted(p for p in source.iterdir() if p.suffix.lower() in endings and p.is_file())
        if source.is_dir()
        else []
    )
    if not files:
        problem = "contains none" if source.is_dir() else "there is no such file or folder"
        raise RunError.at(Place(str(source)), problem, f"expected {what}")
    return files
