"""Mark nodes at every tensor of the models of onnx's own backend tests change nothing."""

from __future__ import annotations

import collections
from pathlib import Path

import onnx
import onnx.checker
import pytest

from partition_core.graph.file.graph import Model
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.files import save
from partition_core.graph.mark_nodes import put_marks
from partition_core.graph.named_tensors import NamedTensor, marks_by_name
from tests.cutting.backend_models import large_models, other_models, sampled_models, stored_models
from tests.cutting.chains import equal, run

LARGEST = 1 << 20


def marked_everywhere(file: Path) -> Model:
    """Return the model in `file` with a mark at every tensor of floats, and two at the first."""
    model, floats = read_model(file), floats_in(onnx.load(file))
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    names = [value.name for value in values if value.name and value.name in floats]
    tensors = [
        NamedTensor(f"m{number}", "output", (name,), name, "at")
        for number, name in enumerate([*names, *names[:1]])
    ]
    return put_marks(model, marks_by_name(model, tensors).tensors)


def floats_in(model: onnx.ModelProto) -> set[str]:
    """Return the names of the values of `model` that are tensors of floats.

    A mark behind a shape hides from onnxruntime what it knows of it, which Scan may need.
    """
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    return {one.name for one in values if one.type.tensor_type.elem_type in kinds}


SOURCES = [
    stored_models,
    *(
        pytest.param(made, marks=pytest.mark.thorough)
        for made in (large_models, sampled_models, other_models)
    ),
]


@pytest.mark.parametrize("source", SOURCES)
def test_marks_everywhere_change_no_result(source, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    told: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    file, target = tmp_path / "whole.onnx", tmp_path / "marked.onnx"
    for name, model, values in source():
        weights = {item.name for item in model.graph.initializer}
        inputs = [item.name for item in model.graph.input if item.name not in weights]
        content = model.SerializeToString()
        inner = len(model.graph.node) > 1
        if not inner or len(values) != len(inputs) or len(content) > LARGEST:
            continue
        file.write_bytes(content)
        feeds = dict(zip(inputs, values, strict=True))
        try:
            whole = run(file, feeds)
        except Exception:  # noqa: S112  # onnxruntime raises what it likes for what it lacks
            continue
        told["models"] += 1
        save(marked_everywhere(file), target)
        made = onnx.load(target)
        told["marks"] += sum(node.op_type == "Mark" for node in made.graph.node)
        found = run(target, feeds)
        onnx.checker.check_model(made)
        if any(node.op_type.startswith("Random") for node in model.graph.node):
            continue
        if list(found) != list(whole) or not all(equal(found[one], whole[one]) for one in whole):
            wrong.append(name)
    print(dict(told))
    assert not wrong
    assert told["models"] > 20 or source is large_models
    assert told["marks"] > 3 * told["models"]
