"""Runs a converter as a program of its own: what it dies of, what it prints, and what it leaves."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from partition_core.backends.segment_file import SegmentFile
from partition_core.base.errors import ConversionError, PartitionError
from partition_core.base.wording import one_line, signal_name

_LINES = 3
_REFUSED = 3  # the exit status of a module of ours for a PartitionError; Python's own is 1
# What differs between runs and processors.
_VARYING = (
    re.compile(r"\x1b\[[\d;]*m"),
    re.compile(r"\d{4}-\d\d-\d\d [\d:.]+ (?:\[[WI]:onnxruntime.*)?"),
    re.compile(r"\s*\b\d+\.\d+ms$", re.M),
)


@contextlib.contextmanager
def fresh_files(
    segment: SegmentFile, tool: str, files: tuple[Path, ...]
) -> Iterator[tuple[Path, ...]]:
    """Remove `files`, which `tool` then writes; without all of them there are none.

    Raises ConversionError if one is not written.
    """
    try:
        _remove(files)
        yield files
        lacking = [file.name for file in files if not file.is_file()]
        if lacking:
            what = f"{tool} ended without an error and did not write {' and '.join(lacking)}"
            raise ConversionError(segment.problem(what))
    except BaseException:
        _remove(files)
        raise


def run_program(segment: SegmentFile, tool: str, command: Sequence[str], folder: Path) -> str:
    """Return what the program of `tool` printed, run in `folder`, without colors and times.

    Raises ConversionError with its last lines if it cannot start, fails, or is killed.
    """
    status, printed = _ended(segment, tool, command, folder)
    if status:
        last = one_line("; ".join(printed.splitlines()[-_LINES:]), segment.file.parent)
        said = f"it printed: {last}" if last else "it printed nothing"
        raise ConversionError(segment.problem(f"{tool} {_end(status)}", said))
    return printed


def run_module(
    segment: SegmentFile, tool: str, module: str, folder: Path, *arguments: str | Path
) -> str:
    """Return what a module of ours printed, whose program is `run_as_program`.

    Raises ConversionError for what it refuses, and as `run_program` does.
    """
    command = [sys.executable, "-P", "-m", module, *map(str, arguments)]
    status, printed = _ended(segment, tool, command, folder)
    if status == _REFUSED:
        raise ConversionError(segment.problem(one_line(printed, segment.file.parent)))
    if status:
        last = one_line(" ".join(printed.splitlines()[-1:]), segment.file.parent)
        raise ConversionError(segment.problem(f"{tool} {_end(status)}", last))
    return printed


def run_as_program(main: Callable[..., None]) -> None:
    """Call `main` with the arguments of this process; a PartitionError is printed and its end."""
    try:
        main(*sys.argv[1:])
    except PartitionError as error:
        print(error)
        sys.exit(_REFUSED)


def _ended(
    segment: SegmentFile, tool: str, command: Sequence[str], folder: Path
) -> tuple[int, str]:
    try:
        run = subprocess.run(  # noqa: S603  # reason: the converter of a backend, or our own module
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except OSError as error:
        what = f"{tool} cannot be started: {error.strerror}"
        raise ConversionError(segment.problem(what)) from error
    return run.returncode, _reproducible(run.stdout.decode("utf-8", "replace"))


def _reproducible(printed: str) -> str:
    for pattern in _VARYING:
        printed = pattern.sub("", printed)
    return "".join(f"{line}\n" for line in map(str.rstrip, printed.splitlines()) if line)


def _remove(files: Sequence[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _end(status: int) -> str:
    if status > 0:
        return f"failed with exit status {status}"
    return f"was killed by {signal_name(-status)}"
