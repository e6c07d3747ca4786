"""Turns checked plain data into a recipe, with all defaults; imports only values, references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from partition_core.recipe.mark_reference import MarkReference, parse_reference
from partition_core.recipe.values import (
    DEFAULT_OPSET,
    ONE_LINE,
    Answer,
    Checkpoint,
    DependsOn,
    DynamicAxis,
    ExportOptions,
    FileInput,
    Mark,
    MmdetModel,
    Model,
    OnnxModel,
    OwnWeights,
    Partition,
    Proof,
    Range,
    Recipe,
    Seed,
    Segment,
    TensorMark,
    TensorName,
    TensorSpec,
    TorchModel,
    Weights,
    canonical_json,
)

DEFAULT_DTYPE = "float32"

Plain = Mapping[str, Any]


def recipe_value(name: str, plain: Plain) -> Recipe:
    """Return the recipe `name` that checked data describes, with defaults for the rest."""
    source = plain["model"]["source"]
    is_onnx = source == "onnx"
    return Recipe(
        name=name,
        model=_MODELS[source](plain),
        export=_export(plain.get("export", {}), is_onnx),
        marks=() if is_onnx else tuple(_mark(mark) for mark in plain.get("marks", ())),
        partition=_partition(plain["partition"]),
        proof=_proof(plain.get("proof", {})),
    )


def _mmdet(plain: Plain) -> Model:
    model = plain["model"]
    overrides, weights = _json_values(model.get("overrides", {})), _weights(model["weights"])
    return MmdetModel(
        model["config"],
        overrides,
        weights,
        depends_on=_depends_on(model),
        part=model.get("part", ""),
    )


def _torch(plain: Plain) -> Model:
    model = plain["model"]
    arguments, weights = _json_values(model.get("args", {})), _weights(model.get("weights", {}))
    return TorchModel(model["factory"], arguments, weights, depends_on=_depends_on(model))


def _depends_on(plain: Plain) -> DependsOn | None:
    if "depends_on" not in plain:
        return None
    declared = plain["depends_on"]
    return DependsOn(tuple(declared.get("files", ())), tuple(declared.get("packages", ())))


def _onnx(plain: Plain) -> Model:
    # Its marks and inputs describe the file too.
    model, partition = plain["model"], plain["partition"]
    marks = [_tensor_mark(mark) for mark in plain.get("marks", ())]
    if "segments" not in partition:
        marks = [
            TensorMark("from", inputs=_tensor_names(partition["from"])),
            TensorMark("to", outputs=_tensor_names(partition["to"])),
        ]
    return OnnxModel(
        location=model["path"] if "path" in model else model["url"],
        sha256=model.get("sha256", "").lower(),
        marks=tuple(marks),
        inputs=tuple(
            FileInput(
                name,
                tuple(tensor["shape"]) if "shape" in tensor else None,
                _range(tensor),
                tensor.get("value"),
            )
            for name, tensor in sorted(plain.get("export", {}).get("inputs", {}).items())
        ),
    )


_MODELS: dict[str, Callable[[Plain], Model]] = {"mmdet": _mmdet, "torch": _torch, "onnx": _onnx}


def _weights(plain: Plain) -> Weights:
    if "seed" in plain:
        return Seed(plain["seed"])
    if "checkpoint" in plain:
        return Checkpoint(plain["checkpoint"], plain["sha256"].lower())
    return OwnWeights()


def _export(plain: Plain, is_onnx: bool) -> ExportOptions:
    if is_onnx:
        return ExportOptions((), (), (), opset=0, weights=plain.get("weights", "inline"))
    inputs = sorted(plain["inputs"].items())
    return ExportOptions(
        inputs=tuple(
            TensorSpec(
                name,
                tuple(tensor["shape"]),
                tensor.get("dtype", DEFAULT_DTYPE),
                _range(tensor),
                tensor.get("value"),
            )
            for name, tensor in inputs
        ),
        output_names=tuple(plain.get("output_names", ())),
        dynamic_axes=_dynamic_axes(plain),
        opset=plain.get("opset", DEFAULT_OPSET),
        weights=plain.get("weights", "inline"),
        masks=plain.get("masks", "probabilities"),
        answers=tuple(
            Answer(answer["at"], answer["answer"], answer.get("reason", ""))
            for answer in plain.get("answers", ())
        ),
        args=_json_values(plain.get("args", {})),
        precision=plain.get("precision", "float32"),
        keep_io_types=plain.get("keep_io_types", False),
    )


def _range(plain: Plain) -> Range | None:
    if "range" not in plain:
        return None
    low, high = plain["range"]
    return low, high


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


def _tensor_mark(plain: Plain) -> TensorMark:
    sides = {side: _tensor_names(plain.get(side, ())) for side in ("tensors", "inputs", "outputs")}
    return TensorMark(plain["name"], **sides)


def _tensor_names(plain: Iterable[Any]) -> tuple[TensorName, ...]:
    return tuple(
        TensorName(tensor)
        if isinstance(tensor, str)
        else TensorName(
            tensor.get("tensor"),
            tensor.get("node"),
            tensor.get("output"),
            alias=tensor.get("as", ""),
        )
        for tensor in plain
    )


def _partition(plain: Plain) -> Partition:
    if "segments" not in plain:
        start, end = (_reference("from:input"),), (_reference("to:output"),)
        return Partition(ONE_LINE, (Segment(plain["save_file"], start, end),))
    segments = tuple(_segment(segment) for segment in plain["segments"])
    return Partition(plain["type"], segments, plain.get("cut"))


def _segment(plain: Plain) -> Segment:
    return Segment(
        save_file=plain["save_file"],
        start=tuple(_reference(text) for text in plain["start"]),
        end=tuple(_reference(text) for text in plain["end"]),
        input_names=tuple(plain.get("input_names", ())),
        output_names=tuple(plain.get("output_names", ())),
        dynamic_axes=_dynamic_axes(plain),
        sizes_from=tuple(_reference(text) for text in plain.get("sizes_from", ())),
    )


def _proof(plain: Plain) -> Proof:
    tolerance = float(plain["tolerance"]) if "tolerance" in plain else None
    return Proof(tolerance, tuple(plain.get("images", ())), tuple(plain.get("inputs", ())))


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
