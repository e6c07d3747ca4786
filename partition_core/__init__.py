"""Cut PyTorch models into proven ONNX pieces, from a YAML recipe."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partition_core.decorator import mark

__all__ = ["mark"]


def __getattr__(name: str) -> Any:
    # A build with nothing to do imports the package and needs no decorator.
    if name == "mark":
        from partition_core.decorator import mark

        return mark
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
