"""Boundaries, inputs and outputs of dtypes that numpy lacks, and sequences of tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest

from partition_core.backends.onnxruntime.values import run
from partition_core.base.array_sets import load_sets, save_sets
from partition_core.base.errors import ProofError
from partition_core.base.rare_dtypes import RARE
from partition_core.proof import chained
from partition_core.proof.comparison import (
    change,
    difference,
    largest_difference,
    same_bits,
    why_meaningless,
)

from .projects import Project

DTYPES = ("bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz")
NIBBLES = ("int4", "uint4")

MODEL = """
<ir_version: 10, opset_import: ["": 21]>
rare (float[3, 5] x) => (DTYPE[3, 5] y, float[3, 5] z) {
  [scale] a = Mul (x, three)
  [rare] h = Cast <to = NUMBER> (a)
  [back] b = Cast <to = 1> (h)
  [same] y = Cast <to = NUMBER> (b)
  [sum] z = Add (b, x)
}
"""
CUT = """\
model: {source: onnx, path: detector.onnx}
marks:
  - {name: whole, inputs: [x], outputs: [y, z]}
  - {name: rare, tensors: [h]}
partition:
  type: two
  segments:
    - {save_file: first.onnx, start: ['whole:input'], end: ['rare:input']}
    - {save_file: second.onnx, start: ['whole:input', 'rare:output'], end: ['whole:output']}
