"""A segment in its target, compared with onnxruntime: what is refused, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from partition_core import cut_between
from partition_core.backends.backend import Agreement
from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.errors import ProofError
from partition_core.base.recording import RecordedSample, Recording
from partition_core.chain.pieces import (
    MODEL_INPUT,
    MODEL_OUTPUT,
    Chain,
    Edge,
    SegmentBoundary,
    Tensor,
)
from partition_core.proof.on_target import compare_target, comparison_line

Arrays = dict[str, np.ndarray]
DETECTOR = """
<ir_version: 10, opset_import: ["": 20]>
net (float[1, 2, 6, 6] x) => (float[1, 9, 5] dets, int64[1, 9] labels)
<int64[3] flat = {1, 9, 4}, int64[3] one = {1, 9, 1},
 int64[2] last = {1, 9}, float half = {0.5}, int64[1] zero = {0}, int64[1] wide = {1}> {
    a = Conv <strides = [2, 2]> (x, w1)
    b = Conv <strides = [2, 2]> (x, w2)
    boxes = Reshape (a, flat)
    best = ReduceMax <keepdims = 0> (b, wide)
    scores = Reshape (best, one)
    dets = Concat <axis = 2> (boxes, scores)
    row = Reshape (best, last)
    over = Greater (row, half)
    labels = Cast <to = 7> (over)
}
"""
SHAPES = {"x": (1, 2, 6, 6), "a": (1, 4, 3, 3), "b": (1, 4, 3, 3)}
X, A, B = (Tensor(name, "float32", shape, f"{name}:at") for name, shape in SHAPES.items())
DETS = Tensor("dets", "float32", (1, 9, 5), "dets:at")
LABELS = Tensor("labels", "int64", (1, 9), "labels:at")
BOUNDARIES = (
    SegmentBoundary("net.onnx", (X,), (A, B)),
    SegmentBoundary("tail.onnx", (A, B), (DETS, LABELS)),
)
EDGES = [
    Edge(MODEL_INPUT, "x", "net.onnx", "x", "float32", X.dims),
    *(Edge("net.onnx", t.name, "tail.onnx", t.name, t.dtype, t.dims) for t in (A, B)),
    *(Edge("tail.onnx", t.name, MODEL_OUTPUT, t.name, t.dtype, t.dims) for t in (DETS, LABELS)),
]
CLOSE = Agreement(1e-4, 0.99)


def sample(seed: int, scale: float = 1.0) -> RecordedSample:
    x = scale * np.random.default_rng(seed).normal(size=X.dims).astype(np.float32)
    return RecordedSample(inputs={"x": x.astype(np.float32)}, marks={}, outputs={})


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("chain")
    model = onnx.parser.parse_model(DETECTOR)
    random = np.random.default_rng(3)
    for name in ("w1", "w2"):
        values = random.normal(size=(4, 2, 1, 1)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    whole = folder / "whole.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model), whole)
    files = {"net.onnx": folder / "net.onnx", "tail.onnx": folder / "tail.onnx"}
    cut_between(whole, ["x"], ["a", "b"], files["net.onnx"])
    cut_between(whole, ["a", "b"], ["dets", "labels"], files["tail.onnx"])
    return Chain(files, BOUNDARIES, EDGES)


def figures(
    chain: Chain,
    change: Callable[[Arrays, int], Arrays],
    samples: Sequence[RecordedSample] = (sample(0), sample(1)),
    agreement: Agreement = CLOSE,
    detects: bool = True,
) -> dict[str, Any]:
    """Compare the first segment, whose outputs for each sample are changed."""
    run = Plain("net").load(chain.files["net.onnx"])

    def target(fed: Sequence[Arrays]) -> list[Arrays]:
        return [change(dict(run(arrays)), number) for number, arrays in enumerate(fed)]

    recording = Recording(tuple(samples), is_traced=False)
    return compare_target("net.onnx", target, chain, recording, agreement, detects=detects)


def changed(**by: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays, int], Arrays]:
    return lambda arrays, _: {
        name: by.get(name, lambda same: same)(array).astype(array.dtype)
        for name, array in arrays.items()
    }


def noisy(size: float) -> Callable[[np.ndarray], np.ndarray]:
    noise = np.random.default_rng(9).normal(size=A.dims)
    return lambda array: array + size * np.abs(array).max() * noise


def test_what_rounds_as_a_runtime_does_agrees(chain: Chain) -> None:
    found = figures(chain, changed(a=noisy(1e-6), b=noisy(1e-6)))
    assert 1e-7 < found["tensors"]["a"]["relative_l2"] < 1e-5
    assert found["samples"] == 2
    assert found["detections"]["same"] == found["detections"]["end2end"] > 0
    assert comparison_line(found).endswith("detections are the same")


FAULTS: dict[str, Callable[[Arrays, int], Arrays]] = {
    "two outputs of one shape swapped": lambda arrays, _: {"a": arrays["b"], "b": arrays["a"]},
    "channels reversed": changed(a=lambda array: array[:, ::-1]),
    "height and width exchanged": changed(b=lambda array: array.swapaxes(2, 3)),
    "a map rolled by a pixel": changed(b=lambda array: np.roll(array, 1, axis=3)),
    "scaled by 0.99": changed(a=lambda array: 0.99 * array),
    "one value is not a number": changed(
        a=lambda array: np.where(array == array.max(), np.nan, array)
    ),
    "all zero": changed(b=np.zeros_like),
    "one channel of one sample lost": lambda arrays, number: (
        arrays if number == 0 else {**arrays, "a": arrays["a"] * (np.arange(4) > 0)[:, None, None]}
    ),
    "noise of a thousandth": changed(a=noisy(1e-3)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_output_is_refused(chain: Chain, fault: str) -> None:
    with pytest.raises(ProofError, match="differs from onnxruntime's for sample"):
        figures(chain, FAULTS[fault])


def test_the_outputs_of_another_picture_are_refused(chain: Chain) -> None:
    run = Plain("net").load(chain.files["net.onnx"])
    with pytest.raises(ProofError, match="for sample 0") as caught:
        figures(chain, lambda _, number: run(sample(1 - number).inputs))
    assert "for sample 1" in str(caught.value)


def test_a_stale_file_that_gives_the_same_for_all_is_refused(chain: Chain) -> None:
    run = Plain("net").load(chain.files["net.onnx"])
    with pytest.raises(ProofError, match="for sample 1"):
        figures(chain, lambda _, __: run(sample(0).inputs))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays, _: {"a": arrays["a"]}, "it gives no output 'b'; it gives a"),
        (
            lambda arrays, _: {**arrays, "a": arrays["a"][0]},
            "its output 'a' has another form for sample 0; found float32[4, 3, 3], not "
            "float32[1, 4, 3, 3]",
        ),
        (
            lambda arrays, _: {**arrays, "a": arrays["a"].astype(np.float16)},
            "its output 'a' has another form for sample 0; found float16[1, 4, 3, 3], not "
            "float32[1, 4, 3, 3]",
        ),
    ],
    ids=["missing", "rank", "dtype"],
)
def test_an_output_of_another_form_is_named(
    chain: Chain, change: Callable[[Arrays, int], Arrays], message: str
) -> None:
    with pytest.raises(ProofError) as caught:
        figures(chain, change)
    assert str(caught.value).splitlines()[0] == message


def test_inputs_on_which_any_picture_agrees_prove_nothing(chain: Chain) -> None:
    alike = [sample(0), sample(0, scale=1.0001)]
    with pytest.raises(ProofError) as caught:
        figures(chain, changed(), alike, Agreement(1e-2))
    assert "the outputs for sample 0 agree with those for sample 1 as well" in str(caught.value)


def test_a_single_picture_is_compared_with_itself_shifted(chain: Chain) -> None:
    assert figures(chain, changed(), [sample(0)])["samples"] == 1
    flat = RecordedSample(inputs={"x": np.ones(X.dims, np.float32)}, marks={}, outputs={})
    with pytest.raises(ProofError, match="shifted by an element"):
        figures(chain, changed(), [flat], Agreement(10.0))


def test_lost_detections_are_counted(chain: Chain) -> None:
    lower = changed(b=lambda array: array - 0.02 * np.abs(array).max())
    found = figures(chain, lower, agreement=Agreement(0.1, 0.0))
    total, same = found["detections"]["end2end"], found["detections"]["same"]
    assert 0 < same < total
    with pytest.raises(ProofError) as caught:
        figures(chain, lower, agreement=Agreement(0.1, 0.999))
    assert str(caught.value).splitlines()[0] == (
        f"{same} of the {total} detections of end2end are the same when the segment runs in it; "
        "expected a share of at least 0.999; allow fewer with 'kept' of this target if that is "
        "good enough"
    )


def test_a_sample_whose_sizes_no_segment_takes_is_left_out(chain: Chain) -> None:
    larger = np.zeros((1, 2, 8, 8), np.float32)
    other = RecordedSample(inputs={"x": larger}, marks={"x:at": larger}, outputs={})
    fits = RecordedSample(sample(0).inputs, {"x:at": sample(0).inputs["x"]}, {})
    assert figures(chain, changed(), [other, fits])["samples"] == 1
    with pytest.raises(ProofError, match="no sample has the sizes of all segments"):
        figures(chain, changed(), [other])
