"""Carries out steps: look up, work in a private folder, check what came out, keep it."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.building.models import EXPORT_FORMS, take, weights_file
from partition_core.building.places import in_recipe
from partition_core.building.plan import END2END, PROOF, REFERENCE, REFERS, Plan, Step
from partition_core.errors import BuildError, ExportError, problem
from partition_core.fingerprint import changes
from partition_core.progress import ticking
from partition_core.recipe import OnnxModel, Segment, WeightsForm
from partition_core.store.entry import Origin, Result, StoredFile
from partition_core.store.tiers import Store

if TYPE_CHECKING:
    from partition_core.cutting.files import Form
    from partition_core.cutting.onnx_file.graph import Model
    from partition_core.proving.chained import Chain

Say = Callable[[str], None]
Notes = Mapping[str, Any]


def export(plan: Plan, say: Say) -> bool:
    """Export the recipe's model unless the store has it; return whether it was exported.

    Raises PartitionError.
    """
    from partition_core.building.fetching import pinned_file

    def announced(part: str) -> contextlib.AbstractContextManager[None]:
        return phase(f"{plan.recipe}: export: {part}", say)

    def work(folder: Path) -> Notes:
        found = pinned_file(plan.project, plan.file)
        if isinstance(plan.file.recipe.model, OnnxModel):
            from partition_core.building.onnx_source import mark_source

            notes = mark_source(plan, folder, announced, found)
            _check_as_asked(plan, folder / END2END)
            return notes
        with packages_of(plan):
            from partition_core.export.exporter import export_recipe
            from partition_core.export.files import save_export

            exported = export_recipe(
                plan.file.recipe,
                plan.project.root,
                plan.file.place,
                found[0] if found else None,
                announced,
            )
        form = EXPORT_FORMS[plan.weights]
        written = save_export(exported, folder / END2END, folder / REFERENCE, form)
        _check_as_asked(plan, folder / END2END)
        take(written, folder, weights_file(plan.weights, END2END))
        return {**exported.notes, **({"checkpoint_sha256": found[1]} if found else {})}

    done = carry_out(plan, plan.export(), work)
    # A traced program refers to itself: its weights would stay beside those that the proof loads.
    gc.collect()
    return done


def _check_as_asked(plan: Plan, end2end: Path) -> None:
    from partition_core.cutting.as_asked import differences
    from partition_core.cutting.onnx_file.graph_reader import read_model

    wrong = differences(read_model(end2end), plan.file.recipe, plan.file.place)
    if wrong:
        raise ExportError(*wrong)


def cut(plan: Plan, segment: Segment, say: Say) -> bool:
    """Cut one segment out of the exported model; return whether that was necessary.

    Raises CutError with the recipe's lines.
    """
    step = known(plan.cut(segment), f"cut {segment.save_file}")

    def work(folder: Path) -> Notes:
        from partition_core.cutting.files import cut_file, weights_files

        at = f"partition.segments[{plan.segments.index(segment)}]"
        with (
            phase(f"{plan.recipe}: cut {segment.save_file}", say),
            in_recipe(plan.file),
            laid_out(plan, [END2END]) as (models, scratch),
        ):
            target = (scratch if plan.weights == "shared" else folder) / segment.save_file
            form = _CUT_FORMS[plan.weights]
            written = cut_file(models[END2END], segment, target, at=at, weights=form)
            take(written, folder, plan.own_weights(segment.save_file))
        return {REFERS: bool(weights_files(folder / segment.save_file))}

    return carry_out(plan, step, work)


def prove(plan: Plan, say: Say) -> bool:
    """Prove the partition; return whether that was necessary.

    Raises ProofError, and then nothing of it is published.
    """
    step = known(plan.prove(), "prove")

    def work(folder: Path) -> Notes:
        from partition_core.cutting.boundaries import coverage
        from partition_core.cutting.onnx_file.graph_reader import read_model
        from partition_core.proving.proof import prove as prove_chain
        from partition_core.proving.summary import summary
        from partition_core.reference import load_reference

        exported = _exported(plan)
        with (
            phase(f"{plan.recipe}: prove", say),
            laid_out(plan, plan.model_names) as (models, scratch),
        ):
            model = read_model(models[END2END])
            with in_recipe(plan.file):
                chain = chain_of(plan, model, models)
                covered = coverage(model, plan.segments)
            figures = prove_chain(
                models[END2END],
                model,
                chain,
                load_reference(stored(plan, exported.files[REFERENCE])),
                tolerance=plan.file.recipe.proof.tolerance,
                detects=bool(exported.notes["detects"]),
                against=str(exported.notes.get("compared_with", "PyTorch")),
                scratch=scratch,
            )
        content = _plain(
            {
                "proof": figures,
                "segments": chain.boundaries,
                "edges": chain.edges,
                "coverage": covered,
            }
        )
        (folder / PROOF).write_text(json.dumps(content), encoding="utf-8")
        return {"summary": summary(figures, len(covered.uncovered))}

    return carry_out(plan, step, work)


def chain_of(plan: Plan, model: Model, models: Mapping[str, Path]) -> Chain:
    """Return the segments among the files `models`, and how they hang together in `model`.

    `model` is the end2end model. Raises CutError.
    """
    from partition_core.cutting.boundaries import boundaries, edges
    from partition_core.proving.chained import Chain

    return Chain(
        {segment.save_file: models[segment.save_file] for segment in plan.segments},
        boundaries(model, plan.segments),
        edges(model, plan.segments),
    )


def carry_out(plan: Plan, step: Step, work: Callable[[Path], Notes]) -> bool:
    """Do the work of a step unless its result is there by now; return whether it was done.

    One process at a time works on a key; the others then find its result. If the step has another
    fingerprint after the work, an input changed meanwhile and nothing is kept.
    """
    store = plan.project.store

    def act(folder: Path) -> Result:
        start = time.monotonic()
        notes = work(folder)
        _check_outputs(step, folder)
        _check_inputs(step, plan.afresh().step(step.name))
        return store.keep(
            step.key,
            {name: folder / name for name in step.files},
            {**notes, "fingerprint": [list(entry) for entry in step.fingerprint.entries]},
            Origin(plan.recipe, step.name, round(time.monotonic() - start, 1)),
        )

    with store.locked(step.key):
        found = store.fetch(step.key, step.files)
        result = found or _in_private_folder(store, act)
    plan.found(step, result)
    return found is None


def _in_private_folder(store: Store, act: Callable[[Path], Result]) -> Result:
    """Act in a private folder on the store's disk, or again in another one if that disk refuses."""
    try:
        with store.private_folder() as folder:
            return act(folder)
    except OSError as error:
        if not store.gives_up(error):
            raise
    with store.private_folder() as folder:
        return act(folder)


