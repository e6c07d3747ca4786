"""Builds a recipe of one line for an ONNX file of 2.5 GB, and tells how much memory that takes.

    python benchmarks/large_file.py [--folder FOLDER]

The file has its weights beside it and is cut by `no_postprocess`. One JSON object for each command:
its `seconds`, `anonymous_mb` and `resident_mb`, the largest of all its processes together. What is
resident and not anonymous are pages of files, which the system drops when it needs the memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from processes import ROOT

WIDTH, LAYERS = 14336, 3
RECIPE = """\
model: {source: onnx, path: large.onnx}
export: {weights: shared}
partition: {type: no_postprocess}
"""


def write_model(folder: Path) -> None:
    """Write `large.onnx` and `large.data`: wide layers, and a sigmoid behind them."""
    random = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    with (folder / "large.data").open("wb") as data:
        for layer in range(LAYERS):
            weight = random.standard_normal((WIDTH, WIDTH), dtype=np.float32) / WIDTH**0.5
            tensor = TensorProto(name=f"w{layer}", data_type=TensorProto.FLOAT, dims=weight.shape)
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": "large.data", "offset": data.tell(), "length": weight.nbytes}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            data.write(weight.astype(np.float32).tobytes())
            weights.append(tensor)
            nodes.append(helper.make_node("MatMul", [last, f"w{layer}"], [f"h{layer}"]))
            nodes.append(helper.make_node("Tanh", [f"h{layer}"], [f"t{layer}"]))
            last = f"t{layer}"
    nodes.append(helper.make_node("Reshape", [last, "shape"], ["maps"]))
    nodes.append(helper.make_node("Sigmoid", ["maps"], ["scores"]))
    weights.append(numpy_helper.from_array(np.array([1, 64, WIDTH // 64]), "shape"))
    ends = [("x", [1, WIDTH]), ("scores", [1, 64, WIDTH // 64])]
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)] for name, dims in ends
    )
    graph = helper.make_graph(nodes, "large", inputs, outputs, weights)
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    onnx.save(model, folder / "large.onnx")


def measure(folder: Path, *command: str) -> None:
    """Run a command in the project and print what it took."""
    store = {"PARTITION_CORE_STORE": str(folder / "store"), "PARTITION_CORE_REPORT": "0"}
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "doit", *command],
        cwd=folder,
        env={**os.environ, **store, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    largest = {"RssAnon": 0, "VmRSS": 0}
    while process.poll() is None:
        family = list(_family(process.pid))
        for name, before in largest.items():
            largest[name] = max(before, sum(_kilobytes(member, name) for member in family))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"doit {' '.join(command)} failed")
    told = {"command": " ".join(command), "seconds": round(time.monotonic() - start, 1)}
    sizes = {"anonymous_mb": largest["RssAnon"], "resident_mb": largest["VmRSS"]}
    print(json.dumps(told | {name: round(kb / 1000) for name, kb in sizes.items()}), flush=True)


def _family(pid: int) -> Iterator[int]:
    """Yield a process and those that it started."""
    yield pid
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            children = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
            for child in map(int, children):
                yield from _family(child)


def _kilobytes(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
    return 0


def main() -> None:
    """Write the file, and build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        shutil.copy(ROOT / "dodo.py", folder)
        (folder / "recipes").mkdir()
        (folder / "recipes" / "large.yaml").write_text(RECIPE)
        write_model(folder)
        measure(folder, "cut")
        measure(folder, "build")


if __name__ == "__main__":
    main()
