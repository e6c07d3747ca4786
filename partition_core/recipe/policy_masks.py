"""Shared policies beside the masks that a detector gives; what else they need of it is in
`policy_fits`."""

from __future__ import annotations

from collections.abc import Collection

from partition_core.base.errors import ExportError
from partition_core.recipe.values import ANY_DETECTOR, Recipe

_WITHOUT_MASKS = {"single_stage": ANY_DETECTOR, "two_stage": "two_stage_masks"}
"""Policies whose last segment has no masks to give, and the ones to take for a model with masks."""


def check_masks(recipe: Recipe) -> None:
    """Raise ExportError if the recipe's policy gives masks in another form than is asked for."""
    policy = recipe.partition.type
    if policy == "two_stage_masks" and recipe.export.masks == "pasted":
        raise _misfit(
            f"policy '{policy}' gives masks as probabilities in each box, and 'masks' under "
            "'export' says pasted",
            ANY_DETECTOR,
        )


def check_outputs(recipe: Recipe, names: Collection[str]) -> None:
    """Raise ExportError if the recipe's policy cannot give one of a detector's outputs `names`."""
    policy = recipe.partition.type
    if "masks" in names and policy in _WITHOUT_MASKS:
        fitting = ANY_DETECTOR if recipe.export.masks == "pasted" else _WITHOUT_MASKS[policy]
        what = f"policy '{policy}' is for detectors without masks, and the model gives some"
        raise _misfit(what, fitting)


def _misfit(what: str, fitting: str) -> ExportError:
    remedy = f"write 'type: {fitting}', or segments of your own (docs/policies.md)"
    return ExportError.at("partition.type", what, "", remedy)
