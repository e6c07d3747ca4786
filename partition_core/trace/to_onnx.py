"""Traces a module by torch.export and translates it to ONNX, free of machine-specific data."""

from __future__ import annotations

import contextlib
import io
import logging
import operator
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from partition_core.base.errors import ExportError
from partition_core.recipe.values import ExportOptions
from partition_core.trace.boolean_choice import choose_by_logic
from partition_core.trace.calling import CalledModel
from partition_core.trace.dynamic_axes import always_equal, free_symbol
from partition_core.trace.float16 import to_float16
from partition_core.trace.mark_op import (
    complete_marks,
    mark_translation,
    register_mark_schema,
    use_idle_marks,
)
from partition_core.trace.older_opset import to_older_opset
from partition_core.trace.opset import OWN_OPSET, TORCH_OPSET, onnx_group_norm, op
from partition_core.trace.questions import NO_ANSWERS, Answers, Decision
from partition_core.trace.refusals import check_answers, tracing_error
from partition_core.trace.replaced import replaced
from partition_core.trace.tracing import input_dims, traceable

_MODULE_PATH = "pkg.torch.onnx.name_scopes"
_MODULE = "module"


def trace(
    module: nn.Module,
    sample: tuple[torch.Tensor, ...],
    axes: tuple[dict[int, Any], ...],
    rules: AbstractContextManager[None],
    answers: Answers = NO_ANSWERS,
) -> tuple[torch.export.ExportedProgram, list[Decision]]:
    """Return the traced program of `module` on `sample`, and the decisions it rests on.

    `axes` holds, for each input, the axes that are not fixed; `rules` is the context in which the
    model's source traces, `answers` has the answers to its questions. Raises ExportError where
    torch.export cannot follow its code.
    """
    # The wrapper of a user's model returns any structure; torch.export takes only tensors.
    tensors = (
        replaced(module, "only_tensors", True)
        if isinstance(module, CalledModel)
        else contextlib.nullcontext()
    )
    with rules, tensors, traceable(answers) as questions, torch.no_grad(), quiet_torch():
        try:
            program = torch.export.export(
                module, sample, dynamic_shapes=_shapes(module, axes), strict=False
            )
        except ExportError:
            raise
        except Exception as error:  # torch.export's exceptions have no common class
            raise tracing_error(error) from error
    check_answers(answers, questions)
    use_idle_marks(program.graph)
    return program, questions.decisions


def _shapes(module: nn.Module, axes: tuple[dict[int, Any], ...]) -> Any:
    """Return `axes` as torch.export matches them with the parameters of `forward`."""
    if not any(axes):
        return None
    return (axes,) if isinstance(module, CalledModel) else axes


def translate(
    program: torch.export.ExportedProgram,
    export: ExportOptions,
    input_names: Sequence[str],
    output_names: Sequence[str],
    name: str,
    translations: Mapping[Any, Any] = MappingProxyType({}),
    around: str = "",
) -> ir.Model:
    """Return the ONNX model of `program`, its Mark nodes complete and its BatchNorms folded.

    The model is called `name`; it holds no file path, stack trace or time. `translations` maps the
    custom ops of its source to onnxscript functions. `around` is the first step of all module paths
    to the user's own model, and is left out.
    """
    register_mark_schema()
    table: dict[Any, Any] = {
        torch.ops.partition.mark.default: mark_translation(),
        operator.le: _at_most,
        torch.ops.aten.group_norm.default: onnx_group_norm,
        **translations,
    }
    with quiet_torch():
        try:
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=max(export.opset, TORCH_OPSET),
                custom_translation_table=table,
                input_names=list(input_names),
                output_names=list(output_names),
                optimize=True,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise tracing_error(error) from error
    if exported is None:
        raise ExportError.at("model", "torch.onnx returned no model")
    model: ir.Model = exported.model
    model.graph.name = name
    _register_constants(model.graph)
    choose_by_logic(model.graph)
    _strip(model)
    if around:
        _shorten(model, f"{around}.")
    _name_dims(model, export, input_dims(program))
    if export.precision == "float16":
        to_float16(model, export.keep_io_types)
    if export.opset < OWN_OPSET:
        to_older_opset(model, export.opset)
    complete_marks(model, export.opset)
    return model


