"""What is told about a recipe and its ONNX file before anything is built, to the letter."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from partition_core.base.errors import PartitionError, ProofError
from partition_core.build.run import Run
from partition_core.sources.onnx import given_file
from tests.checkpoints.file_server import FileServer, serving

from .files import detector, model
from .projects import LINE, TWO, Project


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer(detector().SerializeToString(deterministic=True))) as running:
        yield running


AT = "recipes/x.yaml"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "[conv_1,",
            "[conv1,",
            "4: marks[1].tensors[0]: the model has no tensor 'conv1'; did you mean 'conv_1'?",
        ),
        (
            "/neck/Relu",
            "/nek/Relu",
            "4: marks[1].tensors[1]: the model has no node '/nek/Relu'; did you mean '/neck/Relu'?",
        ),
        (
            "{node: /neck/Relu",
            "{node: /split",
            "4: marks[1].tensors[1]: node '/split' has 2 outputs; "
            "expected 'output' to be one of 0 ('left'), 1 ('right')",
        ),
        (
            "{node: /neck/Relu",
            "{node: /split, output: 2",
            "4: marks[1].tensors[1]: node '/split' has no output 2; "
            "expected one of 0 ('left'), 1 ('right')",
        ),
        (
            "'neck:input'",
            "'nekc:input'",
            "8: partition.segments[0].end[0]: the model has no mark 'nekc'; "
            "expected one of 'neck', 'whole'; did you mean 'neck'?",
        ),
        (
            "'neck:output'",
            "'neck:output.feature'",
            "9: partition.segments[1].start[0]: 'neck:output.feature' selects no tensor; expected "
            "one of 'neck:output.conv_1', 'neck:output.features'; "
            "did you mean 'neck:output.features'?",
        ),
        (
            "start: ['whole:input'], end: ['neck:input']",
            "start: ['neck:input'], end: ['whole:input']",
            "8: partition.segments[0]: segment 'body.onnx' is the wrong way round: its start, "
            "'neck:input.conv_1', 'neck:input.features', is computed from its end, "
            "'whole:input.image'; exchange the two",
        ),
        (
            "as: features",
            "as: conv_1",
            "4: marks[1].tensors[1]: 'conv_1' names the tensor 'conv_1' in marks[1].tensors[0] "
            "already; give one of them another name with 'as'",
        ),
        (
            "{node: /neck/Relu, as: features}",
            "{node: /stem/Conv}",
            "4: marks[1].tensors[1]: it is the tensor 'conv_1', which marks[1].tensors[0] names "
            "already; list it once",
        ),
        (
            "['neck:output']",
            "['neck:output.features']",
            "9: partition.segments[1].start: segment 'head.onnx' needs 'image', which its start "
            "does not list; add 'neck:output.conv_1' to start",
        ),
    ],
)
def test_a_wrong_name_is_told_with_its_line(
    project: Project, old: str, new: str, told: str
) -> None:
    assert old in TWO
    project.recipe(TWO.replace(old, new, 1))
    assert project.told() == [f"{AT}:{told}"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "{node: /neck/Relu}",
            "scroes",
            "partition.to[0]: the model has no tensor 'scroes'; did you mean 'scores'?",
        ),
        (
            "[conv_1]",
            "[{tensor: conv_1, as: a}, {tensor: pooled, as: a}]",
            "partition.from[1]: 'a' names the tensor 'conv_1' in partition.from[0] already; "
            "give one of them another name with 'as'",
        ),
        (
            "[conv_1]",
            "[image, boxes]",
            "partition.from: nothing in segment 'neck.onnx' needs 'boxes', "
            "which 'from:input' selects; list the needed ones one by one: 'image'",
        ),
        (
            "[conv_1], to: [{node: /neck/Relu}]",
            "[conv_2], to: [boxes]",
            "partition.from: segment 'neck.onnx' needs 'image', which its start does not list; "
            "add 'pooled' to 'from'",
        ),
        (
            "[conv_1], to: [{node: /neck/Relu}]",
            "[head], to: [conv_2]",
            "partition: segment 'neck.onnx' is the wrong way round: its start, 'head', is computed "
            "from its end, 'conv_2'; exchange the two",
        ),
        (
            "[conv_1], to: [{node: /neck/Relu}]",
            "[scores, boxes], to: [conv_2, relu_1]",
            "partition: segment 'neck.onnx' is the wrong way round: its start, 'scores', 'boxes', "
            "is computed from its end, 'conv_2', 'relu_1'; exchange the two",
        ),
    ],
)
def test_the_one_line_form_is_told_in_its_own_words(
    project: Project, old: str, new: str, told: str
) -> None:
    project.recipe(LINE.replace(old, new))
    assert project.told() == [f"{AT}:2: {told}"]


def test_what_is_wrong_in_several_places_for_one_reason_is_told_once(project: Project) -> None:
    file = detector()
    out_of_order(file)
    project.save(file)
    project.recipe(TWO)
    assert len(project.told()) == 1
    project.save(detector())
    project.recipe("model: {source: onnx, path: detector.onnx, pth: x}\n", "base")
    for name in ("one", "two"):
        project.recipe("extends: base.yaml\npartition: {save_file: a.onnx, from: [image]}\n", name)
    with pytest.raises(PartitionError) as error:
        Run(project.folder, ["one", "two"])
    told = str(error.value).splitlines()
    assert len([line for line in told if line.startswith("recipes/base.yaml")]) == 1
    assert len(told) == len(set(told)) == 3


def test_all_wrong_names_are_told_at_once(project: Project) -> None:
    project.recipe(LINE.replace("[conv_1]", "[a1, b1]").replace("{node: /neck/Relu}", "c1"))
    assert project.told() == [
        f"{AT}:2: partition.from[0]: the model has no tensor 'a1'",
        f"{AT}:2: partition.from[1]: the model has no tensor 'b1'",
        f"{AT}:2: partition.to[0]: the model has no tensor 'c1'",
    ]


def test_a_mark_of_the_file_keeps_its_name(project: Project) -> None:
    project.recipe(TWO)
    project.save(project.make()["end2end.onnx"])
    assert project.told() == [
        f"{AT}:3: marks[0].name: the file already has a mark 'whole'; rename it",
        f"{AT}:4: marks[1].name: the file already has a mark 'neck'; rename it",
    ]


def test_a_tensor_inside_a_body_is_told(project: Project) -> None:
    body = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["inside"], "/inside")],
        "then",
        [],
        [helper.make_tensor_value_info("inside", TensorProto.FLOAT, [2])],
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["y_1"], "/if", then_branch=body, else_branch=body)],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y_1", TensorProto.FLOAT, [2])],
    )
    project.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))
    project.recipe(LINE.replace("[conv_1]", "[inside]").replace("/neck/Relu", "/inside"))
    outside = "a segment starts and ends in the main graph"
    assert project.told() == [
        f"{AT}:2: partition.to[0]: node '/inside' lies inside a body of If node '/if'; {outside}; "
        "name a node outside it",
    ]
    project.recipe(LINE.replace("[conv_1]", "[inside]").replace("{node: /neck/Relu}", "y_1"))
    assert project.told() == [
        f"{AT}:2: partition.from[0]: 'inside' lies inside a body of If node '/if'; {outside}; "
        "name a tensor outside it",
    ]


def test_a_tensor_inside_a_function_is_told(project: Project) -> None:
    file = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["": 20, "own": 1]>
        g (float[2] x) => (float[2] y) { y = own.twice(x) }
        <domain: "own", opset_import: ["": 20]>
        twice (a) => (b) { [half] inside = Neg(a)  b = Add(inside, inside) }
    """)
    project.save(file)
    around = "function 'twice' of domain 'own'; a segment starts and ends in the main graph"
    project.recipe(LINE.replace("[conv_1]", "[inside]").replace("{node: /neck/Relu}", "y"))
    assert project.told() == [
        f"{AT}:2: partition.from[0]: 'inside' lies inside {around}; name a tensor outside it",
    ]
    project.recipe(LINE.replace("[conv_1]", "[x]").replace("/neck/Relu", "half"))
    assert project.told() == [
        f"{AT}:2: partition.to[0]: node 'half' lies inside {around}; name a node outside it",
    ]


