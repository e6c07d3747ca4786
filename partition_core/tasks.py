"""What a project's `dodo.py` imports: the tasks that doit runs; `cli` makes them."""

from __future__ import annotations

from partition_core.cli.build_tasks import *  # noqa: F403  # reason: doit takes them from here
from partition_core.cli.build_tasks import __all__  # noqa: F401  # reason: for its star import
