"""Whatever is in a file that comes from outside: it is read, or refused in words of ours.

Nothing raises anything else, ends Python, hangs, or takes much time or memory. The many cases of
`python -m pytest -n auto -m fuzz` are the same each time, and so are the few that always run.
"""

from __future__ import annotations

import os
import time

import pytest

from . import cases, limited, stores
from .limited import BUILDING, READING, Case, Limits, faults

READERS: dict[str, Case] = {**cases.CASES, **stores.CASES}
MANY = {
    "recipes": 20_000,
    "ONNX files": 2_000,
    "builds of ONNX files": 2_000,
    "settings": 5_000,
    "files of arrays": 5_000,
    "checkpoints": 2_000,
    "entries of a store": 5_000,
    "poisoned entries": 1_000,
    "memories": 1_000,
    "databases": 2_000,
    "manifests": 2_000,
    "answers": 2_000,
}
"""Seeds of each, of `-m fuzz`."""
SLOW_TO_IMPORT = ("checkpoints",)
FEW = 5
FIRST = 1 << 20
"""Where the few seeds start, which are others than the many."""


def one_of_all(seed: tuple[str, int]) -> None:
    """Read what a seed makes for one of the readers."""
    what, number = seed
    READERS[what](number)


def test_a_few_changes_are_read_or_refused() -> None:
    seeds = [
        (what, number)
        for what in MANY
        if what not in SLOW_TO_IMPORT
        for number in range(FIRST, FIRST + FEW)
    ]
    assert faults(one_of_all, seeds, BUILDING) == []


@pytest.mark.fuzz
@pytest.mark.parametrize("piece", range(4))
@pytest.mark.parametrize("what", MANY)
def test_many_changes_are_read_or_refused(what: str, piece: int) -> None:
    limits = BUILDING if what == "builds of ONNX files" else READING
    found = faults(READERS[what], list(range(piece, MANY[what], 4)), limits)
    assert not found, f"{len(found)} faults:\n" + "\n".join(found[:5])


def spoilt(seed: str) -> None:
    """Do what a reader must not do."""
    if seed == "hangs":
        os.read(os.pipe()[0], 1)
    elif seed == "dies":
        os.abort()
    elif seed == "raises":
        raise KeyError("summary")
    elif seed == "fills memory":
        assert len(b"x" * (200 << 20))
    elif seed == "works":
        while time.process_time() < 3:
            pass


SPOILT = {
    "raises": "KeyError: 'summary'\n",
    "dies": "the process ended with code -6",
    "works": " s",
    "fills memory": " MB",
    "hangs": "hangs for more than 20.0 s",
}


@pytest.mark.fuzz
def test_what_a_reader_must_not_do_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited, "_SILENCE", 20.0)
    seeds = ["fine", *SPOILT, "fine too"]
    found = faults(spoilt, seeds, Limits(1.0, 100 << 20, 1500 << 20))
    assert [told.partition(":")[0] for told in found] == [f"seed {seed}" for seed in SPOILT]
    for told, words in zip(found, SPOILT.values(), strict=True):
        assert told.endswith(words)
