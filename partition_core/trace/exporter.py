"""The export step: a recipe becomes `end2end.onnx` and the recording that it must reproduce."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import onnx
import onnx_ir as ir
import torch

from partition_core.base.array_sets import ArraySet
from partition_core.base.errors import ExportError
from partition_core.base.recording import RecordedSample, Recording
from partition_core.graph.files import LARGEST
from partition_core.recipe.policy_fits import check_masks, check_outputs
from partition_core.recipe.values import Recipe
from partition_core.trace.calling import WRAPPED, CalledModel
from partition_core.trace.dynamic_axes import at_sizes, checked_sizes, other_shapes, traced_shapes
from partition_core.trace.module_weights import module_weights
from partition_core.trace.probes import probes
from partition_core.trace.questions import Answers
from partition_core.trace.repeatability import check_repeats
from partition_core.trace.rounded import as_array, as_exported, rounded
from partition_core.trace.structure import tensors
from partition_core.trace.to_onnx import trace, translate
from partition_core.trace.traceable_model import Sample, TraceableModel, run_model
from partition_core.trace.tracing import has_branches

Phase = Callable[[str], AbstractContextManager[None]]
"""Announces a slow part of the work, and afterwards how long it took."""

_Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class TracedExport:
    """The result of an export.

    `model` is the end2end model, `recording` the inputs and outputs of eager PyTorch. `weights` are
    the names of the model's constants that are weights of the module, in the order of the module's
    names. `notes` is plain data for the manifest. `classes` are the Python modules that define the
    classes of the model's modules.
    """

    model: ir.Model
    recording: Recording
    notes: dict[str, Any]
    classes: tuple[str, ...]
    weights: tuple[str, ...]


def export_model(recipe: Recipe, load: Callable[[], TraceableModel], phase: Phase) -> TracedExport:
    """Export what `load` returns, the model of `recipe`.

    Raises ExportError, before the model is traced, for every mistake that the eager model
    shows: a mark whose target does not exist, is never called or has no tensor.
    """
    _check_opset(recipe)
    with phase("build the model"):
        traceable = load()
        _check_size(recipe, traceable)
        if traceable.is_detector:
            check_masks(recipe)
    inputs = traceable.inputs
    recorded: list[RecordedSample] = []
    with phase("run it in PyTorch"):
        for sample in traceable.samples:
            recorded.append(_recorded(recipe, traceable, sample, repeated=not recorded))
            names = list(recorded[-1].outputs)
            if traceable.is_detector:
                check_outputs(recipe, names)
    traced = traceable.samples[0]
    shapes = traced_shapes(recipe.export, inputs)
    if shapes != tuple(spec.shape for spec in inputs):
        with phase("run it in PyTorch at larger sizes"):
            traced = traceable.resized_sample(shapes, 0)
            with at_sizes(recipe.export, inputs, shapes):
                recorded.append(_recorded(recipe, traceable, traced))
    with phase("trace it"), traceable.marked(recipe.marks, traced=True):
        program, decisions = trace(
            traceable.module,
            traced,
            _dynamic_axes(recipe, traceable),
            traceable.while_traced(),
            Answers(traceable.known_functions, recipe.export.answers),
        )
    sizes = checked_sizes(recipe.export, inputs, program)
    if sizes.sizes:
        with phase("run it in PyTorch at other sizes"):
            others = other_shapes(recipe.export, inputs, sizes, recipe.proof.batches)
            for number, shapes in enumerate(others):
                with at_sizes(recipe.export, inputs, shapes):
                    sample = traceable.resized_sample(shapes, number)
                    recorded.append(_recorded(recipe, traceable, sample))
    if has_branches(program) or any(decision.assumed for decision in decisions):
        with phase("run it in PyTorch on inputs of other kinds"):
            recorded += _run_probes(recipe, traceable)
    with phase("translate it to ONNX"):
        graph_name = "".join(c if c.isalnum() else "_" for c in recipe.name)
        input_names = [spec.name for spec in inputs]
        around = WRAPPED if isinstance(traceable.module, CalledModel) else ""
        model = translate(
            program,
            recipe.export,
            input_names,
            names,
            graph_name,
            traceable.translations,
            around,
        )
    recording = Recording(as_exported(recorded, model), is_traced=True)
    notes = {
        "detects": traceable.is_detector and "labels" in names,
        "decisions": [asdict(decision) for decision in sorted(decisions)],
        **({"dynamic_axes": sizes.limits()} if sizes.sizes else {}),
        **traceable.notes,
    }
    classes = sorted({type(module).__module__ for module in traceable.user_module.modules()})
    weights = module_weights(model, traceable.module, around)
    return TracedExport(model, recording, notes, tuple(classes), weights)


def _check_size(recipe: Recipe, traceable: TraceableModel) -> None:
    sizes = {
        id(tensor): tensor.nbytes
        for tensor in traceable.module.state_dict().values()
        if isinstance(tensor, torch.Tensor)  # a module may keep anything there
    }
    size = sum(sizes.values())
    if recipe.export.precision == "float16":
        size //= 2  # most of it; what the file has in the end is checked when it is written
    if recipe.export.weights == "inline" and size > LARGEST:
        raise ExportError.at(
            "export.weights",
            f"the weights take {size} bytes, and no ONNX file can have more than {LARGEST}",
            "expected weights in files of their own",
            "write 'weights: external' or 'weights: shared' under 'export'",
        )


def _check_opset(recipe: Recipe) -> None:
    newest = onnx.defs.onnx_opset_version()
    if recipe.export.opset > newest:
        what = f"the installed onnx {onnx.__version__} does not know opset {recipe.export.opset}"
        expected = f"expected an opset up to {newest}"
        raise ExportError.at("export.opset", what, expected, "or upgrade onnx")


def _dynamic_axes(recipe: Recipe, traceable: TraceableModel) -> tuple[dict[int, Any], ...]:
    return tuple(
        {
            axis.axis: torch.export.Dim.AUTO
            for axis in recipe.export.dynamic_axes
            if axis.tensor == spec.name
        }
        for spec in traceable.inputs
    )


def _recorded(
    recipe: Recipe,
    traceable: TraceableModel,
    sample: Sample,
    kind: str = "",
    repeated: bool = False,
) -> RecordedSample:
    """Return what PyTorch gives for a sample; if `repeated`, run it twice and compare."""
    sample = tuple(rounded(tensor, recipe.export) for tensor in sample)
    outputs, marks = _eager_tensors(recipe, traceable, sample)
    if repeated:
        check_repeats(
            _by_kind(outputs, marks),
            lambda: _by_kind(*_eager_tensors(recipe, traceable, sample)),
            recipe.proof.tolerance_for,
            traceable.is_detector,
            traceable.user_module,
            "model",
        )
    inputs = {spec.name: tensor for spec, tensor in zip(traceable.inputs, sample, strict=True)}
    return RecordedSample(_as_arrays(inputs), _as_arrays(marks), _as_arrays(outputs), kind=kind)


def _as_arrays(tensors: _Tensors) -> ArraySet:
    return {name: as_array(tensor) for name, tensor in tensors.items()}


def _eager_tensors(
    recipe: Recipe, traceable: TraceableModel, sample: Sample
) -> tuple[_Tensors, _Tensors]:
    """Run PyTorch on a sample; return outputs by name, and marked tensors by reference.

    They are copies: another run of the model does not change them.
    """
    with traceable.marked(recipe.marks) as marking, torch.no_grad():
        result = run_model(traceable, sample)
        marking.check_all_called(recipe.marks)
    outputs = _named_outputs(recipe, result)
    return (
        {name: tensor.detach().clone() for name, tensor in outputs.items()},
        {str(name): tensor.detach() for name, tensor in marking.tensors.items()},
    )


def _by_kind(outputs: _Tensors, marks: _Tensors) -> _Tensors:
    return {
        **{f"mark '{name}'": tensor for name, tensor in marks.items()},
        **{f"output '{name}'": tensor for name, tensor in outputs.items()},
    }


def _run_probes(recipe: Recipe, traceable: TraceableModel) -> Iterator[RecordedSample]:
    """Run PyTorch on inputs of other kinds; kinds that the model itself rejects are left out."""
    inputs = {
        spec.name: as_array(rounded(tensor, recipe.export))
        for spec, tensor in zip(traceable.inputs, traceable.samples[0], strict=True)
    }
    for kind, arrays in probes(inputs).items():
        sample = tuple(torch.from_numpy(arrays[spec.name]) for spec in traceable.inputs)
        with contextlib.suppress(ExportError):
            yield _recorded(recipe, traceable, sample, kind)


_OUTPUT = "output"


def _named_outputs(recipe: Recipe, result: Any) -> dict[str, torch.Tensor]:
    results = list(tensors(result, lambda value: isinstance(value, torch.Tensor)))
    inputs = [spec.name for spec in recipe.export.inputs]
    names = [
        name if isinstance(result, dict) and name not in inputs else ".".join((_OUTPUT, *path))
        for path, _ in results
        for name in (".".join(path),)
    ]
    if not names:
        raise ExportError.at(
            "model",
            f"the model returns no tensor, but a {type(result).__name__}",
            "expected a tensor, or a list, tuple or dict of tensors",
        )
    output_names = recipe.export.output_names
    if output_names and len(output_names) != len(names):
        raise ExportError.at(
            "export.output_names",
            f"names {len(output_names)} outputs, and the model returns {len(names)}",
            f"the model returns {', '.join(names)}",
        )
    chosen = output_names or tuple(names)
    repeated = [name for name, times in Counter([*inputs, *chosen]).items() if times > 1]
    if repeated:
        raise ExportError.at(
            "export.output_names",
            f"two inputs or outputs of the model are called '{repeated[0]}'",
            f"the inputs are {', '.join(inputs)}, the outputs {', '.join(chosen)}",
            "give the outputs other names in 'export.output_names'",
        )
    return dict(zip(chosen, (tensor for _, tensor in results), strict=True))
