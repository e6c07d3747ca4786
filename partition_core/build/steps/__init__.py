"""The steps of a build, in their order: a row for each here, and a module with its name.

A new step is a file and a row. Tasks, the final report, the dry run and publishing follow this
table, which imports nothing heavy.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from partition_core.base.folders import END2END, MANIFEST, REPORT

if TYPE_CHECKING:
    from partition_core.build.step import StepModule

EXPORT = "export"
CUT = "cut"
PROVE = "prove"
"""The kinds of steps with special rules."""
ALL_SEGMENTS = "segments"
"""The subject of a step for all segments, while their number is not known."""


class Row(NamedTuple):
    """A kind of step.

    `summary` and `title` are what `doit list` shows for all its tasks and for one. A step needs the
    results of the kinds `needs`. `artifact` is published from its result; empty if there is a
    step per segment, which publishes the segment's file.
    """

    kind: str
    needs: tuple[str, ...]
    artifact: str
    summary: str
    title: str

    def subjects(self, segments: Sequence[str]) -> tuple[str, ...]:
        """Return the subjects of the steps of this kind in a recipe with these segments."""
        return ("",) if self.artifact else tuple(segments)


STEPS = (
    Row(
        EXPORT,
        (),
        END2END,
        "Export the model of `recipe=…`, or all, to ONNX, with its marks (into the store).",
        "Export the model of '{recipe}' to ONNX.",
    ),
    Row(
        CUT,
        (EXPORT,),
        "",
        "Cut the segments of `recipe=…`, or all, out of the exported model (into the store).",
        "Cut {subject} out of the model of '{recipe}'.",
    ),
    Row(
        PROVE,
        (EXPORT, CUT),
        MANIFEST,
        "Prove for `recipe=…`, or all, that segments equal the whole, and that PyTorch.",
        "Prove the segments of '{recipe}'.",
    ),
    Row(
        "report",
        (EXPORT, CUT),
        REPORT,
        "Measure the models of recipes and write their reports.",
        "Write the report of '{recipe}'.",
    ),
)


class StepName(NamedTuple):
    """A step of a recipe: its kind, and its segment if its kind is per segment."""

    row: Row
    subject: str

    def __str__(self) -> str:
        return f"{self.row.kind} {self.subject}".rstrip()

    def task(self, recipe: str) -> str:
        """Return the name of the doit task that carries it out for a recipe."""
        return ":".join(filter(None, (self.row.kind, recipe, self.subject)))

    @property
    def artifact(self) -> str:
        """The artifact that is published from its result."""
        return self.row.artifact or self.subject


def all_steps(segments: Sequence[str]) -> Iterator[StepName]:
    """Yield the steps of a recipe with these segments, in the order of the work."""
    for row in STEPS:
        for subject in row.subjects(segments):
            yield StepName(row, subject)


def module_of(kind: str) -> StepModule:
    """Return the module of a kind of step, imported on first use."""
    return cast("StepModule", importlib.import_module(f"{__name__}.{kind}"))
