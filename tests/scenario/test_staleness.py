"""What a model reads is an input: each edit is noticed, told by the dry run, and built; and undone.

Real runs of doit. The project reads in all the ways that people's do.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from partition_core.base.file_stamp import SETTLED_AFTER
from tests.checkpoints.file_server import FileServer, serving
from tests.projects import ROOT, SMALL_DETECTOR, TINY, Scratch, steps

READING = """
def build(width=8):
    import glob
    import json
    import os
    from pathlib import Path

    import beside
    import editable
    import yaml
    from pathed import SCALE

    import zoo

    model = Tiny(width)
    settings = json.loads(Path("settings.json").read_text())
    scales = yaml.safe_load(Path("scales.yaml").read_text())
    if settings["pretrained"]:
        model.load_state_dict(torch.load("w.pt"))
    if settings["tuned"]:
        newest = max(glob.glob("ckpts/*.pt"), key=os.path.getmtime)
        model.load_state_dict(torch.load(newest))
    if Path("bias.json").exists():
        scales = [scale + 1 for scale in scales]
    with torch.no_grad():
        model.head.small.weight *= beside.SCALE * SCALE * editable.SCALE * zoo.SCALE * scales[0]
    return model
"""


class Reading(Scratch):
    """A project whose model reads files, and libraries that lie in a folder beside it."""

    @property
    def beside(self) -> Path:
        return self.folder.parent / "beside"

    def fill(self) -> None:
        """Write what the model reads."""
        self.write(
            "tiny.py", TINY.replace("def build(width=8):\n    return Tiny(width)\n", READING)
        )
        self.edit("recipes/tiny.yaml", "  weights: {seed: 0}\n", "")
        self.set(pretrained=True, tuned=False)
        self.write("scales.yaml", "[1.5, 2.0]\n")
        (self.folder / "ckpts").mkdir()
        self.train("w.pt", 1, "ckpts/epoch_1.pt", 2, "ckpts/epoch_2.pt", 3)
        # As `PYTHONPATH` and `.pth` files name folders, and as pip installs packages.
        for name in ("path", "pathed", "checkout", "site-packages"):
            (self.beside / name).mkdir(parents=True)
        self.write("../beside/path/beside.py", "from deeper import SCALE\n")
        self.write("../beside/path/deeper.py", "SCALE = 1.0\n")
        self.write("../beside/pathed/pathed.py", "SCALE = 1.0\n")
        self.write("../beside/checkout/editable.py", "SCALE = 1.0\n")
        site = self.beside / "site-packages"
        (site / "lib.pth").write_text(f"{self.beside / 'pathed'}\n")
        (site / "__editable__.pth").write_text(f"{self.beside / 'checkout'}\n")
        self.install("editable", "0.1", {"__editable__.pth": None})
        self.write(
            "../beside/path/sitecustomize.py", f"import site\nsite.addsitedir({str(site)!r})\n"
        )
        self.install("zoo", "1.0.9", {"zoo.py": "SCALE = 1.0\n"})
        self.environment["PYTHONPATH"] = f"{ROOT}:{self.beside / 'path'}"

    def keep(self) -> None:
        """Keep what the model reads, for `restore`."""
        for folder in (self.folder, self.beside):
            shutil.copytree(folder, folder.with_name(f"{folder.name} before"))

    def restore(self) -> None:
        """Put back what was kept, with its times, and take away what was not there."""
        for folder in (self.folder, self.beside):
            for path in folder.iterdir():
                if path.is_dir() and path.name != "build":
                    shutil.rmtree(path)
                elif path.is_file():
                    path.unlink()
            before = folder.with_name(f"{folder.name} before")
            shutil.copytree(before, folder, dirs_exist_ok=True)

    def set(self, **settings: bool) -> None:
        self.write("settings.json", json.dumps(settings))

    def train(self, *names_and_seeds: str | int) -> None:
        """Write weights, as a training does."""
        names: dict[str, Any] = {}
        exec(TINY, names)  # noqa: S102  # reason: a process that imports torch takes seconds
        for name, seed in zip(names_and_seeds[::2], names_and_seeds[1::2], strict=True):
            torch.manual_seed(int(seed))
            torch.save(names["Tiny"]().state_dict(), self.folder / str(name))

    def install(self, name: str, version: str, files: dict[str, str | None]) -> None:
        """Install a package, as pip does."""
        site = self.beside / "site-packages"
        for former in site.glob(f"{name}-*.dist-info"):
            shutil.rmtree(former)
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
        for file, text in files.items():
            if text is not None:
                (site / file).write_text(text)

    def why(self) -> str:
        """Return what the dry run says of the export."""
        (line,) = [
            line
            for line in self.built("build", "--dry-run").splitlines()
            if line.startswith("tiny: export: ")
        ]
        return line.removeprefix("tiny: export: ")

    def settle(self) -> None:
        """Build what is in the store, so that the project remembers that nothing is to be done."""
        time.sleep(SETTLED_AFTER + 0.1)
        for _ in range(2):  # what the first one publishes changed just now
            memory = self.folder / "build" / ".partition" / "settled.json"
            if self.built() == NOTHING and "tiny" in json.loads(memory.read_bytes())["recipes"]:
                return
            time.sleep(SETTLED_AFTER + 0.1)
        raise AssertionError("it is not settled")


thorough = pytest.mark.thorough
NOTHING = "tiny: up to date (4 artifacts in build/tiny)\n"
EXPORTED = ["export", "cut body.onnx", "cut tail.onnx", "prove"]


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    """Return the project, built and settled. Each test leaves it as it was."""
    folder = tmp_path_factory.mktemp("reading")
    project = Reading(folder / "project", folder / "store")
    project.fill()
    project.keep()
    project.is_forked = False  # what is noticed later was followed where a user's model is built
    assert steps(project.built()) == EXPORTED
    project.is_forked = True
    project.settle()
    return project


@pytest.fixture
def project(reading: Reading) -> Iterator[Reading]:
    """Return the project; afterwards what it reads is as before."""
    yield reading
    reading.restore()


def checkpoint_file(project: Reading) -> None:
    project.train("w.pt", 7)


def settings_file(project: Reading) -> None:
    project.write("settings.json", '{"pretrained": false, "tuned": false}')


def scales_file(project: Reading) -> None:
    project.write("scales.yaml", "[3.0]\n")


def library_on_pythonpath(project: Reading) -> None:
    project.write("../beside/path/deeper.py", "SCALE = 2.0\n")


def library_of_a_pth_file(project: Reading) -> None:
    project.write("../beside/pathed/pathed.py", "SCALE = 2.0\n")


def editable_installation(project: Reading) -> None:
    project.write("../beside/checkout/editable.py", "SCALE = 2.0\n")


def new_version(project: Reading) -> None:
    project.install("zoo", "1.0.11", {"zoo.py": "SCALE = 2.0\n"})


def file_that_was_missing(project: Reading) -> None:
    project.write("bias.json", "{}")


def module_that_is_found_earlier(project: Reading) -> None:
    project.write("deeper.py", "SCALE = 3.0\n")


EDITS: dict[str, tuple[Callable[[Reading], None], str]] = {
    "a checkpoint": (checkpoint_file, "file w.pt changed"),
    "a JSON file": (settings_file, "file settings.json changed"),
    "a YAML file": (scales_file, "file scales.yaml changed"),
    "a library on PYTHONPATH": (library_on_pythonpath, "module deeper changed"),
    "a library on a .pth path": (library_of_a_pth_file, "module pathed changed"),
    "an editable installation": (editable_installation, "module editable changed"),
    "a version": (new_version, "package zoo changed: 1.0.9 -> 1.0.11"),
    "a file that was missing": (
        file_that_was_missing,
        "presence of bias.json changed: missing -> file",
    ),
    "a module found earlier": (module_that_is_found_earlier, "module deeper changed"),
}


ALONE = ("a checkpoint", "a library on PYTHONPATH", "a version")
"""These are also built alone; all are built by the test that makes all edits at once."""


@pytest.mark.parametrize(("edit", "told"), EDITS.values(), ids=EDITS)
def test_an_edit_is_noticed_and_told(
    project: Reading, edit: Callable[[Reading], None], told: str
) -> None:
    project.settle()
    edit(project)
    assert project.why() == f"build: {told}"


@thorough
@pytest.mark.parametrize("name", ALONE)
def test_an_edit_is_built(project: Reading, name: str) -> None:
    project.settle()
    before = project.artifacts()
    EDITS[name][0](project)
    assert "export" in steps(project.built())
    assert project.artifacts()["end2end.onnx"] != before["end2end.onnx"]
    assert project.built() == NOTHING


def test_going_back_is_a_cache_hit(project: Reading) -> None:
    project.built()
    before = project.artifacts()
    for edit, _ in EDITS.values():
        edit(project)
    project.built()
    after = project.artifacts()
    assert after["end2end.onnx"] != before["end2end.onnx"]
    project.restore()
    assert steps(project.built()) == []
    assert project.artifacts() == before


@pytest.mark.thorough
def test_a_file_that_is_read_under_a_condition_counts_when_it_is_read(project: Reading) -> None:
    project.built()
    before = project.artifacts()
    # It does not read the checkpoints of the training: they may change.
    project.train("ckpts/epoch_1.pt", 20)
    assert project.built() == NOTHING
    project.set(pretrained=False, tuned=True)
    assert project.why() == "build: file settings.json changed"
    assert "export" in steps(project.built())
    tuned = project.artifacts()
    manifest = json.loads(tuned["manifest.json"])
    labels = [label for label, _ in manifest["fingerprints"]["export"]["entries"]]
    assert "file ckpts/epoch_1.pt" in labels  # it was written last
    assert "names in ckpts" in labels
    assert "file w.pt" not in labels
    project.train("w.pt", 21)
    assert project.built() == NOTHING
    # The newest is another one: a new name, and an old one that was written again.
    project.train("ckpts/epoch_3.pt", 22)
    told = "names in ckpts changed; age order of ckpts/*.pt changed"
    assert project.why() == f"build: {told}"
    assert "export" in steps(project.built())
    assert project.artifacts()["end2end.onnx"] != tuned["end2end.onnx"]
    project.train("ckpts/epoch_2.pt", 23)
    assert project.why() == "build: age order of ckpts/*.pt changed"
    project.restore()
    assert steps(project.built()) == []
    assert project.artifacts() == before


@pytest.mark.thorough
def test_recipes_of_one_run_that_share_modules_have_what_each_would_have_alone(
    tmp_path: Path,
) -> None:
    together = Scratch(tmp_path / "together" / "project", tmp_path / "together" / "store")
    alone = Scratch(tmp_path / "alone" / "project", tmp_path / "alone" / "store")
    for project in (together, alone):
        (project.folder / "recipes" / "tiny.yaml").rename(project.folder / "recipes" / "one.yaml")
        project.edit("recipes/one.yaml", "tiny:build", "models:one")
        project.write("models.py", MODELS)
        project.write(
            "sizes.py", "from pathlib import Path\nSIZE = int(Path('size.txt').read_text())\n"
        )
        project.write("size.txt", "8")
        for name in ("first.txt", "second.txt", "third.txt"):
            project.write(name, "1.0")
        text = (project.folder / "recipes" / "one.yaml").read_text()
        project.write("recipes/two.yaml", text.replace("models:one", "models:two"))
    together.built("build")
    alone.built("build", "recipe=two")
    assert together.artifacts("two") == alone.artifacts("two")
    entries = json.loads(together.artifacts("two")["manifest.json"])["fingerprints"]["export"][
        "entries"
    ]
    labels = {label for label, _ in entries if label.startswith(("file ", "module "))}
    # The module was loaded, and read its file, for the recipe before it.
    assert labels == {"file size.txt", "file second.txt"}
    together.write("size.txt", "9")
    output = together.built("build", "--dry-run")
    for recipe in ("one", "two"):
        assert f"{recipe}: export: build: file size.txt changed" in output


MODELS = """
from pathlib import Path

