"""Makes a Markdown table, and a plot, of the JSON lines that `cut.py --json` prints.

python benchmarks/report.py LINES… [--plot FILE.svg]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

COLUMNS = ("model", "tool", "seconds", "ratio to cp", "peak MB", "warm ratio to cp")


def row(told: dict[str, Any]) -> str:
    """Return the line of the table for one measurement."""
    if "failed" in told:
        cells = [told["model"], told["tool"], told["failed"], "", "", ""]
    else:
        warm = told.get("warm_ratio_to_cp")
        cells = [
            told["model"],
            told["tool"],
            f"{told['seconds']:.3f}",
            f"{told['ratio_to_cp']:.1f}",
            f"{told['peak_mb']:.0f}",
            "" if warm is None else f"{warm:.2f}",
        ]
    return f"| {' | '.join(cells)} |"


def table(lines: list[dict[str, Any]]) -> str:
    """Return the table."""
    head = [f"| {' | '.join(COLUMNS)} |", "|---|---|" + "---:|" * (len(COLUMNS) - 2)]
    return "\n".join([*head, *map(row, lines)])


def plot(lines: list[dict[str, Any]], target: Path) -> None:
    """Draw seconds over megabytes, and over nodes, for each tool."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "cut"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    sides = (("MB", "size of the segment (MB)", 1e-6), ("nodes", "nodes", 1.0))
    for axis, (word, label, scale) in zip(axes, sides, strict=True):
        key = "output_bytes" if word == "MB" else "nodes"
        measured = [told for told in lines if told["model"].endswith(word) and key in told]
        for tool in dict.fromkeys(told["tool"] for told in measured):
            points = [(t[key] * scale, t["seconds"]) for t in measured if t["tool"] == tool]
            style = "--" if tool == "cp" else "-"
            width = 2.5 if tool.startswith("partition-core") else 1.2
            axis.plot(*zip(*points, strict=True), style, marker="o", linewidth=width, label=tool)
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds, whole process")
    axes[1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


def main() -> None:
    """Print the table; draw the plot if one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", type=Path, nargs="+")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    lines = [
        json.loads(line) for file in options.lines for line in file.read_text().splitlines() if line
    ]
    print(table(lines))
    if options.plot:
        plot(lines, options.plot)


if __name__ == "__main__":
    main()
