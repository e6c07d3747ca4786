"""Where the inputs of a proof come from: tables, ranges, values and files, built by doit."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.projects import Scratch, steps

MODEL = """
import torch
from torch import nn


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(500, 8)
        self.kinds = nn.Embedding(3, 8)

    def forward(self, ids, kinds, present, rate):
        return pooled(self.words(ids) + self.kinds(kinds), present) / rate


def pooled(states, present):
    return (states * present[..., None]).sum(dim=1)
"""

RECIPE = """\
model: {source: torch, factory: 'text:Text', weights: {seed: 0}}
export:
  inputs:
    ids: {shape: [2, 12], dtype: int64}
    kinds: {shape: [2, 12], dtype: int64}
    present: {shape: [2, 12], dtype: int64}
    rate: {shape: [], dtype: int64, value: 16000}
marks:
  - {name: whole, on: text.Text.forward, inputs: [ids, kinds, present, rate], outputs: [pooled]}
  - {name: pool, on: text.pooled, inputs: [states, present], outputs: []}
partition:
  type: text_partition
  segments:
    - save_file: words.onnx
      start: ['whole:input.ids', 'whole:input.kinds']
      end: ['pool:input.states']
    - {save_file: pool.onnx, start: ['pool:input', 'whole:input.rate'], end: ['whole:output']}
