"""Writes the font by which Graphviz measures the report's map: widths like Helvetica's, no shapes.

Run it with the `mmdet` extra installed, whose matplotlib brings fontTools and Adobe's widths:
`python tools/metrics_font.py`. The same bytes come out every time.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from fontTools.afmLib import AFM
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib.tables._g_l_y_f import Glyph

TARGET = Path(__file__).parents[1] / "partition_core" / "reporting" / "page" / "metrics.ttf"
# Bold letters, which are the wider ones, so that there is room for both; unknown signs are wide.
WIDTHS = Path(matplotlib.get_data_path()) / "fonts" / "pdfcorefonts" / "Helvetica-Bold.afm"
UNKNOWN = 1000
NAMED = {"multiply": 0xD7, "periodcentered": 0xB7, "ellipsis": 0x2026, "endash": 0x2013}


def main() -> None:
    """Write the font."""
    widths = AFM(str(WIDTHS))
    letters = {
        name: code for name in widths.chars() if (code := widths[name][0]) > 0 and code < 127
    }
    letters |= {name: code for name, code in NAMED.items() if name in widths.chars()}
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", *letters])
    font.setupCharacterMap({code: name for name, code in letters.items()})
    font.setupGlyf({name: Glyph() for name in (".notdef", *letters)})
    font.setupHorizontalMetrics(
        {".notdef": (UNKNOWN, 0), **{name: (round(widths[name][1]), 0) for name in letters}}
    )
    font.setupHorizontalHeader(ascent=900, descent=-300)
    font.setupNameTable({"familyName": "Helvetica", "styleName": "Regular"})
    font.setupOS2(sTypoAscender=900, sTypoDescender=-300, usWinAscent=900, usWinDescent=300)
    font.setupPost()
    font.font["head"].created = font.font["head"].modified = 0
    font.font.recalcTimestamp = False
    font.save(TARGET)


if __name__ == "__main__":
    main()
