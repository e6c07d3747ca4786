"""The commands that run a build, as lines of output: pictures with boxes, calibration data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from partition_core.base.build_name import published_file
from partition_core.base.disk import write_whole
from partition_core.base.errors import RunError
from partition_core.base.folders import END2END
from partition_core.base.progress import counted_steps
from partition_core.base.wording import counted, seeded_weights, size_text
from partition_core.runtime.calibration import Marked, calibrate, folder_of
from partition_core.runtime.detections import Detection, check_detects, missing_link
from partition_core.runtime.pipeline import Pipeline
from partition_core.runtime.samples import names_of, pictures_in, samples_in

_MOST_NAMES = 5


def detect(
    folder: Path,
    source: Path,
    target: Path,
    least: float,
    use: Mapping[str, str] | None = None,
    variant: str = "",
) -> Iterator[str]:
    """Detect objects in a picture, or in those of a folder; write to `target`, yield output lines.

    The names of files begin with the build's `variant`, if it is one.
    `<picture>.detections.json` has all detections, `<picture>.detections.jpg` the picture with
    those that score at least `least`. All of them mention seeded weights. The last lines report if
    `end2end.onnx` ran instead of the segments, and if pictures do not fit a fixed input, as the
    JSON files do. `use` names the targets in which segments run. Raises RunError.
    """
    pipeline = Pipeline(folder, variant=variant, use=use)
    check_detects(pipeline)
    if pipeline.targets and (why := missing_link(pipeline)):
        what = f"the segments do not lead from the picture to its detections: {why}"
        raise RunError.at("use=", what, "expected a partition whose segments do")
    files = pictures_in(source)
    unfit: list[str] = []
    with counted_steps("detect", len(files), "picture") as bar:
        for file, name in zip(files, names_of(files), strict=True):
            path = target / published_file(variant, name)
            unfit += yield from _detect_in(pipeline, file, path, least)
            bar.update(1)
    if unfit:
        yield f"{len(unfit)} of {counted(len(files), 'picture')}: {unfit[0]}"
    if why := missing_link(pipeline):
        yield f"{END2END} ran instead of the segments: {why}"
    if pipeline.seed is not None:
        yield seeded_weights(pipeline.seed)


def _detect_in(
    pipeline: Pipeline, file: Path, target: Path, least: float
) -> Generator[str, None, list[str]]:
    """Yield lines as `detect` does; return the note if the picture does not fit the input."""
    from partition_core.runtime import pixels

    # The result is drawn in color even if the model takes gray pictures.
    picture = pixels.read(file)
    (detections,) = pipeline.detect(file)
    note = "" if pipeline.seed is None else seeded_weights(pipeline.seed)
    picture_note = _picture_note(pipeline, picture.shape[1], picture.shape[0])
    shown = [detection for detection in detections if detection.score >= least]
    table = target.with_name(f"{target.name}.detections.json")
    image = target.with_name(f"{target.name}.detections.jpg")
    content = {
        "image": file.name,
        "width": picture.shape[1],
        "height": picture.shape[0],
        "recipe": pipeline.manifest.recipe,
        "artifacts": {file: pipeline.manifest.digest(file) for file in pipeline.detects_by},
        **({"targets": _targets(pipeline)} if pipeline.targets else {}),
        **({"seed": pipeline.seed, "note": note} if note else {}),
        **({"picture_note": picture_note} if picture_note else {}),
        "detections": [asdict(detection) for detection in detections],
    }
    write_whole(table, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    write_whole(image, pixels.encoded(pixels.drawn(picture, shown, note), ".jpg"))
    yield f"{table}: {counted(len(detections), 'detection')}"
    yield f"{image}: {_names(shown) or 'none'} with a score of at least {least:g}"
    return [picture_note] if picture_note else []


def _targets(pipeline: Pipeline) -> dict[str, dict[str, str]]:
    """Return the files, with their digests, of the targets that segments run in."""
    return {
        segment: {f"{each.folder}/{name}": digest for name, digest in each.files.items()}
        for segment, each in pipeline.targets.items()
    }


def _picture_note(pipeline: Pipeline, width: int, height: int) -> str:
    how = pipeline.manifest.picture
    return "" if how is None or how.fits(width, height) else how.note


def _names(detections: Sequence[Detection]) -> str:
    counts = Counter(detection.name for detection in detections).most_common()
    names = [f"{count} {name}" for name, count in counts[:_MOST_NAMES]]
    rest = sum(count for _, count in counts[_MOST_NAMES:])
    return ", ".join(names) + (f" and {rest} more" if rest else "")


def write_calibration(
    folder: Path, source: Path, target: Path, marked: Marked | None = None, variant: str = ""
) -> Iterator[str]:
    """Write the real inputs of each segment for every sample in `source`; yield output lines.

    `marked` is that of `calibrate`, `variant` that of the build. Raises RunError.
    """
    pipeline = Pipeline(folder, variant=variant)
    samples = samples_in(pipeline, source)
    with counted_steps("calibrate", len(samples), "sample") as bar:
        for _ in calibrate(pipeline, samples, target, marked):
            bar.update(1)
    for segment in pipeline.segments:
        own = target / folder_of(segment.save_file)
        files = [own / f"{sample.name}.npz" for sample in samples]
        size = size_text(sum(file.stat().st_size for file in files))
        inputs = ", ".join(tensor.name for tensor in segment.inputs)
        yield f"{own}: {counted(len(files), 'file')} with {inputs}, {size}"
