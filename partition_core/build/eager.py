"""A recipe's model in PyTorch, for commands that want what enters the segments from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from partition_core.base.errors import BuildError, problem
from partition_core.build.plan import Plan
from partition_core.build.work import packages_of
from partition_core.sources.fetching import pinned_file


def marked_arrays(plan: Plan) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Return a function from the inputs of the recipe's model to the arrays at its marks.

    Raises PartitionError, as for a recipe whose model is an ONNX file.
    """
    recipe = plan.file.recipe
    if not recipe.model.is_traced:
        raise BuildError(
            problem(
                plan.file.place("model.source"),
                "the model is an ONNX file, which PyTorch does not run",
                "expected source 'mmdet' or 'torch'",
                "leave 'from=pytorch' out",
            )
        )
    found = pinned_file(plan.job)
    with packages_of(plan):
        from partition_core.sources import traced

        return traced.marked_arrays(
            recipe, plan.project.root, plan.file.place, found[0] if found else None
        )
