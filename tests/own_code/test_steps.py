"""What each kind of step really runs, in a process of its own, is in its fingerprint."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from partition_core.build.own_code import PACKAGE, code_files
from partition_core.build.steps import STEPS as STEP_TABLE
from tests.forks import run_forked
from tests.onnx_source.files import detector
from tests.onnx_source.projects import TWO
from tests.projects import RECIPE, SMALL_DETECTOR, Scratch

from .kinds import KINDS
from .sources import distributions, foreign_imports

RECORDER = Path(__file__).parent / "recorder"
CALLERS = {
    *("build/run.py", "build/plan.py", "build/carry_out.py"),
    *(f"build/steps/{row.kind}.py" for row in STEP_TABLE),
}
"""They choose the module of a step and keep what it gives, and do nothing else in it; so do the
modules of other steps, whose entries are looked up again to see whether an input changed."""

MMDET = """\
model: {source: mmdet, config: small.py, weights: {seed: 0}}
export:
  inputs: {input: {shape: [1, 3, 64, 64]}}
marks:
  - {name: whole, on: detector, inputs: [input], outputs: [dets, labels]}
partition:
  type: one
  segments:
    - {save_file: body.onnx, start: ['whole:input'], end: ['whole:output']}
"""

STEPS: dict[tuple[str, str], tuple[str, str]] = {
    ("tiny", "export"): ("export torch", "calls"),
    ("tiny", "cut body.onnx"): ("cut", "calls"),
    ("tiny", "cut tail.onnx"): ("cut", "calls"),
    ("tiny", "prove"): ("prove", "calls"),
    ("tiny", "measure"): ("measure", "calls"),
    ("tiny", "report"): ("report", "calls"),
    ("file", "export"): ("export onnx", "calls"),
    ("file", "cut body.onnx"): ("cut", "calls"),
    ("file", "cut head.onnx"): ("cut", "calls"),
    ("file", "prove"): ("prove", "calls"),
    ("mmdet", "export"): (
        "export mmdet",
        "imports",
    ),  # to note the calls of mmdet takes as long again
}
"""For the steps of three recipes, in the order in which they can be done: kind, what is noted."""


SAMPLE = [
    pytest.param(name, id=" ".join(name), marks=pytest.mark.thorough if name[0] == "mmdet" else ())
    for name in STEPS
]


@dataclass(frozen=True)
class Recorded:
    """What a step ran or read of ours, all that it imported, and the labels of its fingerprint."""

    files: set[str]
    packages: set[str]
    labels: set[str]

    @property
    def missing(self) -> set[str]:
        return {
            file
            for file in self.files - CALLERS
            if f"code partition_core/{file}" not in self.labels
        }


def carried_out(scratch: Scratch, recipe: str, step: str, what: str, folder: Path) -> Recorded:
    """Carry out a step in a process of its own that records what it runs, with or without torch."""
    scratch.environment["PYTHONPATH"] = f"{scratch.package_root}:{RECORDER}"
    scratch.environment["PARTITION_CORE_REPORT"] = "1"
    folder.mkdir()
    arguments = (str(scratch.folder), recipe, step, str(folder), what)
    kind = "onnx" if recipe == "file" else "torch"
    run = run_forked(kind, ["carry_out", *arguments], scratch.folder, scratch.variables())
    assert run.returncode == 0, run.stdout
    processes = [json.loads(path.read_bytes()) for path in folder.glob("*.json")]
    return Recorded(
        {file for process in processes for file in process["files"]},
        {package for process in processes for package in process["packages"]},
        {label for label, _ in json.loads((folder / "entries").read_bytes())},
    )


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """Return a project with a recipe for each source."""
    folder = tmp_path_factory.mktemp("recorded")
    made = Scratch(folder / "project", folder / "store")
    marked = RECIPE.replace("on: tiny.decode,", "decorator: true,")
    made.write("recipes/tiny.yaml", marked.replace("export:\n", "export:\n  weights: shared\n"))
    made.edit("tiny.py", "import torch\n", "import torch\nfrom partition_core import mark\n")
    made.edit("tiny.py", "def decode", '@mark("decode", inputs=["maps"], outputs=[])\ndef decode')
    made.write("recipes/file.yaml", TWO)
    (made.folder / "detector.onnx").write_bytes(detector().SerializeToString())
    made.write("small.py", SMALL_DETECTOR)
    made.write("recipes/mmdet.yaml", MMDET)
    return made


class Records(dict[tuple[str, str], Recorded]):
    """What each step ran; a step is carried out, after those before it, when it is asked for."""

    def __init__(self, scratch: Scratch, folder: Path) -> None:
        super().__init__()
        self.scratch, self.folder = scratch, folder

    def __missing__(self, name: tuple[str, str]) -> Recorded:
        """Carry out the steps of a recipe up to one."""
        for (recipe, step), (_, what) in STEPS.items():
            if recipe == name[0] and (recipe, step) not in self:
                folder = self.folder / f"{recipe} {step}"
                self[recipe, step] = carried_out(self.scratch, recipe, step, what, folder)
            if (recipe, step) == name:
                break
        return self[name]


@pytest.fixture(scope="module")
def recorded(scratch: Scratch, tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Return what each step ran."""
    folder = tmp_path_factory.mktemp("records")
    return Records(scratch, folder)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_step_runs_and_reads_nothing_of_ours_that_its_fingerprint_lacks(
    recorded: Records, name: tuple[str, str]
) -> None:
    found = recorded[name]
    assert found.missing == set()
    kind, what = STEPS[name]
    starts = [f"{module.replace('.', '/')}.py" for module in KINDS[kind]]
    # The module of the step is imported for its key, before anything is noted; it is called later.
    assert set(starts if what == "calls" else starts[1:]) <= found.files
    if what == "calls":  # it is not empty: most of what could be run was
        assert len(found.files) > len(code_files(*KINDS[kind])) * 0.5


