"""Notes of what was seen while something ran, and what a process remembers of its modules."""

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

READ, ASKED, LISTED, AGED, VARIABLE, OUTSIDE = (
    *("read", "asked", "listed", "aged", "variable", "outside"),
)
"""Kinds of notes: a file was opened, its presence asked, a folder listed, a file's time asked, a
variable of the environment read, something done that cannot be followed."""


LOADER = "<frozen importlib"
"""What the file of the code that loads modules starts with."""

_FOLDER = f"{os.path.dirname(__file__)}{os.sep}"


def _imports_for_others(file: str) -> bool:
    return file.startswith(("<frozen", _FOLDER)) or is_standard(file)


class Note(NamedTuple):
    """What was seen: a kind, and the path or the words that it is about."""

    kind: str
    subject: str


class Body(NamedTuple):
    """A module that is being imported: its name and the file of its code."""

    module: str
    file: str


@dataclass
class Memory:
    """What a process knows of the modules in it, whoever imported them first.

    `notes` is what each read while it was imported, `imports` what it imported then, and `later`
    what it imported at any other time; `loaded` has the identities that source files had when
    they were loaded, `before` the modules that were there before anything was watched.
    """

    notes: dict[Body, dict[Note, str]] = field(default_factory=lambda: defaultdict(dict))
    imports: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    later: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    loaded: dict[str, str] = field(default_factory=dict)
    before: frozenset[str] = frozenset()


@dataclass
class Watch:
    """What was seen while one thing ran.

    `notes` has, with what was found at that moment, all that did not happen while a module was
    imported; `bodies` are the modules whose import left notes in `memory`. `imports` is what was
    imported by modules that were there already, `loaded` the source files of the others.
    `written` are paths that were written before they were read, `rewritten` those that were
    written afterwards, `made` the folders that were made.
    """

    memory: Memory
    notes: dict[Note, str] = field(default_factory=dict)
    bodies: set[Body] = field(default_factory=set)
    imports: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    loaded: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    rewritten: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    iterating: tuple[int, int] = (0, 0)
    _read: set[str] = field(default_factory=set)
    _known: set[tuple[object, ...]] = field(default_factory=set)

    def note(self, frame: FrameType | None, kind: str, subject: str, found: str = "") -> None:
        """Take a note, of the module that is being imported if one is."""
        if self.is_own(subject):
            return
        body = body_in(frame)
        if body is not None:
            self.bodies.add(body)
        notes = self.notes if body is None else self.memory.notes[body]
        notes.setdefault(Note(kind, subject), found)
        self._read.add(subject)

    def forget_state(self, kind: str, subject: str) -> None:
        """Forget what was found when a note was taken."""
        note = Note(kind, subject)
        for notes in (self.notes, *self.memory.notes.values()):
            if note in notes:
                notes[note] = ""

    def write(self, path: str) -> None:
        """Take note of a file or folder that is written, made or removed."""
        if not self.is_own(path):
            (self.rewritten if path in self._read else self.written).add(path)

    def is_own(self, path: str) -> bool:
        """Return whether a path, or a folder that it is in, was made meanwhile."""
        if path in self.written:
            return True
        return bool(self.made) and any(folder in self.made for folder in _folders(path))

    def is_new(self, *key: object) -> bool:
        """Return whether a key is seen for the first time."""
        if key in self._known:
            return False
        self._known.add(key)
        return True

    def add_imports(self, frame: FrameType | None, names: Iterable[str]) -> None:
        """Take note of modules that are imported on behalf of the code in a stack of frames.

        That is the module that is being imported, if one is: a function may import for others.
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
        """Take note of a source file that is loaded."""
        self.loaded.add(source)
        self.memory.loaded.setdefault(source, identity(source))


def _folders(path: str) -> Iterator[str]:
    while (parent := os.path.dirname(path)) != path:
        yield parent
        path = parent


def body_in(frame: FrameType | None) -> Body | None:
    """Return the innermost module whose code runs at import in a stack of frames."""
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            name = frame.f_globals.get("__name__")
            module = sys.modules.get(name) if isinstance(name, str) else None
            if name != "__main__" and module is not None and vars(module) is frame.f_globals:
                return Body(str(name), frame.f_code.co_filename)
        frame = frame.f_back
    return None


def path_of(given: Any) -> str | None:
    """Return a path that a function was given as text, absolute; None for a file's number."""
    if isinstance(given, int):
        return None
    return os.path.abspath(os.fsdecode(given))
