"""The proof of a real detector: what it measures, and wrong results that it must refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from partition_core.proof.summary import summary
from tests.export.support import run
from tests.proving.support import Arrays, Change, Subject, with_node

DETS, LABELS = (0, "outputs", "dets"), (0, "outputs", "labels")
MAP = (0, "marks", "yolo_head:input.pred_maps.0")

MAPS: dict[str, Change] = {
    "scaled by 0.99": lambda one: one * np.float32(0.99),
    "rolled by a pixel": lambda one: np.roll(one, 1, axis=-1),
    "rolled by a row": lambda one: np.roll(one, 1, axis=-2),
    "channels reversed": lambda one: one[:, ::-1],
    "pictures swapped": lambda one: one[::-1],
    "transposed": lambda one: one.swapaxes(2, 3),
}


def rows(yolo: Subject, picture: int, order: list[int]) -> Arrays:
    """Give one picture of sample 0 its detections in another order, or others of them."""
    dets, labels = yolo[DETS].copy(), yolo[LABELS].copy()
    dets[picture], labels[picture] = dets[picture][order], labels[picture][order]
    return {DETS: dets, LABELS: labels}


def missing(yolo: Subject) -> Arrays:
    changes = rows(yolo, 1, [*range(5), *range(6, 20), 5])
    changes[DETS][1, 19], changes[LABELS][1, 19] = 0, -1
    return changes


def label_of_one(yolo: Subject) -> Arrays:
    labels = yolo[LABELS].copy()
    labels[1, 19] = (labels[1, 19] + 1) % 80
    return {LABELS: labels}


def boxes_moved(yolo: Subject) -> Arrays:
    dets = yolo[DETS].copy()
    dets[1, :, :4] += 0.5
    return {DETS: dets}


def one_box_moved(yolo: Subject) -> Arrays:
    dets = yolo[DETS].copy()
    dets[1, 7, 2] += 0.1
    return {DETS: dets}


def one_score_lower(yolo: Subject) -> Arrays:
    dets = yolo[DETS].copy()
    dets[1, 19, 4] -= 2e-4
    return {DETS: dets}


def not_a_number(yolo: Subject) -> Arrays:
    dets = yolo[DETS].copy()
    dets[1, 3, 0] = np.nan
    return {DETS: dets}


WRONG: dict[str, Callable[[Subject], Arrays]] = {
    "one missing": missing,
    "one doubled": lambda yolo: rows(yolo, 1, [0, *range(19)]),
    "two swapped": lambda yolo: rows(yolo, 1, [0, 9, *range(2, 9), 1, *range(10, 20)]),
    "worst first": lambda yolo: rows(yolo, 1, list(range(20))[::-1]),
    "label of the last one": label_of_one,
    "boxes moved by half a pixel": boxes_moved,
    "one coordinate moved by a tenth of a pixel": one_box_moved,
    "one score lower": one_score_lower,
    "a coordinate that is no number": not_a_number,
}


def test_the_proof_of_a_detector_holds_and_records_what_it_compared(yolo: Subject) -> None:
    figures = yolo.prove()
    assert figures["given_by_end2end"] == []
    assert figures["tensors"] == 5
    for sample in figures["samples"]:
        assert [picture["pairs"] for picture in sample["detections"]] == [20, 20]
        assert all(one["candidates"] > one["kept"] > 20 for one in sample["nms"])
        assert len(sample["marks"]) == 4


def test_the_figures_are_the_measured_ones(yolo: Subject) -> None:
    figures = yolo.prove()
    for number, sample in enumerate(figures["samples"]):
        picture = {"input": yolo[number, "inputs", "input"]}
        maps = run(yolo.cut(yolo.segments[0]), picture)
        for name, ours in maps.items():
            eager = yolo[number, "marks", f"yolo_head:input.{name}"].astype(np.float64)
            assert sample["marks"][f"yolo_head:input.{name}"] == {
                "largest_difference": np.abs(eager - ours).max(),
                "largest_value": np.abs(eager).max(),
            }
        dets = run(yolo.file, picture)["dets"]
        eager = yolo[number, "outputs", "dets"].astype(np.float64)
        apart = np.abs(eager - dets)
        for index, found in enumerate(sample["detections"]):
            assert found["moved"] == found["cut"] == found["different"] == 0
            assert found["box_difference"] == apart[index, :, :4].max() > 0
            assert found["score_difference"] == apart[index, :, 4].max() > 0
            assert found["largest_coordinate"] == np.abs(eager[index, :, :4]).max()
            assert found["largest_score"] == eager[index, :, 4].max()


def test_the_line_tells_the_largest_relative_difference(yolo: Subject) -> None:
    figures = yolo.prove()
    relative = [
        tensor["largest_difference"] / tensor["largest_value"]
        for sample in figures["samples"]
        for tensor in sample["marks"].values()
    ]
    for sample in figures["samples"]:
        for found in sample["detections"]:
            relative.append(found["box_difference"] / found["largest_coordinate"])
            relative.append(found["score_difference"] / found["largest_score"])
    assert summary(figures) == (
        "proven on 2 inputs: the segments in a chain equal end2end bit for bit "
        f"(5 boundary tensors), end2end equals PyTorch within {max(relative):.1e} of each "
        "tensor's largest value; detections equal to PyTorch's: 20, 20, 20, 20"
    )


def test_detections_of_the_same_maps_are_equal(yolo: Subject) -> None:
    """The control of the controls below: what they change is all that is wrong."""
    assert yolo.refused(yolo.maps(0, lambda one: one)) == ""


@pytest.mark.parametrize("name", MAPS)
def test_detections_of_other_maps_are_refused(yolo: Subject, name: str) -> None:
    told = yolo.refused(yolo.maps(0, MAPS[name])).splitlines()
    assert [line.split(":")[0] for line in told] == [
        "detections, sample 0, picture 0",
        "detections, sample 0, picture 1",
    ]


@pytest.mark.parametrize("name", MAPS)
def test_other_maps_are_refused(yolo: Subject, name: str) -> None:
    maps = {MAP: np.ascontiguousarray(MAPS[name](yolo[MAP]))}
    told = yolo.refused(maps)
    assert told.startswith("mark 'yolo_head:input.pred_maps.0', sample 0: end2end differs")
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("name", WRONG)
def test_other_detections_of_one_picture_are_refused_for_that_picture(
    yolo: Subject, name: str
) -> None:
    told = yolo.refused(WRONG[name](yolo)).splitlines()
    assert len(told) == 1
    assert told[0].startswith("detections, sample 0, picture 1: ")
    assert "differ between end2end (20) and PyTorch" in told[0]


def test_results_of_other_pictures_are_refused(yolo: Subject) -> None:
    other = {key: yolo[1, "outputs", key[2]] for key in (DETS, LABELS)}
    told = yolo.refused(other)
    assert "detections, sample 0, picture 0: " in told
    assert "detections, sample 0, picture 1: " in told
    assert "outputs: they are the same for two different inputs" in told


def test_only_detections_whose_scores_tie_may_swap(yolo: Subject) -> None:
    order = [0, 1, 3, 2, *range(4, 20)]
    swapped = rows(yolo, 1, order)
    assert "picture 1: 2 differ" in yolo.refused(swapped, tolerance=0.01)
    swapped[DETS][1, 2:4, 4] = swapped[DETS][1, 2:4, 4].mean()
    assert yolo.refused(swapped, tolerance=0.01) == ""


def test_a_detection_less_than_another_picture_has_was_not_cut_off(yolo: Subject) -> None:
    """In a full picture another last detection of the same score passes, here it must not."""
    dets, labels = yolo[DETS].copy(), yolo[LABELS]
    dets[1, 19, :4] = [-900, -900, -890, -890]
    assert yolo.refused({DETS: dets}) == ""
    more = {
        (1, "outputs", "dets"): np.pad(yolo[1, "outputs", "dets"], ((0, 0), (0, 1), (0, 0))),
        (1, "outputs", "labels"): np.pad(yolo[1, "outputs", "labels"], ((0, 0), (0, 1))),
    }
    told = yolo.refused({DETS: dets, LABELS: labels, **more})
    assert "sample 0, picture 1: 2 differ" in told
    assert "sample 0, picture 0" not in told


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("labels", lambda one: one.astype(np.int32), "found int64[2, 20], not int32[2, 20]"),
        ("dets", lambda one: one.astype(np.float64), "found float32[2, 20, 5], not float64"),
        ("dets", lambda one: one[:1], "found float32[2, 20, 5], not float32[1, 20, 5]"),
        ("dets", lambda one: one[..., :4], "found float32[2, 20, 5], not float32[2, 20, 4]"),
        ("dets", lambda one: one[0], "found float32[2, 20, 5], not float32[20, 5]"),
    ],
)
def test_detections_of_another_form_are_refused(
    yolo: Subject, name: str, change: Change, told: str
) -> None:
    key = (0, "outputs", name)
    line = yolo.refused({key: change(yolo[key])})
    assert line.startswith(
        f"detections, sample 0: end2end and PyTorch give different tensors; '{name}': {told}"
    )


def test_exchanged_outputs_are_refused(yolo: Subject) -> None:
    exchanged = {DETS: yolo[LABELS], LABELS: yolo[DETS]}
    assert "end2end and PyTorch give different tensors" in yolo.refused(exchanged)


def test_no_detection_proves_nothing(yolo: Subject) -> None:
    nothing = yolo.maps(0, lambda one: np.full_like(one, -9))
    assert nothing[LABELS].size == 0 or (nothing[LABELS] < 0).all()
    told = yolo.refused(nothing)
    for picture in (0, 1):
        assert (
            f"detections, sample 0, picture {picture}: none survives, so the post-processing is "
            "not proven; expected at least one detection in every picture; "
            "give pictures with objects in 'proof.images', or other weights"
        ) in told


def test_no_detection_in_both_proves_nothing_either(yolo: Subject, tmp_path: Path) -> None:
    """end2end and PyTorch agree here, and still nothing is proven."""
    thousand = np.array(1000, np.int64)
    end2end = with_node(yolo.file, tmp_path / "none.onnx", "labels", "Sub", thousand)
    keys = [(number, "outputs", "labels") for number in (0, 1)]
    none = {key: yolo[key] - 1000 for key in keys}
    told = yolo.refused(none, end2end=end2end, segments=yolo.segments[:1]).splitlines()
    assert len(told) == 4
    assert all("none survives" in line for line in told)


@pytest.mark.parametrize("output", ["pred_maps.0", "pred_maps.2"])
def test_a_segment_must_give_the_same_bits(yolo: Subject, tmp_path: Path, output: str) -> None:
    cut = yolo.cut(yolo.segments[0])
    little = np.array(1e-6, np.float32)
    wrong = with_node(cut, tmp_path / "yolov3.onnx", output, "Add", little)
    told = yolo.refused(files={"yolov3.onnx": wrong}).splitlines()
    assert len(told) == 2  # one for each sample
    for number, line in enumerate(told):
        assert line.startswith(
            f"segment 'yolov3.onnx': its output '{output}' is not what end2end computes for sample "
            f"{number}; expected 'yolo_head:input.{output}' bit for bit; the largest difference is "
        )
        assert 0 < float(line.rsplit(" ", 1)[1]) < 1e-5


def test_a_post_processing_segment_must_give_the_same_bits(yolo: Subject, tmp_path: Path) -> None:
    cut = yolo.cut(yolo.segments[1])
    little = np.array(1e-6, np.float32)
    wrong = with_node(cut, tmp_path / "postprocess.onnx", "dets", "Add", little)
    told = yolo.refused(files={"postprocess.onnx": wrong})
    assert told.startswith("segment 'postprocess.onnx': its output 'dets' is not what end2end")


def test_a_segment_with_exchanged_outputs_is_refused(yolo: Subject, tmp_path: Path) -> None:
    model = onnx.load(yolo.cut(yolo.segments[0]))
    turned = {"pred_maps.0": "pred_maps.1", "pred_maps.1": "pred_maps.0"}
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [turned.get(name, name) for name in names]
    for value in model.graph.output:
        value.name = turned.get(value.name, value.name)
    onnx.save(model, tmp_path / "yolov3.onnx")
    told = yolo.refused(files={"yolov3.onnx": tmp_path / "yolov3.onnx"})
    assert "found float32[2, 255, 10, 10], not float32[2, 255, 5, 5]" in told


def test_a_detector_without_a_mark_at_its_end_is_matched_all_the_same(yolo: Subject) -> None:
    figures = yolo.prove(segments=yolo.segments[:1])
    assert {"dets", "labels"} < set(figures["matched_as_detections"])
    assert all(sample["outputs"] == {} for sample in figures["samples"])
