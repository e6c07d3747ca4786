"""A table of Python's audit events and what is noted for each."""

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
    LISTED,
    LOADER,
    OUTSIDE,
    PROBED,
    READ,
    Watch,
    path_of,
)

_METADATA = os.path.join("importlib", "metadata", "__init__.py")
_SOURCE_VIEWERS = ("linecache.py", "tokenize.py")
_STANDARD = os.path.dirname(os.__file__)


def _opened(watch: Watch, frame: FrameType, file: Any, mode: Any = "", flags: Any = 0) -> None:
    path, caller = path_of(file), frame.f_code.co_filename
    if path is None or (flags or 0) & getattr(os, "O_DIRECTORY", 0):
        return
    if mode is None and not os.path.isabs(os.fsdecode(file)) and not os.path.exists(path):
        return  # `os.open` may be relative to a `dir_fd`, which the event lacks
    if caller.startswith(LOADER):
        _loaded(watch, path)
        return
    if os.path.dirname(caller) == _STANDARD and os.path.basename(caller) in _SOURCE_VIEWERS:
        return  # a source line for a traceback
    access = (flags or 0) & os.O_ACCMODE
    if access != os.O_WRONLY and not (flags or 0) & os.O_TRUNC:
        stamp = identity(path)
        if access == os.O_RDONLY or stamp != MISSING:
            watch.note(frame, READ, path, stamp)
    if access != os.O_RDONLY:
        watch.write(path)


def _loaded(watch: Watch, path: str) -> None:
    if path.endswith(tuple(importlib.machinery.BYTECODE_SUFFIXES)):
        with contextlib.suppress(ValueError, NotImplementedError):
            path = importlib.util.source_from_cache(path)
    watch.load(path)


def _listed(watch: Watch, frame: FrameType, folder: Any = None) -> None:
    caller = frame.f_code.co_filename
    path = path_of("." if folder is None else folder)
    if path is None or caller.startswith(LOADER) or caller.endswith(_METADATA):
        return
    if present(path) == FOLDER:
        watch.note(frame, LISTED, path, "\n".join(names_in(path)))
    else:
        watch.note(frame, PROBED, path, present(path))


def _scanned(watch: Watch, frame: FrameType, folder: Any = None) -> None:
    _listed(watch, frame, folder)
    path = path_of("." if folder is None else folder)
    if path is not None and not frame.f_code.co_filename.startswith((_STANDARD, "<frozen")):
        # Its entries have the files' mtimes, and no event shows which of them are read.
        watch.note(frame, AGED, os.path.join(path, "*"))


def _created(watch: Watch, _frame: FrameType, folder: Any, *_: Any) -> None:
    path = path_of(folder)
    if path is not None and not os.path.lexists(path):
        watch.write(path)
        watch.created.add(path)


def _moved(watch: Watch, frame: FrameType, _source: Any, target: Any, *_: Any) -> None:
    _removed(watch, frame, target)


def _linked(watch: Watch, frame: FrameType, source: Any, target: Any, *_: Any) -> None:
    path = path_of(source)
    if path is not None:
        watch.note(frame, READ, path)
        watch.forget_state(READ, path)  # another link changes it
    _moved(watch, frame, source, target)


def _removed(watch: Watch, _frame: FrameType, file: Any, *_: Any) -> None:
    path = path_of(file)
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


def _forked(watch: Watch, frame: FrameType) -> None:
    watch.note(frame, OUTSIDE, "a child process")


def _database(watch: Watch, frame: FrameType, database: Any) -> None:
    name = os.fsdecode(database)
    if name and not name.startswith(":memory:"):
        watch.note(frame, OUTSIDE, f"the database '{os.path.basename(name)}'")


EVENTS: dict[str, Callable[..., None]] = {
    "open": _opened,
    "os.listdir": _listed,
    "os.scandir": _scanned,
    "os.mkdir": _created,
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
    "os.fork": _forked,
    "os.forkpty": _forked,
    "sqlite3.connect": _database,
}
"""Python's audit events and their handlers, with the arguments in the documented order."""
