"""Segments emitted for TensorRT: nothing runs its engine here, so the files themselves are read."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from partition_core.backends.backend import backend
from partition_core.backends.onnxruntime.backend import Plain
from partition_core.backends.tensorrt.backend import TensorRt
from partition_core.base.errors import ConversionError, RunError
from partition_core.base.recording import RecordedSample, Recording, save_recording

from .small_nets import FREE, MAPS, net


def trtexec(script: Path, folder: Path) -> list[str]:
    """Return the arguments that a script gives to trtexec, whose place another program takes."""
    (folder / "trtexec").write_text('#!/bin/sh\nfor each in "$@"; do echo "$each"; done\n')
    (folder / "trtexec").chmod(0o755)
    command = f"PATH={shlex.quote(str(folder))}:$PATH sh {shlex.quote(str(script))} --verbose"
    run = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def refusal(model: Path, engine: TensorRt) -> str:
    with pytest.raises(ConversionError) as caught:
        engine.convert(model, model.parent / "made")
    assert not list((model.parent / "made").iterdir())
    return str(caught.value)


@pytest.fixture(autouse=True)
def made(tmp_path: Path) -> Path:
    """Return the folder that files are emitted to."""
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


@pytest.mark.parametrize(("precision", "flags"), [("float32", []), ("float16", ["--fp16"])])
def test_a_segment_of_fixed_sizes_needs_no_shapes(
    precision: str, flags: list[str], made: Path, tmp_path: Path
) -> None:
    source = net(MAPS, tmp_path / "maps.onnx")
    model, script = backend("tensorrt", precision).convert(source, made).files
    assert (model.name, script.name) == ("maps.onnx", "build_engine.sh")
    assert trtexec(script, tmp_path) == [
        *("--onnx=maps.onnx", "--saveEngine=maps.engine", *flags, "--verbose"),
    ]
    assert "partition-core did not run it" in script.read_text()
    assert str(tmp_path) not in script.read_text()


def test_the_file_has_its_weights_inside_and_computes_the_same(made: Path, tmp_path: Path) -> None:
    source = onnx.load(net(MAPS, tmp_path / "maps.onnx"))
    source.opset_import.add(domain="partition", version=1)
    onnx.save(source, tmp_path / "maps.onnx", save_as_external_data=True, size_threshold=100)
    model, _ = backend("tensorrt", "float16").convert(tmp_path / "maps.onnx", made).files
    emitted = onnx.load(model, load_external_data=False)
    assert [each.domain for each in emitted.opset_import] == [""]
    assert not any(each.external_data for each in emitted.graph.initializer)
    picture = {"x": np.random.default_rng(0).normal(size=(1, 3, 16, 24)).astype(np.float32)}
    ours, theirs = (Plain("m").load(file)(picture) for file in (model, tmp_path / "maps.onnx"))
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)
    again = tmp_path / "again"
    again.mkdir()
    for file in backend("tensorrt", "float16").convert(tmp_path / "maps.onnx", again).files:
        assert file.read_bytes() == (made / file.name).read_bytes()


def recorded(folder: Path, *shapes: tuple[int, ...]) -> Path:
    samples = (RecordedSample({"picture": np.zeros(shape, np.float32)}, {}, {}) for shape in shapes)
    save_recording(Recording(tuple(samples), is_traced=False), folder / "recording.npz")
    return folder / "recording.npz"


WHOLE = FREE.replace(" x)", " picture)").replace("(x,", "(picture,")


def test_free_sizes_are_those_of_the_proof(made: Path, tmp_path: Path) -> None:
    end2end = net(WHOLE, tmp_path / "end2end.onnx")
    recording = recorded(tmp_path, (2, 3, 32, 64), (1, 3, 64, 48), (5, 3, 32, 64))
    engine = TensorRt("float32").sized_by(end2end, recording)
    _, script = engine.convert(net(FREE, tmp_path / "free.onnx"), made).files
    assert trtexec(script, tmp_path)[2:] == [
        *("--minShapes=x:1x3x32x48", "--optShapes=x:2x3x32x64", "--maxShapes=x:5x3x64x64"),
        "--verbose",
    ]


def test_a_size_that_no_input_of_the_model_has_is_refused(tmp_path: Path) -> None:
    end2end = net(WHOLE, tmp_path / "end2end.onnx")
    engine = TensorRt().sized_by(end2end, recorded(tmp_path, (1, 3, 32, 32)))
    text = FREE.replace("[n, 3, h, w] x", "[n, 3, rows, w] x")
    assert refusal(net(text, tmp_path / "other.onnx"), engine) == (
        "segment 'other.onnx': its input 'x' is float32[n, 3, rows, w], and of rows no size is "
        "known, which an engine needs; expected free sizes that an input of the model has; "
        "give the segment static sizes by its 'inputs'"
    )
    odd = net(FREE.replace(" x)", ' "x:0")').replace("(x,", '("x:0",'), tmp_path / "odd.onnx")
    assert "trtexec cannot be given the sizes of its input 'x:0'" in refusal(odd, engine)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "net (float[1, 4] x) => (float[1, 4] y) { k = vendor.Magic (x) y = vendor.Gate (k) }",
            "TensorRT's parser has no vendor.Gate, vendor.Magic; expected operators of ONNX's own "
            "domain; cut in front of it",
        ),
        (
            "net (double[1, 4] x) => (double[1, 4] y) { y = Exp (x) }",
            "its input 'x' is float64[1, 4]; expected one of 'bfloat16', 'bool', ",
        ),
        (
            "net (float[1, 4] x) => (float[1, 4] y) { y = partition.Mark (x) }",
            "it holds 1 Mark node, ",
        ),
    ],
)
def test_what_the_parser_cannot_read_is_refused(text: str, words: str, tmp_path: Path) -> None:
    assert words in refusal(net(text, tmp_path / "odd.onnx"), TensorRt())


def test_an_opset_that_is_too_new_is_refused(tmp_path: Path) -> None:
    model = onnx.load(net(MAPS, tmp_path / "maps.onnx"))
    model.opset_import[0].version = 23
    onnx.save(model, tmp_path / "maps.onnx")
    assert refusal(tmp_path / "maps.onnx", TensorRt()) == (
        "segment 'maps.onnx': it is in opset 23; expected one from 9 to 22 for TensorRT"
    )


def test_what_is_missing_is_named_and_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "partition_core.backends.tensorrt.backend"
    monkeypatch.setattr(f"{module}.find_spec", lambda _: None)
    monkeypatch.setattr(f"{module}._GPUS", Path("/nowhere"))
    assert TensorRt().missing() == (
        "partition-core builds no engine: the package 'tensorrt' is not installed and there is no "
        "NVIDIA GPU; `emit: true` publishes what a device builds the engine from"
    )
    monkeypatch.setattr(f"{module}.find_spec", lambda _: object())
    monkeypatch.setattr(f"{module}._GPUS", Path("/"))
    assert TensorRt().missing().startswith("partition-core builds no engine; ")
    with pytest.raises(RunError, match="not run here"):
        TensorRt().load(Path("maps.onnx"), Path("build_engine.sh"))