def out_of_order(file: onnx.ModelProto) -> None:
    nodes = list(file.graph.node)
    del file.graph.node[:]
    file.graph.node.extend([nodes[1], nodes[0], *nodes[2:]])


def with_wrong_strides(file: onnx.ModelProto) -> None:
    file.graph.node[0].attribute.append(helper.make_attribute("strides", [1, 2, 3]))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            out_of_order,
            "its nodes are not in order: node '/stem/Relu' reads 'conv_1' before node '/stem/Conv' "
            "makes it",
        ),
        (
            with_wrong_strides,
            "(op_type:Conv, node name: /stem/Conv): Attribute strides has incorrect size",
        ),
    ],
)
def test_types_that_cannot_be_inferred_are_told_once_with_the_reason(
    project: Project, spoil: Callable[[onnx.ModelProto], None], told: str
) -> None:
    file = detector()
    spoil(file)
    project.save(file)
    project.recipe(LINE)
    assert project.told() == [
        f"{AT}:2: partition: the types of the model cannot be inferred: {told}; fix the model, "
        "or write the types of these tensors under 'types'"
    ]


def renamed_read(file: onnx.ModelProto) -> None:
    file.graph.node[1].input[0] = "conv_1:0"


def two_lost_weights(file: onnx.ModelProto) -> None:
    del file.graph.initializer[:2]


