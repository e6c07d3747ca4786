"""Boundaries whose types onnx does not infer: onnxruntime is asked, and then the recipe."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from partition_core.backends.onnxruntime.backend import output_types
from partition_core.sources.onnx import given_file

from .projects import TWO, Project

HEAD = '<ir_version: 10, opset_import: ["": 20, "com.microsoft": 1]> '
OLD = '<ir_version: 8, opset_import: ["": 16, "com.microsoft": 1]> '
LOOP = (
    "n = Constant <value = int64 {3}> ()  c = Constant <value = bool {1}> ()"
    "y = Loop (n, c, p) <body = b (int64 i, bool k, float[2,8] a) => (bool m, float[2,8] s) "
    "{ m = Identity (k)  s = Cos (a) }>"
)
BRANCHES = (
    "h = ReduceMax <keepdims = 0> (p)  o = Constant <value = float {9.0}> ()  c = Less (h, o)"
    "y = If (c) <then_branch = t () => (float[2,8] a) { a = Cos (p) }, else_branch = e () => "
    "(float[16] b) { u = Constant <value_ints = [16]> ()  b = Reshape (p, u) }>"
)
COMPUTED = (
    "q = Shape (p)  o = Constant <value_ints = [0]> ()  f = Greater (q, o)  s = Compress (q, f)"
    "y = Reshape (p, s)"
)
RECIPE = """\
model: {source: onnx, path: untyped.onnx}
partition: {save_file: part.onnx, from: [y], to: [k]}
"""
TYPED = f"{RECIPE}types:\n  y: TYPE\n"
AT = "recipes/x.yaml"


def save(project: Project, nodes: str, head: str = HEAD, more: str = "") -> None:
    text = (
        f"{head} g (float[2,8] x{more}) => (float[v,w] z) <float[8] r = {{0.1, 1.0, 2.0, 0.5, "
        f"0.2, 3.0, 0.7, 0.3}}> {{ p = Mul (x, r)  {nodes}  k = Sin (y)  z = Neg (k) }}"
    )
    project.save(onnx.parser.parse_model(text), "untyped.onnx")


def boundary(project: Project) -> dict[str, tuple[str, list[Any]]]:
    made = project.make()
    file = onnxruntime.InferenceSession(made["part.onnx"].SerializeToString())
    values = [*file.get_inputs(), *file.get_outputs()]
    return {value.name: (value.type, value.shape) for value in values}


@pytest.mark.parametrize(
    ("head", "nodes"),
    [
        (HEAD, "y = com.microsoft.BiasGelu (p, r)"),
        (HEAD, "y = com.microsoft.QuickGelu (p)"),
        (HEAD, "o = com.microsoft.BiasGelu (p, r)  t = Transpose (o)  y = Transpose (t)"),
        (OLD, "y = LayerNormalization (p, r)"),
        (OLD, "y = SimplifiedLayerNormalization (p, r)"),
    ],
)
def test_what_only_onnxruntime_knows_it_tells(project: Project, head: str, nodes: str) -> None:
    save(project, nodes, head)
    project.recipe(RECIPE)
    assert boundary(project) == {"y": ("tensor(float)", [2, 8]), "k": ("tensor(float)", [2, 8])}
    line, figures = project.proven()
    assert line.startswith("proven on 2 inputs")
    assert figures["samples"][0]["outputs"]["z"]["largest_value"] > 0


def test_a_scalar_is_told_from_a_tensor_without_a_rank(project: Project) -> None:
    graph = "float h, float[4] x) => (float[4] z) { y = com.microsoft.Gelu (h)  k = Neg (y)"
    text = f"{HEAD} g ({graph}  z = Add (k, x) }}"
    project.save(onnx.parser.parse_model(text), "untyped.onnx")
    project.recipe(RECIPE)
    assert boundary(project) == {"y": ("tensor(float)", []), "k": ("tensor(float)", [])}
    assert [
        value.type.tensor_type.HasField("shape")
        for value in project.make()["part.onnx"].graph.input
    ] == [True]


@pytest.mark.parametrize("nodes", [LOOP, BRANCHES, COMPUTED], ids=["Loop", "If", "Reshape"])
def test_what_neither_knows_is_refused_with_the_key_and_taken_from_it(
    project: Project, nodes: str
) -> None:
    save(project, nodes)
    project.recipe(RECIPE)
    end = "into the recipe, or the type into the model"
    assert project.told() == [
        f"{AT}:2: partition.{side}: the rank of '{name}' is not known; a boundary needs a dtype "
        f"and a rank; write `types: {{{name}: {{dtype: float32, shape: [1, c, h, w]}}}}` {end}"
        for side, name in (("from", "y"), ("to", "k"))
    ]
    # What is computed from it is inferred: 'k' needs no type.
    project.recipe(TYPED.replace("TYPE", "{dtype: float32, shape: [rows, 8]}"))
    expected = ("tensor(float)", ["rows", 8])
    assert boundary(project) == {"y": expected, "k": expected}
    assert project.proven()[0].startswith("proven on 2 inputs")
    manifest = project.built("build", "recipe=x")
    assert "proven on 2 inputs" in manifest
    made = json.loads((project.folder / "build" / "x" / "manifest.json").read_text())
    (segment,) = made["segments"]
    assert [(t["dtype"], t["dims"]) for t in segment["inputs"]] == [("float32", ["rows", 8])]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("{dtype: float32, shape: [rows, 9]}", "'y' is float32[2, 8]"),
        ("{dtype: float32, shape: [16]}", "'y' is float32[2, 8]"),
        ("{dtype: float32, shape: [2, 8, d]}", "'y' is float32[2, 8]"),
        ("{dtype: float32, shape: []}", "'y' is float32[2, 8]"),
    ],
)
def test_a_type_that_the_tensor_does_not_have_is_found_where_it_runs(
    project: Project, kind: str, told: str
) -> None:
    save(project, LOOP)
    project.recipe(TYPED.replace("TYPE", kind))
    dims = kind.partition("shape: ")[2].removesuffix("}")
    expected = f"expected float32{dims}"
    assert project.refused() == (f"{AT}:4: types.y: {told} where the model runs; {expected}")


def test_a_symbol_is_one_size_at_every_boundary(project: Project) -> None:
    save(project, LOOP)
    text = RECIPE.replace("to: [k]", "to: [j]")
    save(project, f"{LOOP}  j = Transpose (y)")
    project.recipe(f"{text}types: {{y: {{dtype: float32, shape: [rows, rows]}}}}\n")
    assert project.refused() == (
        f"{AT}:3: types.y: 'rows' is 2 in 'y' and 8 in 'y' where the model runs; a symbol stands "
        "for one size; use another one"
    )
    # The same symbol at an input of the file, which has another size.
    file = onnx.load(project.folder / "untyped.onnx")
    file.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    project.save(file, "untyped.onnx")
    inputs = "export: {inputs: {x: {shape: [2, 8]}}}\n"
    project.recipe(f"{RECIPE}{inputs}types: {{y: {{dtype: float32, shape: [rows, batch]}}}}\n")
    assert project.refused() == (
        f"{AT}:4: types.y: 'batch' is 2 in 'x' and 8 in 'y' where the model runs; a symbol stands "
        "for one size; use another one"
    )
    project.recipe(f"{RECIPE}{inputs}types: {{y: {{dtype: float32, shape: [batch, 8]}}}}\n")
    assert boundary(project)["y"] == ("tensor(float)", ["batch", 8])


def test_types_that_contradict_or_are_of_no_boundary_are_told_before_the_work(
    project: Project,
) -> None:
    save(project, "y = com.microsoft.QuickGelu (p)")
    project.recipe(
        f"{RECIPE}types:\n  y: {{dtype: int64, shape: [2, 8]}}\n"
        "  k: {dtype: float32, shape: [2, c]}\n  yy: {dtype: float32, shape: [2, 8]}\n"
        "  far/away: {dtype: bool, shape: []}\n"
    )
    end = "expected what is not known of it; remove it"
    assert project.told() == [
        f"{AT}:7: types['far/away']: no segment starts or ends at a tensor 'far/away'; expected "
        "one of 'k', 'y'",
        f"{AT}:5: types.k: float32[2, c] contradicts the model, which makes 'k' float32[2, 8]; "
        f"{end}",
        f"{AT}:4: types.y: int64[2, 8] contradicts the model, which makes 'y' float32[2, 8]; {end}",
        f"{AT}:6: types.yy: no segment starts or ends at a tensor 'yy'; expected one of 'k', 'y'; "
        "did you mean 'y'?",
    ]


def test_a_type_that_repeats_what_is_known_is_right(project: Project) -> None:
    save(project, "y = com.microsoft.QuickGelu (p)")
    project.recipe(TYPED.replace("TYPE", "{dtype: float32, shape: [2, 8]}"))
    assert boundary(project)["y"] == ("tensor(float)", [2, 8])


def test_a_type_changed_makes_another_export_and_a_report_shows_it(project: Project) -> None:
    save(project, LOOP)
    made = []
    for symbol in ("rows", "lines"):
        project.recipe(TYPED.replace("TYPE", f"{{dtype: float32, shape: [{symbol}, 8]}}"))
        made.append(boundary(project)["y"])
    assert made == [("tensor(float)", ["rows", 8]), ("tensor(float)", ["lines", 8])]


MARKED = """\
model: {source: onnx, path: untyped.onnx}
partition:
  type: two
  segments:
    - {save_file: part.onnx, start: ['mid:input'], end: ['end:output']}
