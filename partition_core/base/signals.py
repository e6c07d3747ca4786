"""How a run ends before its time: interrupted, told to end, or with its parent killed.

A signal raises nothing: an exception could come up inside a finalizer, which swallows it, or inside
someone's `except`. Its handler removes what is not finished and ends the process, which any build
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
_IN_C = 0.5  # seconds that a call into a library has to return before another thread ends us
_WORKERS_HAVE = 1.2  # seconds to end, before they are killed

_unfinished: dict[Path, int] = {}
"""Files and folders that are not finished, each with the process that works on them."""
_is_forked = _is_worker = False
_parent = 0


def end_orderly() -> None:
    """Let SIGINT and SIGTERM end this process at once, with one line and nothing half done.

    So does an output that nobody reads any more, as in front of `head`, without a line.
    The exit code is 128 and the signal's number. A signal that is ignored, as in the background of
    a shell, stays ignored. To be called in the main thread; elsewhere it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    taken = [one for one in _ENDINGS if signal.getsignal(one) not in (signal.SIG_IGN, _stop)]
    for one in taken:
        signal.signal(one, _stop)
    if taken:
        signal.signal(signal.SIGPIPE, _stop_unread)
        atexit.register(_flush)
        _watch()


def is_run_by_doit() -> bool:
    """Return whether this process is one of doit's commands, and no other program's."""
    program = Path(sys.argv[0])
    return program.stem == "doit" or program.parts[-2:] == ("doit", "__main__.py")


def let_workers_die_with_us() -> None:
    """Let worker processes, as of `doit -n`, end when this one is killed, from now on."""
    os.register_at_fork(before=_remember_parent, after_in_child=_start_as_child)


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[None]:
    """Let a file or folder, which the caller makes and removes inside, go if the run is ended."""
    _unfinished[path] = os.getpid()
    try:
        yield
    finally:
        _unfinished.pop(path, None)


@contextlib.contextmanager
def passing_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent`, for this process alone; at the end it is gone."""
    folder = parent / f"tmp{secrets.token_hex(6)}"
    with unfinished(folder):
        folder.mkdir(0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remember_parent() -> None:
    global _parent  # noqa: PLW0603  # reason: hooks of a fork share nothing else
    _parent = os.getpid()


def _start_as_child() -> None:
    global _is_forked, _is_worker  # what a child is, it is for its life
    _is_forked, _is_worker = True, _forked_by_doit()
    _unfinished.clear()
    if signal.getsignal(signal.SIGTERM) is _stop:
        _watch()  # its parent's thread is not here, and its parent's pipe is its parent's
    if sys.platform == "linux":
        import ctypes  # of use only in a run with workers

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != _parent:  # it was killed before it could be watched
            os.kill(os.getpid(), signal.SIGKILL)


def _forked_by_doit() -> bool:
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != _FORKS_WORKERS:
        frame = frame.f_back
    return frame is not None


def _watch() -> None:
    """Let a thread end the process if a signal came and the main thread cannot answer it.

    That is so inside a library, which Python interrupts at its end.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def wait() -> None:
        while True:
            (number,) = os.read(reading, 1)
            if number in _ENDINGS or (number == signal.SIGPIPE and _is_unread()):
                time.sleep(_IN_C)
                _end(number)

    threading.Thread(target=wait, daemon=True, name="ending").start()


def _stop(number: int, _: FrameType | None) -> None:
    _end(number)


def _stop_unread(number: int, _: FrameType | None) -> None:
    if _is_unread():  # else it was a connection, whose user gets an error
        _end(number)


def _is_unread() -> bool:
    """Return whether the output is a pipe that has lost its reader."""
    poll = select.poll()
    with contextlib.suppress(OSError, ValueError):
        poll.register(1, 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return False


def _flush() -> None:
    # Later, as Python ends, it would complain of it.
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _end(signal.SIGPIPE)
    except (OSError, ValueError):
        return  # a full disk, or a stream that is closed: Python tells it


_signals: list[int] = []
"""Those that came, of which the first counts: our workers send another one as they end."""


def _end(number: int) -> None:
    """Tell it, end the children, remove what is not finished, and this process."""
    _signals.append(number)
    number = _signals[0]
    with contextlib.suppress(Exception):
        if number in _ENDINGS and not _is_forked and len(_signals) == 1:
            _tell(f"WARNING: {_ENDINGS[signal.Signals(number)]}; what was finished is kept\n")
    with contextlib.suppress(Exception):
        _end_children()
    with contextlib.suppress(Exception):
        _remove_unfinished()
    if _is_worker:
        with contextlib.suppress(OSError):
            os.kill(_parent, number)  # doit would wait for it for ever
    os._exit(128 + number)


def _tell(line: str) -> None:
    clear = "\r\033[K" if os.isatty(2) else ""  # a bar may be there
    os.write(2, f"{clear}{line}".encode())
    with contextlib.suppress(RuntimeError, ValueError):  # the stream is being written to, or closed
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()


def _end_children() -> None:
    for child in _children():
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGTERM)
    end = time.monotonic() + _WORKERS_HAVE
    while time.monotonic() < end and _children():
        time.sleep(0.01)
    for child in _children():
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)


def _children() -> list[int]:
    """Return the processes that this one started and that still run, as far as /proc tells."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent = (folder / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            if int(parent) == os.getpid() and state not in (b"Z", b"X"):
                found.append(int(folder.name))
    return found


def _remove_unfinished() -> None:
    ours = [path for path, process in list(_unfinished.items()) if process == os.getpid()]
    for _ in range(3):  # another thread may be writing into a folder
        for path in reversed(ours):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
