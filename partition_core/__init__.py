"""Cut PyTorch models into proven ONNX pieces, from a YAML recipe."""

from partition_core.decorator import mark

__all__ = ["mark"]
