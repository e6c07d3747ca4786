"""end2end against PyTorch: the module whose code gives something else where it is exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from partition_core.build.run import Run
from tests.projects import Scratch

NET = """
import torch
from torch import nn


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, 1, 1)
        self.act = nn.ReLU()

    def forward(self, x):
        y = self.act(self.conv(x))
        return y * 1.1 if torch.compiler.is_exporting() else y


class Net(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        inner = Scale() if block == "scaled" else nn.Conv2d(8, 8, 1)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()), inner])
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, image):
        x = self.stem(image)
        for block in self.blocks:
            x = block(x)
        return self.head(x).sigmoid()


build = Net
"""
RECIPE = """\
model: {{source: torch, factory: diagnosed:build, args: {{block: {block}}}, weights: {{seed: 0}}}}
export: {{inputs: {{image: {{shape: [1, 3, 32, 32]}}}}}}
marks: [{{name: whole, on: model, inputs: [image], outputs: [scores]}}]
partition:
  type: whole
  segments: [{{save_file: all.onnx, start: ['whole:input'], end: ['whole:output']}}]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    folder = tmp_path_factory.mktemp("modules")
    project = Scratch(folder / "project", folder / "store")
    project.write("diagnosed.py", NET)
    for block in ("scaled", "plain"):
        project.write(f"recipes/{block}.yaml", RECIPE.format(block=block))
    return project


def lines(project: Scratch, recipe: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what the command says; in this process, which has imported torch."""
    monkeypatch.setenv("PARTITION_CORE_STORE", str(project.store))
    monkeypatch.syspath_prepend(str(project.folder))
    monkeypatch.chdir(project.folder)
    (build,) = Run(Path.cwd(), [recipe]).builds
    build.carry_out("export", lambda _: None)
    return list(build.diagnosis({"against": "pytorch"}, print))


@pytest.mark.usefixtures("one_registry")
def test_the_module_is_found_whose_own_code_differs(
    project: Scratch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, compared, reason, allowed, _, *rows = lines(project, "scaled", monkeypatch)
    assert first.startswith(
        "'mul' is the first tensor that differs from PyTorch: Mul node 'node_mul' of module "
        "'blocks.1', relative L2 0.1, "
    )
    # `blocks` is a list, which is never called: what is in it is compared in its place.
    assert compared == "6 tensors of modules compared in 2 exports, from the outer ones inwards"
    assert reason == "what the modules inside it return agrees: it is in its own operations, Mul"
    assert allowed == "allowed is a difference of 0.0001 of a tensor's largest value"
    modules = [row.split()[1] for row in rows]
    assert modules == ["stem", "blocks.0", "blocks.1", "head", "blocks.1.conv", "blocks.1.act"]
    assert ["*" in row for row in rows] == [False, False, True, True, False, False]
    assert capsys.readouterr().out == ""  # the first line is what was found


@pytest.mark.usefixtures("one_registry")
def test_modules_that_agree_are_told_with_the_worst_figure(
    project: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = lines(project, "plain", monkeypatch)
    assert first.startswith(
        "what all modules return agrees with PyTorch, 4 tensors of modules compared in 1 export: "
    )
