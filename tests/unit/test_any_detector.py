"""The table of cut models: which published places count as the same, and what its rows say."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NODE = "/model.22/cv2.0/cv2.0.2/Conv"
SECOND = "/model.22/cv2.1/cv2.1.2/Conv"


@pytest.fixture(scope="module")
def pages() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("any_detector_page")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads((ROOT / "docs" / "any_detector.json").read_text())
    return read


@pytest.mark.parametrize(
    ("heads", "places", "same"),
    [
        pytest.param([NODE, SECOND], (SECOND, NODE), True, id="the same nodes"),
        pytest.param([NODE, SECOND], ("cv2.0", "cv2.1"), True, id="the ends of modules"),
        pytest.param([NODE], (NODE, SECOND), False, id="one is missing"),
        pytest.param([NODE, SECOND], (NODE,), False, id="one more"),
        pytest.param([NODE, NODE], ("cv2.0",), False, id="one module twice"),
        pytest.param([NODE], ("/model.22/cv2.0/cv2.0.1/Conv",), False, id="another node there"),
        pytest.param([NODE], ("cv2",), False, id="part of a module's name"),
        pytest.param(["/h/c/Conv", "/h/c/Conv_1"], ("c", "c"), True, id="a module called twice"),
    ],
)
def test_places_are_compared(
    pages: ModuleType, heads: list[str], places: tuple[str, ...], same: bool
) -> None:
    published = pages.Published(pages.Source("vendor/zoo", "0" * 40), "file", places)

    assert pages.is_same(heads, published) is same


def test_the_page_is_that_of_its_rows(pages: ModuleType, rows: list[dict[str, Any]]) -> None:
    assert (ROOT / "docs" / "any_detector.md").read_text(encoding="utf-8") == pages.page(rows)


def test_forty_models_are_cut_where_vendors_end_them(
    pages: ModuleType, rows: list[dict[str, Any]]
) -> None:
    places = {
        (each.library, each.name): [p for p in each.published if p.places]
        for each in pages.CANDIDATES
    }
    cut = [row for row in rows if row["heads"]]
    compared = [row for row in cut if places[row["library"], row["name"]]]
    same = [
        row
        for row in compared
        if any(pages.is_same(row["heads"], p) for p in places[row["library"], row["name"]])
    ]

    assert len(cut) >= 40
    assert len(same) >= 0.9 * len(compared)
    assert all(row["proof"].startswith("proven on 2 inputs") for row in cut)
    assert all(row["problem"] for row in rows if not row["heads"])


def test_every_source_is_at_a_commit(pages: ModuleType) -> None:
    published = [each for candidate in pages.CANDIDATES for each in candidate.published]

    assert all(len(each.source.commit) == 40 for each in published)
    assert all(bool(each.places) != bool(each.differs) for each in published)
