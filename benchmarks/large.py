"""Cuts a model of many GB, whose weights lie in files beside it, against `cp` of the result.

python benchmarks/large.py [--gigabytes 6] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from processes import Run, timed

SIDE = 4096
BYTES = SIDE * SIDE * 4
MAKE = """
import sys, numpy as np, onnx
from onnx import TensorProto, helper
folder, count, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
block = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32).tobytes()
weights = []
for number in range(count):
    tensor = TensorProto(name=f"w{number}", dims=[side, side], data_type=1, data_location=1)
    place = f"weights{number % 2}.bin"
    for key, value in (("location", place), ("offset", str(number // 2 * len(block))),
                       ("length", str(len(block)))):
        tensor.external_data.add(key=key, value=value)
    weights.append(tensor)
    with open(f"{folder}/{place}", "ab") as stream:
        stream.write(block)
nodes = [helper.make_node("MatMul", [f"v{i}", f"w{i}"], [f"v{i + 1}"]) for i in range(count)]
ends = [helper.make_tensor_value_info(f"v{i}", 1, [1, side]) for i in (0, count)]
graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], weights)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10),
          f"{folder}/source.onnx")
"""
CUT = """
import sys
from pathlib import Path
from partition_core.graph.files import cut_between
folder, count, weights, check = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "1"
cut_between(folder / "source.onnx", ["v1"], [f"v{count - 1}"], folder / "target.onnx",
            weights=weights, check=check)
"""


def run(*command: str) -> Run:
    """Run a command, which must succeed, and return what it took."""
    found = timed(command)
    if isinstance(found, str):
        raise SystemExit(f"{command[0]}: {found}")
    return found


def main() -> None:
    """Make the model, cut it with its weights copied and with its weights left; one JSON a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=int, default=6)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    count = options.gigabytes * 1_000_000_000 // BYTES + 1
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        subprocess.check_call([sys.executable, "-c", MAKE, folder, str(count), str(SIDE)])
        data = Path(folder) / "target.onnx.data"
        # cp after the cut that needs the same bytes: both read them from the disk's cache or not.
        for weights, check in (("external", "0"), ("external", "1"), ("referred", "1")):
            took = run(sys.executable, "-c", CUT, folder, str(count), weights, check)
            told = {
                "tool": "partition-core" + (", checked" if check == "1" else ""),
                "model": f"{options.gigabytes} GB, {weights}",
                "nodes": count,
                "output_bytes": sum(f.stat().st_size for f in Path(folder).glob("target.onnx*")),
                "seconds": round(took.seconds, 2),
                "peak_mb": round(took.peak_mb, 1),
            }
            if weights == "external":
                copied = run("cp", str(data), f"{folder}/copy").seconds
                told["ratio_to_cp"] = round(took.seconds / copied, 2)
                Path(folder, "copy").unlink()
            data.unlink(missing_ok=True)
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
