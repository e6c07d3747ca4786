"""Builds that are interrupted, killed or started twice: nothing is lost, half done or done twice.

The instants are lines that doit prints, so that nothing depends on time.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.projects import RECIPE, TINY, Scratch, steps

from .leftovers import remains

thorough = pytest.mark.thorough
RUN, TRANSLATE, CUT = "run it in PyTorch …", "translate it to ONNX …", "cut tail.onnx …"


def stopped(project: Scratch, line: str, how: signal.Signals, *arguments: str) -> tuple[int, str]:
    """Start a build, send a signal to its group when it has said `line`; return code and output."""
    process = project.start(*arguments)
    assert process.stdout is not None
    said = []
    for said_line in process.stdout:
        said.append(said_line)
        if line in said_line:
            os.killpg(process.pid, how)
            break
    rest, _ = process.communicate(timeout=60)
    return process.returncode, "".join(said) + rest


def processes(session: int) -> list[str]:
    """Return the processes of a session, of which each build that is started has its own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(of) == session and state not in "ZX":
            found.append(folder.name)
    return found


@pytest.fixture(scope="module")
def expected(tiny_store: Path) -> dict[str, bytes]:
    """Return the artifacts of a build that nobody interrupted."""
    folder = tiny_store.parent / "project" / "build" / "tiny"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("how", "lines"),
    [
        (signal.SIGINT, [RUN, CUT]),
        pytest.param(signal.SIGTERM, [TRANSLATE], marks=thorough),
        pytest.param(signal.SIGKILL, [RUN, TRANSLATE, CUT], marks=thorough),
    ],
)
def test_an_interrupted_build_goes_on_where_it_was(
    torch_fresh: Scratch, expected: dict[str, bytes], how: signal.Signals, lines: list[str]
) -> None:
    for line in lines:
        code, output = stopped(torch_fresh, line, how, "build")
        assert code != 0
        assert "Traceback" not in output
        assert not (torch_fresh.folder / "build" / "tiny").exists()
        if how != signal.SIGKILL:
            assert remains(torch_fresh.folder, torch_fresh.store) == []
    output = torch_fresh.built()
    assert ("export" in steps(output)) == (CUT not in lines)  # it was finished by then
    assert torch_fresh.artifacts() == expected
    assert remains(torch_fresh.folder, torch_fresh.store) == []


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "terminated"),
        (signal.SIGHUP, "the terminal was closed"),
    ],
)
def test_an_ended_build_says_so_in_one_line(
    torch_fresh: Scratch, how: signal.Signals, told: str
) -> None:
    code, output = stopped(torch_fresh, "build the model …", how, "build")
    assert code == 128 + how
    lines = [line for line in output.splitlines() if "export: build" not in line]
    assert lines == [f"WARNING: {told}; finished work is kept"]


SWALLOWING = """

class Careless:
    def __del__(self):
        wait("finalizer")


def wait(where):
    import time
    print(where, flush=True)
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            pass


def in_a_finalizer():
    Careless()


def in_an_except():
    wait("except")


def in_a_library():
    import ctypes
    print("library", flush=True)
    ctypes.CDLL(None).sleep(30)
"""


@pytest.mark.parametrize("place", ["finalizer", "except", "library"])
@pytest.mark.parametrize(
    ("how", "parallel"),
    [
        (signal.SIGINT, ()),
        (signal.SIGTERM, ("-n", "2")),
        pytest.param(signal.SIGINT, ("-n", "2"), marks=thorough),
        pytest.param(signal.SIGTERM, (), marks=thorough),
    ],
)
def test_a_signal_ends_a_build_wherever_it_comes(
    torch_fresh: Scratch, place: str, how: signal.Signals, parallel: tuple[str, ...]
) -> None:
    article = "an" if place == "except" else "a"
    torch_fresh.write("tiny.py", TINY + SWALLOWING)
    torch_fresh.edit("recipes/tiny.yaml", "tiny:build", f"tiny:in_{article}_{place}")
    torch_fresh.edit("recipes/tiny.yaml", "  args: {width: 8}\n", "")
    process = torch_fresh.start(*parallel, "build")
    assert process.stdout is not None
    while place not in process.stdout.readline():
        pass
    os.kill(process.pid, how)  # not the group: its workers are told by it
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 128 + how
    assert len(output.splitlines()) == 1
    assert output.endswith("; finished work is kept\n")
    assert remains(torch_fresh.folder, torch_fresh.store) == []


