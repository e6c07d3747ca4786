"""Cut PyTorch models into proven ONNX pieces, from a YAML recipe."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partition_core.decorator import mark
    from partition_core.errors import PartitionError, RunError
    from partition_core.running.calibration import CalibrationReader
    from partition_core.running.onnx_runtime import OnnxRuntime
    from partition_core.running.pipeline import Pipeline

__all__ = ["CalibrationReader", "OnnxRuntime", "PartitionError", "Pipeline", "RunError", "mark"]

_HOMES = {
    "CalibrationReader": "running.calibration",
    "OnnxRuntime": "running.onnx_runtime",
    "PartitionError": "errors",
    "Pipeline": "running.pipeline",
    "RunError": "errors",
    "mark": "decorator",
}


def __getattr__(name: str) -> Any:
    # A build with nothing to do imports the package and needs none of them.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
