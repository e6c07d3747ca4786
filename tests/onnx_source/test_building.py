"""A recipe of an ONNX file, built by doit where torch cannot be imported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import pytest
from onnx import TensorProto, helper

from partition_core.build.run import Run
from tests.cutting.chains import Values, equal, run
from tests.docs.readme import README, blocks
from tests.projects import RECIPE, steps

from .files import detector
from .projects import LINE, TWO, Project


def image(*dims: int) -> Values:
    """Return a picture that no proof has seen."""
    return {"image": np.random.default_rng(7).normal(size=dims).astype(np.float32)}


def inner(model: onnx.ModelProto, names: list[str], folder: Path) -> Path:
    """Write `model` with more outputs: onnx's own way to see an inner tensor."""
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    seen.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    file = folder / "inner.onnx"
    file.write_bytes(seen.SerializeToString())
    return file


def test_the_segments_of_a_file_equal_it_without_torch(project: Project, tmp_path: Path) -> None:
    project.recipe(TWO)
    said = project.built("build", "recipe=x")
    assert "end2end equals the ONNX file within 0.0e+00" in said
    feeds = image(1, 3, 16, 16)
    whole = run(inner(detector(), ["conv_1", "/neck/out"], tmp_path), feeds)
    folder = project.folder / "build" / "x"
    body = run(folder / "body.onnx", feeds)
    assert list(body) == ["conv_1", "features"]
    assert equal(body["conv_1"], whole["conv_1"])
    assert equal(body["features"], whole["/neck/out"])
    head = run(folder / "head.onnx", body)
    assert list(head) == ["scores", "boxes"]
    assert all(equal(head[name], whole[name]) for name in head)
    assert {"Mark"}.isdisjoint(
        node.op_type
        for name in ("body", "head")
        for node in onnx.load(folder / f"{name}.onnx").graph.node
    )


def test_end2end_is_the_file_with_marks_that_everyone_can_run(project: Project) -> None:
    project.recipe(TWO)
    project.built("build", "recipe=x")
    file = project.folder / "build" / "x" / "end2end.onnx"
    onnx.checker.check_model(str(file), full_check=True)
    made, given = onnx.load(file), detector()
    marks = {}
    for node in made.graph.node:
        if node.op_type == "Mark":
            values = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
            assert node.domain == "partition"
            marks[
                f"{values['func'].decode()}:{values['type'].decode()}.{values['name'].decode()}"
            ] = (values["func_id"], values["dtype"], values.get("shape"))
    assert marks == {
        "whole:input.image": (0, 1, [1, 3, 16, 16]),
        "whole:output.scores": (0, 1, [-1, -1, -1, -1]),
        "whole:output.boxes": (0, 1, [-1, -1, -1, -1]),
        "neck:input.conv_1": (0, 1, [1, 4, 16, 16]),
        "neck:input.features": (0, 1, [1, 8, 8, 8]),
        "neck:output.conv_1": (0, 1, [1, 4, 16, 16]),
        "neck:output.features": (0, 1, [1, 8, 8, 8]),
    }
    assert [(f.domain, f.name) for f in made.functions] == [("partition", "Mark")]
    assert [one.name for one in made.graph.input] == ["image"]
    assert [one.name for one in made.graph.output] == ["scores", "boxes"]
    others = [node.op_type for node in made.graph.node if node.op_type != "Mark"]
    assert others == [node.op_type for node in given.graph.node]
    assert made.graph.initializer == given.graph.initializer
    feeds = image(1, 3, 16, 16)
    given_file = project.folder / "detector.onnx"
    found, expected = run(file, feeds), run(given_file, feeds)
    assert all(equal(found[name], expected[name]) for name in expected)
    # Every mark is on the way: without the Mark nodes nothing reaches the outputs.
    reads = {name for node in made.graph.node if node.op_type != "Mark" for name in node.input}
    assert not reads & {"image", "conv_1", "/neck/out"}


def test_one_line_gives_the_part_between_tensors(project: Project, tmp_path: Path) -> None:
    project.recipe(LINE)
    project.built("build", "recipe=x")
    feeds = image(1, 3, 16, 16)
    whole = run(inner(detector(), ["conv_1", "/neck/out"], tmp_path), feeds)
    part = project.folder / "build" / "x" / "neck.onnx"
    graph = onnx.load(part).graph
    assert [one.name for one in graph.input] == ["conv_1"]
    assert [node.op_type for node in graph.node] == ["Relu", "Conv", "Relu"]
    assert [one.name for one in graph.initializer] == ["w2"]
    made = run(part, whole)
    assert list(made) == ["/neck/out"]
    assert equal(made["/neck/out"], whole["/neck/out"])
    manifest = json.loads((part.parent / "manifest.json").read_text())
    assert manifest["proof"]["against"] == "the ONNX file"
    assert [one["name"] for one in manifest["segments"][0]["inputs"]] == ["conv_1"]


