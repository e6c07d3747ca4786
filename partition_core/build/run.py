"""One run of doit in a project: the chosen recipes, which are opened only if not up to date.

The modules that carry out steps are imported when the first step has to run.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.base.build_name import SEPARATOR, BuildName, unknown_build
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
from partition_core.base.folders import END2END, RECIPES, RECORDING, STATE
from partition_core.base.wording import counted, warn
from partition_core.build.steps import (
    ALL_SEGMENTS,
    CUT,
    EXPORT,
    PROVE,
    StepName,
    all_steps,
)
from partition_core.build.up_to_date import RecipeOverview, UpToDateCache
from partition_core.recipe.names import overlooked, recipe_names

if TYPE_CHECKING:
    from partition_core.build.plan import Plan
    from partition_core.build.project import Project
    from partition_core.build.recipes import Recipes
    from partition_core.build.step import StepJob
    from partition_core.suggest.tensor_list import CutTensor

Say = Callable[[str], None]


class Run:
    """The builds of the recipes called `names`; None means all.

    Raises RecipeError with everything that is wrong with them. Unless `must_be_valid`, wrong
    recipes are skipped with a warning, and so are files that only look like recipes. If
    `model_alone`, a partition that is wrong is left out with a warning.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str] | None,
        must_be_valid: bool = True,
        model_alone: bool = False,
    ) -> None:
        self.root = root
        self._up_to_date = UpToDateCache(root, root / STATE / "settled.json")
        self.builds: list[RecipeBuild] = []
        problems: list[Problem] = []
        for chosen in chosen_recipes(root, names):
            with _collected(problems):
                for name in self._builds_of(chosen):
                    build = RecipeBuild(self, name, self._up_to_date.overview(name))
                    with _collected(problems):
                        build.open_if_needed(model_alone)
                        if must_be_valid and not model_alone:
                            build.check_packages()
                        self.builds.append(build)
        if problems and must_be_valid:
            raise RecipeError(*problems)
        for wrong in dict.fromkeys(problems):
            warn(f"{wrong}; skipped")
        if names is None and not must_be_valid:
            for line in _overlooked_files(root):
                warn(line)

    def _builds_of(self, chosen: str) -> list[str]:
        """Return the names of the builds that a chosen name stands for, without those chosen
        before; raises RecipeError."""
        name = BuildName.of(chosen)
        if SEPARATOR in chosen and (self.root / RECIPES / f"{chosen}.yaml").exists():
            name = BuildName(chosen)  # the reader refuses the name of this file
        known = self._up_to_date.builds(name.recipe) or self.recipes.names(name.recipe)
        if chosen != name.recipe and chosen not in known:
            raise RecipeError(unknown_build(f"recipe={chosen}", name, known))
        if list(known) == [chosen]:
            return [chosen]
        # A recipe may be chosen beside one of its variants.
        before = {build.name for build in self.builds}
        return [each for each in ((chosen,) if chosen in known else known) if each not in before]

    @functools.cached_property
    def project(self) -> Project:
        """The project, with its store; raises BuildError for wrong settings."""
        from partition_core.build.project import Project

        return Project.at(self.root)

    @functools.cached_property
    def recipes(self) -> Recipes:
        """The recipes, with a cache of those that were checked."""
        from partition_core.build.recipes import Recipes

        return Recipes(self.project)

    def finish(self) -> None:
        """Write the caches for the next run."""
        for build in self.builds:
            stamps = build.up_to_date_stamps()
            if stamps:
                self._up_to_date.add(build.overview, stamps)
        if "project" in vars(self):
            self.project.digests.save()
            self.project.store.save()
            self.recipes.save()
        self._up_to_date.save()