def lost_maker_of_an_output(file: onnx.ModelProto) -> None:
    (maker,) = (node for node in file.graph.node if "scores" in node.output)
    file.graph.node.remove(maker)


def lost_inside_a_body(file: onnx.ModelProto) -> None:
    inner = helper.make_node("Add", ["conv_1", "lost"], ["inner"], "/inner")
    kind = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    body = helper.make_graph([inner], "body", [], [kind])
    node = helper.make_node("If", ["which"], ["either"], "/if", then_branch=body, else_branch=body)
    file.graph.node.append(node)
    file.graph.input.append(helper.make_tensor_value_info("which", TensorProto.BOOL, []))


def lost_inside_a_function(file: onnx.ModelProto) -> None:
    add = helper.make_node("Add", ["x", "lost"], ["y"], "/add")
    own = [helper.make_opsetid("", 20)]
    file.functions.append(helper.make_function("own", "f", ["x"], ["y"], [add], own))
    file.opset_import.append(helper.make_opsetid("own", 1))


STRUCTURAL = "model: {source: onnx, path: detector.onnx}\npartition: {type: raw_heads}\n"


@pytest.mark.parametrize("recipe", [STRUCTURAL, LINE])
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (renamed_read, "Relu node '/stem/Relu' reads 'conv_1:0'"),
        (two_lost_weights, "Conv node '/stem/Conv' reads 'w1', Conv node '/neck/Conv' reads 'w2'"),
        (lost_maker_of_an_output, "the list of outputs reads 'scores'"),
        (lost_inside_a_body, "Add node '/inner' reads 'lost'"),
        (lost_inside_a_function, "Add node '/add' of function 'f' reads 'lost'"),
    ],
)
def test_a_file_that_reads_what_it_does_not_define_is_told_before_anything_else(
    project: Project, spoil: Callable[[onnx.ModelProto], None], told: str, recipe: str
) -> None:
    file = detector()
    spoil(file)
    project.save(file)
    project.recipe(recipe)
    near = "did you mean 'conv_1'?; " if spoil is renamed_read else ""
    assert project.told() == [
        f"{AT}:1: model.path: 'detector.onnx': it is broken: {told}, which nothing in it defines; "
        f"expected an input of the model, a weight or what a node gives; {near}export it again, or "
        "mend the tool that changed it"
    ]


OPEN = ("batch", 3, "height", 16)


