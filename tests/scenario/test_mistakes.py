"""What a user gets to read for a mistake: the exact lines, an exit code, and no file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from partition_core.base.errors import RecipeError
from partition_core.build.run import Run, chosen_recipes
from tests.projects import RECIPE, TINY, Scratch

NO_RECIPE = (
    "ERROR: recipes/: there is no recipe; expected at least one file 'recipes/<name>.yaml'; "
    "see the README for a first recipe\n"
)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["build", "recpie=tiny"],
            "recpie=tiny: unknown variable 'recpie'; expected one of 'recipe'; "
            "did you mean 'recipe'?",
        ),
        (
            ["build", "recipe=tinny"],
            "recipe=tinny: there is no recipe 'tinny'; expected one of 'tiny'; "
            "did you mean 'tiny'?",
        ),
        (["build", "recipe="], "recipe=: there is no recipe ''; expected one of 'tiny'"),
        (
            ["build", "recipe=a,,b"],
            "recipe=a,b: there is no recipe 'a'; expected one of 'tiny'\n"
            "recipe=a,b: there is no recipe 'b'; expected one of 'tiny'",
        ),
        (["list", "recipe=x"], "recipe=x: there is no recipe 'x'; expected one of 'tiny'"),
        (
            ["build", "recipe", "=", "tiny"],
            "recipe = tiny: has spaces around '='; expected recipe=tiny",
        ),
        (
            ["build:tinny"],
            "recipe=tinny: there is no recipe 'tinny'; expected one of 'tiny'; "
            "did you mean 'tiny'?",
        ),
    ],
)
def test_a_wrong_variable_is_told(fresh: Scratch, arguments: list[str], told: str) -> None:
    before = fresh.files()
    run = fresh.doit(*arguments)
    assert (run.returncode, run.stdout) == (3, f"ERROR: {told}\n")
    assert fresh.files() == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["biuld"], "biuld"),
        (["build", "--dry-rum"], "--dry-rum"),
        (["build:tiny:x.onnx"], "x.onnx"),
    ],
)
def test_a_wrong_command_or_option_is_told_without_a_traceback(
    fresh: Scratch, arguments: list[str], word: str
) -> None:
    run = fresh.doit(*arguments)
    assert run.returncode == 3
    assert run.stdout.startswith("ERROR: ") and word in run.stdout
    assert "Traceback" not in run.stdout


@pytest.fixture
def scattered(tmp_path: Path) -> Path:
    """Return a project with recipes where none is looked for, and a base where one may be."""
    recipes = tmp_path / "recipes"
    (recipes / "old" / "deep").mkdir(parents=True)
    (recipes / "bases").mkdir()
    for name in ("net.yml", "old/deep/head.yaml", "bases/base.yaml"):
        (recipes / name).write_text(RECIPE)
    (recipes / "old" / "notes.yaml").write_text("a: 1\n")
    (recipes / "tiny.yaml").write_text("extends: bases/base.yaml\n")
    return tmp_path


NET = "'recipes/net.yml' is not read as a recipe: rename it to 'recipes/net.yaml'"
HEAD = "'recipes/old/deep/head.yaml' is not read as a recipe: rename it to 'recipes/head.yaml'"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("net", NET),
        ("net.yml", NET),
        ("recipes/net.yml", NET),
        ("head", HEAD),
        ("recipes/old/deep/head.yaml", HEAD),
        ("base", ""),
        ("notes", ""),
        ("tin", "did you mean 'tiny'?"),
    ],
)
def test_a_recipe_in_another_place_is_named(scattered: Path, asked: str, told: str) -> None:
    with pytest.raises(RecipeError) as error:
        chosen_recipes(scattered, [asked])
    words = str(error.value).split("; ", 1)
    assert words[1] == "expected one of 'tiny'" + (f"; {told}" if told else "")
    assert chosen_recipes(scattered, ["recipes/tiny.yaml"]) == ["tiny"]


def test_a_list_warns_of_recipes_in_other_places_and_a_build_does_not(
    scattered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Run(scattered, None, must_be_valid=False)
    assert capsys.readouterr().err.splitlines() == [f"WARNING: {NET}", f"WARNING: {HEAD}"]
    Run(scattered, None)
    assert capsys.readouterr().err == ""
    (scattered / "recipes" / "tiny.yaml").unlink()
    with pytest.raises(RecipeError, match=f".*; {NET}; {HEAD}"):
        chosen_recipes(scattered, None)


def link(path: Path) -> None:
    path.symlink_to("nowhere.yaml")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.write_text(""), "is empty; expected a mapping of keys to values"),
        (lambda path: path.mkdir(), "is not a file; expected a recipe"),
        (os.mkfifo, "is not a file; expected a recipe"),
        (link, "is a link to a file that does not exist; expected a recipe"),
    ],
    ids=["empty", "a folder", "a pipe", "a dangling link"],
)
def test_a_recipe_that_is_no_file_is_told(
    fresh: Scratch, make: Callable[[Path], object], told: str
) -> None:
    path = fresh.folder / "recipes" / "tiny.yaml"
    path.unlink()
    make(path)
    run = fresh.doit("build")
    assert (run.returncode, run.stdout) == (3, f"ERROR: recipes/tiny.yaml: {told}\n")


def test_a_recipe_of_random_bytes_is_told(fresh: Scratch) -> None:
    (fresh.folder / "recipes" / "tiny.yaml").write_bytes(bytes(range(128, 256)))
    run = fresh.doit("build")
    assert run.returncode == 3
    assert run.stdout == "ERROR: recipes/tiny.yaml:1: is not UTF-8 text; save the file as UTF-8\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_recipe_is_told(fresh: Scratch) -> None:
    (fresh.folder / "recipes" / "tiny.yaml").chmod(0)
    run = fresh.doit("build")
    assert run.returncode == 3
    assert run.stdout == "ERROR: recipes/tiny.yaml: cannot be read: Permission denied\n"


def test_a_project_without_recipes_is_told(fresh: Scratch) -> None:
    (fresh.folder / "recipes" / "tiny.yaml").unlink()
    run = fresh.doit("build")
    assert (run.returncode, run.stdout) == (3, NO_RECIPE)
    (fresh.folder / "recipes").rmdir()
    run = fresh.doit("build")
    assert (run.returncode, run.stdout) == (3, NO_RECIPE)


WRONG = "recipes/bad.yaml:6: model.weights.sead: unknown key 'sead'; expected one of 'checkpoint', "
WRONG += "'seed', 'sha256'; did you mean 'seed'?"


@pytest.fixture
def two(scratch: Scratch) -> Scratch:
    """A project that is built, and that has a second recipe, which is wrong."""
    scratch.built()
    scratch.write("recipes/bad.yaml", RECIPE.replace("seed: 0", "sead: 0"))
    return scratch


ABOUT_OTHERS = (
    *("store", "verify", "prune", "origin build/tiny/body.onnx", "build recipe=tiny"),
    *("build recipe=tiny.yaml", "build recipe=recipes/tiny.yaml", "build:tiny"),
    *("build:tiny:body.onnx", "cut:tiny:body.onnx prove:tiny", "clean build:tiny"),
)


def test_a_wrong_recipe_does_not_stop_a_command_about_others(two: Scratch) -> None:
    for command in ABOUT_OTHERS:
        run = two.doit(*command.split())
        assert (run.returncode, "bad" in run.stdout) == (0, False), f"{command}: {run.stdout}"


@pytest.mark.parametrize("command", ["list --all", "clean build", "clean"])
def test_a_command_about_all_recipes_that_builds_none_leaves_a_wrong_one_out(
    two: Scratch, command: str
) -> None:
    run = two.doit(*command.split())
    assert run.returncode == 0
    assert run.stdout.count("bad") == run.stdout.count(f"WARNING: {WRONG}; skipped\n") == 1
    assert "tiny" in run.stdout.replace(WRONG, "")


def test_a_wrong_recipe_stops_a_command_about_it(two: Scratch) -> None:
    before = two.files()
    for command in ("build", "", "build:bad", "prove", "build:tiny build:bad"):
        run = two.doit(*command.split())
        assert (run.returncode, run.stdout) == (3, f"ERROR: {WRONG}\n"), command
        assert two.files() == before, command


def test_a_misspelt_mark_is_told_and_changes_no_byte_of_the_project(torch_scratch: Scratch) -> None:
    torch_scratch.built()
    torch_scratch.edit("recipes/tiny.yaml", "end: ['decode:input']", "end: ['decod:input']")
    before = torch_scratch.files()
    run = torch_scratch.doit("build", "recipe=tiny")
    assert run.returncode == 3
    assert run.stdout == (
        "ERROR: recipes/tiny.yaml:15: partition.segments[0].end[0]: unknown mark 'decod'; "
        "expected one of 'decode', 'whole'; did you mean 'decode'?\n"
    )
    assert torch_scratch.files() == before


def test_all_mistakes_of_all_chosen_recipes_are_told_in_order(scratch: Scratch) -> None:
    scratch.write(
        "recipes/a.yaml", RECIPE.replace("seed: 0", "seed: -1").replace("name: dec", "nam: dec")
    )
    scratch.write("recipes/z.yaml", RECIPE.replace("start: ['decode:", "start: ['decod:"))
    run = scratch.doit("build")
    assert run.returncode == 3
    assert run.stdout.splitlines() == [
        "ERROR: recipes/a.yaml:6: model.weights.seed: is the number -1; "
        "expected a whole number from 0",
        "recipes/a.yaml:11: marks[1].nam: unknown key 'nam'; expected one of 'any_of', "
        "'decorator', 'inputs', 'module', 'name', 'on', 'outputs'; did you mean 'name'?",
        "recipes/z.yaml:16: partition.segments[1].start[0]: unknown mark 'decod'; "
        "expected one of 'decode', 'whole'; did you mean 'decode'?",
    ]
    assert not (scratch.folder / "build").exists()
    assert "recipes/a.yaml" not in scratch.built("build", "recipe=tiny")


MODEL = "recipes/{}.yaml:4: model.factory: "
MARK = "recipes/{}.yaml:11: marks[1]: mark 'decode' "

# name: (replaced, replacement), what is told; each is a recipe of one build.
FAILING = {
    "attribute": (
        ("tiny:build", "tiny:buld"),
        MODEL + "module 'tiny' has no function 'buld'; expected a callable that returns a "
        "torch.nn.Module; did you mean 'build'?",
    ),
    "arguments": (
        ("{width: 8}", "{wdth: 8}"),
        MODEL + "factory 'tiny:build': calling it fails; TypeError: build() got an unexpected "
        "keyword argument 'wdth'",
    ),
    "called": (
        ("on: tiny.decode, inputs: [maps]", "on: tiny.unused, inputs: [x]"),
        MARK + "is never called when the model runs",
    ),
    "ends": (
        ("tiny:build", "tiny:ends"),
        "recipes/{}.yaml: the model exits Python with code 4",
    ),
    "function": (
        ("on: tiny.decode", "on: tiny.decod"),
        MARK + "is on 'tiny.decod', and module 'tiny' has no 'decod'; did you mean 'decode'?",
    ),
    "module": (
        ("tiny:build", "tinny:build"),
        MODEL + "factory 'tinny:build': importing 'tinny' fails; ModuleNotFoundError: "
        "No module named 'tinny'",
    ),
    "number": (
        ("tiny:build", "tiny:number"),
        MODEL + "'tiny:number' returned a int; expected a torch.nn.Module",
    ),
    "raises": (
        ("tiny:build", "tiny:raises"),
        MODEL + "factory 'tiny:raises': calling it fails; ValueError: no luck",
    ),
    "shape": (
        ("[1, 3, 32, 32]", "[1, 4, 32, 32]"),
        "recipes/{}.yaml:2: model: the model does not run in PyTorch; RuntimeError: Given "
        "groups=1, weight of size [8, 3, 3, 3], expected input[1, 4, 32, 32] to have 3 channels, "
        "but got 4 channels instead",
    ),
    "tensor": (
        ("on: tiny.decode, inputs: [maps]", "on: tiny.plain, inputs: [number]"),
        MARK + "finds no tensor in input 'number' (parameter 'number'); a mark needs a tensor, or "
        "a list, tuple or dict of tensors",
    ),
    "tensors": (
        ("end: ['decode:input']", "end: ['decode:input.maps.2']"),
        "recipes/{}.yaml:15: partition.segments[0].end[0]: 'decode:input.maps.2' selects no "
        "tensor; expected one of 'decode:input.maps.0', 'decode:input.maps.1'; did you mean "
        "'decode:input.maps.1'?",
    ),
    "zero": (
        ("on: tiny.decode", "on: nowhere.decode"),
        MARK + "is on 'nowhere.decode', and there is no module 'nowhere'; a mark's 'on' is the "
        "dotted path of a function that can be imported",
    ),
}

FACTORIES = (
    TINY.replace("    return decode(", "    plain(3)\n        return decode(")
    + """

def plain(number):
    return number


def unused(x):
    return x


def number(width):
    return 3


def raises(width):
    raise ValueError("no\\nluck")


def ends(width):
    raise SystemExit(4)
"""
)


def test_every_failing_recipe_is_told_and_the_others_are_built(torch_fresh: Scratch) -> None:
    torch_fresh.write("tiny.py", FACTORIES)
    for name, ((old, new), _) in FAILING.items():
        assert old in RECIPE
        torch_fresh.write(f"recipes/{name}.yaml", RECIPE.replace(old, new))
    run = torch_fresh.doit("build")
    assert run.returncode != 0
    told = [line for line in run.stdout.splitlines() if "…" not in line and line[-2:] != " s"]
    errors = [line.removeprefix("ERROR: ") for line in told if line.startswith("ERROR: ")]
    expected = [text.format(name) for name, (_, text) in FAILING.items()]
    assert sorted(errors) == sorted(expected)
    assert [line for line in told if line.endswith(": failed")] == [
        f"{name}: failed" for name in sorted(FAILING)
    ]
    assert "build/tiny/manifest.json: written" in told
    assert {path.name for path in (torch_fresh.folder / "build").iterdir()} == {
        ".partition",
        "tiny",
    }
