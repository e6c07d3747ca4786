"""Writes the README's map from a report that was built: `python tools/readme_map.py yolov3`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "partition_map.svg"


def main(recipe: str) -> None:
    """Take the map and the style out of `build/<recipe>/report.html`."""
    html = (ROOT / "build" / recipe / "report.html").read_text(encoding="utf-8")
    (drawn,) = re.findall(r'<div class="canvas"[^>]*>(<svg.*?</svg>)', html, flags=re.DOTALL)
    style = html[html.index("<style>") : html.index("</style>") + len("</style>")]
    background = '<rect width="100%" height="100%" style="fill: var(--paper)"/>'
    start = drawn.index(">") + 1
    TARGET.write_text(f"{drawn[:start]}\n{style}\n{background}{drawn[start:]}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
