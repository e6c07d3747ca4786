"""Which recipes a command line is about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from partition_core import tasks
from partition_core.base.errors import RecipeError
from partition_core.build.settings import read_settings
from partition_core.cli.command_line import paths_in_full, scope
from partition_core.recipe.model_source import SOURCES
from partition_core.recipe.schema import RECIPE_SCHEMA, SCHEMAS

UPKEEP = {"store", "verify", "prune", "origin", "import_mmdeploy"}
TASKS = [name.removeprefix("task_") for name in tasks.__all__ if name.startswith("task_")]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_about_the_recipes_that_it_names_or_about_none(task: str) -> None:
    named = scope([f"{task}:x"], None).recipes
    assert named == (() if task in UPKEEP else ("x",))
    everything = scope([task], None).recipes
    assert everything == (() if task in UPKEEP else None)


def test_a_task_of_all_recipes_beside_one_of_a_single_recipe_is_about_all() -> None:
    assert scope(["build", "prove:x"], None) == (None, True, False)
    assert scope(["store", "prove:x"], None) == (("x",), True, False)
    assert scope(["-n", "2"], None) == (None, True, False)
    assert scope(["list", "--all"], None) == (None, False, False)


def test_a_partition_may_be_wrong_where_only_models_are_looked_at() -> None:
    assert scope(["tensors:x"], None) == (("x",), True, True)
    assert scope(["tensors", "suggest"], "x") == (("x",), True, True)
    assert scope(["tensors", "build"], "x") == (("x",), True, False)


def test_a_source_that_is_guessed_is_one_of_the_schemas() -> None:
    schema = json.loads((SCHEMAS / RECIPE_SCHEMA).read_text(encoding="utf-8"))
    assert set(SOURCES) == set(schema["$defs"]["model"]["properties"]["source"]["enum"])


@pytest.mark.parametrize("words", ["-n -1", "-n-1", "--process -2", "--process=-2"])
def test_a_negative_number_of_processes_is_refused(words: str) -> None:
    with pytest.raises(RecipeError, match=r"-n -\d: not a number of processes; expected 0 or"):
        scope([*words.split(), "build"], None)


@pytest.mark.parametrize("words", ["-n 2", "-n 0", "-n2", "build -n 1", "--process=3", "-n"])
def test_other_numbers_are_not(words: str) -> None:
    assert scope([], None) == (None, True, False)
    assert scope([*words.split(), "build"], None) == (None, True, False)


def test_a_path_at_home_is_one_on_the_command_line_and_in_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert paths_in_full({"image": "~/a.jpg", "recipe": "a~b"}) == {
        "image": "/home/me/a.jpg",
        "recipe": "a~b",
    }
    (tmp_path / "partition.toml").write_text('store = "~/store"\nremote = "~/shared"\n')
    found = read_settings(tmp_path, {})
    assert (str(found.store), found.remote) == ("/home/me/store", "/home/me/shared")
