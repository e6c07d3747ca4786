"""The ONNX model of a marked torch model: its Mark nodes, what is in it and who can run it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import pytest

from partition_core.recipe.values import Seed
from partition_core.trace.exporter import TracedExport
from tests.export.support import (
    IMAGE,
    ROOT,
    export,
    export_with_ops,
    in_new_process,
    mark,
    run,
    sample,
    saved,
)
from tests.export.support import torch_recipe as recipe

MARKS = (
    mark("whole", "Net.forward", inputs=("image",), outputs=("scores",)),
    mark("join", "decode", inputs=("maps",), outputs=()),
)


@pytest.fixture(scope="module")
def exported() -> TracedExport:
    return export(recipe("Net", IMAGE, *MARKS, weights=Seed(3)))


@pytest.fixture(scope="module")
def file(exported: TracedExport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(exported.model, tmp_path_factory.mktemp("net"))


def marks_in(model: ir.Model) -> list[dict[str, object]]:
    nodes = [node for node in model.graph if node.op_type == "Mark"]
    assert all(node.domain == "partition" for node in nodes)
    return [{key: item.value for key, item in node.attributes.items()} for node in nodes]


def test_mark_nodes_have_the_attributes_of_mmdeploy(exported: TracedExport) -> None:
    common = {"func_id": 0, "dtype": onnx.TensorProto.FLOAT}
    maps = {"func": "join", "type": "input", "shape": (1, 6, 8, 8)}
    assert marks_in(exported.model) == [
        {
            **common,
            "func": "whole",
            "type": "input",
            "name": "image",
            "id": 0,
            "shape": (1, 3, 16, 16),
        },
        {**common, **maps, "name": "maps.0", "id": 0},
        {**common, **maps, "name": "maps.1", "id": 1},
        {
            **common,
            "func": "whole",
            "type": "output",
            "name": "scores",
            "id": 0,
            "shape": (1, 6, 128),
        },
    ]


def test_calls_of_one_mark_are_told_apart_by_func_id() -> None:
    twice = recipe("Calls", {"x": (2, 4)}, mark("m", "double"), args=(("what", '"twice"'),))
    found = marks_in(export(twice).model)
    assert [(one["func_id"], one["type"]) for one in found] == [
        (0, "input"),
        (0, "output"),
        (1, "input"),
        (1, "output"),
    ]


def test_bounds_of_one_tensor_that_torch_calls_alike_are_all_in_the_model(tmp_path: Path) -> None:
    bounded = recipe("Bounded", {"x": (4, 8)}, output_names=("first", "second", "third"))
    exported = export(bounded)
    found = run(saved(exported.model, tmp_path), sample(exported).inputs)
    for name, (low, high) in zip(
        ("first", "second", "third"), ((-0.1, 0.5), (-0.2, 0.6), (-0.3, 0.9)), strict=True
    ):
        np.testing.assert_allclose((found[name].min(), found[name].max()), (low, high))
        np.testing.assert_allclose(found[name], sample(exported).outputs[name], atol=1e-6)


def test_a_mark_tells_an_integer_tensor_and_a_free_dim() -> None:
    asks = recipe(
        "Suppressed",
        {"boxes": (6, 4), "scores": (6,)},
        mark("m", "Suppressed.forward", inputs=()),
        args=(("iou_threshold", "0.5"), ("offset", "0")),
    )
    (found,) = marks_in(export_with_ops(asks).model)
    assert (found["dtype"], found["shape"]) == (onnx.TensorProto.INT64, (-1,))


def test_the_marked_model_gives_what_pytorch_gives(exported: TracedExport, file: Path) -> None:
    for number in (0, 1):
        found = run(file, sample(exported, number).inputs)
        expected = sample(exported, number).outputs
        assert list(found) == list(expected) == ["output"]
        np.testing.assert_allclose(found["output"], expected["output"], atol=1e-6)


def test_the_model_and_its_unmarked_twin_give_the_same_bits(
    exported: TracedExport, file: Path
) -> None:
    plain = saved(export(recipe("Net", IMAGE, weights=Seed(3))).model, file.parent / "..")
    inputs = sample(exported).inputs
    np.testing.assert_array_equal(run(plain, inputs)["output"], run(file, inputs)["output"])


def test_runtimes_that_know_nothing_of_us_accept_the_marked_model(file: Path) -> None:
    said = in_new_process(
        """