class RecipeBuild:
    """The build of one recipe in a run: its steps, their state, and how to carry them out."""

    def __init__(self, run: Run, name: str, cached: RecipeOverview | None) -> None:
        self.run = run
        self.name = name
        self.full_name = BuildName.of(name)
        """The name, divided into recipe and variant."""
        self.is_up_to_date = cached is not None
        self._cached = cached
        self._files: dict[str, str] = {}
        self._is_model_alone = False

    @property
    def overview(self) -> RecipeOverview:
        """What doit needs of the recipe, as far as it is known."""
        if self._cached is not None:
            return self._cached
        partition = self.plan.file.recipe.partition
        count = counted(len(partition.segments), "segment")
        return RecipeOverview(
            self.name,
            f"{partition.type}: {count if partition.segments else 'segments by operators'}.",
            tuple(segment.save_file for segment in partition.segments) or (ALL_SEGMENTS,),
            self.plan.artifacts,
            self.plan.written.builds,
            tuple(self.plan.targets),
        )

    @property
    def steps(self) -> tuple[StepName, ...]:
        """The steps of the recipe, in the order of the work."""
        published = (None, *self.overview.artifacts)
        steps = all_steps(self.overview.segments, self.overview.targets)
        return tuple(step for step in steps if step.artifact in published)

    def meant(self, step: str) -> list[str]:
        """Return the names of the plan's steps that a task's step stands for, once known."""
        kind, _, subject = step.partition(" ")
        if subject != ALL_SEGMENTS:
            return [step]
        self.plan.result_of(EXPORT)
        return [name for name, each in self.plan.names.items() if each.row.kind == kind]

    @functools.cached_property
    def plan(self) -> Plan:
        """The plan of the recipe; raises PartitionError for a recipe or an input that is wrong."""
        from partition_core.build.plan import Plan

        with self.run.project.digests.watched() as files:
            plan = Plan(self.run.project, self.run.recipes.open(self.name))
            is_known = plan.result_of(EXPORT) is not None
        # Without a result it is unknown which files the export reads.
        self._files = files if is_known else {}
        return plan

    def open_if_needed(self, model_alone: bool = False) -> None:
        """Read the recipe unless it is up to date; if `model_alone`, without a wrong partition.

        ONNX and input files are checked against it, unless it was exported already.
        """
        if not self.is_up_to_date:
            self._without_wrong_partition(self._check) if model_alone else self._check()

    def _check(self) -> None:
        if self.plan.result_of(EXPORT) is not None:
            return
        from partition_core.sources.source import form_of

        form_of(self.plan.file.recipe).check(self.plan.exports.job)

    def _without_wrong_partition(self, act: Callable[[], object]) -> None:
        """Act; if only the partition or the proof is wrong, warn of that and act again without.

        What is asked of the model alone does not depend on where it is cut.
        """
        try:
            act()
        except PartitionError as error:
            if self._is_model_alone or _is_about_the_model(error):
                raise
            self._use_model_alone(error)
            act()

    def _use_model_alone(self, reason: PartitionError) -> None:
        """Plan the recipe without its partition; raises `reason` if its model is wrong too."""
        try:
            plan = self._plan_of_model()
        except RecipeError:
            raise reason from None
        for wrong in reason.problems:
            warn(str(wrong))
        warn(f"{plan.file.file}: what follows is of the model without its partition")
        self.plan = plan
        self._is_model_alone = True

    def _plan_of_model(self) -> Plan:
        from partition_core.build.plan import Plan

        return Plan(self.run.project, self.run.recipes.open_model_alone(self.name))

    def check_packages(self) -> None:
        """Raise BuildError for targets whose packages are missing, unless it is up to date."""
        if not self.is_up_to_date:
            from partition_core.build.targets import check_packages

            check_packages(self.plan.written)

    def up_to_date_stamps(self) -> dict[str, str]:
        """Return the stamps of all files by which the recipe is up to date; none if it is not."""
        if self.is_up_to_date or "plan" not in vars(self) or not self.plan.is_all_published:
            return {}
        if not self._files:
            return {}
        digests = self.run.project.digests
        return self._files | {
            str(path): digests.stamps.get(str(path)) or digests.look(path)
            for path in self.plan.published_files()
        }

    def is_done(self, step: str) -> bool:
        """Return whether the step of the plan called `step` is done."""
        from partition_core.build.publish import is_all_published

        return is_all_published(self.plan) or all(
            self.plan.is_done(self.plan.step(each)) for each in self.meant(step)
        )

    def is_published(self, artifact: str) -> bool:
        """Return whether the build folder has the artifact that the recipe gives now."""
        from partition_core.build.publish import is_published

        return all(is_published(self.plan, each) for each in self._artifacts_meant(artifact))

    def _artifacts_meant(self, artifact: str) -> list[str]:
        if artifact != ALL_SEGMENTS:
            return [artifact]
        return [self.plan.names[step].subject for step in self.meant(f"{CUT} {ALL_SEGMENTS}")]

    def carry_out(self, step: str, say: Say) -> bool:
        """Carry out the step called `step`, and return whether that was necessary.

        Raises PartitionError.
        """
        from partition_core.build.carry_out import carry_out

        done = [carry_out(self.plan, each, say) for each in self.meant(step)]
        return any(done)

    def publish(self, artifact: str, say: Say) -> bool:
        """Put one artifact into the build folder and return True; raises PartitionError.

        The task of an up-to-date recipe depends on no others, so the steps are carried out here.
        """
        from partition_core.build.publish import publish

        if self.is_up_to_date:
            for step, name in self.plan.names.items():
                if not name.row.may_fail:
                    self.carry_out(step, say)
        for each in self._artifacts_meant(artifact):
            publish(self.plan, each)
        return True

    def publish_target(self, target: str, say: Say) -> bool:
        """Make one target (`targets.make_target`)."""
        from partition_core.build.targets import make_target

        return make_target(self.plan, target, say)

    def refuse_failed_targets(self) -> bool:
        """Raise ConversionError for required targets that failed (`targets.refuse_failures`)."""
        from partition_core.build.targets import refuse_failures

        return refuse_failures(self.plan)

    def has_target(self, target: str) -> bool:
        """Return whether nothing is left to do for a target (`targets.is_there`)."""
        from partition_core.build.targets import is_there

        return is_there(self.plan, target)

    def is_expected(self, artifact: str) -> bool:
        """Return whether the build folder has an artifact after the build, as far as is known.

        It has no target that failed, is as it was then, and is not required.
        """
        if artifact not in self.overview.targets:
            return True
        if (self.run.root / self.full_name.path(artifact)).is_dir():
            return True
        return not (self.is_up_to_date or self.has_target(artifact))

    def advice(self, wishes: Mapping[str, str], say: Say) -> Iterator[str]:
        """Yield lines about where to cut the model; `wishes` are the user's options by name.

        Raises PartitionError.
        """
        from partition_core.build.step import models_on_disk
        from partition_core.suggest.advice import advice, measured_model
        from partition_core.suggest.wishes import SuggestOptions

        options = SuggestOptions.of(wishes)
        if options.operators:
            return self._division(options.operators, say)
        job = self._job_with_model(say)
        with (
            models_on_disk(job, [END2END]) as (models, scratch),
            job.phase("suggest: measure the model"),
        ):
            measured = measured_model(
                models[END2END],
                job.path(job.result(EXPORT).files[RECORDING]),
                scratch,
                options.unsupported,
                options.measures,
            )
        return advice(measured, job.file, options, job.project.build_folder(self.name), say)

    def _division(self, operators: str, say: Say) -> Iterator[str]:
        from partition_core.graph.file.graph_reader import read_model
        from partition_core.recipe.operators import read_operators
        from partition_core.suggest.by_operators import division_lines

        cut = read_operators(operators, self.run.root, f"operators={operators}")
        with self._exported(say) as path:
            return iter(list(division_lines(self.name, read_model(path), cut, operators)))

    def tensors(self, pattern: str, say: Say) -> list[CutTensor]:
        """Return the tensors that the model can be cut at, those that fit `pattern`.

        Raises PartitionError.
        """
        from partition_core.graph.file.graph_reader import read_model
        from partition_core.suggest.tensor_list import cut_tensors

        self._use_exported_model()
        with self._exported(say) as path:
            return cut_tensors(read_model(path), pattern)

    def _use_exported_model(self) -> None:
        """Plan the model alone if it was exported so and not yet as the recipe cuts it.

        A recipe that is refused would else be exported again, and refused, at each call.
        """
        if self.plan.result_of(EXPORT) is None:
            plan = self._plan_of_model()
            if plan.result_of(EXPORT) is not None:
                self.plan = plan

    @contextlib.contextmanager
    def _exported(self, say: Say) -> Iterator[Path]:
        """Yield the path of the exported model."""
        from partition_core.build.step import models_on_disk

        with models_on_disk(self._job_with_model(say), [END2END]) as (models, _):
            yield models[END2END]

    def _job_with_model(self, say: Say) -> StepJob:
        """Return the job with the exported model, cut as the recipe says if that is right."""
        self._without_wrong_partition(lambda: self.carry_out(EXPORT, say))
        return self.plan.job(say=say)

    def merged(self, variables: Mapping[str, str], say: Say) -> Iterator[str]:
        """Merge the segments with the files of `with=` into one; yield lines about it.

        Raises PartitionError.
        """
        from partition_core.base.recording import load_recording
        from partition_core.build.merging import merge, merge_tolerance, replacements
        from partition_core.build.step import models_on_disk
        from partition_core.chain.manifest import read_manifest
        from partition_core.graph.file.graph_reader import read_model
        from partition_core.graph.stored_models import END2END_PLACEMENTS
        from partition_core.proof.reasons import half_dtype

        job = self._job_with_export(say)
        folder = job.project.build_folder(self.name)
        manifest = read_manifest(folder, self.full_name.variant)
        replaced = replacements(variables["with"], manifest, self.run.root)
        target = Path(variables.get("out") or folder / self.full_name.file("merged.onnx"))
        with models_on_disk(job, [END2END]) as (models, scratch), job.phase("merge"):
            tolerance = merge_tolerance(
                variables.get("tolerance"),
                job.recipe.proof.tolerance_for(half_dtype(read_model(models[END2END]))),
            )
            recording = load_recording(job.path(job.result(EXPORT).files[RECORDING]))
            placement = END2END_PLACEMENTS[job.weights]
            yield from merge(
                manifest,
                models[END2END],
                recording,
                replaced,
                target,
                tolerance,
                placement,
                scratch,
            )

    def diagnosis(self, variables: Mapping[str, str], say: Say) -> Iterator[str]:
        """Find where a segment goes wrong, by the variables of the command; yield lines about it.

        Raises PartitionError.
        """
        from partition_core.build.diagnosing import diagnose

        needed = (EXPORT,) if variables.get("against") else (EXPORT, CUT, PROVE)
        for name, step in self.plan.names.items():
            if step.row.kind in needed:
                for each in self.meant(name):
                    if self.is_up_to_date:
                        self.carry_out(each, say)  # its result may have been removed
                    self.plan.result_of(each)
        return diagnose(self.plan.job(say=say), variables)

    def _job_with_export(self, say: Say) -> StepJob:
        if self.is_up_to_date:
            self.carry_out(EXPORT, say)  # its result may have been removed
        self.plan.result_of(EXPORT)
        return self.plan.job(say=say)

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
            return source_of(job.recipe).record(job, pinned)

    def _remove_target(self, target: str) -> None:
        from partition_core.build.publish import remove_files

        folder, name = self.run.root / self.full_name.folder, self.full_name.file(target)
        names = [path.name for path in (folder / name).glob("*") if path.is_file()]
        remove_files(folder, name, names)

    def remove(self, artifact: str | None = None) -> bool:
        """Remove the artifacts with their weights, or one with its own; return True.

        Weights that another variant's manifest names stay. The build folder is removed too if it
        is empty then.
        """
        from partition_core.build.publish import weights_of_others
        from partition_core.graph.stored_models import published_weights

        folder = self.run.root / self.full_name.folder
        artifacts = self.overview.artifacts if artifact is None else (artifact,)
        others = weights_of_others(folder, self.full_name.variant)
        weights = [path for path in published_weights(folder, artifact) if path.name not in others]
        for target in (each for each in artifacts if each in self.overview.targets):
            self._remove_target(target)
        files = [each for each in artifacts if each not in self.overview.targets]
        for path in (*(folder / self.full_name.file(name) for name in files), *weights):
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


