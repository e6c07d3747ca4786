"""A recipe of each source, with many fields."""

from __future__ import annotations

from dataclasses import replace

from partition_core.recipe.mark_reference import MarkReference
from partition_core.recipe.target import Target
from partition_core.recipe.values import (
    Answer,
    BoundaryType,
    Checkpoint,
    DependsOn,
    DynamicAxis,
    ExportOptions,
    FileInput,
    LayerCut,
    Mark,
    MmdetModel,
    Model,
    OnnxModel,
    OperatorCut,
    OperatorLimits,
    OwnWeights,
    Partition,
    Proof,
    Recipe,
    Seed,
    Segment,
    TensorMark,
    TensorName,
    TensorSpec,
    TorchModel,
    WeightsPlacement,
)

URL = "https://example.com/model"


FILE_INPUT = FileInput("image", (1, 3))


def recipe(model: Model, weights: WeightsPlacement) -> Recipe:
    axis = DynamicAxis("image", 2, "height")
    marks = (Mark("head", "tiny.head", None, ("maps",), None),)
    start, end = MarkReference("head", "input", 1, ("maps", "0")), MarkReference("head", "output")
    return Recipe(
        "tiny",
        model,
        ExportOptions(
            (TensorSpec("image", (1, 3, 8, 8), "float32"),),
            ("scores",),
            (axis,),
            20,
            weights,
            answers=(Answer("tiny.py:3", True, "as it is"),),
        ),
        () if isinstance(model, OnnxModel) else marks,
        Partition(
            "two",
            (Segment("body.onnx", (start,), (end,), (), (), (axis,), (start,), (FILE_INPUT,)),),
            LayerCut(("layers.*",), 2, "weights", ("layers.1",)) if weights == "shared" else None,
        ),
        Proof(1e-4, () if isinstance(model, OnnxModel) else ("a.jpg",), ("a.npz",)),
    )


NAMED = TensorName("features", "conv", 0, "alias")
RECIPES = {
    "seed": recipe(MmdetModel("small.py", (("model.depth", "18"),), Seed(0)), "inline"),
    "checkpoint": recipe(MmdetModel("small.py", (), Checkpoint(URL, "0123abcd")), "external"),
    "torch": recipe(
        TorchModel(
            "tiny:build",
            (("width", "8"),),
            OwnWeights(),
            depends_on=DependsOn(("a.npz",), ("pack",)),
        ),
        "shared",
    ),
    "onnx": recipe(
        OnnxModel(
            URL,
            "0123abcd",
            (TensorMark("a", (NAMED,), (NAMED,), (NAMED,)),),
            (FileInput("image", (1, 3), (0.0, 1.0)),),
            (BoundaryType("features", "float32", (1, "height")),),
        ),
        "inline",
    ),
}
RECIPES["targets"] = replace(
    RECIPES["onnx"],
    partition=replace(
        RECIPES["onnx"].partition, targets=(Target("body.onnx", "ncnn", "float32", True, 0.1, 0.9),)
    ),
)
RECIPES["operators"] = replace(
    RECIPES["onnx"],
    partition=Partition(
        "supported",
        (),
        OperatorCut(
            (("Conv", OperatorLimits(("float32",), (4,), (1,), (("group", "[1]"),), (11, 19))),)
        ),
    ),
)
"""A recipe for each class of a model and of weights, and for each form of these."""
