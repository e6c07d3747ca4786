"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from partition_core.base import disk
from partition_core.base.disk import copy_verified, link_whole, written_whole


def sha256(content: bytes) -> disk.Digest:
    return disk.Digest(hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 70, 1003])
@pytest.mark.parametrize("inside_the_kernel", [True, False])
def test_a_copy_has_the_bytes_and_is_verified(
    size: int, inside_the_kernel: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_PART", 70)
    monkeypatch.setattr(disk, "_BUFFER", 10)
    if not inside_the_kernel:
        monkeypatch.setattr(os, "copy_file_range", refuses)
    content = os.urandom(size)
    (tmp_path / "source").write_bytes(content)
    assert copy_verified(tmp_path / "source", tmp_path / "target", sha256(content))
    assert (tmp_path / "target").read_bytes() == content
    assert not copy_verified(tmp_path / "source", tmp_path / "other", sha256(content + b"x"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def refuses(*_: Any) -> int:
    raise OSError(errno.EXDEV, "another disk")


def test_a_wrong_copy_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"wrong")
    (tmp_path / "target").write_bytes(b"former")
    assert not copy_verified(tmp_path / "source", tmp_path / "target", sha256(b"right"))
    assert (tmp_path / "target").read_bytes() == b"former"


def test_an_error_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"former")
    with pytest.raises(IsADirectoryError), written_whole(target) as part:
        assert part.write_bytes(b"half") and tmp_path.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert target.read_bytes() == b"former"


def test_a_linked_file_cannot_be_written_by_its_owner(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"content")
    link_whole(tmp_path / "source", tmp_path / "cas" / "target")
    link_whole(tmp_path / "source", tmp_path / "cas" / "target")
    target = tmp_path / "cas" / "target"
    assert target.read_bytes() == b"content"
    assert target.stat().st_mode & 0o222 == 0
