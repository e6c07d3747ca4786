"""The door between ONNX models and files: written checked, with bytes that repeat."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

from partition_core.errors import CutError, problem


def save_model(model: ir.Model, target: Path) -> None:
    """Write `model` to `target`; equal models give equal bytes.

    Raises CutError if the model is not valid ONNX (onnx.checker with shape inference).
    """
    content = ir.to_proto(model).SerializeToString(deterministic=True)
    target.write_bytes(content)
    del content
    try:
        onnx.checker.check_model(str(target), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())
        raise CutError(problem(target.name, "is not a valid ONNX model", reason)) from error
