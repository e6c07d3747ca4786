"""Measures cutting a part out of an ONNX file: ours, and other tools, against `cp` of the result.

    python benchmarks/cut.py                     a table of all generated models
    python benchmarks/cut.py --json              one JSON object a line
    python benchmarks/cut.py --model end2end.onnx --inputs input --outputs a b

Every run is a process of its own, timed from its start to its end, on files in the page cache,
into a file that did not exist. All tools and `cp` take turns; each figure is the median of
`--repeat` rounds. `peak_mb` is the largest resident size of the whole process. Tools that cannot
be imported are left out with a note; `--python` names an interpreter that has them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cut_tools import MODELS, NEEDS, OURS, TOOLS, Case
from processes import ROOT, Run, timed

HERE = Path(__file__).resolve().parent
SLOW = 15.0  # a run that takes longer is not repeated
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), **ONE_THREAD}


def child(python: str, *words: str) -> list[str]:
    """Return the command for a child that does what `words` say."""
    return [python, str(HERE / "cut_tools.py"), *words]


def measure(case: Case, tools: Sequence[str], python: str, repeat: int) -> Iterator[dict[str, Any]]:
    """Yield what each tool took for `case`."""
    folder = case.file.parent
    target, result = folder / "target.onnx", folder / "result.onnx"
    plain = [case.name, str(case.file), *case.inputs, "--", *case.outputs]
    first = timed(child(python, OURS, str(result), *plain), variables=ONE_THREAD)
    if isinstance(first, str):
        raise SystemExit(f"{OURS} cannot cut {case.name}: {first}")
    runs: dict[str, list[Run]] = {name: [] for name in ("cp", *tools)}
    sizes: dict[str, int] = {}
    failed: dict[str, str] = {}
    for _ in range(repeat):
        for tool in ("cp", *tools):
            slow = runs[tool] and runs[tool][0].seconds > SLOW
            if tool in failed or slow:
                continue
            target.unlink(missing_ok=True)
            command = ["cp", str(result), str(target)]
            if tool != "cp":
                command = child(python, tool, str(target), *plain)
            run = timed(command, variables=ONE_THREAD)
            if isinstance(run, str):
                failed[tool] = run
                continue
            runs[tool].append(run)
            sizes[tool] = target.stat().st_size
    target.unlink(missing_ok=True)
    copy = statistics.median(run.seconds for run in runs["cp"])
    nodes = int(subprocess.check_output(child(python, "count", "", *plain), env=ENVIRONMENT))
    for tool in ("cp", *tools):
        told: dict[str, Any] = {"tool": tool, "model": case.name, "nodes": nodes}
        if tool in failed:
            yield {**told, "failed": failed[tool]}
            continue
        seconds = statistics.median(run.seconds for run in runs[tool])
        told |= {
            "output_bytes": sizes[tool],
            "seconds": round(seconds, 4),
            "ratio_to_cp": round(seconds / copy, 2),
            "peak_mb": round(max(run.peak_mb for run in runs[tool]), 1),
            "cpu_seconds": round(statistics.median(run.cpu_seconds for run in runs[tool]), 4),
        }
        if tool == OURS:
            words = child(python, f"warm:{repeat}", str(target), *plain)
            call, alone = map(float, subprocess.check_output(words, env=ENVIRONMENT).split())
            told |= {"warm_seconds": round(call, 4), "warm_ratio_to_cp": round(call / alone, 2)}
        yield told
    result.unlink()


def available(python: str) -> list[str]:
    """Return the tools that `python` can import; say which it cannot."""
    found = []
    for tool in TOOLS:
        package = NEEDS.get(tool, "onnx")
        asked = [python, "-c", f"import {package}"]
        if subprocess.run(asked, check=False, capture_output=True).returncode:
            print(f"{tool} is left out: {python} has no {package}", file=sys.stderr)
        else:
            found.append(tool)
    return found


def cases(options: argparse.Namespace, folder: Path) -> Iterator[Case]:
    """Yield the models to cut: the one that was named, or else those that are generated."""
    if options.model:
        yield Case(options.model.stem, options.model, tuple(options.inputs), tuple(options.outputs))
        return
    for size in options.sizes:
        words = child(options.python, "make", str(folder / "source.onnx"), size)
        made = subprocess.check_output(words, env=ENVIRONMENT, text=True)
        name, *tensors = made.splitlines()
        yield Case(name, folder / "source.onnx", (tensors[0],), (tensors[1],))


def row(told: dict[str, Any]) -> str:
    """Return a line of the table for people."""
    head = f"{told['model']:>14} {told['tool']:<24}"
    if "failed" in told:
        return f"{head} {told['failed'][:60]}"
    warm = f"  warm {told['warm_ratio_to_cp']:.2f}" if "warm_ratio_to_cp" in told else ""
    return (
        f"{head} {told['seconds']:9.3f} s {told['ratio_to_cp']:8.1f} x cp "
        f"{told['peak_mb']:8.0f} MB{warm}"
    )


def main() -> None:
    """Measure, and print each figure as soon as it is known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--sizes", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--tools", nargs="+", choices=TOOLS)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with all tools")
    parser.add_argument("--model", type=Path, help="cut this file instead")
    parser.add_argument("--inputs", nargs="+", default=[])
    parser.add_argument("--outputs", nargs="+", default=[])
    parser.add_argument("--folder", type=Path, help="where files are written")
    options = parser.parse_args()
    tools = options.tools or available(options.python)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for case in cases(options, Path(name)):
            if options.model:
                # Results lie beside the copy, never beside the user's file.
                copy = Path(name) / "source.onnx"
                subprocess.check_call(["cp", str(case.file), str(copy)])
                case = Case(case.name, copy, case.inputs, case.outputs)  # noqa: PLW2901  # a copy
            for told in measure(case, tools, options.python, options.repeat):
                print(json.dumps(told) if options.json else row(told), flush=True)


if __name__ == "__main__":
    main()
