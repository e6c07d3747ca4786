"""The kinds of work whose results are kept, and the modules of ours that each starts from."""

from __future__ import annotations

from collections.abc import Mapping

from partition_core.build.own_code import MEASURING, READING, work_of
from partition_core.build.steps import STEPS
from partition_core.recipe.model_source import SOURCES

EXPORTS = {
    f"export {source}": (work_of("export"), f"sources.{source}.source") for source in SOURCES
}
KINDS: Mapping[str, tuple[str, ...]] = {
    **EXPORTS,
    **{row.kind: (work_of(row.kind),) for row in STEPS if row.kind != "export"},
    "measure": (MEASURING,),
    "read": (READING,),
}
