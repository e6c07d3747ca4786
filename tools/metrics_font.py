"""Writes the font by which Graphviz measures the report's map: widths, and no shapes.

Each letter is as wide as the widest of the fonts in which a browser may show it: text must not
leave its box on any machine. Run it with the `mmdet` extra installed, whose matplotlib brings
fontTools, Adobe's widths of Helvetica and DejaVu Sans:
`python tools/metrics_font.py`. The same bytes come out every time.
"""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib
from fontTools.afmLib import AFM
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables._c_m_a_p import CmapSubtable
from fontTools.ttLib.tables._g_l_y_f import Glyph

TARGET = Path(__file__).parents[1] / "partition_core" / "report" / "page" / "metrics.ttf"
FONTS = Path(matplotlib.get_data_path()) / "fonts"
# Bold letters, which are the wider ones, so that there is room for both.
HELVETICA = FONTS / "pdfcorefonts" / "Helvetica-Bold.afm"
DEJAVU = FONTS / "ttf" / "DejaVuSans-Bold.ttf"
KNOWN = (range(0x20, 0x7F), range(0xA0, 0x180), range(0x370, 0x530), range(0x2010, 0x2028))
"""Latin, Greek and Cyrillic letters, and signs of punctuation."""
LAST = 0x10FFFF
UNKNOWN = 1300
"""As wide as a browser shows what another font must have, such as an emoji."""
NAMED = {"multiply": 0xD7, "periodcentered": 0xB7, "ellipsis": 0x2026, "endash": 0x2013}


def main() -> None:
    """Write the font: a glyph for each width, and for every letter the one of its width."""
    widths = _widest(AFM(str(HELVETICA)), TTFont(DEJAVU))
    glyphs = {f"w{width}": width for width in sorted({*widths.values(), UNKNOWN})}
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", *glyphs])
    font.setupCharacterMap({code: f"w{width}" for code, width in widths.items()})
    font.font["cmap"].tables.append(_every_letter(widths))
    font.setupGlyf({name: Glyph() for name in (".notdef", *glyphs)})
    font.setupHorizontalMetrics(
        {".notdef": (UNKNOWN, 0), **{name: (width, 0) for name, width in glyphs.items()}}
    )
    font.setupHorizontalHeader(ascent=900, descent=-300)
    font.setupNameTable({"familyName": "Helvetica", "styleName": "Regular"})
    font.setupOS2(sTypoAscender=900, sTypoDescender=-300, usWinAscent=900, usWinDescent=300)
    font.setupPost(keepGlyphNames=False)
    font.font["head"].created = font.font["head"].modified = 0
    font.font.recalcTimestamp = False
    font.save(TARGET)


def _every_letter(widths: dict[int, int]) -> CmapSubtable:
    """Return a character map of many letters to one glyph (OpenType, "cmap", format 13)."""
    table = CmapSubtable.newSubtable(13)
    table.platformID, table.platEncID, table.language = 3, 10, 0
    table.format, table.reserved, table.length, table.nGroups = 13, 0, 0, 0
    table.cmap = {code: f"w{widths.get(code, UNKNOWN)}" for code in range(0x20, LAST + 1)}
    return table


def _widest(helvetica: AFM, dejavu: TTFont) -> dict[int, int]:
    """Return the larger width of each known letter, in thousandths of an em, by its code."""
    glyphs, advances = dejavu.getBestCmap(), dejavu["hmtx"]
    of_em = 1000 / dejavu["head"].unitsPerEm
    names = {code: name for name in helvetica.chars() if (code := helvetica[name][0]) < 0x7F}
    names |= {code: name for name, code in NAMED.items() if name in helvetica.chars()}
    return {
        code: math.ceil(
            max(
                helvetica[names[code]][1] if code in names else 0,
                advances[glyphs[code]][0] * of_em,
            )
        )
        for codes in KNOWN
        for code in codes
        if code in glyphs
    }


if __name__ == "__main__":
    main()
