"""Converts a segment for ncnn by pnnx, whose exit status says little.

What pnnx cannot convert it leaves out of ncnn's files, or in them under a name that ncnn does not
know, and says so in what it prints.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from partition_core.backends import trial
from partition_core.backends.backend import Conversion
from partition_core.backends.converter import fresh_files, run_module, run_program
from partition_core.backends.ncnn.backend import FLAGS, MOST_DIMS
from partition_core.backends.ncnn.layout import NO_BATCH, End, Layout
from partition_core.backends.ncnn.param_text import Param, can_be_blob, read_param
from partition_core.backends.ncnn.plain_copy import write_copy
from partition_core.backends.segment_file import Ends, Port, SegmentFile, read_segment
from partition_core.base.errors import ConversionError, CutError, Problem, quoted
from partition_core.base.wording import first_of
from partition_core.graph.file.graph import Value

_TOOL = "pnnx"
_SHORT = {"float32": "f32", "int32": "i32", "int64": "i64"}
_FLOATS = ("float32",)
# Layers that read integers as such; any other one would read their bits as a float's.
_TAKE_INTEGERS = frozenset(("Embed", "Split"))
_UNUSED = tuple(f"{name}=/dev/null" for name in ("pnnxparam", "pnnxbin", "pnnxpy", "pnnxonnx"))
_FREE = 128
"""Of what a free size that is no batch is a multiple: of what networks divide pictures by."""
_IGNORED = re.compile(r"^ignore (\S+) \S+ param ", re.M)
_LEFT = re.compile(r"^todo (\S+)$", re.M)
_UNKNOWN = re.compile(r"layer (\S+) not exists or registered")
_BY_PRODUCT = "pnnx.Expression"
_COMPLAINT = re.compile(
    r".*(?:not supported|unsupported|not possible|fallback|FATAL ERROR|is unknown|incorrect).*"
)
_AXES = re.compile(r"\b((?:in|out)\d+)\.numpy\((?:\), )?batch_index=(\d+)\)")
_WHOLE = "expected a segment that ncnn runs as a whole"
_CHOOSES = frozenset(("GatherND", "Loop", "NonMaxSuppression", "NonZero", "ScatterND", "TopK"))
_POLICY = (
    "`partition: {type: no_postprocess}`, or `backbone_head` of two stages, cuts in front of them"
)
_ELSEWHERE = "cut the segment in front of it, or behind it"


def converted(
    file: Path, folder: Path, names: Sequence[str], program: Path, precision: str
) -> Conversion:
    """Return ncnn's files of the segment in `file`, new in `folder`; raises ConversionError."""
    segment = read_segment(file)
    ConversionError.refuse(_unfit(segment))
    runs = _runs(segment)
    written = tuple(folder.resolve() / name for name in names)
    with (
        fresh_files(segment, _TOOL, written) as (param, weights, layout),
        tempfile.TemporaryDirectory(dir=folder) as scratch,
    ):
        printed, made = _run(segment, program, precision, runs, Path(scratch))
        text = _read(segment, made[0])
        _check_operators(segment, text, printed)
        ConversionError.refuse(_unfit_types(segment, "output", segment.outputs, _FLOATS))
        ends = _layout(segment, text, _batch_axes(made[2].read_text("utf-8")))
        _check_integers(segment, text, ends)
        blobs = _names(text, ends)
        param.write_text(str(text.renamed(blobs)), "utf-8", newline="\n")
        made[1].replace(weights)
        layout.write_text(str(ends.renamed(blobs)), "utf-8", newline="\n")
        _try_out(segment, runs, param, weights, layout)
    return Conversion((param, weights, layout), printed)


def _unfit(segment: SegmentFile) -> Iterator[Problem]:
    """Yield what pnnx would stumble over."""
    yield from _unfit_types(segment, "input", segment.inputs, tuple(_SHORT))
    outputs = segment.model.graph.outputs
    sources = list(map(_source, outputs))
    for number, (output, source) in enumerate(zip(outputs, sources, strict=True)):
        if source.is_input or source in sources[:number]:
            is_a = "an input" if source.is_input else "another output"
            what = f"its output '{output.name}' is {is_a} as well, which pnnx cannot convert"
            yield segment.problem(what, "", "leave it out of the segment's ends")


