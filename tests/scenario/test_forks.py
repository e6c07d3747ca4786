"""Builds in forks of a Python that has imported much, as most tests run them, are a user's."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.projects import FileScratch, Scratch, copied

Pair = tuple[tuple[Scratch, str], tuple[Scratch, str]]


@pytest.fixture(scope="module", params=[(Scratch, "tiny_store"), (FileScratch, "file_store")])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A project that was built in a fork, and one as a user does; with what was said.

    They are in different folders, and the hash seeds of the two processes differ.
    """
    kind, store = request.param
    made: Path = request.getfixturevalue(store).parent
    folder = tmp_path_factory.mktemp("project")
    forked = kind(folder / "project", copied(made / "store", folder / "store"))
    shutil.copytree(made / "project" / "build", forked.folder / "build")
    folder = tmp_path_factory.mktemp("elsewhere")
    users = kind(folder / "project", folder / "store")
    users.environment["PYTHONHASHSEED"] = "2"
    return (forked, (made / "said").read_text()), (users, users.built())


def test_what_is_built_is_the_same_but_for_packages_that_libraries_import_late(pair: Pair) -> None:
    (forked, _), (users, _) = pair
    files, expected = forked.artifacts(), users.artifacts()
    manifest, other = (json.loads(one.pop("manifest.json")) for one in (files, expected))
    assert files == expected
    entries, others = (_take_export(one) for one in (manifest, other))
    assert json.dumps(manifest) == json.dumps(other)  # in the same order too
    assert [entry for entry in others if entry in entries] == entries
    left_out = [name for name, *_ in others if name not in dict(entries)]
    assert all(name.startswith("package ") for name in left_out)
    paths = [str(one.folder.parent).encode() for one in (forked, users)]
    assert not any(path in text for text in users.artifacts().values() for path in paths)


def _take_export(manifest: dict[str, Any]) -> list[list[str]]:
    export = manifest["fingerprints"]["export"]
    del export["key"]
    entries: list[list[str]] = export.pop("entries")
    return entries


def test_what_is_said_is_the_same_but_for_times(pair: Pair) -> None:
    (_, said), (_, expected) = (
        (one, [line.rpartition(": ")[0] for line in text.splitlines()]) for one, text in pair
    )
    assert said == expected


@pytest.mark.parametrize("arguments", [["build"], ["list"], ["no_such"], ["origin", "model=no"]])
def test_a_command_says_the_same_and_ends_with_the_same_status(
    pair: Pair, arguments: list[str]
) -> None:
    (forked, _), (users, _) = pair
    ended, expected = forked.doit(*arguments), users.doit(*arguments)
    assert (ended.returncode, ended.stdout) == (expected.returncode, expected.stdout)
    assert expected.stdout


def test_what_is_started_leads_a_group_and_ends_by_the_signals_that_it_gets(
    scratch: FileScratch,
) -> None:
    (scratch.folder / "dodo.py").write_text("print('ready', flush=True)\nimport signal\n")
    with (scratch.folder / "dodo.py").open("a") as file:
        file.write("print(signal.getsignal(signal.SIGINT), flush=True)\nsignal.pause()\n")
    said = []
    for kind in (True, False):
        scratch.is_forked = kind
        with scratch.start("list") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            said.append(re.sub("0x.*", "", process.stdout.readline()))
            assert process.poll() is None
            assert os.getpgid(process.pid) == os.getsid(process.pid) == process.pid
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0)
            os.killpg(process.pid, signal.SIGKILL)
            os.killpg(process.pid, signal.SIGKILL)  # it is there until its end was heard of
            assert process.communicate(timeout=60)[0] == ""
            assert process.poll() == process.returncode == -signal.SIGKILL
    assert said[0] == said[1]


def test_python_is_customized_as_when_it_starts(scratch: FileScratch, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; print('torch' in sys.modules)")
    scratch.environment["PYTHONPATH"] = f"{tmp_path}:{scratch.package_root}"
    assert scratch.doit("list").stdout.startswith("False\nbuild ")