def _is_about_the_model(error: PartitionError) -> bool:
    """Return whether an error remains if the recipe is read without its partition.

    For one of the recipe itself that is not known before.
    """
    from partition_core.recipe.places import is_beside_the_model

    return not isinstance(error, RecipeError) and not all(map(is_beside_the_model, error.problems))


def chosen_recipes(root: Path, chosen: Sequence[str] | None) -> list[str]:
    """Return the names of the recipes that are chosen, by name or by file; None: all.

    A name may be one of a variant, `llama@decode`; whether the recipe has that is not known here.
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
    RecipeError.refuse(
        problem(
            f"recipe={','.join(chosen)}",
            f"there is no recipe '{BuildName.of(name).recipe}'",
            one_of(known),
            _overlooked(root, name) or suggestion(BuildName.of(name).recipe, known),
        )
        for name in names
        if name not in known and BuildName.of(name).recipe not in known
    )
    return list(dict.fromkeys(names))


@contextlib.contextmanager
def _collected(problems: list[Problem]) -> Iterator[None]:
    """Add the problems of an error to `problems` instead of raising it."""
    try:
        yield
    except PartitionError as error:
        problems.extend(error.problems)
    except OSError as error:
        problems.append(disk_problem(error))


def _overlooked_files(root: Path) -> list[str]:
    """Return a line about each file that looks like a recipe but is not read as one."""
    return [_reason(name) for name in overlooked(root / RECIPES)]


def _overlooked(root: Path, name: str) -> str:
    stems = {
        file: file.removesuffix(".yaml").removesuffix(".yml") for file in overlooked(root / RECIPES)
    }
    files = [file for file, stem in stems.items() if name in (file, stem, stem.rpartition("/")[2])]
    return "; ".join(map(_reason, files))


def _reason(name: str) -> str:
    wanted = f"{RECIPES}/{Path(name).stem}.yaml"
    return f"'{RECIPES}/{name}' is not read as a recipe: rename it to '{wanted}'"
