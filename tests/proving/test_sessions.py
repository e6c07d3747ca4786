"""What onnxruntime repeats of a model that draws random numbers, and what the proof makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest

from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.errors import ProofError
from partition_core.proof.random_operators import SEEDS

X = {"x": np.linspace(0.1, 0.9, 8, dtype=np.float32)}
KINDS = {
    "normal": "z = RandomNormalLike <{seed}> (x)",
    "uniform": "z = RandomUniformLike <{seed}> (x)",
    "bernoulli": "z = Bernoulli <{seed}> (x)",
    "body": "t = Constant <value = bool {{1}}> () z = If (t) <then_branch = g1 () => (a) "
    "{{ a = RandomNormalLike <{seed}> (x) }}, else_branch = g2 () => (b) {{ b = Abs (x) }}>",
    "dropout": "r = Constant <value = float {{0.5}}> () t = Constant <value = bool {{1}}> () "
    "z = Dropout <{seed}> (x, r, t)",
}


def model(kind: str, seed: bool) -> bytes:
    number = "seed = 3" if kind == "dropout" else "seed = 3.0"
    text = KINDS[kind].format(seed=number if seed else "").replace("<> ", "")
    head = '<ir_version: 10, opset_import: ["": 20]>'
    made = onnx.parser.parse_model(f"{head}\nagraph (float[8] x) => (float[8] z) {{ {text} }}")
    return made.SerializeToString()


def written(content: bytes, folder: Path) -> Path:
    file = folder / "m.onnx"
    file.write_bytes(content)
    return file


def first_run(content: bytes, seed: int) -> np.ndarray:
    onnxruntime.set_seed(seed)
    values: np.ndarray = fresh(content).run(None, X)[0]
    return values


def fresh(content: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_of_the_process_decides_what_operators_without_one_draw(kind: str) -> None:
    content = model(kind, seed=False)
    assert np.array_equal(first_run(content, 12345), first_run(content, 12345))
    assert not np.array_equal(first_run(content, 12345), first_run(content, 987654321))


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_of_its_own_repeats_in_the_first_run_of_a_session_only(kind: str) -> None:
    content = model(kind, seed=True)
    assert np.array_equal(first_run(content, 12345), first_run(content, 987654321))
    session = fresh(content)
    assert not np.array_equal(session.run(None, X)[0], session.run(None, X)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_the_proof_do_not_depend_on_those_before(kind: str, tmp_path: Path) -> None:
    for seed in (True, False):
        file = written(model(kind, seed), tmp_path)
        one, other = (Plain("m", draws=True).load(file) for _ in range(2))
        runs = [one(X)["z"], one(X)["z"]]
        assert np.array_equal(runs[0], runs[1]) == seed
        other({"x": X["x"][::-1].copy()})
        assert np.array_equal(other(X)["z"], runs[1])


def test_a_coin_falls_otherwise_in_runs_that_are_compared(tmp_path: Path) -> None:
    file = written(model("bernoulli", seed=False), tmp_path)
    half = {"x": np.full(8, 0.5, np.float32)}
    runs = [Plain("m", seed, draws=True).load(file) for seed in SEEDS]
    for _ in range(4):
        assert len({run(half)["z"][0] for run in runs}) == 2


def test_an_operator_that_onnxruntime_lacks_in_a_newer_opset_is_named(tmp_path: Path) -> None:
    text = (
        '<ir_version: 10, opset_import: ["": 22]> g (float[1,2,8,8] x, float[1,4] r, int64[1] b) '
        "=> (float[1,2,2,2] y) { [pooled] y = RoiAlign <output_height = 2, output_width = 2> "
        "(x, r, b) }"
    )
    file = written(onnx.parser.parse_model(text).SerializeToString(), tmp_path)
    with pytest.raises(ProofError) as error:
        Plain("end2end.onnx").load(file)
    assert str(error.value) == (
        "end2end.onnx: onnxruntime has no CPU kernel for 'RoiAlign' of opset 22 with these dtypes, "
        "which node 'pooled' needs; cut it off, mark a tensor of another dtype (a mark becomes an "
        "'Identity') or export an older opset"
    )
