"""What a recipe's build consists of: steps with their fingerprints, and what is known of them.

Nothing is carried out here; `work` does that.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from partition_core.base.fingerprint import Fingerprint
from partition_core.base.folders import END2END, MANIFEST, RECORDING, REPORT
from partition_core.base.index_ranges import ZERO_OR_ONE
from partition_core.build.exports import EXPORT, Entries, Exports
from partition_core.build.fingerprint_entries import cut_inputs, proof_inputs, report_inputs
from partition_core.build.forms import REFERS, fits
from partition_core.build.project import Project
from partition_core.graph.stored_models import StoredModel, stored_model, weights_file
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.values import Segment, WeightsForm, canonical_json
from partition_core.sources.job import Job
from partition_core.store.entry import Result
from partition_core.store.lists import Names

PROOF = "proof.json"


@dataclass(frozen=True)
class Step:
    """One unit of work: its name in messages, its fingerprint and the files it must give."""

    name: str
    fingerprint: Fingerprint
    files: tuple[str, ...]

    @property
    def key(self) -> str:
        """The key of the step's result in the store."""
        return self.fingerprint.key

    def fits(self, result: Result) -> bool:
        """Return whether `result` is what the step gives, as far as it can be told."""
        return fits(self.name, self.key, result, self.files)


