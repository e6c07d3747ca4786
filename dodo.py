"""Build every recipe of this folder with doit: `doit build recipe=yolov3`."""

from partition_core.tasks import *  # noqa: F403  # reason: doit takes the tasks from this module
