"""Notes of what code did while it was watched, and what a process remembers of its modules."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NamedTuple

from partition_core.base.file_stamp import identity
from partition_core.build.dependencies.installed import is_standard

READ, PROBED, LISTED, AGED, VARIABLE, OUTSIDE = (
    *("read", "probed", "listed", "aged", "variable", "outside"),
)
"""Kinds of notes: a file was opened, its existence checked, a folder listed, a file's mtime read,
an environment variable read, something done that cannot be followed."""

LOADER = "<frozen importlib"
"""The prefix of the file names of import machinery."""

_FOLDER = f"{os.path.dirname(__file__)}{os.sep}"


def _imports_for_others(file: str) -> bool:
    return file.startswith(("<frozen", _FOLDER)) or is_standard(file)


class Note(NamedTuple):
    """A note: its kind, and the path or description of its subject."""

    kind: str
    subject: str


class Body(NamedTuple):
    """A module that is being imported: its name and the file of its code."""

    module: str
    file: str


@dataclass
class Memory:
    """What a process knows of its modules, whichever export imported them first.

    `notes` is what each read while it was imported, `imports` what it imported then, and `later`
    what it imported at any other time; `loaded` has the stamps of source files when they were
    loaded, `before` the modules that were loaded before anything was watched.
    """

    notes: dict[Body, dict[Note, str]] = field(default_factory=lambda: defaultdict(dict))
    imports: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    later: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    loaded: dict[str, str] = field(default_factory=dict)
    before: frozenset[str] = frozenset()


@dataclass
class Watch:
    """What was recorded while one export ran.

    `notes` has everything outside of module imports, with the state at that moment; `bodies` are
    the modules whose import left notes in `memory`. `imports` is what already loaded modules
    imported, `loaded` the source files of the others. `written` are paths that were written
    before they were read, `rewritten` those that were written afterwards, `created` the folders
    that were created.
    """

    memory: Memory
    notes: dict[Note, str] = field(default_factory=dict)
    bodies: set[Body] = field(default_factory=set)
    imports: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    loaded: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    rewritten: set[str] = field(default_factory=set)
    created: set[str] = field(default_factory=set)
    iterating: tuple[int, int] = (0, 0)
    _read: set[str] = field(default_factory=set)
    _known: set[tuple[object, ...]] = field(default_factory=set)

    def note(self, frame: FrameType | None, kind: str, subject: str, state: str = "") -> None:
        """Add a note, for the module that is being imported if there is one."""
        if self.is_own(subject):
            return
        body = body_in(frame)
        if body is not None:
            self.bodies.add(body)
        notes = self.notes if body is None else self.memory.notes[body]
        notes.setdefault(Note(kind, subject), state)
        self._read.add(subject)

    def forget_state(self, kind: str, subject: str) -> None:
        """Clear the state recorded with a note."""
        note = Note(kind, subject)
        for notes in (self.notes, *self.memory.notes.values()):
            if note in notes:
                notes[note] = ""

    def write(self, path: str) -> None:
        """Note that a file or folder is written, created or removed."""
        if not self.is_own(path):
            (self.rewritten if path in self._read else self.written).add(path)

    def is_own(self, path: str) -> bool:
        """Return whether a path, or a folder that contains it, was created meanwhile."""
        if path in self.written:
            return True
        return bool(self.created) and any(folder in self.created for folder in _folders(path))

    def is_new(self, *key: object) -> bool:
        """Return whether this is the first call with a key."""
        if key in self._known:
            return False
        self._known.add(key)
        return True

    def add_imports(self, frame: FrameType | None, names: Iterable[str]) -> None:
        """Note that modules are imported on behalf of the code in a stack of frames.

        That is the module that is being imported, if any: a function may import for others.
        """
        body = body_in(frame)
        if body is not None:
            self.memory.imports[body.module].update(names)
            return
        while frame is not None and _imports_for_others(frame.f_code.co_filename):
            frame = frame.f_back
        importer = frame.f_globals.get("__name__") if frame is not None else None
        if importer is not None:
            self.imports[importer].update(names)
            self.memory.later[importer].update(names)

    def load(self, source: str) -> None:
        """Note that a source file is loaded."""
        self.loaded.add(source)
        self.memory.loaded.setdefault(source, identity(source))


def _folders(path: str) -> Iterator[str]:
    while (parent := os.path.dirname(path)) != path:
        yield parent
        path = parent


def body_in(frame: FrameType | None) -> Body | None:
    """Return the innermost module that is being imported in a stack of frames."""
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            name = frame.f_globals.get("__name__")
            module = sys.modules.get(name) if isinstance(name, str) else None
            if name != "__main__" and module is not None and vars(module) is frame.f_globals:
                return Body(str(name), frame.f_code.co_filename)
        frame = frame.f_back
    return None


def path_of(file: Any) -> str | None:
    """Return the absolute path of a file argument; None for a file descriptor."""
    if isinstance(file, int):
        return None
    return os.path.abspath(os.fsdecode(file))
