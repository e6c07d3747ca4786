"""The export of a recipe's model, which is traced in PyTorch."""

from __future__ import annotations

import functools
import gc
from pathlib import Path
from typing import TYPE_CHECKING

from partition_core.base.folders import END2END, RECORDING
from partition_core.base.progress import Say, phase
from partition_core.build.asked import check_as_asked
from partition_core.build.plan import Plan
from partition_core.build.work import Notes, carry_out, packages_of
from partition_core.graph.stored_models import EXPORT_FORMS, take, weights_file

if TYPE_CHECKING:
    from partition_core.trace.exporter import Export


def export(plan: Plan, say: Say) -> bool:
    """Export the recipe's model in PyTorch, and return whether that was necessary.

    Raises PartitionError.
    """
    from partition_core.build.followed import Follower

    follower = Follower(plan)

    @functools.cache  # a disk that refuses the files costs another write, and no other export
    def exported() -> tuple[Export, Notes]:
        from partition_core.sources.fetching import pinned_file

        found = pinned_file(plan.job)
        with packages_of(plan), follower.watching():
            from partition_core.sources.traced import export_recipe

            made = export_recipe(
                plan.file.recipe,
                plan.project.root,
                plan.file.place,
                found[0] if found else None,
                lambda part: phase(f"{plan.recipe}: export: {part}", say),
            )
        pinned = {"checkpoint_sha256": found[1]} if found else {}
        return made, {**made.notes, **pinned, **follower.take(made.classes)}

    def work(folder: Path) -> Notes:
        made, notes = exported()
        from partition_core.trace.files import save_export

        form = EXPORT_FORMS[plan.weights]
        written = save_export(made, folder / END2END, folder / RECORDING, form)
        check_as_asked(plan, folder / END2END)
        take(written, folder, weights_file(plan.weights, END2END))
        return notes

    is_followed = plan.exports.is_followed
    done = carry_out(plan, plan.export(), work, follower.step if is_followed else None)
    exported.cache_clear()
    # A traced program refers to itself: its weights would stay beside those that the proof loads.
    gc.collect()
    return done
