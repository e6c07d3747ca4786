"""The sources of models: a recipe's `model` and `export.inputs` become a module and its samples."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from partition_core.base.errors import ExportError, Place, PlaceOf, Problem, problem
from partition_core.graph.as_asked import Form, input_differences
from partition_core.recipe.policy_fits import check_policy
from partition_core.recipe.values import (
    Checkpoint,
    Mark,
    MmdetModel,
    OnnxModel,
    Recipe,
    Seed,
    TensorSpec,
    TorchModel,
)
from partition_core.sources.samples import (
    given_inputs,
    range_notes,
    ranged,
    samples_of,
    typical_sample,
)
from partition_core.sources.torch.samples import in_order, read_ranges, resized_sample
from partition_core.trace.callables import factory_error, imported
from partition_core.trace.calling import called
from partition_core.trace.mark_targets import Function
from partition_core.trace.placing import Placement, placed
from partition_core.trace.questions import KnownFunction
from partition_core.trace.refusals import check_followed
from partition_core.trace.seed_weights import seed_weights

Sample = tuple[torch.Tensor, ...]
"""One set of inputs, in the order in which the module takes them."""


@dataclass(frozen=True)
class Subject:
    """A module in eval mode with its weights, and the samples on which it is proven.

    `inputs` are the recipe's, in the order in which `module` takes them, with the ranges that its
    tables tell. `own` is the user's model inside `module`, `whole` the function that a mark on the
    model is on, `typical` an input like those it was
    made for, and `init` applies its own initialization. `identity` is what the source resolved to,
    as canonical text (for mmdet: the config with its bases expanded). `detects` tells that the
    outputs are `dets` and `labels`; `resized` returns another sample, whose inputs have the given
    shapes, for each number; `rules` gives what the source needs while it is traced, and
    `known_functions` are those of the source whose questions have answers;
    `notes` is what the manifest tells of the source's inputs and outputs, `refusal` what is
    wrong with a sample that the module does not run on, beside the reason that it raises, if the
    source knows better than the module.
    """

    module: nn.Module
    own: nn.Module
    whole: Function
    inputs: tuple[TensorSpec, ...]
    samples: tuple[Sample, ...]
    typical: Sample
    init: Callable[[], None]
    identity: str
    detects: bool
    resized: Callable[[tuple[tuple[int, ...], ...], int], Sample]
    rules: Callable[[], AbstractContextManager[None]]
    known_functions: Sequence[KnownFunction] = ()
    notes: dict[str, Any] = field(default_factory=dict)
    refusal: Callable[[Sample, str], Problem | None] = lambda *_: None

    def placed(
        self, marks: tuple[Mark, ...], place_of: PlaceOf, *, traced: bool = False
    ) -> AbstractContextManager[Placement]:
        """Put marks on the model (`placing.placed`)."""
        return placed(marks, self.own, place_of, whole=self.whole, traced=traced)


def load_subject(recipe: Recipe, root: Path, place_of: PlaceOf, checkpoint: Path | None) -> Subject:
    """Return the module that `recipe.model` describes, with its weights.

    `checkpoint` is the verified file of a recipe whose weights are a checkpoint. Raises
    ExportError for a model that cannot be built or weights that do not fit it.
    """
    torch.manual_seed(0)
    source = recipe.model
    if isinstance(source, OnnxModel):
        raise ValueError("an ONNX file is not exported")
    if isinstance(source, MmdetModel):
        subject = _mmdet_subject(recipe, source, root, place_of)
    else:
        subject = _torch_subject(recipe, source, root, place_of)
    _check_samples(subject, place_of)
    match source.weights:
        case Seed(seed):
            seed_weights(
                subject.own,
                seed,
                subject.init,
                lambda: run_model(subject, subject.typical, place_of),
            )
        case Checkpoint() as named:
            from partition_core.trace.checkpoint import load_state

            load_state(subject.own, named, checkpoint, place_of("model.weights"))
    return subject


def _check_samples(subject: Subject, place_of: PlaceOf) -> None:
    """Refuse samples of another shape or dtype than asked for: the trace would take theirs."""
    asked = {spec.name: Form(spec.dtype, spec.shape) for spec in subject.inputs}
    for sample in (subject.typical, *subject.samples):
        made = {
            name: Form(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
            for name, tensor in zip(asked, sample, strict=True)
        }
        wrong = list(input_differences(asked, made, "what is prepared for the model", place_of))
        if wrong:
            raise ExportError(*wrong)


def run_model(subject: Subject, sample: Sample, place_of: PlaceOf) -> Any:
    """Return what the model gives for a sample; raises ExportError for what it raises."""
    try:
        return subject.module(*(tensor.clone() for tensor in sample))
    except ExportError:
        raise
    except Exception as error:  # a user's model may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ExportError(
            subject.refusal(sample, reason)
            or problem(place_of("model"), "the model does not run in PyTorch", reason)
        ) from error


def _mmdet_subject(recipe: Recipe, source: MmdetModel, root: Path, place_of: PlaceOf) -> Subject:
    from partition_core.sources.mmdet.channels import check_preprocessor, refused_channels
    from partition_core.sources.mmdet.detector import build_detector, config_identity, quiet_mmdet
    from partition_core.sources.mmdet.detector_parts import parts_of
    from partition_core.sources.mmdet.picture_size import refused_size
    from partition_core.sources.mmdet.pictures import (
        imaginary_sample,
        picture_samples,
        resized_sample,
    )
    from partition_core.sources.mmdet.preparation import picture_notes
    from partition_core.sources.mmdet.questions import KNOWN_FUNCTIONS
    from partition_core.sources.mmdet.replacements import mmdet_rules

    form = recipe.export.masks
    module, config = build_detector(source, root, place_of("model.config"), form)
    own = module.detector
    place = place_of("partition.type")
    check_policy(recipe.partition.type, type(own).__name__, parts_of(own), place)
    (spec,) = recipe.export.inputs
    check_preprocessor(spec, config, place_of)
    if form == "pasted":
        _check_masks(own, place_of("export.masks"))

    def init() -> None:
        with quiet_mmdet():
            own.init_weights()  # type: ignore[operator]  # reason: mmengine's method, seen by torch's stubs as a tensor

    return Subject(
        module,
        own,
        (module, "forward"),
        inputs=recipe.export.inputs,
        samples=picture_samples(recipe, own, root, place_of),
        typical=imaginary_sample(recipe, own, place_of("model.config")),
        init=init,
        identity=config_identity(config.model),
        detects=True,
        resized=lambda shapes, number: resized_sample(
            recipe, own, root, place_of, shapes[0], number
        ),
        rules=mmdet_rules,
        known_functions=KNOWN_FUNCTIONS,
        notes=picture_notes(config, own, recipe.export),
        refusal=lambda sample, reason: (
            refused_channels(module, sample[0], spec, place_of)
            or refused_size(module, sample[0], spec, reason, place_of)
        ),
    )


def _check_masks(detector: nn.Module, place: Place) -> None:
    from partition_core.sources.mmdet.masks import pastes_masks

    if not pastes_masks(detector):
        raise ExportError(
            problem(
                place,
                "the model has no masks to paste",
                "expected a two-stage detector with a mask head",
                "leave 'masks' out; masks of other detectors have the size of the input anyway",
            )
        )


def _torch_subject(recipe: Recipe, source: TorchModel, root: Path, place_of: PlaceOf) -> Subject:
    place = place_of("model.factory")
    own = _made(source, place).eval()
    check_followed(own, place_of)
    module, specs = called(own, recipe.export, place_of)
    given = given_inputs(recipe, root, place_of)
    samples = samples_of(specs, given)
    ranges = read_ranges(module, specs, typical_sample(specs, given), samples)
    inputs = ranged(specs, ranges)

    def resized(shapes: tuple[tuple[int, ...], ...], number: int) -> Sample:
        sizes = dict(zip((spec.name for spec in specs), shapes, strict=True))
        return resized_sample(module, specs, given, sizes, number)

    return Subject(
        module,
        own,
        (module, "called"),
        inputs=inputs,
        samples=tuple(in_order(inputs, one.ranged(ranges).arrays()) for one in samples),
        typical=in_order(inputs, typical_sample(inputs, given).arrays()),
        init=lambda: None,
        identity="",
        detects=False,
        resized=resized,
        rules=contextlib.nullcontext,
        notes=range_notes(samples, ranges),
    )


def _made(source: TorchModel, place: Place) -> nn.Module:
    arguments = {key: json.loads(text) for key, text in source.args}
    factory = imported(source.factory, place, "a torch.nn.Module")
    try:
        module = factory(**arguments)
    except Exception as error:  # so may the factory
        raise factory_error(source.factory, "calling it fails", error, place) from error
    if not isinstance(module, nn.Module):
        raise ExportError(
            problem(
                place,
                f"'{source.factory}' returned a {type(module).__name__}",
                "expected a torch.nn.Module",
            )
        )
    return module
