"""Whatever makes a model, a build ends where the model is not the one that its recipe asks for."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from partition_core.base.errors import ExportError
from partition_core.build.run import Run
from partition_core.graph.file.value_type import tensor_info
from partition_core.recipe.values import ExportOptions
from partition_core.sources.onnx import source as onnx_source
from partition_core.sources.torch import source as sources
from partition_core.trace import exporter
from partition_core.trace.to_onnx import trace, translate
from partition_core.trace.traceable_model import Sample
from tests.onnx_source.files import detector
from tests.onnx_source.projects import LINE
from tests.projects import RECIPE, Scratch

pytestmark = pytest.mark.usefixtures("one_registry")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scratch:
    """Return a project with the tiny recipe, which this process may build."""
    made = Scratch(tmp_path / "project", tmp_path / "store")
    monkeypatch.setenv("PARTITION_CORE_STORE", str(made.store))
    monkeypatch.syspath_prepend(made.folder)
    monkeypatch.delitem(sys.modules, "tiny", raising=False)
    return made


def kept(project: Scratch) -> list[Path]:
    """Return the results in the store."""
    entries = [path for path in (project.store / "v1" / "ac").rglob("*") if path.is_file()]
    return [path for path in entries if b"end2end.onnx" in path.read_bytes()]


def refusal(project: Scratch, name: str = "tiny", times: int = 1) -> list[str]:
    """Return what the export tells, however often it is done; it leaves nothing behind."""
    for _ in range(times):
        (build,) = Run(project.folder, [name]).builds
        with pytest.raises(ExportError) as error:
            build.carry_out("export", lambda _: None)
    assert not (project.folder / "build" / name).exists()
    assert kept(project) == []
    return str(error.value).splitlines()


def traces_another_size(module: torch.nn.Module, sample: Sample, *rest: Any) -> Any:
    return trace(module, tuple(tensor.repeat(1, 1, 2, 2) for tensor in sample), *rest)


def traces_another_dtype(module: torch.nn.Module, sample: Sample, *rest: Any) -> Any:
    return trace(module.double(), tuple(tensor.double() for tensor in sample), *rest)


def translates_to_another_opset(program: Any, export: ExportOptions, *rest: Any) -> Any:
    return translate(program, dataclasses.replace(export, opset=18), *rest)


@pytest.mark.parametrize(
    ("name", "spoiled", "told"),
    [
        (
            "trace",
            traces_another_size,
            "8: export.inputs.image.shape: the exported model takes float32[1, 3, 64, 64]; "
            "expected float32[1, 3, 32, 32]",
        ),
        (
            "trace",
            traces_another_dtype,
            "8: export.inputs.image.dtype: the exported model takes float64[1, 3, 32, 32]; "
            "expected float32[1, 3, 32, 32]",
        ),
        (
            "translate",
            translates_to_another_opset,
            "7: export.opset: the exported model has opset 18; expected 20",
        ),
    ],
)
def test_an_export_that_gives_something_else_is_refused_with_the_line(
    project: Scratch, monkeypatch: pytest.MonkeyPatch, name: str, spoiled: Any, told: str
) -> None:
    monkeypatch.setattr(exporter, name, spoiled)
    assert refusal(project) == [f"recipes/tiny.yaml:{told}"]


def test_samples_of_another_shape_are_refused_before_the_model_runs(
    project: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_order = sources.in_order
    monkeypatch.setattr(sources, "in_order", lambda *args: tuple(t[:, :1] for t in in_order(*args)))
    monkeypatch.setattr(torch.nn.Conv2d, "forward", None)
    assert refusal(project, times=2) == [
        "recipes/tiny.yaml:8: export.inputs.image.shape: what is prepared for the model takes "
        "float32[1, 1, 32, 32]; expected float32[1, 3, 32, 32]"
    ]


def test_a_file_that_is_marked_keeps_its_sizes(
    project: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.folder / "detector.onnx").write_bytes(detector().SerializeToString())
    project.write("recipes/x.yaml", f"{LINE}export: {{inputs: {{image: {{shape: {SHAPE}}}}}}}\n")
    put_marks = onnx_source.put_marks

    def spoiled(*given: Any) -> Any:
        model = put_marks(*given)
        model.graph.inputs[0].info = tensor_info("image", 1, (1, 3, 16, 8))
        return model

    monkeypatch.setattr(onnx_source, "put_marks", spoiled)
    monkeypatch.setattr(onnx_source, "check_model", lambda *_: None)
    assert refusal(project, "x", times=2) == [
        "recipes/x.yaml:3: export.inputs.image: input 'image' has the dims [1, 3, 16, 8] in the "
        f"marked model; expected {SHAPE}"
    ]


SHAPE = [1, 3, 16, 16]


def test_the_recipe_itself_is_as_asked(project: Scratch) -> None:
    assert "shape: [1, 3, 32, 32]" in RECIPE
    (build,) = Run(project.folder, ["tiny"]).builds
    assert build.carry_out("export", lambda _: None)
    assert len(kept(project)) == 1
