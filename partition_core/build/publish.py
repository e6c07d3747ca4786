"""The build folder: artifacts restored from the store, and the manifest that describes them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from partition_core.base.build_name import BuildName, variants_in
from partition_core.base.disk import digest_of, is_readable_file, remove_parts, write_whole
from partition_core.base.errors import BuildError, Place
from partition_core.base.folders import COMPARISON, MANIFEST, REPORT
from partition_core.build.note_checks import FINGERPRINT
from partition_core.build.plan import Plan
from partition_core.build.steps import EXPORT, PROVE
from partition_core.build.steps.convert import PRINTED
from partition_core.build.steps.prove import PROOF
from partition_core.chain.manifest import Files, composed, former_manifest
from partition_core.graph.stored_models import StoredModel, published_weights
from partition_core.recipe.values import canonical_json
from partition_core.store.entry import StoredFile
from partition_core.store.lists import LISTED_AT

_OF_THE_STORE = (FINGERPRINT, LISTED_AT)
"""Notes of an export by which the store finds it."""


def is_published(plan: Plan, artifact: str) -> bool:
    """Return whether the build folder has exactly the artifact that the recipe gives now."""
    if artifact in plan.targets:
        return _is_target_published(plan, artifact)
    path = plan.project.artifact_path(plan.recipe, artifact)
    digest = plan.project.digests.of(path) if is_readable_file(path) else None
    proof = plan.result_of(PROVE)
    models = plan.models()
    if digest is None or proof is None or models is None:
        return False
    if artifact in models:
        return models[artifact].file.digest == digest and _has_weights(plan, models[artifact])
    if artifact != MANIFEST:
        result = plan.result_of(str(plan.producer(artifact)))
        return result is not None and result.files[artifact].digest == digest
    if plan.project.store.path_of(proof.files[PROOF]) is None:
        return False
    return digest == digest_of(manifest_text(plan).encode()) and not list(_former_builds(plan))


def _is_target_published(plan: Plan, target: str) -> bool:
    """Return whether the build folder has a target's files, or it failed and need not be there."""
    files = plan.converted(target)
    if not files:
        return not plan.targets[target].required and plan.failure(target) is not None
    folder = plan.project.artifact_path(plan.recipe, target)
    return all(
        is_readable_file(folder / name) and plan.project.digests.of(folder / name) == file.digest
        for name, file in files.items()
    )


def _has_weights(plan: Plan, model: StoredModel) -> bool:
    if model.weights is None:
        return True
    path = plan.project.build_folder(plan.recipe) / model.weights_name
    return is_readable_file(path) and plan.project.digests.of(path) == model.weights.digest


def is_all_published(plan: Plan) -> bool:
    """Return whether a recipe needs no work, whatever is still in the store."""
    if not plan.is_all_published:
        plan.is_all_published = all(is_published(plan, artifact) for artifact in plan.artifacts)
    return plan.is_all_published


def publish(plan: Plan, artifact: str) -> bool:
    """Put one artifact into the build folder, whole and verified; the proof must have passed.

    A model's weights are written before it. The manifest is written after the models and removes
    models, weights and targets of a former partition, and the files of former variants. Returns
    True.
    """
    if artifact in plan.targets:
        for name, file in plan.converted(artifact).items():
            _restore(plan, f"{_name(plan).file(artifact)}/{name}", file)
        return True
    if artifact == MANIFEST:
        folder = plan.project.build_folder(plan.recipe)
        # Of two variants, the one that ends last must see what the other one has published.
        with _locked(plan, folder), _locked_path(plan, _name(plan).file(artifact)) as target:
            _remove_former(plan)
            write_whole(target, manifest_text(plan).encode())
            plan.project.store.add_user(plan.project.root)
        return True
    model = _proven(plan).get(artifact)
    if model is None:
        _restore(plan, _name(plan).file(artifact), _file_of(plan, artifact))
        return True
    if model.weights is not None and not _has_weights(plan, model):
        _restore(plan, model.weights_name, model.weights)
    _restore(plan, _name(plan).file(artifact), model.file)
    return True


def _name(plan: Plan) -> BuildName:
    return BuildName.of(plan.recipe)


def _restore(plan: Plan, name: str, file: StoredFile) -> None:
    with _locked_path(plan, name) as target:
        if not plan.project.store.restore(file, target):
            raise BuildError.at(
                Place(f"{_name(plan).folder}/{name}"),
                "its copy in the store was removed or damaged",
                "",
                "build again to recreate it",
            )
        plan.project.digests.learn(target, file.digest)


@contextlib.contextmanager
def _locked_path(plan: Plan, name: str) -> Iterator[Path]:
    """Yield the path of a file in the build folder, for this process alone to write."""
    target = plan.project.build_folder(plan.recipe) / name
    with _locked(plan, target):
        remove_parts(target)
        _remove_empty_folder(target, f"{_name(plan).folder}/{name}")
        yield target


def _locked(plan: Plan, path: Path) -> AbstractContextManager[None]:
    return plan.project.store.locked(digest_of(str(path).encode()))


