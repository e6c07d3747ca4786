"""The cut of a segment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from partition_core.base.folders import END2END
from partition_core.base.progress import Say, phase
from partition_core.build.forms import REFERS
from partition_core.build.plan import Plan
from partition_core.build.work import Notes, carry_out, known, laid_out
from partition_core.graph.stored_models import take
from partition_core.recipe.places import in_recipe
from partition_core.recipe.values import Segment, WeightsForm

if TYPE_CHECKING:
    from partition_core.graph.files import Form

_CUT_FORMS: Mapping[WeightsForm, Form] = {
    "inline": "inline",
    "external": "external",
    "shared": "referred",
}


def cut(plan: Plan, segment: Segment, say: Say) -> bool:
    """Cut one segment out of the exported model; return whether that was necessary.

    Raises CutError with the recipe's lines.
    """
    step = known(plan.cut(segment), f"cut {segment.save_file}")

    def work(folder: Path) -> Notes:
        from partition_core.graph.files import cut_file, weights_files

        at = f"partition.segments[{plan.segments.index(segment)}]"
        with (
            phase(f"{plan.recipe}: cut {segment.save_file}", say),
            in_recipe(plan.file),
            laid_out(plan, [END2END]) as (models, scratch),
        ):
            target = (scratch if plan.weights == "shared" else folder) / segment.save_file
            form = _CUT_FORMS[plan.weights]
            written = cut_file(models[END2END], segment, target, at=at, weights=form)
            take(written, folder, plan.own_weights(segment.save_file))
        return {REFERS: bool(weights_files(folder / segment.save_file))}

    return carry_out(plan, step, work)
