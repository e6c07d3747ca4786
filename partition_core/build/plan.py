"""What a recipe's build consists of: steps with their fingerprints and known results.

Nothing is carried out here; `carry_out` does that.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from partition_core.base.errors import Problem
from partition_core.base.fingerprint import Fingerprint
from partition_core.base.folders import REPORT
from partition_core.base.progress import Say
from partition_core.build.exports import Exports
from partition_core.build.failures import Failure, failure_path, read_failure
from partition_core.build.project import Project
from partition_core.build.result_checks import is_valid
from partition_core.build.step import Entries, Step, StepJob, job_of, models_in
from partition_core.build.steps import (
    ALL_SEGMENTS,
    COMPARE,
    CONVERT,
    EXPORT,
    StepName,
    all_steps,
    module_of,
)
from partition_core.build.steps.export import PARTS
from partition_core.graph.stored_models import StoredModel, weights_file
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.parts import with_parts
from partition_core.recipe.target import Target
from partition_core.recipe.values import OperatorCut, Segment
from partition_core.store.entry import Result, StoredFile
from partition_core.store.lists import Names


@dataclass
class Plan:
    """The steps of one recipe in one project.

    A step is None as long as the results that it starts from are not known. Steps and results are
    cached for the life of the plan, and so is `is_all_published`; `remember` adds the result of
    a step just carried out.
    """

    project: Project
    written: RecipeFile
    """The recipe as written; how many segments it has may depend on the exported model."""
    _steps: dict[str, Step] = field(default_factory=dict)
    _results: dict[str, Result] = field(default_factory=dict)
    is_all_published: bool = False

    @functools.cached_property
    def exports(self) -> Exports:
        """What is known of the recipe's export; raises PartitionError for a wrong input."""
        return Exports(job_of(self.project, self.written))

    @property
    def file(self) -> RecipeFile:
        """The recipe, with segments for the parts of its exported model if they are known."""
        recipe, exported = self.written.recipe, self._results.get(EXPORT)
        if not isinstance(recipe.partition.cut, OperatorCut) or exported is None:
            return self.written
        partition = with_parts(recipe.partition, exported.notes[PARTS])
        return dataclasses.replace(
            self.written, recipe=dataclasses.replace(recipe, partition=partition)
        )

    @property
    def has_all_segments(self) -> bool:
        """Whether all segments are known."""
        return bool(self.segments)

    @property
    def recipe(self) -> str:
        """The recipe's name."""
        return self.written.recipe.name

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The recipe's segments, in order."""
        return self.file.recipe.partition.segments

    @property
    def artifacts(self) -> tuple[str, ...]:
        """The names of the files in the build folder, in the order in which they appear."""
        return tuple(step.artifact for step in self.names.values() if step.artifact is not None)

    @property
    def targets(self) -> Mapping[str, Target]:
        """The targets of the recipe's segments, by the artifacts that they are."""
        return {target.folder: target for target in self.written.recipe.partition.targets}

    @property
    def names(self) -> Mapping[str, StepName]:
        """The steps by name, in the order of the work.

        As long as segments are not known, a step for all of them stands for their steps.
        """
        files = [segment.save_file for segment in self.segments] or [ALL_SEGMENTS]
        steps = all_steps(files, list(self.targets))
        left_out = set() if self.project.settings.report else {REPORT}
        return {str(step): step for step in steps if step.artifact not in left_out}

    def producer(self, artifact: str) -> StepName:
        """Return the step from whose result an artifact is published."""
        return next(step for step in self.names.values() if step.artifact == artifact)

    def result(self, step: Step | None) -> Result | None:
        """Return a step's result on this machine, or None; its files may be missing."""
        if step is None:
            return None
        if step.name not in self._results:
            result = self.project.store.find(step.key, self.validator(step))
            if result is None:
                return None
            self.remember(step, result)
        return self._results[step.name]

    def result_of(self, name: str) -> Result | None:
        """Return the result on this machine of the step called `name`, or None."""
        return self.result(self.step(name))

    def is_done(self, step: Step | None) -> bool:
        """Return whether a step's result is here with all its files, fetched if need be."""
        if step is None:
            return False
        if step.name == EXPORT:
            return self.fetch_export()
        result = self.project.store.fetch(step.key, self.validator(step))
        if result is not None:
            self.remember(step, result)
        return result is not None

    def is_offered(self, step: Step) -> bool:
        """Return whether the shared store has the result of a step, as far as can be known."""
        steps = self._exports_by(self.exports.all_lists()) if step.name == EXPORT else [step]
        return any(self.project.store.offers(each.key, self.validator(each)) for each in steps)

    @staticmethod
    def validator(step: Step) -> Callable[[Result], bool]:
        """Return a function that checks whether a result is valid for `step`."""
        return lambda result: is_valid(step.name, step.key, result, step.files)

    def alternatives(self, step: Step) -> list[Step]:
        """Return a step and, if it is the export, its variants by what it may depend on."""
        if step.name != EXPORT or EXPORT in self._results:
            return [step]
        return self._exports_by(self.exports.local_lists())

    def remember(self, step: Step, result: Result) -> None:
        """Cache a step and its result: it was carried out just now, here or in another process."""
        self._steps[step.name] = step
        self._results[step.name] = result

    def fresh_copy(self) -> Plan:
        """Return the plan of the same recipe with nothing cached.

        Except what an export depended on: that is looked up again at the next build.
        """
        plan = Plan(self.project, self.written)
        if EXPORT in self._results and plan.exports.known == self.exports.known:
            plan.remember(self._steps[EXPORT], self._results[EXPORT])
        return plan

    def export(self) -> Step:
        """Return the export; raises PartitionError for an input that is missing or wrong.

        With all its dependencies, if such a result is on this machine. Otherwise with those of the
        last export, as far as they are known: the current ones are known once it has run, here or
        in another process.
        """
        if EXPORT in self._results:
            return self._steps[EXPORT]
        candidates = self._exports_by(self.exports.local_lists())
        for step in candidates:
            result = self.project.store.find(step.key, self.validator(step))
            if result is not None:
                self.remember(step, result)
                return step
        return candidates[0]

    def fetch_export(self) -> bool:
        """Return whether the export's result is here with all its files, fetched if need be."""
        store = self.project.store
        for step in self._exports_by(self.exports.local_lists()):
            result = store.find(step.key, self.validator(step))
            if result is not None and store.is_complete(result):
                self.remember(step, result)
                return True
        for step in self._exports_by(self.exports.all_lists()):
            result = store.fetch(step.key, self.validator(step))
            if result is not None:
                self.remember(step, result)
                self.exports.store_list(step.fingerprint)
                return True
        return False

    def export_with(self, followed: Entries) -> Step:
        """Return the export that depends on the known and the followed entries."""
        files = module_of(EXPORT).files(self.exports.job, "")
        return Step(EXPORT, Fingerprint((*self.exports.known, *followed)), files)

    def _exports_by(self, lists: Iterable[Names]) -> list[Step]:
        """Return the exports that depend on the labels of `lists` with their current values."""
        return [self.export_with(self.exports.entries_of(names)) for names in lists]

    def step(self, name: str) -> Step | None:
        """Return the step called `name`, which must be one of `names`."""
        if name == EXPORT:
            return self.export()
        if isinstance(self.written.recipe.partition.cut, OperatorCut):
            self.result(self.export())  # it may be known by now which steps there are
        if name not in self.names or self.names[name].subject == ALL_SEGMENTS:
            return None
        if name not in self._steps:
            earlier, own = self._before(name), self.names[name]
            if any(self.step(other) is None for other in earlier) or any(
                self.result_of(other) is None for other in earlier if own.needs(self.names[other])
            ):
                return None
            self._steps[name] = self._new_step(name)
        return self._steps[name]

    def _before(self, name: str) -> list[str]:
        """Return the names of the steps before one, in the order of the work.

        Without those of other targets for a step of a target, and without failed ones.
        """
        names, own = list(self.names), self.names[name]
        return [
            other
            for other in names[: names.index(name)]
            if not self.names[other].row.may_fail
            or (own.needs(self.names[other]) if own.row.may_fail else not self._is_failed(other))
        ]

    def _is_failed(self, name: str) -> bool:
        """Return whether a step of a target, or the one before it, failed in its present state."""
        failure = self.failure(self.names[name].subject)
        return failure is not None and (
            failure.step == name or self.names[failure.step].row.kind == CONVERT
        )

    def failure(self, target: str) -> Failure | None:
        """Return the failure of a target in the last build if it is as it was then."""
        failure = read_failure(self.failure_path(target))
        if failure is None or failure.step not in (f"{CONVERT} {target}", f"{COMPARE} {target}"):
            return None
        step = self.step(failure.step)
        return failure if step is not None and step.key == failure.key else None

    def failure_path(self, target: str) -> Path:
        """Return the file with the failure of a target."""
        return failure_path(self.project.state, self.recipe, target)

    def _new_step(self, name: str) -> Step:
        kind, subject = self.names[name].row.kind, self.names[name].subject
        job, module = self.job(name), module_of(kind)
        entries = tuple(module.entries(job, subject))
        return Step(name, Fingerprint(entries), module.files(job, subject))

    def job(self, name: str = "", say: Say = print) -> StepJob:
        """Return the job of the step called `name`, with the known steps and results before it.

        Without a name, with those of all steps.
        """
        earlier = self._before(name) if name else list(self.names)
        for each in earlier if name else ():
            self.result_of(each)
        return dataclasses.replace(
            job_of(self.project, self.file),
            say=say,
            steps={each: self._steps[each] for each in earlier if each in self._steps},
            results={each: self._results[each] for each in earlier if each in self._results},
            failures=self._failures_before(name) if name else {},
        )

    def _failures_before(self, name: str) -> dict[str, tuple[Problem, ...]]:
        """Return the problems of targets that failed before a step that follows all targets."""
        names = list(self.names)
        earlier = names[: names.index(name)]
        targets = [name for name in self.targets if f"{COMPARE} {name}" in earlier]
        if self.names[name].row.may_fail:
            return {}
        failures = {target: self.failure(target) for target in targets}
        return {name: failure.problems for name, failure in failures.items() if failure is not None}

    def steps(self) -> Iterator[tuple[str, Step | None]]:
        """Yield each step with its name, in the order of the work.

        A step is looked up in its turn, so results found in between count.
        """
        done: set[str] = set()
        while name := next((name for name in self.names if name not in done), None):
            done.add(name)
            yield name, self.step(name)

    def files_of(self, artifact: str) -> set[str]:
        """Return the names of an artifact's files in the results of the steps.

        Its step must be done.
        """
        if artifact in self.targets:
            return set().union(*(result.files for result in self.target_results(artifact)))
        step = self.producer(artifact)
        files = module_of(step.row.kind).files(self.job(str(step)), step.subject)
        model = self.finished_models().get(artifact)
        if model is None:
            return set(files)
        weights = weights_file(self.written.recipe.export.weights, artifact)
        return {artifact} if model.weights is None else {artifact, weights}

    def target_results(self, target: str) -> tuple[Result, ...]:
        """Return the results of a target's conversion and comparison; none unless it agrees."""
        results = [self.result_of(f"{kind} {target}") for kind in (CONVERT, COMPARE)]
        known = tuple(result for result in results if result is not None)
        return known if len(known) == len(results) else ()

    def converted(self, target: str) -> Mapping[str, StoredFile]:
        """Return the files of a target by name; none unless it agrees."""
        results = self.target_results(target)
        return results[0].files if results else {}

    def published_files(self) -> Iterator[Path]:
        """Yield the paths of all published files, and of what records that a target failed."""
        folder = self.project.build_folder(self.recipe)
        models = self.finished_models().values()
        for artifact in self.artifacts:
            path = self.project.artifact_path(self.recipe, artifact)
            if artifact not in self.targets:
                yield path
            elif converted := self.converted(artifact):
                yield from (path / name for name in converted)
            else:
                yield self.failure_path(artifact)
        yield from (folder / name for name in sorted({m.weights_name for m in models} - {""}))

    def models(self) -> Mapping[str, StoredModel] | None:
        """Return the stored end2end model and segments by name, or None if one is missing."""
        models = self.finished_models()
        return models if len(models) == 1 + len(self.segments) else None

    def finished_models(self) -> Mapping[str, StoredModel]:
        """Return those of the end2end model and the segments that are finished, by name."""
        models = self.job().model_names
        steps = [name for name, step in self.names.items() if step.artifact in models]
        results = {name: result for name in steps if (result := self.result_of(name)) is not None}
        return models_in(results, self.written.recipe.export.weights)
