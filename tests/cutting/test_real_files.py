"""What ONNX files hold besides nodes: each cut in two, checked, and run against the whole."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.parser
import pytest
from onnx import TensorProto, helper, numpy_helper

from partition_core.base.errors import CutError
from partition_core.graph.files import cut_between
from tests.cutting.chains import Values, equal, run

HEAD = '<ir_version: 10, opset_import: ["": 20]>\n'
X = np.array([1.5, -2.0, 0.25], np.float32)


def parsed(text: str, head: str = HEAD) -> onnx.ModelProto:
    return onnx.parser.parse_model(head + text)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    file = folder / "whole.onnx"
    file.write_bytes(model.SerializeToString())
    onnx.checker.check_model(str(file), full_check=True)
    return file


def halves(
    model: onnx.ModelProto | Path,
    folder: Path,
    cut: tuple[str, ...],
    feeds: Values,
    second: tuple[str, ...] | None = None,
    **how: Any,
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Cut at the tensors `cut`; both halves must be valid, and their chain equal the whole."""
    file = model if isinstance(model, Path) else saved(model, folder)
    whole = run(file, feeds)
    first_file, second_file = folder / "first.onnx", folder / "second.onnx"
    cut_between(file, list(feeds), cut, first_file, **how)
    cut_between(file, second or cut, list(whole), second_file, **how)
    for half in (first_file, second_file):
        onnx.checker.check_model(str(half), full_check=True)
    middle = run(first_file, feeds)
    made = run(second_file, {**feeds, **middle})
    assert list(made) == list(whole)
    assert all(equal(whole[name], made[name]) for name in whole)
    return onnx.load(first_file, load_external_data=False), onnx.load(
        second_file, load_external_data=False
    )


def weights_of(model: onnx.ModelProto) -> list[str]:
    return [item.name for item in model.graph.initializer]


def test_bodies_capture_values_and_weights_at_any_depth(tmp_path: Path) -> None:
    model = parsed("""
    g (float[3] x) => (float[3] y, float[2,3] z) <float[3] w = {1.0, 2.0, 3.0}, bool yes = {1},
        int64 two = {2}, float[3] idle = {9.0, 9.0, 9.0}> {
      a = Mul (x, w)
      b = Neg (a)
      y = If (yes) <then_branch = t () => (float[3] t_o) {
        inner = If (yes) <then_branch = tt () => (float[3] tt_o) { tt_o = Add (b, w) },
                          else_branch = te () => (float[3] te_o) { te_o = Sub (b, w) }>
        t_o = Add (inner, a)
      }, else_branch = e () => (float[3] e_o) { e_o = Identity (a) }>
      last, z = Loop (two, yes, b) <body = l (int64 i, bool c, float[3] s)
        => (bool c_o, float[3] s_o, float[3] scan) {
          c_o = Identity (c)  s_o = Add (s, a)  scan = Mul (s_o, w)
        }>
    }""")
    first, second = halves(model, tmp_path, ("a",), {"x": X})
    assert weights_of(first) == ["w"]
    assert weights_of(second) == ["w", "yes", "two"]


def test_the_body_of_a_scan_captures_values(tmp_path: Path) -> None:
    model = parsed("""
    g (float[2,3] x) => (float[3] y, float[2,3] z) <float[3] zero = {0.0, 0.0, 0.0}> {
      a = Exp (x)
      m = ReduceMax <keepdims = 0> (x)
      y, z = Scan (zero, a) <num_scan_inputs = 1, body = b (float[3] s, float[3] e)
        => (float[3] s_o, float[3] o) { s_o = Add (s, e)  o = Mul (s_o, m) }>
    }""")
    _, second = halves(model, tmp_path, ("a", "m"), {"x": np.stack([X, -X])})
    assert weights_of(second) == ["zero"]


