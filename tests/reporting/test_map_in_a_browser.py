"""The map as a browser shows it: no text is wider than its box, in two fonts; "Fit" fits."""

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
from selenium.webdriver.remote.webdriver import WebDriver

from partition_core.cutting.overview import Overview, overview
from partition_core.reporting.drawing import partition_map
from partition_core.reporting.writing import _FOLDER
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
    page = tmp_path / "map.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8><style>{style} {face} "
        f"svg text {{ font-family: Measured, 'DejaVu Sans', sans-serif !important; }}</style>"
        f"<body><p style='font-family: Measured'>x</p>{drawn}</body>",
        encoding="utf-8",
    )
    show(driver, page, 1280, "light")
    driver.execute_async_script("document.fonts.ready.then(arguments[0])")
    assert driver.execute_script("return document.fonts.check('12px Measured')")
    texts, outside = driver.execute_script(OUTSIDE)
    assert texts > 20 * len(NAMES)
    print(sorted(set(map(str, outside))))
    assert outside == []
