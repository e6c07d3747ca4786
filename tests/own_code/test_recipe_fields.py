"""Every field of a recipe is in the fingerprint of each step that must not miss its change."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from partition_core.base.disk import digest_of
from partition_core.base.folders import END2END, RECORDING
from partition_core.base.index_ranges import ZERO_OR_ONE
from partition_core.build.plan import Plan
from partition_core.build.project import Project
from partition_core.build.settings import Settings
from partition_core.build.step import Step
from partition_core.build.steps import export
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.values import (
    Model,
    Recipe,
)
from partition_core.store.entry import Origin, Result, StoredFile

from .recipes import RECIPES

STEPS = {
    "name": ("export",),
    "model": ("export",),
    "export": ("export",),
    "export.weights": ("export", "cut"),
    "marks": ("export",),
    "partition.cut": ("export",),
    "partition.segments": ("cut", "prove"),
    "partition.targets.backend": ("convert",),
    "partition.targets.precision": ("convert",),
    "partition.targets.tolerance": ("compare",),
    "partition.targets.kept": ("compare",),
    "partition.targets.required": (),  # it says what a failure is, and no result depends on it
    "partition.type": (),  # a word for people: the report shows it, and the manifest
    "proof.tolerance": ("prove",),
    "proof.unproven": ("export", "prove"),
    "proof.images": ("export",),
    "proof.inputs": ("export",),
    "proof.batches": ("export",),
}
"""The steps that a field changes, or all fields below it; that of the report is always one.

