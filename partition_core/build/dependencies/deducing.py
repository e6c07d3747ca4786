"""From what was seen while an export ran to the labels of what it depends on."""

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
from partition_core.build.dependencies.current import Surroundings, names_in, names_text
from partition_core.build.dependencies.installed import normalized, owners
from partition_core.build.dependencies.locating import NAMESPACE, locate, search_path
from partition_core.build.dependencies.notes import (
    AGED,
    ASKED,
    LISTED,
    OUTSIDE,
    READ,
    VARIABLE,
    Note,
    Watch,
)
from partition_core.build.dependencies.used_modules import (
    NOT_THERE,
    Code,
    file_of,
    is_python,
    modules_here,
    used_modules,
)

_SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/run", "/usr", "/bin", "/sbin", "/lib", "/lib64")
_NOT_SYSTEM = "/usr/local/"
_NOT_MEANT = {".git", ".hg", ".svn", "__pycache__"}


@dataclass(frozen=True)
class Known:
    """What is known of an export before it runs.

    `paths` are the files of its inputs so far and `packages` the distributions, in their one
    spelling. Nothing in the folders `private` is an input, such as the store. `roots` are the
    modules that the export consists of.
    """

    paths: Collection[str]
    packages: Collection[str]
    private: tuple[str, ...]
    roots: tuple[str, ...]


@dataclass(frozen=True)
class Followed:
    """What an export depends on besides what was known before.

    `entries` are labels and what stands for their subjects as they were read. `outside` tells in
    words what cannot be followed. `changed` are the labels of what changed meanwhile, so that
    nobody knows what was read.
    """

    entries: tuple[tuple[str, str], ...]
    outside: tuple[str, ...]
    changed: tuple[str, ...]


def deduced(
    watch: Watch, around: Surroundings, known: Known, classes: Iterable[str] = ()
) -> Followed:
    """Return what was followed while `watch` lasted; `classes` are modules of the model's classes.

    Call it at once: files are compared with what they were when they were opened.
    """
    code = Code(owners(around.search))
    found = _Found(watch, around, known, code)
    modules = used_modules(watch, (*known.roots, *classes), code)
    for name, file in modules.items():
        found.add_module(name, file)
    notes = _notes(watch, modules, code)
    for kind in (OUTSIDE, VARIABLE, READ, LISTED):
        for path, before in notes[kind].items():
            found.take[kind](path, before)
    # What these say of a file that was read is said by its content.
    found.add_times(notes[AGED])
    found.add_questions(notes[ASKED])
    return found.all()


def _notes(watch: Watch, used: Collection[str], code: Code) -> Mapping[str, Mapping[str, str]]:
    """Return by kind what was seen of each subject, as far as it counts.

    What runs counts, and what used modules did while they were imported, whenever that was. What
    an installed package reads then, such as a cache of fonts, belongs to it and to the machine.
    """
    notes = dict(watch.notes)
    for body, more in watch.memory.notes.items():
        is_failed = body in watch.bodies and body.module not in sys.modules
        if (is_failed or body.module in used) and code.is_local(os.path.abspath(body.file)):
            for note, found in more.items():
                notes.setdefault(note, found)
    files = {file_of(module) for _, module in modules_here()}
    for source in sorted(watch.loaded - files):
        # It ran and is no module: it was loaded by its path, or its import failed.
        if code.is_local(source):
            notes.setdefault(Note(READ, source), watch.memory.loaded[source])
    by_kind: dict[str, dict[str, str]] = defaultdict(dict)
    for note, found in notes.items():
        by_kind[note.kind][note.subject] = found
    return by_kind


