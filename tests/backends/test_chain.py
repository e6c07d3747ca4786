"""The chain as values: its manifest written and read, and the one walk along its segments."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partition_core import OnnxRuntime, Pipeline, RunError
from partition_core.backends.backend import backend
from partition_core.base.disk import file_digest
from partition_core.base.fingerprint import Fingerprint
from partition_core.base.recording import RecordedSample, Recording
from partition_core.chain.manifest import Former, composed, former_manifest, read_manifest
from partition_core.chain.run import add, feeds_of, initial_values, walk
from partition_core.proof.chained import run_chain
from partition_core.report.measuring import Measured, measure

from .build import BOUNDARIES, EDGES, SAMPLES, Build, built

GAP = tuple(replace(e, producer="", output="") if e.consumer == "b.onnx" else e for e in EDGES)
PACKAGE = Path(backend.__code__.co_filename).parents[1]


@pytest.fixture(scope="module")
def gap(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A build whose second segment takes what no segment gives."""
    return built(tmp_path_factory.mktemp("gap"), GAP)


def test_what_is_written_is_read_again(build: Build) -> None:
    manifest = read_manifest(build.folder)
    assert manifest.segments == BOUNDARIES
    assert manifest.edges == EDGES
    assert manifest.digests == {
        name: {name: file_digest(build.folder / name)}
        for name in ("end2end.onnx", "a.onnx", "b.onnx")
    }


def test_the_keys_of_a_manifest_keep_their_order(build: Build) -> None:
    assert list(json.loads(build.manifest)) == [
        *("format", "recipe", "artifacts", "targets", "proof", "segments", "edges", "coverage"),
        *("export", "summary", "fingerprints"),
    ]


def test_weights_of_their_own_have_a_digest_too(build: Build, tmp_path: Path) -> None:
    plain = json.loads(build.manifest)
    text = composed(
        recipe=plain["recipe"],
        artifacts={"end2end.onnx": {"end2end.onnx": ("ab", 1), "w.data": ("cd", 2)}},
        targets=[],
        proven={"segments": [], "edges": []},
        export={},
        summary="",
        fingerprints={},
    )
    assert json.loads(text)["artifacts"]["end2end.onnx"] == {
        "sha256": "ab",
        "bytes": 1,
        "weights": {"file": "w.data", "sha256": "cd", "bytes": 2},
    }
    (tmp_path / "manifest.json").write_text(text)
    digests = read_manifest(tmp_path).digests
    assert digests == {"end2end.onnx": {"end2end.onnx": "ab", "w.data": "cd"}}


PARTS: dict[str, Any] = {
    "artifacts": ("a.onnx", "b.onnx", "end2end.onnx"),
    "keys": ("one",),
    "fetched": ("ef",),
    "fingerprints": {"cut": Fingerprint((("python", "3.11"),))},
    "targets": {"a.ncnn": ("a.ncnn.param", "a.ncnn.bin")},
}
FORMER = {
    "artifacts": {name: {} for name in PARTS["artifacts"]},
    "export": {"checkpoint_sha256": "ef"},
    "fingerprints": {"cut": {"key": "one", "entries": [["python", "3.11"]]}},
    "targets": [{"folder": "a.ncnn", "files": {"a.ncnn.param": {}, "a.ncnn.bin": {}}}],
}


def parts(former: Former) -> dict[str, Any]:
    return {name: getattr(former, name) for name in PARTS}


@pytest.mark.parametrize("wrong", [None, 7, "text", [7], {"cut": 7}, {"cut": {"entries": [1]}}])
@pytest.mark.parametrize("key", FORMER)
def test_what_is_damaged_in_a_former_manifest_takes_nothing_else_with_it(
    tmp_path: Path, key: str, wrong: object
) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(FORMER))
    assert parts(former_manifest(tmp_path)) == PARTS
    (tmp_path / "manifest.json").write_text(json.dumps({**FORMER, key: wrong}))
    read = parts(former_manifest(tmp_path))
    told = {"artifacts": {"artifacts"}, "export": {"fetched"}, "targets": {"targets"}}
    lost = told.get(key, {"keys", "fingerprints"})
    assert {name: read[name] for name in PARTS if name not in lost} == {
        name: part for name, part in PARTS.items() if name not in lost
    }


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null"])
def test_a_former_manifest_that_is_none_says_nothing(tmp_path: Path, text: str) -> None:
    nothing = {"artifacts": (), "keys": (), "fetched": (), "fingerprints": {}, "targets": {}}
    assert parts(former_manifest(tmp_path)) == nothing
    (tmp_path / "manifest.json").write_text(text)
    assert parts(former_manifest(tmp_path)) == nothing