def _check_outputs(step: Step, folder: Path) -> None:
    made = {path.name for path in folder.iterdir()}
    wrong = [f"'{name}' is missing" for name in step.files if name not in made]
    wrong += [f"'{name}' is not declared" for name in sorted(made - set(step.files))]
    if wrong:
        raise BuildError(problem(step.name, "; ".join(wrong), "expected what the step declares"))


def _check_inputs(before: Step, after: Step | None) -> None:
    if after is None or after.key != before.key:
        told = changes(before.fingerprint, after.fingerprint) if after else ["its start is gone"]
        raise BuildError(
            problem(
                before.name,
                f"while it ran, {'; '.join(told)}",
                "what it gave belongs to neither state and is not kept",
                "build again",
            )
        )


def known(step: Step | None, name: str) -> Step:
    """Return a step that starts from results; raises BuildError if these are gone."""
    if step is None:
        raise BuildError(
            problem(name, "what it starts from is not in the store any more", "", "build again")
        )
    return step


_CUT_FORMS: Mapping[WeightsForm, Form] = {
    "inline": "inline",
    "external": "external",
    "shared": "referred",
}


@contextlib.contextmanager
def laid_out(plan: Plan, names: Sequence[str]) -> Iterator[tuple[dict[str, Path], Path]]:
    """Yield the paths of stored models, for reading only, and a private folder.

    Models whose weights are in another file lie in the folder, and so do those files, called as
    the models call them: as in the build folder. (onnxruntime follows no symbolic link to them.)
    """
    store, made = plan.project.store, plan.models_made()
    paths: dict[str, Path] = {}
    with contextlib.ExitStack() as held:
        folder = held.enter_context(store.private_folder())
        for name in names:
            model = made[name]
            paths[name] = stored(plan, model.file)
            if model.weights is None:
                continue
            paths[name] = Path(shutil.copyfile(paths[name], folder / name))
            weights = folder / model.weights_name
            if not weights.exists() and not held.enter_context(store.lent(model.weights, weights)):
                raise _lost(model.weights_name)
        yield paths, folder


def _exported(plan: Plan) -> Result:
    exported = plan.result(plan.export())
    if exported is None:
        raise _lost(END2END)
    return exported


def stored(plan: Plan, file: StoredFile) -> Path:
    """Return where a file of a result is, for reading only; raises BuildError if it is gone."""
    path = plan.project.store.path_of(file)
    if path is None:
        raise _lost(file.digest)
    return path


def _lost(name: str) -> BuildError:
    return BuildError(
        problem(
            "store",
            f"'{name}' was removed or damaged while it was needed",
            "",
            "build again: it will be made anew",
        )
    )


@contextlib.contextmanager
def packages_of(plan: Plan) -> Iterator[None]:
    """Tell a package that is missing, or that a library of the system is missing for."""
    source = plan.file.recipe.model.source
    try:
        yield
    except ImportError as error:
        raise BuildError(
            problem(
                plan.file.place("model.source"),
                f"source '{source}' needs a package that cannot be imported: {error}",
                f"it is installed with `pip install 'partition-core[{source}]'`",
                "for 'libGL.so.1' install the system's package libgl1",
            )
        ) from error


@contextlib.contextmanager
def phase(what: str, say: Say) -> Iterator[None]:
    """Announce a part of the work that takes long, and afterwards how long it took."""
    start = time.monotonic()
    with ticking(what) as is_shown:
        if not is_shown:
            say(f"{what} …")
        yield
    say(f"{what}: {time.monotonic() - start:.1f} s")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
