"""Models that give something else in each run are refused, with what makes them do so."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from partition_core.base.errors import ExportError
from partition_core.recipe.values import Mark, Recipe
from tests.export.support import IMAGE, export, saved, torch_recipe
from tests.proving.support import Subject, segment

MODELS = "tests.export.random_models"


def recipe(name: str) -> Recipe:
    mark = Mark("whole", f"{MODELS}.{name}.forward", None, ("image",), None, False)
    return torch_recipe(f"{MODELS}:{name}", IMAGE, mark)


@pytest.mark.parametrize(
    ("name", "operator", "line"),
    [
        ("Noisy", "aten::randn_like", "return image + torch.randn_like(image)"),
        ("Dropped", "aten::bernoulli_", "return functional.dropout(image, 0.5, training=True)"),
        ("Training", "aten::bernoulli_", "return self.dropout.train()(2 * image)"),
    ],
)
def test_a_random_model_is_refused_with_the_line_that_draws(
    name: str, operator: str, line: str
) -> None:
    with pytest.raises(ExportError) as error:
        export(recipe(name))
    told = str(error.value)
    assert told.startswith(
        "model: two runs of the model in PyTorch on the same inputs give different tensors "
        f"(mark 'whole:output.output', output 'output'); it is random: {operator} at "
    )
    source = (Path(__file__).parent / "random_models.py").read_text().splitlines()
    found = re.search(r"at random_models\.py:(\d+);", told)
    assert found is not None
    assert source[int(found.group(1)) - 1].strip() == line


@pytest.mark.parametrize("name", ["Drawn", "Counting"])
def test_a_model_that_is_not_the_same_again_is_refused(name: str) -> None:
    with pytest.raises(ExportError, match="it keeps state between runs, or draws random numbers"):
        export(recipe(name))


@pytest.mark.parametrize("name", ["Evaluated", "Silent", "Overwriting", "Keeping"])
def test_a_model_that_is_the_same_again_is_proven(name: str, tmp_path: Path) -> None:
    exported = export(recipe(name))
    parts = (segment("all.onnx", "whole:input", "whole:output"),)
    figures = Subject(saved(exported.model, tmp_path), exported.recording, parts, False).prove()
    assert figures["unproven"] == []
    recorded = exported.recording.samples[0]
    given = recorded.inputs["image"].astype(np.float64)
    moved = given + 1 if name == "Overwriting" else given
    np.testing.assert_allclose(recorded.outputs["output"], np.sin(moved), atol=1e-5)


def test_a_seed_that_the_graph_does_not_have_is_told_by_the_proof(tmp_path: Path) -> None:
    exported = export(recipe("Reseeded"))
    parts = (segment("all.onnx", "whole:input", "whole:output"),)
    subject = Subject(saved(exported.model, tmp_path), exported.recording, parts, False)
    told = subject.refused().splitlines()
    assert any(
        line.startswith("output 'output', sample 0: end2end differs from PyTorch by ")
        and line.endswith(
            "RandomNormalLike 'node_randn_like' draws random numbers for it: draw the numbers "
            "outside the model and take them as an input"
        )
        for line in told
    )
    assert not any("proof.inputs" in line for line in told)
