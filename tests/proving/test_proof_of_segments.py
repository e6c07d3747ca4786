"""The proof of a plain network: its tensors, and partitions that are whole, torn or overlapping."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from partition_core.proof.summary import summary
from tests.export.support import run
from tests.proving.support import Arrays, Change, Key, Subject, segment, with_node

OUT = (0, "outputs", "output")
STEM = segment("stem.onnx", "whole:input", "stem:output")
BODY = segment("body.onnx", "whole:input", "decode:input")
REST_AGAIN = segment("again.onnx", "stem:output", "decode:input")
REST = segment("rest.onnx", "stem:output", "decode:input")
DECODE = segment("decode.onnx", "decode:input", "whole:output")

WRONG: dict[str, Change] = {
    "scaled": lambda one: one * np.float32(0.99),
    "rolled": lambda one: np.roll(one, 1, axis=-1),
    "reversed": lambda one: one[:, ::-1],
    "one value moved": lambda one: (
        one + np.float32(1e-3) * (np.arange(one.size) == 7).reshape(one.shape)
    ),
    "one value that is no number": lambda one: np.where(one == one.max(), np.nan, one),
    "one value that is infinite": lambda one: np.where(one == one.max(), np.inf, one),
    "constant": lambda one: np.full_like(one, one.mean()),
}


ALLOW = "write `proof: {unproven: allow}` to prove the segments in front of it all the same"


def test_the_proof_holds_and_every_tensor_is_compared(net: Subject) -> None:
    figures = net.prove()
    assert figures["given_by_end2end"] == figures["matched_as_detections"] == []
    for number, sample in enumerate(figures["samples"]):
        given = run(net.file, {"image": net[number, "inputs", "image"]})["output"]
        eager = net[number, "outputs", "output"].astype(np.float64)
        assert sample["outputs"]["output"] == {
            "largest_difference": np.abs(eager - given).max(),
            "largest_value": np.abs(eager).max(),
        }
        assert list(sample["marks"]) == list(net.recording.samples[number].marks)


@pytest.mark.parametrize(
    "key", [OUT, (1, "outputs", "output"), (1, "marks", "decode:input.maps.1")]
)
@pytest.mark.parametrize("name", WRONG)
def test_another_result_is_refused_and_named(net: Subject, key: Key, name: str) -> None:
    number, kind, tensor = key
    told = net.refused({key: WRONG[name](net[key])})
    assert told.startswith(
        f"{kind[:-1]} '{tensor}', sample {number}: end2end differs from PyTorch by "
    )
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("times", [0.9, 1.1])
def test_the_tolerance_is_relative_to_the_largest_value(net: Subject, times: float) -> None:
    eager = net[OUT].astype(np.float64)
    ours = run(net.file, {"image": net[0, "inputs", "image"]})["output"]
    place = np.unravel_index(np.abs(ours).argmin(), ours.shape)
    changed = net[OUT].copy()
    changed[place] = ours[place] + times * 1e-2 * np.abs(eager).max()
    told = net.refused({OUT: changed}, tolerance=1e-2)
    assert bool(told) == (times > 1)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda one: one.astype(np.float64), "not float64[1, 6, 128]"),
        (lambda one: one[..., :64], "not float32[1, 6, 64]"),
        (lambda one: one[0], "not float32[6, 128]"),
    ],
)
def test_another_form_is_refused(net: Subject, change: Change, found: str) -> None:
    assert net.refused({OUT: change(net[OUT])}) == (
        "output 'output', sample 0: end2end and PyTorch give different tensors; "
        f"found float32[1, 6, 128], {found}"
    )


def test_exchanged_tensors_of_one_form_are_refused(net: Subject) -> None:
    first, second = ((0, "marks", f"decode:input.maps.{place}") for place in (0, 1))
    told = net.refused({first: net[second], second: net[first]})
    assert "mark 'decode:input.maps.0', sample 0" in told
    assert "mark 'decode:input.maps.1', sample 0" in told


def test_results_of_another_input_are_refused(net: Subject) -> None:
    told = net.refused({OUT: net[1, "outputs", "output"]})
    assert "output 'output', sample 0: end2end differs" in told
    assert "outputs: they are the same for two different inputs, which proves nothing" in told


@pytest.mark.parametrize(
    ("kind", "operand", "value", "reason"),
    [
        ("Mul", 0.0, 0.0, "all its values are equal"),
        ("Add", np.nan, np.nan, "it has no finite value"),
    ],
)
def test_an_output_without_meaning_proves_nothing_though_it_is_equal(
    net: Subject, tmp_path: Path, kind: str, operand: float, value: float, reason: str
) -> None:
    other = np.array(operand, np.float32)
    end2end = with_node(net.file, tmp_path / "constant.onnx", "output", kind, other)
    changes = {
        key: np.full_like(net[key], value)
        for number in (0, 1)
        for key in ((number, "outputs", "output"), (number, "marks", "whole:output.output"))
    }
    told = net.refused(changes, end2end=end2end, segments=[BODY]).splitlines()
    assert told == [
        f"output 'output', sample {number}: {reason}, which proves nothing; "
        f"expected values that depend on the input; {ALLOW}"
        for number in (0, 1)
    ] + [
        "outputs: they are the same for two different inputs, which proves nothing; "
        f"expected outputs that depend on the input; {ALLOW}"
    ]


def whole_numbers(net: Subject, target: Path) -> tuple[Path, Arrays]:
    """The network with whole numbers around 100,000 as its output, and what PyTorch would give."""
    large = with_node(net.file, target, "output", "Mul", np.array(1e5, np.float32))
    end2end = with_node(large, target, "output", "CastLike", np.zeros(1, np.int64))
    results = {
        (number, *key): run(end2end, {"image": net[number, "inputs", "image"]})["output"]
        for number in (0, 1)
        for key in (("outputs", "output"), ("marks", "whole:output.output"))
    }
    return end2end, results


def test_whole_numbers_must_be_equal(net: Subject, tmp_path: Path) -> None:
    end2end, results = whole_numbers(net, tmp_path / "whole.onnx")
    assert results[OUT].dtype == np.int64
    assert results[OUT].max() > 100_000
    assert net.refused(results, end2end=end2end, segments=[BODY]) == ""
    results[OUT] = results[OUT].copy()
    results[OUT][0, 2, 5] += 1
    assert net.refused(results, end2end=end2end, segments=[BODY]) == (
        "output 'output', sample 0: end2end differs from PyTorch by 1; expected no difference"
    )


def test_a_wrong_result_is_told_apart_from_rounding_that_the_model_enlarges(
    net: Subject, tmp_path: Path
) -> None:
    told = net.refused({OUT: net[OUT] + np.float32(0.01)})
    assert "with weights changed by their last bit end2end differs from itself by " in told
    assert told.endswith("there: rounding does not explain the difference")
    steep = with_node(net.file, tmp_path / "steep.onnx", "output", "Mul", np.array(1e5, np.float32))
    steep = with_node(steep, tmp_path / "steep.onnx", "output", "Sin")
    results = {
        (number, *key): run(steep, {"image": net[number, "inputs", "image"]})["output"]
        for number in (0, 1)
        for key in (("outputs", "output"), ("marks", "whole:output.output"))
    }
    results[OUT] = results[OUT] + np.float32(0.01)
    (told,) = net.refused(results, end2end=steep, segments=[BODY]).splitlines()
    assert told.startswith("output 'output', sample 0: end2end differs from PyTorch by 0.01; ")
    assert told.endswith(": the model enlarges rounding so; allow it by 'proof.tolerance'")


@pytest.mark.parametrize("allows", [False, True], ids=["refuse", "allow"])
@pytest.mark.parametrize("wrong", ["stem.onnx", "rest.onnx", "decode.onnx"])
def test_a_chain_must_give_the_same_bits_in_every_segment(
    net: Subject, tmp_path: Path, wrong: str, allows: bool
) -> None:
    segments = {one.save_file: one for one in (STEM, REST, DECODE)}
    assert net.refused(segments=[*segments.values()], allows_unproven=allows) == ""
    output = {"stem.onnx": "output", "rest.onnx": "maps.0", "decode.onnx": "output"}[wrong]
    little = np.array(1e-6, np.float32)
    file = with_node(net.cut(segments[wrong]), tmp_path / wrong, output, "Add", little)
    told = net.refused(
        segments=[*segments.values()], files={wrong: file}, allows_unproven=allows
    ).splitlines()
    assert [line.split("'")[1] for line in told] == [wrong, wrong]


def test_what_is_unproven_may_be_allowed_and_what_is_wrong_may_not(net: Subject) -> None:
    key = (0, "outputs", "output")
    told = net.refused({key: net[key] + 1}, allows_unproven=True)
    assert told.startswith("output 'output', sample 0: end2end differs from PyTorch by ")


def test_another_dtype_from_a_segment_is_refused(net: Subject, tmp_path: Path) -> None:
    like = np.zeros(1, np.float64)
    file = with_node(net.cut(BODY), tmp_path / "body.onnx", "maps.0", "CastLike", like)
    told = net.refused(files={"body.onnx": file})
    assert "found float64[1, 6, 8, 8], not float32[1, 6, 8, 8]" in told


def test_the_segments_are_fed_by_each_other_and_not_by_end2end(net: Subject) -> None:
    told = net.refused(crossed=True)
    assert told.startswith("segment 'decode.onnx': its output 'output' is not what end2end")


def test_a_gap_is_told(net: Subject) -> None:
    """Nothing is between the stem and decode: the last segment is fed by end2end."""
    figures = net.prove(segments=[STEM, DECODE])
    assert figures["given_by_end2end"] == ["decode.onnx: maps.0", "decode.onnx: maps.1"]
    assert summary(figures).startswith(
        "proven on 2 inputs: the segments in a chain equal end2end bit for bit (2 boundary "
        "tensors, 2 inputs taken from end2end), end2end equals"
    )


def test_segments_in_another_order_are_no_chain(net: Subject) -> None:
    figures = net.prove(segments=[DECODE, BODY])
    assert figures["given_by_end2end"] == ["decode.onnx: maps.0", "decode.onnx: maps.1"]


def test_a_gap_does_not_hide_a_wrong_segment(net: Subject, tmp_path: Path) -> None:
    little = np.array(1e-6, np.float32)
    file = with_node(net.cut(DECODE), tmp_path / "decode.onnx", "output", "Add", little)
    told = net.refused(segments=[STEM, DECODE], files={"decode.onnx": file})
    assert told.startswith("segment 'decode.onnx': its output 'output' is not what end2end")


def test_segments_that_overlap_are_each_proven(net: Subject, tmp_path: Path) -> None:
    """The tensor that both give is compared in both, and the next segment takes the first."""
    assert net.prove(segments=[BODY, STEM, REST_AGAIN, DECODE])["given_by_end2end"] == []
    little = np.array(1e-6, np.float32)
    file = with_node(net.cut(REST_AGAIN), tmp_path / "again.onnx", "maps.1", "Add", little)
    told = net.refused(segments=[BODY, STEM, REST_AGAIN, DECODE], files={"again.onnx": file})
    assert told.startswith("segment 'again.onnx': its output 'maps.1' is not what end2end")


def test_a_segment_that_cannot_run_is_told(net: Subject, tmp_path: Path) -> None:
    told = net.refused(files={"body.onnx": net.cut(DECODE)})
    assert told.startswith("body.onnx: cannot be run by onnxruntime; ")
    (tmp_path / "body.onnx").write_bytes(b"no model")
    told = net.refused(files={"body.onnx": tmp_path / "body.onnx"})
    assert told.startswith("body.onnx: cannot be loaded by onnxruntime; ")


def test_a_difference_is_never_told_as_none(net: Subject) -> None:
    figures = net.prove()
    for sample in figures["samples"]:
        for tensor in (*sample["marks"].values(), *sample["outputs"].values()):
            tensor["largest_difference"] = 0.0
    assert "within 0.0e+00 of" in summary(figures)
    least = {"largest_difference": 1e-45, "largest_value": 2.0}
    figures["samples"][1]["marks"]["stem:output.output"] = least
    assert "within 5.0e-46 of" in summary(figures)


def test_nodes_in_no_segment_are_told(net: Subject) -> None:
    figures = net.prove(segments=[STEM])
    assert "bit for bit (1 boundary tensor, 7 nodes in no segment), end2end" in summary(
        figures, uncovered=7
    )


def test_the_largest_difference_and_ties_are_told() -> None:
    picture = {"box_difference": 0.016, "largest_coordinate": 320.0, "score_difference": 5e-7}
    picture |= {"largest_score": 0.5, "pairs": 99, "moved": 4, "cut": 1, "rounded": 0}
    higher = {**picture, "score_difference": 5e-5, "box_difference": 0.001, "cut": 0}
    sample = {"marks": {}, "outputs": {}, "detections": [picture, higher]}
    line = summary({"samples": [sample], "tensors": 2, "given_by_end2end": []})
    assert line.endswith(
        "within 1.0e-04 of each tensor's largest value; detections equal to PyTorch's: 99, 99 "
        "(8 in another place and 1 replaced at the end by a tie)"
    )
