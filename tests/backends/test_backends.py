"""What the rooms of the backends share, and that a second one needs a folder and a row alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from partition_core import OnnxRuntime, Pipeline, RunError
from partition_core.backends.backend import BACKENDS, Backend, backend
from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.array_sets import load_sets, save_sets
from partition_core.base.errors import BuildError
from partition_core.proof.chained import ChainRun, run_chain
from partition_core.report.measuring import measured

from .build import SAMPLES, Build
from .toy.backend import Toy

FOLDER = Path(__file__).parent


def proven(build: Build, folder: Path, backend_of: Callable[..., Backend]) -> ChainRun:
    nothing: frozenset[str] = frozenset()
    return run_chain(build.chain, build.wholes, SAMPLES, nothing, str, folder, backend_of)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_row_of_the_table_is_a_room(name: str) -> None:
    assert backend(name).name == name
    assert isinstance(backend(name), Backend)
    assert list(backend(name).entries()) != []


def test_every_room_has_a_row() -> None:
    rooms = Path(sys.modules[backend.__module__].__file__ or "").parent.glob("*/backend.py")
    assert {path.parent.name for path in rooms} == set(BACKENDS)


def test_a_backend_says_what_its_results_depend_on() -> None:
    assert ("onnxruntime", version("onnxruntime")) in list(OnnxRuntime().entries())


def test_another_name_is_refused_before_anything_is_imported() -> None:
    with pytest.raises(RunError) as caught:
        backend("onxruntime")
    assert str(caught.value) == (
        "backend 'onxruntime': there is no such backend; expected one of 'ncnn', 'onnxruntime', "
        "'openvino'; did you mean 'onnxruntime'?"
    )


def test_a_precision_that_a_backend_lacks_is_refused() -> None:
    with pytest.raises(RunError) as caught:
        backend("onnxruntime", "float61")
    assert str(caught.value) == (
        "backend 'onnxruntime': it has no precision 'float61'; expected one of 'float32'; "
        "did you mean 'float32'?"
    )


def test_naming_a_backend_imports_nothing_to_run_it_with() -> None:
    program = (
        "import sys\n"
        "from partition_core.backends.backend import BACKENDS, backend\n"
        "for name in BACKENDS:\n"
        "    list(backend(name).entries())\n"
        "    backend(name).missing()\n"
        "heavy = {'ncnn', 'numpy', 'onnx', 'onnxruntime', 'openvino', 'pnnx', 'torch'}\n"
        "assert not heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.usefixtures("toy")
def test_a_second_backend_is_a_folder_and_a_row() -> None:
    made = backend("toy")
    assert (made.name, list(made.entries())) == ("toy", [("toy", "1.0")])


def test_segments_are_converted_and_proven_in_their_backend(build: Build, tmp_path: Path) -> None:
    run = proven(build, tmp_path, lambda *_: Toy())
    assert run.problems == []
    assert run.moves
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.toy", "b.toy"]


def test_each_segment_may_have_another_backend(build: Build, tmp_path: Path) -> None:
    mixed = proven(build, tmp_path, lambda file, *_: Toy() if file == "a.onnx" else OnnxRuntime())
    assert mixed.problems == []
    assert [path.name for path in tmp_path.iterdir()] == ["a.toy"]


def test_what_does_not_agree_is_refused_with_what_was_agreed(build: Build, tmp_path: Path) -> None:
    (first, *_) = proven(build, tmp_path, lambda *_: Toy(off=1e-3)).problems
    assert str(first).startswith(
        "segment 'a.onnx': its output 'y' is not what end2end computes for sample 0; expected "
        "'y:at' within a relative L2 of 0.0002; the largest difference is "
    )


def test_a_proof_in_onnxruntime_takes_no_difference_at_all(build: Build, tmp_path: Path) -> None:
    assert proven(build, tmp_path, Plain).problems == []
    assert str(Plain("x").agreement()) == "bit for bit"
    assert OnnxRuntime(optimize=False).agreement() == Plain("x").agreement()
    almost = Toy(off=2e-7)  # of a float32, the last bit

    class Strict(Toy):
        agreement = Plain.agreement

    assert proven(build, tmp_path, lambda *_: almost).problems == []
    (first, *_) = proven(build, tmp_path, lambda *_: Strict(off=2e-7)).problems
    assert "expected 'y:at' bit for bit; the largest difference is " in str(first)


def test_optimized_segments_agree_within_what_their_backend_says(
    build: Build, tmp_path: Path
) -> None:
    assert proven(build, tmp_path, lambda *_: OnnxRuntime()).problems == []


def test_a_pipeline_runs_in_any_backend(build: Build) -> None:
    exact = Pipeline(build.folder, engine=OnnxRuntime(optimize=False))(SAMPLES[0])
    for name, array in build.wholes[0].plain.items():
        assert exact[name].tobytes() == array.tobytes()
    for pipeline in (
        Pipeline(build.folder, engine=Toy()),
        Pipeline(build.folder, segments={"b.onnx": Toy()}),
    ):
        given = pipeline(SAMPLES[0])
        assert given["z"].tobytes() != exact["z"].tobytes()
        assert np.allclose(given["z"], exact["z"], rtol=1e-3)
        assert given["best"] == exact["best"]
        assert pipeline.end_profiling() == {}
    alone = Pipeline(build.folder, engine=Toy()).end2end(SAMPLES[0])
    assert alone["z"].tobytes() != exact["z"].tobytes()


def test_any_backend_is_measured_in_a_process_of_its_own(build: Build, tmp_path: Path) -> None:
    (file,) = Toy().convert(build.chain.files["a.onnx"], tmp_path).files
    save_sets(SAMPLES, tmp_path / "fed.npz")
    program = (
        "import sys\n"
        "from partition_core import backends\n"
        "from partition_core.backends import backend, measured_run\n"
        f"backends.__path__.append({str(FOLDER)!r})\n"
        "backend.BACKENDS += ('toy',)\n"
        "measured_run.main(*sys.argv[1:])\n"
    )
    given_to = ("toy", tmp_path / "fed.npz", tmp_path / "given.npz", file)
    told = subprocess.run(
        [sys.executable, "-c", program, *map(str, given_to)], check=True, capture_output=True
    )
    figures = json.loads(told.stdout)
    assert figures["load"] > 0
    assert len(figures["runs"]) >= 2
    given = load_sets(tmp_path / "given.npz")
    for sample, outputs in zip(SAMPLES, given, strict=True):
        expected = Toy().load(file)(sample)["y"]
        assert outputs["y"].tobytes() == expected.tobytes()


def test_what_cannot_be_measured_is_told_on_a_line(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(BuildError) as caught:
        measured("broken.onnx", tmp_path / "broken.onnx", SAMPLES, tmp_path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(
        "broken.onnx: it cannot be run in onnxruntime: broken.onnx: onnxruntime cannot load it; "
    )
