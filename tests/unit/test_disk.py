"""Digests that are remembered, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest

from partition_core import disk
from partition_core.disk import Digests, copy_verified, link_whole, write_whole, written_whole
from partition_core.identity import SETTLED_AFTER


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


def settled(path: Path, content: bytes) -> None:
    write_whole(path, content)
    time.sleep(SETTLED_AFTER + 0.05)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that gets each file that is read from now on."""
    read: list[Path] = []
    original = disk.file_digest

    def counted(path: Path) -> disk.Digest:
        read.append(path)
        return original(path)

    monkeypatch.setattr(disk, "file_digest", counted)
    return read


def test_a_digest_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, memory = tmp_path / "file", tmp_path / "memory"
    settled(path, b"one")
    read = reads(monkeypatch)
    digests = Digests(memory)
    assert digests.of(path) == digests.of(path) == sha256(b"one")
    digests.save()
    assert Digests(memory).of(path) == sha256(b"one")
    assert len(read) == 1
    stat = path.stat()
    with path.open("r+b") as stream:
        stream.write(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert Digests(memory).of(path) == sha256(b"two")
    assert len(read) == 2


def test_a_digest_is_not_believed_after_the_machine_was_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, memory = tmp_path / "file", tmp_path / "memory"
    settled(path, b"one")
    first = Digests(memory)
    first.of(path)
    first.save()
    read = reads(monkeypatch)
    Digests(memory).of(path)
    assert read == []
    monkeypatch.setattr(disk, "boot", lambda: "another")
    Digests(memory).of(path)
    assert read == [path]


def test_a_file_that_changed_just_now_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, memory = tmp_path / "file", tmp_path / "memory"
    path.write_bytes(b"one")
    first = Digests(memory)
    first.of(path)
    first.save()
    read = reads(monkeypatch)
    Digests(memory).of(path)
    assert read == [path]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"boot": 1}', b"\xff\xfe", b"null"])
def test_a_memory_that_cannot_be_read_is_an_empty_one(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "memory").write_bytes(content)
    (tmp_path / "file").write_bytes(b"one")
    assert Digests(tmp_path / "memory").of(tmp_path / "file") == sha256(b"one")


def test_what_is_no_file_has_no_digest(tmp_path: Path) -> None:
    digests = Digests(tmp_path / "memory")
    (tmp_path / "folder").mkdir()
    digests.learn(tmp_path / "missing", sha256(b"x"))
    for name in ("missing", "folder", "missing/deeper"):
        assert digests.of(tmp_path / name) is None


def test_watching_tells_every_path_that_was_asked_for(tmp_path: Path) -> None:
    digests = Digests(tmp_path / "memory")
    (tmp_path / "file").write_bytes(b"one")
    digests.of(tmp_path / "before")
    with digests.watched() as seen:
        digests.of(tmp_path / "file")
        digests.look(tmp_path / "missing")
    digests.of(tmp_path / "after")
    assert set(seen) == {str(tmp_path / "file"), str(tmp_path / "missing")}
    assert set(digests.seen) >= {str(tmp_path / name) for name in ("before", "file", "after")}
