"""What a build leaves in the store and beside it, whole or not."""

from __future__ import annotations

from pathlib import Path

from partition_core.store.entry import decode


def entries(store: Path) -> list[Path]:
    return list((store / "v1" / "ac").glob("??/[!.]*"))


def finished(store: Path) -> set[str]:
    """Return the steps whose results are in the store, whole."""
    found = set()
    for path in entries(store):
        result = decode(path.name, path.read_bytes())
        assert result is not None, f"half an entry: {path.name}"
        for file in result.files.values():
            assert (store / "v1" / "cas" / file.digest[:2] / file.digest).exists()
        found.add(result.origin.step)
    return found


def remains(*folders: Path) -> list[str]:
    """Return what builds leave behind that were not ended in order."""
    return [
        str(path)
        for folder in folders
        for path in folder.rglob("*")
        if path.name.endswith(".part") or path.parent.name == "work"
    ]