import tiny
from sizes import SIZE


def one(width):
    Path("first.txt").read_text()
    return tiny.Tiny(SIZE)


def two(width):
    Path("second.txt").read_text()
    return tiny.Tiny(SIZE)
"""


DETECTOR = """\
model: {source: mmdet, config: detector.py, weights: {seed: 0}}
export:
  inputs: {input: {shape: [1, 3, 64, 64]}}
partition: {type: single_stage}
"""
CONFIG = """\
_base_ = 'small.py'
custom_imports = dict(imports=['plug.neck'], allow_failed_imports=False)
model = dict(neck=dict(type='ScaledFPN'))
"""
NECK = """\
from mmdet.models.necks import FPN
from mmdet.registry import MODELS

from .parts import SCALE


@MODELS.register_module()
class ScaledFPN(FPN):
    def forward(self, inputs):
        return tuple(SCALE * level for level in super().forward(inputs))
"""


@pytest.mark.thorough
def test_a_module_of_custom_imports_and_what_it_imports_are_inputs(torch_fresh: Scratch) -> None:
    (torch_fresh.folder / "recipes" / "tiny.yaml").unlink()
    (torch_fresh.folder / "plug").mkdir()
    torch_fresh.write("recipes/detector.yaml", DETECTOR)
    torch_fresh.write("small.py", SMALL_DETECTOR)
    torch_fresh.write("detector.py", CONFIG)
    torch_fresh.write("plug/__init__.py", "")
    torch_fresh.write("plug/neck.py", NECK)
    torch_fresh.write("plug/parts.py", "SCALE = 1.0\n")
    torch_fresh.is_forked = False  # so that scipy is imported
    torch_fresh.built()
    torch_fresh.is_forked = True
    before = torch_fresh.artifacts("detector")
    manifest = json.loads(before["manifest.json"])
    entries = dict(manifest["fingerprints"]["export"]["entries"])
    # What pip installed counts by version, as a line that people can read.
    assert {"module plug", "module plug.neck", "module plug.parts"} <= set(entries)
    assert [label for label in entries if label.startswith("file ")] == []
    assert entries["package scipy"].count(".") == 2
    assert "not_followed" not in manifest["export"]

    torch_fresh.edit("plug/neck.py", "SCALE * level", "SCALE * level + 0.0")
    told = "detector: export: build: module plug.neck changed\n"
    assert told in torch_fresh.built("build", "--dry-run")
    torch_fresh.edit("plug/neck.py", "SCALE * level + 0.0", "SCALE * level")
    torch_fresh.edit("plug/parts.py", "1.0", "2.0")
    told = "detector: export: build: module plug.parts changed\n"
    assert told in torch_fresh.built("build", "--dry-run")
    torch_fresh.built()
    assert torch_fresh.artifacts("detector")["end2end.onnx"] != before["end2end.onnx"]
    torch_fresh.edit("plug/parts.py", "2.0", "1.0")
    assert "export: " not in torch_fresh.built()
    assert torch_fresh.artifacts("detector") == before


DOWNLOADING = """
def build(width=8):
    import sqlite3
    import subprocess
    import sys
    import urllib.request

    with urllib.request.urlopen("{url}") as stream:
        stream.read()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    sqlite3.connect("models.db").close()
    return Tiny(width)