def test_a_build_follows_the_content_of_the_file(project: Project) -> None:
    project.recipe(TWO)
    project.built("build", "recipe=x")
    first = project.artifacts("x")
    assert steps(project.built("build", "recipe=x")) == []
    project.save(detector())  # the same bytes
    assert steps(project.built("build", "recipe=x")) == []
    project.save(detector(seed=1))
    assert "export: build: model changed" in project.built("build", "--dry-run", "recipe=x")
    project.built("build", "recipe=x")
    second = project.artifacts("x")
    assert {name for name in first if first[name] != second[name]} == set(first)
    project.save(detector())
    assert steps(project.built("build", "recipe=x")) == []  # the store has it
    assert project.artifacts("x") == first


def test_dims_that_the_file_leaves_open_stay_open(project: Project) -> None:
    project.save(detector(("batch", 3, "height", "width")))
    project.recipe(TWO + "export: {inputs: {image: {shape: [2, 3, 12, 20]}}}\n")
    project.built("build", "recipe=x")
    folder = project.folder / "build" / "x"
    for name in ("end2end.onnx", "body.onnx"):
        (given,) = onnx.load(folder / name).graph.input
        dims = [dim.dim_param or dim.dim_value for dim in given.type.tensor_type.shape.dim]
        assert dims == ["batch", 3, "height", "width"]
    feeds = image(1, 3, 8, 6)
    whole = run(project.folder / "detector.onnx", feeds)
    made = run(folder / "head.onnx", run(folder / "body.onnx", feeds))
    assert all(equal(made[name], whole[name]) for name in whole)


def test_a_negative_size_is_an_open_dim_with_a_name(project: Project) -> None:
    old = detector(("batch", 3, "height", "width"))
    given = [(old.graph.input[0], (-1, 3, -1, -7))]
    given += [(value, (-1, 4, -1, -(2**62))) for value in old.graph.output]
    for value, sizes in given:
        for dim, size in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
            dim.dim_value = size
    project.save(old)
    project.recipe(TWO)
    named = "image_dim_0, 3, image_dim_2, image_dim_3"
    (told,) = project.told()
    assert f"input 'image' has the dims [{named}]; the proof needs a size for each" in told
    project.recipe(TWO + "export: {inputs: {image: {shape: [2, 3, 12, 20]}}}\n")
    made = project.make()
    for name in ("end2end.onnx", "body.onnx"):
        (image,) = made[name].graph.input
        found = [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim]
        assert found == ["image_dim_0", 3, "image_dim_2", "image_dim_3"]
    values = [
        value
        for one in made.values()
        for value in (*one.graph.input, *one.graph.output, *one.graph.value_info)
    ]
    assert all(dim.dim_value >= 0 for v in values for dim in v.type.tensor_type.shape.dim)


def table_of(rows: int, file: Path) -> onnx.ModelProto:
    """Return a model that reads a table of `rows` of 256 bytes, which lies in `file`, a hole."""
    width = 64
    with file.open("wb") as stream:
        for row in (1, rows - 1):
            stream.seek(row * width * 4)
            stream.write(np.full(width, row / rows, np.float32).tobytes())
    table = TensorProto(name="table", data_type=1, dims=[rows, width], data_location=1)
    table.external_data.add(key="location", value=file.name)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], "/gather"),
        helper.make_node("Tanh", ["rows"], ["y"], "/tanh"),
    ]
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, width])],
        [table],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


BIG = """\
model: {source: onnx, path: big.onnx}
partition: {save_file: rows.onnx, from: [ids], to: [rows]}
proof: {inputs: [ids.npz, others.npz]}
export: {weights: WEIGHTS}
"""


@pytest.mark.skipif(shutil.disk_usage("/tmp").free < 12 << 30, reason="it needs 12 GB of disk")  # noqa: S108  # reason: only its size is read
@pytest.mark.parametrize("weights", ["external", "shared"])
@pytest.mark.thorough
def test_a_file_above_2_gb_is_built_with_its_weights_outside(
    project: Project, weights: str
) -> None:
    rows = 8_600_000
    project.save(table_of(rows, project.folder / "big.bin"), "big.onnx")
    np.savez(project.folder / "ids.npz", ids=np.array([0, 1, rows - 1, 2]))
    np.savez(project.folder / "others.npz", ids=np.array([1, rows - 1, 3, rows - 2]))
    if weights == "shared":
        project.recipe(BIG.replace("WEIGHTS", "inline"))
        (told,) = project.told()
        assert "with its weights inside it has 2201600" in told
    project.recipe(BIG.replace("WEIGHTS", weights))
    (build,) = Run(project.folder, ["x"]).builds
    for step in ("export", *(f"cut {name}" for name in build.overview.segments), "prove"):
        build.carry_out(step, print)
    models = build.plan.models()
    assert models is not None
    assert all(one.weights is not None and one.weights.size > 2**31 for one in models.values())
    same = {one.weights.digest for one in models.values() if one.weights is not None}
    assert len(same) == 1


