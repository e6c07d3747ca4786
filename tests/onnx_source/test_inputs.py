"""The inputs on which an ONNX file is proven: tables, ranges, values and files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from partition_core.base.folders import RECORDING
from partition_core.base.recording import RecordedSample, load_recording
from partition_core.build.run import Run

from .projects import Project

TEXT = """\
<ir_version: 10, opset_import: ["" : 20]>
text (int64[n, length] ids, int64[n, length] kinds, int64 rate, float[n, length] gain)
  => (float[n, length, 4] y)
{
  words = Gather(word_table, ids)
  kind = Gather(kind_table, kinds)
  sum = Add(words, kind)
  ratef = Cast <to: int = 1> (rate)
  last = Constant <value_ints: ints = [-1]> ()
  gains = Unsqueeze(gain, last)
  scaled = Div(sum, ratef)
  y = Mul(scaled, gains)
}
"""
SHAPES = "ids: {shape: [2, 6]}, kinds: {shape: [2, 6]}, gain: {shape: [2, 6], range: [0.5, 2]}"
RECIPE = """\
model: {source: onnx, path: text.onnx}
partition: {save_file: words.onnx, from: [ids, kinds], to: [sum]}
"""
AT = "recipes/x.yaml"


def text_file(text: str = TEXT) -> onnx.ModelProto:
    model = onnx.parser.parse_model(text)
    for name, rows in (("word_table", 500), ("kind_table", 3)):
        table = np.random.default_rng(rows).normal(size=(rows, 4)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(table, name))
    return model


def exported(project: Project) -> tuple[tuple[RecordedSample, ...], dict[str, object]]:
    """Export recipe `x`; return its samples and its notes."""
    (build,) = Run(project.folder, ["x"]).builds
    build.carry_out("export", lambda _: None)
    result = build.plan.result_of("export")
    assert result is not None
    path = build.plan.project.store.path_of(result.files[RECORDING])
    assert path is not None
    return load_recording(path).samples, dict(result.notes)


@pytest.fixture
def text(project: Project) -> Project:
    """Return a project with a file that has two tables."""
    project.save(text_file(), "text.onnx")
    return project


def export_with(inputs: str) -> str:
    return f"{RECIPE}export: {{inputs: {{{inputs}}}}}\n"


def test_the_tables_of_a_file_tell_what_its_indexes_are_drawn_from(text: Project) -> None:
    text.recipe(export_with(f"{SHAPES}, rate: {{value: 16000}}"))
    samples, notes = exported(text)
    assert notes["index_ranges"] == {"ids": [0, 499], "kinds": [0, 2]}
    assert "drawn_from_0_and_1" not in notes
    for one in samples[:2]:
        ids, gain = (one.inputs[name] for name in ("ids", "gain"))
        assert {0, 499} < set(ids.flat) and len(set(ids.flat)) > 9
        assert set(one.inputs["kinds"].flat) == {0, 1, 2}
        assert one.inputs["rate"].shape == ()
        assert one.inputs["rate"] == 16000
        assert (gain.min(), gain.max()) == (0.5, 2)
    assert (samples[0].inputs["ids"] != samples[1].inputs["ids"]).any()


def test_what_no_table_tells_is_0_and_1_and_the_build_says_so(project: Project) -> None:
    weighted = """\