The results of the export and of the cuts are the same bytes here, whatever their keys are: a key
that changes does so for the field alone.
"""

NOT_WRITTEN = {
    *(
        (name, field)
        for name in ("onnx", "targets", "operators")
        for field in ("marks", "proof.images")
    ),
    *(("operators", f"partition.{field}") for field in ("segments", "cut")),
    *(
        ("targets", f"partition.{field}")
        for field in ("segments[0].save_file", "targets[0].segment")
    ),
    *((name, "partition.targets") for name in RECIPES),
}
"""Fields that no such recipe can give: the model has marks and inputs of its own, the operators
say which segments there are, and a target is of a segment."""


@dataclasses.dataclass(frozen=True)
class Change:
    """A recipe that differs in one place from another: at the field `field` of class `owner`."""

    path: str
    owner: str
    field: str
    recipe: Recipe


def changes(of: Recipe) -> Iterator[Change]:
    for path, owner, field, changed in _changes(Recipe, of, "", ("", "")):
        yield Change(path, owner, field, changed)


def _changes(
    hint: Any, value: Any, path: str, at: tuple[str, str]
) -> Iterator[tuple[str, str, str, Any]]:
    """Yield each value of the type `hint` that differs from `value` in one place, and where."""
    if dataclasses.is_dataclass(value):
        for name, kind in _fields(type(value)).items():
            below = f"{path}.{name}".removeprefix(".")
            place = (type(value).__name__, name)
            for where, owner, field, inner in _changes(kind, getattr(value, name), below, place):
                yield where, owner, field, dataclasses.replace(value, **{name: inner})
        if types.NoneType in get_args(hint):
            yield path, *at, None
        return
    if isinstance(value, tuple) and value:
        kinds = _elements(hint, len(value))
        for index, (kind, element) in enumerate(zip(kinds, value, strict=True)):
            for *where, inner in _changes(kind, element, f"{path}[{index}]", at):
                yield *where, (*value[:index], inner, *value[index + 1 :])
    for other in _others(hint, value):
        yield path, *at, other


def _others(hint: Any, value: Any) -> list[Any]:
    """Return other values of the type `hint`, with as many elements or one more."""
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return [other for other in arguments if other != value]
    if get_origin(hint) in (Union, types.UnionType):
        rest = [kind for kind in arguments if kind is not types.NoneType]
        changed = _others(rest[0], value) if value is not None else [_made(rest[0])]
        return changed + ([None] if value is not None and len(rest) < len(arguments) else [])
    if get_origin(hint) is tuple:
        return [(*value, _made(arguments[0]))] if Ellipsis in arguments else []
    if hint is str:
        return [f"{value}x"]
    return [not value if hint is bool else value + 1]


def _made(hint: Any) -> Any:
    """Return a value of the type `hint`."""
    arguments = get_args(hint)
    if dataclasses.is_dataclass(hint):
        return hint(**{name: _made(kind) for name, kind in _fields(hint).items()})
    if get_origin(hint) is tuple:
        return () if Ellipsis in arguments else tuple(map(_made, arguments))
    if get_origin(hint) in (Union, types.UnionType, Literal):
        return arguments[0] if get_origin(hint) is Literal else _made(arguments[0])
    return {str: "x", int: 1, bool: True, float: 0.5}[hint]


def _elements(hint: Any, count: int) -> tuple[Any, ...]:
    if get_origin(hint) in (Union, types.UnionType):
        hint = get_args(hint)[0]
    arguments = get_args(hint)
    return (arguments[0],) * count if Ellipsis in arguments else arguments


def _fields(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


CASES = [
    pytest.param(name, change, id=f"{name}-{change.path}-{number}")
    for name, of in RECIPES.items()
    for number, change in enumerate(changes(of))
    if (name, change.path) not in NOT_WRITTEN
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Return a project with each file that a recipe of this module names, changed or not."""
    root = tmp_path_factory.mktemp("project")
    for name in ("small.py", "a.jpg", "a.npz"):
        (root / name).write_text("")
        (root / f"{name}x").write_text("# another file\n")
    (root / "x").write_text("# one more\n")
    for name in ("pack", "packx", "x"):
        (root / f"{name}-1.0.dist-info").mkdir()
        (root / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
    (root / "recipe.yaml").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        made = Project.at(root)
        yield dataclasses.replace(made, settings=Settings(root / "store"))


def keys(project: Project, of: Recipe, **notes: object) -> dict[str, list[str]]:
    """Return the keys of the steps by the first word of the step's name; `notes` are of each."""
    plan = Plan(project, RecipeFile(of, "x", {"model": {}}, {}, (project.root / "recipe.yaml",)))
    found: dict[str, list[str]] = {}
    for name, step in plan.steps():
        assert step is not None
        found.setdefault(name.partition(" ")[0], []).append(step.key)
        plan.remember(step, result(step, notes))
    return found


def result(step: Step, notes: dict[str, object]) -> Result:
    """Return what a step gives: notes, and files whose bytes only tell which model they are."""
    kinds = {END2END: "whole", RECORDING: "recording"}
    files = {name: StoredFile(digest_of(kinds.get(name, "").encode()), 1) for name in step.files}
    known = {"detects": False, "parts": ["supported"]}
    return Result(files, {**known, **notes}, Origin("tiny", step.name, 0.0))


@pytest.mark.parametrize(("name", "change"), CASES)
def test_a_changed_field_changes_the_keys_of_its_steps(
    project: Project, name: str, change: Change
) -> None:
    assert {*_steps(change.path), "report"} <= changed_steps(project, name, change)


def changed_steps(project: Project, name: str, change: Change) -> set[str]:
    before, after = keys(project, RECIPES[name]), keys(project, change.recipe)
    return {step for step in before if before[step] != after[step]}


def _steps(path: str) -> tuple[str, ...]:
    """Return the steps of the longest path in the table that leads to a field."""
    parts = re.sub(r"\[\d+\]", "", path).split(".")
    above = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    known = [name for name in above if name in STEPS]
    assert known, f"no step is known for {path}: add it to a fingerprint, and its row here"
    return STEPS[known[0]]


def test_every_field_of_every_class_of_a_recipe_was_changed() -> None:
    changed = {(change.owner, change.field) for of in RECIPES.values() for change in changes(of)}
    there = {(kind.__name__, name) for kind in _classes(Recipe) for name in _fields(kind)}
    composed = {
        (kind.__name__, name)
        for kind in _classes(Recipe)
        for name, hint in _fields(kind).items()
        if _is_composed(hint) or (get_origin(hint) is Literal and len(get_args(hint)) == 1)
    }
    assert there - composed == changed - composed
    assert {(kind.__name__, "source") for kind in get_args(Model)} <= composed


def test_a_field_that_no_fingerprint_has_is_noticed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = next(one for one in changes(RECIPES["seed"]) if one.path == "export.opset")
    monkeypatch.setattr(export, "canonical_json", lambda _: "")
    assert changed_steps(project, "seed", change) == {"report"}
    with pytest.raises(AssertionError, match=r"no step is known for proof\.seconds"):
        _steps("proof.seconds")


@pytest.mark.parametrize("notes", [{"detects": True}, {ZERO_OR_ONE: ["ids"]}])
def test_what_the_export_tells_the_proof_is_in_the_key_of_the_proof(
    project: Project, notes: dict[str, object]
) -> None:
    before, after = keys(project, RECIPES["torch"]), keys(project, RECIPES["torch"], **notes)
    assert before["cut"] == after["cut"]
    assert before["prove"] != after["prove"]


def test_equal_recipes_have_equal_keys(project: Project) -> None:
    for of in RECIPES.values():
        assert keys(project, of) == keys(project, dataclasses.replace(of))


def _classes(hint: Any) -> set[Any]:
    if not dataclasses.is_dataclass(hint):
        return {kind for argument in get_args(hint) for kind in _classes(argument)}
    return {hint, *(kind for inner in _fields(hint).values() for kind in _classes(inner))}


def _is_composed(hint: Any) -> bool:
    """Return whether a field holds one value of other classes, whose fields are changed instead."""
    if get_origin(hint) in (Union, types.UnionType):
        return all(dataclasses.is_dataclass(kind) for kind in get_args(hint))
    return dataclasses.is_dataclass(hint)
