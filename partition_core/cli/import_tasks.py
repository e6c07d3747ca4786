"""The task that makes recipes of other tools' configs: `doit import_mmdeploy`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from doit import doit_cmd

from partition_core.cli.actions import attempt, say_all
from partition_core.cli.command_line import paths_in_full

IMPORT = "import_mmdeploy"
CONFIGS = ("deploy_cfg", "model_cfg")


def task_import_mmdeploy() -> dict[str, Any]:
    """Make a recipe of an MMDeploy config: `deploy_cfg=… model_cfg=…`, and `recipe=` its name."""
    return {"actions": [_import], "verbosity": 2}


def _import() -> object:
    # Builds with nothing to do should not pay for what only this task needs.
    from partition_core.sources.mmdet.importing import import_mmdeploy

    given = paths_in_full(doit_cmd._CMDLINE_VARS or {})
    return attempt(lambda: say_all(import_mmdeploy(Path.cwd(), given)))
