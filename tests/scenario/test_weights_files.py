"""`export.weights`: weights in the models, in a file beside each, or in one file for all."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.once import Once
from tests.projects import FILE_RECIPE, RECIPE, FileScratch, Scratch, steps
from tests.sharing.cache_server import CacheServer, serving
from tests.sharing.shared import configure

WIDE = RECIPE.replace("width: 8", "width: 16")
FORMS = ("external", "shared")


@pytest.fixture(scope="session")
def stores(once: Once) -> Path:
    """Return a store with the builds of all forms, and beside it their build folders."""
    return once("forms", build_all_forms)


def build_all_forms(folder: Path) -> None:
    project = Scratch(folder / "project", folder / "store")
    for form in ("inline", *FORMS):
        project.write(f"recipes/{form}.yaml", in_form(form))
    project.built("build", f"recipe=inline,{','.join(FORMS)}")
    shutil.copytree(project.folder / "build", folder / "build")


@pytest.fixture
def project(tmp_path: Path, stores: Path) -> Scratch:
    """Return a project whose store holds the builds of all forms."""
    shutil.copytree(stores / "store", tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "v1" / "users")
    made = Scratch(tmp_path / "project", tmp_path / "store")
    for form in ("inline", *FORMS):
        made.write(f"recipes/{form}.yaml", in_form(form))
    return made


def in_form(form: str, seed: int = 0) -> str:
    text = WIDE.replace("seed: 0", f"seed: {seed}")
    return text.replace("export:\n", f"export:\n  weights: {form}\n")


def weights_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.data"))


def locations(model: Path) -> dict[str, dict[str, str]]:
    found = onnx.load(str(model), load_external_data=False)
    return {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in found.graph.initializer
        if tensor.external_data
    }


def run(model: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def chained(folder: Path, picture: Any) -> Any:
    (maps,) = [run(folder / "body.onnx", {"image": picture})]
    return run(folder / "tail.onnx", maps)


@pytest.mark.parametrize("form", FORMS)
def test_models_with_their_weights_elsewhere_compute_the_same(
    stores: Path, form: str, tmp_path: Path
) -> None:
    # Moved elsewhere, so that nothing depends on where it was built.
    here, inline = shutil.copytree(stores / "build" / form, tmp_path / "x"), stores / "build/inline"
    picture = np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)
    for name in ("end2end.onnx", "body.onnx"):
        expected, found = (run(at / name, {"image": picture}) for at in (inline, here))
        assert expected.keys() == found.keys()
        assert all(np.array_equal(expected[key], found[key]) for key in expected)
        assert expected[min(expected)].std() > 0
    (one,), (other,) = (list(chained(at, picture).values()) for at in (inline, here))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_named_by_their_content_aligned_and_as_they_were(
    stores: Path, form: str
) -> None:
    folder, inline = stores / "build" / form, stores / "build" / "inline"
    for name in weights_of(folder):
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert re.fullmatch(rf"(weights|.*\.onnx)\.{digest[:16]}\.data", name)
    for model in ("end2end.onnx", "body.onnx"):
        places = locations(folder / model)
        assert len(places) >= 2
        expected = {t.name: t.raw_data for t in onnx.load(str(inline / model)).graph.initializer}
        for tensor, place in places.items():
            offset, length = int(place["offset"]), int(place["length"])
            assert offset % 4096 == 0 and length >= 1024
            content = (folder / place["location"]).read_bytes()[offset : offset + length]
            assert content == expected[tensor]


def test_each_model_has_a_file_of_its_own_or_all_have_one(stores: Path) -> None:
    external, shared = (weights_of(stores / "build" / form) for form in FORMS)
    # tail.onnx has no weights, and so no file of them.
    assert [name.rsplit(".", 2)[0] for name in external] == ["body.onnx", "end2end.onnx"]
    assert [name.rsplit(".", 2)[0] for name in shared] == ["weights"]
    for model in ("end2end.onnx", "body.onnx"):
        named = {p["location"] for p in locations(stores / "build/shared" / model).values()}
        assert named == set(shared)
    assert not locations(stores / "build/shared/tail.onnx")


@pytest.mark.parametrize("form", FORMS)
def test_the_manifest_names_the_weights_of_each_model(stores: Path, form: str) -> None:
    folder = stores / "build" / form
    artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
    for model in ("end2end.onnx", "body.onnx"):
        told = artifacts[model]["weights"]
        content = (folder / told["file"]).read_bytes()
        assert told["sha256"] == hashlib.sha256(content).hexdigest()
        assert told["bytes"] == len(content)
    assert "weights" not in artifacts["tail.onnx"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("damage", ["removed", "changed"])
def test_weights_that_are_removed_or_changed_are_restored(
    project: Scratch, form: str, damage: str
) -> None:
    project.built("build", f"recipe={form}")
    before = project.artifacts(form)
    assert "up to date" in project.built("build", f"recipe={form}")
    folder = project.folder / "build" / form
    path = folder / weights_of(folder)[0]
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(bytes(len(path.read_bytes())))
    assert steps(project.built("build", f"recipe={form}")) == []
    assert project.artifacts(form) == before


@pytest.mark.parametrize("form", FORMS)
def test_clean_removes_the_weights_too_and_leaves_other_files(project: Scratch, form: str) -> None:
    project.built("build", f"recipe={form}")
    folder = project.folder / "build" / form
    (folder / "calibration.data").write_text("mine")
    project.built("clean", f"build:{form}")
    assert [path.name for path in folder.iterdir()] == ["calibration.data"]


def test_clean_of_one_artifact_takes_its_own_weights_along(project: Scratch) -> None:
    for form in FORMS:
        project.built("build", f"recipe={form}")
        project.built("clean", f"build:{form}:body.onnx")
    assert [name.split(".")[0] for name in weights_of(project.folder / "build/external")] == [
        "end2end"
    ]
    assert len(weights_of(project.folder / "build/shared")) == 1


@pytest.mark.parametrize(
    "kind", [FileScratch, pytest.param(Scratch, marks=pytest.mark.thorough)], ids=["file", "torch"]
)
def test_weights_of_a_former_build_go_when_the_new_one_is_whole(
    tmp_path: Path, kind: type[Scratch]
) -> None:
    project = kind(tmp_path / "project", tmp_path / "store")
    write_one(project, "shared", 0)
    project.built("build", "recipe=one")
    folder = project.folder / "build" / "one"
    picture = np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)
    (former,), before = weights_of(folder), run(folder / "body.onnx", {"image": picture})

    # Half of a new build: the old segment still finds the weights it was cut with.
    write_one(project, "shared", 1)
    project.built("run", "build:one:end2end.onnx")
    assert len(weights_of(folder)) == 2
    half = run(folder / "body.onnx", {"image": picture})
    assert all(np.array_equal(before[name], half[name]) for name in before)

    project.built("build", "recipe=one")
    (latter,) = weights_of(folder)
    assert latter != former
    after = run(folder / "body.onnx", {"image": picture})
    assert not any(np.array_equal(before[name], after[name]) for name in before)

    write_one(project, "inline", 1)
    project.built("build", "recipe=one")
    assert weights_of(folder) == []


def write_one(project: Scratch, form: str, seed: int) -> None:
    """Write the recipe `one`, whose weights are others for another seed."""
    text = in_form(form, seed)
    if isinstance(project, FileScratch):
        project.change(seed)
        text = FILE_RECIPE + f"export: {{weights: {form}}}\n"
    project.write("recipes/one.yaml", text)


@pytest.mark.parametrize("form", FORMS)
def test_weights_travel_with_their_model(project: Scratch, tmp_path: Path, form: str) -> None:
    project.built("build", f"recipe={form}")
    with serving(CacheServer()) as server:
        configure(project, server.url)
        project.built("push", f"recipe={form}")
        other = Scratch(tmp_path / "other", tmp_path / "other-store")
        other.write(f"recipes/{form}.yaml", in_form(form))
        configure(other, server.url)
        other.built("pull", f"recipe={form}", "artifact=tail.onnx")
        assert list(other.artifacts(form)) == ["tail.onnx"]
        other.built("pull", f"recipe={form}", "artifact=body.onnx")
        folder = other.folder / "build" / form
        assert len(weights_of(folder)) == 1
        picture = np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)
        assert chained(folder, picture)
        other.built("pull", f"recipe={form}")
        assert other.artifacts(form) == project.artifacts(form)


def test_weights_over_2_gb_in_the_model_are_refused_before_it_is_traced(
    torch_fresh: Scratch,
) -> None:
    torch_fresh.write(
        "huge.py",
        "import torch\nfrom torch import nn\n\n\nclass Huge(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.table = nn.Parameter(torch.empty(600_000_000))  # of which no page is used\n"
        "\n    def forward(self, image):\n        return image * self.table[0]\n",
    )
    text = (torch_fresh.folder / "recipes" / "tiny.yaml").read_text()
    text = text.replace("tiny:build", "huge:Huge").replace("  args: {width: 8}\n", "")
    text = text.replace("tiny.Tiny.forward", "huge.Huge.forward")
    text = text.replace("  weights: {seed: 0}\n", "")
    torch_fresh.write("recipes/tiny.yaml", text)
    run_ = torch_fresh.doit()
    assert run_.returncode != 0
    assert "export.weights: the weights take 2400000000 bytes" in run_.stdout
    assert "trace" not in run_.stdout and not (torch_fresh.folder / "build" / "tiny").exists()


def test_an_unknown_place_for_weights_is_told(project: Scratch) -> None:
    project.write("recipes/external.yaml", in_form("extern"))
    run_ = project.doit("build", "recipe=external")
    assert run_.returncode != 0
    assert "recipes/external.yaml:8: export.weights: is 'extern';" in run_.stdout
    assert "did you mean 'external'?" in run_.stdout
