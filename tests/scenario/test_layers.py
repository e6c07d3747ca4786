"""A language model in groups of layers by one line, with its caches and tied weights."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from partition_core import Pipeline
from tests.projects import Scratch

DECODER = """
import torch
from torch import nn
from torch.nn import functional

WIDTH, HEADS = 16, 2


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Linear(32, WIDTH))

    def forward(self, x, mask, keys, values):
        y = self.norm(x)
        split = lambda part: part(y).unflatten(2, (HEADS, -1)).transpose(1, 2)
        keys = torch.cat([keys, split(self.key)], 2)
        values = torch.cat([values, split(self.value)], 2)
        scores = split(self.query) @ keys.transpose(2, 3) + mask
        x = x + self.out((scores.softmax(3) @ values).transpose(1, 2).flatten(2))
        return x + self.mlp(x), keys, values


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(1024, WIDTH)
        self.places = nn.Embedding(128, WIDTH)
        self.layers = nn.ModuleList([Layer() for _ in range(4)])
        self.turn = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 1024, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids, places, k0, v0, k1, v1, k2, v2, k3, v3):
        before = torch.arange(k0.shape[2] + ids.shape[1], device=ids.device)
        mask = (before > places[..., None]).to(k0.dtype)[:, None] * -1e4
        x = self.table(ids) + self.places(places)
        result = {}
        for number, (layer, past) in enumerate(
            zip(self.layers, [(k0, v0), (k1, v1), (k2, v2), (k3, v3)])
        ):
            x, keys, values = layer(x, mask, *past)
            result |= {f"new_k{number}": keys, f"new_v{number}": values}
        return {"logits": self.head(self.turn(x)), **result}


def build():
    return Decoder()
"""

CACHES = [f"{kind}{number}" for number in range(4) for kind in "kv"]
RECIPE = "\n".join(
    (
        "model: {source: torch, factory: 'decoder:build'}",
        "export:",
        "  inputs:",
        "    ids: {shape: [1, 3], dtype: int64, range: [0, 1023]}",
        "    places: {shape: [1, 3], dtype: int64, range: [0, 100]}",
        *(f"    {name}: {{shape: [1, 2, 5, 8]}}" for name in CACHES),
        "  dynamic_axes:",
        "    ids: {1: new}",
        "    places: {1: new}",
        *(f"    {name}: {{2: past}}" for name in CACHES),
        "  weights: shared",
        "partition:",
        "  type: layers",
        "  segments: {every: 'layers.*', groups: 4, save_file: 'group_{}.onnx'}",
        "",
    )
)
FILES = [f"group_{number}.onnx" for number in range(4)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """Return a project with the four groups."""
    folder = tmp_path_factory.mktemp("layers")
    project = Scratch(folder / "project", folder / "store")
    project.write("decoder.py", DECODER)
    project.write("recipes/llm.yaml", RECIPE)
    assert "a chain equal end2end bit for bit" in project.built("build", "recipe=llm")
    return project


def test_a_cache_is_an_input_of_the_group_that_reads_it_and_of_no_other(project: Scratch) -> None:
    for number, file in enumerate(FILES):
        graph = onnx.load(project.folder / "build/llm" / file, load_external_data=False).graph
        inputs, outputs = ({value.name for value in side} for side in (graph.input, graph.output))
        assert inputs & set(CACHES) == {f"k{number}", f"v{number}"}
        assert {name for name in outputs if "new" in name} == {f"new_k{number}", f"new_v{number}"}


def test_tied_weights_are_stored_once(project: Scratch) -> None:
    folder = project.folder / "build" / "llm"
    assert len(list(folder.glob("*.data"))) == 1
    tables = [
        [
            [(entry.key, entry.value) for entry in tensor.external_data]
            for tensor in onnx.load(folder / file, load_external_data=False).graph.initializer
            if sorted(tensor.dims) == [16, 1024]
        ]
        for file in FILES
    ]
    assert [len(of_a_group) for of_a_group in tables] == [1, 0, 0, 1]
    assert tables[0] == tables[-1]
    assert dict(tables[0][0])["location"].endswith(".data")


def test_the_chain_writes_the_tokens_that_pytorch_writes(project: Scratch) -> None:
    import torch

    module, chain = _decoder(project.folder), Pipeline(project.folder / "build" / "llm")

    def eager(feeds: dict[str, Any]) -> dict[str, Any]:
        tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
        with torch.no_grad():
            return {name: tensor.numpy() for name, tensor in module(**tensors).items()}

    assert _greedy(chain, 64) == (tokens := _greedy(eager, 64))
    assert len(set(tokens)) > 5


def test_the_manifest_says_how_the_layers_were_divided(project: Scratch) -> None:
    manifest = json.loads((project.folder / "build/llm/manifest.json").read_text())
    assert manifest["recipe"]["partition"]["cut"]["every"] == ["layers.*"]
    assert [segment["save_file"] for segment in manifest["segments"]] == FILES
    assert "up to date" in project.built("build", "recipe=llm")


def _greedy(run: Any, count: int) -> list[int]:
    """Return the tokens that follow a prompt; the first run has empty caches."""
    caches = {name: np.zeros((1, 2, 0, 8), np.float32) for name in CACHES}
    new, tokens = [3, 14, 15], []
    for _ in range(count):
        past = caches["k0"].shape[2]
        places = np.arange(past, past + len(new))[None]
        result = run({"ids": np.array([new]), "places": places, **caches})
        caches = {name: result[f"new_{name}"] for name in CACHES}
        new = [int(result["logits"][0, -1].argmax())]
        tokens += new
    return tokens


def _decoder(folder: Path) -> Any:
    return runpy.run_path(str(folder / "decoder.py"))["build"]().eval()
