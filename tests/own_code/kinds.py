"""The kinds of work whose results are kept, and the modules of ours that each starts from."""

from __future__ import annotations

from collections.abc import Mapping

from partition_core.backends.backend import backend_module
from partition_core.build.own_code import MEASURING, READING, work_of
from partition_core.build.steps import STEPS
from partition_core.recipe.model_source import SOURCES
from partition_core.recipe.target import PRECISIONS

EXPORTS = {
    f"export {source}": (work_of("export"), f"sources.{source}.source") for source in SOURCES
}
ON_TARGETS = {
    f"{row.kind} {name}": (work_of(row.kind), backend_module(name))
    for row in STEPS
    if row.per == "target"
    for name in PRECISIONS
}
_OTHERS = [row for row in STEPS if row.kind != "export" and row.per != "target"]
KINDS: Mapping[str, tuple[str, ...]] = {
    **EXPORTS,
    **{row.kind: (work_of(row.kind),) for row in _OTHERS},
    **ON_TARGETS,
    "measure": (MEASURING,),
    "read": (READING,),
}