def test_functions_are_kept_with_the_functions_that_they_call(tmp_path: Path) -> None:
    functions = """
    <domain: "own", opset_import: ["": 20, "own": 1]> outer (p) => (q) { r = own.inner (p)  q = Neg (r) }
    <domain: "own", opset_import: ["": 20]> inner (p) => (q) { q = Exp (p) }
    <domain: "own", opset_import: ["": 20]> early <k> (p) => (q) {
      s = Constant <value_float: float = @k> ()  q = Mul (p, s) }
    <domain: "own", opset_import: ["": 20]> idle (p) => (q) { q = Abs (p) }
    """  # noqa: E501  # one function a line
    model = parsed(
        "g (float[3] x) => (float[3] y) <float[3] a> { a = own.early <k: float = 3.0> (x)"
        "  y = own.outer (a) }" + functions,
        '<ir_version: 10, opset_import: ["": 20, "own": 1]>\n',
    )
    first, second = halves(model, tmp_path, ("a",), {"x": X})
    assert [function.name for function in first.functions] == ["early"]
    assert [function.name for function in second.functions] == ["outer", "inner"]


def big_model() -> onnx.ModelProto:
    model = parsed("""
    g (float[3] x) => (float[1024] y) {
      a = MatMul (x, w1)  b = Mul (a, w2)  c = Neg (b)  d = Add (c, w3)  y = Add (d, w2)
    }""")
    values = np.arange(3072, dtype=np.float32) / 7
    arrays = {"w1": values.reshape(3, 1024), "w2": values[:1024], "w3": -values[1024:2048]}
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in arrays.items())
    return model


def scattered(folder: Path) -> Path:
    """Save a model whose weights lie in two files of two folders, at offsets, one to the end."""
    model = big_model()
    places = {
        "w1": ("a.bin", b"#" * 100, True),
        "w2": ("deep/er/b.bin", b"", True),
        "w3": ("deep/er/b.bin", b"#" * 7, False),
    }
    for tensor in model.graph.initializer:
        location, gap, with_length = places[tensor.name]
        file = folder / location
        file.parent.mkdir(parents=True, exist_ok=True)
        before = (file.read_bytes() if file.exists() else b"") + gap
        file.write_bytes(before + tensor.raw_data)
        entries = {"location": location, "offset": str(len(before))}
        if with_length:
            entries["length"] = str(len(tensor.raw_data))
        tensor.external_data.extend(
            onnx.StringStringEntryProto(key=key, value=value) for key, value in entries.items()
        )
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
    return saved(model, folder)


def places_of(model: onnx.ModelProto) -> dict[str, dict[str, str]]:
    return {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in model.graph.initializer
    }


def test_external_data_of_several_files_becomes_part_of_the_segment(tmp_path: Path) -> None:
    file = scattered(tmp_path)
    first, second = halves(file, tmp_path, ("b",), {"x": X})
    arrays = {item.name: numpy_helper.to_array(item) for item in big_model().graph.initializer}
    for half, names in ((first, ["w1", "w2"]), (second, ["w2", "w3"])):
        assert weights_of(half) == names
        for tensor in half.graph.initializer:
            assert tensor.raw_data == arrays[tensor.name].tobytes()
            assert not tensor.external_data and not tensor.HasField("data_location")


def test_weights_can_be_kept_in_one_file_beside_each_segment(tmp_path: Path) -> None:
    for source in (scattered(tmp_path), big_model()):
        first, second = halves(source, tmp_path, ("b",), {"x": X}, weights="external")
        assert places_of(first) == {
            "w1": {"location": "first.onnx.data", "offset": "0", "length": "12288"},
            "w2": {"location": "first.onnx.data", "offset": "12288", "length": "4096"},
        }
        assert places_of(second)["w3"]["offset"] == "4096"
        assert (tmp_path / "second.onnx.data").stat().st_size == 8192


