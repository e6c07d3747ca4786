"""What is traced: a module with its weights, and all that its source knows of it."""

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
from partition_core.trace.marking import Placement, placed
from partition_core.trace.questions import KnownFunction

Sample = tuple[torch.Tensor, ...]
"""One set of inputs, in the order in which the module takes them."""


@dataclass(frozen=True)
class TraceableModel:
    """A module in eval mode with its weights, and the samples on which it is proven.

    `inputs` are the recipe's, in the order in which `module` takes them, with the ranges that its
    tables tell. `user_module` is the user's model inside `module`, `whole` the function that a mark
    on the model is on, `typical_input` an input like those it was made for, and `init` applies its
    own initialization. `detects` tells that the outputs are `dets` and `labels`; `resized` returns
    another sample, whose inputs have the given shapes, for each number; `while_traced` gives what
    the source needs while it is traced, and `known_functions` are those of the source whose
    questions have answers, `translations` has the onnxscript function that each custom op of the
    source becomes (`to_onnx.translate`); `notes` is what the manifest says of the source's inputs
    and outputs, `refusal` what is wrong with a sample that the module does not run on, beside the
    reason that it raises, if the source knows better than the module.
    """

    module: nn.Module
    user_module: nn.Module
    whole: Function
    inputs: tuple[TensorSpec, ...]
    samples: tuple[Sample, ...]
    typical_input: Sample
    init: Callable[[], None]
    detects: bool
    resized: Callable[[tuple[tuple[int, ...], ...], int], Sample]
    while_traced: Callable[[], AbstractContextManager[None]]
    known_functions: Sequence[KnownFunction] = ()
    translations: Mapping[Any, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    refusal: Callable[[Sample, str], Problem | None] = lambda *_: None

    def placed(
        self, marks: tuple[Mark, ...], *, traced: bool = False
    ) -> AbstractContextManager[Placement]:
        """Put marks on the model (`placing.placed`)."""
        return placed(marks, self.user_module, whole=self.whole, traced=traced)


def run_model(subject: TraceableModel, sample: Sample) -> Any:
    """Return what the model gives for a sample; raises ExportError for what it raises."""
    try:
        return subject.module(*(tensor.clone() for tensor in sample))
    except ExportError:
        raise
    except Exception as error:  # a user's model may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ExportError(
            subject.refusal(sample, reason)
            or problem("model", "the model does not run in PyTorch", reason)
        ) from error
