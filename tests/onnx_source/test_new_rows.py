"""A new step and a new command are a module and a row each: nothing else has to know them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.projects import ROOT

from .projects import TWO, Project

STEP = '''\
"""The number of nodes of each segment."""

import json

from partition_core.build.step import Outcome, digests_of

NOTES = {"nodes": lambda value: isinstance(value, int)}


def files(job, subject):
    return ("nodes.json",)


def entries(job, subject):
    for name, model in job.models.items():
        yield from digests_of(name, model)
    yield "proof", job.steps["prove"].key


def work(job, subject):
    def write(folder):
        from partition_core.graph.file.graph_reader import read_model

        counts = {
            name: len(list(read_model(job.path(model.file)).graph))
            for name, model in job.models.items()
        }
        (folder / "nodes.json").write_text(json.dumps(counts))
        return Outcome({"nodes": sum(counts.values())})

    return write
'''
STEP_ROW = """\
    Row("count", ("export", "cut"), "nodes.json", "Count nodes.", "Count the nodes of '{recipe}'."),
"""
COMMAND = '''\
"""The task that greets."""

from doit import doit_cmd

from partition_core.cli.actions import attempt, say_all


def task_greet():
    """Greet `name=…`."""
    return {"actions": [lambda: attempt(lambda: say_all([f"hello {doit_cmd.get_var('name')}"]))]}
'''
COMMAND_ROW = """\
    Command("greet", "greet_tasks", ("name",), of_recipes=False),
"""


@pytest.fixture
def package(project: Project, tmp_path: Path) -> Path:
    """A copy of our package, which the project uses."""
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "partition_core", copy / "partition_core", ignore=ignored)
    project.environment["PYTHONPATH"] = project.environment["PYTHONPATH"].replace(
        str(ROOT), str(copy)
    )
    return copy / "partition_core"


def add_row(file: Path, table: str, row: str) -> None:
    """Put a row at the end of a table."""
    text = file.read_text()
    start = text.index(f"\n{table} = (\n")
    end = text.index("\n)\n", start) + 1
    file.write_text(text[:end] + row + text[end:])


def test_a_step_is_a_module_and_a_row(project: Project, package: Path) -> None:
    project.recipe(TWO)
    (package / "build" / "steps" / "count.py").write_text(STEP)
    add_row(package / "build" / "steps" / "__init__.py", "STEPS", STEP_ROW)
    dry = project.built("build", "--dry-run")
    assert "x: count: build if the result of 'export' changes" in dry
    assert "x: nodes.json: publish if it is new and the proof holds" in dry

    output = project.built()
    counts = json.loads((project.folder / "build" / "x" / "nodes.json").read_text())
    assert set(counts) == {"end2end.onnx", "body.onnx", "head.onnx"}
    assert all(count > 1 for count in counts.values())
    assert "build/x/nodes.json: written" in output
    manifest = json.loads((project.folder / "build" / "x" / "manifest.json").read_text())
    assert list(manifest["fingerprints"])[-1] == "count"
    assert "count" in project.built("list", "--all")

    assert project.built().startswith("x: up to date")
    (project.folder / "build" / "x" / "nodes.json").write_text("{}")
    assert "build/x/nodes.json: written" in project.built()
    assert json.loads((project.folder / "build" / "x" / "nodes.json").read_text()) == counts
    project.built("clean", "build:x")
    assert not (project.folder / "build" / "x").exists()


def test_a_command_is_a_function_and_a_row(project: Project, package: Path) -> None:
    project.recipe(TWO)
    (package / "cli" / "greet_tasks.py").write_text(COMMAND)
    add_row(package / "cli" / "commands.py", "COMMANDS", COMMAND_ROW)
    assert "Greet `name=…`." in project.built("list")
    assert "hello you" in project.doit("--verbosity", "2", "greet", "name=you").stdout
    refusal = project.doit("build", "name=you").stdout
    assert "name=you: not a variable of this command" in refusal
    assert "expected this variable with `doit greet`" in refusal


def test_the_models_stay_in_the_recipes_order_when_the_first_is_made_last(
    project: Project,
) -> None:
    project.recipe(TWO)
    project.built()
    before = project.artifacts("x")["manifest.json"]
    project.built("store", "--forget", _key_of(project, "cut body.onnx"))
    shutil.rmtree(project.folder / "build" / "x")
    output = project.built()
    assert "cut body.onnx …" in output
    assert "cut head.onnx …" not in output
    assert project.artifacts("x")["manifest.json"] == before


def _key_of(project: Project, step: str) -> str:
    manifest = json.loads((project.folder / "build" / "x" / "manifest.json").read_text())
    key: str = manifest["fingerprints"][step]["key"]
    return key
