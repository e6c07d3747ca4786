"""Finds where a segment goes wrong in a target; its conversions are results in the store."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from partition_core.backends.backend import Backend, backend, backend_module
from partition_core.backends.outputs import outputs_of
from partition_core.base import packages
from partition_core.base.arrays import Arrays
from partition_core.base.build_name import BuildName
from partition_core.base.disk import file_digest
from partition_core.base.errors import BuildError, ProofError, one_of, suggestion
from partition_core.base.fingerprint import Fingerprint
from partition_core.base.folders import END2END, RECORDING
from partition_core.base.missing import missing_file
from partition_core.base.progress import ticking
from partition_core.base.recording import load_recording
from partition_core.base.wording import first_of
from partition_core.build.fingerprint_entries import common_entries
from partition_core.build.module_diagnosis import diagnose_modules
from partition_core.build.step import StepJob, models_on_disk
from partition_core.build.steps.compare import agreement_of
from partition_core.build.steps.prove import PROOF, chain_of
from partition_core.graph.file.graph_reader import read_model
from partition_core.proof.diagnosis.culprit import CULPRIT, Diagnosis, diagnosed
from partition_core.proof.diagnosis.replaced import replacement
from partition_core.proof.diagnosis.reproduction import (
    EXPECTED,
    INPUTS,
    PROGRAM,
    REPORT,
    write_folder,
)
from partition_core.proof.diagnosis.wording import (
    explanation,
    headline,
    page,
    replacement_lines,
    table,
)
from partition_core.proof.on_target import inputs_in_chain
from partition_core.recipe.target import PRECISIONS, Target, target_name
from partition_core.store.entry import Origin

FOLDER = "diagnosis"
"""The folder in a build folder with a folder for each target that was diagnosed."""
_KIND = "diagnose"
_MOST_LISTED = 4
_REPLACED = 1e-4
"""The relative L2 that a segment in another file may be off: that of fusions in onnxruntime."""


def diagnose(job: StepJob, variables: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with a segment, the tensor first, and where the files are that show it.

    `variables` are those of the command, of which `target`, or `segment` and `with`, say what is
    compared with onnxruntime, and `against` that modules of PyTorch are. Raises PartitionError.
    """
    if variables.get("against"):
        return diagnose_modules(job)
    if variables.get("with"):
        return _in_another_file(job, variables)
    return _in_target(job, variables)


def _in_target(job: StepJob, variables: Mapping[str, str]) -> Iterator[str]:
    target = chosen_target(job, variables.get("target", ""))
    chosen = backend(target.backend, target.precision)
    if lack := chosen.missing():
        raise BuildError.at(f"target={target.segment}={target.name}", lack)
    tolerance = _tolerance(variables, agreement_of(target).relative_l2)
    build = BuildName.of(job.recipe.name)
    default = job.root / build.folder / FOLDER / build.file(target.folder)
    out = Path(variables["out"]) if variables.get("out") else default
    _check_free(out)
    with _fed(job, target.segment) as (segment, fed, scratch):
        with ticking(f"{job.recipe.name}: diagnose {target.folder}"):
            runtime = _Stored(target.name, job, chosen, scratch)
            diagnosis = diagnosed(segment, runtime, fed, tolerance, scratch)
        lines = [headline(diagnosis, target.name), *explanation(diagnosis)]
        lines.append(f"allowed is a relative L2 of {tolerance:g}; {_versions(chosen)}")
        yield from lines
        yield from table(diagnosis.probes)
        made = scratch / "made"
        made.mkdir()
        if diagnosis.is_wrong:
            yield from _written(diagnosis, chosen, tolerance, lines, made, out)
        elif out == default:
            shutil.rmtree(out, ignore_errors=True)


def _written(
    diagnosis: Diagnosis,
    chosen: Backend,
    tolerance: float,
    lines: Sequence[str],
    made: Path,
    out: Path,
) -> Iterator[str]:
    """Write the folder that shows what was found, by way of `made`; yield a line about it."""
    printed = ""
    if diagnosis.culprit is not None and diagnosis.culprit.shown is not None:
        printed = write_folder(diagnosis.culprit, chosen, tolerance, made)
    proven = f"`python {PROGRAM}` there {printed}" if printed else ""
    text = page(lines[0], [*lines[1:], *([proven] if proven else [])], diagnosis, made)
    (made / REPORT).write_text(text, encoding="utf-8")
    names = ", ".join(sorted(path.name for path in made.iterdir()))
    _move(made, out)
    yield f"{os.path.relpath(out)}: written, {names}"
    if proven:
        yield proven


def _in_another_file(job: StepJob, variables: Mapping[str, str]) -> Iterator[str]:
    segment, text = variables["segment"], variables["with"]
    _check_segment(job, segment, f"segment={segment}")
    other = job.root / text
    if not other.is_file():
        raise BuildError.at(f"with={text}", *missing_file(job.root, text))
    tolerance = _tolerance(variables, _REPLACED)
    with _fed(job, segment) as (file, fed, scratch):
        compared = replacement(file, other, fed, tolerance, scratch)
    lines = [
        *replacement_lines(compared, segment, text),
        f"allowed is a relative L2 of {tolerance:g}",
    ]
    yield from lines
    if variables.get("out"):
        out = Path(variables["out"])
        _check_free(out)
        out.mkdir(parents=True, exist_ok=True)
        (out / REPORT).write_text("\n".join(["```text", *lines, "```", ""]), encoding="utf-8")
        yield f"{out / REPORT}: written"


