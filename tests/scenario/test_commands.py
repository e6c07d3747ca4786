"""doit's own commands on a project: what they print, and what they leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import FILE_RECIPE, FileScratch, Scratch, steps, tiny_file

PROVEN = (
    "tiny: proven on 2 inputs: the segments in a chain equal end2end bit for bit "
    "(3 boundary tensors), end2end equals "
)
UP_TO_DATE = "tiny: up to date (4 artifacts in build/tiny)\n"


def told(output: str) -> list[str]:
    """Return the lines of an output with neither times nor figures that rounding may change."""
    lines = [PROVEN if line.startswith(PROVEN) else line for line in output.splitlines()]
    return [line.rsplit(": ", 1)[0] if line.endswith(" s") else line for line in lines]


def test_a_first_build_tells_its_steps_the_proof_and_each_artifact(torch_fresh: Scratch) -> None:
    torch_fresh.environment.update(TERM="xterm-256color", FORCE_COLOR="1")
    assert told(torch_fresh.built()) == [
        "tiny: export: build the model …",
        "tiny: export: build the model",
        "tiny: export: run it in PyTorch …",
        "tiny: export: run it in PyTorch",
        "tiny: export: trace it …",
        "tiny: export: trace it",
        "tiny: export: translate it to ONNX …",
        "tiny: export: translate it to ONNX",
        "tiny: cut body.onnx …",
        "tiny: cut body.onnx",
        "tiny: cut tail.onnx …",
        "tiny: cut tail.onnx",
        "tiny: prove …",
        "tiny: prove",
        PROVEN,
        "build/tiny/end2end.onnx: built, 7.0 kB",
        "build/tiny/body.onnx: built, 5.4 kB",
        "build/tiny/tail.onnx: built, 720 B",
        "build/tiny/manifest.json: written",
    ]


def test_a_changed_segment_is_the_only_one_that_is_cut(scratch: Scratch) -> None:
    scratch.built()
    scratch.edit("recipes/tiny.yaml", "'decode:input']}\n", "'decode:input.small']}\n")
    assert told(scratch.built())[:-5] == [
        "tiny: cut body.onnx …",
        "tiny: cut body.onnx",
        "tiny: prove …",
        "tiny: prove",
    ]
    scratch.edit("recipes/tiny.yaml", "'decode:input.small']}\n", "'decode:input']}\n")
    assert told(scratch.built()) == [
        PROVEN,
        "build/tiny/end2end.onnx: up to date",
        "build/tiny/body.onnx: restored from the store, 4.2 kB",
        "build/tiny/tail.onnx: up to date",
        "build/tiny/manifest.json: written",
    ]


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["clean"], 4),
        (["clean", "build"], 1),
        (["clean", "build:tiny"], 1),
    ],
)
def test_clean_removes_the_artifacts_and_a_build_restores_them(
    scratch: Scratch, arguments: list[str], printed: int
) -> None:
    scratch.built()
    before = scratch.artifacts()
    output = scratch.built(*arguments)
    assert "build/tiny" in output and "Traceback" not in output
    assert not (scratch.folder / "build" / "tiny").exists()
    assert told(scratch.built()) == [
        PROVEN,
        "build/tiny/end2end.onnx: restored from the store, 6.1 kB",
        "build/tiny/body.onnx: restored from the store, 4.2 kB",
        "build/tiny/tail.onnx: restored from the store, 516 B",
        "build/tiny/manifest.json: written",
    ]
    assert scratch.artifacts() == before


def test_clean_of_one_recipe_leaves_the_other_and_what_a_user_put_there(scratch: Scratch) -> None:
    scratch.write("recipes/other.yaml", FILE_RECIPE.replace("tail.onnx", "rest.onnx"))
    scratch.built()
    own = scratch.folder / "build" / "tiny" / "notes.txt"
    own.write_text("mine")
    scratch.built("clean", "build:tiny")
    assert set(scratch.artifacts()) == {"notes.txt"}
    assert len(scratch.artifacts("other")) == 4


def test_a_dry_clean_removes_nothing(scratch: Scratch) -> None:
    scratch.built()
    before = scratch.artifacts()
    assert "build/tiny/body.onnx" in scratch.built("clean", "--dry-run")
    assert scratch.artifacts() == before


def test_lists_name_recipes_artifacts_and_steps(fresh: Scratch) -> None:
    listed = [line.split()[0] for line in fresh.built("list").splitlines()]
    assert {"build", "cut", "export", "prove", "store", "prune"} <= set(listed)
    names = [line.split()[0] for line in fresh.built("list", "--all").splitlines()]
    assert {
        "build:tiny",
        "build:tiny:end2end.onnx",
        "build:tiny:manifest.json",
        "cut:tiny:body.onnx",
        "export:tiny",
        "prove:tiny",
    } <= set(names)
    assert "--dry-run" in fresh.built("help", "build")
    assert "complete" in fresh.built("tabcompletion")


def test_info_tells_in_a_few_lines_why_an_artifact_is_not_up_to_date(scratch: Scratch) -> None:
    scratch.built()
    output = scratch.built("info", "build:tiny:body.onnx")
    assert "status     : up-to-date" in output
    assert len(output.splitlines()) < 20
    (scratch.folder / "build" / "tiny" / "body.onnx").write_text("edited")
    run = scratch.doit("info", "build:tiny:body.onnx")
    assert run.returncode == 1
    assert "tiny: body.onnx: restore: the file differs" in run.stdout
    assert " object at 0x" not in run.stdout


def test_forgetting_costs_nothing_and_ignoring_lasts_until_then(scratch: Scratch) -> None:
    scratch.built()
    scratch.built("forget")
    assert scratch.built() == UP_TO_DATE
    target = scratch.folder / "build" / "tiny" / "body.onnx"
    target.unlink()
    scratch.built("ignore", "build:tiny:body.onnx")
    scratch.built()
    assert not target.exists()
    scratch.built("forget", "build:tiny:body.onnx")
    scratch.built()
    assert target.exists()
    assert "skip build:tiny:body.onnx" in scratch.built("reset-dep")


def test_one_artifact_or_one_step_can_be_named(scratch: Scratch) -> None:
    assert told(scratch.built("build:tiny:body.onnx")) == [
        PROVEN,
        "build/tiny/body.onnx: restored from the store, 4.2 kB",
    ]
    assert set(scratch.artifacts()) == {"body.onnx"}
    assert told(scratch.built("build/tiny/tail.onnx"))[1:] == [
        "build/tiny/tail.onnx: restored from the store, 516 B"
    ]
    assert scratch.built("export", "recipe=tiny") == "tiny: up to date (export:tiny)\n"
    assert scratch.built("prove", "recipe=tiny") == (
        "tiny: up to date (export:tiny, cut:tiny:body.onnx, cut:tiny:tail.onnx, prove:tiny)\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [["-a", "build"], ["--always-execute", "build"], ["-a", "-n", "2", "build"]],
)
def test_always_execute_restores_all_and_exports_nothing(
    scratch: Scratch, arguments: list[str]
) -> None:
    scratch.built()
    output = scratch.built(*arguments)
    assert steps(output) == []
    assert told(output)[0] == PROVEN
    assert [line.split(": ")[1] for line in told(output)[1:]] == [
        "restored from the store, 6.1 kB",
        "restored from the store, 4.2 kB",
        "restored from the store, 516 B",
        "written",
    ]


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_every_verbosity_tells_errors_and_the_end(scratch: Scratch, verbosity: int) -> None:
    assert UP_TO_DATE not in scratch.built("-v", str(verbosity), "build")
    assert scratch.built("-v", str(verbosity), "build") == UP_TO_DATE
    scratch.edit("recipes/tiny.yaml", "'decode:input']}\n", "'decode:input.smal']}\n")
    run = scratch.doit("-v", str(verbosity), "build")
    assert run.returncode != 0
    assert "decode:input.smal' selects no tensor" in run.stdout
    assert run.stdout.endswith("tiny: failed\n")
    assert "Traceback" not in run.stdout


@pytest.mark.parametrize("parallel", ["process", "thread"])
@pytest.mark.parametrize(
    "kind", [FileScratch, pytest.param(Scratch, marks=pytest.mark.thorough)], ids=["file", "torch"]
)
def test_two_recipes_are_built_at_once(tmp_path: Path, kind: type[Scratch], parallel: str) -> None:
    project = kind(tmp_path / "project", tmp_path / "store")
    recipe = (project.folder / "recipes" / "tiny.yaml").read_text()
    if isinstance(project, FileScratch):
        (project.folder / "other.onnx").write_bytes(tiny_file(seed=1))
    other = recipe.replace("seed: 0", "seed: 1").replace("path: tiny.onnx", "path: other.onnx")
    project.write("recipes/other.yaml", other)
    project.environment["OMP_NUM_THREADS"] = "1"  # two processes on two cores
    output = project.built("-n", "2", "-P", parallel, "build")
    ends = [line for line in output.splitlines() if line.startswith("build/")]
    assert [line.split(",")[0] for line in ends] == [
        f"build/{recipe}/{end}"
        for recipe in ("other", "tiny")
        for end in (
            "end2end.onnx: built",
            "body.onnx: built",
            "tail.onnx: built",
            "manifest.json: written",
        )
    ]
    assert project.artifacts("other")["body.onnx"] != project.artifacts()["body.onnx"]
