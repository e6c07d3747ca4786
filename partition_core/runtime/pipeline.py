"""A build folder as a callable: its segments in a chain, each run by onnxruntime or by the user's
own runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.backends.backend import Backend, Runner, backend
from partition_core.backends.onnxruntime.backend import OnnxRuntime
from partition_core.base.arrays import Array
from partition_core.base.errors import RunError, one_of, problem, suggestion
from partition_core.base.folders import END2END
from partition_core.chain.check import Sizes, check
from partition_core.chain.manifest import BuiltTarget, read_manifest
from partition_core.chain.pieces import SegmentBoundary, Tensor
from partition_core.chain.run import add, initial_values, walk
from partition_core.chain.wiring import wiring

if TYPE_CHECKING:
    from partition_core.runtime.detections import Detection
    from partition_core.runtime.preprocessing import Prepared

_TARGETS = "write it under `targets` in the recipe, and build again"
SegmentFunction = Callable[[dict[str, Array]], Mapping[str, Array] | Sequence[Array]]
"""Runs a segment: takes its inputs by name, returns its outputs by name or in order."""


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

        Raises RunError for a tensor that does not match; exceptions of the user's callable pass.
        """
        arrays = {**(inputs or {}), **named}
        sizes: Sizes = {}
        check(f"segment '{self.save_file}': input", arrays, self.inputs, sizes)
        result = self.run({tensor.name: arrays[tensor.name] for tensor in self.inputs})
        outputs = self._named(result)
        check(f"segment '{self.save_file}': output", outputs, self.outputs, sizes)
        return {tensor.name: outputs[tensor.name] for tensor in self.outputs}

    def _named(self, result: object) -> dict[str, Array]:
        if isinstance(result, Mapping):
            return dict(result)
        names = [tensor.name for tensor in self.outputs]
        if not isinstance(result, list | tuple) or len(result) != len(names):
            count = f" of {len(result)}" if isinstance(result, list | tuple) else ""
            raise RunError.at(
                f"segment '{self.save_file}'",
                f"its runtime returned a {type(result).__name__}{count}",
                f"expected a mapping with {', '.join(names)}, or a list in this order",
            )
        return dict(zip(names, result, strict=True))


