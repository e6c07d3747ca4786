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
from fontTools.ttLib.tables._g_l_y_f import Glyph

TARGET = Path(__file__).parents[1] / "partition_core" / "reporting" / "page" / "metrics.ttf"
FONTS = Path(matplotlib.get_data_path()) / "fonts"
# Bold letters, which are the wider ones, so that there is room for both; unknown signs are wide.
HELVETICA = FONTS / "pdfcorefonts" / "Helvetica-Bold.afm"
DEJAVU = FONTS / "ttf" / "DejaVuSans-Bold.ttf"
UNKNOWN = 1000
NAMED = {"multiply": 0xD7, "periodcentered": 0xB7, "ellipsis": 0x2026, "endash": 0x2013}


def main() -> None:
    """Write the font."""
    helvetica = AFM(str(HELVETICA))
    letters = {
        name: code for name in helvetica.chars() if (code := helvetica[name][0]) > 0 and code < 127
    }
    letters |= {name: code for name, code in NAMED.items() if name in helvetica.chars()}
    widths = _widest(helvetica, TTFont(DEJAVU), letters)
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", *letters])
    font.setupCharacterMap({code: name for name, code in letters.items()})
    font.setupGlyf({name: Glyph() for name in (".notdef", *letters)})
    font.setupHorizontalMetrics(
        {".notdef": (UNKNOWN, 0), **{name: (width, 0) for name, width in widths.items()}}
    )
    font.setupHorizontalHeader(ascent=900, descent=-300)
    font.setupNameTable({"familyName": "Helvetica", "styleName": "Regular"})
    font.setupOS2(sTypoAscender=900, sTypoDescender=-300, usWinAscent=900, usWinDescent=300)
    font.setupPost()
    font.font["head"].created = font.font["head"].modified = 0
    font.font.recalcTimestamp = False
    font.save(TARGET)


def _widest(helvetica: AFM, dejavu: TTFont, letters: dict[str, int]) -> dict[str, int]:
    """Return the larger width of each letter, in thousandths of an em."""
    glyphs, advances = dejavu.getBestCmap(), dejavu["hmtx"]
    of_em = 1000 / dejavu["head"].unitsPerEm
    return {
        name: math.ceil(max(helvetica[name][1], advances[glyphs[code]][0] * of_em))
        for name, code in letters.items()
    }


if __name__ == "__main__":
    main()
