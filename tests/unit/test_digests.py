"""Digests of files, remembered across runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from partition_core.base import digests
from partition_core.base.digests import Digests
from partition_core.base.disk import Digest, digest_of, write_whole
from partition_core.base.file_stamp import SETTLED_AFTER


def settled(path: Path, content: bytes) -> None:
    write_whole(path, content)
    time.sleep(SETTLED_AFTER + 0.05)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that gets each file that is read from now on."""
    read: list[Path] = []
    original = digests.file_digest

    def counted(path: Path) -> Digest:
        read.append(path)
        return original(path)

    monkeypatch.setattr(digests, "file_digest", counted)
    return read


def test_a_digest_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, memory = tmp_path / "file", tmp_path / "memory"
    settled(path, b"one")
    read = reads(monkeypatch)
    known = Digests(memory)
    assert known.of(path) == known.of(path) == digest_of(b"one")
    known.save()
    assert Digests(memory).of(path) == digest_of(b"one")
    assert len(read) == 1
    stat = path.stat()
    with path.open("r+b") as stream:
        stream.write(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert Digests(memory).of(path) == digest_of(b"two")
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
    monkeypatch.setattr(digests, "boot", lambda: "another")
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
    assert Digests(tmp_path / "memory").of(tmp_path / "file") == digest_of(b"one")


def test_what_is_no_file_has_no_digest(tmp_path: Path) -> None:
    known = Digests(tmp_path / "memory")
    (tmp_path / "folder").mkdir()
    known.learn(tmp_path / "missing", digest_of(b"x"))
    for name in ("missing", "folder", "missing/deeper"):
        assert known.of(tmp_path / name) is None


def test_watching_tells_every_path_that_was_asked_for(tmp_path: Path) -> None:
    known = Digests(tmp_path / "memory")
    (tmp_path / "file").write_bytes(b"one")
    known.of(tmp_path / "before")
    with known.watched() as seen:
        known.of(tmp_path / "file")
        known.look(tmp_path / "missing")
    known.of(tmp_path / "after")
    assert set(seen) == {str(tmp_path / "file"), str(tmp_path / "missing")}
    assert set(known.stamps) >= {str(tmp_path / name) for name in ("before", "file", "after")}