def test_end2end_of_one_build_is_a_source_for_another(project: Project) -> None:
    project.recipe(TWO)
    project.built("build", "recipe=x")
    (project.folder / "marked.onnx").write_bytes(project.artifacts("x")["end2end.onnx"])
    project.recipe(
        """\
model: {source: onnx, path: marked.onnx}
marks:
  - {name: logits, tensors: [left]}
partition:
  type: three
  segments:
    - {save_file: body.onnx, start: ['whole:input'], end: ['neck:input']}
    - {save_file: head.onnx, start: ['neck:input.features'], end: ['logits:input']}
""",
        "y",
    )
    project.built("build", "recipe=y")
    assert project.artifacts("y")["body.onnx"] == project.artifacts("x")["body.onnx"]
    head = onnx.load(project.folder / "build" / "y" / "head.onnx").graph
    assert [one.name for one in head.input] == ["features"]
    assert [one.name for one in head.output] == ["left"]


def test_inputs_come_from_files_where_random_ones_prove_nothing(project: Project) -> None:
    for number in (1, 2):
        picture = np.random.default_rng(number).random((1, 3, 16, 16), np.float32)
        np.savez(project.folder / f"{number}.npz", image=picture)
    project.save(detector(("batch", 3, "height", "width")))
    project.recipe(TWO + "proof: {inputs: [1.npz, 2.npz]}\n")
    project.built("build", "recipe=x")
    keys = json.loads(project.artifacts("x")["manifest.json"])["fingerprints"]
    assert {"inputs 1.npz", "inputs 2.npz"} <= {label for label, _ in keys["export"]["entries"]}
    picture = np.random.default_rng(3).random((1, 3, 16, 16), np.float32)
    np.savez(project.folder / "2.npz", image=picture)
    told = project.built("build", "--dry-run", "recipe=x")
    assert "export: build: inputs 2.npz changed" in told


def test_the_same_bytes_in_any_process_and_hash_seed(project: Project) -> None:
    project.recipe(TWO)
    made = []
    for seed in ("1", "2"):
        project.environment["PYTHONHASHSEED"] = seed
        project.environment["PARTITION_CORE_STORE"] = f"{project.store}{seed}"
        project.built("build", "recipe=x")
        made.append(project.artifacts("x"))
        project.built("clean", "build:x")
    assert made[0] == made[1]


@pytest.mark.parametrize("number", [1, 2])
def test_the_recipes_in_the_readme_build(project: Project, number: int) -> None:
    assert README.count("<!-- recipe of an ONNX file -->\n```yaml\n") == 2
    project.recipe(blocks("yaml")[number])
    assert "proven on 2 inputs" in project.built("build", "recipe=x")


def test_torch_really_cannot_be_imported_in_these_tests(project: Project) -> None:
    project.recipe(RECIPE, "tiny")
    told = project.doit("build", "recipe=tiny")
    assert told.returncode != 0
    assert "needs a package that cannot be imported: torch is not installed" in told.stdout


def test_calibration_data_of_a_file_does_not_come_from_pytorch(project: Project) -> None:
    project.recipe(TWO)
    words = ("calibrate", "recipe=x", "images=tensors")
    (project.folder / "tensors").mkdir()
    np.savez(project.folder / "tensors" / "0.npz", **image(1, 3, 16, 16))
    told = project.doit(*words, "from=pytorch")
    assert told.returncode != 0
    assert "the model is an ONNX file, which PyTorch does not run" in told.stdout
    assert "Traceback" not in told.stdout
    assert "1 file with image" in project.built(*words)


def test_an_export_that_another_build_finishes_meanwhile_is_taken(project: Project) -> None:
    """Nobody has it when it is asked for, and it is there a moment later."""
    project.recipe(TWO)
    one, other = (Run(project.folder, ["x"]).builds[0] for _ in range(2))
    step = one.plan.export()
    other.carry_out("export", lambda _: None)
    assert one.plan.result(step) is not None
    assert one.plan.export() == step
    assert other.plan.export() == step
