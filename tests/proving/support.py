"""Exported models whose recording, segments or partition a test changes before they are proven."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from partition_core.base.errors import ProofError
from partition_core.base.recording import Recording
from partition_core.chain.pieces import Chain
from partition_core.graph.boundaries import boundaries, edges
from partition_core.graph.file.graph import Model
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.files import cut_file
from partition_core.proof.proof import prove
from partition_core.recipe.mark_reference import MarkReference, parse_reference
from partition_core.recipe.values import Segment
from tests.export.support import run

Key = tuple[int, str, str]
"""The number of a sample, `inputs`, `marks` or `outputs`, and a name there."""
Arrays = dict[Key, np.ndarray]
_TURNED = {"maps.0": "maps.1", "maps.1": "maps.0"}
Change = Callable[[np.ndarray], np.ndarray]


def reference_of(text: str) -> MarkReference:
    found = parse_reference(text)
    assert found is not None
    return found


def segment(file: str, start: str, end: str) -> Segment:
    return Segment(file, (reference_of(start),), (reference_of(end),))


def changed(recording: Recording, changes: Mapping[Key, Any]) -> Recording:
    """Return `recording` with other arrays in the places of `changes`."""
    samples = list(recording.samples)
    for (number, kind, name), array in changes.items():
        arrays = {**getattr(samples[number], kind), name: array}
        samples[number] = replace(samples[number], **{kind: arrays})
    return replace(recording, samples=tuple(samples))


@dataclass(frozen=True)
class Subject:
    """An exported model, as the proof gets it, and the segments of its recipe."""

    file: Path
    recording: Recording
    segments: Sequence[Segment]
    detects: bool
    cuts: dict[str, Path] = field(default_factory=dict)

    @functools.cached_property
    def model(self) -> Model:
        return read_model(self.file)

    def cut(self, one: Segment) -> Path:
        key = f"{one}"
        if key not in self.cuts:
            folder = self.file.parent / f"cut{len(self.cuts)}"
            folder.mkdir()
            self.cuts[key] = folder / one.save_file
            cut_file(self.file, one, self.cuts[key])
        return self.cuts[key]

    def prove(
        self,
        changes: Mapping[Key, Any] | None = None,
        *,
        segments: Sequence[Segment] | None = None,
        files: Mapping[str, Path] | None = None,
        end2end: Path | None = None,
        crossed: bool = False,
        tolerance: float = 1e-4,
        allows_unproven: bool = False,
    ) -> dict[str, Any]:
        """Prove the model; `changes` replace eager results, `files` replace segments.

        `crossed` joins the first two maps of a network the wrong way round.
        """
        given = self.segments if segments is None else segments
        cuts = {one.save_file: self.cut(one) for one in given}
        joints = edges(self.model, given)
        if crossed:
            joints = tuple(
                replace(one, output=_TURNED.get(one.output, one.output)) for one in joints
            )
        chain = Chain({**cuts, **(files or {})}, boundaries(self.model, given), joints)
        with tempfile.TemporaryDirectory() as scratch:
            return prove(
                end2end or self.file,
                self.model,
                chain,
                changed(self.recording, changes or {}),
                tolerance=tolerance,
                detects=self.detects,
                scratch=Path(scratch),
                allows_unproven=allows_unproven,
            )

    def refused(self, changes: Mapping[Key, Any] | None = None, **more: Any) -> str:
        """Return the problems, one a line, of a proof that must fail (empty if it holds)."""
        try:
            self.prove(changes, **more)
        except ProofError as error:
            return str(error)
        return ""

    def __getitem__(self, key: Key) -> np.ndarray:
        number, kind, name = key
        array: np.ndarray = getattr(self.recording.samples[number], kind)[name]
        return array

    def maps(self, number: int, change: Change) -> Arrays:
        """Return what eager PyTorch would give if `change` were done to its maps, and no mark.

        The post-processing of the changed maps is what the segment computes.
        """
        start = "yolo_head:input."
        fed = {
            name.removeprefix(start): np.ascontiguousarray(change(array))
            for name, array in self.recording.samples[number].marks.items()
            if name.startswith(start)
        }
        made = run(self.cut(self.segments[1]), fed)
        return {(number, "outputs", name): array for name, array in made.items()}


def with_node(source: Path, target: Path, output: str, kind: str, *operands: np.ndarray) -> Path:
    """Write the model in `source` to `target` with one more node in front of `output`."""
    model = onnx.load(source)
    inner = f"{output}.before{len(model.graph.node)}"
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [inner if name == output else name for name in names]
    names = [f"{inner}.{index}" for index in range(len(operands))]
    for name, operand in zip(names, operands, strict=True):
        model.graph.initializer.append(onnx.numpy_helper.from_array(operand, name))
    model.graph.node.append(onnx.helper.make_node(kind, [inner, *names], [output]))
    for value in model.graph.output:
        if value.name == output and kind == "CastLike":
            dtype = onnx.helper.np_dtype_to_tensor_dtype(operands[0].dtype)
            value.type.tensor_type.elem_type = dtype
    onnx.save(model, target)
    return target