def _register_constants(graph: ir.Graph) -> None:
    """Register the constants that nodes read and the graph does not list as initializers.

    torch's optimizer gives the bounds of all Clips of one tensor the same name, and lists one.
    """
    for node in graph.all_nodes():
        for value in node.inputs:
            if (
                value is not None
                and value.const_value is not None
                and value.producer() is None
                and not value.is_graph_input()
                and graph.initializers.get(str(value.name)) is not value
            ):
                graph.register_initializer(value)


def _at_most(left: Any, right: Any) -> Any:
    # torch bounds a number of rows by a product of sizes, which may overflow an int64.
    return op.LessOrEqual(left, min(right, _MOST) if isinstance(right, int) else right)


_MOST = torch.iinfo(torch.int64).max


def _strip(model: ir.Model) -> None:
    """Remove what depends on the machine; of a node's metadata only its module's path stays."""
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
            node.metadata_props[_MODULE] = _owner_of_weight(node) or _module_path(scopes)
        for value in node.outputs:
            value.metadata_props.clear()
            value.doc_string = None
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()


def _shorten(model: ir.Model, prefix: str) -> None:
    """Remove `prefix` from the paths of modules and the names of weights."""
    for node in model.graph.all_nodes():
        path = node.metadata_props.get(_MODULE)
        if path is not None:
            node.metadata_props[_MODULE] = f"{path}.".removeprefix(prefix).removesuffix(".")
    used = {value.name for node in model.graph.all_nodes() for value in node.outputs}
    used |= {value.name for value in model.graph.inputs} | set(model.graph.initializers)
    for value in list(model.graph.initializers.values()):
        short = str(value.name).removeprefix(prefix)
        if short not in used:
            value.name = short


def _owner_of_weight(node: ir.Node) -> str:
    """Return the module whose weight a convolution or linear node holds, or an empty string.

    A node that a BatchNorm was folded into carries the BatchNorm's scopes.
    """
    weight = node.inputs[1] if node.op_type in _FOLDS_A_NORM else None
    if weight is None or not weight.is_initializer():
        return ""
    return str(weight.name).rpartition(".")[0]


_FOLDS_A_NORM = ("Conv", "ConvTranspose", "Gemm")


def _module_path(scopes: str) -> str:
    """Return the dotted path of the innermost module of torch's list of scopes."""
    names = re.findall(r"'([^']*)'", scopes)
    modules = [name for name in names[:-1] if name]
    return modules[-1] if modules else ""


def _name_dims(model: ir.Model, export: ExportOptions, traced: list[tuple[int | str, ...]]) -> None:
    """Give the symbols of dims their names from the recipe, and the outputs' sizes theirs."""
    names: dict[str, str] = {}
    inputs = {
        value.name: (value, dims) for value, dims in zip(model.graph.inputs, traced, strict=True)
    }
    for axis in export.dynamic_axes:
        value, dims = inputs[axis.tensor]
        symbol = free_symbol(dims[axis.axis], axis)
        if names.setdefault(symbol, axis.symbol) != axis.symbol:
            raise always_equal(names[symbol], axis)
        dim = value.shape[axis.axis] if value.shape is not None else None
        if isinstance(dim, ir.SymbolicDim) and dim.value:
            names[dim.value] = axis.symbol
    known = set(names.values())
    for value in model.graph.outputs:
        for number, dim in enumerate(value.shape.dims if value.shape is not None else ()):
            if isinstance(dim, ir.SymbolicDim) and dim.value and dim.value not in names:
                fresh = f"num_{value.name}".replace(".", "_")
                names[dim.value] = f"{fresh}_{number}" if fresh in known else fresh
                known.add(fresh)
    if names:
        _rename_dims(model, names)


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
    """Keep the exporter's log messages off the terminal; its errors are raised, not logged."""
    loggers = [logging.getLogger(name) for name in _LOUD]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        # torch.export prints the graph traced so far before it raises.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


_LOUD = (
    "torch.onnx",
    "torch.fx.experimental.symbolic_shapes",
    "torch._export.non_strict_utils",
)
