"""The results of a build, from which its page is composed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from partition_core.base.recording import Recording
from partition_core.recipe.values import Recipe
from partition_core.report.measuring import Figures
from partition_core.report.overview import Overview


@dataclass(frozen=True)
class TargetResult:
    """A segment in a runtime: the bytes of its files, and the content of its comparison.

    `target` and `onnxruntime` are the seconds of their runs, measured in turns.
    """

    folder: str
    segment: str
    name: str
    size: int
    comparison: Mapping[str, Any]
    target: Sequence[float]
    onnxruntime: Sequence[float]


@dataclass(frozen=True)
class Source:
    """A build: `recipe_text` is its file `recipe_file` as written.

    `models` has the bytes of each file; `proven` is the content of the proof, with `segments`,
    `edges` and `coverage`; `export` are the notes of the export. `recording` is that of the
    original model, `figures` are the measurements. `marks` are all marked tensors.
    `provenance` are tables of names and texts, by their titles. `targets` agree, and `failed` has
    what is wrong with the others, by their folders.
    """

    recipe: Recipe
    recipe_file: str
    recipe_text: str
    overview: Overview
    models: Mapping[str, int]
    proven: Mapping[str, Any]
    summary: str
    export: Mapping[str, Any]
    recording: Recording
    figures: Figures
    marks: Sequence[str]
    provenance: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    targets: Sequence[TargetResult] = ()
    failed: Mapping[str, Sequence[str]] = field(default_factory=dict)
