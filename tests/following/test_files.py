"""Which files, folders, questions and variables are followed, and what stands for them."""

from __future__ import annotations

import ctypes
import glob
import io
import json
import mmap
import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from .user import User


def by_open(path: Path) -> None:
    with path.open() as stream:
        json.load(stream)


def by_descriptor(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    with mmap.mmap(handle, 0, access=mmap.ACCESS_READ) as content:
        content.read()
    os.close(handle)


def by_code(path: Path) -> None:
    with io.open_code(str(path)) as stream:
        stream.read()


def by_thread(path: Path) -> None:
    reader = threading.Thread(target=path.read_bytes)
    reader.start()
    reader.join()


def by_relative_bytes(path: Path) -> None:
    Path(os.fsdecode(os.fsencode(os.path.relpath(path)))).read_bytes()


READERS: dict[str, Callable[[Path], object]] = {
    "open": by_open,
    "a descriptor": by_descriptor,
    "open_code": by_code,
    "a thread": by_thread,
    "a relative path": by_relative_bytes,
    "numpy": lambda path: np.fromfile(path, np.uint8),
    "a memory map": lambda path: np.memmap(path, np.uint8, mode="r"),
    "a copy": lambda path: shutil.copyfile(path, path.with_name("copy")),
    "a link": lambda path: os.link(path, path.with_name("link")),
    "OpenCV, which tells Python nothing": lambda path: cv2.imread(str(path)),
    "torch.from_file, which neither": lambda path: torch.from_file(str(path), size=2),
    "its size": os.path.getsize,
    "its time": os.path.getmtime,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_file_counts_by_its_content_however_it_is_read(
    user: User, read: Callable[[Path], object]
) -> None:
    path = user.write("project/data.json", '{"a": [1, 2, 3]}')
    labels = user.labels(lambda: read(path))
    assert labels == ["file data.json"]
    before = user.texts(labels)
    os.utime(path, (1, 1))
    assert user.texts(labels) == before
    path.write_text('{"a": [1, 2, 4]}')
    assert user.texts(labels) != before


def test_what_torch_and_zipfile_read_counts(user: User) -> None:
    for name in ("legacy.pt", "weights.pt"):
        torch.save({"a": torch.ones(3)}, name, _use_new_zipfile_serialization=name == "weights.pt")
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.ones(1)), "script.pt")
    with zipfile.ZipFile("archive.zip", "w") as archive:
        archive.writestr("a", "b")

    def read() -> None:
        torch.load("legacy.pt")
        torch.load("weights.pt", mmap=True)
        torch.jit.load("script.pt")
        torch._C.PyTorchFileReader("script.pt")
        zipfile.ZipFile("archive.zip").read("a")

    names = ("archive.zip", "legacy.pt", "script.pt", "weights.pt")
    assert user.labels(read) == [f"file {name}" for name in names]


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit


def test_labels_hold_no_path_of_the_machine_below_the_project_and_the_home_folder(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(user.elsewhere))
    inside = user.write("project/a/b.txt", "1")
    tilde = user.write("project/~c", "1")
    home = user.write("elsewhere/d.txt", "1")
    other = user.write("library/e.txt", "1")

    def read() -> None:
        for path in (inside, tilde, home, other):
            path.read_text()

    labels = user.labels(read)
    assert labels == ["file ./~c", f"file {other}", "file a/b.txt", "file ~/d.txt"]
    assert len(set(user.texts(labels))) == 1


def test_a_file_that_is_looked_for_in_vain_counts_when_it_appears(user: User) -> None:
    def build() -> None:
        if Path("pretrained.pt").exists() or os.path.isdir("extra"):
            raise AssertionError
        with pytest.raises(FileNotFoundError):
            Path("settings.json").read_text()

    labels = user.labels(build)
    assert labels == ["file settings.json", "presence of extra", "presence of pretrained.pt"]
    assert user.texts(labels) == ["missing"] * 3
    user.write("project/pretrained.pt", "")
    user.write("project/settings.json", "")
    user.write("project/extra/x", "")
    assert "missing" not in user.texts(labels)


