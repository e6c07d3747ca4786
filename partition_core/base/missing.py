"""The message about a missing file: where it was expected, and which one may be meant."""

from __future__ import annotations

import os
from pathlib import Path

from partition_core.base.errors import quoted, suggestion


def missing_file(root: Path, text: str) -> tuple[str, str, str]:
    """Return what is wrong, what was expected and what to do for a path `text` without a file.

    The path is absolute, or relative to the folder `root`.
    """
    what = f"there is no file {quoted(text)}"
    folder = (root / text).parent
    shown = quoted(os.path.dirname(text)) if os.path.dirname(text) else "the project's folder"
    if not folder.is_dir():
        return what, f"the folder {shown} does not exist either", ""
    return what, f"expected it in {shown}", suggestion(Path(text).name, _files(folder))


def _files(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_file()]
    except OSError:
        return []