"""


def test_the_marks_of_a_file_need_no_types_either(project: Project) -> None:
    head = HEAD.replace('"com.microsoft": 1', '"com.microsoft": 1, "mmdeploy": 1')
    mark = 'ym = mmdeploy.Mark <func = "mid", type = "input", name = "a"> (y)  k = Sin (ym)'
    end = 'kk = mmdeploy.Mark <func = "end", type = "output", name = "b"> (k)  z = Neg (kk)'
    for nodes in ("y = com.microsoft.QuickGelu (x)", LOOP.replace("p)", "x)")):
        graph = f"g (float[2,8] x) => (float[v,w] z) {{ {nodes}  {mark}  {end} }}"
        project.save(onnx.parser.parse_model(f"{head} {graph}"), "untyped.onnx")
        given = "types: {y: {dtype: float32, shape: [rows, 8]}}\n" if "Loop" in nodes else ""
        project.recipe(MARKED + given)
        rows = "rows" if given else 2
        expected = ("tensor(float)", [rows, 8])
        assert boundary(project) == {"a": expected, "b": expected}
    project.recipe(MARKED + given.replace("8]", "9]"))
    assert project.refused() == (
        f"{AT}:6: types.y: 'y' is float32[2, 8] where the model runs; expected float32[rows, 9]"
    )


def test_what_onnx_infers_is_not_written_into_the_file(project: Project) -> None:
    save(project, "o = com.microsoft.QuickGelu (p)  y = Sin (x)")
    project.recipe(RECIPE)
    values = {value.name for value in project.make()["end2end.onnx"].graph.value_info}
    assert not {"y", "k"} & values


def test_onnxruntime_is_asked_only_where_onnx_does_not_know(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def ask(content: bytes) -> Mapping[str, Any]:
        asked.append(len(content))
        return output_types(content)

    monkeypatch.setattr(given_file, "output_types", ask)
    project.recipe(TWO)
    project.make()
    assert asked == []
    # 4 MB of weights, of which it sees nothing.
    file = onnx.parser.parse_model(
        f"{HEAD} g (float[1,1000] x) => (float[1,1000] z) "
        "{ p = MatMul (x, w)  y = com.microsoft.QuickGelu (p)  k = Sin (y)  z = Neg (k) }"
    )
    weight = np.random.default_rng(0).normal(size=(1000, 1000)).astype(np.float32)
    file.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    path = project.save(file, "untyped.onnx")
    onnx.save(file, path, save_as_external_data=True, location="weights.data", size_threshold=1024)
    project.recipe(RECIPE)
    assert boundary(project)["y"] == ("tensor(float)", [1, 1000])
    assert os.path.getsize(project.folder / "weights.data") == 4_000_000
    assert asked
    assert max(asked) < 2000


def test_a_file_that_onnxruntime_cannot_load_has_no_types() -> None:
    text = f"{HEAD} g (float[2] x) => (float[2] z) {{ z = com.microsoft.Nonsense (x) }}"
    assert output_types(onnx.parser.parse_model(text).SerializeToString()) == {}
    assert output_types(b"\xff") == {}
