"""Converts a segment to OpenVINO's IR, in a process of its own: `python -m` this module.

Its arguments are the segment's file, that of the IR, the precision of the weights, and the
segment's ends. OpenVINO numbers what it makes: a second model in one process has other names.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from partition_core.backends.backend import Conversion
from partition_core.backends.converter import fresh_files, run_as_program, run_module
from partition_core.backends.openvino.backend import DTYPES
from partition_core.backends.segment_file import read_segment
from partition_core.backends.trial import ends_of
from partition_core.backends.trial import main as try_out
from partition_core.base.errors import ConversionError

_CHECK = re.compile(r"Check '.*?' failed at \S+:\s*")


def converted(file: Path, folder: Path, precision: str) -> Conversion:
    """Return the IR of the segment in `file`, as new files in `folder`; raises ConversionError."""
    segment = read_segment(file)
    segment.refuse_dtypes("OpenVINO", DTYPES)
    xml = folder.resolve() / f"{file.stem}.xml"
    with fresh_files(segment, "OpenVINO", (xml, xml.with_suffix(".bin"))) as files:
        arguments = (file.resolve(), xml, precision, ends_of(*segment.ends))
        printed = run_module(segment, "OpenVINO", __name__, folder, *arguments)
    return Conversion(files, printed)


def main(file: str, xml: str, precision: str, ends: str) -> None:
    """Write the IR, load it and run it once; raises PartitionError."""
    from partition_core.backends.openvino.session import names_of
    from partition_core.backends.openvino.unreported import openvino

    try:
        model = openvino.Core().read_model(file)
    except Exception as error:  # openvino's exceptions have no common class
        reason = " ".join(_CHECK.sub("", str(error)).split())
        raise ConversionError.at("OpenVINO", "cannot read the segment", reason) from error
    expected = tuple([name for name, *_ in side] for side in json.loads(ends))
    if names_of(model) != expected:
        what = f"its model's ends are {names_of(model)}"
        raise ConversionError.at("OpenVINO", what, f"expected {expected}")
    openvino.save_model(model, xml, compress_to_fp16=precision == "float16")
    try_out("openvino", ends, xml, str(Path(xml).with_suffix(".bin")))


if __name__ == "__main__":
    run_as_program(main)
