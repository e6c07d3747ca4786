"""Turns what was recorded while an export ran into labels of what it depends on."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from partition_core.base.file_stamp import MISSING, VARIABLE_SIGN, identity
from partition_core.build.dependencies import labels
from partition_core.build.dependencies.current import DependencyState, names_in, names_text
from partition_core.build.dependencies.installed import normalized, owners
from partition_core.build.dependencies.locating import NAMESPACE, locate, search_path
from partition_core.build.dependencies.notes import (
    AGED,
    LISTED,
    OUTSIDE,
    PROBED,
    READ,
    VARIABLE,
    Note,
    Watch,
)
from partition_core.build.dependencies.used_modules import (
    MISSING_MODULE,
    Code,
    file_of,
    is_python,
    modules_here,
    used_modules,
)

_SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/run", "/usr", "/bin", "/sbin", "/lib", "/lib64")
_NOT_SYSTEM = "/usr/local/"
_IGNORED = {".git", ".hg", ".svn", "__pycache__"}


@dataclass(frozen=True)
class KnownInputs:
    """The inputs of an export that are known before it runs.

    `paths` are files and `packages` distributions by their normalized names. Nothing in the folders
    `private`, such as the store, is an input. `roots` are the modules that the export starts
    from.
    """

    paths: Collection[str]
    packages: Collection[str]
    private: tuple[str, ...]
    roots: tuple[str, ...]


@dataclass(frozen=True)
class Followed:
    """What an export depends on besides its known inputs.

    `entries` are labels with their values when they were read. `outside` describes what cannot be
    followed. `changed` are the labels of what changed meanwhile, so that it is unknown what was
    read.
    """

    entries: tuple[tuple[str, str], ...]
    outside: tuple[str, ...]
    changed: tuple[str, ...]


def deduced(
    watch: Watch, state: DependencyState, known: KnownInputs, classes: Iterable[str] = ()
) -> Followed:
    """Return what `watch` recorded, as labels; `classes` are modules of the model's classes.

    Call it at once: files are compared with their stamps when they were opened.
    """
    code = Code(owners(state.search))
    collector = _Collector(watch, state, known, code)
    modules = used_modules(watch, (*known.roots, *classes), code)
    for name, file in modules.items():
        collector.add_module(name, file)
    notes = _notes(watch, modules, code)
    for kind in (OUTSIDE, VARIABLE, READ, LISTED):
        for path, before in notes[kind].items():
            collector.handlers[kind](path, before)
    # After READ: the content of a file that was read covers its time and presence.
    collector.add_times(notes[AGED])
    collector.add_presence(notes[PROBED])
    return collector.all()


def _notes(watch: Watch, used: Collection[str], code: Code) -> Mapping[str, Mapping[str, str]]:
    """Return the notes that count by kind, each subject with its recorded state.

    What the export did counts, and what the modules it used did when they were imported, whenever
    that was. What an installed package reads then, such as a font cache, does not.
    """
    notes = dict(watch.notes)
    for body, more in watch.memory.notes.items():
        is_failed = body in watch.bodies and body.module not in sys.modules
        if (is_failed or body.module in used) and code.is_local(os.path.abspath(body.file)):
            for note, state in more.items():
                notes.setdefault(note, state)
    files = {file_of(module) for _, module in modules_here()}
    for source in sorted(watch.loaded - files):
        # It ran but is not a module: it was loaded by its path, or its import failed.
        if code.is_local(source):
            notes.setdefault(Note(READ, source), watch.memory.loaded[source])
    by_kind: dict[str, dict[str, str]] = defaultdict(dict)
    for note, state in notes.items():
        by_kind[note.kind][note.subject] = state
    return by_kind


class _Collector:
    """Collects labels, with the rules for what becomes one."""

    def __init__(
        self, watch: Watch, state: DependencyState, known: KnownInputs, code: Code
    ) -> None:
        self._watch = watch
        self._state = state
        self._known = known
        self._code = code
        self._texts: dict[str, str] = {}
        self._changed: set[str] = set()
        self._outside: set[str] = set()
        self.handlers: Mapping[str, Callable[[str, str], None]] = {
            OUTSIDE: lambda description, _: self._outside.add(description),
            VARIABLE: self._add_variable,
            READ: self._add_file,
            LISTED: self._add_names,
        }

    def all(self) -> Followed:
        """Return everything collected."""
        return Followed(
            tuple((label, self._texts[label]) for label in labels.in_order(self._texts)),
            tuple(sorted(self._outside)),
            tuple(sorted(self._changed)),
        )

    def add_module(self, name: str, file: str) -> None:
        """Add a used module: by its distribution's version, by its content, or as missing."""
        label = f"{labels.MODULE} {name}"
        if file in (MISSING_MODULE, NAMESPACE):
            self._texts[label] = self._state.text(label)
            return
        owner = self._code.owner(file)
        if owner is not None:
            self._add_package(owner)
            return
        if file in self._known.paths:
            return
        before = self._watch.memory.loaded.get(file, "")
        location, location_now = locate(name, self._state.search), locate(name, search_path())
        is_elsewhere = location is None or location.file != file
        if is_elsewhere and location_now and location_now.file == file:
            self._add_file(file, before)  # the model itself changed Python's search path
            return
        self._texts[label] = self._state.text(label)
        if is_elsewhere or before not in ("", identity(file)):
            self._changed.add(label)

    def _add_package(self, name: str) -> None:
        if normalized(name) not in self._known.packages:
            label = f"{labels.PACKAGE} {name}"
            self._texts[label] = self._state.text(label)

    def _add_variable(self, subject: str, value: str) -> None:
        self._texts[f"{labels.VARIABLE} {subject.removeprefix(VARIABLE_SIGN)}"] = value

    def _add_file(self, path: str, before: str) -> None:
        """Add a file that was read; `before` is its stamp when it was opened."""
        if not self._is_input(path) or path in sys.path:  # an archive of modules
            return
        owner = self._code.owner(path)
        if owner is not None:
            self._add_package(owner)
            return
        label = self._label(labels.FILE, path)
        is_rewritten = path in self._watch.rewritten
        if is_rewritten and before != MISSING:
            text = labels.path_text(path, self._state.root)
            self._outside.add(f"the file '{text}', which it reads and writes")
        elif is_rewritten:
            self._texts[label] = MISSING
        elif before not in ("", identity(path)):
            # Temporary files come and go in their folder.
            inside = Path(path).is_relative_to(self._state.root)
            if inside or os.path.exists(path) or not path.startswith(tempfile.gettempdir()):
                self._changed.add(label)
        else:
            self._texts[label] = self._state.file_text(path)

    def _add_names(self, folder: str, before: str) -> None:
        """Add a folder that was listed; `before` are the names that it had then."""
        names = names_in(folder)
        if not self._can_be_probed(folder) or any(
            self._code.owner(os.path.join(folder, name)) for name in names
        ):
            return
        label = self._label(labels.NAMES, folder)
        own = {
            os.path.basename(path)
            for path in self._watch.written | self._watch.rewritten
            if os.path.dirname(path) == folder
        }
        then, now = (
            [name for name in self._state.counted(folder, group) if name.rstrip("/") not in own]
            for group in (before.splitlines(), names)
        )
        if then != now:
            self._changed.add(label)
        self._texts[label] = names_text(self._state.counted(folder, before.splitlines()))

    def add_times(self, stamps: Mapping[str, str]) -> None:
        """Add the files whose mtimes were read, with their stamps then.

        The times themselves differ between machines: what counts is the order of age among files
        of one folder with one suffix. For a single file its content counts.
        """
        groups: dict[str, list[str]] = defaultdict(list)
        for path in stamps:
            folder, name = os.path.split(path)
            suffix = "*" if name == "*" else f"*{os.path.splitext(name)[1]}"
            groups[os.path.join(folder, suffix)].append(path)
        for pattern, paths in groups.items():
            is_alone = len(paths) == 1 and paths != [pattern]
            if is_alone:
                if self._label(labels.FILE, paths[0]) not in self._texts:
                    self._add_file(paths[0], stamps[paths[0]])
            elif self._is_input(pattern) and not any(map(self._code.owner, paths)):
                label = self._label(labels.AGES, pattern)
                self._texts[label] = self._state.text(label)
                if any(stamps[path] not in ("", identity(path)) for path in paths):
                    self._changed.add(label)

    def add_presence(self, states: Mapping[str, str]) -> None:
        """Add paths whose existence was checked, in the project or beside followed files."""
        root = self._state.root
        is_file = f"{labels.FILE} "
        read = [label.removeprefix(is_file) for label in self._texts if label.startswith(is_file)]
        near = {os.path.dirname(labels.path_of(text, root)) for text in read}
        for path, state in states.items():
            is_near = Path(path).is_relative_to(root) or os.path.dirname(path) in near
            if not is_near or path == str(root) or not self._can_be_probed(path):
                continue
            if labels.path_text(path, root) in read or self._code.owner(path) is not None:
                continue
            label = self._label(labels.PRESENCE, path)
            self._texts[label] = state
            if self._state.text(label) != state and path not in self._watch.rewritten:
                self._changed.add(label)

    def _label(self, kind: str, path: str) -> str:
        return f"{kind} {labels.path_text(path, self._state.root)}"

    def _can_be_probed(self, path: str) -> bool:
        """Return whether it can count what is in a folder or at a path.

        Not where builds, Python and version control write: code that walks the whole project does
        not depend on these.
        """
        is_output = _is_in(path, [str(self._state.build_folder)])
        return not is_output and not _IGNORED & set(Path(path).parts) and self._is_input(path)

    def _is_input(self, path: str) -> bool:
        """Return whether a user's model can depend on a path by its content."""
        if path in self._known.paths or is_python(path) or path.endswith(".pyc"):
            return False
        if _is_in(path, self._known.private):
            return False
        try:
            path.encode()
        except UnicodeEncodeError:
            self._outside.add("a file or folder whose name is not text")
            return False
        if Path(path).is_relative_to(self._state.root):
            return True
        return not _is_in(path, _SYSTEM) or path.startswith(_NOT_SYSTEM)


def _is_in(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}{os.sep}") for folder in folders)
