"""Puts segments that were changed outside a build back into one file, compared with end2end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.errors import (
    BuildError,
    CutError,
    PartitionError,
    one_of,
    problem,
    suggestion,
)
from partition_core.base.folders import END2END
from partition_core.base.missing import missing_file
from partition_core.base.recording import Recording
from partition_core.base.wording import counted, size_text
from partition_core.chain.manifest import Manifest
from partition_core.graph.external import locations
from partition_core.graph.file.graph import Model
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.files import DataPlacement, check_model, save
from partition_core.graph.merge import merged, misfits
from partition_core.graph.undefined import check_defined
from partition_core.proof.comparison import (
    form,
    largest_difference,
    magnitude,
    same_bits,
)

ANY = "any"
"""The tolerance that accepts every difference."""


def replacements(text: str, segments: Manifest, root: Path) -> dict[str, Path]:
    """Return the file for each segment that `with=` names, `a.onnx=other.onnx,b.onnx=…`.

    Raises BuildError with all problems.
    """
    known = [segment.save_file for segment in segments.segments]
    files: dict[str, Path] = {}
    problems = []
    for pair in text.split(","):
        name, _, path = (part.strip() for part in pair.partition("="))
        at = f"with={pair.strip()}"
        if not path:
            problems.append(problem(at, "names no file", "expected SEGMENT.onnx=FILE.onnx"))
        elif name not in known:
            what = f"the recipe has no segment '{name}'"
            problems.append(problem(at, what, one_of(known), suggestion(name, known)))
        elif name in files:
            problems.append(problem(at, f"'{name}' is replaced twice", "", "name one file for it"))
        elif not (root / path).is_file():
            problems.append(problem(at, *missing_file(root, path)))
        else:
            files[name] = root / path
    BuildError.refuse(problems)
    return files


def merge_tolerance(text: str | None, default: float) -> float | None:
    """Return the tolerance that `tolerance=` names, None for `any`; raises BuildError."""
    if text is None:
        return default
    if text == ANY:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        expected = f"expected a number from 0 to 1, or '{ANY}'"
        raise BuildError.at(f"tolerance={text}", "not a tolerance", expected)
    return value


def merge(
    manifest: Manifest,
    end2end: Path,
    recording: Recording,
    replaced: Mapping[str, Path],
    target: Path,
    tolerance: float | None,
    weights: DataPlacement,
    scratch: Path,
) -> Iterator[str]:
    """Merge the segments of a build, some `replaced`, into `target`; yield lines about it.

    The file is run on the samples of `recording` and compared with `end2end`. Raises BuildError if
    a file does not fit its place or an output differs by more than `tolerance`, relative to its
    largest value (None: by anything): then nothing is written to `target`.
    """
    files = [manifest.path(name).name for name in manifest.digests]
    if target.name in files and target.parent.resolve() == manifest.folder.resolve():
        what = f"'{target.name}' is an artifact of the build"
        raise BuildError.at(f"out={target}", what, "", "choose another name")
    places = {name: f"with={name}={path.name}" for name, path in replaced.items()}
    try:
        models = {
            segment.save_file: _read(manifest, replaced, segment.save_file, scratch)
            for segment in manifest.segments
        }
        for name, place in places.items():
            check_defined(models[name], place)
        CutError.refuse(
            misfit
            for segment in manifest.segments
            if segment.save_file in replaced
            for misfit in misfits(models[segment.save_file], segment, places[segment.save_file])
        )
        outputs = [value.name for value in read_model(end2end).graph.outputs]
        model = merged(models, manifest.segments, manifest.edges, outputs, places)
        check_model(model, target.name)
        save(model, scratch / target.name, weights)
        lines = list(_compared(scratch / target.name, end2end, recording, tolerance))
        written = save(model, target, weights)
    except BuildError:
        raise
    except PartitionError as error:
        raise BuildError(*error.problems) from error
    size = sum(path.stat().st_size for path in written)
    yield f"{target}: written, {size_text(size)}, {counted(len(replaced), 'segment')} replaced"
    yield from lines


def _read(manifest: Manifest, replaced: Mapping[str, Path], name: str, scratch: Path) -> Model:
    model = read_model(replaced.get(name, manifest.path(name)))
    if not locations(model):
        return model
    # External data lies beside each file: inside the files it has one place.
    (inline,) = save(model, scratch / f"inline-{name}", "inline")
    return read_model(inline)


def _compared(
    file: Path, end2end: Path, recording: Recording, tolerance: float | None
) -> Iterator[str]:
    samples = [sample.inputs for sample in recording.samples]
    run = Plain(file.name).load(file)
    ours = [run(inputs) for inputs in samples]
    run = Plain(END2END).load(end2end)
    theirs = [run(inputs) for inputs in samples]
    on = f"on {counted(len(samples), 'input')}"
    problems = []
    for name in theirs[0]:
        pairs = [(mine[name], whole[name]) for mine, whole in zip(ours, theirs, strict=True)]
        if all(same_bits(*pair) for pair in pairs):
            yield f"{name}: equals {END2END}'s bit for bit {on}"
            continue
        unlike = [(a, b) for a, b in pairs if form(a) != form(b)]
        if unlike:
            told = f"is {form(unlike[0][0])}, not {form(unlike[0][1])}"
            largest = float("inf")
        else:
            shares = [largest_difference(*pair) / (magnitude(pair[1]) or 1.0) for pair in pairs]
            largest = max(shares)
            told = f"differs from {END2END}'s by up to {largest:.2g} of its largest value {on}"
        yield f"{name}: {told}"
        if tolerance is not None and largest > tolerance:
            expected = f"expected at most {tolerance:g}"
            remedy = f"accept it by `tolerance=…`; `tolerance={ANY}` accepts everything"
            problems.append(problem(f"output '{name}'", told, expected, remedy))
    BuildError.refuse(problems)
