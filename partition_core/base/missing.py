"""What is told of a file that is not there: where it was looked for, and which one may be meant."""

from __future__ import annotations

import os
from pathlib import Path

from partition_core.base.errors import quoted, suggestion


def missing_file(root: Path, text: str) -> tuple[str, str, str]:
    """Return what is wrong, what was expected and what to do, of the path `text` without a file.

    It is relative to the folder `root`, or absolute.
    """
    what = f"there is no file {quoted(text)}"
    folder = (root / text).parent
    shown = quoted(os.path.dirname(text)) if os.path.dirname(text) else "the project's folder"
    if not folder.is_dir():
        return what, f"and no folder {shown}", ""
    return what, f"expected it in {shown}", suggestion(Path(text).name, _files(folder))


def _files(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as found:
            return [entry.name for entry in found if entry.is_file()]
    except OSError:
        return []
