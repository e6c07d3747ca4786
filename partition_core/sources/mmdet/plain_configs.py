"""Loads configs as plain values, by mmengine's own loader: that runs a config, and nothing else
of what it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from partition_core.base.errors import ExportError


def plain_config(path: Path) -> dict[str, Any]:
    """Return the config in a file, its `_base_` expanded; raises ExportError."""
    from partition_core.sources.mmdet.detector import quiet_mmdet

    with quiet_mmdet():
        from mmengine.config import Config

        try:
            config: dict[str, Any] = Config.fromfile(
                str(path), import_custom_modules=False
            ).to_dict()
        except Exception as error:  # a config is Python: reading it may raise anything
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise ExportError.at(path.name, "it cannot be read as a config", reason) from error
    return config
