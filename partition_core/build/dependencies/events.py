"""What Python's audit events tell of a program: a table of events and what is noted of each."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import os
import shlex
from collections.abc import Callable
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from partition_core.base.file_stamp import MISSING, VARIABLE_SIGN, identity
from partition_core.build.dependencies.current import FOLDER, names_in, present
from partition_core.build.dependencies.notes import (
    AGED,
    ASKED,
    LISTED,
    LOADER,
    OUTSIDE,
    READ,
    Watch,
    path_of,
)

_METADATA = os.path.join("importlib", "metadata", "__init__.py")
_SOURCE_VIEWERS = ("linecache.py", "tokenize.py")
_STANDARD = os.path.dirname(os.__file__)


def _opened(watch: Watch, frame: FrameType, given: Any, mode: Any = "", flags: Any = 0) -> None:
    path, caller = path_of(given), frame.f_code.co_filename
    if path is None or (flags or 0) & getattr(os, "O_DIRECTORY", 0):
        return
    if mode is None and not os.path.isabs(os.fsdecode(given)) and not os.path.exists(path):
        return  # `os.open` may start from a folder that it does not tell
    if caller.startswith(LOADER):
        _loaded(watch, path)
        return
    if os.path.dirname(caller) == _STANDARD and os.path.basename(caller) in _SOURCE_VIEWERS:
        return  # a line of code for a message
    access = (flags or 0) & os.O_ACCMODE
    if access != os.O_WRONLY and not (flags or 0) & os.O_TRUNC:
        found = identity(path)
        if access == os.O_RDONLY or found != MISSING:
            watch.note(frame, READ, path, found)
    if access != os.O_RDONLY:
        watch.write(path)


def _loaded(watch: Watch, path: str) -> None:
    if path.endswith(tuple(importlib.machinery.BYTECODE_SUFFIXES)):
        with contextlib.suppress(ValueError, NotImplementedError):
            path = importlib.util.source_from_cache(path)
    watch.load(path)


def _listed(watch: Watch, frame: FrameType, given: Any = None) -> None:
    caller = frame.f_code.co_filename
    path = path_of("." if given is None else given)
    if path is None or caller.startswith(LOADER) or caller.endswith(_METADATA):
        return
    if present(path) == FOLDER:
        watch.note(frame, LISTED, path, "\n".join(names_in(path)))
    else:
        watch.note(frame, ASKED, path, present(path))


def _scanned(watch: Watch, frame: FrameType, given: Any = None) -> None:
    _listed(watch, frame, given)
    path = path_of("." if given is None else given)
    if path is not None and not frame.f_code.co_filename.startswith((_STANDARD, "<frozen")):
        # What it gives knows the times of the files, and Python does not tell who asks for them.
        watch.note(frame, AGED, os.path.join(path, "*"))


def _made(watch: Watch, _frame: FrameType, given: Any, *_: Any) -> None:
    path = path_of(given)
    if path is not None and not os.path.lexists(path):
        watch.write(path)
        watch.made.add(path)


def _moved(watch: Watch, _frame: FrameType, _source: Any, target: Any, *_: Any) -> None:
    path = path_of(target)
    if path is not None:
        watch.write(path)


def _linked(watch: Watch, frame: FrameType, source: Any, target: Any, *_: Any) -> None:
    path = path_of(source)
    if path is not None:
        watch.note(frame, READ, path)
        watch.forget_state(READ, path)  # a link more changes it
    _moved(watch, frame, source, target)


def _removed(watch: Watch, _frame: FrameType, given: Any, *_: Any) -> None:
    path = path_of(given)
    if path is not None:
        watch.write(path)


def _set(watch: Watch, _frame: FrameType, name: Any, _value: Any) -> None:
    watch.write(f"{VARIABLE_SIGN}{os.fsdecode(name)}")


def _imported(watch: Watch, frame: FrameType, name: str, file: Any = None, *_: Any) -> None:
    if file is not None:
        watch.load(os.path.abspath(os.fsdecode(file)))
    watch.add_imports(frame, [name])


def _library(watch: Watch, frame: FrameType, name: Any = None) -> None:
    if name is not None and os.sep in os.fsdecode(name):
        path = os.path.abspath(os.fsdecode(name))
        watch.note(frame, READ, path, identity(path))


def _host(watch: Watch, frame: FrameType, host: Any, *_: Any) -> None:
    if host:
        watch.note(frame, OUTSIDE, f"a connection to '{os.fsdecode(host)}'")


def _connected(watch: Watch, frame: FrameType, _socket: Any, address: Any) -> None:
    _host(watch, frame, address[0] if isinstance(address, tuple) else address)


def _requested(watch: Watch, frame: FrameType, url: str, *_: Any) -> None:
    _host(watch, frame, urlsplit(url).hostname)


def _program(watch: Watch, frame: FrameType, name: Any, *_: Any) -> None:
    watch.note(frame, OUTSIDE, f"the program '{os.path.basename(os.fsdecode(name))}'")


def _command(watch: Watch, frame: FrameType, command: Any) -> None:
    _program(watch, frame, (shlex.split(os.fsdecode(command)) or [""])[0])


def _process_of_its_own(watch: Watch, frame: FrameType) -> None:
    watch.note(frame, OUTSIDE, "a process of its own")


def _database(watch: Watch, frame: FrameType, given: Any) -> None:
    name = os.fsdecode(given)
    if name and not name.startswith(":memory:"):
        watch.note(frame, OUTSIDE, f"the database '{os.path.basename(name)}'")


EVENTS: dict[str, Callable[..., None]] = {
    "open": _opened,
    "os.listdir": _listed,
    "os.scandir": _scanned,
    "os.mkdir": _made,
    "os.rename": _moved,
    "os.symlink": _moved,
    "os.link": _linked,
    "os.remove": _removed,
    "os.putenv": _set,
    "import": _imported,
    "ctypes.dlopen": _library,
    "urllib.Request": _requested,
    "socket.getaddrinfo": _host,
    "socket.gethostbyname": _host,
    "socket.connect": _connected,
    "socket.sendto": _connected,
    "subprocess.Popen": _program,
    "os.posix_spawn": _program,
    "os.exec": _program,
    "os.system": _command,
    "os.fork": _process_of_its_own,
    "os.forkpty": _process_of_its_own,
    "sqlite3.connect": _database,
}
"""What Python's audit events tell us; their arguments are in the order of its documentation."""