@pytest.mark.parametrize(
    ("export", "told"),
    [
        (
            "",
            "1: export.inputs: input 'image' has the dims [batch, 3, height, 16]; the proof needs "
            "a size for each; write `export: {inputs: {image: {shape: […, 3, …, 16]}}}`",
        ),
        (
            "{image: {shape: [1, 3, 16, 8]}}",
            "3: export.inputs.image: input 'image' has the dims [batch, 3, height, 16] in the file",
        ),
        (
            "{image: {shape: [3, 16, 16]}}",
            "3: export.inputs.image: input 'image' has the dims [batch, 3, height, 16] in the file",
        ),
        (
            "{image: {shape: [1, 3, 16, 16]}, imgae: {shape: [1]}}",
            "3: export.inputs.imgae: unknown input 'imgae'; expected one of 'image'; "
            "did you mean 'image'?",
        ),
    ],
)
def test_sizes_that_the_proof_lacks_or_that_do_not_fit_are_told(
    project: Project, export: str, told: str
) -> None:
    project.save(detector(OPEN))
    project.recipe(LINE + (f"export: {{inputs: {export}}}\n" if export else ""))
    assert project.told() == [f"{AT}:{told}"]


def test_an_input_is_as_large_as_a_file_says_only_if_the_recipe_says_it_too(
    project: Project,
) -> None:
    project.save(detector((1, 3, 8192, 4096)))
    project.recipe(LINE)
    assert project.told() == [
        f"{AT}:1: export.inputs: input 'image' has the dims [1, 3, 8192, 4096] in the file, 402.7 "
        "MB; without a shape in the recipe the limit is 134.2 MB; write `export: {inputs: {image: "
        "{shape: [1, 3, 8192, 4096]}}}` if that is intended"
    ]
    project.recipe(LINE + "export: {inputs: {image: {shape: [1, 3, 8192, 4096]}}}\n")
    project.check()


def test_arrays_that_do_not_fit_are_told(project: Project) -> None:
    ones = np.ones((1, 3, 16, 16), np.float32)
    np.savez(project.folder / "1.npz", imgae=ones)
    np.savez(project.folder / "2.npz", image=ones[..., :8].astype(np.float64))
    np.savez(project.folder / "3.npz")
    (project.folder / "4.npz").write_bytes(b"no archive")
    (project.folder / "5.npz").write_bytes((project.folder / "1.npz").read_bytes()[:200])
    project.recipe(LINE + "proof: {inputs: [1.npz, 2.npz, 3.npz, 4.npz, 5.npz]}\n")
    told = project.told()
    assert told[:-2] == [
        f"{AT}:3: proof.inputs[0]: unknown input 'imgae'; expected one of 'image'; "
        "did you mean 'image'?",
        f"{AT}:3: proof.inputs[1]: input 'image' has the dims [1, 3, 16, 16] in the file, but "
        "[1, 3, 16, 8] here",
        f"{AT}:3: proof.inputs[1]: input 'image' is float32 in the file, but float64 here",
        f"{AT}:3: proof.inputs[2]: '3.npz' contains no array; expected one of 'image'",
    ]
    for line, number in zip(told[-2:], (4, 5), strict=True):
        assert line.startswith(
            f"{AT}:3: proof.inputs[{number - 1}]: '{number}.npz' is not an '.npz' file of plain "
            "arrays; "
        )


def test_a_size_of_the_recipe_beside_arrays_of_another_is_told(project: Project) -> None:
    project.save(detector(OPEN))
    ones = np.ones((2, 3, 8, 16), np.float32)
    np.savez(project.folder / "1.npz", image=ones)
    np.savez(project.folder / "2.npz", image=ones[:1])
    shape = "export: {inputs: {image: {shape: [2, 3, 8, 16]}}}\n"
    project.recipe(LINE + shape + "proof: {inputs: [1.npz, 2.npz]}\n")
    assert project.told() == [
        f"{AT}:4: proof.inputs[1]: input 'image' is [1, 3, 8, 16] here; expected [2, 3, 8, 16], as "
        "in 'export.inputs'; use arrays of that shape, or leave out the shape of 'image' there"
    ]
    np.savez(project.folder / "2.npz", image=-ones)
    project.check()


