"""A mark on an argument that its function ignores: kept where the caller reads the tensor again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from partition_core.graph.files import cut_file
from partition_core.recipe.mark_reference import MarkReference
from partition_core.recipe.values import Segment
from partition_core.trace.exporter import TracedExport
from tests.export.support import export, mark, run, sample, saved, torch_recipe

HERE = __name__


def best(scores: torch.Tensor, labels: torch.Tensor, unused: torch.Tensor) -> torch.Tensor:
    """Return where the best scores are, whatever their labels."""
    return scores.topk(4).indices


class Choosing(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        pixels = image.flatten()
        scores, labels, unused = pixels * 2, pixels.sin(), pixels.cos()
        before = labels + 1  # reads the labels in front of the mark
        kept = best(scores, labels, unused)
        return labels[kept] + before[kept]


MARKS = (
    mark("whole", f"{HERE}.Choosing.forward", inputs=("image",), outputs=("chosen",)),
    mark("best", f"{HERE}.best", inputs=("scores", "labels", "unused"), outputs=("kept",)),
)


@pytest.fixture(scope="module")
def exported() -> TracedExport:
    return export(torch_recipe(f"{HERE}:Choosing", {"image": (1, 1, 4, 4)}, *MARKS))


def test_it_is_in_the_graph_if_the_tensor_is_read_again_and_else_is_not(
    exported: TracedExport,
) -> None:
    named = [
        str(node.attributes["name"].value)
        for node in exported.model.graph
        if node.op_type == "Mark" and node.attributes["func"].value == "best"
    ]
    assert named == ["scores", "labels", "kept"]
    # PyTorch sees all of them.
    assert {"best:input.unused", "best:input.labels"} <= sample(exported).marks.keys()


def test_what_comes_behind_the_function_starts_at_its_inputs(
    exported: TracedExport, tmp_path: Path
) -> None:
    whole = saved(exported.model, tmp_path)
    # What 'before' needs of the labels is behind the mark as well.
    segment = Segment(
        "tail.onnx", (MarkReference("best", "input"),), (MarkReference("whole", "output"),)
    )
    cut_file(whole, segment, tmp_path / "tail.onnx")
    image = sample(exported).inputs["image"]
    marks = sample(exported).marks
    given = {name: marks[f"best:input.{name}"] for name in ("scores", "labels")}
    (chosen,) = run(tmp_path / "tail.onnx", given).values()
    (expected,) = run(whole, {"image": image}).values()
    np.testing.assert_allclose(chosen, expected, rtol=1e-5)
    np.testing.assert_allclose(chosen, sample(exported).outputs["output"], rtol=1e-5)
