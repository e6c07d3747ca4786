"""The functions of mmdet whose questions have answers, beside the installed mmdet."""

from __future__ import annotations

import importlib
import inspect
import warnings
from pathlib import Path

import pytest

from partition_core.sources.mmdet.ops import provide_compiled_ops
from partition_core.sources.mmdet.questions import KNOWN_FUNCTIONS
from partition_core.trace.asker import function_digest
from partition_core.trace.questions import KnownFunction


@pytest.fixture(autouse=True)
def quiet_imports() -> None:
    """mmdet warns of its own imports."""
    warnings.simplefilter("ignore")
    provide_compiled_ops()


def _function(row: KnownFunction) -> object:
    found: object = importlib.import_module(row.module)
    for name in row.function.partition(".<locals>")[0].split("."):
        found = inspect.getattr_static(found, name)
    return inspect.unwrap(getattr(found, "__func__", found))  # type: ignore[arg-type]


@pytest.mark.parametrize("row", KNOWN_FUNCTIONS, ids=lambda row: f"{row.module}.{row.function}")
def test_the_installed_mmdet_has_each_known_function_as_it_was_read(row: KnownFunction) -> None:
    code = _function(row).__code__  # type: ignore[attr-defined]
    assert function_digest(code) == row.digest
    lines = [line.strip() for line in Path(code.co_filename).read_text().splitlines()]
    assert [line for line in row.lines if line not in lines] == []


def test_known_functions_are_of_mmdet_and_mmcv_alone_and_none_is_listed_twice() -> None:
    names = [(row.module, row.function) for row in KNOWN_FUNCTIONS]
    assert len(set(names)) == len(names)
    assert {module.partition(".")[0] for module, _ in names} == {"mmdet", "mmcv"}
