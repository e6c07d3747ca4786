"""A module to trace, with its weights and everything that its source knows about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from partition_core.base.errors import ExportError, Problem, problem
from partition_core.recipe.values import Mark, TensorSpec
from partition_core.trace.mark_targets import Function
from partition_core.trace.marking import Marking, marked
from partition_core.trace.questions import KnownFunction

Sample = tuple[torch.Tensor, ...]
"""One set of inputs, in the order in which the module takes them."""


@dataclass(frozen=True)
class TraceableModel:
    """A module in eval mode with its weights, and the samples on which it is proven.

    `inputs` are the recipe's, in the order in which `module` takes them, with the ranges that its
    tables imply. `user_module` is the user's model inside `module`, `entry_point` the function that
    a mark on the whole model wraps, `typical_input` an input like those it was made for.
    `initialize` applies its own initialization. The outputs of a model that `is_detector` are
    `dets` and `labels`. `resized_sample` returns a sample of the given shapes, another one for each
    number. `while_traced` is the context in which the source traces, `known_functions` are those of
    the source whose questions have answers, and `translations` maps its custom ops to onnxscript
    functions (`to_onnx.translate`). `notes` describe the source's inputs and outputs in the
    manifest. `sample_problem` explains why the module fails on a sample, given the reason that it
    raises, if the source knows better than the module.
    """

    module: nn.Module
    user_module: nn.Module
    entry_point: Function
    inputs: tuple[TensorSpec, ...]
    samples: tuple[Sample, ...]
    typical_input: Sample
    initialize: Callable[[], None]
    is_detector: bool
    resized_sample: Callable[[tuple[tuple[int, ...], ...], int], Sample]
    while_traced: Callable[[], AbstractContextManager[None]]
    known_functions: Sequence[KnownFunction] = ()
    translations: Mapping[Any, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    sample_problem: Callable[[Sample, str], Problem | None] = lambda *_: None

    def marked(
        self, marks: tuple[Mark, ...], *, traced: bool = False
    ) -> AbstractContextManager[Marking]:
        """Put marks on the model (`marking.marked`)."""
        return marked(marks, self.user_module, entry_point=self.entry_point, traced=traced)


def run_model(traceable: TraceableModel, sample: Sample) -> Any:
    """Return the model's result for a sample; raises ExportError for any exception of it."""
    try:
        return traceable.module(*(tensor.clone() for tensor in sample))
    except ExportError:
        raise
    except Exception as error:  # a user's model may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ExportError(
            traceable.sample_problem(sample, reason)
            or problem("model", "the model does not run in PyTorch", reason)
        ) from error
