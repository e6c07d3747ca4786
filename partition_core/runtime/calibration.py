"""The real inputs of each segment over many samples, as files for quantization tools.

One `.npz` per sample and segment: an interrupted run leaves only complete files, only one sample is
in memory, and tensors with data-dependent sizes need not stack.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from partition_core.base.array_files import arrays_in
from partition_core.base.arrays import Array
from partition_core.base.disk import write_whole, written_whole
from partition_core.base.errors import Place, RunError
from partition_core.base.outside_files import json_in
from partition_core.chain.pieces import SegmentBoundary, Tensor

if TYPE_CHECKING:
    from partition_core.runtime.pipeline import Pipeline
    from partition_core.runtime.samples import Sample

Marked = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""From the inputs of a model to the arrays at its marks, by reference."""

INDEX = "calibration.json"


def calibrate(
    pipeline: Pipeline,
    samples: Sequence[Sample],
    folder: Path,
    marked: Marked | None = None,
) -> Iterator[str]:
    """Write the inputs of each segment for each sample; yield each sample's name.

    They come from running the chain, or from `marked`, the arrays at the marks by reference.
    The file `<segment without .onnx>/<sample>.npz` has the inputs by name. `calibration.json`,
    written first, lists all files; those that an earlier one lists are removed.
    Raises RunError for a sample that cannot be read or does not fit.
    """
    _remove_former(folder)
    index = _index(pipeline, samples)
    write_whole(folder / INDEX, (json.dumps(index, indent=1) + "\n").encode())
    for sample in samples:
        for file, inputs in _inputs_of_segments(pipeline, sample.inputs(), marked):
            target = folder / folder_of(file) / f"{sample.name}.npz"
            with written_whole(target, survives_power_loss=False) as part, part.open("wb") as out:
                np.savez(out, allow_pickle=False, **inputs)
        yield sample.name


def _inputs_of_segments(
    pipeline: Pipeline, inputs: Mapping[str, Array], marked: Marked | None
) -> Iterator[tuple[str, Mapping[str, Array]]]:
    if marked is None:
        yield from ((file, fed) for file, fed, _ in pipeline.steps(inputs))
        return
    pipeline.check_inputs(inputs)
    arrays = marked(inputs)
    for segment in pipeline.manifest.segments:
        recorded = {tensor: _recorded(segment, tensor, arrays, inputs) for tensor in segment.inputs}
        typed = {tensor.name: _typed(array, tensor) for tensor, array in recorded.items()}
        yield segment.save_file, typed


def _recorded(
    segment: SegmentBoundary,
    tensor: Tensor,
    marked: Mapping[str, Array],
    inputs: Mapping[str, Array],
) -> Array:
    """Return PyTorch's array of an input of a segment, which may be one of the whole model."""
    if tensor.reference in marked:
        return marked[tensor.reference]
    if tensor.name in inputs:
        return inputs[tensor.name]
    raise RunError.at(
        segment.save_file,
        f"its input '{tensor.name}' is cut out of the exported graph",
        "expected an input at a mark that PyTorch has",
        "leave 'from=pytorch' out, or mark a module in the recipe and cut there",
    )


def _typed(array: Array, tensor: Tensor) -> Array:
    """Return PyTorch's float32 array in the dtype of a segment with `precision: float16`."""
    is_half = tensor.dtype == "float16" and array.dtype == np.float32
    return array.astype(np.float16) if is_half else array


def folder_of(save_file: str) -> str:
    """Return the name of the folder with the inputs of a segment."""
    return save_file.removesuffix(".onnx")


class CalibrationReader:
    """The inputs of one segment, a sample at a time.

    It has the methods of onnxruntime's `CalibrationDataReader`, and is iterable. Raises RunError if
    the folder has none.
    """

    def __init__(self, folder: str | Path) -> None:
        self.files = sorted(Path(folder).glob("*.npz"))
        if not self.files:
            raise RunError.at(
                Place(str(folder)),
                "contains no `.npz` file",
                "expected the folder of a segment, written by `doit calibrate`",
            )
        self._rest = iter(self)

    def __iter__(self) -> Iterator[dict[str, Array]]:
        for file in self.files:
            try:
                arrays = arrays_in(file)
            except (OSError, ValueError) as error:
                raise RunError.at(
                    Place(str(file)), f"cannot be read: {error}", "", "calibrate again"
                ) from error
            yield arrays

    def __len__(self) -> int:
        return len(self.files)

    def get_next(self) -> dict[str, Array] | None:
        """Return the inputs of the next sample by name; None after the last."""
        return next(self._rest, None)

    def rewind(self) -> None:
        """Start with the first sample again."""
        self._rest = iter(self)


def _index(pipeline: Pipeline, samples: Sequence[Sample]) -> dict[str, Any]:
    def entry(segment: SegmentBoundary) -> dict[str, Any]:
        file = segment.save_file
        return {
            "sha256": pipeline.manifest.digest(file),
            "inputs": [
                {"name": tensor.name, "dtype": tensor.dtype, "dims": list(tensor.dims)}
                for tensor in segment.inputs
            ],
            "files": [f"{folder_of(file)}/{sample.name}.npz" for sample in samples],
        }

    return {
        "format": 1,
        "recipe": pipeline.manifest.recipe,
        "samples": [[file.name for file in sample.files] for sample in samples],
        "segments": {s.save_file: entry(s) for s in pipeline.manifest.segments},
    }


def _remove_former(folder: Path) -> None:
    try:
        segments = json_in(folder / INDEX)["segments"].values()
        names = [Path(name) for segment in segments for name in segment["files"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    for name in names:
        if len(name.parts) == 2 and ".." not in name.parts and name.suffix == ".npz":
            (folder / name).unlink(missing_ok=True)