def test_of_a_file_that_is_only_asked_for_its_presence_counts_and_not_its_content(
    user: User,
) -> None:
    path = user.write("project/flag", "1")
    labels = user.labels(path.exists)
    assert labels == ["presence of flag"]
    before = user.texts(labels)
    path.write_text("2")
    assert user.texts(labels) == before
    path.unlink()
    assert user.texts(labels) == ["missing"]


def newest() -> str:
    return max(glob.glob("ckpts/*.pt"), key=os.path.getmtime)


@pytest.fixture
def checkpoints(user: User) -> User:
    for number in (1, 2, 3):
        path = user.write(f"project/ckpts/epoch_{number}.pt", str(number))
        os.utime(path, (number, number))
    user.write("project/ckpts/train.log", "")
    return user


@pytest.mark.parametrize(
    "listing",
    [
        lambda: glob.glob("ckpts/*.pt"),
        lambda: os.listdir("ckpts"),
        lambda: list(Path("ckpts").iterdir()),
        lambda: list(Path().rglob("*.pt")),
        lambda: list(os.walk("ckpts")),
    ],
)
def test_the_names_in_a_folder_count(checkpoints: User, listing: Callable[[], object]) -> None:
    labels = checkpoints.labels(listing)
    assert "names in ckpts" in labels
    before = checkpoints.texts(labels)
    assert checkpoints.texts(labels) == before
    checkpoints.write("project/ckpts/epoch_4.pt", "")
    assert checkpoints.texts(labels) != before


@pytest.mark.parametrize(
    "choose",
    [
        newest,
        lambda: max(Path("ckpts").glob("*.pt"), key=lambda path: path.stat().st_mtime),
        lambda: max(os.scandir("ckpts"), key=lambda entry: entry.stat().st_mtime),
    ],
    ids=["getmtime", "Path.stat", "scandir"],
)
def test_the_newest_file_of_a_folder_is_chosen_again_when_another_one_is_written(
    checkpoints: User, choose: Callable[[], object]
) -> None:
    labels = checkpoints.labels(choose)
    before = checkpoints.texts(labels)
    # Another machine has other times, and the same order.
    for number in (1, 2, 3):
        os.utime(f"ckpts/epoch_{number}.pt", (number + 100, number + 100))
    os.utime("ckpts/train.log", (500, 500))
    if choose is newest:
        assert checkpoints.texts(labels) == before
    # A training that was stopped early wrote the first one again.
    Path("ckpts/epoch_1.pt").write_text("1, trained again")
    assert checkpoints.texts(labels) != before


def test_what_a_build_makes_itself_is_no_input(user: User) -> None:
    def build() -> None:
        Path("made.txt").write_text("1")
        Path("made.txt").read_text()
        Path("log.txt").open("a").close()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "part"
            path.write_text("x")
            path.rename(Path(folder) / "whole")
            (Path(folder) / "whole").read_text()
        with tempfile.TemporaryFile() as stream:
            stream.write(b"x")
        Path("folder").mkdir()
        (Path("folder") / "a").write_text("x")
        os.listdir("folder")

    assert user.follow(build).entries == ()


def test_who_walks_through_the_project_means_no_build_and_no_version_control(user: User) -> None:
    for name in ("build/tiny/a.onnx", ".git/objects/a", "pkg/__pycache__/a.pyc", "pkg/a.txt"):
        user.write(f"project/{name}", "x")
    os.mkdir("build/tiny/folder")

    def walk() -> None:
        list(Path().rglob("*.pt"))
        os.path.exists("build/tiny/a.onnx")
        Path("build/tiny/a.onnx").read_text()

    labels = user.labels(walk)
    assert labels == ["file build/tiny/a.onnx", "names in .", "names in pkg"]
    before = user.texts(labels)
    user.write("project/build/tiny/b.onnx", "")
    user.write("project/.doit.db", "")
    shutil.rmtree(".git/objects")
    assert user.texts(labels) == before