def test_a_file_that_is_no_onnx_or_not_there_is_told(project: Project) -> None:
    project.recipe(LINE)
    project.write("detector.onnx", "hello, this is a text")
    (told,) = project.told()
    assert told.startswith(f"{AT}:1: model.path: 'detector.onnx': it is not an ONNX file: ")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("detektor.onnx", "expected it in the project's folder; did you mean 'detector.onnx'?"),
        ("models/detctor.onnx", "expected it in 'models'; did you mean 'detector.onnx'?"),
        ("models/x.onnx", "expected it in 'models'"),
        ("model/detector.onnx", "the folder 'model' does not exist either"),
        ("/nowhere/detector.onnx", "the folder '/nowhere' does not exist either"),
    ],
)
def test_a_file_that_is_not_there_is_told_with_its_neighbour(
    project: Project, path: str, told: str
) -> None:
    (project.folder / "models").mkdir()
    project.save(detector(), "models/detector.onnx")
    project.recipe(LINE.replace("detector.onnx", path))
    assert project.told() == [f"{AT}:1: model.path: there is no file '{path}'; {told}"]


OTHER_FILES = {
    b"": "it is empty; fetch it again",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n": (
        "it is a Git LFS pointer instead of the file; run `git lfs pull` in its repository"
    ),
    b"PK\x03\x04" + bytes(50): "it is a zip archive, as torch.save makes; unpack it, or ",
    b"<!DOCTYPE html><html>": "it is a web page; open its address in a browser: ",
    b"\n <HTML lang='en'>": "it is a web page; open its address in a browser: ",
    b"\x1f\x8b\x08abc": "it is compressed with gzip; decompress it with `gunzip`",
    b"\x80\x02}q\x00.": "it is a Python pickle; export the model to ONNX, or ",
    b"\x89HDF\r\n\x1a\n": "it is an HDF5 file, as Keras makes; convert it with tf2onnx",
    b"\x1c\0\0\0TFL3abc": "it is a TensorFlow Lite model; convert it with tf2onnx",
    b"\x1c\0\0\0ORTMabc": "it is in onnxruntime's own format; use the .onnx file it was made from",
    b"<?xml version='1.0'?>": "it is XML, as OpenVINO makes; use the .onnx file it was made from",
    b'{"error": "no such model"}': "it is JSON; look into it: it may be an error message from a "
    "server",
}


@pytest.mark.parametrize("content", OTHER_FILES)
def test_what_another_kind_of_file_is_is_told(project: Project, content: bytes) -> None:
    project.recipe(LINE)
    (project.folder / "detector.onnx").write_bytes(content)
    (told,) = project.told()
    assert told.startswith(
        f"{AT}:1: model.path: 'detector.onnx': it is not an ONNX file: {OTHER_FILES[content]}"
    )


@pytest.mark.parametrize("name", ["detector.onnx", "weights.bin"])
@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_a_pipe_or_a_device_is_told_at_once(project: Project, name: str, kind: str) -> None:
    external(project.folder)
    project.recipe(LINE)
    (project.folder / name).unlink()
    if kind == "a pipe":
        os.mkfifo(project.folder / name)
    else:
        (project.folder / name).symlink_to("/dev/zero")
    with pytest.raises(PartitionError) as error:
        project.check()
    assert f"it is {kind}, not a file" in str(error.value)


def from_a_cache(project: Project) -> None:
    """Put the detector where the cache of Hugging Face would: links in a snapshot to blobs."""
    blobs, snapshot = project.folder / "hub" / "blobs", project.folder / "hub" / "snapshots" / "a1"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    external(project.folder)
    for name in ("detector.onnx", "weights.bin"):
        (project.folder / name).rename(blobs / f"blob of {name}")
        (snapshot / name).symlink_to(f"../../blobs/blob of {name}")
    project.recipe(TWO.replace("detector.onnx", "hub/snapshots/a1/detector.onnx"))


def test_links_of_a_cache_are_followed(project: Project) -> None:
    project.recipe(TWO)
    inside = project.make()
    from_a_cache(project)
    assert project.make()["head.onnx"] == inside["head.onnx"]


