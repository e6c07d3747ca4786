"""A language model in two variants, for the prompt and for one token, that share their weights."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from partition_core import Pipeline, RunError
from tests.projects import FILE_RECIPE, FileScratch, Scratch, copied, steps

MODEL = """
import torch
from torch import nn

WIDTH, SLOTS = 32, 12


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x, mask, past_keys, past_values):
        keys, values = self.key(x), self.value(x)
        scores = self.query(x) @ torch.cat([past_keys, keys], 1).transpose(1, 2) + mask
        return x + self.out(scores.softmax(2) @ torch.cat([past_values, values], 1)), keys, values


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(512, WIDTH)
        self.layers = nn.ModuleList([Layer() for _ in range(2)])
        self.more = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 512, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids, mask, k0, v0, k1, v1, deep=False):
        count = ids.shape[1]
        # What these two become in the graph depends on the size of the input alone.
        steps = (torch.arange(count)[:, None] * torch.arange(1, WIDTH + 1)).sin()
        later = torch.ones(count, SLOTS + count).triu(SLOTS + 1) * -1e4
        x, result = self.table(ids) + steps, {}
        for number, (layer, past) in enumerate(zip(self.layers, [(k0, v0), (k1, v1)])):
            x, keys, values = layer(x, later + mask, *past)
            result |= {f"new_k{number}": keys, f"new_v{number}": values}
        return {"logits": self.head(self.more(x) if deep else x), **result}


def build():
    return Language()
