"""Types of tensors as onnxruntime infers them, which knows operators that onnx does not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from partition_core.base.child_process import DiedError, RaisedError, run_in_child

_TENSOR = re.compile(r"tensor\((\w+)\)")
_NAMES = {"float": "float32", "double": "float64"}
_SECONDS = 600


def output_types(content: bytes) -> Mapping[str, tuple[str, tuple[int | str | None, ...]]]:
    """Return the dtype and dims of each output of an ONNX file that is a tensor, by name.

    Dims are empty for a scalar and for an unknown rank, and None where they are not known. Nothing
    is returned for a file that onnxruntime cannot load. Nothing is run.
    """

    def inferred() -> bytes:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return json.dumps(
            [(value.name, value.type, value.shape) for value in session.get_outputs()]
        ).encode()

    try:
        answer = run_in_child(inferred, _SECONDS)
    except (RaisedError, DiedError):
        return {}
    found = {}
    for name, kind, dims in json.loads(answer):
        if match := _TENSOR.fullmatch(kind):
            found[name] = (_NAMES.get(match[1], match[1]), tuple(dims))
    return found
