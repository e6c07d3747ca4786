"""Build every recipe of this folder with doit: `doit build recipe=yolov3`."""

from partition_core.tasks import (
    DOIT_CONFIG,
    task_build,
    task_cut,
    task_export,
    task_prove,
    task_pull,
    task_push,
)

__all__ = [
    "DOIT_CONFIG",
    "task_build",
    "task_cut",
    "task_export",
    "task_prove",
    "task_pull",
    "task_push",
]
