"""A database for doit's task values, in an SQLite file: each value is written at once.

doit's own backends write at the end of a run, so a killed run loses everything; they fail on a
damaged file, and hold a lock during the whole run after a failure. Does not import doit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

MEMORY = ":memory:"

_TIMEOUT = 2.0  # seconds; another run holds its lock for less than one

_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)


class Codec(Protocol):
    """Turns the values of one task into text and back."""

    def encode(self, values: dict[str, Any]) -> str:
        """Return the values as text."""

    def decode(self, text: str) -> dict[str, Any]:
        """Return the values that were encoded; raises ValueError."""


class Database:
    """A backend of doit in the file `name`, which may be lost at any moment without harm.

    A damaged file is moved away and a file that cannot be opened is not used, each with a warning.
    Two runs may share the file; each sees its state at the start. Values that cannot be written
    last until the end of the run.
    """

    def __init__(
        self, name: str, codec: Codec, warn: Callable[[str], None], module_name: str | None = None
    ) -> None:
        self.name = name
        self._codec = codec
        self._warn = warn
        self._connection, self._rows = self._opened()
        self._values: dict[str, dict[str, Any]] = {}

    def get(self, task: str, key: str) -> Any:
        """Return a value of a task, or None."""
        return self._task(task).get(key)

    def set(self, task: str, key: str, value: Any) -> None:
        """Remember a value of a task."""
        self._task(task)[key] = value
        text = self._codec.encode(self._values[task])
        if self._rows.get(task) != text:
            self._rows[task] = text
            self._execute("insert or replace into doit values (?, ?)", (task, text))

    def in_(self, task: str) -> bool:
        """Return whether the database has values of a task."""
        return task in self._rows

    def remove(self, task: str) -> None:
        """Forget a task."""
        self._values.pop(task, None)
        if self._rows.pop(task, None) is not None:
            self._execute("delete from doit where task_id = ?", (task,))

    def remove_all(self) -> None:
        """Forget all tasks."""
        self._values.clear()
        self._rows.clear()
        self._execute("delete from doit")

    def dump(self) -> None:
        """Close the file; everything has already been written."""
        self._connection.close()

    def _task(self, task: str) -> dict[str, Any]:
        if task not in self._values:
            try:
                values = self._codec.decode(self._rows.get(task, "{}"))
            except ValueError:
                values = {}
            self._values[task] = values if isinstance(values, dict) else {}
        return self._values[task]

    def _execute(self, statement: str, values: tuple[str, ...] = ()) -> None:
        try:
            self._connection.execute(statement, values)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self._warn(f"{self.name}: {error}; `doit ignore` is not remembered")
            self._connection.close()
            self._connection, _ = _opened(MEMORY)

    def _opened(self) -> tuple[sqlite3.Connection, dict[str, str]]:
        try:
            return _opened(self.name)
        except UnicodeDecodeError:
            return self._opened_anew()
        except sqlite3.DatabaseError as error:
            # Errors that Python raises itself, for example for invalid UTF-8, have no code.
            if getattr(error, "sqlite_errorcode", _DAMAGED[0]) not in _DAMAGED:
                self._warn(f"{self.name}: {error}; `doit ignore` is not remembered")
                return _opened(MEMORY)
        return self._opened_anew()

    def _opened_anew(self) -> tuple[sqlite3.Connection, dict[str, str]]:
        aside = f"{self.name}.damaged"
        self._warn(f"{self.name} is damaged; it was moved to {aside} and a new one is created")
        try:
            Path(f"{self.name}-journal").unlink(missing_ok=True)
            Path(self.name).replace(aside)
            return _opened(self.name)
        except (OSError, sqlite3.Error):
            return _opened(MEMORY)


def _opened(name: str) -> tuple[sqlite3.Connection, dict[str, str]]:
    connection = sqlite3.connect(name, timeout=_TIMEOUT, isolation_level=None)
    try:
        # Losing the file in a power failure does not matter; a killed process cannot damage it.
        connection.execute("pragma synchronous = off")
        connection.execute(
            "create table if not exists doit (task_id text not null primary key, task_data json)"
        )
        rows = connection.execute("select task_id, task_data from doit").fetchall()
        return connection, {str(task): str(text) for task, text in rows}
    except (sqlite3.Error, UnicodeDecodeError):
        connection.close()
        raise
