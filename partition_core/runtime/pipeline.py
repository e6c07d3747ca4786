"""A build folder as a callable: its segments in a chain, each by onnxruntime or by a runtime of
the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.backends.backend import Backend, Runner
from partition_core.backends.onnxruntime.backend import OnnxRuntime
from partition_core.base.arrays import Array
from partition_core.base.errors import RunError, one_of, problem, suggestion
from partition_core.base.folders import END2END
from partition_core.chain.check import Sizes, check
from partition_core.chain.manifest import read_manifest
from partition_core.chain.pieces import SegmentBoundary, Tensor
from partition_core.chain.run import add, made_of, walk
from partition_core.chain.wiring import wiring

if TYPE_CHECKING:
    from partition_core.runtime.detections import Detection
    from partition_core.runtime.preprocessing import Prepared

SegmentFunction = Callable[[dict[str, Array]], Mapping[str, Array] | Sequence[Array]]
"""What runs a segment: takes its inputs by name, returns its outputs by name or in order."""


class Segment:
    """One segment of a build, called like a function: inputs by name in, outputs by name out.

    Names, dtypes and dims are those of the boundary in the manifest, and are checked both ways.
    """

    def __init__(self, boundary: SegmentBoundary, run: SegmentFunction) -> None:
        self.save_file = boundary.save_file
        self.inputs = boundary.inputs
        self.outputs = boundary.outputs
        self.run = run

    def __call__(
        self, inputs: Mapping[str, Array] | None = None, /, **named: Array
    ) -> dict[str, Array]:
        """Return the outputs, in the order of the boundary.

        Raises RunError for a tensor that does not fit; what a callable of the user's raises,
        passes.
        """
        given = {**(inputs or {}), **named}
        sizes: Sizes = {}
        check(f"segment '{self.save_file}': input", given, self.inputs, sizes)
        made = self.run({tensor.name: given[tensor.name] for tensor in self.inputs})
        outputs = self._named(made)
        check(f"segment '{self.save_file}': output", outputs, self.outputs, sizes)
        return {tensor.name: outputs[tensor.name] for tensor in self.outputs}

    def _named(self, made: object) -> dict[str, Array]:
        if isinstance(made, Mapping):
            return dict(made)
        names = [tensor.name for tensor in self.outputs]
        if not isinstance(made, list | tuple) or len(made) != len(names):
            count = f" of {len(made)}" if isinstance(made, list | tuple) else ""
            raise RunError.at(
                f"segment '{self.save_file}'",
                f"its runtime returned a {type(made).__name__}{count}",
                f"expected a mapping with {', '.join(names)}, or a list of them in this order",
            )
        return dict(zip(names, made, strict=True))


class Pipeline:
    """The segments of a build folder as one function: numpy arrays by name in and out.

    `engine` runs the segments; `segments` gives some of them another one, by the name of their
    file: an `OnnxRuntime` with other providers or options, or any callable (`SegmentFunction`).
    `verify` compares the files that are loaded with the digests of the manifest.
    Raises RunError for a folder, a file or a name that is wrong.

    The result has the outputs of end2end, and those of segments that nothing reads.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        engine: Backend | None = None,
        segments: Mapping[str, Backend | SegmentFunction] | None = None,
        verify: bool = True,
    ) -> None:
        self.manifest = read_manifest(Path(folder))
        self._wiring = wiring(self.manifest)
        chosen = dict(segments or {})
        self._check_names(chosen)
        self._engine = engine or OnnxRuntime()
        self._verify = verify
        self._end2end: Runner | None = None
        self._segments = {
            one.save_file: Segment(
                one, self._runtime(one.save_file, chosen.get(one.save_file, self._engine))
            )
            for one in self.manifest.segments
        }

    def _runtime(self, file: str, chosen: Backend | SegmentFunction) -> SegmentFunction:
        return self._loaded(file, chosen) if isinstance(chosen, Backend) else chosen

    def _loaded(self, file: str, engine: Backend) -> Runner:
        if self._verify:
            self.manifest.check_files(file)
        return engine.load(self.manifest.folder / file)

    def _check_names(self, chosen: Mapping[str, object]) -> None:
        known = [segment.save_file for segment in self.manifest.segments]
        for name, run in chosen.items():
            if name not in known:
                raise _unknown_segment(name, known)
            if not isinstance(run, Backend) and not callable(run):
                raise RunError.at(
                    f"segment '{name}'",
                    f"a {type(run).__name__} cannot run it",
                    "expected an OnnxRuntime or a callable",
                )

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the chain takes: inputs of end2end, and whatever no segment gives."""
        return self._wiring.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What the chain gives, under its names."""
        return tuple(
            Tensor(name, tensor.dtype, tensor.dims, tensor.reference)
            for name, (_, tensor) in self._wiring.outputs.items()
        )

    @property
    def gaps(self) -> Mapping[str, str]:
        """Inputs that end2end computes and no segment gives, each with who needs it."""
        return self._wiring.gaps

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, in the order in which they run."""
        return tuple(self._segments.values())

    @property
    def seed(self) -> int | None:
        """The seed that the weights were drawn from: what they detect means nothing.

        None for a checkpoint, and for weights that came with the model.
        """
        return self.manifest.seed

    def segment(self, save_file: str) -> Segment:
        """Return one segment, to be called alone; raises RunError for a name that is none's."""
        if save_file not in self._segments:
            raise _unknown_segment(save_file, self._segments)
        return self._segments[save_file]

    def __call__(
        self, inputs: Mapping[str, Array] | None = None, /, **named: Array
    ) -> dict[str, Array]:
        """Return the outputs of the chain by name; raises RunError for a tensor that is wrong."""
        made = {
            (file, name): array
            for file, _, outputs in self.steps(inputs, **named)
            for name, array in outputs.items()
        }
        return {name: made[source] for name, (source, _) in self._wiring.outputs.items()}

    def steps(
        self, inputs: Mapping[str, Array] | None = None, /, **named: Array
    ) -> Iterator[tuple[str, dict[str, Array], dict[str, Array]]]:
        """Run the chain; yield each segment's file, its inputs and its outputs, once it has run."""
        given = {**(inputs or {}), **named}
        self.check_inputs(given)
        made = made_of([given])
        for boundary, (fed,) in walk(self.manifest.segments, self._wiring.feeds, made):
            outputs = self._segments[boundary.save_file](fed)
            add(made, boundary, [outputs])
            yield boundary.save_file, fed, outputs

    def end2end(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs of `end2end.onnx`, which `engine` loads at the first call.

        Raises RunError for a file or a tensor that is wrong.
        """
        if self._end2end is None:
            self._end2end = self._loaded(END2END, self._engine)
        return self._end2end(inputs)

    def check_inputs(self, given: Mapping[str, object]) -> None:
        """Raise RunError, all problems at once, for inputs that are missing or that nobody has."""
        known = [tensor.name for tensor in self.inputs]
        # An input of end2end that no segment reads may be given, so that both take the same.
        problems = [
            problem(f"input '{name}'", "the chain has none", one_of(known), suggestion(name, known))
            for name in given
            if name not in known and name not in self.manifest.inputs
        ]
        for name in known:
            if name not in given:
                who = self._wiring.gaps.get(name)
                why = f"segment '{who}' needs it and no segment gives it" if who else "is missing"
                expected = f"expected a tensor from the caller; the chain takes {', '.join(known)}"
                problems.append(problem(f"input '{name}'", why, expected))
        if problems:
            raise RunError(*problems)

    def end_profiling(self) -> dict[str, Path]:
        """End the profiles of onnxruntime and return their files, by segment."""
        ends = {f: getattr(one.run, "end_profiling", None) for f, one in self._segments.items()}
        ended = {file: end() for file, end in ends.items() if end is not None}
        return {file: path for file, path in ended.items() if path is not None}

    def preprocess(self, *pictures: str | Path | Array) -> Prepared:
        """Return pictures as one batch of the model's input, as mmdet's test pipeline does it.

        A picture is a file or an array uint8: (H, W, 3), blue first, or (H, W) for a model that
        takes gray pictures. Raises RunError for a picture that cannot be read and a build whose
        manifest does not tell how.
        """
        from partition_core.runtime.preprocessing import prepared

        return prepared(self.manifest, pictures)

    def detect(self, *pictures: str | Path | Array) -> list[list[Detection]]:
        """Return for each picture what a detector finds in it, best first, in its own pixels.

        Where the segments do not lead from the picture to its detections, `end2end.onnx` runs in
        their place (`detects_by`). Raises RunError as `preprocess` does, and for a model that is no
        detector.
        """
        from partition_core.runtime.detections import detections

        return detections(self, pictures)

    @property
    def detects_by(self) -> tuple[str, ...]:
        """The files that `detect` runs: the segments, or `end2end.onnx` alone."""
        from partition_core.runtime.detections import missing_link

        return (END2END,) if missing_link(self) else tuple(self._segments)


def _unknown_segment(name: str, known: Sequence[str] | Mapping[str, Any]) -> RunError:
    return RunError.at(
        f"segment '{name}'", "the build has none", one_of(known), suggestion(name, known)
    )