def test_a_data_file_begins_each_tensor_on_a_page_and_leaves_small_ones_in_the_model(
    tmp_path: Path,
) -> None:
    model = parsed("""
    g (float[3] x) => (float[300] y) <float[3] s = {1.0, 2.0, 3.0}> {
      a = Mul (x, s)  b = MatMul (a, w1)  c = Neg (b)  y = Add (c, w2)
    }""")
    arrays = {"w1": np.ones((3, 300), np.float32), "w2": np.ones(300, np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in arrays.items())
    file = saved(model, tmp_path)
    cut_between(file, ["x"], ["y"], tmp_path / "all.onnx", weights="external")
    made = onnx.load(tmp_path / "all.onnx", load_external_data=False)
    assert [place.get("offset") for place in places_of(made).values()] == [None, "0", "4096"]
    assert equal(run(file, {"x": X})["y"], run(tmp_path / "all.onnx", {"x": X})["y"])


def test_segments_can_refer_to_the_files_of_the_whole(tmp_path: Path) -> None:
    file = scattered(tmp_path)
    before = places_of(onnx.load(file, load_external_data=False))
    first, second = halves(file, tmp_path, ("b",), {"x": X}, weights="referred")
    assert places_of(first) == {name: before[name] for name in ("w1", "w2")}
    assert places_of(second) == {name: before[name] for name in ("w2", "w3")}
    assert not list(tmp_path.rglob("*.data"))

    inside = tmp_path / "parts" / "first.onnx"
    with pytest.raises(CutError, match=r"outside the folder of .*; ONNX refers to files"):
        cut_between(file, ["x"], ["b"], inside, weights="referred")
    moved = tmp_path / "up"
    (moved / "below").mkdir(parents=True)
    low = scattered(moved / "below")
    cut_between(low, ["x"], ["b"], moved / "first.onnx", weights="referred")
    assert "b" in run(moved / "first.onnx", {"x": X})


def test_constants_with_external_data_are_brought_along(tmp_path: Path) -> None:
    model = parsed("g (float[3] x) => (float[3] y) { c = Constant <value_float = 1.0> () "
                   " a = Neg (x)  y = Add (a, c) }")  # fmt: skip
    (tmp_path / "c.bin").write_bytes(b"##" + X.tobytes())
    tensor = TensorProto(dims=[3], data_type=1, data_location=TensorProto.EXTERNAL, name="c_value")
    for key, value in (("location", "c.bin"), ("offset", "2"), ("length", "12")):
        tensor.external_data.add(key=key, value=value)
    del model.graph.node[0].attribute[:]
    model.graph.node[0].attribute.append(helper.make_attribute("value", tensor))
    file = saved(model, tmp_path)
    cut_between(file, ["a"], ["y"], tmp_path / "part.onnx")
    (tmp_path / "c.bin").unlink()
    assert run(tmp_path / "part.onnx", {"a": -X})["y"].tolist() == [0.0, 0.0, 0.0]


def test_a_weight_of_the_wrong_size_is_refused(tmp_path: Path) -> None:
    model = big_model()
    model.graph.initializer[0].raw_data += b"more"
    file = tmp_path / "whole.onnx"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(CutError, match="initializer 'w1': it has 12292 bytes; expected 12288"):
        cut_between(file, ["x"], ["y"], tmp_path / "part.onnx")
    assert list(tmp_path.iterdir()) == [file]


def test_a_large_constant_is_copied_without_being_read(tmp_path: Path) -> None:
    values = np.arange(300_000, dtype=np.float32)
    model = parsed("g (float[1] x) => (float[300000] y) { a = Neg (x)  y = Add (a, c) }")
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(values))
    model.graph.node.insert(0, constant)
    file = saved(model, tmp_path)
    tracemalloc.start()
    cut_between(file, ["a"], ["y"], tmp_path / "part.onnx")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1_200_000 + 500_000  # the buffer that moves bytes has 1 MiB
    assert onnx.load(tmp_path / "part.onnx").graph.node[0] == constant
    made = run(tmp_path / "part.onnx", {"a": X[:1]})["y"]
    assert equal(made, values + X[0])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"location": "../a.bin"}, "is in '../a.bin'; expected a path below the model's folder"),
        ({"location": "/etc/passwd"}, "expected a path below the model's folder"),
        ({"location": "gone.bin"}, "cannot be read: No such file or directory; keep the file"),
        ({"offset": "300"}, "'a.bin' ends at byte 12388; expected at least 12588"),
        ({"length": "8"}, "its external data has 8 bytes; expected 12288 for float32 [3, 1024]"),
    ],
)
def test_external_data_that_is_not_there_is_told_and_leaves_no_file(
    change: dict[str, str], told: str, tmp_path: Path
) -> None:
    file = scattered(tmp_path)
    model = onnx.load(file, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = change.get(entry.key, entry.value)
    file.write_bytes(model.SerializeToString())
    before = sorted(tmp_path.rglob("*"))
    for weights in ("inline", "external"):
        with pytest.raises(CutError) as caught:
            cut_between(file, ["x"], ["b"], tmp_path / "part.onnx", weights=weights, check=False)  # type: ignore[arg-type]  # the two words
        assert str(caught.value).startswith("initializer 'w1': ")
        assert told in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    cut_between(file, ["c"], ["y"], tmp_path / "part.onnx")


def test_sparse_initializers_stay_sparse(tmp_path: Path) -> None:
    model = parsed("g (float[3] x) => (float[3] y) { a = Mul (x, s)  b = Neg (a)  y = Add (b, s) }")
    values = helper.make_tensor("s", TensorProto.FLOAT, [2], [5.0, 7.0])
    indices = helper.make_tensor("s_i", TensorProto.INT64, [2], [0, 2])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3]))
    model.graph.value_info.extend(helper.make_tensor_value_info(n, 1, [3]) for n in "ab")
    file = tmp_path / "whole.onnx"
    file.write_bytes(model.SerializeToString())
    whole = run(file, {"x": X})["y"]
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    cut_between(file, ["x"], ["a"], first)
    cut_between(file, ["a"], ["y"], second)
    assert equal(run(second, run(first, {"x": X}))["y"], whole)
    for half in (first, second):
        onnx.checker.check_model(str(half))  # full_check knows no operator that reads it
        sparse = onnx.load(half).graph.sparse_initializer
        assert list(sparse) == list(model.graph.sparse_initializer)


