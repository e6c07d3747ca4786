"""The task that converts other tools' configs to recipes: `doit import_mmdeploy`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from doit import doit_cmd

from partition_core.cli.actions import attempt, say_all
from partition_core.cli.command_line import paths_in_full


def task_import_mmdeploy() -> dict[str, Any]:
    """Convert an MMDeploy config to a recipe: `deploy_cfg=… model_cfg=… recipe=<its name>`."""
    return {"actions": [_import], "verbosity": 2}


def _import() -> object:
    # Imported here so that no-op builds do not pay for it.
    from partition_core.sources.mmdet.importing import import_mmdeploy

    variables = paths_in_full(doit_cmd._CMDLINE_VARS or {})
    return attempt(lambda: say_all(import_mmdeploy(Path.cwd(), variables)))
