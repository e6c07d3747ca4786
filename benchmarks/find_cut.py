"""Measures finding where a model's post-processing begins: seconds for each number of nodes.

    python benchmarks/find_cut.py

Generated detectors: a chain of convolutions with SiLU, three scales with two heads each, and a
decoder of boxes. `read` is the CPU time of reading the file, `find` that of `raw_heads` on it;
each is the least of five.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.structural_marks import structural_marks

SIZES = (1_000, 10_000, 100_000)
_HEADS = 6
_BEHIND = 4  # nodes behind each head
_ROUNDS = 5


def model(nodes: int) -> onnx.ModelProto:
    """Return a detector of about `nodes` nodes."""
    kernel = numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "kernel")
    scale = numpy_helper.from_array(np.array(8, np.float32), "scale")
    sizes = numpy_helper.from_array(np.array([1, 4, -1]), "sizes")
    made, value = [], "images"
    features = []
    layers = (nodes - _HEADS * (_BEHIND + 1)) // 3
    for layer in range(layers):
        made += [
            helper.make_node("Conv", [value, "kernel"], [f"c{layer}"], f"/{layer}/Conv"),
            helper.make_node("Sigmoid", [f"c{layer}"], [f"g{layer}"], f"/{layer}/Sigmoid"),
            helper.make_node("Mul", [f"c{layer}", f"g{layer}"], [f"m{layer}"], f"/{layer}/Mul"),
        ]
        value = f"m{layer}"
        features.append(value)
    for head in range(_HEADS):
        feature = features[-1 - (head // 2) * (layers // 4)]
        made += [
            helper.make_node("Conv", [feature, "kernel"], [f"h{head}"], f"/head.{head}/Conv"),
            helper.make_node("Reshape", [f"h{head}", "sizes"], [f"r{head}"]),
            helper.make_node("Sigmoid", [f"r{head}"], [f"s{head}"]),
            helper.make_node("Mul", [f"s{head}", "scale"], [f"b{head}"]),
            helper.make_node("Transpose", [f"b{head}"], [f"t{head}"], perm=[0, 2, 1]),
        ]
    made.append(helper.make_node("Concat", [f"t{h}" for h in range(_HEADS)], ["boxes"], axis=1))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 4, 8, 8])
    boxes = helper.make_tensor_value_info("boxes", TensorProto.FLOAT, None)
    graph = helper.make_graph(made, "detector", [images], [boxes], [kernel, scale, sizes])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def least(run: Callable[[], object]) -> float:
    """Return the least CPU time of some rounds, in seconds."""
    times = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Print a table."""
    print("| nodes | read (s) | find (s) |\n|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for nodes in SIZES:
            file = Path(folder, f"{nodes}.onnx")
            onnx.save(model(nodes), file)
            read = read_model(file)
            heads = [
                each.name
                for each in structural_marks(read, "raw_heads", is_file=True).tensors
                if (each.mark, each.side) == ("front", "output")
            ]
            if len(heads) != _HEADS:
                raise SystemExit(f"found {heads}")
            reading = least(lambda file=file: read_model(file))
            finding = least(lambda read=read: structural_marks(read, "raw_heads", is_file=True))
            print(f"| {nodes:,} | {reading:.3f} | {finding:.3f} |", flush=True)


if __name__ == "__main__":
    main()
