"""The page in a browser: no text of the map is wider than its box, in two fonts; "Fit" fits; boxes
of detections have names."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest
from fontTools.afmLib import AFM
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib.tables._g_l_y_f import Glyph
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from partition_core.report.figures import Detection, Picture, Report, RunDetections
from partition_core.report.map import partition_map
from partition_core.report.overview import Overview, overview
from partition_core.report.writing import _FOLDER, page
from tests.browser import browser, show

from .support import APART, WHOLE, marked_model

FONTS = Path(matplotlib.get_data_path()) / "fonts"
# Names of the widest letters, of signs that the font of the map does not know, and common ones.
NAMES = (
    *("W" * 34, "M%" * 17, "@" * 60, "é" * 34, "漢字" * 17, "Ж" * 34, "w.m_" * 20, "1" * 34),
    *("backbone.layer1.0.conv1", "bbox_head.multi_level_cls_convs", "Übergrößenträger/Würfel"),
)


def helvetica() -> bytes:
    """Return a font with the widths of Helvetica Bold and no shapes."""
    widths = AFM(str(FONTS / "pdfcorefonts" / "Helvetica-Bold.afm"))
    letters = {name: code for name in widths.chars() if 0 < (code := widths[name][0]) < 127}
    made = FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder([".notdef", *letters])
    made.setupCharacterMap({code: name for name, code in letters.items()})
    made.setupGlyf({name: Glyph() for name in (".notdef", *letters)})
    made.setupHorizontalMetrics(
        {".notdef": (500, 0), **{name: (widths[name][1], 0) for name in letters}}
    )
    made.setupHorizontalHeader(ascent=900, descent=-300)
    made.setupNameTable({"familyName": "Measured", "styleName": "Bold"})
    made.setupOS2(sTypoAscender=900, sTypoDescender=-300, usWinAscent=900, usWinDescent=300)
    made.setupPost()
    stream = io.BytesIO()
    made.font.save(stream)
    return stream.getvalue()


def dejavu() -> bytes:
    return (FONTS / "ttf" / "DejaVuSans-Bold.ttf").read_bytes()


def maps() -> Iterator[Overview]:
    """Yield maps whose boxes, marks, tensors and regions have all those names."""
    model = marked_model()
    plain = overview(model, APART, {"rows": 5}, limit=30, smallest=1)
    yield plain
    yield overview(model, WHOLE, {}, limit=1)
    for name in NAMES:
        boxes = tuple(replace(one, module=name) for one in plain.boxes)
        first = plain.crossings[0]
        many = tuple(
            replace(first, names=(f"{name[:k]}{name}",), mark=name, dims=(10**k,) * 4)
            for k in range(5)
        )
        yield replace(plain, boxes=boxes, crossings=(*many, *plain.crossings[1:]))


OUTSIDE = """
const around = (shape) => shape.querySelector("path, polygon").getBoundingClientRect();
const found = [];
for (const shape of document.querySelectorAll(".box, .border, .region")) {
  const outer = around(shape);
  const texts = [...shape.querySelectorAll(":scope > text")].map((text) =>
    [text.textContent, text.getBoundingClientRect()]);
  for (const [text, inner] of texts) {
    if (inner.left < outer.left || inner.right > outer.right) found.push(text);
    for (const [other, beside] of texts) {
      if (other !== text && Math.abs(beside.top - inner.top) < 2 &&
          beside.left < inner.right && inner.left < beside.right) found.push([text, other]);
    }
  }
}
return [document.querySelectorAll("text").length, found];
"""


@pytest.fixture(scope="module")
def driver() -> Iterator[WebDriver]:
    with browser() as opened:
        yield opened


@pytest.mark.parametrize("font", [dejavu, helvetica])
def test_no_text_is_wider_than_its_box(driver: WebDriver, tmp_path: Path, font: object) -> None:
    assert callable(font)
    content = base64.b64encode(font()).decode()
    style = (_FOLDER / "report.css").read_text(encoding="utf-8")
    face = f"@font-face {{ font-family: Measured; src: url(data:font/ttf;base64,{content}); }}"
    drawn = "".join(map(partition_map, maps()))
    path = tmp_path / "map.html"
    path.write_text(
        f"<!doctype html><meta charset=utf-8><style>{style} {face} "
        f"svg text {{ font-family: Measured, 'DejaVu Sans', sans-serif !important; }}</style>"
        f"<body><p style='font-family: Measured'>x</p>{drawn}</body>",
        encoding="utf-8",
    )
    show(driver, path, 1280, "light")
    driver.execute_async_script("document.fonts.ready.then(arguments[0])")
    assert driver.execute_script("return document.fonts.check('12px Measured')")
    texts, outside = driver.execute_script(OUTSIDE)
    assert texts > 20 * len(NAMES)
    assert outside == []


PHONE, DESKTOP = 390, 1280


def detections(count: int) -> RunDetections:
    return RunDetections(
        "PyTorch, eager",
        tuple(
            Detection(5 * k, 5 * k, 40, 30, k, f"class {k}", 0.99 - k / 100, 5 * k + 2, 5 * k + 12)
            for k in range(count)
        ),
    )


def written(folder: Path, drawn: str, count: int = 30) -> Path:
    """Write a page with a map and as many detections in one picture."""
    content = Report(
        recipe="x", about="", summary="", facts=(), segments=(), shared="", outside="",
        idle_marks=(), measuring="", tensors=(), against="", proof_note="", matches=(),
        optimized_note="", command="", recipe_file="", recipe_text="", provenance=(), details={},
        pictures=(Picture("data:,", 320, 240, (detections(count),)),), threshold=0.5,
    )  # fmt: skip
    path = folder / "report.html"
    path.write_text(page(content, drawn, "1"), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_fit_fits_the_whole_width_of_a_map(driver: WebDriver, tmp_path: Path, width: int) -> None:
    plain = overview(marked_model(), APART, {"rows": 5}, limit=30, smallest=1)
    wide = tuple(replace(plain.crossings[0], names=(f"{'w' * 30}{k}",)) for k in range(4))
    drawn = partition_map(replace(plain, crossings=(*wide, *plain.crossings[1:])))
    show(driver, written(tmp_path, drawn), width, "light")

    def widths() -> tuple[float, float]:
        return tuple(
            driver.execute_script(
                "const c = document.getElementById('canvas');"
                "return [c.querySelector('svg').getBoundingClientRect().width, c.clientWidth]"
            )
        )

    assert widths()[0] > PHONE  # else there is nothing to fit on a phone
    for buttons in ((), ("zoom-in", "zoom-in"), ("zoom-out",)):
        for button in (*buttons, "zoom-fit"):
            driver.find_element(By.ID, button).click()
        shown, place = widths()
        assert 0.5 * place < shown <= place


VISIBLE = """
return [...document.querySelectorAll(".detection:not([hidden]) text")].filter(
  (text) => getComputedStyle(text).display !== "none").map((text) => text.textContent)