"""


def rare_model(dtype: str) -> onnx.ModelProto:
    text = MODEL.replace("DTYPE", dtype).replace("NUMBER", str(RARE[dtype].number))
    made = onnx.parser.parse_model(text)
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(3), "three"))
    onnx.checker.check_model(made, full_check=True)
    return made


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_model_is_cut_and_proven_at_a_tensor_that_numpy_lacks(
    project: Project, dtype: str
) -> None:
    project.save(rare_model(dtype))
    project.recipe(CUT)
    told, figures = project.proven()
    assert "bit for bit (3 boundary tensors)" in told
    seen = project.recording().samples[0]
    marked = seen.marks["rare:input.h"]
    assert marked.dtype == RARE[dtype].numpy()
    exact = (seen.inputs["x"] * np.float32(3)).astype(RARE[dtype].numpy())
    if dtype.endswith("fnuz") or not dtype.startswith("float8"):  # others saturate differently
        near = np.abs(exact.astype(np.float32) - marked.astype(np.float32))
        assert near.max() <= 1
    assert figures["samples"][0]["outputs"]["y"]["largest_value"] > 0


def test_doit_measures_and_reports_such_a_partition(project: Project) -> None:
    project.save(rare_model("float8e4m3fn"))
    project.recipe(CUT)
    project.environment["PARTITION_CORE_REPORT"] = "1"
    assert "proven on 2 inputs" in project.built("build", "recipe=x")
    assert "float8e4m3fn" in (project.folder / "build" / "x" / "report.html").read_text()


def test_a_wrong_bit_of_such_a_tensor_is_found(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.save(rare_model("bfloat16"))
    project.recipe(CUT)

    def wrong(segment: chained._Segment, *seed: int) -> list[dict[str, Any]]:
        given = runs(segment, *seed)
        for outputs in given:
            if "h" in outputs:
                outputs["h"] = outputs["h"].copy()
                outputs["h"].view(np.uint16)[-1, -1] ^= 1
        return given

    runs = chained._Segment.runs
    monkeypatch.setattr(chained._Segment, "runs", wrong)
    with pytest.raises(ProofError, match="its output 'h' is not what end2end computes"):
        project.make()


SEQUENCES = """
<ir_version: 10, opset_import: ["": 20]>
parts (float[6, 4] x) => (seq(float[n, 4]) rows, float[m, 4] y) {
  [two] size = Constant <value = int64 {2}> ()
  [split] parts = SplitToSequence <axis = 0> (x, size)
  [again] rows = Identity (parts)
  [joined] all = ConcatFromSequence <axis = 0> (parts)
  [tanh] y = Tanh (all)
}
"""


def test_a_sequence_may_be_a_boundary_and_an_output(project: Project) -> None:
    project.save(onnx.parser.parse_model(SEQUENCES))
    project.recipe(
        CUT.replace("outputs: [y, z]", "outputs: [rows, y]")
        .replace("rare", "parts")
        .replace("[h]", "[parts]")
        .replace("['whole:input', 'parts:output']", "['parts:output']")
    )
    told, figures = project.proven()
    assert "bit for bit (3 boundary tensors)" in told
    assert len(project.recording().samples[0].marks["parts:input.parts"]) == 3
    assert figures["samples"][0]["outputs"]["rows"]["largest_difference"] == 0
    project.environment["PARTITION_CORE_REPORT"] = "1"
    assert "report.html" in project.built("build", "recipe=x")


@pytest.mark.parametrize("dtype", NIBBLES)
def test_a_dtype_without_kernels_is_told_and_an_output_of_it_works(
    project: Project, dtype: str
) -> None:
    project.save(rare_model(dtype))
    project.recipe(CUT)
    assert project.refused() == (
        "end2end.onnx: onnxruntime has no CPU kernel for 'Identity' of opset 21 with these "
        "dtypes; "
        "cut it off, mark a tensor of another dtype (a mark becomes an 'Identity') "
        "or export an older opset"
    )
    line = "partition: {save_file: part.onnx, from: [x], to: [a]}\n"
    project.recipe(CUT[: CUT.index("marks:")] + line)
    _, figures = project.proven()
    assert figures["samples"][0]["outputs"]["y"]["largest_value"] > 0


@pytest.mark.parametrize("dtype", [*DTYPES, *NIBBLES])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3), (0, 4)])
def test_every_bit_goes_through_a_runtime_and_a_file(
    dtype: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    rare = RARE[dtype]
    dims = ", ".join(map(str, shape))
    # onnxruntime computes nothing else of four bits, and a Cast loses bits of NaN.
    body = "y = Reshape (x, s)"
    if dtype in NIBBLES:
        body = f"f = Cast <to = 1> (x)  y = Cast <to = {rare.number}> (f)"
    text = f"g ({dtype}[{dims}] x) => ({dtype}[{dims}] y) {{ {body} }}"
    made = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]> {text}')
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.array(shape, np.int64), "s"))
    session = onnxruntime.InferenceSession(made.SerializeToString())
    bits = np.random.default_rng(0).integers(0, 1 << rare.bits, shape)
    bits = bits - 16 * (bits > 7) if dtype == "int4" else bits
    array = np.asarray(bits).astype(rare.raw).view(rare.numpy())
    assert same_bits(run(session, {"x": array})["y"], array)
    values = {"a": array, "b/c": [array, np.ones(2)], "d": [], "e": np.zeros(3)}
    save_sets([values], tmp_path / "x.npz")
    (found,) = load_sets(tmp_path / "x.npz")
    assert list(found) == list(values)
    assert all(same_bits(found[name], value) for name, value in values.items())


def test_sequences_and_rare_numbers_are_compared_as_others() -> None:
    one, two = np.array([1.0, 2.0], np.float32), np.array([1.0, 2.5], np.float32)
    assert same_bits([one, two], [one.copy(), two.copy()])
    assert not same_bits([one], [one, one])
    assert not same_bits([one], one)
    assert largest_difference([one, two], [two, two]) == 0.5
    assert change([one], [one, two]) == float("inf")
    assert difference([one], [two]) == "the largest difference is 0.5"
    assert difference([one], one) == "found a sequence of float32[2], not float32[2]"
    rare, other = one.astype(ml_dtypes.bfloat16), two.astype(ml_dtypes.bfloat16)
    assert not same_bits(rare, other)
    assert not same_bits(rare, one)
    assert largest_difference(rare, other) == 0.5
    assert (
        why_meaningless(np.full(3, np.nan).astype(ml_dtypes.float8_e5m2))
        == "it has no finite value"
    )
    assert why_meaningless(np.ones(3).astype(ml_dtypes.int4)) == "all its values are equal"
    assert why_meaningless([np.ones(3), np.zeros(2)]) == "all its values are equal"
    assert why_meaningless([np.ones(3), one]) == ""
    assert why_meaningless([]) == "it has no array"