@dataclass
class Plan:
    """The steps of one recipe in one project.

    A step is None as long as the results that it starts from are not known. What was found out
    is remembered for the life of the plan, and so is `is_all_published`, that there was nothing
    left to do; `found` takes the result of a step just carried out.
    """

    project: Project
    file: RecipeFile
    _steps: dict[str, Step] = field(default_factory=dict)
    _results: dict[str, Result] = field(default_factory=dict)
    is_all_published: bool = False

    @functools.cached_property
    def exports(self) -> Exports:
        """What is known of the recipe's export; raises PartitionError for a wrong input."""
        return Exports(self.project, self.file)

    @property
    def recipe(self) -> str:
        """The recipe's name."""
        return self.file.recipe.name

    @property
    def job(self) -> Job:
        """What the recipe's source is given."""
        return Job(self.project.root, self.file, self.project.store)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The recipe's segments, in order."""
        return self.file.recipe.partition.segments

    def segment(self, save_file: str) -> Segment:
        """Return the segment that is saved as `save_file`, which must be one of them."""
        return next(segment for segment in self.segments if segment.save_file == save_file)

    @property
    def weights(self) -> WeightsForm:
        """Where the weights of the recipe's models are."""
        return self.file.recipe.export.weights

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names of the end2end model and the segments, in order."""
        return (END2END, *(segment.save_file for segment in self.segments))

    @property
    def artifacts(self) -> tuple[str, ...]:
        """The names of the files in the build folder, in the order in which they appear."""
        report = (REPORT,) if self.project.settings.report else ()
        return (*self.model_names, MANIFEST, *report)

    def result(self, step: Step | None) -> Result | None:
        """Return what is known on this machine of a step, or None; its files may be gone."""
        if step is None:
            return None
        if step.name not in self._results:
            result = self.project.store.find(step.key, step.fits)
            if result is None:
                return None
            self.found(step, result)
        return self._results[step.name]

    def is_done(self, step: Step | None) -> bool:
        """Return whether the result of a step is here with all its files, fetched if need be."""
        if step is None:
            return False
        if step.name == EXPORT:
            return self.fetch_export()
        result = self.project.store.fetch(step.key, step.fits)
        if result is not None:
            self.found(step, result)
        return result is not None

    def is_offered(self, step: Step) -> bool:
        """Return whether others have the result of a step, as far as can be told."""
        steps = self._exports_by(self.exports.lists_everywhere()) if step.name == EXPORT else [step]
        return any(self.project.store.offers(one.key, one.fits) for one in steps)

    def alternatives(self, step: Step) -> list[Step]:
        """Return a step and, if it is the export, what it may depend on otherwise."""
        if step.name != EXPORT or EXPORT in self._results:
            return [step]
        return self._exports_by(self.exports.lists_here())

    def found(self, step: Step, result: Result) -> None:
        """Take a step and its result: it was carried out just now, here or in another process."""
        self._steps[step.name] = step
        self._results[step.name] = result

    def afresh(self) -> Plan:
        """Return the plan of the same recipe with nothing remembered.

        But for what an export turned out to depend on: that is asked again at the next build.
        """
        plan = Plan(self.project, self.file)
        if EXPORT in self._results and plan.exports.known == self.exports.known:
            plan.found(self._steps[EXPORT], self._results[EXPORT])
        return plan

    def export(self) -> Step:
        """Return the export; raises PartitionError for an input that is missing or wrong.

        With all that it depends on, if a result of that is on this machine. Otherwise with what
        the last one depended on, as far as that is known: what it depends on now is known when it
        has run, here or in another process.
        """
        if EXPORT in self._results:
            return self._steps[EXPORT]
        candidates = self._exports_by(self.exports.lists_here())
        for step in candidates:
            result = self.project.store.find(step.key, step.fits)
            if result is not None:
                self.found(step, result)
                return step
        return candidates[0]

    def fetch_export(self) -> bool:
        """Return whether the export's result is here with all its files, fetched if need be."""
        store = self.project.store
        for step in self._exports_by(self.exports.lists_here()):
            result = store.find(step.key, step.fits)
            if result is not None and store.is_complete(result):
                self.found(step, result)
                return True
        for step in self._exports_by(self.exports.lists_everywhere()):
            result = store.fetch(step.key, step.fits)
            if result is not None:
                self.found(step, result)
                self.exports.keep(step.fingerprint)
                return True
        return False

    def export_with(self, followed: Entries) -> Step:
        """Return the export that depends on what was known, and on what was followed."""
        files = (*self._files_of(END2END, weights_file(self.weights, END2END)), RECORDING)
        return Step(EXPORT, Fingerprint((*self.exports.known, *followed)), files)

    def _exports_by(self, lists: Iterable[Names]) -> list[Step]:
        """Return the exports that depend on the subjects of `lists` as they are now."""
        return [self.export_with(self.exports.entries_of(names)) for names in lists]

    def cut(self, segment: Segment) -> Step | None:
        """Return the cut of a segment."""
        name = f"cut {segment.save_file}"
        exported = self.result(self.export())
        if name in self._steps or exported is None:
            return self._steps.get(name)
        entries = (
            ("recipe segment", canonical_json(segment)),
            ("recipe weights", self.weights),
            *digests_of(END2END, self._model(exported, END2END, exported)),
            *cut_inputs(self.project),
        )
        files = self._files_of(segment.save_file, self.own_weights(segment.save_file))
        self._steps[name] = Step(name, Fingerprint(entries), files)
        return self._steps[name]

    def prove(self) -> Step | None:
        """Return the proof of the whole partition."""
        files = self.models()
        exported = self.result(self.export())
        if "prove" in self._steps or files is None or exported is None:
            return self._steps.get("prove")
        entries = (
            ("recipe segments", canonical_json(self.segments)),
            ("recipe tolerance", canonical_json(self.file.recipe.proof.tolerance)),
            *(entry for name, model in files.items() for entry in digests_of(name, model)),
            (RECORDING, exported.files[RECORDING].digest),
            ("detects", canonical_json(exported.notes.get("detects"))),
            ("assumptions", canonical_json(assumptions(exported))),
            # The proof's line names them, and a range that is written out gives the same samples.
            ("inputs drawn from 0 and 1", canonical_json(exported.notes.get(ZERO_OR_ONE, []))),
            *proof_inputs(self.project),
        )
        self._steps["prove"] = Step("prove", Fingerprint(entries), (PROOF,))
        return self._steps["prove"]

    def report(self) -> Step | None:
        """Return the report. Its figures vary, so nothing else depends on what it gives."""
        proof = self.prove()
        files = self.models()
        if "report" not in self._steps and proof is not None and files is not None:
            cuts = [step for step in map(self.cut, self.segments) if step is not None]
            entries = (
                ("recipe", canonical_json(self.file.recipe)),
                *((f"step {step.name}", step.key) for step in (self.export(), *cuts, proof)),
                *(entry for name, model in files.items() for entry in digests_of(name, model)),
                *report_inputs(self.project, self.file),
            )
            self._steps["report"] = Step("report", Fingerprint(entries), (REPORT,))
        return self._steps.get("report")

    def steps(self) -> Iterator[tuple[str, Step | None]]:
        """Yield each step with its name, in the order of the work.

        A step is looked up when it is its turn, so what was found meanwhile counts.
        """
        yield EXPORT, self.export()
        for segment in self.segments:
            yield f"cut {segment.save_file}", self.cut(segment)
        yield "prove", self.prove()
        if self.project.settings.report:
            yield "report", self.report()

    def step(self, name: str) -> Step | None:
        """Return the step called `name`, which must be one of `steps`."""
        return next(step for known, step in self.steps() if known == name)

    def own_weights(self, save_file: str) -> str:
        """Return the name, among the files of its cut, of a segment's own weights, or nothing."""
        return weights_file(self.weights, save_file) if self.weights == "external" else ""

    def files_of(self, artifact: str) -> set[str]:
        """Return the names that the files of an artifact have in the results of the steps.

        The step that makes it must be done.
        """
        if artifact in (MANIFEST, REPORT):
            return {PROOF if artifact == MANIFEST else REPORT}
        if self.models_made()[artifact].weights is None:
            return {artifact}
        return {artifact, weights_file(self.weights, artifact)}

    def models(self) -> Mapping[str, StoredModel] | None:
        """Return the stored end2end model and segments by name, or None if one is not made yet."""
        made = self.models_made()
        return made if len(made) == 1 + len(self.segments) else None

    def models_made(self) -> Mapping[str, StoredModel]:
        """Return, of the end2end model and the segments, those that are made, by name."""
        exported = self.result(self.export())
        if exported is None:
            return {}
        files = {END2END: self._model(exported, END2END, exported)}
        for segment in self.segments:
            made = self.result(self.cut(segment))
            if made is not None:
                files[segment.save_file] = self._model(made, segment.save_file, exported)
        return files

    def _model(self, made: Result, name: str, exported: Result) -> StoredModel:
        weights = weights_file(self.weights, name)
        if not made.notes.get(REFERS, True):
            return StoredModel(made.files[name])
        holder = exported if self.weights == "shared" else made
        return stored_model(made.files[name], holder.files.get(weights), weights)

    @staticmethod
    def _files_of(model: str, weights: str) -> tuple[str, ...]:
        return (model, weights) if weights else (model,)


def assumptions(exported: Result) -> list[Any]:
    """Return the decisions of an export that rest on a user's word, as plain data."""
    return [each for each in exported.notes.get("decisions", ()) if each["assumed"]]


def digests_of(name: str, model: StoredModel) -> Iterator[tuple[str, str]]:
    """Yield the entries of a fingerprint that stand for a model."""
    yield name, model.file.digest
    if model.weights is not None:
        yield f"{name} weights", model.weights.digest
