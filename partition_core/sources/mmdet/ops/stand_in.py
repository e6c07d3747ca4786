"""Stand-ins for mmcv's compiled operators, for a process or during a trace.

mmcv loads all of them from one module, `mmcv._ext`. If it is missing (mmcv-lite) a stand-in
replaces it, for PyTorch too; during a trace `traceable_ops` also replaces a compiled one.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator
from typing import Any

from partition_core.sources.mmdet.ops.nms import traceable_batched_nms
from partition_core.sources.mmdet.ops.table import FUNCTIONS, REPLACEMENTS
from partition_core.trace.replaced import all_replaced, replaced


def provide_compiled_ops() -> None:
    """Make mmcv's operators work without a compiled module, for this process."""
    if "mmcv._ext" not in sys.modules:
        if importlib.util.find_spec("mmcv._ext") is not None:
            return
        stand_in = _Ops("mmcv._ext", None)
        stand_in.__spec__ = importlib.machinery.ModuleSpec("mmcv._ext", None)
        sys.modules["mmcv._ext"] = stand_in
        for row in REPLACEMENTS:
            if row.in_pytorch:
                setattr(row.target(), row.attribute, row.value)


@contextlib.contextmanager
def traceable_ops() -> Iterator[None]:
    """Let every function of `mmcv.ops` call the custom ops, even with a compiled mmcv."""
    importlib.import_module("mmcv.ops")
    with contextlib.ExitStack() as undo:
        for name, module in sorted(sys.modules.items()):
            if name.startswith("mmcv.ops.") and hasattr(module, "ext_module"):
                undo.enter_context(replaced(module, "ext_module", _Ops(name, module.ext_module)))
        undo.enter_context(all_replaced(REPLACEMENTS))
        undo.enter_context(traceable_batched_nms())
        yield


class _Ops(types.ModuleType):
    """A module whose functions are the custom ops, or else those of `compiled`."""

    def __init__(self, name: str, compiled: Any) -> None:
        super().__init__(name)
        self._compiled = compiled

    def __getattr__(self, name: str) -> Any:
        if name in FUNCTIONS:
            return FUNCTIONS[name]
        if name.startswith("__"):
            raise AttributeError(name)
        if self._compiled is not None:
            return getattr(self._compiled, name)
        return _Absent(name)


class _Absent:
    """Stands for a compiled function without a stand-in; only a call is an error."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        raise NotImplementedError(
            f"mmcv's compiled operator '{self._name}' is not available: "
            "this mmcv has no compiled operators, and partition-core has no stand-in for it"
        )
