"""Builds a recipe for every family of detectors that mmdet ships, and tells how far each one goes.

    python benchmarks/coverage.py                      the families that have no row yet
    python benchmarks/coverage.py --again failed       and those that did not pass
    python benchmarks/coverage.py 'yolox/*' 'glip/*'   those whose config fits a pattern
    python benchmarks/coverage.py yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py
                                                       only this config of mmdet, or of yours

Each config is built as `doit build` builds a recipe (exported, marked, cut, proven), in a process
of its own with a limit of time, with a store of its own, on seeded weights and two pictures. After
each one the rows go to `docs/coverage.json` and the table to `docs/coverage.md`; an interrupted run
goes on where it was. `pip install -e '.[coverage]'` brings the packages that some families ask for;
the files of a language model are written here (`coverage_stand_ins.py`), nothing is downloaded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from coverage_models import SIDE, Candidate, candidates, fitting
from coverage_row import COLUMNS, SEEDS, new_row
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
Rows = dict[str, dict[str, Any]]


def passes(row: dict[str, Any]) -> bool:
    """Return whether a row has passed all columns."""
    return all(row[column] for column in COLUMNS)


def chosen(patterns: list[str], again: str, rows: Rows) -> list[Candidate]:
    """Return the configs to run: those that fit a pattern, or else those that `again` tells.

    A pattern with the name of a config that exists is this config, whatever the table has. Exits
    for one that fits none.
    """
    if patterns:
        found = {one.config: one for pattern in patterns for one in fitting(pattern)}
        return list(found.values())
    wanted = {
        "none": lambda config: config not in rows,
        "failed": lambda config: config not in rows or not passes(rows[config]),
        "all": lambda config: True,
    }[again]
    return [candidate for candidate in candidates() if wanted(candidate.config)]


def row_of(candidate: Candidate, side: int, limit: float, log: Path | None) -> dict[str, Any]:
    """Return the row of one config, from a process that gets `limit` seconds."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as files:
        file = Path(folder, "row.json")
        output: Any = subprocess.DEVNULL
        if log is not None:
            log.mkdir(parents=True, exist_ok=True)
            output = files.enter_context((log / f"{Path(candidate.config).stem}.log").open("w"))
        words = [candidate.family, candidate.config, str(side), str(file)]
        process = subprocess.Popen(
            [sys.executable, str(HERE / "coverage_row.py"), *words],
            cwd=folder,
            env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": python_path()},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            process.wait(limit)
            why = f"the process ended with status {process.returncode}"
        except subprocess.TimeoutExpired:
            why = f"not done after {limit:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return read_row(file, candidate, why)


def python_path() -> str:
    """Return the folders of this checkout and of packages that are installed elsewhere."""
    return os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))


def read_row(file: Path, candidate: Candidate, why: str) -> dict[str, Any]:
    """Return the row in `file`; one that was not finished says `why`."""
    row: dict[str, Any] = new_row(candidate.family, candidate.config)
    if file.is_file():
        row |= json.loads(file.read_text(encoding="utf-8"))
    if row["reason"].startswith("ended while: ") or not (passes(row) or row["reason"]):
        row["reason"] = f"{why}, {row['reason']}".removesuffix(", ")
    return row


def save(rows: Rows, folder: Path) -> None:
    """Write the rows and their table, both whole."""
    ordered = sorted(rows.values(), key=lambda row: (row["family"], row["config"]))
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in ordered)
    for name, text in (("coverage.json", f"[\n{lines}\n]\n"), ("coverage.md", table(ordered))):
        part = folder / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / name)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the page: totals, and a line for each row."""
    complete = [row for row in rows if passes(row)]
    families = {row["family"] for row in rows}
    head = ("family", "config", "cut at", "seed", "built", "exported", "marked", "cut")
    head += ("chain = whole", "= predict", "detections", "seconds")
    lines = [
        "# Coverage",
        "",
        f"{len({row['family'] for row in complete})} of {len(families)} families of mmdet's "
        f"`model-index.yml` pass every column ({len(complete)} of {len(rows)} configs); "
        f"{sum(row['built'] for row in rows)} configs can be built.",
        "",
        "`python benchmarks/coverage.py` makes this page: for each config a recipe of a few lines "
        f"is built as `doit build` does, on seeded weights at {SIDE} × {SIDE} pixels. *Chain = "
        "whole* is bit for bit; *= predict* compares every detection with those of mmdet's own "
        "`predict` on two pictures, whose numbers are in *detections*. Weights are those of the "
        f"first *seed* below {SEEDS} with which they are equal: an overlap as near to a threshold "
        "as rounding reaches falls on either side of it. A number beside *= predict* is the "
        "tolerance where that of a proof, 1e-4, is less than rounding leaves "
        "(`benchmarks/coverage_models.py` has the figures, and what is changed of a config: "
        "CentripetalNet has 2 classes and 1000 corners, since seeded corners of 80 classes make "
        "hardly a pair). Of a tracker it is the `detector`: "
        "what follows objects keeps a state from picture to picture, in Python. *Seconds* are "
        "those of one process with one thread on a busy machine.",
        "",
        f"| {' | '.join(head)} |",
        "|---|---|---|---|" + ":-:|" * len(COLUMNS) + "---|---:|",
        *map(_line, rows),
        "",
        "## What stops the others",
        "",
        *(f"* `{row['config']}`: {row['reason']}" for row in rows if not passes(row)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _line(row: dict[str, Any]) -> str:
    part = f": `{row['part']}`" if row.get("part") else ""
    cells = [row["family"], f"`{Path(row['config']).stem}`{part}"]
    cells += [row["partition"], str(row["seed"])]
    cells += ["✓" if row[column] else "–" for column in COLUMNS]
    if row["predict_equal"] and row.get("tolerance"):
        cells[-1] += f" ({row['tolerance']})"
    cells += [", ".join(map(str, row["detections"])), f"{row['seconds']:.0f}"]
    return f"| {' | '.join(cells)} |"


def run(todo: Iterable[Candidate], rows: Rows, options: argparse.Namespace) -> None:
    """Fill `rows` with the rows of `todo`, and save them after each one."""
    with tqdm(list(todo), unit="config") as bar:
        for candidate in bar:
            bar.set_postfix_str(Path(candidate.config).stem)
            row = row_of(candidate, options.side, options.limit, options.log)
            rows[candidate.config] = row
            save(rows, options.folder)
            tqdm.write(f"{'passes' if passes(row) else 'fails '} {row['config']}: {told(row)}")


def told(row: dict[str, Any]) -> str:
    """Return what is worth saying of a row, on one line."""
    counts = ", ".join(map(str, row["detections"]))
    return f"{row['reason'] or f'{counts} detections'} ({row['seconds']:.0f} s)"


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", nargs="*", help="a config or a pattern, or a path of yours")
    parser.add_argument("--again", choices=("none", "failed", "all"), default="none")
    parser.add_argument("--side", type=int, default=SIDE, help="of the input, in pixels")
    parser.add_argument("--limit", type=float, default=300, help="seconds for each config")
    parser.add_argument("--folder", type=Path, default=HERE.parent / "docs")
    parser.add_argument("--log", type=Path, help="folder for what the processes print")
    options = parser.parse_args()
    file = options.folder / "coverage.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    rows = {row["config"]: row for row in known}
    run(chosen(options.config, options.again, rows), rows, options)


if __name__ == "__main__":
    main()