<ir_version: 10, opset_import: ["" : 20]>
weighted (float[2, 6] x, int64[2, 6] counts, bool[2, 6] seen) => (float[2, 6] y)
{
  some = Cast <to: int = 1> (counts)
  product = Mul(x, some)
  zero = Sub(x, x)
  y = Where(seen, product, zero)
}
"""
    project.save(onnx.parser.parse_model(weighted), "weighted.onnx")
    recipe = (
        "model: {source: onnx, path: weighted.onnx}\n"
        "partition: {save_file: a.onnx, from: [x, counts], to: [product]}\n"
    )
    project.recipe(recipe)
    notice = (
        "; 'counts' drawn only from 0 and 1, as no range is known: write 'range' in "
        "export.inputs.counts"
    )
    assert notice in project.built("build", "recipe=x")
    project.recipe(f"{recipe}export: {{inputs: {{counts: {{range: [0, 7]}}}}}}\n")
    assert "drawn only from" not in project.built("build", "recipe=x")
    export = json.loads(project.artifacts("x")["manifest.json"])["export"]
    assert "drawn_from_0_and_1" not in export
    assert export["inputs"] == ["x", "counts", "seen"]


def test_an_index_that_another_read_cannot_have_leaves_the_file_running(text: Project) -> None:
    squared = TEXT.replace("Gather(kind_table, kinds)", "Gather(kind_table, square)").replace(
        "  kind =", "  square = Mul(ids, kinds)\n  also = Gather(kind_table, kinds)\n  kind ="
    )
    text.save(text_file(squared), "text.onnx")
    text.recipe(export_with(f"{SHAPES}, rate: {{value: 3}}"))
    samples, notes = exported(text)
    # Either alone runs beside zeros and ones, or at most one of them.
    assert set(notes.get("index_ranges", {})) < {"ids", "kinds"}
    assert notes["drawn_from_0_and_1"]
    product = samples[0].inputs["ids"] * samples[0].inputs["kinds"]
    assert product.max() < 3


def test_files_may_give_some_inputs_and_tell_the_sizes_of_the_others(
    text: Project, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "b.npz"
    ids = [np.full((2, 9), 400), np.arange(12).reshape(3, 4)]
    np.savez(text.folder / "a.npz", ids=ids[0], rate=np.array(7))
    np.savez(elsewhere, ids=ids[1])
    text.recipe(
        f"{export_with('rate: {range: [5, 90]}')}proof: {{inputs: [a.npz, '{elsewhere}']}}\n"
    )
    samples, notes = exported(text)
    for one, expected in zip(samples[:2], ids, strict=True):
        np.testing.assert_array_equal(one.inputs["ids"], expected)
        for name in ("kinds", "gain"):
            assert one.inputs[name].shape == expected.shape
    assert [one.inputs["rate"] for one in samples[:2]] == [7, 5]
    assert notes["index_ranges"] == {"kinds": [0, 2]}
    labels = [label for label, _ in notes["fingerprint"]]  # type: ignore[attr-defined]
    assert {"inputs a.npz", "inputs 1 b.npz"} < set(labels)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (
            f"{SHAPES}, rate: {{range: [0, 1.5]}}",
            "3: export.inputs.rate.range: input 'rate' is int64 in the file, and no int64 is 1.5; "
            "expected a whole number from -9223372036854775808 to 9223372036854775807",
        ),
        (
            f"{SHAPES}, rate: {{value: true}}",
            "3: export.inputs.rate.value: input 'rate' is int64 in the file, and no int64 is true; "
            "expected a whole number from -9223372036854775808 to 9223372036854775807",
        ),
        (
            f"{SHAPES}, rat: {{value: 3}}",
            "3: export.inputs.rat: unknown input 'rat'; expected one of 'gain', 'ids', 'kinds', "
            "'rate'; did you mean 'rate'?",
        ),
        (
            "ids: {shape: [2, 6], value: 1}, kinds: {shape: [2, 6], value: 1}, rate: {value: 3}, "
            "gain: {shape: [2, 6], value: 1}",
            "3: export.inputs: every input has a fixed 'value', so all samples are the same; "
            "expected an input that differs from sample to sample; remove a 'value', or list "
            "'.npz' files in 'proof.inputs'",
        ),
    ],
)
def test_what_contradicts_the_file_is_told_with_its_line(
    text: Project, inputs: str, told: str
) -> None:
    text.recipe(export_with(inputs))
    assert text.told() == [f"{AT}:{told}"]


def test_all_that_contradicts_the_file_is_told_at_once(text: Project) -> None:
    boolean = TEXT.replace("int64 rate", "bool rate")
    text.save(text_file(boolean), "text.onnx")
    text.recipe(
        export_with(
            "ids: {shape: [2]}, rate: {range: [0, 1]}, gain: {shape: [2, 6], value: 1.0e+39}"
        )
    )
    assert text.told() == [
        f"{AT}:3: export.inputs.gain.value: input 'gain' is float32 in the file, and no float32 "
        "is 1e+39; expected a number from -3.4028235e+38 to 3.4028235e+38",
        f"{AT}:3: export.inputs.ids: input 'ids' has the dims [n, length] in the file",
        f"{AT}:3: export.inputs.rate.range: a bool has no range; its elements are false and true; "
        "remove it, or write 'value: true' or 'value: false'",
    ]