class _Found:
    """The labels found so far, and rules for what becomes one."""

    def __init__(self, watch: Watch, around: Surroundings, known: Known, code: Code) -> None:
        self._watch = watch
        self._around = around
        self._known = known
        self._code = code
        self._texts: dict[str, str] = {}
        self._changed: set[str] = set()
        self._outside: set[str] = set()
        self.take: Mapping[str, Callable[[str, str], None]] = {
            OUTSIDE: lambda words, _: self._outside.add(words),
            VARIABLE: self._add_variable,
            READ: self._add_file,
            LISTED: self._add_names,
        }

    def all(self) -> Followed:
        """Return everything."""
        return Followed(
            tuple((label, self._texts[label]) for label in labels.in_order(self._texts)),
            tuple(sorted(self._outside)),
            tuple(sorted(self._changed)),
        )

    def add_module(self, name: str, file: str) -> None:
        """Take a used module: by the version of its distribution, by its content, or missing."""
        label = f"{labels.MODULE} {name}"
        if file in (NOT_THERE, NAMESPACE):
            self._texts[label] = self._around.text(label)
            return
        owner = self._code.owner(file)
        if owner is not None:
            self._add_package(owner)
            return
        if file in self._known.paths:
            return
        before = self._watch.memory.loaded.get(file, "")
        place, place_now = locate(name, self._around.search), locate(name, search_path())
        if (place is None or place.file != file) and place_now and place_now.file == file:
            self._add_file(file, before)  # the model itself tells Python where to look
            return
        self._texts[label] = self._around.text(label)
        if place is None or place.file != file or before not in ("", identity(file)):
            self._changed.add(label)

    def _add_package(self, name: str) -> None:
        if normalized(name) not in self._known.packages:
            label = f"{labels.PACKAGE} {name}"
            self._texts[label] = self._around.text(label)

    def _add_variable(self, subject: str, found: str) -> None:
        self._texts[f"{labels.VARIABLE} {subject.removeprefix(VARIABLE_SIGN)}"] = found

    def _add_file(self, path: str, before: str) -> None:
        """Take a file that was read; `before` is its identity when it was opened."""
        if not self._is_input(path) or path in sys.path:  # an archive in which modules may be
            return
        owner = self._code.owner(path)
        if owner is not None:
            self._add_package(owner)
            return
        label = self._label(labels.FILE, path)
        is_rewritten = path in self._watch.rewritten
        if is_rewritten and before != MISSING:
            text = labels.path_text(path, self._around.root)
            self._outside.add(f"the file '{text}', which it reads and writes")
        elif is_rewritten:
            self._texts[label] = MISSING
        elif before not in ("", identity(path)):
            # Files for a moment come and go in the folder for such.
            inside = Path(path).is_relative_to(self._around.root)
            if inside or os.path.exists(path) or not path.startswith(tempfile.gettempdir()):
                self._changed.add(label)
        else:
            self._texts[label] = self._around.file_text(path)

    def _add_names(self, folder: str, before: str) -> None:
        """Take a folder that was listed; `before` are the names that were in it."""
        names = names_in(folder)
        if not self._can_be_asked_of(folder) or any(
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
            [name for name in self._around.meant(folder, some) if name.rstrip("/") not in own]
            for some in (before.splitlines(), names)
        )
        if then != now:
            self._changed.add(label)
        self._texts[label] = names_text(self._around.meant(folder, before.splitlines()))

    def add_times(self, asked: Mapping[str, str]) -> None:
        """Take the files whose times were asked for, with their identities then.

        The times themselves differ between machines: what counts is which file is older, of
        those in one folder with one suffix. Of a single one its content counts.
        """
        groups: dict[str, list[str]] = defaultdict(list)
        for path in asked:
            folder, name = os.path.split(path)
            suffix = "*" if name == "*" else f"*{os.path.splitext(name)[1]}"
            groups[os.path.join(folder, suffix)].append(path)
        for pattern, paths in groups.items():
            is_alone = len(paths) == 1 and paths != [pattern]
            if is_alone:
                if self._label(labels.FILE, paths[0]) not in self._texts:
                    self._add_file(paths[0], asked[paths[0]])
            elif self._is_input(pattern) and not any(map(self._code.owner, paths)):
                label = self._label(labels.AGES, pattern)
                self._texts[label] = self._around.text(label)
                if any(asked[path] not in ("", identity(path)) for path in paths):
                    self._changed.add(label)

    def add_questions(self, asked: Mapping[str, str]) -> None:
        """Take paths of which was asked what is there, in the project or beside followed files."""
        root = self._around.root
        is_file = f"{labels.FILE} "
        read = [label.removeprefix(is_file) for label in self._texts if label.startswith(is_file)]
        near = {os.path.dirname(labels.path_of(text, root)) for text in read}
        for path, found in asked.items():
            is_near = Path(path).is_relative_to(root) or os.path.dirname(path) in near
            if not is_near or path == str(root) or not self._can_be_asked_of(path):
                continue
            if labels.path_text(path, root) in read or self._code.owner(path) is not None:
                continue
            label = self._label(labels.PRESENCE, path)
            self._texts[label] = found
            if self._around.text(label) != found and path not in self._watch.rewritten:
                self._changed.add(label)

    def _label(self, kind: str, path: str) -> str:
        return f"{kind} {labels.path_text(path, self._around.root)}"

    def _can_be_asked_of(self, path: str) -> bool:
        """Return whether it can count what is in a folder or at a path.

        Not where builds, Python and version control put things: whoever walks through the whole
        project means none of these.
        """
        is_made = _is_in(path, [str(self._around.made)])
        return not is_made and not _NOT_MEANT & set(Path(path).parts) and self._is_input(path)

    def _is_input(self, path: str) -> bool:
        """Return whether a path can be one that a user's model depends on by its content."""
        if path in self._known.paths or is_python(path) or path.endswith(".pyc"):
            return False
        if _is_in(path, self._known.private):
            return False
        try:
            path.encode()
        except UnicodeEncodeError:
            self._outside.add("a file or folder whose name is no text")
            return False
        if Path(path).is_relative_to(self._around.root):
            return True
        return not _is_in(path, _SYSTEM) or path.startswith(_NOT_SYSTEM)


def _is_in(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}{os.sep}") for folder in folders)