def test_names_that_are_no_text_are_told(user: User) -> None:
    name = b"\xff.txt"
    Path(os.fsdecode(name)).write_text("x")

    def read() -> None:
        with open(name) as stream:
            stream.read()

    found = user.follow(read)
    assert (found.entries, found.outside) == (
        (),
        ("a file or folder whose name is not text",),
    )


def test_removing_folders_leaves_no_trace(user: User) -> None:
    def build() -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "inner" / "deeper").mkdir(parents=True)
            (Path(folder) / "inner" / "file").write_text("")

    assert user.follow(build).entries == ()


def test_a_file_that_is_read_and_then_written_cannot_be_followed(user: User) -> None:
    path = user.write("project/cache.json", "1")

    def build() -> None:
        path.write_text(path.read_text() + "1")

    found = user.follow(build)
    assert (found.entries, found.changed) == ((), ())
    assert found.outside == ("the file 'cache.json', which it reads and writes",)


def test_a_file_that_is_made_where_none_was_counts_as_missing(user: User) -> None:
    def build() -> None:
        if not os.path.exists("cache.json"):
            Path("cache.json").write_text("1")

    assert user.follow(build).entries == (("presence of cache.json", "missing"),)
    # So it is built once more, now with the file; then nothing changes any more.
    assert user.follow(build).entries == (("presence of cache.json", "file"),)


@pytest.mark.parametrize("change", ["content", "gone", "names", "appeared"])
def test_what_changes_while_it_is_read_is_told(user: User, change: str) -> None:
    path = user.write("project/a.txt", "1")

    def build() -> None:
        path.read_text()
        os.listdir()
        os.path.exists("b.txt")
        # As another process would.
        libc = ctypes.CDLL(None)
        if change == "content":
            os.truncate(path, 0)
        elif change == "gone":
            libc.unlink(os.fsencode(path))
        else:
            libc.mkdir(b"c" if change == "names" else b"b.txt", 0o755)

    changed = user.follow(build).changed
    expected = {
        "content": ("file a.txt",),
        "gone": ("file a.txt", "names in ."),
        "names": ("names in .",),
        "appeared": ("names in .", "presence of b.txt"),
    }
    assert changed == expected[change]


def test_variables_count_by_value_and_are_not_told(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKBONE", "secret-r18")
    monkeypatch.delenv("DEPTH", raising=False)

    def build() -> None:
        os.environ["MADE"] = "x"
        assert os.environ["MADE"] == "x"
        assert os.environ["BACKBONE"]
        assert os.getenv("DEPTH") is None
        assert "WIDTH" not in os.environ
        assert {**os.environ, "MORE": "1"}
        assert os.environ.copy() == dict(os.environ)

    found = user.follow(build)
    monkeypatch.delenv("MADE")
    labels = [label for label, _ in found.entries]
    assert labels == ["variable BACKBONE", "variable DEPTH", "variable WIDTH"]
    assert "secret" not in str(found)
    assert user.texts(labels) == [text for _, text in found.entries]
    monkeypatch.setenv("BACKBONE", "r50")
    monkeypatch.setenv("DEPTH", "1")
    changed = dict(zip(labels, user.texts(labels), strict=True)).items() - set(found.entries)
    assert {label for label, _ in changed} == {"variable BACKBONE", "variable DEPTH"}


def test_what_was_known_before_and_the_store_are_no_discoveries(user: User) -> None:
    known = user.write("project/known.txt", "1")
    private = user.write("elsewhere/store/entry", "1")

    def read() -> None:
        known.read_text()
        private.read_text()
        Path("/proc/self/status").read_text()
        Path("/etc/hostname").exists()

    found = user.follow(read, paths=(str(known),), private=(str(private.parent),))
    assert found.entries == ()
