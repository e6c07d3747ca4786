"""`doit detect` and `doit calibrate` as a user runs them, and the files they leave."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from partition_core import CalibrationReader, OnnxRuntime, Pipeline, RunError
from partition_core.runtime.calibration import calibrate
from partition_core.runtime.detections import in_picture
from partition_core.runtime.preprocessing import Frame
from partition_core.runtime.samples import samples_in
from tests.projects import Scratch


@pytest.fixture
def photo(detector: Scratch, photograph: Path) -> Path:
    target = detector.folder / "photo.jpg"
    shutil.copy(photograph, target)
    return target


def test_detect_writes_boxes_in_the_picture_and_as_json(detector: Scratch, photo: Path) -> None:
    (expected,) = Pipeline(detector.folder / "build" / "yolov3").detect(photo)
    least = f"{np.median([one.score for one in expected]):.4f}"
    output = detector.built(
        "detect", "recipe=yolov3", "image=photo.jpg", "out=found", f"score={least}"
    )
    told = json.loads((detector.folder / "found" / "photo.detections.json").read_text())
    found = told.pop("detections")
    assert f"found/photo.detections.json: {len(found)} detections\n" in output
    assert told["image"] == "photo.jpg" and told["recipe"] == "yolov3"
    assert (told["width"], told["height"]) == (512, 600)
    assert list(told["artifacts"]) == ["yolov3.onnx", "postprocess.onnx"]
    assert len(found) == len(expected) > 10
    assert [one["name"] for one in found] == [one.name for one in expected]
    assert not found[0]["name"].isdigit()
    boxes = np.array([one["box"] for one in found])
    np.testing.assert_allclose(boxes, [one.box for one in expected], rtol=1e-5)
    assert boxes.min() >= 0 and (boxes.max(axis=0) <= [512, 600, 512, 600]).all()
    assert boxes[:, 3].max() > 192  # pixels of the photograph, not of the input

    drawn = cv2.imread(str(detector.folder / "found" / "photo.detections.jpg"))
    plain = cv2.imread(str(photo))
    assert drawn.shape == plain.shape
    differs = np.abs(drawn.astype(int) - plain).max(axis=2) > 60
    shown = [one for one in found if one["score"] >= float(least)]
    assert f"with a score of at least {least.rstrip('0')}" in output
    assert 0 < len(shown) < len(found)
    # Its weights are drawn from a seed, and whoever reads any of the three must know.
    note = "the weights are drawn from seed 0: labels and scores mean nothing"
    assert f"{note}\n" in output
    assert (told["seed"], told["note"]) == (0, note)
    assert Pipeline(detector.folder / "build" / "yolov3").seed == 0
    # A line of white letters on a black strip, where the photograph is dark.
    white, dark = ((one[-12:].min(axis=2) > 200).any(axis=0).sum() for one in (drawn, plain))
    assert white > dark + 100
    assert (drawn[-12:].max(axis=2) < 40).mean() > 0.5
    for one in shown:
        x1, y1, x2, _ = (round(value) for value in one["box"])
        edge = differs[max(0, y1 - 2) : y1 + 3, x1 + 1 : x2]
        assert edge.any(axis=0).mean() > 0.5, one


def test_detect_takes_a_folder_and_writes_beside_the_build(detector: Scratch, photo: Path) -> None:
    pictures = detector.folder / "several"
    pictures.mkdir()
    shutil.copy(photo, pictures / "a.jpg")
    cv2.imwrite(str(pictures / "a.png"), cv2.imread(str(photo))[:300])
    (pictures / "notes.txt").write_text("no picture")
    output = detector.built("detect", "image=several")
    assert output.count("drawn from seed 0") == 1
    names = {path.name for path in (detector.folder / "build" / "yolov3").glob("*.detections.*")}
    assert names == {f"a.{a}.detections.{b}" for a in ("jpg", "png") for b in ("jpg", "json")}
    detector.built("clean", "build:yolov3")
    assert {p.name for p in (detector.folder / "build" / "yolov3").iterdir()} == names
    detector.built()


def test_boxes_in_the_padding_and_filling_are_left_out() -> None:
    dets = np.zeros((1, 4, 5), np.float32)
    dets[0, :, 4] = 0.9, 0.8, 0.7, 0.0
    dets[0, :3, :4] = [[10, 10, 40, 50], [60, 10, 90, 20], [40, 10, 60, 80]]
    labels = np.array([[1, 1, 7, -1]])
    frame = Frame(width=100, height=200, x=0.5, y=0.25)  # 50 x 50 pixels of the input
    found = list(in_picture({"dets": dets, "labels": labels}, 0, frame, ["zero", "one"]))
    assert [(one.label, one.name, one.box) for one in found] == [
        (1, "one", (20.0, 40.0, 80.0, 200.0)),
        (7, "7", (80.0, 40.0, 100.0, 200.0)),
    ]


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        ("network", "no segment gives 'dets' and 'labels'"),
        ("tail", "'postprocess.onnx' needs 'pred_maps.0', which no segment gives"),
    ],
)
@pytest.mark.thorough
def test_end2end_detects_where_the_segments_do_not(
    parts: Scratch, detector_build: Path, photograph: Path, recipe: str, why: str
) -> None:
    output = parts.built("detect", f"recipe={recipe}", f"image={photograph}", "out=found")
    assert f"end2end.onnx ran instead of the segments: {why}\n" in output
    told = json.loads((parts.folder / "found" / "grace_hopper.detections.json").read_text())
    assert list(told["artifacts"]) == ["end2end.onnx"]
    whole = Pipeline(detector_build)
    assert whole.detects_by == ("yolov3.onnx", "postprocess.onnx")
    (expected,) = whole.detect(photograph)
    found = told["detections"]
    assert len(found) == len(expected) > 10
    assert [one["label"] for one in found] == [one.label for one in expected]
    np.testing.assert_allclose(
        [one["box"] for one in found], [one.box for one in expected], atol=0.01
    )


@pytest.mark.thorough
def test_a_changed_end2end_is_not_run_for_the_segments(
    parts: Scratch, photograph: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(parts.folder / "build" / "network", tmp_path / "network")
    (folder / "end2end.onnx").write_bytes((folder / "yolov3.onnx").read_bytes())
    pipeline = Pipeline(folder)
    assert pipeline.detects_by == ("end2end.onnx",)
    with pytest.raises(RunError, match=r"end2end\.onnx: its SHA-256 is .*build again"):
        pipeline.detect(photograph)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detect"], "doit detect: image= is missing; expected image=photo.jpg"),
        (["detect", "image=none.jpg"], "doit detect: there is no file 'none.jpg'; expected it in"),
        (["detect", "image=dodo.py"], "dodo.py: is not a picture that cv2 can read"),
        (["detect", "image=recipes"], "recipes: contains none; expected pictures (JPEG"),
        (["detect", "image=dodo.py", "score=high"], "score=high: not a score; expected a"),
        (["calibrate", "images=recipes"], "recipes: contains none; expected pictures (JPEG"),
        (["calibrate"], "doit calibrate: images= is missing"),
        (["calibrate", "images=recipes", "from=torch"], "from=torch: not a source of"),
        (["build", "image=dodo.py"], "expected this variable with `doit detect`"),
    ],
)
def test_mistakes_are_told_in_a_line_and_leave_nothing(
    detector: Scratch, arguments: list[str], message: str
) -> None:
    before = set(detector.files())
    run = detector.doit(*arguments)
    assert run.returncode != 0
    assert message in run.stdout
    assert "Traceback" not in run.stdout
    assert set(detector.files()) == before


def test_one_recipe_is_chosen(tiny: Scratch, photograph: Path) -> None:
    shutil.copy(tiny.folder / "recipes" / "tiny.yaml", tiny.folder / "recipes" / "other.yaml")
    try:
        run = tiny.doit("detect", f"image={photograph}")
    finally:
        (tiny.folder / "recipes" / "other.yaml").unlink()
    assert "takes one recipe at a time, but 2 are selected; expected recipe=…" in run.stdout
    run = tiny.doit("detect", "recipe=tiny", f"image={photograph}")
    assert "its segments give output; expected a detector's 'dets' and 'labels'" in run.stdout


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as content:
        return dict(content)


def test_calibration_data_is_what_enters_the_segments(detector: Scratch, photo: Path) -> None:
    pictures = detector.folder / "some"
    pictures.mkdir()
    shutil.copy(photo, pictures / "one.jpg")
    cv2.imwrite(str(pictures / "two.png"), cv2.imread(str(photo))[200:, ::-1])
    output = detector.built("calibrate", "recipe=yolov3", "images=some")
    folder = detector.folder / "build" / "yolov3" / "calibration"
    assert "calibration/yolov3: 2 files with input, " in output
    seen: dict[str, dict[str, dict[str, np.ndarray]]] = {"yolov3": {}, "postprocess": {}}

    def spying(file: str, name: str) -> object:
        def run(inputs: dict[str, np.ndarray]) -> object:
            seen[file][name] = inputs
            return plain.segment(f"{file}.onnx")(inputs)

        return run

    build = detector.folder / "build" / "yolov3"
    plain = Pipeline(build)
    for name in ("one.jpg", "two.png"):
        stem = Path(name).stem
        spied = Pipeline(build, segments={f"{f}.onnx": spying(f, stem) for f in seen})
        spied(spied.preprocess(pictures / name).inputs)
    for file, samples in seen.items():
        assert {path.stem for path in (folder / file).iterdir()} == {"one", "two"}
        for name, expected in samples.items():
            given = arrays(folder / file / f"{name}.npz")
            assert list(given) == list(expected)
            for key, array in expected.items():
                assert array.std() > 0.1
                assert given[key].dtype == array.dtype
                assert np.array_equal(given[key], array)
    index = json.loads((folder / "calibration.json").read_text())
    assert index["samples"] == [["one.jpg"], ["two.png"]]
    assert index["segments"]["postprocess.onnx"]["files"] == [
        "postprocess/one.npz",
        "postprocess/two.npz",
    ]
    (pictures / "one.jpg").unlink()
    mine = folder / "postprocess" / "mine.npz"
    shutil.copy(folder / "postprocess" / "two.npz", mine)
    detector.built("calibrate", "recipe=yolov3", "images=some")
    names = {path.name for path in (folder / "postprocess").iterdir()}
    assert names == {"two.npz", "mine.npz"}  # what a user put there stays


def test_calibration_data_from_pytorch_is_what_the_export_saw(
    detector: Scratch, photo: Path
) -> None:
    pictures = detector.folder / "one"
    pictures.mkdir()
    shutil.copy(photo, pictures / "photo.jpg")
    words = ("calibrate", "recipe=yolov3", "images=one")
    output = detector.built(*words, "out=eager", "from=pytorch")
    assert "eager/postprocess: 1 file with pred_maps.0, pred_maps.1, pred_maps.2, " in output
    detector.built(*words, "out=chain", "from=onnxruntime")
    differs = False
    for segment in ("yolov3", "postprocess"):
        eager, chain = (
            arrays(detector.folder / out / segment / "photo.npz") for out in ("eager", "chain")
        )
        assert list(eager) == list(chain)
        for name, array in chain.items():
            assert eager[name].dtype == array.dtype
            np.testing.assert_allclose(eager[name], array, atol=1e-4 * np.abs(array).max())
            differs |= not np.array_equal(eager[name], array)
    assert differs, "the two do not round alike: one of them was run twice"


def test_pytorch_is_not_asked_about_wrong_tensors(tiny: Scratch, image: np.ndarray) -> None:
    folder = tiny.folder / "tensors"
    folder.mkdir()
    words = ("calibrate", "recipe=tiny", "images=tensors", "out=written", "from=pytorch")
    np.savez(folder / "0.npz", picture=image)
    run = tiny.doit(*words)
    assert run.returncode != 0
    assert "'picture': unknown input of the chain" in run.stdout and "Traceback" not in run.stdout
    np.savez(folder / "0.npz", image=image)
    tiny.built(*words)
    assert list(arrays(tiny.folder / "written" / "body" / "0.npz")) == ["image"]


def test_tensors_calibrate_a_model_without_pictures(
    tiny_build: Path, image: np.ndarray, tmp_path: Path
) -> None:
    source = tmp_path / "inputs"
    source.mkdir()
    for number in range(3):
        np.savez(source / f"{number}.npz", image=image * number)
    pipeline = Pipeline(tiny_build, engine=OnnxRuntime(optimize=False))
    samples = samples_in(pipeline, source)
    assert list(calibrate(pipeline, samples, tmp_path / "out")) == ["0", "1", "2"]
    reader = CalibrationReader(tmp_path / "out" / "tail")
    assert len(reader) == len(list(reader)) == 3
    for _ in range(2):
        for number in range(3):
            expected = pipeline.segment("body.onnx")(image=image * number)
            given = reader.get_next()
            assert given is not None and list(given) == list(expected)
            assert all(np.array_equal(given[name], expected[name]) for name in expected)
        assert reader.get_next() is None
        reader.rewind()


def test_wrong_tensor_files_are_told(tiny_build: Path, tmp_path: Path) -> None:
    pipeline = Pipeline(tiny_build)
    with pytest.raises(RunError, match=r"contains none; expected `\.npz` files with image"):
        samples_in(pipeline, tmp_path)
    (tmp_path / "bad.npz").write_text("no arrays")
    with pytest.raises(RunError, match=r"bad\.npz: cannot be read: .*expected an `\.npz` file"):
        list(calibrate(pipeline, samples_in(pipeline, tmp_path), tmp_path / "out"))
    np.savez(tmp_path / "bad.npz", picture=np.zeros(3))
    with pytest.raises(RunError, match="'picture': unknown input of the chain"):
        list(calibrate(pipeline, samples_in(pipeline, tmp_path), tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").rglob("*.npz")] == []
    with pytest.raises(RunError, match=r"contains no `\.npz` file"):
        CalibrationReader(tmp_path / "out")