class Pipeline:
    """The segments of a build folder as one function: numpy arrays by name in and out.

    `variant` is that of a recipe with variants, which share a folder. `engine` runs the segments;
    `segments` overrides it for some of them, by the recipe's file name: an `OnnxRuntime` with
    other providers or options, or any callable (`SegmentFunction`). `use` names the target in which
    a segment runs, by its file: `{"yolov3.onnx": "ncnn-float16"}`. `verify` compares the loaded
    files with the digests of the manifest.
    Raises RunError for a wrong folder, file or name.

    The result has the outputs of end2end, and unread outputs of segments.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        variant: str = "",
        engine: Backend | None = None,
        segments: Mapping[str, Backend | SegmentFunction] | None = None,
        use: Mapping[str, str] | None = None,
        verify: bool = True,
    ) -> None:
        self.manifest = read_manifest(Path(folder), variant)
        self._wiring = wiring(self.manifest)
        chosen = dict(segments or {})
        self._check_names(chosen)
        self.targets = self._chosen_targets(use or {}, chosen)
        self._engine = engine or OnnxRuntime()
        self._verify = verify
        self._end2end: Runner | None = None
        self._segments: dict[str, Segment] = {}
        for boundary in self.manifest.segments:
            file = boundary.save_file
            run = chosen.get(file, self._engine)
            if file in self.targets:
                loaded: SegmentFunction = self._loaded_target(self.targets[file])
            else:
                loaded = self._loaded(file, run) if isinstance(run, Backend) else run
            self._segments[file] = Segment(boundary, loaded)

    def _chosen_targets(
        self, use: Mapping[str, str], others: Mapping[str, object]
    ) -> dict[str, BuiltTarget]:
        """Return the targets that segments run in; raises RunError for an unknown one."""
        known = [segment.save_file for segment in self.manifest.segments]
        chosen = {}
        for file, name in use.items():
            if file not in known:
                raise _unknown_segment(file, known)
            if file in others:
                what = "is in `use` and in `segments`"
                raise RunError.at(f"segment '{file}'", what, "expected it in one of them")
            built = {each.name: each for each in self.manifest.targets if each.segment == file}
            if name not in built:
                what = f"the build has no target '{name}' of it"
                raise RunError.at(
                    f"segment '{file}'", what, one_of(built), suggestion(name, built) or _TARGETS
                )
            chosen[file] = built[name]
        return chosen

    def _loaded_target(self, target: BuiltTarget) -> Runner:
        engine = backend(target.backend, target.precision)
        if missing := engine.missing(converting=False):
            raise RunError.at(f"target '{target.name}' of '{target.segment}'", missing)
        if self._verify:
            self.manifest.check_target(target)
        folder = self.manifest.folder / target.folder
        return engine.load(*(folder / name for name in target.files))

    def _loaded(self, file: str, engine: Backend) -> Runner:
        if self._verify:
            self.manifest.check_files(file)
        return engine.load(self.manifest.path(file))

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
        """The inputs of the chain: those of end2end, and tensors that no segment produces."""
        return self._wiring.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The outputs of the chain, under its names."""
        return tuple(
            Tensor(name, tensor.dtype, tensor.dims, tensor.reference)
            for name, (_, tensor) in self._wiring.outputs.items()
        )

    @property
    def gaps(self) -> Mapping[str, str]:
        """Inputs that end2end computes but no segment gives, each with a segment that needs it."""
        return self._wiring.gaps

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, in the order in which they run."""
        return tuple(self._segments.values())

    @property
    def seed(self) -> int | None:
        """The seed that the weights were drawn from: their detections mean nothing.

        None for a checkpoint, and for weights that came with the model.
        """
        return self.manifest.seed

    def segment(self, save_file: str) -> Segment:
        """Return one segment, to be called by itself; raises RunError for an unknown name."""
        if save_file not in self._segments:
            raise _unknown_segment(save_file, self._segments)
        return self._segments[save_file]

    def __call__(
        self, inputs: Mapping[str, Array] | None = None, /, **named: Array
    ) -> dict[str, Array]:
        """Return the outputs of the chain by name; raises RunError for a wrong tensor."""
        tensors = {
            (file, name): array
            for file, _, outputs in self.steps(inputs, **named)
            for name, array in outputs.items()
        }
        return {name: tensors[source] for name, (source, _) in self._wiring.outputs.items()}

    def steps(
        self, inputs: Mapping[str, Array] | None = None, /, **named: Array
    ) -> Iterator[tuple[str, dict[str, Array], dict[str, Array]]]:
        """Run the chain; yield each segment's file, inputs and outputs after it has run."""
        arrays = {**(inputs or {}), **named}
        self.check_inputs(arrays)
        values = initial_values([arrays])
        for boundary, (feed,) in walk(self.manifest.segments, self._wiring.feeds, values):
            outputs = self._segments[boundary.save_file](feed)
            add(values, boundary, [outputs])
            yield boundary.save_file, feed, outputs

    def end2end(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs of `end2end.onnx`, which `engine` loads at the first call.

        Raises RunError for a wrong file or tensor.
        """
        if self._end2end is None:
            self._end2end = self._loaded(END2END, self._engine)
        return self._end2end(inputs)

    def check_inputs(self, inputs: Mapping[str, object]) -> None:
        """Raise RunError, all problems at once, for missing or unknown inputs."""
        known = [tensor.name for tensor in self.inputs]
        # An input of end2end that no segment reads is accepted, so that both take the same.
        problems = [
            problem(
                f"input '{name}'",
                "unknown input of the chain",
                one_of(known),
                suggestion(name, known),
            )
            for name in inputs
            if name not in known and name not in self.manifest.inputs
        ]
        for name in known:
            if name not in inputs:
                user = self._wiring.gaps.get(name)
                what = (
                    f"segment '{user}' needs it and no segment gives it" if user else "is missing"
                )
                expected = f"expected a tensor from the caller; the chain takes {', '.join(known)}"
                problems.append(problem(f"input '{name}'", what, expected))
        RunError.refuse(problems)

    def end_profiling(self) -> dict[str, Path]:
        """End the profiles of onnxruntime and return their files, by segment."""
        ends = {f: getattr(s.run, "end_profiling", None) for f, s in self._segments.items()}
        paths = {file: end() for file, end in ends.items() if end is not None}
        return {file: path for file, path in paths.items() if path is not None}

    def preprocess(self, *pictures: str | Path | Array) -> Prepared:
        """Return pictures as one batch of the model's input, as mmdet's test pipeline does it.

        A picture is a file or an array uint8: (H, W, 3), blue first, or (H, W) for a model that
        takes gray pictures. Raises RunError for an unreadable picture, and if the manifest does
        not describe the preparation.
        """
        from partition_core.runtime.preprocessing import prepared

        return prepared(self.manifest, pictures)

    def detect(self, *pictures: str | Path | Array) -> list[list[Detection]]:
        """Return the detections in each picture, best first, in its own pixels.

        If the segments do not lead from the picture to its detections, `end2end.onnx` runs instead
        (`detects_by`). Raises RunError as `preprocess` does, and for a model that is not a
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
        f"segment '{name}'", "no such segment in the build", one_of(known), suggestion(name, known)
    )
