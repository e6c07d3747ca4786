"""What a checkpoint's tensors become in a model, and which files are refused."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from partition_core.base.errors import ExportError, Place
from partition_core.recipe.values import Checkpoint, OwnWeights, TorchModel
from partition_core.sources.torch.source import _user_module
from partition_core.trace.checkpoint import load_state
from tests.projects import ROOT, TINY, Scratch, steps

from .file_server import FileServer
from .recipes import as_mmengine_saves, load_from, saved, sha256

PLACE = Place("recipes/r.yaml", 5, "model.weights")


def tiny(seed: int) -> nn.Module:
    """Return the model of the tiny recipe with random weights."""
    torch.manual_seed(seed)
    namespace: dict[str, Any] = {"__name__": "tiny"}
    exec(compile(TINY, "tiny.py", "exec"), namespace)  # noqa: S102  # reason: our own text
    model: nn.Module = namespace["build"]().eval()
    return model


def output_of(project: Scratch, picture: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(project.folder / "build" / "tiny" / "end2end.onnx")
    (found,) = session.run(None, {"image": picture})
    return np.asarray(found)


def test_a_build_has_the_weights_of_its_checkpoint_and_another_file_rebuilds_it(
    fresh: Scratch, server: FileServer
) -> None:
    model = tiny(7)
    server.content = as_mmengine_saves(model.state_dict())
    load_from(fresh, server.url("tiny-0123.pth"), sha256(server.content)[:8])
    fresh.built()
    picture = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(picture)).numpy()
    np.testing.assert_allclose(output_of(fresh, picture), expected, rtol=0, atol=1e-5)
    manifest = (fresh.folder / "build" / "tiny" / "manifest.json").read_text()
    assert f'"checkpoint_sha256": "{sha256(server.content)}"' in manifest

    # From a path: what is pinned at 8 digits may change only if the recipe does.
    other = tiny(8)
    content = saved(other.state_dict())
    (fresh.folder / "own.pth").write_bytes(content)
    load_from(fresh, "own.pth", sha256(content)[:8])
    assert "export" in steps(fresh.built())
    with torch.no_grad():
        expected = other(torch.from_numpy(picture)).numpy()
    np.testing.assert_allclose(output_of(fresh, picture), expected, rtol=0, atol=1e-5)
    before = fresh.artifacts()
    content = saved(model.state_dict())
    (fresh.folder / "own.pth").write_bytes(content)
    run = fresh.doit("build")
    assert run.returncode != 0
    assert f"model.weights.sha256: the checkpoint's SHA-256 is '{sha256(content)}'" in run.stdout
    assert fresh.artifacts() == before


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_state_dicts_come_plain_or_wrapped_and_from_a_parallel_model(
    tmp_path: Path, wrapped: bool, prefix: str
) -> None:
    model, target = tiny(1), tiny(2)
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    loaded(target, tmp_path, as_mmengine_saves(state) if wrapped else saved(state))
    for name, tensor in model.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor), name


def test_tensors_that_do_not_fit_are_told_all_at_once(tmp_path: Path) -> None:
    target = tiny(2)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    state = dict(tiny(1).state_dict())
    del state["head.small.bias"], state["stem.1.running_mean"]
    state["head.large.weight"] = torch.zeros(6, 4, 1, 1)
    state["neck.weight"] = torch.zeros(1)
    with pytest.raises(ExportError) as told:
        loaded(target, tmp_path, saved(state))
    assert str(told.value) == (
        "recipes/r.yaml:5: model.weights: checkpoint 'model.pth' does not fit the model; "
        "'head.large.weight' has shape (6, 4, 1, 1), expected (6, 8, 1, 1); "
        "no 'stem.1.running_mean'; no 'head.small.bias'; "
        "the model has no 'neck.weight'; check that it belongs to this config"
    )
    for name, tensor in target.state_dict().items():
        assert torch.equal(before[name], tensor), name


def test_of_each_kind_of_misfit_some_are_named_and_the_rest_is_counted(tmp_path: Path) -> None:
    state = {f"other.{index}": torch.zeros(1) for index in range(9)}
    with pytest.raises(ExportError) as told:
        loaded(tiny(2), tmp_path, saved(state))
    text = str(told.value)
    assert "no 'stem.0.weight'" in text
    assert "the model has no 'other.0'" in text
    assert "more" in text


class Evil:
    """An object that runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)  # reason: what is refused


