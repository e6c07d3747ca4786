"""Which shared policies fit an mmdet detector, by its parts and outputs; imports no library."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from partition_core.base.errors import ExportError, quoted
from partition_core.recipe.values import ANY_DETECTOR, Recipe


class Parts(NamedTuple):
    """The parts of a detector that matter to policies.

    `regions` is whether it has a RoI head; `box_heads` and `mask_heads` are how many that has.
    `dense_head` is whether it has a module `bbox_head` of its own, `mask_branch` a module
    `mask_head` beside it, `suppresses` a suppression after it and `features` a method
    `extract_feat`.
    """

    regions: bool
    box_heads: int
    mask_heads: int
    dense_head: bool
    mask_branch: bool
    suppresses: bool
    features: bool


def check_policy(name: str, detector: str, parts: Parts, place: str) -> None:
    """Raise ExportError if `name` is a shared policy that does not fit the class `detector`."""
    for lacks, fits in _NEEDS.get(name, ()):
        if not fits(parts):
            fitting = [
                quoted(policy)
                for policy, needs in _NEEDS.items()
                if all(f(parts) for _, f in needs)
            ]
            remedy = f"use {' or '.join(fitting)}" if fitting else "write 'segments' of your own"
            what = f"policy {quoted(name)} does not fit a {detector}"
            raise ExportError.at(place, what, lacks, remedy)


_Need = tuple[str, Callable[[Parts], bool]]
_REGIONS: _Need = (
    "it is for two-stage detectors, and this one has no RoI head",
    lambda parts: parts.regions,
)
_ONE_BOX_HEAD: _Need = (
    "it is for one box head after the regions, and this one has several",
    lambda parts: parts.box_heads == 1,
)
_NO_REGIONS: _Need = (
    "it is for single-stage detectors, and this one has a RoI head",
    lambda parts: not parts.regions,
)
_NEEDS: dict[str, tuple[_Need, ...]] = {
    "single_stage": (
        _NO_REGIONS,
        (
            "it cuts before the suppression, and a transformer has none",
            lambda parts: parts.suppresses,
        ),
        (
            "it has no segment for masks, and this one has a head for them",
            lambda parts: not parts.mask_branch,
        ),
    ),
    "two_stage": (
        _REGIONS,
        _ONE_BOX_HEAD,
        (
            "it has no segment for masks, and this one outputs them",
            lambda parts: not parts.mask_heads,
        ),
    ),
    "two_stage_masks": (
        _REGIONS,
        _ONE_BOX_HEAD,
        (
            "it is for detectors with exactly one mask head",
            lambda parts: parts.mask_heads == 1,
        ),
    ),
    "no_postprocess": (
        _NO_REGIONS,
        ("it cuts at the module 'bbox_head', and there is none", lambda parts: parts.dense_head),
        (
            "it cuts at the module 'bbox_head', and this one has a head for masks beside it, which "
            "'raw_heads' cuts behind too",
            lambda parts: not parts.mask_branch,
        ),
    ),
    "backbone_head": (
        ("it cuts after 'extract_feat', and there is none", lambda parts: parts.features),
    ),
}
"""What each policy needs: the message about a detector that lacks it, and the test."""


_WITHOUT_MASKS = {"single_stage": ANY_DETECTOR, "two_stage": "two_stage_masks"}
"""Policies whose last segment outputs no masks, and those to use for a model with masks."""


def check_masks(recipe: Recipe) -> None:
    """Raise ExportError if the recipe's policy and 'export.masks' disagree on the form of masks."""
    policy = recipe.partition.type
    if policy == "two_stage_masks" and recipe.export.masks == "pasted":
        raise _misfit(
            f"policy '{policy}' outputs masks as probabilities in each box, and 'export.masks' is "
            "'pasted'",
            ANY_DETECTOR,
        )


def check_outputs(recipe: Recipe, names: Collection[str]) -> None:
    """Raise ExportError if the recipe's policy lacks one of a detector's outputs `names`."""
    policy = recipe.partition.type
    if "masks" in names and policy in _WITHOUT_MASKS:
        fitting = ANY_DETECTOR if recipe.export.masks == "pasted" else _WITHOUT_MASKS[policy]
        what = f"policy '{policy}' is for detectors without masks, and the model outputs masks"
        raise _misfit(what, fitting)


def _misfit(what: str, fitting: str) -> ExportError:
    remedy = f"write 'type: {fitting}', or segments of your own (docs/policies.md)"
    return ExportError.at("partition.type", what, "", remedy)
