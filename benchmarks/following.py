"""What it costs to follow an export, beside the same export with nobody watching.

    python benchmarks/following.py [--recipe yolov3] [--runs 3]

Prints one JSON object: the CPU seconds (user and system, median of the runs, which alternate) of
a process that exports the recipe and does nothing else, followed and not, their ratio, and how many
lines of each kind the followed one has.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from partition_core.build.carry_out import carry_out
from partition_core.build.dependencies.labels import parsed
from partition_core.build.follower import Follower
from partition_core.build.plan import Plan
from partition_core.build.project import Project
from partition_core.build.recipes import Recipes

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="yolov3")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--child", choices=["followed", "unwatched"])
    given = parser.parse_args()
    if given.child:
        child(given.recipe, is_followed=given.child == "followed")
        return
    rows = [
        [measured(given.recipe, way) for way in ("followed", "unwatched")]
        for _ in range(given.runs)
    ]
    followed, unwatched = (
        statistics.median(seconds for seconds, _ in column) for column in zip(*rows, strict=True)
    )
    result = {
        "recipe": given.recipe,
        "followed_cpu_seconds": round(followed, 2),
        "unwatched_cpu_seconds": round(unwatched, 2),
        "ratio": round(followed / unwatched, 3),
        "lines": rows[0][0][1],
    }
    print(json.dumps(result), flush=True)


def measured(recipe: str, way: str) -> tuple[float, dict[str, int]]:
    """Return the CPU seconds of one export in a process of its own, and its lines by kind."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as store:
        run = subprocess.run(
            [sys.executable, __file__, "--recipe", recipe, "--child", way],
            cwd=ROOT,
            env={**os.environ, "PARTITION_CORE_STORE": store},
            check=True,
            capture_output=True,
            text=True,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds, json.loads(run.stdout.splitlines()[-1])


def child(recipe: str, is_followed: bool) -> None:
    """Export a recipe and print how many lines of each kind it has."""
    if not is_followed:
        unwatched: Any = Follower
        unwatched.watching = lambda _: contextlib.nullcontext()
        unwatched.take = lambda *_: ({}, ())
    project = Project.at(ROOT)
    plan = Plan(project, Recipes(project).open(recipe))
    carry_out(plan, "export", lambda _: None)
    kinds = Counter(
        found[0]
        for label, _ in plan.export().fingerprint.entries
        if (found := parsed(label)) is not None
    )
    print(json.dumps(kinds))


if __name__ == "__main__":
    main()
