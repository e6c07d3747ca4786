"""Ends a run early: interrupted, terminated, or with its parent killed.

A signal raises nothing: an exception could occur inside a finalizer, which swallows it, or inside a
user's `except`. Its handler removes unfinished files and ends the process, which any build
survives, since it survives being killed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_ENDINGS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "the terminal was closed",
}
_PR_SET_PDEATHSIG = 1
_FORKS_WORKERS = "_run_start_processes"  # of doit's runner with `-n`
_NATIVE_TIMEOUT = 0.5  # seconds for a library call to return before another thread ends us
_WORKER_TIMEOUT = 1.2  # seconds for workers to end before they are killed

_unfinished: dict[Path, int] = {}
"""Unfinished files and folders, each with the process that writes it."""
_is_forked = _is_worker = False
_parent = 0


def handle_signals() -> None:
    """Make SIGINT, SIGTERM and SIGHUP end this process at once, with one line and no partial files.

    A closed output pipe, as with `head`, ends it without a line. The exit code is 128 plus the
    signal's number. A signal that is ignored, as in the background of a shell, stays ignored. To be
    called in the main thread; elsewhere it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    handled = [s for s in _ENDINGS if signal.getsignal(s) not in (signal.SIG_IGN, _stop)]
    for number in handled:
        signal.signal(number, _stop)
    if handled:
        signal.signal(signal.SIGPIPE, _stop_unread)
        atexit.register(_flush)
        _watch()


def is_run_by_doit() -> bool:
    """Return whether this process is a doit command, not another program."""
    program = Path(sys.argv[0])
    return program.stem == "doit" or program.parts[-2:] == ("doit", "__main__.py")


def end_workers_with_parent() -> None:
    """Make worker processes, as of `doit -n`, end when this one is killed, from now on."""
    os.register_at_fork(before=_remember_parent, after_in_child=_start_as_child)


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[None]:
    """Register a file or folder that the caller writes meanwhile, to remove it if the run ends."""
    _unfinished[path] = os.getpid()
    try:
        yield
    finally:
        _unfinished.pop(path, None)


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent`, for this process only, and remove it at the end."""
    folder = parent / f"tmp{secrets.token_hex(6)}"
    with unfinished(folder):
        folder.mkdir(0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remember_parent() -> None:
    global _parent  # noqa: PLW0603  # reason: fork hooks share nothing else
    _parent = os.getpid()


def _start_as_child() -> None:
    global _is_forked, _is_worker  # set once for the life of a child
    _is_forked, _is_worker = True, _forked_by_doit()
    _unfinished.clear()
    if signal.getsignal(signal.SIGTERM) is _stop:
        _watch()  # a fork has neither its parent's thread nor a pipe of its own
    if sys.platform == "linux":
        import ctypes  # needed only in a run with workers

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != _parent:  # it was killed before this call
            os.kill(os.getpid(), signal.SIGKILL)


def _forked_by_doit() -> bool:
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != _FORKS_WORKERS:
        frame = frame.f_back
    return frame is not None


def _watch() -> None:
    """Start a thread that ends the process if the main thread cannot handle a signal.

    Python runs handlers only after a call into a library has returned.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def wait() -> None:
        while True:
            (number,) = os.read(reading, 1)
            if number in _ENDINGS or (number == signal.SIGPIPE and _is_unread()):
                time.sleep(_NATIVE_TIMEOUT)
                _end(number)

    threading.Thread(target=wait, daemon=True, name="ending").start()


def _stop(number: int, _: FrameType | None) -> None:
    _end(number)


def _stop_unread(number: int, _: FrameType | None) -> None:
    if _is_unread():  # otherwise it was a socket, whose user gets an error
        _end(number)


def _is_unread() -> bool:
    """Return whether the output is a pipe that has lost its reader."""
    poll = select.poll()
    with contextlib.suppress(OSError, ValueError):
        poll.register(1, 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return False


def _flush() -> None:
    # Python's own flush at exit would print an error.
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _end(signal.SIGPIPE)
    except (OSError, ValueError):
        return  # a full disk, or a closed stream: Python reports it


_signals: list[int] = []
"""The received signals; only the first counts, since our workers send more as they end."""


def _end(number: int) -> None:
    """Print a line, end the children, remove unfinished files, and exit."""
    _signals.append(number)
    number = _signals[0]
    with contextlib.suppress(Exception):
        if number in _ENDINGS and not _is_forked and len(_signals) == 1:
            _print(f"WARNING: {_ENDINGS[signal.Signals(number)]}; finished work is kept\n")
    with contextlib.suppress(Exception):
        _end_children()
    with contextlib.suppress(Exception):
        _remove_unfinished()
    if _is_worker:
        with contextlib.suppress(OSError):
            os.kill(_parent, number)  # doit would wait for it for ever
    os._exit(128 + number)


def _print(line: str) -> None:
    clear = "\r\033[K" if os.isatty(2) else ""  # a progress bar may be on the line
    os.write(2, f"{clear}{line}".encode())
    with contextlib.suppress(RuntimeError, ValueError):  # the stream is being written to, or closed
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()


def _end_children() -> None:
    for child in _children():
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGTERM)
    end = time.monotonic() + _WORKER_TIMEOUT
    while time.monotonic() < end and _children():
        time.sleep(0.01)
    for child in _children():
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)


def _children() -> list[int]:
    """Return this process's running children, as far as /proc lists them."""
    children = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent = (folder / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            if int(parent) == os.getpid() and state not in (b"Z", b"X"):
                children.append(int(folder.name))
    return children


def _remove_unfinished() -> None:
    ours = [path for path, process in list(_unfinished.items()) if process == os.getpid()]
    for _ in range(3):  # another thread may be writing into a folder
        for path in reversed(ours):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
