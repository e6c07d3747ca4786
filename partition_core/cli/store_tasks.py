"""The tasks that maintain the store: `doit store`, `verify`, `prune` and `origin`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.base.errors import BuildError
from partition_core.base.progress import shown
from partition_core.base.wording import bytes_in
from partition_core.cli.actions import attempt, say_all

if TYPE_CHECKING:
    from partition_core.build.project import Project

Task = dict[str, Any]


def task_store() -> Task:
    """List the store's results, their sizes, and which of them build folders use."""

    task = _task(
        lambda upkeep, project, forget: (
            upkeep.forget(project, forget) if forget else upkeep.show(project)
        )
    )
    return {**task, "params": _STORE_PARAMS}


def task_verify() -> Task:
    """Read everything in the store and report damage."""
    return _task(lambda upkeep, project: upkeep.verify(project, _progress))


def task_prune() -> Task:
    """Remove results that no build folder uses from the store; cheapest to rebuild first."""

    task = _task(
        lambda upkeep, project, days, down_to, dry_run: upkeep.prune(
            project, days, bytes_in(down_to) if down_to else None, dry_run
        )
    )
    return {**task, "params": _PRUNE_PARAMS}


def task_origin() -> Task:
    """Show which recipe and inputs made .onnx files: `doit origin build/yolov3/yolov3.onnx`."""

    def lines(upkeep: Any, project: Project, files: list[str]) -> Iterator[str]:
        if not files:
            expected = "expected one or more, such as `doit origin build/yolov3/yolov3.onnx`"
            raise BuildError.at("doit origin", "no file is given", expected)
        for name in files:
            yield from upkeep.origin(project, Path(name))

    return {**_task(lines), "pos_arg": "files"}


_STORE_PARAMS = [
    {
        "name": "forget",
        "long": "forget",
        "type": str,
        "default": "",
        "help": "remove the results of this recipe, or those whose keys start with this",
    },
]

_PRUNE_PARAMS = [
    {
        "name": "days",
        "long": "unused-for",
        "type": float,
        "default": None,
        "help": "keep what was used in the last DAYS days",
    },
    {
        "name": "down_to",
        "long": "down-to",
        "type": str,
        "default": "",
        "help": "stop when the results take up at most this, such as 20GB",
    },
    {
        "name": "dry_run",
        "long": "dry-run",
        "type": bool,
        "default": False,
        "help": "show what would be removed; change nothing",
    },
]


def _task(lines: Callable[..., Iterable[str]]) -> Task:
    def action(**options: Any) -> Any:
        # Imported here so that no-op builds do not pay for them.
        from partition_core.build import store_commands as upkeep
        from partition_core.build.project import Project

        return attempt(lambda: say_all(lines(upkeep, Project.at(Path.cwd()), **options)))

    return {"actions": [action], "verbosity": 2}


def _progress(paths: Iterable[Path]) -> Any:
    return shown("verify", sum(path.stat().st_size for path in paths))
