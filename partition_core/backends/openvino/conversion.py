"""Converts a segment to OpenVINO's IR, in a process of its own: `python -m` this module.

Its arguments are the segment's file, the precision of the weights, the segment's ends, and the
IR's two files. OpenVINO numbers what it makes: a second model in one process has other names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from partition_core.backends.backend import Conversion
from partition_core.backends.converter import fresh_files, run_as_program, run_module
from partition_core.backends.openvino.backend import DTYPES
from partition_core.backends.segment_file import read_segment
from partition_core.backends.trial import as_argument
from partition_core.backends.trial import main as try_out
from partition_core.base.errors import ConversionError
from partition_core.base.wording import one_line

_UNKNOWN = re.compile(r"No conversion rule found for operations: (.+)")
_AROUND = re.compile(r"Check '.*?' failed at \S+:|Exception from \S+:")


def converted(file: Path, folder: Path, names: Sequence[str], precision: str) -> Conversion:
    """Return the IR of the segment in `file`, new files in `folder`; raises ConversionError."""
    segment = read_segment(file)
    segment.refuse_dtypes("OpenVINO", DTYPES)
    written = tuple(folder.resolve() / name for name in names)
    with fresh_files(segment, "OpenVINO", written) as files:
        ends = as_argument(segment.ends)
        arguments = (str(file.resolve()), precision, ends, *map(str, files))
        printed = run_module(segment, "OpenVINO", __name__, folder, *arguments)
    return Conversion(files, printed)


def main(file: str, precision: str, ends: str, xml: str, weights: str) -> None:
    """Write the IR, load it and run it once; raises PartitionError."""
    from partition_core.backends.openvino.deform_conv import reader
    from partition_core.backends.openvino.session import names_of
    from partition_core.backends.openvino.unreported import openvino

    try:
        model = reader().read_model(file)
    except Exception as error:  # openvino's exceptions have no common class
        raise _unreadable(str(error)) from error
    (sides,) = json.loads(ends)
    expected = tuple([name for name, *_ in side] for side in sides)
    if names_of(model) != expected:
        what = f"OpenVINO's ends are {names_of(model)}"
        raise ConversionError.at("", what, f"expected {expected}")
    openvino.save_model(model, xml, compress_to_fp16=precision == "float16")
    try_out("openvino", ends, xml, weights)


def _unreadable(reason: str) -> ConversionError:
    if unknown := _UNKNOWN.search(reason):
        what = f"OpenVINO cannot convert {unknown[1].strip()}"
        expected = "expected a segment that it runs as a whole"
        return ConversionError.at("", what, expected, "cut in front of it")
    return ConversionError.at("", "OpenVINO cannot read it", one_line(_AROUND.sub("", reason)))


if __name__ == "__main__":
    run_as_program(main)
