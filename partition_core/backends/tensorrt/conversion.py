"""Writes a segment as TensorRT's parser takes it, and the script that builds its engine.

The parser reads opsets from 9 on, operators of ONNX's own domain and no functions. Since TensorRT
10 it takes 64-bit integers as they are.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from partition_core.backends.backend import Conversion
from partition_core.backends.converter import fresh_files
from partition_core.backends.segment_file import Port, SegmentFile, read_segment
from partition_core.backends.tensorrt.sizes import Sizes, sizes_of
from partition_core.backends.whole_file import whole_pieces
from partition_core.base.errors import ConversionError, Problem
from partition_core.base.wording import first_of
from partition_core.graph.file.byte_mover import write_pieces
from partition_core.graph.walk import all_nodes

_DTYPES = ("bfloat16", "bool", "float16", "float32", "int32", "int64", "int8", "uint8")
_FLAGS: Mapping[str, str] = {"float32": "", "float16": " --fp16"}
_SEPARATES = re.compile(r"[:,'\"]")
"""What trtexec takes for the end of a name or of sizes."""
_SHAPES = ("--minShapes", "--optShapes", "--maxShapes")
_OPSETS = (9, 22)
_MOST_LISTED = 5


def converted(
    file: Path,
    folder: Path,
    names: Sequence[str],
    precision: str,
    build: tuple[Path | None, Path | None],
) -> Conversion:
    """Return the segment in `file` and its script, new in `folder`; raises ConversionError.

    `build` has the files of end2end and of the recording, needed for a segment with free sizes.
    """
    segment = read_segment(file)
    segment.refuse_dtypes("TensorRT", _DTYPES)
    ConversionError.refuse(_unfit(segment))
    segment.model.opset_imports = {"": segment.model.opset_imports[""]}
    sizes = {} if None in build or not _free(segment) else sizes_of(*filter(None, build))
    ConversionError.refuse(_unknown_sizes(segment, sizes))
    written = tuple(folder.resolve() / name for name in names)
    with fresh_files(segment, "partition-core", written) as (model, script):
        write_pieces(whole_pieces(segment), model)
        text = _script(model.name, precision, list(_shapes(_free(segment), sizes)))
        script.write_text(text, "utf-8", newline="\n")
    return Conversion(written)


def _unfit(segment: SegmentFile) -> Iterator[Problem]:
    """Yield what the parser cannot read, whatever the operators are."""
    model = segment.model
    foreign = {f"{node.domain}.{node.op_type}" for node in all_nodes(model.graph) if node.domain}
    if foreign:
        what = f"TensorRT's parser has no {first_of(sorted(foreign), _MOST_LISTED)}"
        yield segment.problem(what, "expected operators of ONNX's own domain", "cut in front of it")
    opset, (low, high) = model.opset_imports.get("", 0), _OPSETS
    if not low <= opset <= high:
        what = f"it is in opset {opset}"
        yield segment.problem(what, f"expected one from {low} to {high} for TensorRT")


def _free(segment: SegmentFile) -> list[Port]:
    return [port for port in segment.inputs if port.shape is None]


def _unknown_sizes(segment: SegmentFile, sizes: Mapping[str, Sizes]) -> Iterator[Problem]:
    for port in _free(segment):
        unknown = [str(dim) for dim in port.dims if not isinstance(dim, int) and dim not in sizes]
        if unknown:
            what = f"its input '{port.name}' is {port}, and of {first_of(unknown, _MOST_LISTED)}"
            expected = "expected free sizes that an input of the model has"
            what += " no size is known, which an engine needs"
            yield segment.problem(what, expected, "give the segment static sizes by its 'inputs'")
        if _SEPARATES.search(port.name):
            what = f"trtexec cannot be given the sizes of its input '{port.name}'"
            yield segment.problem(what, "expected a name without ':', ',' and quotes")


def _shapes(ports: Sequence[Port], sizes: Mapping[str, Sizes]) -> Iterator[str]:
    """Yield trtexec's options for the least, the usual and the largest sizes."""
    for index, option in enumerate(_SHAPES if ports else ()):
        texts = (
            "x".join(str(dim if isinstance(dim, int) else sizes[str(dim)][index]) for dim in each)
            for each in (port.dims for port in ports)
        )
        shapes = ",".join(f"{port.name}:{text}" for port, text in zip(ports, texts, strict=True))
        yield shlex.quote(f"{option}={shapes}")


def _script(model: str, precision: str, shapes: Sequence[str]) -> str:
    engine = model.removesuffix(".onnx") + ".engine"
    options = "".join(f" \\\n    {shape}" for shape in shapes)
    return f"""#!/bin/sh
# Builds the engine {engine} of {model} with TensorRT on this device; options are passed on.
# partition-core did not run it, and has not compared what the engine computes.
set -e
cd "$(dirname "$0")"
exec trtexec --onnx={model} --saveEngine={engine}{_FLAGS[precision]}{options} "$@"
"""
