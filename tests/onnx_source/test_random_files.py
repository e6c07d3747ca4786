"""Files with operators that draw random numbers, as every VITS voice: what of them is proven."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from partition_core.chain.pieces import SegmentBoundary
from partition_core.proof import chained, proof
from partition_core.sources.onnx import recording as given_model
from tests.cutting.chains import equal, run

from .chaining import LINE, parsed, two
from .files import IN_A_BODY, IN_A_FUNCTION
from .projects import Project

VOICE = """
agraph (float[4] x, float s) => (float[4] y) {
  e = Sin (x)
  n = RandomNormalLike (e)
  m = Mul (n, s)
  z = Add (e, m)
  h = Cos (z)
  y = Exp (h)
}
"""
PARTS = """\
marks:
  - {name: whole, inputs: [%s], outputs: ['y']}
  - {name: a, tensors: [%s]}
  - {name: b, tensors: [%s]}
partition:
  type: three
  segments:
    - {save_file: encoder.onnx, start: ['whole:input.x'], end: ['a:input']}
    - {save_file: noise.onnx, start: [%s], end: ['b:input']}
    - {save_file: decoder.onnx, start: ['b:output'], end: ['whole:output']}
"""
GIVEN = "proof: {inputs: [1.npz, 2.npz]}\n"


def three(inputs: str = "x, s", at: str = "e", to: str = "z") -> str:
    """Return a recipe that puts what is between `at` and `to` into a segment of its own."""
    others = [f"'whole:input.{name}'" for name in inputs.split(", ")[1:]]
    return LINE + PARTS % (inputs, at, to, ", ".join(["'a:output'", *others]))


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with a name for each node: `/` and its output."""
    nodes = [*model.graph.node, *(node for one in model.functions for node in one.node)]
    for node in nodes:
        node.name = f"/{node.output[0]}"
        for attribute in node.attribute:
            for inner in attribute.g.node:
                inner.name = f"/{inner.output[0]}"
    return model


def give(project: Project, **values: np.ndarray | float | bool) -> None:
    """Write arrays for the proof: another `x` in each, and the same of the others."""
    for number in (1, 2):
        x = np.random.default_rng(number).normal(size=4).astype(np.float32)
        np.savez(project.folder / f"{number}.npz", x=x, **values)


TRAINING = """
agraph (float[4] x) => (float[4] y) {
  e = Sin (x)
  r = Constant <value = float {0.5}> ()
  t = Constant <value = bool {1}> ()
  n = Dropout (e, r, t)
  z = Abs (n)
  y = Exp (z)
}
"""
A_COIN = """
agraph (float[4] x) => (float[4] y) {
  e = Sin (x)
  r = Constant <value = float[1] {0.5}> ()
  n = Bernoulli (r)
  z = Add (e, n)
  y = Exp (z)
}
"""
ANY_LENGTH = """
agraph (float[N] x) => (float[M] y) <float[K] z> {
  e = Sin (x)
  n = RandomUniformLike (e)
  r = Constant <value = float {0.5}> ()
  k = Greater (n, r)
  z = Compress (e, k)
  y = Exp (z)
}
"""
LONG = "export: {inputs: {x: {shape: [64]}}}\n"
RANDOM = {
    "RandomNormalLike '/n'": (VOICE, three()),
    "RandomNormalLike '/n' in If '/z'": (IN_A_BODY, three() + GIVEN),
    "RandomUniformLike '/n' in function 'own.noisy'": (IN_A_FUNCTION, three("x")),
    "Dropout '/n'": (TRAINING, three("x")),
    "Bernoulli '/n'": (A_COIN, three("x")),
    "RandomUniformLike '/n'": (ANY_LENGTH, three("x") + LONG),
}


@pytest.mark.parametrize("operator", RANDOM)
def test_the_segments_beside_the_random_one_are_proven(project: Project, operator: str) -> None:
    text, recipe = RANDOM[operator]
    project.save(named(parsed(text)))
    give(project, s=True)
    project.recipe(recipe)
    told, figures = project.proven()
    assert told == (
        "partly proven on 2 inputs: the segments equal end2end bit for bit (2 boundary tensors), "
        "decoder.onnx (z) on tensors recorded from end2end, but not noise.onnx (z), since "
        f"{operator} draws random numbers; end2end equals the ONNX file within 0.0e+00 of each "
        "tensor's largest value, except for what is random there: output 'y', 3 marks; to prove "
        "all, scale the numbers by 0 with the arrays of 'proof.inputs', or give the operators a "
        "'seed'"
    )
    assert figures["unproven"] == [
        {
            "segment": "noise.onnx",
            "output": "z",
            "reference": "b:input.z",
            "operators": [operator],
        }
    ]
    assert figures["recorded"] == ["decoder.onnx: z"]
    assert figures["random_operators"] == [operator]
    assert figures["not_compared"]["outputs"] == ["y"]
    assert set(figures["not_compared"]["marks"]) == {"b:input.z", "b:output.z", "whole:output.y"}
    for sample in figures["samples"]:
        assert sample["outputs"] == {}
        assert {"a:input.e", "a:output.e"} == set(sample["marks"]) - {"whole:input.x"}


