"""Measures a build as a whole: export, cut, proof, no-op and restore, beside a plain export.

    python benchmarks/build.py [--recipe yolov3] [--runs 3]

Every figure is of whole processes, medians over `--runs` rounds in which all take turns, in a
project and a store that are made for it; one JSON object a line. `torch.onnx.export` is what
PyTorch itself takes to export and save the network of the recipe's detector: without marks,
post-processing, seeded weights, runs in PyTorch to compare with, and without a proof.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from processes import ROOT, Run, timed

PLAIN = """
import sys, warnings
from pathlib import Path
import torch
from partition_core.base.errors import Place
from partition_core.sources.mmdet.detector import build_detector
from partition_core.recipe.reader import read_recipe
warnings.simplefilter("ignore")
recipe = read_recipe(Path("recipes", sys.argv[1] + ".yaml"), Path.cwd()).recipe
module, _ = build_detector(recipe.model, Path.cwd(), Place("recipe"))
sample = torch.rand(recipe.export.inputs[0].shape)
torch.onnx.export(module.detector, (sample,), sys.argv[2], dynamo=True, opset_version=20,
                  external_data=False, verbose=False)
"""
STEPS = ("torch.onnx.export", "export", "cut", "prove", "publish", "no-op", "restore", "cp")


def main() -> None:
    """Measure, and print a line for each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="yolov3")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    runs: dict[str, list[Run]] = {step: [] for step in STEPS}
    for _ in range(given.runs):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
            for step, run in one_round(Path(name), given.recipe).items():
                runs[step].append(run)
    plain = median(runs["torch.onnx.export"], "seconds")
    for step, measured in runs.items():
        told = {
            "step": step,
            "recipe": given.recipe,
            "seconds": round(median(measured, "seconds"), 3),
            "cpu_seconds": round(median(measured, "cpu_seconds"), 3),
            "peak_mb": round(max(run.peak_mb for run in measured), 1),
            "ratio_to_plain_export": round(median(measured, "seconds") / plain, 3),
        }
        print(json.dumps(told), flush=True)


def one_round(folder: Path, recipe: str) -> dict[str, Run]:
    """Return what each step took in an empty project with an empty store."""
    shutil.copy(ROOT / "dodo.py", folder)
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    build = folder / "build" / recipe

    def run(*command: str) -> Run:
        found = timed(command, folder, {"PARTITION_CORE_STORE": str(folder / "store")})
        if isinstance(found, str):
            raise SystemExit(f"{' '.join(command)}: {found}")
        return found

    def doit(verb: str) -> Run:
        return run(sys.executable, "-m", "doit", verb, f"recipe={recipe}")

    took = {"torch.onnx.export": run(sys.executable, "-c", PLAIN, recipe, "plain.onnx")}
    took |= {verb: doit(verb) for verb in ("export", "cut", "prove")}
    took["publish"] = doit("build")
    time.sleep(1.5)  # files that changed a moment ago are not remembered
    doit("build")  # remembers that nothing is to be done
    took["no-op"] = doit("build")
    shutil.rmtree(build)
    took["restore"] = doit("build")
    took["cp"] = run("cp", "-r", str(build), str(folder / "copy"))
    return took


def median(runs: list[Run], what: str) -> float:
    """Return the median of one figure."""
    return statistics.median(getattr(run, what) for run in runs)


if __name__ == "__main__":
    main()