def test_quantization_annotations_bring_their_scales(tmp_path: Path) -> None:
    model = parsed("""
    g (float[3] x) => (float[3] y) <float[3] w = {1.0, 2.0, 3.0}, float s_a = {0.5},
        float s_w = {0.25}, float s_y = {2.0}> { a = Mul (x, w)  b = Neg (a)  y = Exp (b) }""")
    for tensor, scale in (("a", "s_a"), ("w", "s_w"), ("y", "s_y")):
        note = model.graph.quantization_annotation.add(tensor_name=tensor)
        note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value=scale)
    first, second = halves(model, tmp_path, ("a",), {"x": X})

    def notes(half: onnx.ModelProto) -> list[tuple[str, str]]:
        found = half.graph.quantization_annotation
        return [(n.tensor_name, n.quant_parameter_tensor_names[0].value) for n in found]

    assert notes(first) == [("a", "s_a"), ("w", "s_w")]
    assert weights_of(first) == ["w", "s_a", "s_w"]
    assert notes(second) == [("a", "s_a"), ("y", "s_y")]
    assert weights_of(second) == ["s_a", "s_y"]


def test_a_weight_that_is_also_an_input_stays_a_weight(tmp_path: Path) -> None:
    model = parsed("g (float[3] x, float[3] w) => (float[3] y) { a = Mul (x, w)  y = Add (a, w) }")
    model.graph.initializer.append(numpy_helper.from_array(X * 2, "w"))
    first, second = halves(model, tmp_path, ("a",), {"x": X})
    for half, inputs in ((first, ["x"]), (second, ["a"])):
        assert [item.name for item in half.graph.input] == inputs
        assert weights_of(half) == ["w"]


def test_a_weight_can_be_an_output(tmp_path: Path) -> None:
    model = parsed("g (float[3] x) => (float[3] y, float[3] w) { a = Mul (x, w)  y = Neg (a) }")
    model.graph.initializer.append(numpy_helper.from_array(X * 2, "w"))
    _, second = halves(model, tmp_path, ("a",), {"x": X})
    assert [item.name for item in second.graph.output] == ["y", "w"]


def test_an_input_that_is_left_out_stays_left_out(tmp_path: Path) -> None:
    model = parsed("""
    g (float[3] x) => (float[3] y, float[2] k, int64[2] i) <float top = {1.0}, int64[1] two = {2}> {
      a = Clip (x, , top)
      b, = Dropout (a)
      y = Clip (b, , top)
      k, i = TopK (a, two)
    }""")
    model.graph.node[1].output.append("")
    first, second = halves(model, tmp_path, ("a",), {"x": X})
    assert list(first.graph.node[0].input) == ["x", "", "top"]
    assert list(second.graph.node[1].input)[1] == ""


