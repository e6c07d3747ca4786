"""One cut by one tool, as the child process that `cut.py` measures; imports little by itself.

python benchmarks/cut_tools.py TOOL TARGET NAME SOURCE INPUT … -- OUTPUT …
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

OURS = "partition-core"


class Case(NamedTuple):
    """A file to cut, and the tensors between which."""

    name: str
    file: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


# The tools. Each imports what it needs when it is called, and nothing more.


def ours(case: Case, target: Path) -> None:
    """Cut with this project, without a check, as the other tools do."""
    from partition_core.graph.files import cut_between

    cut_between(case.file, case.inputs, case.outputs, target, check=False)


def ours_checked(case: Case, target: Path) -> None:
    """Cut with this project as a build does: onnx.checker and shape inference, then the file."""
    from partition_core.graph.files import cut_between

    cut_between(case.file, case.inputs, case.outputs, target)


def onnx_utils(case: Case, target: Path) -> None:
    """Cut with onnx's own tool, as it is by default."""
    import onnx.utils

    onnx.utils.extract_model(str(case.file), str(target), list(case.inputs), list(case.outputs))


def onnx_utils_unchecked(case: Case, target: Path) -> None:
    """Cut with onnx's own tool without its check and shape inference."""
    import onnx.utils

    onnx.utils.extract_model(
        str(case.file),
        str(target),
        list(case.inputs),
        list(case.outputs),
        check_model=False,
        infer_shapes=False,
    )


def onnx_ir(case: Case, target: Path) -> None:
    """Cut with onnx-ir."""
    import onnx_ir as ir

    model = ir.load(case.file)
    model.graph = ir.convenience.extract(
        model.graph, inputs=list(case.inputs), outputs=list(case.outputs)
    )
    ir.save(model, target)


def polygraphy(case: Case, target: Path) -> None:
    """Cut with polygraphy."""
    from polygraphy.backend.onnx import extract_subgraph, onnx_from_path, save_onnx
    from polygraphy.common import TensorMetadata

    inputs, outputs = TensorMetadata(), TensorMetadata()
    for name in case.inputs:
        inputs.add(name, dtype=None, shape=None)
    for name in case.outputs:
        outputs.add(name, dtype=None, shape=None)
    model = onnx_from_path(str(case.file))
    save_onnx(extract_subgraph(model, inputs, outputs), str(target))


def graphsurgeon(case: Case, target: Path) -> None:
    """Cut with onnx-graphsurgeon."""
    import onnx
    import onnx_graphsurgeon as gs

    graph = gs.import_onnx(onnx.load(case.file))
    tensors = graph.tensors()
    graph.inputs = [tensors[name].to_variable(tensors[name].dtype) for name in case.inputs]
    graph.outputs = [tensors[name] for name in case.outputs]
    onnx.save(gs.export_onnx(graph.cleanup()), target)


TOOLS: dict[str, Callable[[Case, Path], None]] = {
    OURS: ours,
    f"{OURS}, checked": ours_checked,
    "onnx.utils": onnx_utils,
    "onnx.utils, unchecked": onnx_utils_unchecked,
    "onnx-ir": onnx_ir,
    "onnx-graphsurgeon": graphsurgeon,
    "polygraphy": polygraphy,
}
NEEDS = {"polygraphy": "polygraphy", "onnx-ir": "onnx_ir", "onnx-graphsurgeon": "onnx_graphsurgeon"}


# Models to cut. Each is cut behind its first and before its last node.


def weights_model(megabytes: int, file: Path) -> Case:
    """Make a chain of matrix products with about this many MB of weights inside the file."""
    import numpy as np
    from onnx import helper, numpy_helper

    side = 512
    count = megabytes * 1_000_000 // (side * side * 4)
    values = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
    weights = [numpy_helper.from_array(values, f"w{i}") for i in range(count)]
    nodes = [helper.make_node("MatMul", [f"v{i}", f"w{i}"], [f"v{i + 1}"]) for i in range(count)]
    return _made(f"{megabytes} MB", nodes, weights, [1, side], file)


def nodes_model(count: int, file: Path) -> Case:
    """Make a chain of this many nodes, without weights."""
    from onnx import helper

    kinds = ("Neg", "Relu")
    nodes = [helper.make_node(kinds[i % 2], [f"v{i}"], [f"v{i + 1}"]) for i in range(count)]
    return _made(f"{count} nodes", nodes, [], [1, 64], file)


def _made(name: str, nodes: list[Any], weights: list[Any], dims: list[int], file: Path) -> Case:
    import onnx
    from onnx import helper

    values = [
        helper.make_tensor_value_info(f"v{i}", onnx.TensorProto.FLOAT, dims)
        for i in range(len(nodes) + 1)
    ]
    graph = helper.make_graph(nodes, "chain", values[:1], values[-1:], weights)
    graph.value_info.extend(values[1:-1])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    file.write_bytes(model.SerializeToString())
    return Case(name, file, ("v1",), (f"v{len(nodes) - 1}",))


MODELS = {
    "10": lambda file: weights_model(10, file),
    "250": lambda file: weights_model(250, file),
    "2000": lambda file: weights_model(2000, file),
    "100n": lambda file: nodes_model(100, file),
    "10000n": lambda file: nodes_model(10_000, file),
    "100000n": lambda file: nodes_model(100_000, file),
}


def warm(case: Case, target: Path, repeat: int) -> tuple[float, float]:
    """Return the seconds of a call in a process that has cut before, and those of `cp`."""
    import statistics
    import subprocess

    result = target.with_name("warm.onnx")
    ours(case, result)
    calls: list[float] = []
    copies: list[float] = []
    for _ in range(repeat):
        target.unlink(missing_ok=True)
        # The kernel slows a process down that has written much and not waited for the disk.
        os.sync()
        start = time.perf_counter()
        ours(case, target)
        calls.append(time.perf_counter() - start)
        target.unlink()
        os.sync()
        start = time.perf_counter()
        subprocess.check_call(["cp", str(result), str(target)])
        copies.append(time.perf_counter() - start)
    target.unlink()
    result.unlink()
    return statistics.median(calls), statistics.median(copies)


def main(kind: str, target: Path, name: str, *words: str) -> None:
    """Do one thing: a cut, cuts in a warm process, count nodes, make a model."""
    if kind == "make":
        made = MODELS[name](target)
        print(made.name, made.inputs[0], made.outputs[0], sep="\n")
        return
    source, *tensors = words
    middle = tensors.index("--")
    case = Case(name, Path(source), tuple(tensors[:middle]), tuple(tensors[middle + 1 :]))
    if kind == "count":
        from partition_core.graph.file.graph_reader import read_model

        print(len(read_model(case.file).graph.nodes))
    elif kind.startswith("warm:"):
        print(*warm(case, target, int(kind.removeprefix("warm:"))))
    else:
        TOOLS[kind](case, target)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