QUIET = {
    "its noise is scaled by 0": (VOICE, {"s": np.float32(0)}),
    "the random branch is not taken": (IN_A_BODY, {"s": False}),
    "its random operator has a seed": (
        VOICE.replace("Like (e)", "Like <seed = 3.0> (e)"),
        {"s": np.float32(1)},
    ),
    "the one in a body has a seed": (
        IN_A_BODY.replace("Like (e)", "Like <seed = 3.0> (e)"),
        {"s": True},
    ),
    "its dropout is switched off": (
        VOICE.replace("n = RandomNormalLike (e)", "t = Constant <value = bool {0}> ()\n"
                      "r = Constant <value = float {0.5}> ()\nn = Dropout (e, r, t)"),
        {"s": np.float32(1)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", QUIET)
def test_a_file_is_proven_as_any_other_if(project: Project, reason: str) -> None:
    text, values = QUIET[reason]
    project.save(named(parsed(text)))
    give(project, **values)
    project.recipe(three() + GIVEN)
    told, figures = project.proven()
    assert told == (
        "proven on 2 inputs: the segments in a chain equal end2end bit for bit (3 boundary "
        "tensors), end2end equals the ONNX file within 0.0e+00 of each tensor's largest value"
    )
    assert figures["unproven"] == figures["recorded"] == []
    assert all("y" in sample["outputs"] for sample in figures["samples"])


AT_THE_START = """
agraph (float[4] x) => (float[4] y) {
  n = RandomNormalLike (x)
  z = Mul (n, n)
  h = Sin (z)
  y = Exp (h)
}
"""


def test_nothing_of_a_file_that_is_random_from_the_start_is_compared_with_it(
    project: Project,
) -> None:
    project.save(named(parsed(AT_THE_START)))
    project.recipe(two("z", "'y'", "x"))
    told, figures = project.proven()
    assert "bit for bit (1 boundary tensor), b.onnx (z) on tensors recorded from end2end" in told
    assert (
        "; end2end could not be compared with the ONNX file, where everything is random: " in told
    )
    assert figures["tensors"] == 1


def test_a_partition_of_which_nothing_can_be_proven_is_refused(project: Project) -> None:
    project.save(named(parsed(VOICE)))
    project.recipe(LINE + "partition: {save_file: all.onnx, from: [x, s], to: ['y']}\n")
    assert project.refused() == (
        "segment 'all.onnx': its output 'y' differs between runs, since RandomNormalLike "
        "'/n' draws random numbers, and every output of the segments does; expected a segment "
        "with an output that can be compared; scale the numbers by 0 with the arrays of "
        "'proof.inputs', or give the operators a 'seed', or put the random part into a "
        "segment of its own"
    )


def test_an_output_that_is_not_random_is_proven_in_a_random_segment(project: Project) -> None:
    project.save(named(parsed(VOICE)))
    project.recipe(two("e, z", "'y'", "x, s").replace("['middle:output']", "['middle:output.z']"))
    told, figures = project.proven()
    assert "bit for bit (2 boundary tensors), b.onnx (z) on tensors recorded" in told
    assert [(one["segment"], one["output"]) for one in figures["unproven"]] == [("a.onnx", "z")]


def spoil(project: Project, monkeypatch: pytest.MonkeyPatch, segment: str, **kinds: str) -> None:
    """Let the proof see a segment in which operators are of other kinds."""
    read = chained._Segment.of

    def changed(file: Path, boundary: SegmentBoundary, *rest: Any) -> chained._Segment:
        if boundary.save_file == segment:
            model = onnx.load(file)
            for node in model.graph.node:
                node.op_type = kinds.get(node.op_type, node.op_type)
            file = project.save(model, "spoiled.onnx")
        return read(file, boundary, *rest)

    monkeypatch.setattr(chained._Segment, "of", changed)


def test_a_wrong_segment_behind_the_random_one_is_found(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.save(named(parsed(VOICE)))
    project.recipe(three())
    spoil(project, monkeypatch, "decoder.onnx", Cos="Sin")
    assert project.refused().startswith("segment 'decoder.onnx': its output 'y' is not what end2")


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ({"Add": "Pow"}, "is not what end2end computes for sample 0; expected 'b:input.z' bit for"),
        (
            {"Mul": "Add"},
            "differs between runs; RandomNormalLike '/n' draws random numbers, but the "
            "tensor must be the same in each run",
        ),
    ],
)
def test_a_wrong_random_segment_is_found_where_its_noise_is_scaled_by_0(
    project: Project, monkeypatch: pytest.MonkeyPatch, kinds: dict[str, str], told: str
) -> None:
    project.save(named(parsed(VOICE)))
    give(project, s=np.float32(0))
    project.recipe(three() + GIVEN)
    spoil(project, monkeypatch, "noise.onnx", **kinds)
    assert project.refused().startswith(f"segment 'noise.onnx': its output 'z' {told}")


UNMOVED = {
    "one output is constant, the other random": (
        """
agraph (float[4] x) => (float[4] y, float[4] o) {
  e = Sub (x, x)
  y = Exp (e)
  o = RandomNormalLike (x)
}
""",
        "'y'",
    ),
    "the numbers come from a seed": (
        """
agraph (float[4] x) => (float[4] y) {
  e = Sub (x, x)
  n = RandomNormalLike <seed = 1.0> (x)
  y = Add (e, n)
}
""",
        "'y'",
    ),
}


@pytest.mark.parametrize("case", UNMOVED)
def test_random_numbers_are_no_evidence_that_an_input_matters(project: Project, case: str) -> None:
    text, output = UNMOVED[case]
    project.save(named(parsed(text)))
    project.recipe(LINE + f"partition: {{save_file: all.onnx, from: [x], to: [{output}]}}\n")
    assert "outputs: they are the same for two different inputs" in project.refused()


def test_a_random_operator_that_nobody_knows_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kernel would be that is not deterministic."""
    for module in (given_model, proof, chained):
        monkeypatch.setattr(module, "random_operators", lambda _: ())
    project.save(named(parsed(VOICE)))
    project.recipe(three())
    told = project.refused().splitlines()
    assert any(
        line.startswith("segment 'noise.onnx': its output 'z' differs between runs; no")
        for line in told
    )
    assert any(
        line.startswith("'y': the ONNX file computes different values in each run; no operator")
        for line in told
    )


@pytest.mark.parametrize("more", ["", GIVEN])
def test_one_model_at_a_time_is_in_memory(
    project: Project, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    alive: list[weakref.ref[object]] = []
    load = onnxruntime.InferenceSession

    def loaded(*given: Any, **options: Any) -> object:
        assert [one for one in alive if one() is not None] == []
        session = load(*given, **options)
        alive.append(weakref.ref(session))
        return session

    monkeypatch.setattr(onnxruntime, "InferenceSession", loaded)
    project.save(named(parsed(VOICE)))
    give(project, s=np.float32(0))
    project.recipe(three() + more)
    project.make()
    assert len(alive) > 10


DONE = {
    "random": (VOICE, "", "x: partly proven on 2 inputs: "),
    "scaled by 0": (VOICE, GIVEN, "x: proven on 2 inputs: "),
    "seeded": (VOICE.replace("Like (e)", "Like <seed = 3.0> (e)"), "", "x: proven on 2 inputs: "),
    "in a body": (IN_A_BODY, "", "noise.onnx (z), since RandomNormalLike '/n' in If '/z' draws"),
}


@pytest.mark.parametrize("case", DONE)
def test_doit_tells_what_is_proven(project: Project, case: str) -> None:
    text, more, expected = DONE[case]
    project.save(named(parsed(text)))
    give(project, s=np.float32(0))
    project.recipe(three() + more)
    said = project.built("build", "recipe=x")
    assert expected in said
    manifest = json.loads(project.artifacts("x")["manifest.json"])
    assert f"x: {manifest['summary']}\n" in said
    assert bool(manifest["proof"]["unproven"]) == ("not noise.onnx" in said)
    if case != "in a body":
        feeds = {"x": np.ones(4, np.float32), "s": np.array(0, np.float32)}
        given = run(project.folder / "detector.onnx", feeds)
        for name in ("encoder", "noise", "decoder"):
            feeds |= run(project.folder / "build" / "x" / f"{name}.onnx", feeds)
        assert equal(feeds["y"], given["y"])


def test_a_random_file_gives_the_same_manifest_again_and_a_report(project: Project) -> None:
    project.save(named(parsed(ANY_LENGTH)))
    project.recipe(three("x") + LONG)
    project.environment["PARTITION_CORE_REPORT"] = "1"
    made = []
    for number in (1, 2):
        project.environment["PARTITION_CORE_STORE"] = f"{project.store}{number}"
        project.built("build", "recipe=x")
        made.append(project.artifacts("x"))
        project.built("clean", "build:x")
    page = made[0].pop("report.html").decode()
    made[1].pop("report.html")
    assert made[0] == made[1]
    assert "random, not proven" in page
    assert "random, not compared" in page
    assert "bit for bit, on recorded tensors" in page
    assert "Not proven for that reason: noise.onnx (z)." in page
