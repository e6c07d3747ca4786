"""What a project's `dodo.py` imports: the tasks that doit runs; `cli` creates them."""

from __future__ import annotations

from partition_core.base.signals import end_workers_with_parent, handle_signals, is_run_by_doit

if is_run_by_doit():  # before the other imports, so that they can be interrupted
    handle_signals()

from partition_core.cli.builds import DOIT_CONFIG
from partition_core.cli.commands import task_creators

_TASKS = task_creators()
# doit finds tasks by the names that a project's dodo.py imports.
globals().update(_TASKS)
__all__ = ["DOIT_CONFIG"]
__all__ += list(_TASKS)

end_workers_with_parent()
