"""What may be removed from a store, in which order, and what stays whatever is asked."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partition_core.store import upkeep
from partition_core.store.entry import Origin
from partition_core.store.local import LocalStore
from partition_core.store.tiers import Store
from partition_core.store.upkeep import DAY, Limits

NOW = 1_700_000_000.0


class Shelf:
    """A store that is filled by hand."""

    def __init__(self, folder: Path) -> None:
        self.warnings: list[str] = []
        self.local = LocalStore(folder / "store", self.warnings.append)
        other = LocalStore(folder / "other", self.warnings.append)
        self.store = Store(self.local, other, None, self.warnings.append)

    def put(self, recipe: str, seconds: float, used: float = NOW, **files: bytes) -> str:
        """Keep a result; return its key."""
        key = f"{sum(map(ord, recipe)):064x}"
        with self.store.private_folder() as folder:
            for name, content in files.items():
                (folder / name).write_bytes(content)
            paths = {name: folder / name for name in files}
            self.store.keep(key, paths, {}, Origin(recipe, "export", seconds))
        os.utime(self.local.entry_path(key), (used, used))
        return key

    def recipes(self) -> list[str]:
        return [one.result.origin.recipe for one in upkeep.results_in(self.local)]

    def prunable(self, **limits: object) -> list[str]:
        chosen = upkeep.prunable(self.local, Limits(**limits), NOW)  # type: ignore[arg-type]
        return [one.result.origin.recipe for one in chosen]

    def prune(self, **limits: object) -> None:
        chosen = upkeep.prunable(self.local, Limits(**limits), NOW)  # type: ignore[arg-type]
        upkeep.remove(self.local, chosen)

    def digests(self) -> set[str]:
        return {digest for digest, _ in self.local.files()}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_what_is_cheapest_to_make_again_for_each_byte_goes_first(shelf: Shelf) -> None:
    shelf.put("slow", 100.0, model=b"s" * 1000)
    shelf.put("fast", 1.0, model=b"f" * 1000)
    shelf.put("large", 10.0, model=b"l" * 100_000)
    assert shelf.prunable() == ["large", "fast", "slow"]


def test_removal_stops_when_the_rest_is_small_enough(shelf: Shelf) -> None:
    shelf.put("slow", 100.0, model=b"s" * 1000)
    shelf.put("fast", 1.0, model=b"f" * 1000)
    shelf.put("middle", 10.0, model=b"l" * 1000)
    assert shelf.prunable(down_to=3000) == []
    assert shelf.prunable(down_to=2999) == ["fast"]
    assert shelf.prunable(down_to=1000) == ["fast", "middle"]
    assert shelf.prunable(down_to=0) == ["fast", "middle", "slow"]


def test_a_file_of_two_results_is_gained_when_both_are_gone(shelf: Shelf) -> None:
    shelf.put("one", 1.0, model=b"x" * 1000)
    shelf.put("two", 2.0, model=b"x" * 1000)
    shelf.put("three", 3.0, model=b"y" * 1000)
    assert shelf.prunable(down_to=1999) == ["one", "two"]


def test_only_what_was_unused_for_long_enough_goes(shelf: Shelf) -> None:
    shelf.put("old", 1.0, NOW - 40 * DAY, model=b"o")
    shelf.put("new", 1.0, NOW - 20 * DAY, model=b"n")
    assert shelf.prunable(unused_for=30 * DAY) == ["old"]


def test_what_is_in_use_stays(shelf: Shelf) -> None:
    kept = shelf.put("kept", 1.0, NOW - 40 * DAY, model=b"k")
    shelf.put("gone", 1.0, NOW - 40 * DAY, model=b"g")
    shelf.prune(in_use=[kept], down_to=0, unused_for=DAY)
    assert shelf.recipes() == ["kept"]
    assert len(shelf.digests()) == 1


def test_files_that_another_result_has_stay(shelf: Shelf) -> None:
    kept = shelf.put("kept", 1.0, model=b"shared", other=b"kept")
    shelf.put("gone", 1.0, model=b"shared", other=b"gone")
    before = shelf.digests()
    shelf.prune(in_use=[kept])
    assert len(before) == 3
    assert len(shelf.digests()) == 2
    result = shelf.store.find(kept)
    assert result is not None
    assert shelf.store.is_complete(result)


def test_what_killed_builds_left_goes(shelf: Shelf) -> None:
    shelf.put("kept", 1.0, model=b"k")
    folder = shelf.local.folder
    (kept,) = (path for _, path in shelf.local.entries())
    half = kept.with_name(f".{kept.name}.1.part")
    half.write_bytes(b"half")
    assert len(list(shelf.local.entries())) == 1
    assert upkeep.verify(shelf.local, lambda path: None) == (2, [])
    assert shelf.warnings == []
    (folder / "work" / "abandoned").mkdir()
    (folder / "work" / "abandoned" / "half").write_bytes(b"h" * 100)
    (folder / "cas" / "ab").mkdir(exist_ok=True)
    (folder / "cas" / "ab" / ("ab" + 62 * "0")).write_bytes(b"nobody's")
    (folder / "cas" / "ab" / ".abc.1.part").write_bytes(b"half")
    shelf.prune(down_to=10**9)
    assert not half.exists()
    assert shelf.recipes() == ["kept"]
    assert list((folder / "work").iterdir()) == []
    assert list((folder / "cas" / "ab").iterdir()) == []


def test_checkpoints_that_no_build_used_go_when_they_are_old_enough(shelf: Shelf) -> None:
    folder = shelf.local.folder / "checkpoints"
    folder.mkdir(parents=True)
    for name, age in (("aaaaaaaa-used.pth", 40), ("bbbbbbbb-old.pth", 40), ("cccccccc-new.pth", 2)):
        (folder / name).write_bytes(b"weights")
        os.utime(folder / name, (NOW - age * DAY, NOW - age * DAY))

    def chosen(**limits: object) -> list[str]:
        given = Limits(**limits)  # type: ignore[arg-type]
        kept = ["a" * 64]
        return [p.name for p in upkeep.prunable_checkpoints(shelf.local, given, kept, NOW)]

    assert chosen() == ["bbbbbbbb-old.pth", "cccccccc-new.pth"]
    assert chosen(unused_for=30 * DAY) == ["bbbbbbbb-old.pth"]
    assert chosen(down_to=0) == []


def test_verifying_finds_each_flipped_bit_and_each_lost_file(shelf: Shelf) -> None:
    shelf.put("flipped", 1.0, model=b"a" * 100)
    lost = shelf.put("lost", 1.0, model=b"b" * 100)
    sealed = shelf.put("sealed", 1.0, model=b"c" * 100)
    shelf.put("sound", 1.0, model=b"d" * 100)
    assert upkeep.verify(shelf.local, print) == (8, [])
    for one in upkeep.results_in(shelf.local):
        (file,) = one.result.files.values()
        path = shelf.local.file_path(file.digest)
        if one.result.origin.recipe == "flipped":
            flip(path, 50)
        if one.key == lost:
            path.unlink()
    flip(shelf.local.entry_path(sealed), 20)
    sound, problems = upkeep.verify(shelf.local, print)
    assert len(problems) == 4
    assert f"entry {sealed} is damaged" in problems
    assert "'model' of step 'export' of recipe 'lost' is missing" in problems
    assert "'model' of step 'export' of recipe 'flipped' is missing" in problems
    assert sound == 3
    assert upkeep.verify(shelf.local, print)[0] == 3
    assert len(list((shelf.local.folder / "quarantine").iterdir())) == 2


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.chmod(0o644)
    path.write_bytes(content)


def test_the_maker_of_a_file_is_found_by_its_digest(shelf: Shelf) -> None:
    shelf.put("one", 1.0, model=b"x")
    shelf.put("two", 1.0, model=b"x", other=b"y")
    (digest,) = {
        f.digest
        for o in upkeep.results_in(shelf.local)
        for n, f in o.result.files.items()
        if n == "model"
    }
    found = [(name, one.result.origin.recipe) for name, one in upkeep.origins(shelf.local, digest)]
    assert found == [("model", "one"), ("model", "two")]


@settings(max_examples=40)  # each example writes to a disk
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1000),
            st.lists(st.integers(0, 8), min_size=1, max_size=4, unique=True),
            st.booleans(),
        ),
        max_size=8,
    ),
    st.integers(0, 500),
)
def test_no_limit_is_missed_and_no_more_goes_than_must(
    tmp_path_factory: pytest.TempPathFactory,
    given_results: list[tuple[float, list[int], bool]],
    down_to: int,
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    kept = set()
    for number, (seconds, contents, is_kept) in enumerate(given_results):
        files = {f"f{n}": bytes([n]) * 10 * (n + 1) for n in contents}
        key = shelf.put(chr(65 + number), seconds, **files)
        kept |= {key} if is_kept else set()
    everything = upkeep.results_in(shelf.local)
    limits = Limits(down_to=down_to, in_use=kept)
    chosen = upkeep.prunable(shelf.local, limits, NOW)
    assert not kept & {one.key for one in chosen}

    def left(gone: list[upkeep.StoredResult]) -> int:
        keys = {one.key for one in gone}
        rest = [one for one in everything if one.key not in keys]
        return sum({f.digest: f.size for o in rest for f in o.result.files.values()}.values())

    possible = [one for one in everything if one.key not in kept]
    assert left(chosen) <= down_to or len(chosen) == len(possible)
    assert not chosen or left(chosen[:-1]) > down_to
    upkeep.remove(shelf.local, chosen)
    for one in upkeep.results_in(shelf.local):
        assert shelf.store.is_complete(one.result)


LOOKED_UP = """
import sys
from pathlib import Path
from partition_core.store.local import LocalStore

found = LocalStore(Path(sys.argv[1]), print).entry(sys.argv[2])
print("found" if found else "not found", flush=True)
sys.stdin.read()
"""


def test_a_process_that_looked_something_up_does_not_wait_for_itself(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    key = shelf.put("a", 1, x=b"x")
    assert shelf.local.entry(key) is not None

    def prune() -> None:
        with shelf.local.exclusive():
            pass

    thread = threading.Thread(target=prune, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    # Other processes are still waited for.
    with subprocess.Popen(
        [sys.executable, "-c", LOOKED_UP, str(tmp_path / "store"), key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "found\n"
        second = threading.Thread(target=prune, daemon=True)
        second.start()
        second.join(0.5)
        assert second.is_alive()
        other.communicate("")
        second.join(20)
    assert not second.is_alive()