"""

CACHES = ("k0", "v0", "k1", "v1")
RECIPE = "\n".join(
    (
        "model: {source: torch, factory: 'language:build'}",
        "export:",
        "  inputs:",
        "    ids: {dtype: int64, range: [0, 511]}",
        "    mask: {value: 0}",
        *(f"    {name}: {{shape: [1, 12, 32]}}" for name in CACHES),
        "  weights: shared",
        "variants:",
        "  prefill: {inputs: {ids: {shape: [1, 8]}, mask: {shape: [1, 1, 20]}}}",
        "  decode: {inputs: {ids: {shape: [1, 1]}, mask: {shape: [1, 1, 13]}}}",
        "partition:",
        "  type: layers",
        "  segments: {every: 'layers.*', groups: 2, save_file: 'llm_{}.onnx'}",
        "",
    )
)
FILES = [f"{name}.onnx" for name in ("end2end", "llm_0", "llm_1")]


def language(folder: Path, store: Path) -> Scratch:
    project = Scratch(folder, store)
    project.write("language.py", MODEL)
    project.write("recipes/llm.yaml", RECIPE)
    return project


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """Return a project with both variants."""
    folder = tmp_path_factory.mktemp("variants")
    project = language(folder / "project", folder / "store")
    said = project.built("build", "recipe=llm")
    for variant in ("prefill", "decode"):
        assert f"llm@{variant}: proven on 2 inputs: the segments in a chain equal end2end" in said
    return project


@pytest.fixture
def llm(tmp_path: Path, built: Scratch) -> Scratch:
    """Return a copy of that project, whose builds are restored from the store."""
    project = language(tmp_path / "project", copied(built.store, tmp_path / "store"))
    assert not steps(project.built("build", "recipe=llm"))
    return project


def names(project: Scratch, recipe: str) -> list[str]:
    return sorted(project.artifacts(recipe))


def data(project: Scratch, recipe: str) -> list[str]:
    return [name for name in names(project, recipe) if name.startswith("weights.")]


def test_all_variants_have_one_file_with_one_set_of_weights(built: Scratch) -> None:
    folder = built.folder / "build" / "llm"
    (weights,) = folder.glob("*.data")
    module = runpy.run_path(str(built.folder / "language.py"))["build"]()
    used = {name: p for name, p in module.named_parameters() if "more" not in name}
    outside = [p.numel() * 4 for p in used.values() if p.numel() * 4 >= 1024]
    assert weights.stat().st_size == sum(-(-size // 4096) * 4096 for size in outside)
    for variant in ("prefill", "decode"):
        manifest = json.loads((folder / f"{variant}.manifest.json").read_text())
        assert {a["weights"]["file"] for a in manifest["artifacts"].values()} == {weights.name}
        for name in FILES:
            assert manifest["artifacts"][name]["file"] == f"{variant}.{name}"
            assert (folder / f"{variant}.{name}").is_file()


def test_what_depends_on_sizes_is_in_the_models_and_no_weight_is(built: Scratch) -> None:
    def large(name: str) -> tuple[set[str], set[str]]:
        model = onnx.load(built.folder / "build/llm" / name, load_external_data=False)
        tensors = [t for t in model.graph.initializer if np.prod(t.dims, dtype=int) * 4 >= 512]
        outside = {t.name for t in tensors if t.external_data}
        return {t.name for t in tensors} - outside, outside

    (inline, outside), (none, same) = map(large, ("prefill.end2end.onnx", "decode.end2end.onnx"))
    assert inline and not none
    # The numbers in the names of what torch.onnx transposes differ.
    assert len(outside) == len(same) == 9 and outside != same


def test_prefill_and_then_decode_give_what_the_module_gives(built: Scratch) -> None:
    import torch

    module = runpy.run_path(str(built.folder / "language.py"))["build"]().eval()
    caches = {name: np.zeros((1, 12, 32), np.float32) for name in CACHES}
    past, new = 0, [3, 14, 15, 92, 65, 35, 89, 79]
    for variant in ("prefill", *["decode"] * 3):
        chain = Pipeline(built.folder / "build" / "llm", variant=variant)
        mask = np.zeros((1, 1, 12 + len(new)), np.float32)
        mask[:, :, past:12] = -1e4
        feeds: dict[str, Any] = {"ids": np.array([new]), "mask": mask, **caches}
        result = chain(feeds)
        with torch.no_grad():
            eager = module(**{name: torch.from_numpy(array) for name, array in feeds.items()})
        for name, array in result.items():
            np.testing.assert_allclose(array, eager[name].numpy(), atol=1e-5)
        for name in CACHES:
            caches[name][:, past : past + len(new)] = result[f"new_{name}"]
        past += len(new)
        new = [int(result["logits"][0, -1].argmax())]
    assert len({segment.save_file for segment in chain.segments} & set(FILES)) == 2


def test_a_folder_of_variants_is_opened_by_their_names(built: Scratch) -> None:
    folder = built.folder / "build" / "llm"
    with pytest.raises(RunError, match=r"expected one of 'decode', 'prefill'; name it, as in `var"):
        Pipeline(folder)
    with pytest.raises(RunError, match=r"no variant 'decod'; .* did you mean 'decode'\?"):
        Pipeline(folder, variant="decod")


def test_a_change_of_one_variant_builds_that_one(llm: Scratch) -> None:
    assert "llm@prefill: up to date (4 artifacts in build/llm)" in llm.built("build")
    before = llm.artifacts("llm")
    llm.edit(
        "recipes/llm.yaml",
        "[1, 8]}, mask: {shape: [1, 1, 20]}",
        "[1, 4]}, mask: {shape: [1, 1, 16]}",
    )
    said = llm.built("build", "recipe=llm")
    assert "llm@decode: up to date" in said and "llm@prefill: export" in said
    after = llm.artifacts("llm")
    changed = {name for name in before if after.get(name) != before[name]}
    assert changed == {f"prefill.{name}" for name in (*FILES, "manifest.json")}
    assert after.keys() == before.keys()


def test_weights_that_another_variant_is_about_to_publish_stay(llm: Scratch) -> None:
    llm.edit("recipes/llm.yaml", "  decode: {", "  decode: {args: {deep: true}, ")
    llm.built("build", "recipe=llm")
    both = data(llm, "llm")
    assert len(both) == 2
    for variant in ("prefill", "decode"):
        (llm.folder / "build/llm" / f"{variant}.manifest.json").unlink()
    llm.built("build", "recipe=llm@prefill")
    assert data(llm, "llm") == both
    llm.edit("recipes/llm.yaml", "  decode: {args: {deep: true}, ", "  decode: {")
    llm.built("build", "recipe=llm")
    assert len(data(llm, "llm")) == 1
    assert "up to date" in llm.built("build", "recipe=llm@decode")


TWO = (
    FILE_RECIPE
    + "export: {weights: shared}\nvariants:\n  low: {inputs: {image: {range: [0, 1]}}}\n"
)
HIGH = "  high: {inputs: {image: {range: [0, 9]}}}\n"
OF_A_BUILD = ("body.onnx", "end2end.onnx", "manifest.json", "tail.onnx")


def of(*variants: str) -> set[str]:
    return {f"{variant}.{name}" if variant else name for variant in variants for name in OF_A_BUILD}


@pytest.fixture
def two(scratch: FileScratch) -> FileScratch:
    """Return a project with an ONNX file in two variants."""
    scratch.write("recipes/tiny.yaml", TWO + HIGH)
    scratch.built("-n", "2", "build")
    assert {*names(scratch, "tiny")} - {*data(scratch, "tiny")} == of("low", "high")
    assert len(data(scratch, "tiny")) == 1
    return scratch


def test_a_variant_that_the_recipe_loses_leaves_the_folder(two: FileScratch) -> None:
    weights = set(data(two, "tiny"))
    two.write("recipes/tiny.yaml", TWO)
    assert not steps(two.built("build"))
    assert {*names(two, "tiny")} == of("low") | weights
    two.write("recipes/tiny.yaml", FILE_RECIPE + "export: {weights: shared}\n")
    two.built("build")
    assert {*names(two, "tiny")} == of("") | weights
    two.write("recipes/tiny.yaml", TWO + HIGH)
    two.built("build", "recipe=tiny@high")
    assert {*names(two, "tiny")} == of("high") | weights


def test_former_weights_leave_once_no_variant_has_them(two: FileScratch) -> None:
    former = data(two, "tiny")
    two.change(seed=1)
    two.built("build", "recipe=tiny@low")
    assert {*former} < {*data(two, "tiny")}
    two.built("build")
    assert len(data(two, "tiny")) == 1 and data(two, "tiny") != former


def test_cleaning_one_variant_leaves_the_other_its_weights(two: FileScratch) -> None:
    weights = set(data(two, "tiny"))
    two.built("clean", "build:tiny@high")
    assert {*names(two, "tiny")} == of("low") | weights
    two.built("build", "recipe=tiny@high")
    two.built("clean", "build:tiny")
    assert not (two.folder / "build" / "tiny").exists()


REFUSED = {
    ("merge", "recipe=tiny", "with=body.onnx=tiny.onnx"): (
        "takes one variant at a time, but 'tiny' has several; expected recipe=…, expected one of "
        "'tiny@high', 'tiny@low'"
    ),
    ("build", "recipe=tiny@hihg"): (
        "recipe=tiny@hihg: recipe 'tiny' has no variant 'hihg'; expected one of 'tiny@high', "
        "'tiny@low'; did you mean 'tiny@high'?"
    ),
    ("build", "recipe=tny@low"): "recipe=tny@low: there is no recipe 'tny'; expected one of",
    ("build", "recipe=plain@low"): "recipe 'plain' has no variants; expected 'plain'",
}


def test_a_name_that_does_not_fit_is_refused(two: FileScratch) -> None:
    two.write("recipes/plain.yaml", FILE_RECIPE)
    for command, told in REFUSED.items():
        run = two.doit(*command)
        assert run.returncode != 0 and told in run.stdout


def test_each_variant_is_a_build_of_its_own_to_every_command(
    two: FileScratch, tmp_path: Path
) -> None:
    listed = two.built("list", "--all")
    assert "build:tiny " in listed and "build:tiny@low:body.onnx" in listed
    assert "tiny@low: up to date" in two.built("build:tiny")
    dry = two.built("build", "--dry-run", "recipe=tiny@high")
    assert "tiny@high: prove: up to date" in dry and "tiny@low" not in dry
    shutil.copy(two.folder / "build/tiny/low.body.onnx", two.folder / "other.onnx")
    for path in (two.folder / "build/tiny").glob("*.data"):
        shutil.copy(path, two.folder)
    merged = two.built("merge", "recipe=tiny@low", "with=body.onnx=other.onnx")
    assert "build/tiny/low.merged.onnx: written" in merged
    assert "recipe 'tiny@low'" in two.built("origin", "build/tiny/low.end2end.onnx")
    for project in (two, other := FileScratch(tmp_path / "other", tmp_path / "its_store")):
        project.environment["PARTITION_CORE_REMOTE"] = str(tmp_path / "remote")
    (tmp_path / "remote").mkdir()
    other.write("recipes/tiny.yaml", TWO + HIGH)
    two.built("push", "recipe=tiny")
    other.built("pull", "recipe=tiny@low", "artifact=tail.onnx")
    assert names(other, "tiny") == ["low.tail.onnx"]
    other.built("pull", "recipe=tiny")
    assert {*names(other, "tiny")} == of("low", "high") | {*data(two, "tiny")}


def test_a_segment_is_converted_for_each_variant(scratch: FileScratch) -> None:
    pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
    target = "end: ['decode:input'], targets: [openvino]}"
    scratch.write("recipes/tiny.yaml", (TWO + HIGH).replace("end: ['decode:input']}", target))
    scratch.built("build")
    folder = scratch.folder / "build" / "tiny"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        "high.body.openvino",
        "low.body.openvino",
    }
    chain = Pipeline(folder, variant="low", use={"body.onnx": "openvino"})
    assert chain(image=np.zeros((1, 3, 32, 32), np.float32))["scores"].shape == (1, 6, 320)
    scratch.edit("recipes/tiny.yaml", HIGH, "")
    scratch.built("build")
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["low.body.openvino"]
    scratch.built("clean", "build:tiny")
    assert not (scratch.folder / "build" / "tiny").exists()
