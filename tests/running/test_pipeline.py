"""A build folder run from Python: the chain, its segments, what replaces them, and mistakes."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from partition_core import OnnxRuntime, Pipeline, RunError

EXACT = OnnxRuntime(optimize=False)


@functools.cache
def session(folder: Path) -> onnxruntime.InferenceSession:
    """Return the end2end model of a build, loaded without optimizations and without our code."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        str(folder / "end2end.onnx"), options, providers=["CPUExecutionProvider"]
    )


def whole(folder: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what end2end gives."""
    names = [value.name for value in session(folder).get_outputs()]
    return dict(zip(names, session(folder).run(None, inputs), strict=True))


def test_importing_and_making_a_pipeline_takes_no_torch(tiny_build: Path) -> None:
    program = (
        "import sys, partition_core\n"
        "heavy = {'numpy', 'onnxruntime', 'cv2', 'onnx', 'torch', 'doit'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "partition_core.Pipeline(sys.argv[1])\n"
        "assert heavy & set(sys.modules) == {'numpy', 'onnxruntime'}, sys.modules.keys() & heavy\n"
    )
    subprocess.run([sys.executable, "-c", program, tiny_build], check=True)


def test_ten_pictures_give_bit_for_bit_what_end2end_gives(
    detector_build: Path, photograph: Path
) -> None:
    import cv2

    photo = cv2.imread(str(photograph))
    crops = [photo[40 * k : 40 * k + 240, 25 * k : 25 * k + 280] for k in range(5)]
    pipeline = Pipeline(detector_build, engine=EXACT)
    counts = []
    for picture in [*crops, *(crop[:, ::-1] for crop in crops)]:
        inputs = pipeline.preprocess(np.ascontiguousarray(picture)).inputs
        ours, theirs = pipeline(inputs), whole(detector_build, inputs)
        assert list(ours) == ["dets", "labels"]
        assert ours["dets"].shape[1] > 5
        for name in ours:
            assert ours[name].dtype == theirs[name].dtype
            assert np.array_equal(ours[name], theirs[name])
        counts.append(ours["dets"].tobytes())
    assert len(set(counts)) == 10


def test_inputs_go_by_name_or_in_a_mapping(tiny_build: Path, image: np.ndarray) -> None:
    pipeline = Pipeline(tiny_build, engine=EXACT)
    expected = whole(tiny_build, {"image": image})
    named, mapped = pipeline(image=image), pipeline({"image": image})
    assert list(named) == list(mapped) == list(expected)
    (name,) = expected
    assert np.array_equal(named[name], expected[name])
    assert np.array_equal(mapped[name], expected[name])
    assert [(t.name, t.dtype, t.dims) for t in pipeline.inputs] == [
        ("image", "float32", (1, 3, 32, 32))
    ]
    assert [t.name for t in pipeline.outputs] == [name]


def test_a_segment_is_called_alone(tiny_build: Path, image: np.ndarray) -> None:
    pipeline = Pipeline(tiny_build, engine=EXACT)
    maps = pipeline.segment("body.onnx")(image=image)
    assert [one.save_file for one in pipeline.segments] == ["body.onnx", "tail.onnx"]
    assert [array.shape for array in maps.values()] == [(1, 6, 16, 16), (1, 6, 8, 8)]
    decoded = pipeline.segment("tail.onnx")(maps)
    assert np.array_equal(*decoded.values(), *pipeline(image=image).values())


@pytest.mark.parametrize("as_list", [False, True])
def test_a_callable_takes_the_place_of_a_segment(
    tiny_build: Path, image: np.ndarray, as_list: bool
) -> None:
    seen = []

    def decode(inputs: dict[str, np.ndarray]) -> object:
        seen.append({name: array.shape for name, array in inputs.items()})
        flat = [1 / (1 + np.exp(-one.reshape(1, 6, -1))) for one in inputs.values()]
        joined = np.concatenate(flat, axis=2)
        return [joined] if as_list else {name: joined}

    plain = Pipeline(tiny_build)
    (name,) = (tensor.name for tensor in plain.segment("tail.onnx").outputs)
    replaced = Pipeline(tiny_build, segments={"tail.onnx": decode})
    (ours,), (theirs,) = replaced(image=image).values(), plain(image=image).values()
    assert seen == [{"maps.0": (1, 6, 16, 16), "maps.1": (1, 6, 8, 8)}]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert ours.std() > 0.01


def test_a_replaced_segment_needs_no_file(
    tiny_build: Path, image: np.ndarray, tmp_path: Path
) -> None:
    shutil.copytree(tiny_build, tmp_path / "part", ignore=shutil.ignore_patterns("tail*", "end*"))
    shape = (1, 6, 320)
    pipeline = Pipeline(
        tmp_path / "part", segments={"tail.onnx": lambda maps: [np.ones(shape, np.float32)]}
    )
    assert [array.sum() for array in pipeline(image=image).values()] == [6 * 320]
    with pytest.raises(RunError, match=r"tail.onnx: cannot be read: No such file.*or pass another"):
        Pipeline(tmp_path / "part")


GOOD = np.zeros((1, 6, 320), np.float32)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda name: {name: GOOD.astype(np.float64)}, r"its dtype is float64; expected float32\["),
        (lambda name: {name: GOOD[:, :, 1:]}, r"its dims are \[1, 6, 319\]; expected .*320\]"),
        (lambda name: {name: GOOD[0]}, r"its dims are \[6, 320\]"),
        (lambda name: {name: GOOD.tolist()}, r"is a list; expected .*as a numpy array"),
        (lambda name: {}, r"is missing; expected float32\[1, 6, 320\]"),
        (lambda name: {name: GOOD, name + "x": GOOD}, r"unknown name; .* did you mean"),
        (lambda name: [GOOD, GOOD], r"its runtime returned a list of 2; expected a mapping with"),
        (lambda name: GOOD, r"its runtime returned a ndarray; expected a mapping with"),
        (lambda name: None, r"its runtime returned a NoneType; expected a mapping"),
    ],
)
def test_what_a_callable_returns_is_checked(
    tiny_build: Path, image: np.ndarray, made: object, message: str
) -> None:
    pipeline = Pipeline(tiny_build, segments={"tail.onnx": lambda maps: made(name)})
    (name,) = (tensor.name for tensor in pipeline.segment("tail.onnx").outputs)
    with pytest.raises(RunError, match=r"segment 'tail\.onnx'.*" + message):
        pipeline(image=image)


def test_equal_free_sizes_of_a_segment_are_equal(detector_build: Path, photograph: Path) -> None:
    def uneven(maps: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [np.zeros((1, 3, 5), np.float32), np.zeros((1, 4), np.int64)]

    pipeline = Pipeline(detector_build, segments={"postprocess.onnx": uneven})
    with pytest.raises(RunError, match=r"'labels': its dim 1 is 4; .* is 3 in .*'dets'"):
        pipeline(pipeline.preprocess(photograph).inputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: {"image": x.astype(np.float16)}, r"'image': its dtype is float16; .*astype"),
        (lambda x: {"image": x[:, :, :16]}, r"'image': its dims are \[1, 3, 16, 32\]; expected"),
        (lambda x: {"imgae": x}, r"'imgae': unknown input of the chain; .*did you mean 'image'"),
        (lambda x: {}, r"'image': is missing; .*the chain takes image"),
    ],
)
def test_wrong_inputs_are_told(
    tiny_build: Path, image: np.ndarray, change: object, message: str
) -> None:
    with pytest.raises(RunError, match=message):
        Pipeline(tiny_build)(change(image))


def test_what_no_segment_gives_comes_from_the_caller(
    gap_build: Path, tiny_build: Path, image: np.ndarray
) -> None:
    pipeline = Pipeline(gap_build, engine=EXACT)
    assert [tensor.name for tensor in pipeline.inputs] == ["maps.0", "maps.1"]
    with pytest.raises(RunError, match=r"'maps\.1': segment 'tail\.onnx' needs it and no segment"):
        pipeline({"maps.0": np.zeros((1, 6, 16, 16), np.float32)})
    maps = Pipeline(tiny_build, engine=EXACT).segment("body.onnx")(image=image)
    (expected,) = whole(tiny_build, {"image": image}).values()
    (given,) = pipeline({**maps, "image": image}).values()  # the input of end2end does no harm
    assert np.array_equal(given, expected)


def test_each_segment_has_its_own_providers_and_options(
    tiny_build: Path, image: np.ndarray, tmp_path: Path
) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    pipeline = Pipeline(
        tiny_build,
        segments={
            "body.onnx": OnnxRuntime(profile=tmp_path / "traces"),
            "tail.onnx": OnnxRuntime(options=options),
        },
    )
    pipeline(image=image)
    files = pipeline.end_profiling()
    assert list(files) == ["body.onnx"]
    events = json.loads(files["body.onnx"].read_text())
    assert sum(event["name"].endswith("_kernel_time") for event in events) > 3
    assert files["body.onnx"].parent == tmp_path / "traces"
    with pytest.raises(RunError, match="'CUDAExecutionProvidr': this onnxruntime does not have it"):
        Pipeline(tiny_build, engine=OnnxRuntime(providers=["CUDAExecutionProvidr"]))
    with pytest.raises(RunError, match="expected only one of the two"):
        Pipeline(tiny_build, engine=OnnxRuntime(options=options, optimize=False))


def test_a_changed_file_is_refused_unless_it_is_wanted(
    tiny_build: Path, image: np.ndarray, tmp_path: Path
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(tiny_build, folder)
    content = (folder / "body.onnx").read_bytes()
    (folder / "body.onnx").write_bytes(content + b"\x12\x00")  # another producer name
    with pytest.raises(RunError, match=r"body\.onnx: its SHA-256 is .*verify=False"):
        Pipeline(folder)
    assert Pipeline(folder, verify=False)(image=image)
    (folder / "body.onnx").write_bytes(content[:100])
    with pytest.raises(RunError, match=r"body\.onnx: onnxruntime cannot load it"):
        Pipeline(folder, verify=False)


def test_wrong_folders_and_names_are_told(tiny_build: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"manifest\.json: cannot be read: No such file"):
        Pipeline(tmp_path)
    for text in ("{", "[]", '{"format": 2}', '{"format": 1, "export": {}}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(RunError, match="is not a manifest that this version can read"):
            Pipeline(tmp_path)
    with pytest.raises(RunError, match=r"segment 'tial\.onnx'.*did you mean 'tail\.onnx'"):
        Pipeline(tiny_build, segments={"tial.onnx": OnnxRuntime()})
    with pytest.raises(RunError, match="a str cannot run it"):
        Pipeline(tiny_build, segments={"tail.onnx": "trt"})
    with pytest.raises(
        RunError, match=r"no such segment in the build; expected one of 'body\.onnx'"
    ):
        Pipeline(tiny_build).segment("x")


def test_a_manifest_that_names_a_file_elsewhere_is_refused(
    tiny_build: Path, tmp_path: Path
) -> None:
    text = (tiny_build / "manifest.json").read_text().replace("body.onnx", "../body.onnx")
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RunError, match="a file is outside the folder"):
        Pipeline(tmp_path)