def _unfit_types(
    segment: SegmentFile, side: str, ports: Sequence[Port], known: Sequence[str]
) -> Iterator[Problem]:
    for port in ports:
        if port.dtype not in known:
            expected = f"expected {' or '.join(known)} for ncnn"
            yield segment.problem(f"its {side} '{port.name}' is {port}", expected)
        elif not port.dims:
            yield segment.problem(f"its {side} '{port.name}' is a scalar, which ncnn lacks")


def _source(value: Value) -> Value:
    """Return the value that Identity nodes give on as `value`."""
    node = value.producer
    if node is None or node.op_type != "Identity" or node.inputs[0] is None:
        return value
    return _source(node.inputs[0])


def _runs(segment: SegmentFile) -> tuple[Ends, ...]:
    """Return the ends with sizes: once, or if some are free twice, each time with other sizes.

    Equal symbols get equal sizes, others different ones.
    """
    if all(port.shape is not None for port in segment.inputs):
        return (segment.ends,)
    return tuple(_sized(segment, number) for number in (1, 2))


def _sized(segment: SegmentFile, number: int) -> Ends:
    sizes: dict[object, int] = {}
    for port in segment.inputs:
        for axis, dim in enumerate(port.dims):
            if not isinstance(dim, int):
                is_batch = axis == 0 and len(port.dims) > 1
                size = number * (1 if is_batch else _FREE * (1 + len(sizes)))
                sizes.setdefault(dim or (port.name, axis), size)

    def with_sizes(port: Port) -> Port:
        keys = ((dim, dim or (port.name, axis)) for axis, dim in enumerate(port.dims))
        return replace(port, dims=tuple(sizes.get(key, dim) for dim, key in keys))

    inputs, outputs = (tuple(map(with_sizes, side)) for side in segment.ends)
    return inputs, outputs


def _run(
    segment: SegmentFile,
    program: Path,
    precision: str,
    runs: Sequence[Ends],
    scratch: Path,
) -> tuple[str, tuple[Path, ...]]:
    """Return what pnnx printed and made of a copy of the segment in `scratch`.

    The files are ncnn's two, and a Python program that says how tensors lie in them.
    """
    copy = scratch / "model.onnx"
    try:
        write_copy(segment.model, copy)
    except CutError as error:
        raise ConversionError(*error.problems) from error
    options = [FLAGS[precision], *_UNUSED]
    if len(runs) > 1:
        shapes = (",".join(map(_shape, inputs)) for inputs, _ in runs)
        options += [f"inputshape{n}={text}" for n, text in zip(("", "2"), shapes, strict=True)]
    made = tuple(scratch / f"model{end}" for end in (".ncnn.param", ".ncnn.bin", "_ncnn.py"))
    with fresh_files(segment, _TOOL, made):
        printed = run_program(segment, _TOOL, [str(program), copy.name, *options], scratch)
    return printed, made


def _shape(port: Port) -> str:
    return f"[{','.join(map(str, port.dims))}]{_SHORT[port.dtype]}"


def _read(segment: SegmentFile, file: Path) -> Param:
    try:
        return read_param(file.read_text("utf-8"))
    except ValueError as error:
        what = "pnnx wrote a '.param' file that ncnn cannot read"
        raise ConversionError(segment.problem(what, str(error))) from error


