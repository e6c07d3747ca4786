"""Which of our own files, and whose packages, the fingerprint of each step has."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import get_args

import pytest

from partition_core.base.disk import file_digest
from partition_core.build import fingerprint_entries as inputs
from partition_core.build.own_code import ASIDE, PACKAGE, Kind, code_files, modules_of
from partition_core.build.project import Project
from partition_core.build.steps import report
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.values import Recipe

from .recipes import RECIPES
from .sources import distributions, foreign_imports, own_imports

KINDS: tuple[Kind, ...] = get_args(Kind)
STEPS = tuple(kind for kind in KINDS if kind != "read")


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def closure(kind: Kind) -> set[str]:
    """Return what `modules_of` does, by Python's own parser."""
    start = "recipe.reader" if kind == "read" else f"build.steps.{kind}"
    found: set[str] = set()
    pending = [start, *_packages(start)]
    while pending:
        name = pending.pop()
        if name not in found and not _is_aside(name):
            found.add(name)
            pending += own_imports(MODULES[name], PACKAGE)
            pending += _packages(name)
    return found


def _packages(name: str) -> list[str]:
    return [name[:end] for end in range(len(name)) if name[end] == "."] + [""]


def _is_aside(name: str) -> bool:
    return any(name == aside or name.startswith(f"{aside}.") for aside in ASIDE)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_step_imports_is_found_as_python_would_find_it(kind: Kind) -> None:
    assert modules_of(kind) == closure(kind)


def test_each_module_of_a_step_is_where_the_fingerprint_of_a_kind_starts() -> None:
    files = (PACKAGE / "build" / "steps").glob("[!_]*.py")
    assert {file.stem for file in files} == set(STEPS)


@pytest.mark.costly
def test_what_is_set_aside_is_there_and_would_be_found() -> None:
    met = {
        name
        for kind in STEPS
        for module in (*modules_of(kind), *(name for name in ASIDE if name in MODULES))
        for name in own_imports(MODULES[module], PACKAGE)
    }
    assert set(ASIDE) <= met


