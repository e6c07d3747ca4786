"""One run of doit in a project: the chosen recipes, of which those that need nothing stay closed.

What carries out steps is imported when the first of them is to be done.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.base.errors import (
    PartitionError,
    Place,
    Problem,
    RecipeError,
    disk_problem,
    one_of,
    problem,
    suggestion,
)
from partition_core.base.folders import BUILD, END2END, RECIPES, RECORDING, STATE
from partition_core.base.wording import counted, warn
from partition_core.build.steps import EXPORT, StepName, steps_of
from partition_core.build.up_to_date import Outline, UpToDateMemory
from partition_core.recipe.names import overlooked, recipe_names

if TYPE_CHECKING:
    from partition_core.build.plan import Plan
    from partition_core.build.project import Project
    from partition_core.build.recipes import Recipes

Say = Callable[[str], None]


class Run:
    """The builds of the recipes called `names`; None means all.

    Raises RecipeError with everything that is wrong with them. If they need not be right, those
    that are not are left out, with a warning, and so are files that only look like recipes.
    """

    def __init__(self, root: Path, names: Sequence[str] | None, must_be_valid: bool = True) -> None:
        self.root = root
        self._settled = UpToDateMemory(root, root / STATE / "settled.json")
        self.builds: list[RecipeBuild] = []
        problems: list[Problem] = []
        for name in chosen_recipes(root, names):
            build = RecipeBuild(self, name, self._settled.outline(name))
            try:
                build.open_if_needed()
                self.builds.append(build)
            except PartitionError as error:
                problems.extend(error.problems)
            except OSError as error:
                problems.append(disk_problem(error))
        if problems and must_be_valid:
            raise RecipeError(*problems)
        for wrong in dict.fromkeys(problems):
            warn(f"{wrong}; left out")
        if names is None and not must_be_valid:
            for told in _overlooked_files(root):
                warn(told)

    @functools.cached_property
    def project(self) -> Project:
        """The project, with its store; raises BuildError for wrong settings."""
        from partition_core.build.project import Project

        return Project.at(self.root)

    @functools.cached_property
    def recipes(self) -> Recipes:
        """The recipes, with a memory of those that were checked."""
        from partition_core.build.recipes import Recipes

        return Recipes(self.project)

    def finish(self) -> None:
        """Remember what was found out for the next run."""
        for build in self.builds:
            files = build.files_that_decide()
            if files:
                self._settled.note(build.outline, files)
        if "project" in vars(self):
            self.project.digests.save()
            self.project.store.save()
            self.recipes.save()
        self._settled.save()


class RecipeBuild:
    """The build of one recipe in a run: what it consists of, what is done and how to do it."""

    def __init__(self, run: Run, name: str, settled: Outline | None) -> None:
        self.run = run
        self.name = name
        self.is_up_to_date = settled is not None
        self._settled = settled
        self._files: dict[str, str] = {}

    @functools.cached_property
    def outline(self) -> Outline:
        """What doit must know of the recipe."""
        if self._settled is not None:
            return self._settled
        partition = self.plan.file.recipe.partition
        return Outline(
            self.name,
            f"{partition.type}: {counted(len(partition.segments), 'segment')}.",
            tuple(segment.save_file for segment in partition.segments),
            self.plan.artifacts,
        )

    @functools.cached_property
    def steps(self) -> tuple[StepName, ...]:
        """The steps of the recipe, in the order of the work."""
        return tuple(steps_of(self.outline.segments, self.outline.artifacts))

    @functools.cached_property
    def plan(self) -> Plan:
        """The plan of the recipe; raises PartitionError for a recipe or an input that is wrong."""
        from partition_core.build.plan import Plan

        with self.run.project.digests.watched() as files:
            plan = Plan(self.run.project, self.run.recipes.open(self.name))
            is_known = plan.result_of(EXPORT) is not None
        # Without a result nobody knew which files to ask for.
        self._files = files if is_known else {}
        return plan

    def open_if_needed(self) -> None:
        """Read the recipe unless nothing is to be done for it.

        An ONNX file and files with inputs are compared with it, unless it was exported already.
        """
        if self.is_up_to_date or self.plan.result_of(EXPORT) is not None:
            return
        from partition_core.sources.source import form_of

        form_of(self.plan.exports.job).check(self.plan.exports.job)

    def files_that_decide(self) -> dict[str, str]:
        """Return the identities of all files that tell that nothing is to be done; else none."""
        if self.is_up_to_date or "plan" not in vars(self) or not self.plan.is_all_published:
            return {}
        if not self._files:
            return {}
        folder = self.run.project.build_folder(self.name)
        seen = self.run.project.digests.stamps
        weights = {model.weights_name for model in self.plan.models_made().values()} - {""}
        return self._files | {
            str(path): seen[str(path)]
            for path in map(folder.joinpath, (*self.plan.artifacts, *sorted(weights)))
        }

    def is_done(self, step: str) -> bool:
        """Return whether there is nothing to do for the step of the plan that is called `step`."""
        from partition_core.build.publish import is_all_published

        return is_all_published(self.plan) or self.plan.is_done(self.plan.step(step))

    def is_published(self, artifact: str) -> bool:
        """Return whether the build folder holds the artifact that the recipe gives now."""
        from partition_core.build.publish import is_published

        return is_published(self.plan, artifact)

    def carry_out(self, step: str, say: Say) -> bool:
        """Do the work of the step called `step`, and return whether that was necessary.

        Raises PartitionError.
        """
        from partition_core.build.carry_out import carry_out

        return carry_out(self.plan, step, say)

    def publish(self, artifact: str, say: Say) -> bool:
        """Put one artifact into the build folder and return True; raises PartitionError.

        If that was not needed but is asked for, its task has no others in front of it.
        """
        from partition_core.build.publish import publish

        if self.is_up_to_date:
            for step in self.plan.names:
                self.carry_out(step, say)
        return publish(self.plan, artifact)

    def advice(self, given: Mapping[str, str], say: Say) -> Iterator[str]:
        """Yield where the model may best be cut, in lines; `given` are a user's wishes by name.

        Raises PartitionError.
        """
        from partition_core.build.step import laid_out
        from partition_core.suggest.advice import advice, measured_model
        from partition_core.suggest.wishes import SuggestOptions

        wanted = SuggestOptions.of(given)
        if self.is_up_to_date:
            self.carry_out(EXPORT, say)  # its result may have left the store
        self.plan.result_of(EXPORT)
        job = self.plan.job(say=say)
        with laid_out(job, [END2END]) as (models, scratch), job.phase("suggest: measure the model"):
            measured = measured_model(
                models[END2END],
                job.path(job.result(EXPORT).files[RECORDING]),
                scratch,
                wanted.unsupported,
                wanted.measures,
            )
        return advice(measured, job.file, wanted, job.project.build_folder(self.name), say)

    def marked_arrays(self) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
        """Return a function from the model's inputs to the arrays at its marks, in PyTorch.

        Raises PartitionError, as for a recipe whose model is an ONNX file.
        """
        from partition_core.build.steps.export import packages_of
        from partition_core.sources.fetching import pinned_file
        from partition_core.sources.source import source_of

        job = self.plan.exports.job
        pinned = pinned_file(job)
        with packages_of(job):
            return source_of(job).record(job, pinned)

    def remove(self, artifact: str | None = None) -> bool:
        """Remove the artifacts with their weights, or one with its own; return True.

        The build folder goes too if nothing else is in it.
        """
        from partition_core.graph.stored_models import published_weights

        folder = self.run.root / BUILD / self.name
        artifacts = self.outline.artifacts if artifact is None else (artifact,)
        for path in (*map(folder.joinpath, artifacts), *published_weights(folder, artifact)):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
        return True

    def explanation(self) -> Iterator[str]:
        """Yield what would be done and why, a line for each step and artifact."""
        from partition_core.build.explain import explanation

        return explanation(self.plan)

    def reason(self, what: str) -> str:
        """Return the line of the explanation about one step or artifact."""
        about = f"{self.name}: {what}: "
        return next((line for line in self.explanation() if line.startswith(about)), about)


def chosen_recipes(root: Path, chosen: Sequence[str] | None) -> list[str]:
    """Return the names of the recipes that are chosen, by name or by file; None: all.

    Raises RecipeError for a name that is unknown and for a project without recipes.
    """
    known = recipe_names(root / RECIPES)
    if not known and (chosen or chosen is None):
        raise RecipeError.at(
            Place(f"{RECIPES}/"),
            "there is no recipe",
            f"expected at least one file '{RECIPES}/<name>.yaml'",
            "; ".join(_overlooked_files(root)) or "see the README for a first recipe",
        )
    if chosen is None:
        return known
    names = [name.removeprefix(f"{RECIPES}/").removesuffix(".yaml") for name in chosen]
    unknown = [
        problem(
            f"recipe={','.join(chosen)}",
            f"there is no recipe '{name}'",
            one_of(known),
            _overlooked(root, name) or suggestion(name, known),
        )
        for name in names
        if name not in known
    ]
    if unknown:
        raise RecipeError(*unknown)
    return list(dict.fromkeys(names))


def _overlooked_files(root: Path) -> list[str]:
    """Return, each with a reason, the files that look like recipes and are not taken for any."""
    return [_reason(name) for name in overlooked(root / RECIPES)]


def _overlooked(root: Path, asked: str) -> str:
    stems = {
        name: name.removesuffix(".yaml").removesuffix(".yml") for name in overlooked(root / RECIPES)
    }
    meant = [name for name, stem in stems.items() if asked in (name, stem, stem.rpartition("/")[2])]
    return "; ".join(map(_reason, meant))


def _reason(name: str) -> str:
    wanted = f"{RECIPES}/{Path(name).stem}.yaml"
    return f"'{RECIPES}/{name}' is no recipe where it is: call it '{wanted}'"
