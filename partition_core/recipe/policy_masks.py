"""Whether a shared policy fits a detector's masks; `policy_fits` has what else it needs."""

from __future__ import annotations

from collections.abc import Collection

from partition_core.base.errors import ExportError
from partition_core.recipe.values import ANY_DETECTOR, Recipe

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
