"""What one seed does with each reader of outside bytes; run in a process with limits."""

from __future__ import annotations

import functools
import io
import os
import random
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import onnx

from partition_core.base.errors import PartitionError, Place
from partition_core.build.project import Project
from partition_core.build.run import Run
from partition_core.build.settings import FOLDER_VARIABLE
from partition_core.recipe.input_forms import TensorType
from partition_core.recipe.values import Checkpoint
from partition_core.sources.samples import arrays_from_files
from tests.onnx_source.files import IN_A_BODY, IN_A_FUNCTION, detector
from tests.onnx_source.projects import LINE, TWO

from .mutations import mutated, mutated_message, mutated_text

ROOT = Path(__file__).parents[2]


def refused(act: Callable[[], object]) -> bool:
    """Do something as doit's tasks do, which tell these errors; return whether it was refused."""
    try:
        act()
    except (PartitionError, OSError) as error:
        assert str(error)
        return True
    except MemoryError:
        return True
    return False


@functools.cache
def folder() -> Path:
    """Return a project of this process, with a store, a pipe and a folder in it."""
    path = Path(tempfile.mkdtemp(prefix="fuzz"))
    os.environ[FOLDER_VARIABLE] = str(path / "store")
    (path / "recipes").mkdir()
    (path / "folder").mkdir()
    os.mkfifo(path / "pipe")
    return path


def recipe(seed: int) -> None:
    """Do what every command does first with a recipe that was changed."""
    chance = random.Random(seed)
    sources = recipes()
    at = folder() / "recipes" / "x.yaml"
    at.write_bytes(mutated_text(chance.choice(sources), chance))
    refused(lambda: Run(folder(), ["x"]))


@functools.cache
def recipes() -> tuple[str, ...]:
    """Return the recipes that are changed; what they name is in the folder."""
    shipped = sorted((ROOT / "recipes").glob("*.yaml"))
    for path in shipped:
        (folder() / "recipes" / path.name).write_bytes(path.read_bytes())
    policies = sorted((ROOT / "partition_core" / "policies").rglob("*.yaml"))
    texts = [path.read_text(encoding="utf-8") for path in (*shipped, *policies)]
    more = "extends: yolov3.yaml\nexport: {dynamic_axes: {input: {2: h, 3: w}}}\n"
    return (*texts, TWO, LINE, more)


def settings(seed: int) -> None:
    """Read settings that were changed."""
    chance = random.Random(seed)
    (folder() / "partition.toml").write_bytes(mutated_text(SETTINGS, chance))
    refused(_asked)


def _asked() -> None:
    with mock.patch.dict(os.environ):
        del os.environ[FOLDER_VARIABLE]
        project = Project.at(folder())
    project.store.find("0" * 64)
    if Path(os.path.normpath(project.settings.store)).is_relative_to(folder()):
        with project.store.locked("0" * 64), project.store.private_folder():
            pass
    if "://" not in project.settings.remote:
        project.store.offers("0" * 64, [])


SETTINGS = """\
store = "a/store"
remote = "https://cache.example.com/partition-core"
remote_write = true
salt = "x"
report = false
"""

HEAD = """\
model: {source: onnx, path: detector.onnx}
export: {inputs: {x: {shape: [4]}}}
partition: {save_file: part.onnx, from: [e], to: ['y']}
"""


@functools.cache
def models() -> tuple[tuple[onnx.ModelProto, str], ...]:
    """Return models and recipes of them."""
    plain = detector()
    external = detector()
    onnx.save(
        external,
        folder() / "external.onnx",
        save_as_external_data=True,
        location="weights.data",
        size_threshold=0,
    )
    external = onnx.load(folder() / "external.onnx", load_external_data=False)
    inferred = onnx.shape_inference.infer_shapes(plain)
    free = detector(dims=("n", 3, "h", "w"))
    sized = "export: {inputs: {image: {shape: [1, 3, 16, 16]}}}\n"
    inside = [onnx.parser.parse_model(HEADER + text) for text in (IN_A_BODY, IN_A_FUNCTION)]
    return (
        (plain, TWO),
        (plain, LINE),
        (external, TWO),
        (inferred, LINE),
        (free, sized + TWO),
        *((one, HEAD) for one in inside),
    )


HEADER = '<ir_version: 10, opset_import: ["": 20, "own": 1]>'


def model(seed: int) -> None:
    """Do what every command does first with a recipe whose ONNX file was changed."""
    _change(seed)
    refused(lambda: Run(folder(), ["x"]))


def build(seed: int) -> None:
    """Build a recipe whose ONNX file was changed."""
    _change(seed)
    refused(_built)


def _change(seed: int) -> None:
    chance = random.Random(seed)
    source, text = chance.choice(models())
    changed = onnx.ModelProto()
    changed.CopyFrom(source)
    (folder() / "detector.onnx").write_bytes(mutated_message(changed, chance))
    (folder() / "recipes" / "x.yaml").write_text(text)


def _built() -> None:
    (build,) = Run(folder(), ["x"]).builds
    for step in ("export", *(f"cut {name}" for name in build.overview.segments), "prove"):
        build.carry_out(step, quiet)
    list(build.advice({}, quiet))


def quiet(_: object) -> None:
    """Say nothing."""


def arrays(seed: int) -> None:
    """Read a file of arrays that was changed, in its bytes or inside of the archive."""
    chance = random.Random(seed)
    target = folder() / "arrays.npz"
    if chance.random() < 0.5:
        target.write_bytes(mutated(chance.choice(_arrays()), chance))
    else:
        with zipfile.ZipFile(io.BytesIO(_arrays()[0])) as whole:
            parts = {name: whole.read(name) for name in whole.namelist()}
        name = chance.choice(list(parts))
        head, rest = parts[name][:128], parts[name][128:]
        parts[name] = mutated_text(head.decode("latin-1"), chance)[:4000] + rest
        with zipfile.ZipFile(target, "w", chance.choice((0, 8))) as archive:
            for each, content in parts.items():
                archive.writestr(each, content)
    inputs = {"x": TensorType("float32", (2, 3)), "y": TensorType("int64", (4,))}
    refused(lambda: arrays_from_files([target], inputs, "in the file"))


@functools.cache
def _arrays() -> tuple[bytes, ...]:
    held = {"x": np.ones((2, 3), np.float32), "y": np.arange(4)}
    files = [io.BytesIO() for _ in range(3)]
    np.savez(files[0], allow_pickle=False, **held)
    np.savez_compressed(files[1], allow_pickle=False, **held)
    np.save(files[2], held["x"], allow_pickle=False)
    return tuple(file.getvalue() for file in files)


def checkpoint(seed: int) -> None:
    """Load a checkpoint that was changed."""
    import torch

    from partition_core.trace.checkpoint import load_state

    chance = random.Random(seed)
    model = torch.nn.Linear(3, 2)
    stream = io.BytesIO()
    torch.save({"state_dict": model.state_dict(), "meta": {"epoch": 3, "name": "x"}}, stream)
    target = folder() / "weights.pth"
    target.write_bytes(mutated(stream.getvalue(), chance))
    named = Checkpoint("weights.pth", "00000000")
    refused(lambda: load_state(model, named, target, Place("recipes/x.yaml", 1)))


CASES: dict[str, Callable[[int], None]] = {
    "recipes": recipe,
    "settings": settings,
    "ONNX files": model,
    "builds of ONNX files": build,
    "files of arrays": arrays,
    "checkpoints": checkpoint,
}