def _remove_empty_folder(target: Path, name: str) -> None:
    if target.is_symlink() or not target.is_dir():
        return
    try:
        target.rmdir()
    except OSError as error:
        what = "is a non-empty folder"
        raise BuildError.at(Place(name), what, "expected a file", "remove it") from error


def _proven(plan: Plan) -> Mapping[str, StoredModel]:
    models = plan.models()
    if models is None or plan.result_of(PROVE) is None:
        raise BuildError.at(plan.recipe, "is not proven yet", "", "build again")
    return models


def _file_of(plan: Plan, artifact: str) -> StoredFile:
    """Return the stored file of an artifact that is not a model; raises BuildError without it."""
    result = plan.result_of(str(plan.producer(artifact)))
    if result is None:
        raise BuildError.at(plan.recipe, f"'{artifact}' is not written yet", "", "build again")
    return result.files[artifact]


def weights_of_others(folder: Path, variant: str) -> frozenset[str]:
    """Return the weights files that the manifests of other variants in a build folder name."""
    others = (each for each in variants_in(folder) if each != variant)
    return frozenset(name for each in others for name in former_manifest(folder, each).weights)


def _remove_former(plan: Plan) -> None:
    folder, own = plan.project.build_folder(plan.recipe), _name(plan)
    for build in _former_builds(plan):
        gone = former_manifest(folder, build.variant)
        _remove(folder, (*gone.files, *map(build.file, (REPORT, MANIFEST))))
        for target, files in gone.targets.items():
            remove_files(folder, target, files)
    former, current = former_manifest(folder, own.variant), set(map(own.file, plan.artifacts))
    _remove(folder, (name for name in former.files if name not in current))
    converted = {own.file(target): set(plan.converted(target)) for target in plan.targets}
    for target, files in former.targets.items():
        remove_files(folder, target, set(files) - converted.get(target, set()))
    weights = [path.name for path in published_weights(folder)]
    # What others publish meanwhile is among their results since before it was in the folder.
    used = {model.weights_name for model in _proven(plan).values()} | _used_by_siblings(plan)
    _remove(folder, (name for name in weights if name not in used))


def _former_builds(plan: Plan) -> Iterator[BuildName]:
    """Yield the builds with a manifest in the build folder that the recipe no longer has."""
    recipe = _name(plan).recipe
    for variant in variants_in(plan.project.build_folder(plan.recipe)):
        if str(name := BuildName(recipe, variant)) not in plan.written.builds:
            yield name


def _used_by_siblings(plan: Plan) -> frozenset[str]:
    """Return the weights files of the recipe's other variants: published, or to be published."""
    if not plan.written.siblings:
        return frozenset()
    folder = plan.project.build_folder(plan.recipe)
    models = [
        model
        for sibling in plan.written.siblings
        for model in Plan(plan.project, sibling).finished_models().values()
    ]
    return weights_of_others(folder, _name(plan).variant) | {each.weights_name for each in models}


def _remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if Path(name).name == name:
            (folder / name).unlink(missing_ok=True)


def remove_files(build: Path, folder: str, names: Iterable[str]) -> None:
    """Remove files of a target in its `folder` of the folder `build`, and the folder if empty."""
    if Path(folder).name != folder:
        return
    _remove(build / folder, names)
    with contextlib.suppress(OSError):
        (build / folder).rmdir()


def manifest_text(plan: Plan) -> str:
    """Return the manifest as JSON: artifacts, segments, edges, coverage, proof, fingerprints.

    The same artifacts have the same manifest: it contains no time and no path of the machine.
    """
    models = _proven(plan)
    # The report shows all this, and its figures vary: the manifest has only its fingerprint.
    fingerprints = {
        name: step.fingerprint
        for name, step in plan.steps()
        if step is not None and not (plan.names[name].row.may_fail and not plan.result(step))
    }
    job = plan.job()
    proof = job.result(PROVE)
    notes = job.result(EXPORT).notes
    return composed(
        recipe=json.loads(canonical_json(plan.file.recipe)),
        artifacts={name: _files(plan, name, model) for name, model in models.items()},
        targets=[_target(plan, name) for name in plan.targets if plan.target_results(name)],
        proven=json.loads(job.path(proof.files[PROOF]).read_bytes()),
        export={name: note for name, note in notes.items() if name not in _OF_THE_STORE},
        summary=proof.notes["summary"],
        fingerprints=fingerprints,
    )


def _target(plan: Plan, name: str) -> dict[str, Any]:
    """Return what the manifest says of a target: its files, its converter, how it agrees."""
    target = plan.targets[name]
    converted, compared = plan.target_results(name)
    figures = plan.job().path(compared.files[COMPARISON])
    return {
        "segment": target.segment,
        "backend": target.backend,
        "precision": target.precision,
        "folder": _name(plan).file(name),
        "files": {
            file: {"sha256": stored.digest, "bytes": stored.size}
            for file, stored in converted.files.items()
        },
        "printed": converted.notes[PRINTED],
        "agreement": json.loads(figures.read_bytes()),
    }


def _files(plan: Plan, name: str, model: StoredModel) -> Files:
    weights = {} if model.weights is None else {model.weights_name: model.weights}
    stored = {_name(plan).file(name): model.file, **weights}
    return {name: (file.digest, file.size) for name, file in stored.items()}
