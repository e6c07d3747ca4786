"""Entries that are sealed and wrong: they cost a warning and never a build."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from partition_core.base.disk import digest_of
from partition_core.base.errors import BuildError
from partition_core.build import store_commands as upkeep
from partition_core.build.run import Run
from partition_core.build.step import Step
from partition_core.store.local import LocalStore

from .projects import TWO, Project


def sealed(key: str, body: Any) -> bytes:
    seal = digest_of(json.dumps([key, body], sort_keys=True).encode())
    return json.dumps({"result": body, "seal": seal}).encode()


class Built:
    """A project that was built in this process, and its store."""

    def __init__(self, project: Project, models: dict[str, onnx.ModelProto]) -> None:
        self.project = project
        self.models = models
        self.store = LocalStore(project.store, lambda _: None)
        self.steps: dict[str, Step] = {
            name: step for name, step in self.plan().steps() if step is not None
        }

    def plan(self) -> Any:
        return Run(self.project.folder, ["x"]).builds[0].plan

    def body(self, step: str) -> Any:
        return json.loads(self.path(step).read_bytes())["result"]

    def path(self, step: str) -> Path:
        return self.store.entry_path(self.steps[step].key)

    def poison(self, step: str, body: Any) -> None:
        path = self.path(step)
        path.unlink()
        path.write_bytes(sealed(self.steps[step].key, body))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, onnx.ModelProto]]:
    """A project, built, of which each test changes a copy; and what it gave."""
    folder = tmp_path_factory.mktemp("first")
    project = Project(folder / "project", folder / "store")
    project.recipe(TWO)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARTITION_CORE_STORE", str(project.store))
        return project, project.make()


@pytest.fixture
def built(project: Project, first: tuple[Project, dict[str, onnx.ModelProto]]) -> Built:
    original, models = first
    shutil.copytree(original.store, project.store)
    project.recipe(TWO)
    return Built(project, models)


NOTES = {
    "export": ("detects", "fingerprint"),
    "cut body.onnx": ("refers to weights", "fingerprint"),
    "prove": ("summary", "fingerprint"),
}
WRONG: dict[str, tuple[str, Any]] = {
    f"{step}: {note} is {value!r}": (step, (note, value))
    for step, notes in NOTES.items()
    for note in notes
    for value in ("missing", None, 5, [["code", 1]])
} | {
    "export: another fingerprint": ("export", ("fingerprint", [["recipe name", "y"]])),
    "export: it detects": ("export", ("detects", True)),
    "export: classes": ("export", ("classes", [1])),
    "export: decisions": ("export", ("decisions", [{"assumed": 1}])),
    "export: a picture": ("export", ("picture", {"input": "image"})),
    "export: no Unicode": ("export", ("fingerprint", [["\ud800", "y"]])),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_notes_cost_a_warning_and_what_they_are_of_is_made_again(
    built: Built, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    step, (note, value) = WRONG[what]
    body = built.body(step)
    before = dict(body["notes"])
    if value == "missing":
        del body["notes"][note]
    else:
        body["notes"][note] = value
    built.poison(step, body)
    assert built.project.make() == built.models
    key = built.steps[step].key
    warnings = capsys.readouterr().err.splitlines()
    quarantine = built.store.folder / "quarantine"
    assert warnings == [f"WARNING: store: '{key}' is damaged; it was moved to '{quarantine}'"]
    assert built.body(step)["notes"] == before


FILES: dict[str, Any] = {
    "none": {},
    "another name": {"other.onnx": ["0" * 64, 5]},
    "another size": None,
    "a size below 0": {"end2end.onnx": ["0" * 64, -5], "recording.npz": ["0" * 64, 1]},
    "a digest of nothing": {"end2end.onnx": ["0" * 64, 5], "recording.npz": ["0" * 64, 1]},
}


@pytest.mark.parametrize("what", FILES)
def test_wrong_files_are_made_again(built: Built, what: str) -> None:
    body = built.body("export")
    before = json.loads(json.dumps(body["files"]))
    if FILES[what] is None:
        body["files"]["end2end.onnx"][1] += 1
    else:
        body["files"] = FILES[what]
    built.poison("export", body)
    assert built.project.make() == built.models
    assert built.body("export")["files"] == before


def test_verifying_finds_wrong_notes(built: Built) -> None:
    body = built.body("prove")
    del body["notes"]["summary"]
    built.poison("prove", body)
    project = built.plan().project

    @contextlib.contextmanager
    def silent(_: object) -> Iterator[Any]:
        yield io.BytesIO()

    class Bar:
        def update(self, _: int) -> None:
            """Show nothing."""

    with pytest.raises(BuildError) as error:
        list(upkeep.verify(project, lambda _: contextlib.nullcontext(Bar())))
    assert str(error.value) == (
        f"{built.store.folder}: entry {built.steps['prove'].key} of step 'prove' of recipe 'x' "
        "is not a valid result of that step"
    )
    (line,) = upkeep.verify(project, lambda _: contextlib.nullcontext(Bar()))
    assert line.endswith("all sound")


def test_wrong_notes_from_afar_are_not_taken(
    built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = tmp_path / "shared"
    body = built.body("prove")
    body["notes"]["summary"] = {}
    built.poison("prove", body)
    for kind in ("ac", "cas"):
        for path in (built.store.folder / kind).glob("??/*"):
            (shared / kind).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, shared / kind / path.name)
    shutil.rmtree(built.project.store)
    built.project.write("partition.toml", f"remote = '{shared}'\n")
    run = Run(built.project.folder, ["x"])
    (build,) = run.builds
    for step in ("export", "cut body.onnx", "cut head.onnx"):
        assert build.is_done(step)
    assert not build.is_done("prove")
    (told,) = capsys.readouterr().err.splitlines()
    key = built.steps["prove"].key
    assert told.startswith(f"WARNING: shared store '{shared}': ac/{key} is damaged or belongs to")
    assert built.project.make() == built.models


def forget(built: Built, what: str) -> list[str]:
    return list(upkeep.forget(built.plan().project, what))


def test_one_result_is_forgotten_by_its_key(built: Built) -> None:
    key = built.steps["prove"].key
    files = built.body("prove")["files"]
    place = f"'{built.store.folder}'"
    before = {path for _, path in built.store.entries()}
    assert forget(built, key[:8]) == [f"x: prove: {key[:12]} removed from {place}"]
    assert before - {path for _, path in built.store.entries()} == {built.path("prove")}
    for digest, _ in files.values():
        assert not built.store.file_path(digest).exists()
    assert built.project.make() == built.models


def test_an_entry_that_is_damaged_is_forgotten_by_its_key(built: Built) -> None:
    key = built.steps["prove"].key
    built.path("prove").unlink()
    built.path("prove").write_bytes(b"{")
    assert forget(built, key) == [f"an entry: {key[:12]} removed from '{built.store.folder}'"]
    assert not built.path("prove").exists()


def test_all_results_of_a_recipe_are_forgotten_and_no_others(built: Built) -> None:
    built.project.recipe(TWO.replace("two", "three"), "y")
    built.project.make("y")
    told = forget(built, "x")
    steps = ("export", "cut body.onnx", "cut head.onnx", "prove")
    assert {line.rpartition(": ")[0] for line in told} == {f"x: {step}" for step in steps}
    recipes = {one.split("  ")[0] for one in upkeep.show(built.plan().project)}
    assert "y" in recipes
    assert "x" not in recipes
    assert set(built.project.make("y")) == {"end2end.onnx", "body.onnx", "head.onnx"}


@pytest.mark.parametrize("what", ["z", "abc", "0" * 64, "body.onnx"])
def test_what_nothing_is_called_is_told(built: Built, what: str) -> None:
    before = {path for _, path in built.store.entries()}
    with pytest.raises(BuildError) as error:
        forget(built, what)
    assert str(error.value) == (
        f"forget={what}: no such result; expected a recipe, or the first 8 digits or more "
        "of a key; `doit store` lists both"
    )
    assert {path for _, path in built.store.entries()} == before


def test_the_command_forgets(project: Project) -> None:
    project.recipe(TWO)
    project.built("build", "recipe=x")
    said = project.built("store", "--forget", "x")
    assert said.count(" removed from ") == 4
    assert "x" not in [line.split("  ")[0] for line in project.built("store").splitlines()]
    run = project.doit("store", "--forget", "x")
    assert run.returncode == 1
    assert run.stdout.startswith("ERROR: forget=x: no such result; expected a recipe")
