"""The settings of a project: `partition.toml`, and environment variables that override it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from partition_core.base.errors import (
    BuildError,
    Place,
    Problem,
    one_of,
    problem,
    quoted,
    suggestion,
)
from partition_core.base.folders import SETTINGS
from partition_core.base.outside_files import content_of

FOLDER_VARIABLE = "PARTITION_CORE_STORE"
REMOTE_VARIABLE = "PARTITION_CORE_REMOTE"
WRITE_VARIABLE = "PARTITION_CORE_REMOTE_WRITE"
REPORT_VARIABLE = "PARTITION_CORE_REPORT"

_KEYS: dict[str, type] = {
    "store": str,
    "remote": str,
    "remote_write": bool,
    "salt": str,
    "report": bool,
}


@dataclass(frozen=True)
class Settings:
    """What all recipes of a project share.

    `store` is the folder of the machine's store. `remote` is the URL or folder of a store shared
    with others, or empty; results of this machine are sent to it if `remote_write`.
    `cache_namespace`, the key `salt`, is part of every cache key. A build writes its report if
    `report`.
    """

    store: Path
    remote: str = ""
    remote_write: bool = False
    cache_namespace: str = ""
    report: bool = True


def read_settings(root: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of the project in `root`; raises BuildError for a wrong file."""
    variables = os.environ if environment is None else environment
    written = _written(root / SETTINGS)
    folder = variables.get(FOLDER_VARIABLE) or written.get("store")
    return Settings(
        store=root / os.path.expanduser(str(folder)) if folder else _default_folder(variables),
        remote=os.path.expanduser(str(variables.get(REMOTE_VARIABLE, written.get("remote", "")))),
        remote_write=_flag(variables.get(WRITE_VARIABLE), written.get("remote_write", False)),
        cache_namespace=str(written.get("salt", "")),
        report=_flag(variables.get(REPORT_VARIABLE), written.get("report", True)),
    )


def _flag(variable: str | None, written: object) -> bool:
    return variable not in ("", "0") if variable is not None else bool(written)


def _default_folder(variables: Mapping[str, str]) -> Path:
    """Return a folder in the user's cache (XDG Base Directory Specification)."""
    cache = variables.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "partition-core"


def _written(path: Path) -> dict[str, object]:
    try:
        content = tomllib.loads(content_of(path).decode())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unreadable(error.strerror or str(error)) from error
    except RecursionError as error:
        raise _unreadable("it is nested too deeply") from error
    except ValueError as error:
        raise _unreadable(str(error)) from error
    problems = [
        _wrong(f"unknown key {quoted(key)}", one_of(_KEYS), suggestion(key, _KEYS))
        for key in content
        if key not in _KEYS
    ]
    problems += [
        _wrong(f"'{key}' is {quoted(str(content[key]))}", f"expected a {kind.__name__}")
        for key, kind in _KEYS.items()
        if key in content and not isinstance(content[key], kind)
    ]
    problems += [
        _wrong(f"'{key}' contains a NUL character", "expected text")
        for key, value in content.items()
        if isinstance(value, str) and "\0" in value
    ]
    BuildError.refuse(problems)
    return content


def _unreadable(why: str) -> BuildError:
    return BuildError(_wrong(f"cannot be read: {why}"))


def _wrong(what: str, expected: str = "", remedy: str = "") -> Problem:
    return problem(Place(SETTINGS), what, expected, remedy)