def test_an_output_can_be_an_input_of_the_same_name(tmp_path: Path) -> None:
    model = parsed("g (float[3] x) => (float[3] a, float[3] y) { a = Neg (x)  y = Exp (a) }")
    _, second = halves(model, tmp_path, ("a",), {"x": X})
    assert [item.name for item in second.graph.output] == ["a", "y"]
    assert [node.op_type for node in second.graph.node] == ["Exp"]


def test_missing_types_are_inferred_where_a_boundary_needs_them(tmp_path: Path) -> None:
    model = parsed("""
    g (float[N,3] x) => (float[N,2] y) <int64[2] to = {0, -1}, float[3,2] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}> {
      a = MatMul (x, w)  b = Reshape (a, to)  c = Cast <to = 10> (b)  y = Cast <to = 1> (c) }""")  # noqa: E501  # the weight
    assert not model.graph.value_info
    first, second = halves(model, tmp_path, ("c",), {"x": np.stack([X, -X])})
    for item in (first.graph.output[0], second.graph.input[0]):
        assert item.type.tensor_type.elem_type == TensorProto.FLOAT16
        dims = item.type.tensor_type.shape.dim
        assert (dims[0].dim_param, dims[1].dim_value) == ("N", 2)


def test_a_model_over_2_gb_is_inferred_and_cut_without_reading_it(tmp_path: Path) -> None:
    rows = 700_000_000
    model = parsed("g (int64[2] x) => (float[2] y) { a = Gather (w, x)  b = Exp (a)  y = Neg (b) }")
    weight = TensorProto(name="w", dims=[rows], data_type=1, data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="w.bin")
    model.graph.initializer.append(weight)
    with (tmp_path / "w.bin").open("wb") as stream:
        stream.truncate(rows * 4)  # a hole: it takes no space
    file = tmp_path / "whole.onnx"
    file.write_bytes(model.SerializeToString())
    cut_between(file, ["b"], ["y"], tmp_path / "second.onnx")
    assert run(tmp_path / "second.onnx", {"b": X[:2]})["y"].tolist() == [-1.5, 2.0]
    cut_between(file, ["x"], ["b"], tmp_path / "first.onnx", weights="referred")
    assert run(tmp_path / "first.onnx", {"x": np.array([0, rows - 1])})["b"].tolist() == [1, 1]
    with pytest.raises(CutError, match="no ONNX file can have more than 2147483647; keep its"):
        cut_between(file, ["x"], ["b"], tmp_path / "large.onnx")
    assert not list(tmp_path.glob("*large*"))