"""


def test_what_cannot_be_followed_is_told_once_and_can_be_declared(
    torch_fresh: Scratch,
) -> None:
    with serving(FileServer(b"weights")) as server:
        code = DOWNLOADING.format(url=server.url())
        torch_fresh.write(
            "tiny.py", TINY.replace("def build(width=8):\n    return Tiny(width)\n", code)
        )
        torch_fresh.environment |= {"NO_PROXY": "127.0.0.1"}
        output = torch_fresh.built()
        (warning,) = warnings_in(output)
        python = os.path.basename(sys.executable)
        outside = [
            "a connection to '127.0.0.1'",
            "the database 'models.db'",
            f"the program '{python}'",
        ]
        assert warning == (
            "WARNING: recipes/tiny.yaml:2: model: the model depends on what cannot be followed: "
            f"{', '.join(outside)}; changes there will not be noticed; name files or packages "
            "that stand for it in 'model.depends_on'"
        )
        assert (
            json.loads(torch_fresh.artifacts()["manifest.json"])["export"]["not_followed"]
            == outside
        )
        shutil.rmtree(torch_fresh.folder / "build")
        assert warnings_in(torch_fresh.built()) == []  # it comes from the store

        torch_fresh.write("version.txt", "1")
        (torch_fresh.folder / "data").mkdir()
        torch_fresh.write("data/a.json", "1")
        torch_fresh.edit(
            "recipes/tiny.yaml",
            "  args:",
            "  depends_on: {files: [version.txt, 'data/*.json'], packages: [numpy]}\n  args:",
        )
        output = torch_fresh.built()
        assert warnings_in(output) == []
        assert steps(output) == ["export"]
        entries = dict(
            json.loads(torch_fresh.artifacts()["manifest.json"])["fingerprints"]["export"][
                "entries"
            ]
        )
        assert {"file version.txt", "file data/a.json", "package numpy"} <= set(entries)
        assert torch_fresh.built() == NOTHING
    for name, told in (("version.txt", "changed"), ("data/b.json", "is new")):
        torch_fresh.write(name, "2")
        assert f"build: file {name} {told}" in torch_fresh.built("build", "--dry-run")
        torch_fresh.write("version.txt", "1")
    (torch_fresh.folder / "version.txt").unlink()
    run = torch_fresh.doit("build")
    assert run.returncode != 0
    assert "recipes/tiny.yaml:5: model.depends_on.files[0]: there is no file" in run.stdout


def warnings_in(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("WARNING: ")]


def test_an_input_that_changes_while_it_is_read_keeps_nothing(torch_fresh: Scratch) -> None:
    """The factory waits, as others do that take long, and another process writes its file."""
    torch_fresh.write("w.txt", "1")
    code = """
    def build(width=8):
        import subprocess
        import sys
        from pathlib import Path

        Path("w.txt").read_text()
        write = "import time; time.sleep(0.05); open('w.txt', 'w').write('2')"
        subprocess.run([sys.executable, "-c", write], check=True)
        return Tiny(width)
    """
    torch_fresh.write(
        "tiny.py",
        TINY.replace("def build(width=8):\n    return Tiny(width)\n", textwrap.dedent(code)),
    )
    run = torch_fresh.doit("build")
    assert run.returncode != 0
    assert "export: while it ran, file w.txt changed; its result belongs to" in run.stdout
    assert not (torch_fresh.folder / "build" / "tiny").exists()
    assert not list((torch_fresh.store / "v1" / "ac").glob("*/*"))