def _check_operators(segment: SegmentFile, param: Param, printed: str) -> None:
    """Raise ConversionError for what pnnx says that it left out."""
    counts = Counter(layer.type for layer in param.layers)
    ignored, left = (set(pattern.findall(printed)) for pattern in (_IGNORED, _LEFT))
    left_out = ignored | left & counts.keys()
    if left_out:
        # Constants that pnnx leaves are the inputs of what it left.
        names = sorted(left_out - {_BY_PRODUCT} or left_out)
        listed = ", ".join(f"{name} ({counts[name] or 1})" for name in names)
        what = f"pnnx leaves out {listed}, which it cannot convert"
        raise ConversionError(segment.problem(what, _WHOLE, _remedy(left_out)))
    if complaints := list(dict.fromkeys(_COMPLAINT.findall(printed))):
        what = f"pnnx cannot convert it and says: {first_of(complaints, 5, '; ')}"
        raise ConversionError(segment.problem(what, _WHOLE, _ELSEWHERE))


def _remedy(operators: Collection[str]) -> str:
    return _ELSEWHERE if _CHOOSES.isdisjoint(operators) else _POLICY


def _batch_axes(program: str) -> dict[str, int | None]:
    """Return the axis of the batch of each end, from the program that pnnx writes."""
    axes = {blob: int(axis) for blob, axis in _AXES.findall(program)}
    return {blob: None if axis == NO_BATCH else axis for blob, axis in axes.items()}


def _layout(segment: SegmentFile, param: Param, axes: Mapping[str, int | None]) -> Layout:
    inputs = {blob for layer in param.layers if layer.type == "Input" for blob in layer.writes}
    outputs = {blob for layer in param.layers for blob in layer.writes} - inputs
    sides = []
    for side, ports, blobs in zip(("in", "out"), segment.ends, (inputs, outputs), strict=True):
        numbered = [(port, f"{side}{number}") for number, port in enumerate(ports)]
        lacking = [port.name for port, blob in numbered if blob not in blobs or blob not in axes]
        if lacking or f"{side}{len(ports)}" in blobs:
            listed = ", ".join(map(quoted, lacking)) or "none, but others too"
            what = f"pnnx leaves out of its {side}puts: {listed}"
            raise ConversionError(segment.problem(what, _WHOLE))
        sides.append(tuple(End(p.name, p.dtype, p.dims, blob, axes[blob]) for p, blob in numbered))
    ends = Layout(*sides)
    for end in (*ends.inputs, *ends.outputs):
        most = MOST_DIMS + (end.batch_axis is not None)
        if len(end.dims) > most:
            what = f"its tensor '{end.name}' has {len(end.dims)} dims"
            raise ConversionError(segment.problem(what, f"expected at most {most} for ncnn"))
    return ends


def _check_integers(segment: SegmentFile, param: Param, ends: Layout) -> None:
    """Raise ConversionError if anything but an Embed layer reads integers."""
    integers = {end.blob: end.name for end in ends.inputs if end.dtype not in _FLOATS}
    for layer in param.layers:
        for blob in layer.reads:
            if blob in integers and layer.type not in _TAKE_INTEGERS:
                what = f"its input '{integers[blob]}' has integers, and a layer {layer.type} "
                what += "reads their bits as a float's"
                raise ConversionError(segment.problem(what, "expected integers only as indexes"))
            if blob in integers and layer.type == "Split":
                integers |= dict.fromkeys(layer.writes, integers[blob])


def _names(param: Param, ends: Layout) -> dict[str, str]:
    """Return ONNX's names for the blobs at the ends, where they can be a blob's."""
    all_ends = (*ends.inputs, *ends.outputs)
    wanted = Counter(end.name for end in all_ends)
    return {
        end.blob: end.name
        for end in all_ends
        if can_be_blob(end.name) and wanted[end.name] == 1 and end.name not in param.blobs
    }


def _try_out(segment: SegmentFile, runs: Sequence[Ends], *files: Path) -> None:
    """Raise ConversionError if ncnn cannot load or run the files."""
    ends = trial.as_argument(*runs)
    try:
        run_module(segment, "ncnn", trial.__name__, files[0].parent, "ncnn", ends, *files)
    except ConversionError as error:
        if unknown := _UNKNOWN.search(str(error)):
            what = f"ncnn has no layer for {unknown[1]}, which pnnx leaves in"
            raise ConversionError(segment.problem(what, _WHOLE, _remedy([unknown[1]]))) from error
        raise
