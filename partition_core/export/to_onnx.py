"""A module traced by torch.export and translated to an ONNX model with nothing of the machine."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from partition_core.errors import ExportError, problem
from partition_core.export.mark_op import (
    complete_marks,
    mark_translation,
    register_mark_schema,
)
from partition_core.export.mmcv_ops import TRANSLATIONS
from partition_core.export.placing import PlaceOf
from partition_core.export.questions import Decision
from partition_core.export.tracing import traceable
from partition_core.recipe import DynamicAxis, Export

_MODULE_PATH = "pkg.torch.onnx.name_scopes"
_MODULE = "module"


def trace(
    module: nn.Module,
    sample: tuple[torch.Tensor, ...],
    axes: tuple[dict[int, Any], ...],
    rules: AbstractContextManager[None],
    place_of: PlaceOf,
) -> tuple[torch.export.ExportedProgram, list[Decision]]:
    """Return the traced program of `module` on `sample`, and the decisions it rests on.

    `axes` holds, for each input, the axes that are not fixed; `rules` is what the source of the
    model needs while it is traced. Raises ExportError where torch.export cannot follow its code.
    """
    with rules, traceable() as decisions, torch.no_grad(), quiet_torch():
        try:
            program = torch.export.export(
                module, sample, dynamic_shapes=axes if any(axes) else None, strict=False
            )
        except ExportError:
            raise
        except Exception as error:  # torch.export has no common class for its refusals
            raise _refused(error, place_of) from error
    return program, decisions


def _refused(error: Exception, place_of: PlaceOf) -> ExportError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0] if lines else ""
    return ExportError(
        problem(
            place_of("model"),
            "torch.export cannot trace the model",
            f"{type(error).__name__}: {reason}",
            "mark and export a part of it, or change the model where it depends on its input",
        )
    )


def translate(
    program: torch.export.ExportedProgram,
    export: Export,
    input_names: Sequence[str],
    output_names: Sequence[str],
    name: str,
    place_of: PlaceOf,
) -> ir.Model:
    """Return the ONNX model of `program`, its Mark nodes complete and its BatchNorms folded.

    The model is called `name`. No path, stack trace or time is in it.
    """
    register_mark_schema()
    table: dict[Any, Any] = {torch.ops.partition.mark.default: mark_translation(), **TRANSLATIONS}
    with quiet_torch():
        try:
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=export.opset,
                custom_translation_table=table,
                input_names=list(input_names),
                output_names=list(output_names),
                optimize=True,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise _refused(error, place_of) from error
    if exported is None:
        raise ExportError(problem(place_of("model"), "torch.onnx gave no model"))
    model: ir.Model = exported.model
    model.graph.name = name
    _strip(model)
    _name_dims(model, export, place_of)
    complete_marks(model, export.opset)
    return model


def _strip(model: ir.Model) -> None:
    """Remove what depends on the machine; of a node's metadata its module's path stays."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.graph.doc_string = None
    model.doc_string = None
    for function in model.functions.values():
        function.metadata_props.clear()
    for node in model.graph.all_nodes():
        scopes = node.metadata_props.get(_MODULE_PATH)
        node.metadata_props.clear()
        node.doc_string = None
        if scopes:
            node.metadata_props[_MODULE] = _module_path(scopes)
        for value in node.outputs:
            value.metadata_props.clear()
            value.doc_string = None
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()


def _module_path(scopes: str) -> str:
    """Return the dotted path of the innermost module of torch's list of scopes."""
    names = re.findall(r"'([^']*)'", scopes)
    modules = [name for name in names[:-1] if name]
    return modules[-1] if modules else ""


def _name_dims(model: ir.Model, export: Export, place_of: PlaceOf) -> None:
    """Give the symbols of dims their names from the recipe, and the outputs' sizes theirs."""
    names: dict[str, str] = {}
    inputs = {value.name: value for value in model.graph.inputs}
    for axis in export.dynamic_axes:
        names[_symbol(inputs[axis.tensor], axis, place_of)] = axis.symbol
    known = set(names.values())
    for value in model.graph.outputs:
        for dim in value.shape.dims if value.shape is not None else ():
            if isinstance(dim, ir.SymbolicDim) and dim.value and not dim.value.isidentifier():
                fresh = f"num_{value.name}"
                if dim.value not in names and fresh not in known:
                    names[dim.value] = fresh
                    known.add(fresh)
    if names:
        _rename_dims(model, names)


def _symbol(value: ir.Value, axis: DynamicAxis, place_of: PlaceOf) -> str:
    dim = value.shape[axis.axis] if value.shape is not None else None
    if isinstance(dim, ir.SymbolicDim) and dim.value:
        return dim.value
    raise ExportError(
        problem(
            place_of(f"export.dynamic_axes.{axis.tensor}"),
            f"dim {axis.axis} of '{axis.tensor}' cannot be dynamic: the model fixes it at {dim}",
            "a dim can be dynamic if no code of the model depends on its value",
            f"leave '{axis.symbol}' out, or change the model",
        )
    )


def _rename_dims(model: ir.Model, names: dict[str, str]) -> None:
    words = re.compile("|".join(rf"(?<!\w){re.escape(old)}(?!\w)" for old in names))

    def renamed(dim: str) -> str:
        return names.get(dim) or words.sub(lambda match: names[match[0]], dim)

    values = [
        *model.graph.inputs,
        *(value for node in model.graph.all_nodes() for value in node.outputs),
    ]
    for value in values:
        if value.shape is not None:
            value.shape = ir.Shape(
                ir.SymbolicDim(renamed(dim.value))
                if isinstance(dim, ir.SymbolicDim) and dim.value
                else dim
                for dim in value.shape.dims
            )


@contextlib.contextmanager
def quiet_torch() -> Iterator[None]:
    """Keep the exporter's notes from the terminal; its errors are raised, not logged."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
