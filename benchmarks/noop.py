"""What a build with nothing to do costs, beside doit itself with as many tasks that do nothing.

    python benchmarks/noop.py [--recipes 1000] [--runs 5]

Prints one JSON object a line: `recipes`, `tasks`, `cpu_seconds` (user and system, median of the
runs, which alternate); for doit itself with as many trivial tasks, and with one for each recipe,
the same and the ratio to it. Needs no torch: the results of the
recipes are put into the store by hand, as of models that read files of their own and modules,
packages and files that all share.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from partition_core.build.dependencies.labels import in_order
from partition_core.build.note_checks import REFERS
from partition_core.build.plan import Plan
from partition_core.build.project import Project
from partition_core.build.publish import publish
from partition_core.build.recipes import Recipes
from partition_core.build.run import chosen_recipes
from partition_core.build.steps import EXPORT
from partition_core.build.steps.prove import PROOF
from partition_core.store.entry import Origin

ROOT = Path(__file__).parents[1]

RECIPE = """\
model: {{source: torch, factory: "small:build", weights: {{seed: {seed}}}}}
export: {{inputs: {{image: {{shape: [1, 3, 32, 32]}}}}}}
marks:
  - {{name: whole, on: small.Small.forward, inputs: [image], outputs: [scores]}}
  - {{name: decode, on: small.decode, inputs: [maps], outputs: []}}
partition:
  type: two
  segments:
    - {{save_file: body.onnx, start: ['whole:input'], end: ['decode:input']}}
    - {{save_file: tail.onnx, start: ['decode:input'], end: ['whole:output']}}
"""

SHARED = (
    *(f"module parts.part{number}" for number in range(10)),
    *("module parts", "file weights/shared.pt", "names in weights", "presence of missing.json"),
    *(f"package {name}" for name in ("numpy", "onnx", "onnxruntime", "protobuf", "pyyaml")),
)
"""What the model of each recipe was seen to read, beside weights of its own."""

TRIVIAL = """\
DOIT_CONFIG = {{"backend": "sqlite3", "dep_file": ".doit.db", "default_tasks": ["build"]}}


def nothing():
    pass


def task_build():
    for number in range({tasks}):
        yield {{"name": str(number), "actions": [nothing], "uptodate": [True]}}
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", type=int, nargs="+", default=[1, 1000])
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    for recipes in given.recipes:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measured(Path(folder), recipes, given.runs)), flush=True)


def measured(folder: Path, recipes: int, runs: int) -> dict[str, float]:
    """Return the figures for a project of so many recipes."""
    ours, trivial, single = folder / "ours", folder / "trivial", folder / "single"
    os.environ["PARTITION_CORE_STORE"] = str(folder / "store")
    tasks = set_up(ours, recipes)
    for project, count in ((trivial, tasks), (single, recipes)):
        project.mkdir()
        (project / "dodo.py").write_text(TRIVIAL.format(tasks=count))
    projects = (ours, trivial, single)
    for project in projects * 2:
        cpu(project)
    rows = [[cpu(project) for project in projects] for _ in range(runs)]
    own, plain, one_each = (statistics.median(column) for column in zip(*rows, strict=True))
    return {
        "recipes": recipes,
        "tasks": tasks,
        "cpu_seconds": round(own, 3),
        "doit_cpu_seconds": round(plain, 3),
        "ratio": round(own / plain, 2),
        "doit_cpu_seconds_one_task_a_recipe": round(one_each, 3),
        "ratio_one_task_a_recipe": round(own / one_each, 2),
    }


def set_up(root: Path, recipes: int) -> int:
    """Make a project that is built; return how many tasks it has."""
    (root / "recipes").mkdir(parents=True)
    (root / "dodo.py").write_text((ROOT / "dodo.py").read_text())
    (root / "small.py").write_text("def build(): ...\n")
    for number in range(recipes):
        (root / "recipes" / f"small{number:04d}.yaml").write_text(RECIPE.format(seed=number))
    for name in ("__init__", *(f"part{number}" for number in range(10))):
        (root / "parts").mkdir(exist_ok=True)
        (root / "parts" / f"{name}.py").write_text("")
    (root / "weights").mkdir()
    for name in ("shared", *(f"small{number:04d}" for number in range(recipes))):
        (root / "weights" / f"{name}.pt").write_text(name)
    sys.path.insert(0, str(root))  # as for doit
    project = Project.at(root)
    known = Recipes(project)
    tasks = 0
    for name in chosen_recipes(root, None):
        plan = Plan(project, known.open(name))
        fill(plan)
        for artifact in plan.artifacts:
            publish(plan, artifact)
        tasks += 2 + len(plan.segments) + len(plan.artifacts)
    known.save()
    project.digests.save()
    return tasks


def fill(plan: Plan) -> None:
    """Put results into the store as if the steps had been carried out."""
    for _, planned in plan.steps():
        step = planned
        if step is None:
            raise RuntimeError("a step in front of it has no result")
        if step.name == EXPORT:
            names = in_order([*SHARED, f"file weights/{plan.recipe}.pt"])
            step = plan.export_with(plan.exports.entries_of(names))
            plan.exports.store_list(step.fingerprint)
        notes = {
            "fingerprint": step.fingerprint.entries,
            **{"summary": "proven", "detects": False, REFERS: False},
        }
        with plan.project.store.private_folder() as folder:
            for name in step.files:
                (folder / name).write_bytes(
                    b"{}" if name == PROOF else f"{plan.recipe} {name}".encode()
                )
            files = {name: folder / name for name in step.files}
            result = plan.project.store.keep(
                step.key, files, notes, Origin(plan.recipe, step.name, 1.0)
            )
        plan.remember(step, result)


def cpu(project: Path) -> float:
    """Return the user and system seconds of one `doit build`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "doit", "build"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


if __name__ == "__main__":
    main()