def test_a_segment_takes_what_was_added_and_the_rest_is_lent() -> None:
    lent = np.zeros((1, 8), np.float32)
    made = initial_values(SAMPLES)
    met = []
    for segment, fed in walk(BOUNDARIES, feeds_of(EDGES), made, lambda number, _: lent + number):
        met.append((segment.save_file, [{**one} for one in fed]))
        if segment.save_file == "a.onnx":
            add(made, segment, [{"y": SAMPLES[1]["x"]}, {}])  # of the second nothing goes on
    (first, fed_first), (second, fed_second) = met
    assert (first, second) == ("a.onnx", "b.onnx")
    assert [one["x"] is sample["x"] for one, sample in zip(fed_first, SAMPLES, strict=True)] == [
        True,
        True,
    ]
    assert fed_second[0]["y"] is SAMPLES[1]["x"]
    assert np.array_equal(fed_second[1]["y"], lent + 1)


def moved(build: Build) -> tuple[list[Any], list[np.ndarray]]:
    """Return what end2end gave, but with another tensor between the segments."""
    others = [one["x"] * np.float32(0.5) for one in SAMPLES]
    wholes = [
        replace(whole, marks={**whole.marks, "y:at": other})
        for whole, other in zip(build.wholes, others, strict=True)
    ]
    return wholes, others


def test_the_proof_the_measuring_and_a_pipeline_fill_a_gap_in_the_same_way(
    gap: Build, tmp_path: Path
) -> None:
    wholes, others = moved(gap)
    exact = OnnxRuntime(optimize=False)
    expected = [exact.load(gap.chain.files["b.onnx"])({"y": other}) for other in others]
    piped = [
        Pipeline(gap.folder, engine=exact)(sample, y=other)
        for sample, other in zip(SAMPLES, others, strict=True)
    ]
    fed: dict[str, Any] = {}

    def run(name: str, path: Path, samples: Sequence[Any]) -> tuple[Measured, list[Any]]:
        fed[name] = samples
        loaded = exact.load(path)
        return Measured(0.0, (0.0,), None, ""), [loaded(one) for one in samples]

    samples = tuple(
        RecordedSample(sample, whole.marks, whole.outputs)
        for sample, whole in zip(SAMPLES, wholes, strict=True)
    )
    recording = Recording(samples, is_traced=False)
    figures = measure(gap.folder / "end2end.onnx", gap.chain, recording, (), run)
    assert [one["y"] is other for one, other in zip(fed["b.onnx"], others, strict=True)] == [
        True,
        True,
    ]
    for number, outputs in enumerate(expected):
        for name, array in outputs.items():
            assert piped[number][name].tobytes() == array.tobytes()
            assert figures.chained[number][name].tobytes() == array.tobytes()
    ran = run_chain(gap.chain, wholes, SAMPLES, frozenset(), str, tmp_path)
    told = " ".join(map(str, ran.problems))
    assert "segment 'a.onnx': its output 'y' is not what end2end computes" in told
    tail = replace(gap.chain, boundaries=BOUNDARIES[1:])
    marked = [
        replace(whole, marks={**whole.marks, "z:at": given["z"], "best:at": given["best"]})
        for whole, given in zip(wholes, expected, strict=True)
    ]
    assert run_chain(tail, marked, SAMPLES, frozenset(), str, tmp_path).problems == []


def test_a_pipeline_asks_for_what_no_segment_gives(gap: Build) -> None:
    pipeline = Pipeline(gap.folder)
    assert dict(pipeline.gaps) == {"y": "b.onnx"}
    with pytest.raises(RunError, match=r"input 'y': segment 'b.onnx' needs it and no segment"):
        pipeline(SAMPLES[0])


def test_the_ends_of_a_chain_are_named_in_one_module() -> None:
    told = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in ("end2end input", "end2end output")
    }
    assert told == {"chain/pieces.py"}


@pytest.mark.parametrize("name", ["Edge", "SegmentBoundary", "Chain"])
def test_a_piece_has_one_type(name: str) -> None:
    classes = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    assert classes == ["chain/pieces.py"]