def test_a_link_out_of_the_folder_is_told(project: Project, tmp_path: Path) -> None:
    from_a_cache(project)
    elsewhere = tmp_path / "elsewhere"
    (project.folder / "hub" / "blobs" / "blob of weights.bin").rename(elsewhere)
    link = project.folder / "hub" / "snapshots" / "a1" / "weights.bin"
    link.unlink()
    link.symlink_to(elsewhere)
    assert project.told() == [
        f"{AT}:1: model.path: 'detector.onnx', initializer 'w1': its external data in "
        f"'weights.bin' is a link to '{elsewhere}', outside the folder; expected a file beside the "
        "model; put the file there, or a hard link: a link of a model may lead to anything"
    ]


def test_another_file_than_the_pinned_one_is_told(project: Project) -> None:
    digest = hashlib.sha256((project.folder / "detector.onnx").read_bytes()).hexdigest()
    project.recipe(
        LINE.replace("detector.onnx}", f"detector.onnx, sha256: '{digest[:8].upper()}'}}")
    )
    project.check()
    project.save(detector(seed=1))
    other = hashlib.sha256((project.folder / "detector.onnx").read_bytes()).hexdigest()
    assert project.told() == [
        f"{AT}:1: model.sha256: the model's SHA-256 is '{other}'; the recipe expects one that "
        f"starts with '{digest[:8]}'; check where the model comes from before you change the recipe"
    ]


def external(folder: Path, location: str = "weights.bin", seed: int = 0) -> None:
    """Write the detector with its weights in a file of their own."""
    onnx.save(
        detector(seed=seed),
        folder / "detector.onnx",
        save_as_external_data=True,
        location=location,
        size_threshold=0,
    )


def test_external_data_that_is_missing_is_told(project: Project) -> None:
    external(project.folder)
    (project.folder / "weights.bin").unlink()
    project.recipe(LINE)
    assert project.told() == [
        f"{AT}:1: model.path: 'detector.onnx', initializer 'w1': its external data in "
        "'weights.bin' cannot be read: No such file or directory; keep the file beside the model"
    ]


def test_external_data_is_a_part_of_the_file(project: Project) -> None:
    project.recipe(TWO)
    inside = project.make()
    external(project.folder)
    outside = project.make()
    assert outside["head.onnx"] == inside["head.onnx"]
    (project.folder / "weights.bin").unlink()
    external(project.folder, seed=1)
    assert project.make()["head.onnx"] != inside["head.onnx"]


def test_more_than_a_file_can_hold_is_told_before_anything_runs(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is above the limit itself is refused where a file of 2 GB is built.
    most = 1_000_000
    monkeypatch.setattr(given_file, "LARGEST", most)
    big = detector()
    (weights,) = [one for one in big.graph.initializer if one.name == "w1"]
    weights.ClearField("raw_data")
    weights.dims[:] = [100_000, 3, 1, 1]
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="w.bin")
    project.save(big)
    (project.folder / "w.bin").write_bytes(bytes(1_200_000))
    project.recipe(LINE)
    with pytest.raises(PartitionError) as error:
        project.check()
    told = str(error.value)
    assert told.startswith(
        f"{AT}:1: model.path: 'detector.onnx': with its weights inside it has 120"
    )
    assert f"no ONNX file can have more than {most}" in told
    assert told.endswith("; write `export: {weights: external}`, or `shared`")


def test_an_operator_that_onnxruntime_lacks_is_told(project: Project) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["image"], ["r"], "/relu"),
            helper.make_node("Bewilder", ["r"], ["s"], "/strange", domain="strange"),
        ],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("s", TensorProto.FLOAT, [2])],
    )
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("strange", 1)]
    project.save(helper.make_model(graph, opset_imports=imports, ir_version=10))
    project.recipe(
        "model: {source: onnx, path: detector.onnx}\n"
        "partition: {save_file: a.onnx, from: [image], to: [r]}\n"
    )
    run = project.doit("build", "recipe=x")
    assert run.returncode != 0
    told = _error(run.stdout)
    assert told.strip() == (
        "ERROR: recipes/x.yaml:1: model.path: 'detector.onnx': onnxruntime has no operator "
        "'strange.Bewilder'; write `proof: {unproven: allow}` to prove only what needs none of its "
        "results"
    )
    assert "Traceback" not in run.stdout
    assert not (project.folder / "build" / "x").exists()