@pytest.mark.parametrize("place", ["meta", "state_dict"])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(
    fresh: Scratch, server: FileServer, tmp_path: Path, place: str
) -> None:
    marker = tmp_path / "marker"
    content = {"meta": {}, "state_dict": dict(tiny(1).state_dict())}
    content[place]["evil"] = Evil(marker)
    server.content = saved(content)
    if place == "meta":  # the file does run code where it is loaded without care
        torch.load(io.BytesIO(server.content), weights_only=False)
        assert marker.exists()
        marker.unlink()
        load_from(fresh, server.url(), sha256(server.content))
        run = fresh.doit("build")
        text = run.stdout
        assert run.returncode != 0
        assert "Traceback" not in text
        assert not (fresh.folder / "build" / "tiny").exists()
    else:
        with pytest.raises(ExportError) as told:
            loaded(tiny(1), tmp_path, server.content)
        text = str(told.value)
    assert "cannot be read; Trying to load unsupported GLOBAL posix.system" in text
    assert "weights_only" not in text
    assert "a checkpoint holds tensors and plain values only, as torch.save writes them" in text
    assert not marker.exists()


def scripted() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def in_tar_format() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name in ("storages", "tensors", "pickle"):
            file.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<html>not found</html>", "cannot be read"),
        (b"", "cannot be read"),
        (saved([1, 2]), "holds no state dict"),
        (saved({"state_dict": {"weight": 3}}), "holds no state dict"),
        (saved(tiny(1).state_dict())[:-2000], "cannot be read"),
        (scripted(), "cannot be read; it is a TorchScript archive; a checkpoint holds"),
        (in_tar_format(), "cannot be read; it is in the tar format of torch before 0.4; a"),
        (saved(nn.Linear(2, 2)), "cannot be read; Unsupported global: GLOBAL torch.nn.modules"),
        (pickle.dumps({"a": nn.Linear}), r"cannot be read; \w"),
        (b"hello", "cannot be read; it is not a file that torch.save wrote; a checkpoint holds"),
    ],
    ids=[
        *("a page", "nothing", "a list", "no tensors", "half a file", "a script", "a tar file"),
        *("a module", "a pickle", "a text"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*TorchScript archive")
def test_a_file_that_is_no_checkpoint_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(ExportError, match=f"checkpoint 'model.pth' {told}") as error:
        loaded(tiny(1), tmp_path, content)
    for advice in ("weights_only", "arbitrary code", "trusted", "safe_globals"):
        assert advice not in str(error.value)


def test_a_factory_that_loads_a_file_repeats_no_unsafe_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.pth").write_bytes(in_tar_format())
    (tmp_path / "careless.py").write_text(
        "import torch\n\n\ndef net():\n"
        f"    return torch.load({str(tmp_path / 'model.pth')!r}, weights_only=True)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ExportError) as error:
        _user_module(TorchModel("careless:net", (), OwnWeights()), Place("recipes/x.yaml"))
    assert str(error.value).endswith("RuntimeError: it is in the tar format of torch before 0.4")


def test_a_checkpoint_is_read_without_mmengine(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(saved({"weight": torch.ones(2, 3), "bias": torch.ones(2)}))
    script = (
        "import sys; sys.modules['mmengine'] = None\n"
        "from pathlib import Path\n"
        "from torch import nn\n"
        "from partition_core.base.errors import Place\n"
        "from partition_core.trace.checkpoint import load_state\n"
        "from partition_core.recipe.values import Checkpoint\n"
        "model = nn.Linear(3, 2)\n"
        "load_state(model, Checkpoint('model.pth', ''), Path(sys.argv[1]), Place('r'))\n"
        "print(float(model.weight.sum()))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "model.pth"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == "6.0\n", run.stderr


def loaded(model: nn.Module, folder: Path, content: bytes) -> None:
    file = folder / "model.pth"
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    load_state(model, Checkpoint("model.pth", digest), file, PLACE)
