"""Builds of models that branch on values: refused with the user's line, refuted, or assumed."""

from __future__ import annotations

import json

import pytest

from tests.projects import Scratch

thorough = pytest.mark.thorough
NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        return getattr(self, self.kind)(x)

    def all_small(self, y):
        if (y.abs() < 1).all():
            return y * 2
        return y

    def any_large(self, y):
        if (y > 1).any():
            y = torch.tanh(y)
        return y

    def many(self, y):
        p = y[y > 0.5]
        if p.numel() > 20:
            return p.sum() + y
        return y

    def none(self, y):
        p = torch.nonzero(y > 1.5)
        if p.shape[0] == 0:
            return y * 0.1
        return y

    def rows(self, y):
        kept = y[y[:, 0] > 0]
        if kept.shape[0] > 0:
            kept = kept * 2
        return kept

    def cond(self, y):
        return torch.cond((y > 1).any(), torch.tanh, torch.clone, (y,))


def net(kind):
    return Net(kind)
"""

RECIPE = """\
model: {{source: torch, factory: 'net:net', args: {{kind: {kind}}}}}
export:
  inputs: {{x: {{shape: [8, 8]}}}}
{answers}marks:
  - {{name: whole, on: net.Net.forward, inputs: [x], outputs: [result]}}
partition:
  type: one_part
  segments:
    - {{save_file: part.onnx, start: ['whole:input'], end: ['whole:output']}}
"""


@pytest.fixture
def project(torch_fresh: Scratch) -> Scratch:
    (torch_fresh.folder / "recipes" / "tiny.yaml").unlink()
    torch_fresh.write("net.py", NET)
    return torch_fresh


def line(code: str) -> int:
    (number,) = [n for n, text in enumerate(NET.splitlines(), 1) if text.strip() == code]
    return number


def ask(project: Scratch, kind: str, code: str = "", answer: str = "") -> str:
    """Write the recipe of a model, with an answer for the line `code`; return `net.py:<line>`."""
    at = f"net.py:{line(code)}" if code else ""
    given = f"  answers: [{{at: '{at}', answer: {answer}}}]\n" if answer else ""
    project.write("recipes/net.yaml", RECIPE.format(kind=kind, answers=given))
    return at


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("all_small", "if (y.abs() < 1).all():"),
        pytest.param("any_large", "if (y > 1).any():", marks=thorough),
        ("many", "if p.numel() > 20:"),
        pytest.param("none", "if p.shape[0] == 0:", marks=thorough),
    ],
)
def test_a_branch_that_the_input_decides_is_refused_with_the_line(
    project: Scratch, kind: str, code: str
) -> None:
    at = ask(project, kind, code)
    run = project.doit("build")
    assert run.returncode != 0
    assert f"recipes/net.yaml:1: model: {at}: '{code}' takes a branch that depends" in run.stdout
    assert "torch.where or torch.cond" in run.stdout
    assert "Traceback" not in run.stdout
    assert not list(project.folder.glob("build/net/*"))


@pytest.mark.parametrize(
    ("kind", "code", "answer"),
    [
        pytest.param("all_small", "if (y.abs() < 1).all():", "false", marks=thorough),
        pytest.param("any_large", "if (y > 1).any():", "true", marks=thorough),
        ("none", "if p.shape[0] == 0:", "false"),
    ],
)
def test_an_answer_that_some_input_refutes_fails_the_build_with_that_input(
    project: Scratch, kind: str, code: str, answer: str
) -> None:
    # The two samples that a build always takes agree with the answer.
    at = ask(project, kind, code, answer)
    run = project.doit("build")
    assert run.returncode != 0
    assert "end2end differs from PyTorch" in run.stdout
    assert "(0.01 times a sample)" in run.stdout
    assert f"the answer for {at} in 'export.answers' does not hold for this input" in run.stdout
    assert not list(project.folder.glob("build/net/*"))


def test_an_answer_that_no_input_refutes_is_named_as_what_the_proof_rests_on(
    project: Scratch,
) -> None:
    project.environment["PARTITION_CORE_REPORT"] = "1"
    at = ask(project, "rows", "if kept.shape[0] > 0:", "true")
    output = project.built()
    assumption = (
        f"assuming {at} ('if kept.shape[0] > 0:') is always true, by 'export.answers'; none of 8 "
        "inputs of other kinds refutes it"
    )
    assert assumption in output
    manifest = json.loads((project.folder / "build/net/manifest.json").read_text())
    assert assumption in manifest["summary"]
    (stated,) = manifest["proof"]["assumptions"]
    assert (stated["source"], stated["answer"]) == (at, True)
    assert len(manifest["proof"]["samples"]) == 10
    report = (project.folder / "build/net/report.html").read_text()
    assert "is always true, by" in report and at in report


def test_a_branch_in_the_graph_is_proven_on_both_sides(project: Scratch) -> None:
    ask(project, "cond")
    output = project.built()
    assert "proven on 10 inputs" in output
    assert "assuming" not in output