def test_notes_and_versions_stay(tmp_path: Path) -> None:
    head = (
        '<ir_version: 9, opset_import: ["": 18, "ai.onnx.ml": 3], producer_name: "p",'
        ' producer_version: "1.2", domain: "d", model_version: 7, doc_string: "what it is",'
        ' metadata_props: ["b": "1", "a": "2"]>'
    )
    model = parsed("""
    g (float[N,3] x) => (float[N,3] y) <float[N,3] a> { [first] a = Neg (x)  [last] y = Exp (a) }
    """, head)  # fmt: skip
    model.graph.doc_string = "the graph"
    model.graph.metadata_props.add(key="g", value="1")
    for node in model.graph.node:
        node.doc_string = f"doc of {node.name}"
        node.metadata_props.add(key="module", value=node.name)
    model.graph.value_info[0].doc_string = "the middle"
    model.graph.value_info[0].type.denotation = "IMAGE"
    model.graph.value_info[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    for half in halves(model, tmp_path, ("a",), {"x": X[None]}):
        for name in ("ir_version", "producer_name", "producer_version", "domain", "doc_string"):
            assert getattr(half, name) == getattr(model, name)
        assert half.model_version == 7
        assert list(half.opset_import) == list(model.opset_import)
        assert list(half.metadata_props) == list(model.metadata_props)
        assert half.graph.doc_string == "the graph"
        assert list(half.graph.metadata_props) == list(model.graph.metadata_props)
        assert half.graph.node[0].doc_string == f"doc of {half.graph.node[0].name}"
        assert half.graph.node[0].metadata_props[0].value == half.graph.node[0].name
        (middle,) = [i for i in (*half.graph.input, *half.graph.output) if i.name == "a"]
        assert middle == model.graph.value_info[0]


def test_string_tensors_cross_and_stay(tmp_path: Path) -> None:
    words = helper.make_tensor("words", TensorProto.STRING, [3], ["größe", "", "b"])
    model = parsed("""
    g (int64[2] x) => (bool[2] y) { a = Gather (words, x)  b = Identity (a)  y = Equal (b, one) }
    """)
    one = helper.make_tensor("one", TensorProto.STRING, [1], ["größe"])
    model.graph.initializer.extend([words, one])
    for weights in ("inline", "external"):
        first, second = halves(model, tmp_path, ("a",), {"x": np.array([2, 0])}, weights=weights)
        assert first.graph.initializer[0] == words
        assert second.graph.initializer[0] == one


def test_a_sequence_can_cross(tmp_path: Path) -> None:
    model = parsed("""
    g (float[N] x, float[N] z) => (float[N] y) <int64 one = {1}> {
      s = SequenceConstruct (x, z)  t = SequenceInsert (s, x)  y = SequenceAt (t, one) }""")
    first, second = halves(model, tmp_path, ("t",), {"x": X, "z": -X})
    for item in (first.graph.output[0], second.graph.input[0]):
        dims = item.type.sequence_type.elem_type.tensor_type.shape.dim
        assert [dim.dim_param for dim in dims] == ["N"]


def test_an_optional_can_cross(tmp_path: Path) -> None:
    model = parsed("""
    g (float[3] x) => (float[3] y) { a = Neg (x)  o = Optional (a)  y = OptionalGetElement (o) }""")
    first, second = halves(model, tmp_path, ("o",), {"x": X})
    assert first.graph.output[0].type.HasField("optional_type")
    assert second.graph.input[0] == first.graph.output[0]


def test_a_boundary_inside_a_body_is_refused(tmp_path: Path) -> None:
    model = parsed("""
    g (float[3] x, bool c) => (float[3] y) { [branch] y = If (c) <
      then_branch = t () => (float[3] t_o) { inner = Neg (x)  t_o = Exp (inner) },
      else_branch = e () => (float[3] e_o) { e_o = Abs (x) }> }""")
    file = saved(model, tmp_path)
    with pytest.raises(CutError) as caught:
        cut_between(file, ["inner"], ["y", "z"], tmp_path / "part.onnx")
    assert str(caught.value) == (
        "inputs: 'inner' lies inside a body of If node 'branch'; a segment starts and ends in the "
        "main graph; name a tensor outside it\noutputs: the model has no tensor 'z'"
    )


def test_names_that_bound_nothing_are_told_by_their_names(tmp_path: Path) -> None:
    model = parsed("g (float[3] x, float[3] z) => (float[3] y) { a = Neg (x)  y = Add (a, z) }")
    file = saved(model, tmp_path)
    with pytest.raises(CutError) as caught:
        cut_between(file, ["x"], ["y"], tmp_path / "part.onnx")
    assert "segment 'part.onnx' needs 'z', which its start does not list" in str(caught.value)
    with pytest.raises(CutError, match=r"nothing in segment .* needs 'z'; remove it"):
        cut_between(file, ["x", "z"], ["a"], tmp_path / "part.onnx")
    assert sorted(tmp_path.iterdir()) == [file]


def test_a_file_that_is_not_onnx_is_told(tmp_path: Path) -> None:
    file = tmp_path / "whole.onnx"
    whole = big_model().SerializeToString()
    for content, told in (
        (b"", "it is empty"),
        (b"\x08\x0a", "it has 0 graphs"),
        (b"\x08\x0a\x3a", "a field is longer than its message"),
        (whole[:-5], "a field is longer than its message"),
        (b"PK\x03\x04 a zip file", "it is a zip archive"),
        (b"no file of a known kind", "there is no wire type"),
    ):
        file.write_bytes(content)
        with pytest.raises(CutError, match=f"whole.onnx: it is not an ONNX file: {told}"):
            cut_between(file, ["x"], ["y"], tmp_path / "part.onnx")
    file.unlink()
    with pytest.raises(CutError, match=r"whole\.onnx: it cannot be read: No such file"):
        cut_between(file, ["x"], ["y"], tmp_path / "part.onnx")
    assert not list(tmp_path.iterdir())
