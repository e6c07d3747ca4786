"""Odd files that onnxruntime runs: operators that only it has, spelt out domains, marks in bodies
without types, models without inputs."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.checker
import onnx.inliner
import onnx.parser
import pytest

from partition_core.base.errors import ProofError

from .chaining import LINE, chained, two
from .projects import Project

X = np.array([[1.5, -2.0, 0.25, 3.0]], np.float32)
OLD = '<ir_version: 8, opset_import: ["": 14, "own": 1, "ai.onnx.ml": 3, "mmdeploy": 1]>\n'
LONG = '<ir_version: 8, opset_import: ["ai.onnx": 14]>\n'
WEIGHT = "float[4] w = {1.0, 2.0, 3.0, 4.0}"

RUN_BY_ONNXRUNTIME = {
    "an operator in an opset before it was ONNX's": OLD
    + f"""
g (float[1, 4] x) => (float[1, 4] y) <{WEIGHT}, float[1, 4] a> {{
  a = LayerNormalization <axis = -1> (x, w, w)
  y = Sin (a)
}}
""",
    "an operator that is not ONNX's, in a branch": OLD
    + f"""
g (float[1, 4] x) => (float[1, 4] y) <{WEIGHT}, float zero = {{0.0}}> {{
  a = Sin (x)
  sum = ReduceSum <keepdims = 0> (a)
  c = Greater (sum, zero)
  y = If (c) <
    then_branch = t () => (float[1, 4] t_y) {{
      t_y = SimplifiedLayerNormalization <axis = -1> (a, w)
    }},
    else_branch = e () => (float[1, 4] e_y) {{ e_y = Neg (a) }}
  >
}}
""",
    "ONNX's domain by its long name": LONG
    + """
g (float[1, 4] x) => (float[1, 4] y) { a = ai.onnx.Sin (x)  y = ai.onnx.Exp (a) }
""",
}


@pytest.mark.parametrize("case", RUN_BY_ONNXRUNTIME)
def test_what_onnxruntime_runs_and_onnx_refuses_is_cut_and_proven(
    project: Project, case: str
) -> None:
    model = onnx.parser.parse_model(RUN_BY_ONNXRUNTIME[case])
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    project.save(model)
    project.recipe(two("a", "'y'"))
    chained(project, {"x": X}, valid=False)
    made = chained(project, {"x": -X}, valid=False)
    known = {one.domain for one in model.opset_import}
    for name in ("a.onnx", "b.onnx"):
        assert {one.domain for one in made[name].opset_import} <= known


def test_an_operator_that_nobody_has_is_told_by_onnxruntime(project: Project) -> None:
    text = "g (float[1, 4] x) => (float[1, 4] y) <float[1, 4] a> { a = Sinn (x)  y = Exp (a) }"
    project.save(onnx.parser.parse_model(OLD + text))
    project.recipe(two("a", "'y'"))
    with pytest.raises(ProofError, match="onnxruntime has no operator 'Sinn'; write"):
        project.make()
    assert not (project.folder / "build").exists()


IN_A_FUNCTION = (
    OLD
    + f"""
g (float[1, 4] x) => (float[1, 4] y) <{WEIGHT}, float[1, 4] a> {{
  a = own.norm (x, w)
  y = Sin (a)
}}
<domain: "own", opset_import: ["": 14]>
norm (p, r) => (q) {{ h = LayerNormalization <axis = -1> (p, r, r)  q = Exp (h) }}
"""
)


def test_an_operator_on_which_onnxruntime_crashes_is_refused_before_it_runs(
    project: Project,
) -> None:
    """In a function: the process would end with a segmentation fault, and say nothing."""
    model = onnx.parser.parse_model(IN_A_FUNCTION)
    project.save(model)
    project.recipe(two("a", "'y'"))
    assert project.refused() == (
        "recipes/x.yaml:1: model.path: 'detector.onnx', function 'norm' of domain 'own': it calls "
        "'LayerNormalization', which ONNX does not have in the opset of the function; onnxruntime "
        "runs its own operators only outside functions; inline the function: "
        "onnx.inliner.inline_local_functions"
    )
    project.save(onnx.inliner.inline_local_functions(model))
    chained(project, {"x": X}, valid=False)


MARKED_BRANCHES = (
    OLD
    + """
g (float[1, 4] x) => (float[1, 4] y) <float zero = {0.0}> {
  sum = ReduceSum <keepdims = 0> (x)
  c = Greater (sum, zero)
  a = If (c) <
    then_branch = t () => (float t_a) {
      m = mmdeploy.Mark <func = "in", func_id = 0, type = "input", name = "m", id = 0> (x)
      t_a = Exp (m)
    },
    else_branch = e () => (float e_a) {
      e_a = mmdeploy.Mark <func = "in", func_id = 1, type = "input", name = "m", id = 0> (x)
    }
  >
  y = Sin (a)
}
"""
)


def test_types_are_inferred_through_marks_in_branches(project: Project) -> None:
    """Nothing tells the type of `a` but what the branches, without types of their own, make."""
    model = onnx.parser.parse_model(MARKED_BRANCHES)
    for attribute in model.graph.node[2].attribute:
        attribute.g.output[0].ClearField("type")
    project.save(model)
    project.recipe(two("a", "'y'"))
    (entering,) = project.make()["b.onnx"].graph.input
    assert [dim.dim_value for dim in entering.type.tensor_type.shape.dim] == [1, 4]


@pytest.mark.parametrize("inputs", ["", "float[2] idle"])
def test_a_model_that_no_input_can_change_is_proven(project: Project, inputs: str) -> None:
    """There is nothing to prove for other inputs, so no message asks for them."""
    text = f"g ({inputs}) => (float[3] y)"
    text += "{ x = Constant <value = float[3] {1.0, 2.0, 3.0}> ()  a = Sin (x)  y = Exp (a) }"
    project.save(onnx.parser.parse_model(OLD + text))
    project.recipe(LINE + "partition: {save_file: part.onnx, from: [a], to: ['y']}\n")
    told, _ = project.proven()
    assert "bit for bit" in told


def test_nodes_in_another_order_are_told_by_the_names_of_the_file(project: Project) -> None:
    """All types are known, so that nothing is inferred before the marks are in."""
    text = "g (float[3] x) => (float[3] y) <float[3] a> { y = Exp (a)  a = Sin (x) }"
    project.save(onnx.parser.parse_model(OLD + text))
    project.recipe(two("a", "'y'"))
    assert project.refused() == (
        "recipes/x.yaml:1: model.path: 'detector.onnx': its nodes are not in order: the unnamed "
        "Exp node reads 'a' before the unnamed Sin node makes it; sort the nodes, as ONNX asks"
    )


def test_doit_reports_a_model_without_inputs_and_says_that_it_has_no_cut(project: Project) -> None:
    text = "g () => (float[2] y)"
    text += "{ x = Constant <value = float[2] {1.0, 2.0}> ()  a = Sin (x)  y = Exp (a) }"
    project.save(onnx.parser.parse_model(OLD + text))
    project.recipe(LINE + "partition: {save_file: part.onnx, from: [a], to: ['y']}\n")
    project.environment["PARTITION_CORE_REPORT"] = "1"
    assert "build/x/report.html: written" in project.built("build", "recipe=x")
    refused = project.doit("suggest", "recipe=x", "parts=3")
    assert (
        "ERROR: recipes/x.yaml: x: the model cannot be cut into 3 parts; expected at "
        "least as many consecutive operators that depend on its inputs; ask for fewer parts\n"
    ) in refused.stdout
