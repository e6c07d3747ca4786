"""The export of a recipe whose model is an ONNX file, which gets the recipe's marks."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from partition_core.base.folders import END2END
from partition_core.base.progress import Say, phase
from partition_core.build.asked import check_as_asked
from partition_core.build.plan import Plan
from partition_core.build.work import Notes, carry_out

if TYPE_CHECKING:
    from partition_core.sources.onnx.given_file import MarkedSource


def mark(plan: Plan, say: Say) -> bool:
    """Put the marks into the recipe's ONNX file, and return whether that was necessary.

    Raises PartitionError.
    """

    @functools.cache  # a disk that refuses the file costs another write, and no other run
    def marked() -> MarkedSource:
        from partition_core.sources.fetching import pinned_file
        from partition_core.sources.onnx.given_file import mark_source

        return mark_source(
            plan.job,
            lambda part: phase(f"{plan.recipe}: export: {part}", say),
            pinned_file(plan.job),
        )

    def work(folder: Path) -> Notes:
        from partition_core.sources.onnx.given_file import save_marked

        notes = save_marked(plan.job, marked(), folder)
        check_as_asked(plan, folder / END2END)
        return notes

    return carry_out(plan, plan.export(), work)
