"""What is read of files that anyone may have put there, and what is no file at all."""

from __future__ import annotations

import json
import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from partition_core.base.array_files import arrays_in
from partition_core.base.digests import Digests
from partition_core.base.disk import digest_of, file_digest
from partition_core.base.outside_files import content_of, json_in, memory_in, memory_text, opened
from partition_core.cli.doit_database import Database
from partition_core.graph.file.byte_range import File
from partition_core.store.entry import Origin, Result, StoredFile
from partition_core.store.local import LocalStore


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(path))


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a pipe": pipe,
    "a device": endless,
    "a folder": Path.mkdir,
    "a socket": bound,
}
READERS: dict[str, Callable[[Path], object]] = {
    "opened": opened,
    "content_of": content_of,
    "json_in": json_in,
    "file_digest": file_digest,
    "arrays_in": arrays_in,
    "File": File,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, kind: str, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    NO_FILES[kind](Path("it"))
    with pytest.raises(OSError) as error:  # noqa: PT011  # reason: its words are looked at below
        READERS[reader](Path("it"))
    words = {"a socket": "No such device", "a folder": "Is a directory"}
    assert (error.value.strerror or "").startswith(words.get(kind, f"it is {kind}, not a file"))
    assert error.value.filename == "it"


@pytest.mark.parametrize("reader", READERS)
def test_a_path_that_cannot_be_is_an_error_of_the_disk(tmp_path: Path, reader: str) -> None:
    for name in ("a\0b", "x" * 5000):
        with pytest.raises(OSError, match=r"NUL|too long"):
            READERS[reader](tmp_path / name)


def test_no_more_is_read_than_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 11)
    assert content_of(tmp_path / "large", 11) == b"x" * 11
    with pytest.raises(OSError, match="it has more than 10 bytes"):
        content_of(tmp_path / "large", 10)


def test_json_without_end_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "deep").write_bytes(b"[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        json_in(tmp_path / "deep")


@pytest.mark.parametrize("change", [{"a": 2}, {"b": 1}, {"checksum": 0}])
def test_a_memory_that_was_changed_is_not_believed(tmp_path: Path, change: dict[str, int]) -> None:
    path = tmp_path / "memory"
    path.write_bytes(memory_text({"a": 1, "c": ["é", 0.1]}))
    assert memory_in(path) == {"a": 1, "c": ["é", 0.1]}
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}))
    with pytest.raises(ValueError, match="checksum does not match"):
        memory_in(path)


@pytest.mark.costly
def test_arrays_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as stream,
    ):
        shape = {"descr": "<f4", "fortran_order": False, "shape": (100 << 20,)}
        np.lib.format.write_array_header_1_0(stream, shape)
        for _ in range(400):
            stream.write(bytes(1 << 20))
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(ValueError, match=r"its arrays have 41943.* bytes, but at most 268435456"):
        arrays_in(bomb)


def test_an_array_that_says_to_be_larger_than_it_is_is_refused(tmp_path: Path) -> None:
    liar = tmp_path / "liar.npz"
    with zipfile.ZipFile(liar, "w") as archive, archive.open("x.npy", "w") as stream:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
        np.lib.format.write_array_header_1_0(stream, shape)
    with pytest.raises(ValueError, match=r"the header of 'x\.npy' claims 4398046511104 bytes"):
        arrays_in(liar)


def test_large_arrays_are_read_that_their_file_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partition_core.base.array_files.FREE", 100)
    values = np.random.default_rng(0).normal(size=1000)
    np.savez_compressed(tmp_path / "whole.npz", x=values)
    assert (arrays_in(tmp_path / "whole.npz")["x"] == values).all()
    np.savez_compressed(tmp_path / "packed.npz", x=np.zeros(100_000))
    with pytest.raises(ValueError, match="but at most"):
        arrays_in(tmp_path / "packed.npz")


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
@pytest.mark.parametrize("what", ["file", "entry"])
def test_something_else_in_the_place_of_what_a_store_holds_is_a_miss(
    tmp_path: Path, kind: str, what: str
) -> None:
    told: list[str] = []
    store = LocalStore(tmp_path / "store", told.append)
    (tmp_path / "work").write_bytes(b"some bytes")
    file = store.put_file(tmp_path / "work")
    key = digest_of(b"key")
    (tmp_path / "again").write_bytes(b"some bytes")
    result = Result({"work": file}, {}, Origin("x", "export", 1.0))
    store.put_entry(key, result)
    path = store.file_path(file.digest) if what == "file" else store.entry_path(key)
    path.unlink()
    NO_FILES[kind](path)
    assert (store.path_of(file) if what == "file" else store.entry(key)) is None
    (line,) = told
    assert "is damaged; it was moved to" in line
    store.put_file(tmp_path / "again")
    store.put_entry(key, result)
    assert store.entry(key) == result
    assert store.path_of(StoredFile(file.digest, 10)) is not None


def test_something_else_in_the_place_of_a_memory_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one")
    for kind, make in list(NO_FILES.items())[:3]:
        memory = tmp_path / kind
        make(memory)
        known = Digests(memory)
        assert known.of(tmp_path / "file") == digest_of(b"one")
        known.save()


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
def test_a_database_that_is_no_file_is_not_used(tmp_path: Path, kind: str) -> None:
    told: list[str] = []
    NO_FILES[kind](tmp_path / "db")

    class Codec:
        encode = staticmethod(json.dumps)
        decode = staticmethod(json.loads)

    database = Database(str(tmp_path / "db"), Codec(), told.append)
    database.set("build", "values", {"a": 1})
    assert database.get("build", "values") == {"a": 1}
    database.dump()
    assert len(told) == 1
