"""What the report says of weights: nothing, unless what they detect means nothing."""

from __future__ import annotations

import pytest

from partition_core.recipe.values import (
    Checkpoint,
    MmdetModel,
    Model,
    OnnxModel,
    OwnWeights,
    Seed,
    TorchModel,
)
from partition_core.report.composing import _weights_note


@pytest.mark.parametrize("seed", [0, 7])
def test_seeded_weights_are_told(seed: int) -> None:
    told = _weights_note(MmdetModel("x.py", (), Seed(seed)))
    assert told.startswith(
        f"The weights are drawn from seed {seed}: labels and scores mean nothing"
    )


@pytest.mark.parametrize(
    "model",
    [
        MmdetModel("x.py", (), Checkpoint("x.pth", "0" * 64)),
        TorchModel("zoo:net", (), OwnWeights()),
        TorchModel("zoo:net", (), Checkpoint("x.pth", "0" * 64)),
        OnnxModel("x.onnx", "", (), ()),
    ],
)
def test_nothing_is_told_of_others(model: Model) -> None:
    assert _weights_note(model) == ""
