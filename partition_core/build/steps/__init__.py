"""The steps of a build, in their order: a row for each here, and a module with its name.

A new step is a file and a row. Tasks, the final report, the dry run and publishing follow this
table, which imports nothing heavy.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from partition_core.base.folders import END2END, MANIFEST, REPORT

if TYPE_CHECKING:
    from partition_core.build.step import StepModule

EXPORT = "export"
CUT = "cut"
PROVE = "prove"
CONVERT = "convert"
COMPARE = "compare"
"""The kinds of steps with special rules."""
Per = Literal["recipe", "segment", "target"]
"""What a recipe has a step of some kind for: itself, or each of its segments or their targets."""
ALL_SEGMENTS = "segments"
"""The subject of a step for all segments, while their number is not known."""


class Row(NamedTuple):
    """A kind of step.

    `summary` and `title` are what `doit list` shows for all its tasks and for one. A step needs the
    results of the kinds `needs`, of its own target if both are per target. `artifact` is published
    from its result: "" stands for what it is for, and None for nothing.
    """

    kind: str
    needs: tuple[str, ...]
    artifact: str | None
    summary: str
    title: str
    per: Per = "recipe"

    @property
    def may_fail(self) -> bool:
        """Whether what follows is done without it too if it fails."""
        return self.per == "target"


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
        per="segment",
    ),
    Row(
        PROVE,
        (EXPORT, CUT),
        MANIFEST,
        "Prove for `recipe=…`, or all, that segments equal the whole, and that PyTorch.",
        "Prove the segments of '{recipe}'.",
    ),
    Row(
        CONVERT,
        (EXPORT, CUT),
        None,
        "Convert the segments of `recipe=…`, or all, for their targets (into the store).",
        "Convert a segment of '{recipe}' into {subject}.",
        per="target",
    ),
    Row(
        COMPARE,
        (EXPORT, CUT, PROVE, CONVERT),
        "",
        "Run the converted segments of `recipe=…`, or all, and compare them with onnxruntime.",
        "Run {subject} of '{recipe}' and compare it with onnxruntime.",
        per="target",
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
    """A step of a recipe: its kind, and the segment or the target's folder that it is for."""

    row: Row
    subject: str

    def __str__(self) -> str:
        return f"{self.row.kind} {self.subject}".rstrip()

    def task(self, recipe: str) -> str:
        """Return the name of the doit task that carries it out for a recipe."""
        return ":".join(filter(None, (self.row.kind, recipe, self.subject)))

    @property
    def artifact(self) -> str | None:
        """The artifact that is published from its result, None if nothing is."""
        return self.subject if self.row.artifact == "" else self.row.artifact

    def needs(self, other: StepName) -> bool:
        """Return whether it needs the result of another step."""
        if other.row.may_fail and other.subject != self.subject:
            return False
        return other.row.kind in self.row.needs


def all_steps(segments: Sequence[str], targets: Sequence[str] = ()) -> Iterator[StepName]:
    """Yield the steps of a recipe with these segments and targets, in the order of the work."""
    subjects: Mapping[Per, Sequence[str]] = {
        "recipe": ("",),
        "segment": segments,
        "target": targets,
    }
    for row in STEPS:
        for subject in subjects[row.per]:
            yield StepName(row, subject)


def module_of(kind: str) -> StepModule:
    """Return the module of a kind of step, imported on first use."""
    return cast("StepModule", importlib.import_module(f"{__name__}.{kind}"))
