"""Torch models that are no detectors, exported with free dims, cut and proven at several sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from partition_core.proof.summary import summary
from partition_core.recipe.values import DynamicAxis, Mark, Recipe, Seed, Segment
from partition_core.sources.traced import load_subject
from partition_core.trace.exporter import TracedExport as Exported
from tests.export.support import export, mark, run, saved, torch_recipe
from tests.proving.support import Subject, reference_of, segment

pytestmark = pytest.mark.usefixtures("one_registry")

MODELS = "tests.proving.torch_models"


def free(tensor: str, **symbols: int) -> list[DynamicAxis]:
    return [DynamicAxis(tensor, axis, symbol) for symbol, axis in symbols.items()]


@pytest.fixture(scope="module")
def encoder() -> Exported:
    symbols = {"batch": 0, "length": 1}
    recipe = torch_recipe(
        f"{MODELS}:Encoder",
        {"tokens": ((2, 8), "int64"), "present": ((2, 8), "int64")},
        mark("whole", f"{MODELS}.Encoder.forward", inputs=("tokens", "present")),
        mark("first", module="layers.0", outputs=("states",)),
        mark("pool", f"{MODELS}.mean_of_words", inputs=("states", "present")),
        args=(("depth", "2"),),
        weights=Seed(0),
        dynamic_axes=(*free("tokens", **symbols), *free("present", **symbols)),
    )
    return export(recipe)


def unet_recipe() -> Recipe:
    return torch_recipe(
        f"{MODELS}:UNet",
        {"image": (2, 3, 32, 32)},
        Mark("whole", f"{MODELS}.UNet.forward", None, ("image",), ("classes",)),
        Mark("decoder", f"{MODELS}.UNet.decoded", None, ("bottom", "skips"), ()),
        weights=Seed(0),
        dynamic_axes=tuple(free("image", batch=0, height=2, width=3)),
    )


@pytest.fixture(scope="module")
def unet() -> Exported:
    return export(unet_recipe())


def dims(file: Path) -> dict[str, list[str | int]]:
    graph = onnx.load(file, load_external_data=False).graph
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


def test_an_encoder_of_texts_is_proven_at_three_batches_and_lengths(
    encoder: Exported, tmp_path: Path
) -> None:
    rest_start = (reference_of("first:output"), reference_of("whole:input.present"))
    parts = (
        segment("first.onnx", "whole:input", "first:output"),
        Segment("rest.onnx", rest_start, (reference_of("whole:output"),)),
    )
    subject = Subject(saved(encoder.model, tmp_path), encoder.recording, parts, False)
    figures = subject.prove()
    assert [encoder.recording.samples[k].inputs["tokens"].shape for k in range(4)] == [
        (2, 8),
        (2, 8),
        (1, 10),
        (5, 6),
    ]
    assert len(figures["samples"]) == 4
    assert figures["given_by_end2end"] == []
    assert encoder.recording.samples[3].outputs["logits"].std() > 0.01
    first, rest = (dims(subject.cut(one)) for one in parts)
    assert first["states"] == rest["states"] == ["batch", "length", 16]
    assert rest["logits"] == ["batch", "length", 40]
    assert rest["summary"] == ["batch", 16]


def test_texts_in_a_batch_give_what_they_give_alone(encoder: Exported, tmp_path: Path) -> None:
    file = saved(encoder.model, tmp_path)
    random = np.random.default_rng(0)
    tokens = random.integers(0, 40, (4, 12))
    present = (np.arange(12) < np.array([[12], [3], [7], [1]])).astype(np.int64)
    together = run(file, {"tokens": tokens, "present": present})
    for k in range(4):
        alone = run(file, {"tokens": tokens[k : k + 1], "present": present[k : k + 1]})
        for name in ("logits", "summary"):
            np.testing.assert_allclose(together[name][k], alone[name][0], atol=1e-5)
    assert np.abs(together["summary"][0] - together["summary"][2]).max() > 0.01


def test_a_unet_is_proven_at_three_sizes_and_tells_which_it_takes(
    unet: Exported, tmp_path: Path
) -> None:
    parts = (
        segment("encoder.onnx", "whole:input", "decoder:input"),
        segment("decoder.onnx", "decoder:input", "whole:output"),
    )
    subject = Subject(saved(unet.model, tmp_path), unet.recording, parts, False)
    assert len(subject.prove()["samples"]) == 4
    shapes = [unet.recording.samples[k].inputs["image"].shape for k in (2, 3)]
    assert shapes == [(1, 3, 40, 24), (5, 3, 24, 40)]
    notes = unet.notes["dynamic_axes"]
    assert any("height" in condition for condition in notes["conditions"])
    encoder, decoder = (dims(subject.cut(one)) for one in parts)
    shared = encoder.keys() & decoder.keys()
    assert shared == {"bottom", "skips.0", "skips.1"}
    for name in shared:
        assert encoder[name] == decoder[name], name
    assert encoder["skips.0"] == ["batch", 4, "height", "width"]
    assert decoder["classes"] == ["batch", 2, "height", "width"]


def test_a_unet_at_a_size_nobody_tried_gives_what_pytorch_gives(
    unet: Exported, tmp_path: Path
) -> None:
    image = np.random.default_rng(1).standard_normal((5, 3, 64, 16)).astype(np.float32)
    subject = load_subject(unet_recipe(), tmp_path, None)
    with torch.no_grad():
        expected = subject.module(torch.from_numpy(image)).numpy()
    found = run(saved(unet.model, tmp_path), {"image": image})["output"]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert expected.std() > 0.01


def test_what_float16_rounds_is_told_and_judged(tmp_path: Path) -> None:
    exported = export(
        torch_recipe(
            f"{MODELS}:Halves",
            {"values": (4, 16)},
            Mark("whole", f"{MODELS}.Halves.forward", None, ("values",), None),
            Mark("later", f"{MODELS}.Halves.later", None, ("hidden",), None),
        )
    )
    parts = (
        segment("first.onnx", "whole:input", "later:input"),
        segment("later.onnx", "later:input", "whole:output"),
    )
    file = saved(exported.model, tmp_path)
    subject = Subject(file, exported.recording, parts, False)
    figures = subject.prove(tolerance=0.01)
    apart = []
    for number, sample in enumerate(figures["samples"]):
        given = run(file, {"values": exported.recording.samples[number].inputs["values"]})["output"]
        eager = exported.recording.samples[number].outputs["output"].astype(np.float64)
        assert sample["outputs"]["output"]["largest_difference"] == np.abs(eager - given).max()
        runs = (sample, sample["observed"])
        apart += [one["outputs"]["output"]["largest_difference"] for one in runs]
    assert min(apart) > 1e-5
    assert len(set(apart)) > 2
    told = summary(figures)
    assert "within 0.0e+00" not in told
    assert "when it gives its marks as outputs, which changes it by up to " in told
    least = min(apart) / 2
    lines = subject.refused(tolerance=least).splitlines()
    assert all("allow the difference by 'proof.tolerance'" in line for line in lines)
    names = {line.split(" differs")[0].split(": ")[-1] for line in lines}
    assert names == {"end2end", "end2end, with its marks as outputs,"}
