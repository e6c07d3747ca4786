"""Copies ONNX files with more of their tensors as outputs; must not parse the file."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from partition_core.base.disk_errors import writing
from partition_core.graph.file.wire import named, sized

# Field numbers: of ModelProto, GraphProto and ValueInfoProto.
_GRAPH, _OUTPUT, _NAME = 7, 12, 1


def with_outputs(model: Path, names: Iterable[str], target: Path) -> Path:
    """Write a copy of `model` to `target` whose inner tensors `names` are outputs as well.

    They have no type, which onnxruntime accepts. The file is copied as it is and appended to: a
    protobuf message may be written in pieces (Protocol Buffers, "Encoding": the last value of a
    scalar field wins, repeated fields and messages are merged).
    """
    outputs = b"".join(sized(_OUTPUT, named(_NAME, name)) for name in names)
    with writing(target):
        shutil.copyfile(model, target)
        with target.open("ab") as stream:
            stream.write(sized(_GRAPH, outputs))
    return target
