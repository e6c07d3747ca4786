"""Choices between booleans, which onnxruntime has no kernel for, become logic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from .support import export, run, saved, torch_recipe


class Chooser(nn.Module):
    """Chooses between booleans of one shape, of several, and with numbers in their place."""

    def forward(self, scores: torch.Tensor, row: torch.Tensor) -> dict[str, torch.Tensor]:
        high, likely = scores > 0.5, row > 0
        return {
            "same": torch.where(scores > 0, high, scores < -1),
            "spread": torch.where(likely, high, scores[:1] > 0),
            "filled": high.masked_fill(scores < 0, -9e15),
            "emptied": high.masked_fill(likely, 0),
            "numbers": torch.where(high, scores, row),
        }


def test_booleans_are_chosen_as_in_pytorch(tmp_path: Path) -> None:
    recipe = torch_recipe(f"{__name__}:Chooser", {"scores": (5, 4), "row": (4,)})
    file = saved(export(recipe).model, tmp_path)
    inputs = {"scores": torch.randn(5, 4), "row": torch.randn(4)}
    expected = Chooser()(**inputs)
    found = run(file, {name: tensor.numpy() for name, tensor in inputs.items()})
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor.numpy(), name)
    kinds = [node.op_type for node in onnx.load(file).graph.node]
    assert kinds.count("Where") == 1
    assert "Or" in kinds