"""


@pytest.mark.parametrize("count", [3, 12, 30])
def test_the_best_boxes_always_have_names_and_any_that_is_chosen(
    driver: WebDriver, tmp_path: Path, count: int
) -> None:
    show(driver, written(tmp_path, partition_map(next(maps())), count), PHONE, "light")
    best = [f"class {k} {0.99 - k / 100:.2f}" for k in range(12)]
    assert driver.execute_script(VISIBLE) == best[:count]
    driver.execute_script(
        "const s = document.getElementById('score'); s.value = 0.95;"
        "s.dispatchEvent(new Event('input'))"
    )
    assert driver.execute_script(VISIBLE) == best[: min(count, 5)]
    driver.execute_script(
        "const s = document.getElementById('score'); s.value = 0;"
        "s.dispatchEvent(new Event('input'));"
        "[...document.querySelectorAll('.detection')].at(-1).focus()"
    )
    last = f"class {count - 1} {0.99 - (count - 1) / 100:.2f}"
    assert driver.execute_script(VISIBLE)[-1] == last


def test_a_page_without_a_map_says_so_and_works(driver: WebDriver, tmp_path: Path) -> None:
    path = written(tmp_path, "")
    show(driver, path, PHONE, "light")
    assert [entry["message"] for entry in driver.get_log("browser")] == []
    assert "This report has no map." in driver.find_element(By.TAG_NAME, "main").text
    assert driver.execute_script("return document.documentElement.scrollWidth") <= PHONE
    assert len(driver.execute_script(VISIBLE)) == 12
