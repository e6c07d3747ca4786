"""What a person at a terminal sees: seconds that pass, a table at the end; and the completion."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from partition_core.base.wording import columns
from tests.projects import Scratch

PROOF = "tiny: proven on 2 inputs: the segments in a chain equal end2end bit for bit"


ARTIFACTS = {
    "build:tiny",
    *(f"build:tiny:{name}" for name in ("end2end.onnx", "body.onnx", "tail.onnx", "manifest.json")),
}


def at_terminal(project: Scratch, *arguments: str) -> str:
    """Return everything that doit writes to a terminal, which must end well."""
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        project.command(*arguments),
        cwd=project.folder,
        env={**project.variables(), "TERM": "xterm", "COLUMNS": "120"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = bytearray()
    try:
        while some := os.read(ours, 4096):
            written += some
    except OSError:  # how Linux tells that the other end is closed
        pass
    os.close(ours)
    text = written.decode()
    assert run.wait(timeout=60) == 0, text
    return text


def seen(text: str) -> list[str]:
    """Return the lines that stay on the screen."""
    return [line.split("\r")[-1] for line in text.removesuffix("\r\n").split("\r\n")]


def test_a_build_ends_in_a_table_and_the_proof(scratch: Scratch) -> None:
    *_, heading, first, second, third, manifest, proof = seen(at_terminal(scratch, "build"))
    assert heading.split() == ["artifact", "size", "obtained", "seconds"]
    rows = [re.split(r"  +", row) for row in (first, second, third, manifest)]
    assert [row[:3] for row in rows[:3]] == [
        ["build/tiny/end2end.onnx", "6.1 kB", "restored from the store"],
        ["build/tiny/body.onnx", "4.2 kB", "restored from the store"],
        ["build/tiny/tail.onnx", "516 B", "restored from the store"],
    ]
    assert rows[3][0] == "build/tiny/manifest.json" and rows[3][2] == "written"
    assert all(re.fullmatch(r"\d+\.\d", row[3]) for row in rows)
    ends = {
        row.index(cell) + len(cell)
        for row, cell in zip(
            (heading, first, second, third), ("size", "kB", "kB", " B"), strict=True
        )
    }
    assert len(ends) == 1  # sizes end below each other
    assert proof.startswith(PROOF)

    (scratch.folder / "build" / "tiny" / "tail.onnx").unlink()
    _, first, second, third, _, _ = seen(at_terminal(scratch, "build"))
    assert re.split(r"  +", first) == ["build/tiny/end2end.onnx", "6.1 kB", "up to date"]
    assert re.split(r"  +", second) == ["build/tiny/body.onnx", "4.2 kB", "up to date"]
    assert re.split(r"  +", third)[:3] == [
        "build/tiny/tail.onnx",
        "516 B",
        "restored from the store",
    ]
    assert seen(at_terminal(scratch, "build")) == ["tiny: up to date (4 artifacts in build/tiny)"]


def test_a_long_step_shows_its_seconds_in_a_line_that_goes_away(scratch: Scratch) -> None:
    scratch.edit("recipes/tiny.yaml", "'decode:input']}\n", "'decode:input.small']}\n")
    text = at_terminal(scratch, "build")
    assert re.search(r"\rtiny: prove … \d+ s", text)
    lines = seen(text)
    assert [line.rsplit(": ", 1)[0] for line in lines[:2]] == ["tiny: cut body.onnx", "tiny: prove"]
    assert not any("…" in line for line in lines)
    assert re.split(r"  +", lines[4])[2] == "built"


def test_a_pipe_and_a_file_get_plain_lines(scratch: Scratch) -> None:
    output = scratch.built()
    assert "artifact " not in output and "\r" not in output
    scratch.built("build:tiny:body.onnx")
    scratch.built("clean", "build")
    at_terminal(scratch, "run", "-o", "log.txt", "build")
    assert (
        "build/tiny/tail.onnx: restored from the store, 516 B\n"
        in (scratch.folder / "log.txt").read_text()
    )


def test_columns_are_below_each_other() -> None:
    rows = [("a", "1"), ("long", "100"), ("", "")]
    assert list(columns(rows, frozenset({1}))) == ["a       1", "long  100", ""]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["doit", "bu"], {"build"}),
        (["doit", "clean", "build:ti"], ARTIFACTS),
        (["doit", "build:ti"], ARTIFACTS),
        (["doit", "cal"], {"calibrate"}),
        (["doit", "in"], {"info"}),
    ],
)
def test_bash_completes_commands_and_tasks(
    scratch: Scratch, tmp_path: Path, words: list[str], expected: set[str]
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    # The script completes for the name under which doit was called, which is not `python -m doit`.
    (tools / "doit").write_text(
        f"#!{sys.executable}\nimport sys\nfrom doit.__main__ import main\nsys.exit(main())\n"
    )
    (tools / "doit").chmod(0o755)
    printed = subprocess.run(
        [tools / "doit", "tabcompletion"],
        cwd=scratch.folder,
        env=scratch.variables(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # bash-completion's own functions, as far as doit's script calls them.
    (tmp_path / "completion").write_text(
        "_get_comp_words_by_ref() { cur=${COMP_WORDS[COMP_CWORD]};"
        ' prev=${COMP_WORDS[COMP_CWORD-1]}; words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; }\n'
        f"__ltrim_colon_completions() {{ :; }}\n{printed}"
    )
    script = (
        f"source {tmp_path}/completion; COMP_WORDS=({' '.join(words)});"
        f" COMP_CWORD={len(words) - 1}; _doit; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    run = subprocess.run(
        ["bash", "-c", script],
        cwd=scratch.folder,
        env={**scratch.variables(), "PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(run.stdout.split()) == expected, run.stderr
