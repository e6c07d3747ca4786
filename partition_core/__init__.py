"""Cut PyTorch models into proven ONNX pieces, from a YAML recipe."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partition_core.backends.onnxruntime.backend import OnnxRuntime
    from partition_core.base.errors import PartitionError, RunError
    from partition_core.graph.files import cut_between
    from partition_core.recipe.reader import read_recipe
    from partition_core.runtime.calibration import CalibrationReader
    from partition_core.runtime.pipeline import Pipeline
    from partition_core.trace.decorator import mark

__all__ = [
    "CalibrationReader",
    "OnnxRuntime",
    "PartitionError",
    "Pipeline",
    "RunError",
    "__version__",
    "cut_between",
    "mark",
    "read_recipe",
]

# A literal, which pyproject.toml reads without importing: asking the metadata takes milliseconds.
__version__ = "0.1.0"

_HOMES = {
    "CalibrationReader": "runtime.calibration",
    "OnnxRuntime": "backends.onnxruntime.backend",
    "PartitionError": "base.errors",
    "Pipeline": "runtime.pipeline",
    "RunError": "base.errors",
    "cut_between": "graph.files",
    "mark": "trace.decorator",
    "read_recipe": "recipe.reader",
}


def __getattr__(name: str) -> Any:
    # A build with nothing to do imports the package and needs none of them.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