FILES = {
    "report/page/report.css": {"report"},
    "report/composing.py": {"report"},
    "report/overview.py": {"report"},
    "graph/file/graph_writer.py": set(STEPS),
    "graph/stored_models.py": {"export", "mark", "cut"},
    "sources/onnx/given_file.py": {"mark"},
    "base/recording.py": {"export", "mark", "prove", "measure", "report"},
    "trace/to_onnx.py": {"export"},
    "trace/decorator.py": {"export"},
    "proof/comparison.py": {"mark", "prove", "measure", "report"},
    "backends/onnxruntime/measured_run.py": {"measure", "report"},
    "sources/onnx/recording.py": {"mark"},
    "build/work.py": set(STEPS),
    "recipe/yaml_text.py": {"read"},
    "schema/recipe.schema.json": {"read"},
    "policies/marks/mmdet.yaml": {"read"},
    "recipe/values.py": set(KINDS),
    "tasks.py": set(),
    "build/run.py": set(),
    "suggest/search.py": set(),
    "runtime/pipeline.py": set(),
    "store/transports/http.py": set(),
}
"""Some files, and the kinds whose results are made again when one of them changes."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the package."""
    return Path(
        shutil.copytree(
            PACKAGE,
            tmp_path_factory.mktemp("copy") / "partition_core",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    )


@pytest.mark.parametrize(("file", "kinds"), FILES.items(), ids=list(FILES))
def test_a_changed_file_changes_the_steps_that_run_it_and_no_other(
    copy: Path, file: str, kinds: set[str]
) -> None:
    before = digests(copy)
    content = (copy / file).read_bytes()
    (copy / file).write_bytes(content + b"\n")
    after = digests(copy)
    (copy / file).write_bytes(content)
    assert {kind for kind in KINDS if before[kind] != after[kind]} == kinds


def digests(package: Path) -> dict[str, dict[str, str]]:
    return {
        kind: {label: file_digest(path) for label, path in code_files(kind, package).items()}
        for kind in KINDS
    }


def test_every_file_without_code_belongs_to_what_reads_it() -> None:
    data = {
        path.relative_to(PACKAGE).as_posix()
        for folder in (PACKAGE, PACKAGE / "schema")  # which is a link in the repository
        for path in folder.rglob("*.*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".typed")
    }
    assert data == {
        label for kind in KINDS for label in code_files(kind) if not label.endswith(".py")
    }


PIECES = {
    "__init__.py": "",
    "build/__init__.py": "",
    "build/steps/__init__.py": "from partition_core import above\n",
    "build/steps/cut.py": """\
from typing import TYPE_CHECKING

from partition_core.plain import function
from partition_core.folder import (
    module,  # a comment (with parentheses
    name as other,
)

if TYPE_CHECKING:
    from partition_core.types import A

    from partition_core.types_too import B

import partition_core.after as short


class Holder:
    def lazy(self):
        if self:
            from partition_core import inside
            import partition_core.deep.deeper.deepest

        importlib.import_module("partition_core.literal")
        [sys.executable, "-m", 'partition_core.runner']
""",
    "folder/__init__.py": "import partition_core.of_the_folder\n",
    "deep/__init__.py": "",
    "deep/deeper/__init__.py": "",
    "build/plan.py": "import partition_core.beyond\n",
    "plain.py": "from partition_core.build.plan import x\nfrom partition_core.chain import y\n",
    **dict.fromkeys(
        (
            *("above.py", "folder/module.py", "types.py", "types_too.py", "after.py", "inside.py"),
            *("deep/deeper/deepest.py", "literal.py", "runner.py", "of_the_folder.py"),
            *("beyond.py", "chain.py", "unused.py"),
        ),
        "",
    ),
}


def test_every_way_to_import_is_followed_but_for_types_and_what_is_aside(tmp_path: Path) -> None:
    for name, text in PIECES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    left = {"types.py", "types_too.py", "build/plan.py", "beyond.py", "unused.py"}
    assert set(code_files("cut", tmp_path)) == set(PIECES) - left


@pytest.fixture
def fingerprints(tmp_path: Path) -> dict[str, set[str]]:
    """Return the labels of the entries of each kind of work, for an mmdet model and a file."""
    project = Project.at(tmp_path)
    for name in ("small.py", "a.jpg", "a.npz"):
        (tmp_path / name).write_text("")
    detector, file = recipe_file(RECIPES["seed"]), recipe_file(RECIPES["onnx"])
    entries = {
        "export": inputs.export_inputs(project, detector),
        "mark": inputs.export_inputs(project, file),
        "cut": inputs.cut_inputs(project),
        "prove": inputs.proof_inputs(project),
        "measure": inputs.measuring_inputs(project),
        "report": inputs.report_inputs(project, detector),
        "read": inputs.reading_inputs(project),
    }
    return {kind: {label for label, _ in found} for kind, found in entries.items()}


def recipe_file(recipe: Recipe) -> RecipeFile:
    return RecipeFile(recipe, "recipes/tiny.yaml", {"model": {}}, {}, ())


@pytest.mark.parametrize("kind", KINDS)
def test_a_fingerprint_has_the_files_and_every_package_that_they_import(
    fingerprints: dict[str, set[str]], kind: Kind
) -> None:
    labels = fingerprints[kind]
    assert {f"code partition_core/{label}" for label in code_files(kind)} <= labels
    assert {"python", "partition-core"} <= labels
    imported = {
        name for module in modules_of(kind) for name in foreign_imports(MODULES[module], PACKAGE)
    }
    assert {name for name in imported if not distributions(name) & labels} == set()


def test_a_report_depends_on_every_version_that_it_shows(
    fingerprints: dict[str, set[str]],
) -> None:
    assert set(report._PACKAGES) <= fingerprints["report"]


def test_a_package_that_is_another_than_usual_has_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {"onnxruntime-gpu": "9.9", "opencv-python-headless": "8.8"}
    monkeypatch.setattr(inputs, "_version", installed.get)
    project = Project.at(tmp_path)
    assert ("onnxruntime-gpu", "9.9") in list(inputs.proof_inputs(project))
    for name in ("small.py", "a.jpg", "a.npz"):
        (tmp_path / name).write_text("")
    entries = list(inputs.export_inputs(project, recipe_file(RECIPES["seed"])))
    assert ("opencv-python-headless", "8.8") in entries


def test_an_export_is_followed_from_where_every_source_is_reached() -> None:
    """What a second recipe of a run loads no more is found from these modules."""
    from partition_core.build.followed import ROOTS

    pending = [root.removeprefix("partition_core.") for root in ROOTS]
    assert set(pending) <= own_imports(MODULES["build.steps.export"], PACKAGE)
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += own_imports(MODULES[name], PACKAGE)
    assert {"sources.mmdet.source", "sources.torch.source", "trace.exporter"} <= found
