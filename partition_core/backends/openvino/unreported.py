"""Imports openvino without its telemetry, which would report each import to its makers."""

from __future__ import annotations

import sys
from typing import Any

_TELEMETRY = "openvino_telemetry"

_modules: dict[str, Any] = sys.modules
_before = _modules.get(_TELEMETRY)
_modules[_TELEMETRY] = None  # Python then does as if it were not installed, and so does openvino
try:
    import openvino
finally:
    del _modules[_TELEMETRY]
    if _before is not None:
        _modules[_TELEMETRY] = _before

__all__ = ("openvino",)