@pytest.mark.parametrize("name", SAMPLE)
def test_a_step_loads_no_package_that_our_code_imports_and_its_fingerprint_lacks(
    recorded: Records, name: tuple[str, str]
) -> None:
    kind, _ = STEPS[name]
    found = recorded[name]
    imported = {
        package
        for label, path in code_files(*KINDS[kind]).items()
        if label.endswith(".py")
        for package in foreign_imports(path, PACKAGE)
    }
    loaded = imported & found.packages
    assert {package for package in loaded if not distributions(package) & found.labels} == set()
    assert loaded


def test_measuring_runs_a_module_in_another_process_which_counts(
    recorded: Records,
) -> None:
    assert "backends/measured_run.py" in recorded["tiny", "measure"].files
    assert "report/page/report.css" in recorded["tiny", "report"].files


@pytest.fixture
def changed(scratch: Scratch, recorded: Records, tmp_path: Path) -> Scratch:
    """Return the project with a copy of our package that has a module more, `novel`."""
    assert recorded["tiny", "export"].files  # which the cut needs in the store
    copy = tmp_path / "copy"
    shutil.copytree(PACKAGE, copy / "partition_core")
    (copy / "partition_core" / "novel.py").write_text("VALUE = 1\n")
    project = tmp_path / "project"
    shutil.copytree(scratch.folder, project)
    made = object.__new__(Scratch)
    made.__dict__.update(vars(scratch) | {"folder": project, "package_root": copy})
    return made


def add_to_the_cut(changed: Scratch, line: str) -> None:
    """Let a step's module run one line more."""
    file = changed.package_root / "partition_core" / "build" / "steps" / "cut.py"
    text, before = file.read_text(), "        at = f"
    assert text.count(before) == 1
    file.write_text(text.replace(before, f"        {line}\n{before}"))


def test_a_step_that_runs_something_that_no_import_tells_is_noticed(
    changed: Scratch, tmp_path: Path
) -> None:
    add_to_the_cut(changed, "__import__('importlib').import_module('.novel', 'partition_core')")
    found = carried_out(changed, "tiny", "cut body.onnx", "calls", tmp_path / "record")
    assert found.missing == {"novel.py"}


def test_what_a_step_imports_since_today_is_in_its_fingerprint_by_itself(
    changed: Scratch, tmp_path: Path
) -> None:
    add_to_the_cut(changed, "from partition_core.novel import VALUE")
    found = carried_out(changed, "tiny", "cut body.onnx", "calls", tmp_path / "record")
    assert "novel.py" in found.files
    assert found.missing == set()
    assert "code partition_core/novel.py" in found.labels