def test_an_output_that_cannot_be_compared_is_told(project: Project) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["image"], ["r"]),
            helper.make_node("Cast", ["r"], ["s"], to=TensorProto.STRING),
        ],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("s", TensorProto.STRING, [2])],
    )
    project.save(model(graph))
    project.recipe(
        "model: {source: onnx, path: detector.onnx}\n"
        "partition: {save_file: a.onnx, from: [image], to: [r]}\n"
    )
    with pytest.raises(ProofError, match="output 's': it is not a numeric tensor"):
        project.make()


def test_a_url_gives_the_file_that_is_pinned_and_no_other(
    project: Project, server: FileServer
) -> None:
    digest = hashlib.sha256(server.content).hexdigest()
    text = TWO.replace("path: detector.onnx", f"url: '{server.url('a.onnx')}', sha256: {{}}")
    (project.folder / "detector.onnx").unlink()
    project.recipe(text.replace("{}", f"'{digest[:8]}'"))
    said = project.built("build", "recipe=x")
    assert "proven on 2 inputs" in said
    assert project.built("build", "recipe=x") == "x: up to date (4 artifacts in build/x)\n"
    assert server.ranges == [None]
    server.content = detector(seed=1).SerializeToString()
    wrong = "0" * 64
    project.recipe(text.replace("{}", f"'{wrong}'"))
    run = project.doit("build", "recipe=x")
    other = hashlib.sha256(server.content).hexdigest()
    assert run.returncode != 0
    assert run.stdout.splitlines()[0] == (
        f"ERROR: recipes/x.yaml:1: model.sha256: the model's SHA-256 is '{other}'; the recipe "
        f"expects one that starts with '{wrong}'; check where the model comes from before you "
        "change the recipe"
    )


def test_a_url_gives_one_file_with_its_weights(project: Project, server: FileServer) -> None:
    external(project.folder)
    server.content = (project.folder / "detector.onnx").read_bytes()
    digest = hashlib.sha256(server.content).hexdigest()
    project.recipe(
        LINE.replace("path: detector.onnx", f"url: '{server.url()}', sha256: '{digest}'")
    )
    run = project.doit("build", "recipe=x")
    assert run.returncode != 0
    assert _error(run.stdout) == (
        "ERROR: recipes/x.yaml:1: model.url: 'model.pth': it has weights in another file, "
        "'weights.bin', which is not fetched; expected one file; download both files and name "
        "the path of the model"
    )


def _error(output: str) -> str:
    (told,) = [line for line in output.splitlines() if line.startswith("ERROR: ")]
    return told


def test_inputs_that_prove_nothing_are_told_with_what_to_do(project: Project) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["limit"], value_float=100.0),
            helper.make_node("Greater", ["image", "limit"], ["found"]),
            helper.make_node("Constant", [], ["constant"], value_floats=[1.0, 1.0]),
        ],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [4])],
        [
            helper.make_tensor_value_info("found", TensorProto.BOOL, [4]),
            helper.make_tensor_value_info("constant", TensorProto.FLOAT, [2]),
        ],
    )
    project.save(model(graph))
    recipe = (
        "model: {source: onnx, path: detector.onnx}\n"
        "partition: {save_file: a.onnx, from: [image], to: [found]}\n"
    )
    project.recipe(recipe)
    with pytest.raises(ProofError) as error:
        project.make()
    remedy = "name other inputs in 'proof.inputs'"
    assert str(error.value).splitlines() == [
        "output 'found', sample 0: all its values are equal, which proves nothing; expected "
        f"values that depend on the input; {remedy}",
        "output 'found', sample 1: all its values are equal, which proves nothing; expected "
        f"values that depend on the input; {remedy}",
        "outputs: they are the same for two different inputs, which proves nothing; expected "
        f"outputs that depend on the input; {remedy}",
    ]
    for number, values in enumerate(([1, 200, 3, 400], [500, 2, 3, 4])):
        np.savez(project.folder / f"{number}.npz", image=np.array(values, np.float32))
    project.recipe(recipe + "proof: {inputs: [0.npz, 1.npz]}\n")
    assert set(project.make()) == {"end2end.onnx", "a.onnx"}
