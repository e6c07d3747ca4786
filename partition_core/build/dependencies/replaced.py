"""Replaces functions of Python and of packages that raise no audit event, while code is watched.

A module may keep a reference to a replacement: that works like the original, and adds notes only
while something is watched.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import importlib.util
import os
import pathlib
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from partition_core.base.file_stamp import VARIABLE_SIGN, identity, variable
from partition_core.build.dependencies.current import FILE, present
from partition_core.build.dependencies.notes import (
    AGED,
    PROBED,
    READ,
    VARIABLE,
    Memory,
    Watch,
    path_of,
)
from partition_core.build.dependencies.readers import READERS, Reader


class Gate:
    """Whether something is watched: the global state that an audit hook needs."""

    def __init__(self) -> None:
        self.memory: Memory | None = None
        self.watched: Watch | None = None
        self._thread = threading.local()

    def watch(self) -> Watch | None:
        """Return the current watch; None if nothing is watched, or inside `ours`."""
        return None if getattr(self._thread, "is_ours", False) else self.watched

    @contextlib.contextmanager
    def ours(self) -> Iterator[None]:
        """Suspend notes for this thread."""
        self._thread.is_ours = True
        try:
            yield
        finally:
            self._thread.is_ours = False


def replace_all(gate: Gate, changed: contextlib.ExitStack) -> None:
    """Replace what raises no event: file status, variables, imports and native readers."""
    for name in ("stat", "lstat", "access"):
        function = _probing(getattr(os, name), gate)
        for known in (os.supports_follow_symlinks, os.supports_dir_fd, os.supports_fd):
            if getattr(os, name) in known:
                known.add(function)
                changed.callback(known.discard, function)
        _replace(changed, os, name, function)
    variables = type(os.environ)
    _replace(changed, variables, "__getitem__", _getting(variables.__getitem__, gate))
    _replace(changed, variables, "__iter__", _iterating(variables.__iter__, gate))
    readers = _Readers(gate, changed)
    _replace(changed, builtins, "__import__", _importing(builtins.__import__, gate, readers))
    by_name = _importing_by_name(importlib.import_module, gate, readers)
    _replace(changed, importlib, "import_module", by_name)
    readers.wrap()


_STANDARD = os.path.dirname(os.__file__)

_PROBES = {
    **dict.fromkeys(("exists", "isfile", "isdir", "lexists", "islink", "ismount"), PROBED),
    **dict.fromkeys(("is_file", "is_dir", "is_symlink", "is_mount"), PROBED),
    "access": PROBED,
    "getsize": READ,
    # They walk the parent folders of a file that is read anyway.
    **dict.fromkeys(("realpath", "_joinrealpath", "resolve"), ""),
    # They copy, and open what they copy.
    **dict.fromkeys(("samefile", "_samefile", "_stat", "_islink", "copymode", "copystat"), ""),
    # Whether a source line for a traceback is up to date.
    **dict.fromkeys(("checkcache", "updatecache", "getsourcefile"), ""),
}
"""The kind of note when this standard library function reads a file's status; others use its
mtime."""


def _probing(original: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    @functools.wraps(original)
    def probed(path: Any, *arguments: Any, **more: Any) -> Any:
        watch = gate.watch()
        if watch is not None and not isinstance(path, int) and more.get("dir_fd") is None:
            with gate.ours(), contextlib.suppress(OSError, TypeError, ValueError):
                _note_probe(watch, sys._getframe(1), path)
        return original(path, *arguments, **more)

    return probed


def _note_probe(watch: Watch, frame: FrameType, file: Any) -> None:
    caller: FrameType | None = frame
    if frame.f_code.co_filename == pathlib.__file__ and frame.f_code.co_name in ("stat", "lstat"):
        caller = frame.f_back
    kind = _PROBES.get(caller.f_code.co_name, AGED) if caller is not None else AGED
    path = path_of(file)
    if not kind or path is None or not watch.is_new("probed", kind, path):
        return
    state = present(path)
    if kind == PROBED or state != FILE:
        watch.note(frame, PROBED, path, state)
    else:
        watch.note(frame, kind, path, identity(path))


def _getting(original: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    def getting(self: Any, name: Any) -> Any:
        watch = gate.watch()
        if watch is not None and isinstance(name, str):
            frame = _user_frame(sys._getframe(1))
            if frame is not None and (id(frame), frame.f_lasti) != watch.iterating:
                watch.note(frame, VARIABLE, f"{VARIABLE_SIGN}{name}", variable(name))
        return original(self, name)

    return getting


def _iterating(original: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    def iterating(self: Any) -> Any:
        watch, frame = gate.watch(), _user_frame(sys._getframe(1))
        if watch is not None and frame is not None:
            # Copying the environment, as for a child process, reads no single variable.
            watch.iterating = (id(frame), frame.f_lasti)
        return original(self)

    return iterating


_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
_LIBRARIES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def _user_frame(frame: FrameType | None) -> FrameType | None:
    """Return the frame of user code that reads a variable; None if a library reads it."""
    while frame is not None and frame.f_code.co_filename in _ENVIRONMENT:
        frame = frame.f_back
    file = frame.f_code.co_filename if frame is not None else ""
    is_library = file.startswith((_STANDARD, "<", _PACKAGE)) or any(
        folder in file for folder in _LIBRARIES
    )
    return None if is_library else frame


_ENVIRONMENT = ("<frozen os>", "<frozen _collections_abc>", os.__file__)


def _importing(original: Callable[..., Any], gate: Gate, readers: _Readers) -> Callable[..., Any]:
    def importing(
        name: str,
        globals: Any = None,
        locals: Any = None,
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        watch = gate.watch()
        importer = globals.get("__name__") if globals else None
        listed = tuple(fromlist or ())
        if watch is None or importer is None or not watch.is_new(importer, name, level, listed):
            return original(name, globals, locals, fromlist, level)
        full = _absolute(name, globals, level)
        frame = sys._getframe(1)
        watch.add_imports(frame, [full])
        module = original(name, globals, locals, fromlist, level)
        # A name that a package lacks is an optional module.
        lacking = [
            item
            for item in listed
            if hasattr(module, "__path__") and item != "*" and not hasattr(module, item)
        ]
        parts = {
            f"{full}.{item}"
            for item in listed
            if item in lacking or f"{full}.{item}" in sys.modules
        }
        watch.add_imports(frame, parts)
        readers.wrap()
        return module

    return importing


def _absolute(name: str, globals: Any, level: int) -> str:
    if not level:
        return name
    package = globals.get("__package__")
    if package is None:
        own = str(globals["__name__"])
        package = own if "__path__" in globals else own.rpartition(".")[0]
    base = ".".join(str(package).split(".")[: len(str(package).split(".")) - level + 1])
    return f"{base}.{name}" if name else base


def _importing_by_name(
    original: Callable[..., Any], gate: Gate, readers: _Readers
) -> Callable[..., Any]:
    @functools.wraps(original)
    def importing(name: str, package: str | None = None) -> Any:
        watch = gate.watch()
        if watch is not None:
            full = name
            with contextlib.suppress(ImportError):
                full = importlib.util.resolve_name(name, package)
            watch.add_imports(sys._getframe(1), [full])
        module = original(name, package)
        if watch is not None:
            readers.wrap()
        return module

    return importing


class _Readers:
    """The functions of the table `READERS`, each wrapped once its module is loaded."""

    def __init__(self, gate: Gate, changed: contextlib.ExitStack) -> None:
        self._gate = gate
        self._changed = changed
        self._waiting = dict(READERS)

    def wrap(self) -> None:
        """Wrap the functions of the modules that are loaded now."""
        for name in [name for name in self._waiting if name in sys.modules]:
            # A module that is still being imported lacks functions, and may change them.
            if not getattr(sys.modules[name].__spec__, "_initializing", False):
                for reader in self._waiting.pop(name):
                    self._wrap(sys.modules[name], reader)

    def _wrap(self, module: Any, reader: Reader) -> None:
        *owners, name = reader.function.split(".")
        owner = functools.reduce(lambda owner, step: getattr(owner, step, None), owners, module)
        original = getattr(owner, name, None)
        if original is None or hasattr(original, _ORIGINAL):
            return
        with contextlib.suppress(AttributeError, TypeError):  # an immutable type
            _replace(self._changed, owner, name, _reading(original, self._gate, reader))


_ORIGINAL = "__partition_core_original__"


def _reading(original: Callable[..., Any], gate: Gate, reader: Reader) -> Callable[..., Any]:
    @functools.wraps(original)
    def reading(*arguments: Any, **named: Any) -> Any:
        watch = gate.watch()
        file = named.get(reader.name)
        if file is None and len(arguments) > reader.position:
            file = arguments[reader.position]
        if watch is not None and isinstance(file, str | bytes | os.PathLike):
            with gate.ours(), contextlib.suppress(OSError, TypeError, ValueError):
                path = os.path.abspath(os.fsdecode(file))
                watch.note(sys._getframe(1), READ, path, identity(path))
        return original(*arguments, **named)

    setattr(reading, _ORIGINAL, original)
    return reading


def _replace(changed: contextlib.ExitStack, owner: Any, name: str, value: Any) -> None:
    before = getattr(owner, name)
    setattr(owner, name, value)
    changed.callback(setattr, owner, name, before)
