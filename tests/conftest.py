"""What holds for all tests: what they cost, and which of them share a process.

The time that an example takes never decides a test.
"""

from __future__ import annotations

import compileall
import contextlib
import copy
import functools
import gc
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.forked_python import match_sooner
from tests.forks import forking
from tests.groups import ByFixture
from tests.native import native_code_in_this_process
from tests.needs import COSTLY, ROOT, has_quick, is_quick, needs
from tests.once import Once

# Each core has a process of tests already. Also for the builds that they start, and for those that
# they fork: sums of another number of threads have other bits.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="module")
def native_code_here() -> Iterator[None]:
    """Let what a build runs in forks run in this process: a fork of it takes ten times as long.

    For modules of many cuts. What forks are for is tested in `tests/unit/test_child_process.py`.
    """
    with native_code_in_this_process():
        yield


@pytest.fixture(scope="session")
def one_registry() -> Iterator[None]:
    """Let torch.onnx read the sources of its translations once, not for each model: 1 s of 1.2.

    And let it optimize what it translated in half of the time.
    """
    match_sooner()
    registries: Any = importlib.import_module("torch.onnx._internal.exporter._registration")
    read = functools.cache(registries.ONNXRegistry.from_torchlib)

    def from_torchlib(*opset: int, **named: int) -> Any:
        known = read(*opset, **named)
        made = copy.copy(known)
        made.functions = {target: list(found) for target, found in known.functions.items()}
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registries.ONNXRegistry, "from_torchlib", staticmethod(from_torchlib))
        yield


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Return what makes a folder once for all processes of this run."""
    base = tmp_path_factory.getbasetemp()
    return Once(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out, before they import torch, the modules and folders that hold no quick test."""
    if config.getoption("markexpr") != "quick":
        return None
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    if collection_path.parent == ROOT / "tests" and collection_path.is_dir():
        return not has_quick(collection_path) or None
    return (is_test and not is_quick(collection_path)) or None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by what its module needs; the costly ones begin first."""
    for item in items:
        for need in needs(item.path):
            item.add_marker(need)
        others = [mark for mark in ("thorough", "costly") if item.get_closest_marker(mark)]
        if is_quick(item.path) and not others:
            item.add_marker("quick")
    items.sort(key=lambda item: -COSTLY.get(item.path.relative_to(ROOT).as_posix(), 0))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFixture | None:
    """Let tests that share a fixture run in one process, unless another `--dist` is asked for."""
    return ByFixture(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_configure(config: pytest.Config) -> None:
    """Compile our code for the processes that tests start, and have the one that they fork."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(ROOT / "partition_core", quiet=1)
        process = contextlib.ExitStack()
        process.enter_context(forking())
        config.add_cleanup(process.close)


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass over what was imported."""
    gc.collect()
    gc.freeze()