import sys, json, numpy as np, onnx, onnx.checker, onnx.reference, onnxruntime
assert not onnx.defs.has("Mark", "partition")
onnx.checker.check_model(sys.argv[1], full_check=True)
feeds = {"image": np.linspace(-1, 1, 768, dtype=np.float32).reshape(1, 3, 16, 16)}
(fast,) = onnxruntime.InferenceSession(sys.argv[1]).run(None, feeds)
(slow,) = onnx.reference.ReferenceEvaluator(sys.argv[1]).run(None, feeds)
assert not any(name.startswith(("partition_core", "torch")) for name in sys.modules)
print(json.dumps([list(fast.shape), float(abs(fast - slow).max())]))
""",
        str(file),
    )
    shape, difference = json.loads(said)
    assert shape == [1, 6, 128]
    assert difference < 1e-5


def test_a_batch_norm_behind_a_convolution_is_folded_into_it(exported: TracedExport) -> None:
    kinds = [node.op_type for node in exported.model.graph]
    assert kinds.count("Conv") == 5
    assert "BatchNormalization" not in kinds


def test_nothing_of_the_machine_is_in_the_bytes(exported: TracedExport, file: Path) -> None:
    content = file.read_bytes()
    for text in (str(ROOT), "site-packages", "/tmp", "models.py", "stack_trace", "/home", "pkg."):  # noqa: S108  # reason: no file
        assert text.encode() not in content
    assert exported.model.graph.name == "small_model"


def test_each_node_names_the_module_that_it_comes_from(exported: TracedExport) -> None:
    nodes = [(node.op_type, node.metadata_props) for node in exported.model.graph]
    assert [(kind, props["module"]) for kind, props in nodes if kind != "Mark"] == [
        ("Conv", "stem.0"),
        ("Relu", "stem.2"),
        ("Conv", "blocks.0.conv"),
        ("Relu", "blocks.0"),
        ("Add", "blocks.0"),
        ("Conv", "blocks.1.conv"),
        ("Relu", "blocks.1"),
        ("Add", "blocks.1"),
        ("Conv", "head.small"),
        ("Conv", "head.large"),
        *[("Reshape", ""), ("Sigmoid", "")] * 2,
        ("Concat", ""),
        ("Add", ""),
    ]
    assert all(list(props) == ["module"] for _, props in nodes)


@pytest.mark.parametrize("opset", [11, 14, 17, 18, 19, 20, 21, 25])
def test_every_supported_opset_gives_a_valid_model_that_runs(opset: int, tmp_path: Path) -> None:
    marked = recipe("Net", IMAGE, *MARKS, opset=opset)
    exported = export(marked)
    path = saved(exported.model, tmp_path)
    imports = {one.domain: one.version for one in onnx.load(path).opset_import}
    assert imports == {"": opset, "partition": 1}
    found = run(path, sample(exported).inputs)["output"]
    np.testing.assert_allclose(found, sample(exported).outputs["output"], atol=1e-6)


@pytest.mark.parametrize("opset", [11, 14, 17, 18, 19, 20, 21, 25])
def test_suppression_is_translated_for_every_supported_opset(opset: int, tmp_path: Path) -> None:
    asks = recipe(
        "Suppressed",
        {"boxes": (6, 4), "scores": (6,)},
        args=(("iou_threshold", "0.5"), ("offset", "1")),
        opset=opset,
    )
    path = saved(export_with_ops(asks).model, tmp_path)
    boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 29, 29]] * 2, dtype=np.float32)
    scores = np.array([0.5, 0.9, 0.1, 0.6, 0.8, 0.3], dtype=np.float32)
    assert run(path, {"boxes": boxes, "scores": scores})["output"].tolist() == [1, 5]


@pytest.mark.thorough  # tests/scenario/test_rebuilding.py has a whole build
def test_an_export_has_the_same_bytes_in_processes_with_other_hash_seeds(tmp_path: Path) -> None:
    code = """
import sys, hashlib, pathlib
from tests.export.support import *
from partition_core.base.recording import save_recording
from partition_core.graph.files import save_traced
from partition_core.recipe.values import Seed
import tests.export.test_exported_graph as t
folder = pathlib.Path(sys.argv[1]); folder.mkdir()
exported = export(torch_recipe("Net", IMAGE, *t.MARKS, weights=Seed(3)))
save_traced(exported.model, folder / "model", "inline")
save_recording(exported.recording, folder / "recording")
print([hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model", "recording")])
"""
    one = in_new_process(code, str(tmp_path / "one"), PYTHONHASHSEED="1")
    assert one == in_new_process(code, str(tmp_path / "other"), PYTHONHASHSEED="77")