"""
NOTICE = (
    "; 'present' drawn only from 0 and 1, as no range is known: write 'range' in "
    "export.inputs.present"
)


def text_project(folder: Path) -> Scratch:
    project = Scratch(folder / "project", folder / "store")
    (project.folder / "recipes" / "tiny.yaml").unlink()
    project.write("text.py", MODEL)
    project.write("recipes/text.yaml", RECIPE)
    return project


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """Return a project in which the recipe was built with its report."""
    project = text_project(tmp_path_factory.mktemp("text"))
    project.environment["PARTITION_CORE_REPORT"] = "1"
    output = project.built("build", "recipe=text")
    assert NOTICE in output
    return project


def manifest(project: Scratch) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project.artifacts("text")["manifest.json"])
    return found


def proof_line(output: str) -> str:
    (line,) = [line for line in output.splitlines() if line.startswith("text: proven on")]
    return line


def with_files(files: str, recipe: str = RECIPE) -> str:
    return f"{recipe}proof: {{inputs: [{files}]}}\n"


def test_the_build_the_manifest_and_the_report_say_what_was_drawn_only_from_0_and_1(
    text: Scratch,
) -> None:
    content = manifest(text)
    assert content["summary"].endswith(NOTICE)
    assert content["export"]["drawn_from_0_and_1"] == ["present"]
    assert content["export"]["index_ranges"] == {"ids": [0, 499], "kinds": [0, 2]}
    page = html.unescape(text.artifacts("text")["report.html"].decode())
    assert NOTICE in page
    assert "rate int64 scalar" in page


def test_a_range_that_is_written_out_gives_the_same_models_and_no_notice(text: Scratch) -> None:
    before = text.artifacts("text")
    text.edit(
        "recipes/text.yaml", "present: {shape: [2, 12],", "present: {range: [0, 1], shape: [2, 12],"
    )
    try:
        output = text.built("build", "recipe=text")
        after, content = text.artifacts("text"), manifest(text)
    finally:
        text.write("recipes/text.yaml", RECIPE)
    assert "drawn only from 0 and 1" not in output + content["summary"]
    assert b"drawn only from 0 and 1" not in after["report.html"]
    for name in ("end2end.onnx", "words.onnx", "pool.onnx"):
        assert after[name] == before[name]
    # The proof itself was made again, since its line is another one: never a stale one.
    assert NOTICE in text.built("build", "recipe=text") + manifest(text)["summary"]


@pytest.fixture
def project(tmp_path: Path) -> Scratch:
    return text_project(tmp_path)


def arrays(seed: int, low: int = 100) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {"ids": random.integers(low, 500, (2, 12)), "present": np.ones((2, 12), np.int64)}


def test_files_give_some_inputs_and_the_others_are_drawn(project: Scratch, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "b.npz"
    elsewhere.parent.mkdir()
    np.savez(project.folder / "a.npz", ids=arrays(1)["ids"])
    np.savez(elsewhere, **arrays(2))
    project.write("recipes/text.yaml", with_files(f"a.npz, '{elsewhere}'"))
    output = project.built("build", "recipe=text")
    assert "proven on 2 inputs" in proof_line(output)
    # The first sample draws it, the second has it from a file.
    assert NOTICE in proof_line(output)
    content = manifest(project)
    assert content["export"]["index_ranges"] == {"kinds": [0, 2]}
    labels = [label for label, _ in content["fingerprints"]["export"]["entries"]]
    assert [label for label in labels if label.startswith("inputs ")] == [
        "inputs a.npz",
        "inputs 1 b.npz",
    ]
    assert steps(project.built("build", "recipe=text")) == []
    np.savez(elsewhere, **arrays(3))
    told = project.built("build", "--dry-run", "recipe=text")
    assert "text: export: build: inputs 1 b.npz changed" in told
    elsewhere.unlink()
    run = project.doit("build", "recipe=text")
    assert run.returncode != 0
    assert "Traceback" not in run.stdout
    assert "recipes/text.yaml:18: proof.inputs[1]: there is no file" in run.stdout


def test_what_does_not_fit_in_files_is_told_at_once_before_anything_is_exported(
    project: Scratch,
) -> None:
    wide = np.zeros((2, 12))
    np.savez(project.folder / "a.npz", idz=wide.astype(np.int64), present=wide)
    np.savez(project.folder / "b.npz", ids=wide.astype(np.int64)[:1], rate=np.array([1]))
    (project.folder / "c.npz").write_text("no archive")
    np.savez(project.folder / "d.npz")
    project.write("recipes/text.yaml", with_files("a.npz, b.npz, c.npz, d.npz"))
    before = project.files()
    run = project.doit("build", "recipe=text")
    assert run.returncode == 3
    at = "recipes/text.yaml:18: proof.inputs"
    known = "expected one of 'ids', 'kinds', 'present', 'rate'"
    lines = run.stdout.splitlines()
    assert lines[0] == f"ERROR: {at}[0]: unknown input 'idz'; {known}; did you mean 'ids'?"
    assert lines[1:4] == [
        f"{at}[0]: input 'present' is int64 in 'export.inputs', but float64 here",
        f"{at}[1]: input 'ids' has the dims [2, 12] in 'export.inputs', but [1, 12] here",
        f"{at}[1]: input 'rate' has the dims [] in 'export.inputs', but [1] here",
    ]
    assert lines[4].startswith(f"{at}[2]: 'c.npz' is not an '.npz' file of plain arrays; ")
    assert lines[5:] == [f"{at}[3]: 'd.npz' contains no array; {known}"]
    after = project.files()
    assert {name for name in after if name not in before} <= {".doit.db"}
    assert not (project.folder / "build" / "text").exists()


@pytest.mark.thorough
def test_files_of_the_project_give_the_same_manifest_on_every_machine(tmp_path: Path) -> None:
    made = []
    for machine in ("one", "another"):
        project = text_project(tmp_path / machine)
        project.environment["PYTHONHASHSEED"] = str(len(made))
        for name, seed in (("a", 1), ("b", 2)):
            np.savez(project.folder / f"{name}.npz", **arrays(seed))
        project.write("recipes/text.yaml", with_files("a.npz, b.npz"))
        project.built("build", "recipe=text")
        made.append(project.artifacts("text"))
    assert made[0] == made[1]
    assert "drawn_from_0_and_1" not in json.loads(made[0]["manifest.json"])["export"]
