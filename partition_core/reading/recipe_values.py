"""Checked plain data to the recipe's values, with all defaults; imports only recipe, references."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from partition_core.recipe import (
    DEFAULT_OPSET,
    DEFAULT_TOLERANCE,
    Checkpoint,
    DynamicAxis,
    Export,
    Mark,
    MmdetModel,
    Model,
    OwnWeights,
    Partition,
    Proof,
    Recipe,
    Seed,
    Segment,
    TensorSpec,
    TorchModel,
    Weights,
    canonical_json,
)
from partition_core.references import MarkReference, parse_reference

DEFAULT_DTYPE = "float32"

Plain = Mapping[str, Any]


def recipe_value(name: str, plain: Plain) -> Recipe:
    """Return the recipe `name` that checked data spells, with defaults for the rest."""
    return Recipe(
        name=name,
        model=_MODELS[plain["model"]["source"]](plain["model"]),
        export=_export(plain["export"]),
        marks=tuple(_mark(mark) for mark in plain["marks"]),
        partition=_partition(plain["partition"]),
        proof=_proof(plain.get("proof", {})),
    )


def _mmdet(plain: Plain) -> Model:
    overrides = _json_values(plain.get("overrides", {}))
    return MmdetModel(plain["config"], overrides, _weights(plain["weights"]))


def _torch(plain: Plain) -> Model:
    arguments = _json_values(plain.get("args", {}))
    return TorchModel(plain["factory"], arguments, _weights(plain.get("weights", {})))


_MODELS: dict[str, Callable[[Plain], Model]] = {"mmdet": _mmdet, "torch": _torch}


def _weights(plain: Plain) -> Weights:
    if "seed" in plain:
        return Seed(plain["seed"])
    if "checkpoint" in plain:
        return Checkpoint(plain["checkpoint"], plain["sha256"].lower())
    return OwnWeights()


def _export(plain: Plain) -> Export:
    inputs = sorted(plain["inputs"].items())
    return Export(
        inputs=tuple(
            TensorSpec(name, tuple(tensor["shape"]), tensor.get("dtype", DEFAULT_DTYPE))
            for name, tensor in inputs
        ),
        output_names=tuple(plain.get("output_names", ())),
        dynamic_axes=_dynamic_axes(plain),
        opset=plain.get("opset", DEFAULT_OPSET),
    )


def _mark(plain: Plain) -> Mark:
    return Mark(
        name=plain["name"],
        on=plain.get("on"),
        module=plain.get("module"),
        inputs=tuple(plain["inputs"]) if "inputs" in plain else None,
        outputs=tuple(plain["outputs"]) if "outputs" in plain else None,
        decorator=plain.get("decorator", False),
        any_of=tuple(plain.get("any_of", ())),
    )


def _partition(plain: Plain) -> Partition:
    return Partition(plain["type"], tuple(_segment(segment) for segment in plain["segments"]))


def _segment(plain: Plain) -> Segment:
    return Segment(
        save_file=plain["save_file"],
        start=tuple(_reference(text) for text in plain["start"]),
        end=tuple(_reference(text) for text in plain["end"]),
        input_names=tuple(plain.get("input_names", ())),
        output_names=tuple(plain.get("output_names", ())),
        dynamic_axes=_dynamic_axes(plain),
    )


def _proof(plain: Plain) -> Proof:
    tolerance = float(plain.get("tolerance", DEFAULT_TOLERANCE))
    return Proof(tolerance, tuple(plain.get("images", ())))


def _dynamic_axes(plain: Plain) -> tuple[DynamicAxis, ...]:
    axes = (
        DynamicAxis(tensor, int(axis), symbol)
        for tensor, symbols in plain.get("dynamic_axes", {}).items()
        for axis, symbol in symbols.items()
    )
    return tuple(sorted(axes, key=lambda dynamic: (dynamic.tensor, dynamic.axis)))


def _json_values(plain: Plain) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, canonical_json(value)) for key, value in plain.items()))


def _reference(text: str) -> MarkReference:
    reference = parse_reference(text)
    if reference is None:
        raise ValueError(f"the reference {text!r} was not checked")
    return reference
