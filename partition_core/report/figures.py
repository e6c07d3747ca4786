"""The values that the page of a build shows, formatted for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Column:
    """One figure of a segment; `share` of the whole, between 0 and 1, becomes a bar."""

    name: str
    text: str
    note: str = ""
    share: float | None = None


@dataclass(frozen=True)
class SegmentRow:
    """A segment with its figures; the end2end model is the row without a `colour`."""

    name: str
    colour: str
    columns: Sequence[Column]


@dataclass(frozen=True)
class TensorRow:
    """A tensor at a border: its path, its type, and how chain and PyTorch compare."""

    name: str
    mark: str
    path: str
    type: str
    size: str
    exact: bool
    chain: str
    eager: str


@dataclass(frozen=True)
class TargetRow:
    """A segment in a runtime: its size, latency, and how each tensor and the detections agree.

    Of a failed one only `failed` is not empty: what is wrong with it.
    """

    name: str
    segment: str
    size: str = ""
    latency: str = ""
    ratio: str = ""
    tensors: Sequence[tuple[str, str]] = ()
    detections: str = ""
    failed: Sequence[str] = ()


@dataclass(frozen=True)
class MatchRow:
    """The detections of one picture, matched between PyTorch and end2end."""

    name: str
    columns: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Detection:
    """A box in pixels of the picture, with its class and score."""

    x: float
    y: float
    width: float
    height: float
    label: int
    name: str
    score: float
    text_x: float
    text_y: float


@dataclass(frozen=True)
class RunDetections:
    """The detections of one way to run the model: eager PyTorch, end2end, or the chain."""

    name: str
    detections: Sequence[Detection]


@dataclass(frozen=True)
class Picture:
    """A sample picture, its `source` a data URI, with what was detected in it."""

    source: str
    width: int
    height: int
    runs: Sequence[RunDetections]


@dataclass(frozen=True)
class Report:
    """All that the page shows except the map. `details` are by the id of a shape in the map.

    `runtimes` names, by segment, the targets in which it runs.
    """

    recipe: str
    about: str
    summary: str
    facts: Sequence[tuple[str, str, str]]
    segments: Sequence[SegmentRow]
    shared: str
    outside: str
    idle_marks: Sequence[str]
    measuring: str
    tensors: Sequence[TensorRow]
    against: str
    proof_note: str
    matches: Sequence[MatchRow]
    optimized_note: str
    command: str
    recipe_file: str
    recipe_text: str
    provenance: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    details: Mapping[str, Any]
    pictures: Sequence[Picture] = field(default_factory=tuple)
    threshold: float = 0.0
    weights_note: str = ""
    targets: Sequence[TargetRow] = ()
    runtimes: Mapping[str, str] = field(default_factory=dict)


def dims_text(dims: Sequence[int | str]) -> str:
    """Return the dims of a tensor: `1 × 3 × 320 × 320`; a single number is a `scalar`."""
    return " × ".join(map(str, dims)) or "scalar"


def milliseconds(seconds: float) -> str:
    """Return a time in milliseconds with three digits: `12.3 ms`."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds * 1000:.0f} ms"


def shortened(name: str, most: int) -> str:
    """Return a name cut to `most` letters; a long name keeps its end, which differs most."""
    return name if len(name) <= most else f"…{name[1 - most :]}"