def test_a_signal_that_is_ignored_stays_ignored(torch_fresh: Scratch) -> None:
    dodo = (torch_fresh.folder / "dodo.py").read_text()
    torch_fresh.write("dodo.py", dodo + "\nprint('ready', flush=True)\ninput()\n")
    process = subprocess.Popen(
        ["bash", "-c", 'trap "" INT; exec "$@"', "bash", *torch_fresh.command("list")],
        cwd=torch_fresh.folder,
        env=torch_fresh.variables(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate("go on\n", timeout=60)
    assert process.returncode == 0
    assert "build" in output
    assert "interrupted" not in output


@pytest.mark.parametrize("how", [pytest.param(signal.SIGTERM, marks=thorough), signal.SIGKILL])
def test_no_worker_outlives_a_build_that_is_killed(
    torch_fresh: Scratch, how: signal.Signals
) -> None:
    torch_fresh.write("recipes/other.yaml", RECIPE.replace("seed: 0", "seed: 1"))
    process = torch_fresh.start("-n", "2", "build")
    assert process.stdout is not None
    while "run it in PyTorch …" not in process.stdout.readline():
        pass
    assert len(processes(process.pid)) == 3
    os.kill(process.pid, how)  # not the group: its workers must notice
    process.communicate(timeout=60)  # ends when no process holds the pipe
    assert processes(process.pid) == []


COUNTING = (
    TINY
    + """

def counted(width=8):
    from pathlib import Path

    with Path(__file__).with_name("count").open("a") as file:
        file.write("built\\n")
    return Tiny(width)
"""
)


@pytest.mark.parametrize("folders", [pytest.param(1, marks=thorough), 2])
def test_two_builds_of_one_recipe_at_once_export_it_once(tmp_path: Path, folders: int) -> None:
    projects = [Scratch(tmp_path / f"{i}", tmp_path / "store") for i in range(folders)]
    for project in projects:
        project.write("tiny.py", COUNTING)
        project.edit("recipes/tiny.yaml", "tiny:build", "tiny:counted")
    pair = (projects * 2)[:2]
    builds = [project.start("build") for project in pair]
    outputs = [build.communicate(timeout=120)[0] for build in builds]
    assert [build.returncode for build in builds] == [0, 0], outputs
    counts = [project.folder / "count" for project in projects]
    assert sum(len(count.read_text().split()) for count in counts if count.exists()) == 1
    assert sorted(len(steps(output)) for output in outputs)[-1] >= 1
    assert "".join(outputs).count("cut body.onnx …") == 1
    assert pair[0].artifacts() == pair[1].artifacts()
    assert remains(tmp_path) == []


def test_an_input_that_changes_during_a_step_is_told_and_nothing_is_kept(
    torch_fresh: Scratch,
) -> None:
    torch_fresh.write(
        "tiny.py", TINY.replace("def build(width=8):", "def build(width=8):\n    touch()")
    )
    with (torch_fresh.folder / "tiny.py").open("a") as file:
        file.write(
            "\n\ndef touch():\n    from pathlib import Path\n\n"
            "    with Path(__file__).open('a') as file:\n        file.write('# changed\\n')\n"
        )
    run = torch_fresh.doit("build")
    assert run.returncode != 0
    (told,) = [line for line in run.stdout.splitlines() if line.startswith("ERROR")]
    assert told.startswith("ERROR: recipes/tiny.yaml: export: while it ran, code tiny.py")
    assert told.endswith("belongs to neither state and is discarded; build again")
    assert not (torch_fresh.folder / "build" / "tiny").exists()
    assert not list((torch_fresh.store / "v1").glob("ac/*/*"))
