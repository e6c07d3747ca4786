"""Turns checked plain data into a recipe, with all defaults; imports only values, references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from partition_core.recipe.mark_reference import MarkReference, parse_reference
from partition_core.recipe.target import DEFAULT_PRECISION, Target
from partition_core.recipe.values import (
    DEFAULT_BATCHES,
    DEFAULT_OPSET,
    ONE_LINE,
    Answer,
    BoundaryType,
    Checkpoint,
    Cut,
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
    if "from" in partition:
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
        types=tuple(
            BoundaryType(name, kind["dtype"], tuple(kind["shape"]))
            for name, kind in sorted(plain.get("types", {}).items())
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
    if "from" in plain:
        start, end = (_reference("from:input"),), (_reference("to:output"),)
        segment = Segment(plain["save_file"], start, end)
        return Partition(ONE_LINE, (segment,), targets=tuple(_targets(plain)))
    segments = tuple(_segment(segment) for segment in plain.get("segments", ()))
    return Partition(plain["type"], segments, _cut(plain.get("cut")), tuple(_targets(plain)))


def _targets(plain: Plain) -> Iterator[Target]:
    """Yield the targets of a partition, by segment and in its order."""
    written = plain.get("targets", {})
    if not isinstance(written, Mapping):
        written = {plain["save_file"]: written}
    segments = plain.get("segments", ())
    own = {segment["save_file"]: segment.get("targets", ()) for segment in segments}
    for file in dict.fromkeys((*own, *written)):
        for target in (*own.get(file, ()), *written.get(file, ())):
            yield _target(file, {"backend": target} if isinstance(target, str) else target)


def _target(segment: str, plain: Plain) -> Target:
    return Target(
        segment,
        plain["backend"],
        plain.get("precision", DEFAULT_PRECISION),
        plain.get("required", True),
        plain.get("tolerance"),
        plain.get("kept"),
    )


def _cut(plain: Any) -> Cut | None:
    if not isinstance(plain, Mapping):
        return cast("Cut | None", plain)
    if "operators" in plain:
        return operator_cut(plain)
    every = plain.get("every", ())
    return LayerCut(
        every=(every,) if isinstance(every, str) else tuple(every),
        groups=plain.get("groups", 0),
        balance=plain.get("balance", "weights"),
        at=tuple(plain.get("at", ())),
    )


def operator_cut(plain: Plain) -> OperatorCut:
    """Return the cut by a list of operators that checked data describes."""
    listed, limits = plain["operators"], plain.get("limits", {})
    own = listed if isinstance(listed, Mapping) else {name: {} for name in listed}
    return OperatorCut(tuple((name, _limits({**limits, **own[name]})) for name in sorted(own)))


def _limits(plain: Plain) -> OperatorLimits:
    return OperatorLimits(
        dtypes=tuple(plain.get("dtypes", ())),
        ranks=tuple(plain.get("ranks", ())),
        constant=tuple(plain.get("constant", ())),
        attributes=_json_values(plain.get("attributes", {})),
        opset=tuple(plain.get("opset", ())),
    )


def _segment(plain: Plain) -> Segment:
    return Segment(
        save_file=plain["save_file"],
        start=tuple(_reference(text) for text in plain["start"]),
        end=tuple(_reference(text) for text in plain["end"]),
        input_names=tuple(plain.get("input_names", ())),
        output_names=tuple(plain.get("output_names", ())),
        dynamic_axes=_dynamic_axes(plain),
        sizes_from=tuple(_reference(text) for text in plain.get("sizes_from", ())),
        inputs=tuple(
            FileInput(name, tuple(tensor["shape"]))
            for name, tensor in sorted(plain.get("inputs", {}).items())
        ),
    )


def _proof(plain: Plain) -> Proof:
    tolerance = float(plain["tolerance"]) if "tolerance" in plain else None
    return Proof(
        tolerance,
        tuple(plain.get("images", ())),
        tuple(plain.get("inputs", ())),
        tuple(plain.get("batches", DEFAULT_BATCHES)),
        plain.get("unproven", "refuse"),
    )


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
