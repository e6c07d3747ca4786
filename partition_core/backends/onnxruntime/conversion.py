"""Converts a segment for onnxruntime, in a process of its own: `python -m` this module.

Its arguments are the segment's file, the precision of the weights, the segment's ends, and the file
to write.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from partition_core.backends.backend import Conversion
from partition_core.backends.converter import fresh_files, run_as_program, run_module
from partition_core.backends.segment_file import read_segment
from partition_core.backends.trial import as_argument
from partition_core.backends.trial import main as try_out
from partition_core.backends.whole_file import whole_pieces
from partition_core.base.errors import ConversionError
from partition_core.base.wording import one_line
from partition_core.graph.file.byte_mover import write_pieces

_DTYPES = (
    *("bool", "float16", "float32", "float64"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
_ERRORS_ONLY = 3


def converted(file: Path, folder: Path, name: str, precision: str) -> Conversion:
    """Return the segment in `file` as the new file `name` in `folder`; raises ConversionError."""
    segment = read_segment(file)
    segment.refuse_dtypes("a target in onnxruntime", _DTYPES)
    pieces = whole_pieces(segment)
    with (
        fresh_files(segment, "onnxruntime", (folder.resolve() / name,)) as files,
        tempfile.TemporaryDirectory(dir=folder.resolve()) as scratch,
    ):
        whole = Path(scratch) / file.name
        write_pieces(pieces, whole)
        ends = as_argument(segment.ends)
        printed = run_module(
            segment, "onnxruntime", __name__, folder, whole, precision, ends, *files
        )
    return Conversion(files, printed)


def main(file: str, precision: str, ends: str, written: str) -> None:
    """Write the file, load it and run it once; raises PartitionError."""
    try:
        _WRITERS[precision](file, written)
    except Exception as error:  # onnxruntime's exceptions have no common class
        reason = one_line(error, Path(file).parent)
        raise ConversionError.at("", "onnxruntime cannot convert it", reason) from error
    try_out("onnxruntime", ends, written)


def _write_optimized(file: str, written: str) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # "All" would choose layouts for the processor that it runs on.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = written
    options.log_severity_level = _ERRORS_ONLY
    onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _write_in_float16(file: str, written: str) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(file, keep_io_types=True)
    Path(written).write_bytes(model.SerializeToString(deterministic=True))


_WRITERS: Mapping[str, Callable[[str, str], None]] = {
    "float32": _write_optimized,
    "float16": _write_in_float16,
}

if __name__ == "__main__":
    run_as_program(main)
