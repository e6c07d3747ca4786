"""Builds a torch model of many GB whose artifacts share one file of weights, step by step.

    python benchmarks/large_build.py [--gigabytes 6] [--folder FOLDER]

Prints one JSON object for each command: its `seconds` and `peak_mb`, the largest resident size
of the whole process. `cp` copies the file of weights.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from processes import ROOT, timed

WIDTH = 14336
BYTES = WIDTH * WIDTH * 4
MODEL = """
import torch
from torch import nn


class Wide(nn.Module):
    def __init__(self, layers, width):
        super().__init__()
        drawn = torch.Generator().manual_seed(0)
        self.layers = nn.ModuleList()
        for _ in range(layers):
            with torch.device("meta"):
                layer = nn.Linear(width, width)
            layer.to_empty(device="cpu")
            layer.weight.data.normal_(0, width**-0.5, generator=drawn)
            layer.bias.data.normal_(0, 0.1, generator=drawn)
            self.layers.append(layer)

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x
"""
RECIPE = """
model: {{source: torch, factory: wide:Wide, args: {{layers: {layers}, width: {width}}}}}
export:
  weights: shared
  inputs: {{x: {{shape: [1, {width}]}}}}
marks:
  - {{name: whole, on: wide.Wide.forward, inputs: [x], outputs: [result]}}
  - {{name: middle, module: layers.{middle}, inputs: [hidden], outputs: []}}
partition:
  type: halves
  segments:
    - {{save_file: first.onnx, start: ['whole:input'], end: ['middle:input']}}
    - {{save_file: second.onnx, start: ['middle:input'], end: ['whole:output']}}
"""


def main() -> None:
    """Make the project, build it, and print what each step took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=int, default=6)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    layers = given.gigabytes * 10**9 // BYTES + 1
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        shutil.copy(ROOT / "dodo.py", folder)
        (folder / "wide.py").write_text(MODEL)
        (folder / "recipes").mkdir()
        recipe = RECIPE.format(layers=layers, width=WIDTH, middle=layers // 2)
        (folder / "recipes" / "wide.yaml").write_text(recipe)
        for verb in ("export", "cut", "prove", "build"):
            measure(folder, verb, sys.executable, "-m", "doit", verb)
        (data,) = (folder / "build" / "wide").glob("*.data")
        measure(folder, "cp", "cp", str(data), str(folder / "copy"))


def measure(folder: Path, step: str, *command: str) -> None:
    """Run a command and print what it took."""
    took = timed(command, folder, {"PARTITION_CORE_STORE": str(folder / "store")}, 900.0)
    if isinstance(took, str):
        raise SystemExit(f"{step}: {took}")
    told = {"step": step, "seconds": round(took.seconds, 2), "peak_mb": round(took.peak_mb, 1)}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
