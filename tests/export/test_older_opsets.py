"""A model of torch's opset becomes one of an older opset that gives the same bits, or is refused by
the name of what stands in the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxscript.version_converter import _version_converter

from partition_core.base.errors import ExportError
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.files import check_model
from partition_core.trace.exporter import export_model
from partition_core.trace.older_forms import FORMS
from partition_core.trace.older_opset import to_older_opset
from tests.export.support import ROOT, quietly, run, torch_recipe

OLDEST, NEWEST = 11, 18
X = "float[2,3,4] x"
SAME = {
    "types alone": (X, "y = Relu (x)"),
    "a reduction over axes": (X, "y = ReduceMean (x, A)"),
    "a reduction over axes of a node": (
        X,
        "a = Constant <value_ints = [0, 2]> ()  y = ReduceSum <keepdims = 0> (x, a)",
    ),
    "a reduction over all": (X, "y = ReduceMax <noop_with_empty_axes = 0> (x)"),
    "a reduction over an empty list": (X, "y = ReduceL2 (x, E)"),
    "a reduction over nothing": (X, "y = ReduceSum <noop_with_empty_axes = 1> (x)"),
    "an even split": (X, "y, z = Split <axis = 2, num_outputs = 2> (x)"),
    "an uneven split": (X, "y, z = Split <axis = 1, num_outputs = 2> (x)"),
    "listed sizes": (X, "y, z = Split <axis = 2> (x, S)"),
    "padded axes": (X, "y = Pad (x, P, , A)"),
    "padding with a number": (
        "float[2,3,4,1] x",
        "c = Constant <value_float = 2.5> ()  y = Pad (x, P, c, S)",
    ),
    "a norm of one axis": (X, "y = LayerNormalization (x, W)"),
    "a norm of two axes": (X, "y = LayerNormalization <axis = 1, epsilon = 0.1> (x, V, V)"),
    "softmax along the last axis": (X, "y = Softmax (x)"),
    "softmax along another axis": (X, "y = Softmax <axis = 1> (x)"),
    "softmax behind a flatten": (X, "f = Flatten (x)  y = Softmax <axis = -2> (f)"),
    "the logarithm of softmax": (X, "y = LogSoftmax <axis = -3> (x)"),
    "the largest along an axis": (X, "y = Hardmax <axis = 0> (x)"),
    "one size": (X, "y = Shape <start = 1, end = 2> (x)"),
    "sizes from the end": (X, "y = Shape <start = -2> (x)"),
    "all sizes": (X, "y = Shape (x)"),
    "the dtype of another": (X, "i = Shape (x)  y = CastLike (x, i)"),
    "hard swish": (X, "y = HardSwish (x)"),
    "a literal shape": (X, "y = Reshape <allowzero = 1> (x, R)"),
    "squeezed and unsqueezed": (X, "u = Unsqueeze (x, A)  y = Squeeze (u, A)"),
    "by sizes": (
        "float[1,1,4,4] x",
        "r = Constant <value_ints = [1, 1, 8, 8]> ()"
        "y = Resize <mode = \"linear\", antialias = 0> (x, , , r)",
    ),
    "by scales": (
        "float[1,1,4,4] x",
        "r = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> ()"
        'y = Resize <mode = "nearest", keep_aspect_ratio_policy = "stretch"> (x, , r)',
    ),
    "integers and their bounds": (
        X,
        "i = Shape (x)  n = Neg (i)  low = Max (i, N)  high = Min (low, i, N)"
        "one = Max (high)  k = Constant <value_int = 2> ()  y = Clip (one, , k)  z = Clip (n, k)",
    ),
    "floats and their bounds": (
        X,
        "m = Max (x, W)  c = Constant <value = float {0.3}> ()  y = Clip (m, c)",
    ),
    "not less, not more": (X, "a = GreaterOrEqual (x, W)  b = LessOrEqual (x, W)  y = And (a, b)"),
    "added to nothing": (X, 'y = ScatterElements <reduction = "none"> (x, I, x)'),
    "in a body": (
        X,
        "c = Constant <value = bool {1}> ()"
        "y = If (c) <then_branch = g () => (float[2,3,1] t) { t = ReduceMean (x, N) },"
        "else_branch = h () => (float[2,3,1] e) { e = ReduceMin (x, N) }>",
    ),
    "a folded norm": (X, "y = BatchNormalization <training_mode = 0> (x, B, B, B, B)"),
    "regions": (
        "float[1,2,8,8] x",
        "r = Constant <value = float[1,4] {0.0, 0.0, 5.0, 5.0}> ()"
        "b = Constant <value_ints = [0]> ()"
        'y = RoiAlign <coordinate_transformation_mode = "output_half_pixel", output_height = 2,'
        "output_width = 2> (x, r, b)",
    ),
}  # fmt: skip
WEIGHTS = (
    "int64[2] A = {0, 2}, int64[1] N = {-1}, int64[0] E = {}, int64[2] S = {1, 3},"
    "int64[4] P = {1, 0, 0, 2}, int64[2] R = {6, 4}, float[4] W = {1.0, 2.0, 0.5, 0.1},"
    "float[3,4] V = {1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0},"
    "float[3] B = {0.5, 1.0, 2.0}, int64[2,3,4] I = {0, 1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 0,"
    "0, 1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 0}"
)


def parsed(inputs: str, nodes: str) -> onnx.ModelProto:
    """Return a model of the nodes, its outputs those of `y` and `z`, with inferred types."""
    head = f'<ir_version: 10, opset_import: ["": {NEWEST}]>'
    model = onnx.parser.parse_model(f"{head} g ({inputs}) => () <{WEIGHTS}> {{ {nodes} }}")
    for node in model.graph.node:
        node.name = f"node_{node.output[0]}"
        prop = node.metadata_props.add()
        prop.key, prop.value = "module", "neck"
    known = onnx.shape_inference.infer_shapes(model, data_prop=True)
    types = {value.name: value for value in known.graph.value_info}
    known.graph.output.extend(types[name] for name in ("y", "z") if name in types)
    return known


def lowered(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    made = ir.from_proto(model)
    to_older_opset(made, opset)
    return ir.to_proto(made)


@pytest.mark.parametrize("opset", range(OLDEST, NEWEST + 1))
@pytest.mark.parametrize("name", SAME)
def test_what_an_older_opset_writes_otherwise_gives_the_same(
    name: str, opset: int, tmp_path: Path
) -> None:
    inputs, nodes = SAME[name]
    before = parsed(inputs, nodes)
    shape = [dim.dim_value for dim in before.graph.input[0].type.tensor_type.shape.dim]
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    results = []
    for number, model in enumerate((before, lowered(before, opset))):
        path = tmp_path / f"{number}.onnx"
        onnx.save(model, path)
        check_model(read_model(path), path.name)
        results.append(run(path, {"x": values}))
    first, second = results
    assert list(first) == list(second)
    for output, expected in first.items():
        assert second[output].dtype == expected.dtype
        np.testing.assert_allclose(second[output], expected, rtol=1e-6, atol=1e-6)


def one(nodes: str) -> str:
    return f"{nodes}, which is node 'node_y' of module 'neck'"


def end(since: int) -> str:
    return f"expected an opset from {since}; or export a model without it"


PICTURE = "float[1,1,4,4] x"
REFUSED = {
    "an operator that came later": (17, X, "y = Mish (x)", "Mish", 18),
    "another": (12, X, "y = Trilu (x)", "Trilu", 14),
    "sampling": (
        15,
        "float[1,2,4,4] x, float[1,4,4,2] g",
        "y = GridSample (x, g)",
        "GridSample",
        16,
    ),
    "computed axes": (
        17,
        X,
        "i = Shape <start = 0, end = 1> (x) y = ReduceMean (x, i)",
        "ReduceMean with computed axes",
        18,
    ),
    "a maximum": (
        17,
        X,
        'y = ScatterElements <reduction = "max"> (x, I, x)',
        "ScatterElements with reduction max",
        18,
    ),
    "a sum": (
        15,
        X,
        'y = ScatterElements <reduction = "add"> (x, I, x)',
        "ScatterElements with reduction add",
        16,
    ),
    "an option": (
        17,
        PICTURE,
        "r = Constant <value_floats = [1.0, 1.0, 0.5, 0.5]> ()"
        'y = Resize <mode = "linear", antialias = 1> (x, , r)',
        "Resize with antialias 1",
        18,
    ),
    "regions": (
        15,
        "float[1,2,8,8] x, float[1,4] r, int64[1] b",
        "y = RoiAlign (x, r, b)",
        "RoiAlign with coordinate_transformation_mode half_pixel",
        16,
    ),
    "a dtype": (12, X, "i = Shape (x) y = Relu (i)", "Relu of int64", 14),
    "mixed dtypes": (11, X, "y = Pow (x, N)", "Pow of int64", 12),
    "a free size": (
        17,
        "float[n] x",
        "y, z = Split <axis = 0, num_outputs = 2> (x)",
        "Split into num_outputs of a free size",
        18,
    ),
    "sizes without a name": (
        13,
        "float[n,m] x, int64[2] s",
        "y = Reshape <allowzero = 1> (x, s)",
        "Reshape to sizes that may be 0",
        14,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_stands_in_the_way_is_named_with_node_and_module(name: str) -> None:
    opset, inputs, nodes, what, since = REFUSED[name]
    model = parsed(inputs, nodes)
    with pytest.raises(ExportError) as error:
        lowered(model, opset)
    assert str(error.value) == f"export.opset: opset {opset} has no {one(what)}; {end(since)}"
    lowered(model, since)


def test_nodes_that_lack_the_same_are_one_problem_and_others_another() -> None:
    model = parsed(X, "a = Mish (x) b = Mish (a) c = LayerNormalization (b, W) y = Mish (c)")
    for node in model.graph.node:
        del node.metadata_props[:]
    with pytest.raises(ExportError) as error:
        lowered(model, 13)
    what = "Mish, which is node 'node_a' and 2 more"
    assert str(error.value) == f"export.opset: opset 13 has no {what}; {end(18)}"
    both = parsed(X, "a = Mish (x) y = Trilu (a)")
    with pytest.raises(ExportError) as error:
        lowered(both, 13)
    assert [str(one).split(",")[0] for one in error.value.problems] == [
        "export.opset: opset 13 has no Mish",
        "export.opset: opset 13 has no Trilu",
    ]


@pytest.mark.parametrize("rows", [0, 2])
@pytest.mark.parametrize("shape", ["k, c", "k, c, k", "m"])
def test_rows_of_which_there_may_be_none_keep_their_shape(
    rows: int, shape: str, tmp_path: Path
) -> None:
    nodes = (
        "k = Shape <start = 0, end = 1> (x)  c = Constant <value_ints = [12]> ()"
        "m = Constant <value_ints = [-1]> ()"
        f"s = Concat <axis = 0> ({shape})  y = Reshape <allowzero = 1> (x, s)"
    )
    sizes = "n,3,4" if shape.count("k") < 2 else "n,12,n"
    model = parsed(f"float[{sizes}] x", nodes)
    values = np.ones([rows if size == "n" else int(size) for size in sizes.split(",")], np.float32)
    results = []
    for number, each in enumerate((model, lowered(model, 13))):
        onnx.save(each, tmp_path / f"{number}.onnx")
        results.append(run(tmp_path / f"{number}.onnx", {"x": values})["y"])
    assert results[0].shape == results[1].shape


# What these took on is a default that means what was before: `_misfit` removes it.
READ = {
    "ArgMax",
    "ArgMin",
    "BatchNormalization",
    "Dropout",
    "GRU",
    "GatherND",
    "LSTM",
    "LpPool",
    "Pow",
    "RNN",
}
# torch.onnx makes none of these of a traced model, and in an older opset they are refused by type.
NO_TENSORS = {"Identity", "OptionalHasElement"}


def test_no_change_of_an_operator_is_overlooked() -> None:
    versions: dict[str, list[onnx.defs.OpSchema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if not schema.domain and schema.since_version <= NEWEST:
            versions.setdefault(schema.name, []).append(schema)

    def form(schema: onnx.defs.OpSchema) -> object:
        inputs = [(one.option, one.type_str) for one in schema.inputs]
        attributes = {
            name: (one.required, str(one.default_value)) for name, one in schema.attributes.items()
        }
        return inputs, len(schema.outputs), attributes

    changed = set()
    for name, schemas in versions.items():
        schemas.sort(key=lambda one: one.since_version)
        oldest = max((k for k, one in enumerate(schemas) if one.since_version <= OLDEST), default=0)
        if any(form(one) != form(schemas[oldest]) for one in schemas[oldest + 1 :]):
            changed.add(name)
    assert changed - FORMS.keys() == READ | NO_TENSORS


def test_an_opset_that_the_installed_onnx_does_not_know_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnx.defs, "onnx_opset_version", lambda: 24)
    with pytest.raises(ExportError) as error:
        export_model(torch_recipe("Net", {}, opset=25), lambda: pytest.fail("it began"), quietly)
    assert str(error.value) == (
        f"export.opset: the installed onnx {onnx.__version__} does not know opset 25; expected an "
        "opset up to 24; or upgrade onnx"
    )


def test_the_newest_opset_is_one_that_torchs_converter_and_onnx_know() -> None:
    schema = json.loads((ROOT / "schema" / "recipe.schema.json").read_text())
    limits = schema["$defs"]["export"]["properties"]["opset"]
    assert limits["minimum"] == OLDEST
    assert limits["maximum"] == _version_converter.SUPPORTED_MAX_ONNX_OPSET
    assert limits["maximum"] <= onnx.defs.onnx_opset_version()