def chosen_target(job: StepJob, text: str) -> Target:
    """Return the target that `text` names: `SEGMENT.onnx=TARGET`, or `TARGET` where one fits.

    Empty, it is the only one of the recipe. One that the recipe does not have is made, if its
    segment is clear. Raises BuildError.
    """
    at, declared = f"target={text}", job.recipe.partition.targets
    segment, _, name = text.rpartition("=")
    if segment:
        _check_segment(job, segment, at)
    kinds = {
        target_name(kind, precision): (kind, precision)
        for kind, precisions in PRECISIONS.items()
        for precision in precisions
    }
    fitting = [
        each for each in declared if name in ("", each.name) and segment in ("", each.segment)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if not name and not segment:
        known = [f"{each.segment}={each.name}" for each in declared]
        what = f"the recipe has {len(declared)} targets" if declared else "the recipe has no target"
        raise BuildError.at("target=", what, one_of(known) if known else "name one of a segment")
    if name not in kinds:
        near = suggestion(name, kinds)
        raise BuildError.at(at, f"there is no target '{name}'", one_of(kinds), near)
    segments = [segment] if segment else [each.save_file for each in job.segments]
    if fitting or len(segments) > 1:
        several = [f"{each}={name}" for each in ([f.segment for f in fitting] or segments)]
        raise BuildError.at(at, "it is not clear which segment is meant", one_of(several))
    return Target(segments[0], *kinds[name])


def _check_segment(job: StepJob, segment: str, at: str) -> None:
    known = [each.save_file for each in job.segments]
    if segment not in known:
        what = f"the recipe has no segment '{segment}'"
        raise BuildError.at(at, what, one_of(known), suggestion(segment, known))


def _check_free(out: Path) -> None:
    """Raise BuildError if a folder, which will be replaced, has files that no diagnosis writes."""
    if not out.exists():
        return
    stem = Path(CULPRIT).stem
    own = (INPUTS, EXPECTED, PROGRAM, REPORT)
    others = [
        path.name
        for path in (out.iterdir() if out.is_dir() else [out])
        if path.name not in own and not path.name.startswith(f"{stem}.")
    ]
    if others:
        what = f"it has other files than a diagnosis: {first_of(sorted(others), _MOST_LISTED)}"
        raise BuildError.at(f"out={out}", what, "expected an empty folder, or none")


def _tolerance(variables: Mapping[str, str], default: float) -> float:
    text = variables.get("tolerance")
    if text is None:
        return default
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise BuildError.at(f"tolerance={text}", "not a tolerance", "expected a number from 0 to 1")


@contextlib.contextmanager
def _fed(job: StepJob, segment: str) -> Iterator[tuple[Path, Sequence[Arrays], Path]]:
    """Yield a segment's file, its inputs in the chain on each sample, and a private folder."""
    proof = json.loads(job.path(job.result("prove").files[PROOF]).read_bytes())["proof"]
    not_run = proof["not_run"]["segments"]
    if segment in not_run:
        what = "cannot be diagnosed, since onnxruntime lacks an operator of the segment"
        raise ProofError.at(segment, what, "expected a segment that onnxruntime runs")
    with models_on_disk(job, job.model_names) as (models, scratch):
        chain = chain_of(job, read_model(models[END2END]), models)
        recording = load_recording(job.path(job.result("export").files[RECORDING]))
        random = {(each["segment"], each["output"]) for each in proof["unproven"]}
        named = scratch / segment
        if models[segment] != named:
            named.symlink_to(models[segment])
        yield named, inputs_in_chain(segment, chain, recording, random, not_run), scratch


@dataclass(frozen=True)
class _Stored:
    """A backend whose conversions are kept in the store."""

    name: str
    job: StepJob
    backend: Backend
    scratch: Path

    def can_give(self, dtype: str, rank: int) -> bool:
        """Return whether an output may be a tensor of this dtype and rank."""
        return self.backend.can_give(dtype, rank)

    def convert(self, model: Path, folder: Path) -> tuple[Path, ...]:
        """Return the converted files in `folder`, from the store if it has them."""
        key, names = (
            Fingerprint(tuple(self._entries(model))).key,
            self.backend.file_names(model.stem),
        )
        store = self.job.store
        known = store.fetch(key, lambda result: set(result.files) == set(names))
        files = tuple(folder / name for name in names)
        if known is not None and all(store.restore(known.files[file.name], file) for file in files):
            return files
        start = time.monotonic()
        converted = self.backend.convert(model, folder).files
        seconds = round(time.monotonic() - start, 1)
        origin = Origin(self.job.recipe.name, f"{_KIND} {self.name}", seconds)
        store.keep(key, {file.name: file for file in converted}, {}, origin)
        return converted

    def run(self, files: Sequence[Path], samples: Sequence[Arrays]) -> Sequence[Arrays]:
        """Return the outputs on each sample, in a process of its own."""
        return outputs_of(self.name, self.backend, files, samples, self.scratch)

    def _entries(self, model: Path) -> Iterable[tuple[str, str]]:
        beside = model.with_name(f"{model.name}.data")
        yield "model", file_digest(model)
        yield "stem", model.stem
        if beside.is_file():
            yield "weights", file_digest(beside)
        needed = itertools.chain(packages.versions(packages.ONNX), self.backend.entries())
        yield from common_entries(self.job, "convert", needed, backend_module(self.backend.name))


def _versions(chosen: Backend) -> str:
    entries = {**dict(backend("onnxruntime").entries()), **dict(chosen.entries())}
    entries.pop("precision", None)
    return ", ".join(f"{name} {version}" for name, version in entries.items())


def _move(made: Path, out: Path) -> None:
    """Move a folder to the place of another one, whole."""
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(made, part)
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
