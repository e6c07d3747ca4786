"""What a recipe's build consists of: steps with their fingerprints, and what is known of them.

Nothing is carried out here; `work` does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from partition_core.building.folders import MANIFEST, REPORT
from partition_core.building.inputs import (
    cut_inputs,
    export_inputs,
    proof_inputs,
    report_inputs,
)
from partition_core.building.models import StoredModel, stored_model, weights_file
from partition_core.building.project import Project
from partition_core.fingerprint import Fingerprint
from partition_core.index_ranges import ZERO_OR_ONE
from partition_core.reading.recipe_file import RecipeFile
from partition_core.recipe import Segment, WeightsForm, canonical_json
from partition_core.store.entry import Result

END2END = "end2end.onnx"
REFERENCE = "reference.npz"
PROOF = "proof.json"
REFERS = "refers to weights"
"""The note of a cut that tells whether its segment needs a file with weights."""


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

    @property
    def recipe(self) -> str:
        """The recipe's name."""
        return self.file.recipe.name

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
            result = self.project.store.find(step.key)
            if result is None:
                return None
            self._results[step.name] = result
        return self._results[step.name]

    def is_done(self, step: Step | None) -> bool:
        """Return whether the result of a step is here with all its files, fetched if need be."""
        if step is None:
            return False
        result = self.project.store.fetch(step.key, step.files)
        if result is not None:
            self._results[step.name] = result
        return result is not None

    def found(self, step: Step, result: Result) -> None:
        """Take the result of a step that was carried out just now."""
        self._results[step.name] = result

    def afresh(self) -> Plan:
        """Return the plan of the same recipe with nothing remembered."""
        return Plan(self.project, self.file)

    def export(self) -> Step:
        """Return the export; raises PartitionError for an input that is missing or wrong."""
        if "export" not in self._steps:
            entries = tuple(export_inputs(self.project, self.file))
            self._steps["export"] = Step(
                "export",
                Fingerprint(entries),
                (*self._files_of(END2END, weights_file(self.weights, END2END)), REFERENCE),
            )
        return self._steps["export"]

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
            (REFERENCE, exported.files[REFERENCE].digest),
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
            entries = (
                ("proof", proof.key),
                *(entry for name, model in files.items() for entry in digests_of(name, model)),
                *report_inputs(self.project, self.file),
            )
            self._steps["report"] = Step("report", Fingerprint(entries), (REPORT,))
        return self._steps.get("report")

    def steps(self) -> Iterator[tuple[str, Step | None]]:
        """Yield each step with its name, in the order of the work.

        A step is looked up when it is its turn, so what was found meanwhile counts.
        """
        yield "export", self.export()
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


def digests_of(name: str, model: StoredModel) -> Iterator[tuple[str, str]]:
    """Yield the entries of a fingerprint that stand for a model."""
    yield name, model.file.digest
    if model.weights is not None:
        yield f"{name} weights", model.weights.digest
