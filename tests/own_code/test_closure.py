"""Which of our own files, and whose packages, the fingerprint of each step has."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from partition_core.base import packages
from partition_core.base.disk import digest_of, file_digest
from partition_core.build import fingerprint_entries as inputs
from partition_core.build import steps
from partition_core.build.own_code import ASIDE, PACKAGE, closure_of, code_files
from partition_core.build.plan import Plan
from partition_core.build.project import Project
from partition_core.build.step import Step
from partition_core.build.steps import report
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.model_source import SOURCES
from partition_core.recipe.target import PRECISIONS, BackendName, Target
from partition_core.recipe.values import Recipe
from partition_core.sources.mmdet import form as mmdet
from partition_core.sources.onnx import form as onnx
from partition_core.sources.source import source_module
from partition_core.store.entry import Origin, Result, StoredFile

from .kinds import EXPORTS, KINDS, ON_TARGETS
from .recipes import RECIPES
from .sources import distributions, foreign_imports, own_imports

STEPS = tuple(kind for kind in KINDS if kind != "read")


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def closure(kind: str) -> set[str]:
    """Return what `closure_of` does, by Python's own parser."""
    found: set[str] = set()
    pending = [name for start in KINDS[kind] for name in (start, *_packages(start))]
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
def test_what_a_step_imports_is_found_as_python_would_find_it(kind: str) -> None:
    assert closure_of(*KINDS[kind]) == closure(kind)


def test_each_module_of_a_step_is_where_the_fingerprint_of_a_kind_starts() -> None:
    files = (PACKAGE / "build" / "steps").glob("[!_]*.py")
    assert {file.stem for file in files} == {row.kind for row in steps.STEPS}


@pytest.mark.costly
def test_what_is_set_aside_is_there_and_would_be_found() -> None:
    met = {
        name
        for kind in STEPS
        for module in (*closure_of(*KINDS[kind]), *(name for name in ASIDE if name in MODULES))
        for name in own_imports(MODULES[module], PACKAGE)
    }
    assert set(ASIDE) <= met


COMPARISONS = {kind for kind in ON_TARGETS if kind.startswith("compare")}
FILES = {
    "report/page/report.css": {"report"},
    "report/composing.py": {"report"},
    "report/overview.py": {"report"},
    "backends/ncnn/conversion.py": {"convert ncnn", "compare ncnn"},
    "backends/openvino/session.py": {"convert openvino", "compare openvino"},
    "proof/on_target.py": COMPARISONS,
    "graph/file/graph_writer.py": {
        *EXPORTS,
        "cut",
        "prove",
        "convert ncnn",
        *COMPARISONS,
        "report",
    },
    "graph/stored_models.py": set(STEPS),
    "sources/onnx/given_file.py": {"export onnx"},
    "base/array_sets.py": {*EXPORTS, "prove", *COMPARISONS, "measure", "report"},
    "base/recording.py": {*EXPORTS, "prove", *COMPARISONS, "measure", "report"},
    "trace/to_onnx.py": {"export mmdet", "export torch"},
    "trace/decorator.py": {"export mmdet", "export torch"},
    "proof/comparison.py": {"export onnx", "prove", *COMPARISONS, "report"},
    "backends/measured_run.py": {"measure", "report"},
    "backends/outputs.py": COMPARISONS,
    "backends/onnxruntime/session.py": {
        *("export onnx", "prove", "measure", "report"),
        *COMPARISONS,
    },
    "sources/onnx/recording.py": {"export onnx"},
    "sources/mmdet/detector.py": {"export mmdet"},
    "sources/torch/source.py": {"export torch"},
    "build/step.py": set(STEPS),
    "build/carry_out.py": set(),
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
        kind: {
            label: file_digest(path)
            for label, path in code_files(*modules, package=package).items()
        }
        for kind, modules in KINDS.items()
    }


def test_every_file_without_code_belongs_to_what_reads_it() -> None:
    data = {
        path.relative_to(PACKAGE).as_posix()
        for folder in (PACKAGE, PACKAGE / "schema")  # which is a link in the repository
        for path in folder.rglob("*.*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".typed")
    }
    assert data == {
        label
        for modules in KINDS.values()
        for label in code_files(*modules)
        if not label.endswith(".py")
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
    "build/project.py": "import partition_core.beyond\n",
    "plain.py": "from partition_core.build.project import x\nfrom partition_core.chain import y\n",
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
    left = {"types.py", "types_too.py", "build/project.py", "beyond.py", "unused.py"}
    assert set(code_files("build.steps.cut", package=tmp_path)) == set(PIECES) - left


@pytest.fixture
def fingerprints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Return the labels of the entries of each kind of work."""
    (tmp_path / "pack-1.0.dist-info").mkdir()
    (tmp_path / "pack-1.0.dist-info" / "METADATA").write_text("Name: pack\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    project = Project.at(tmp_path)
    for name in ("small.py", "a.jpg", "a.npz"):
        (tmp_path / name).write_text("")
    plans = {
        "mmdet": Plan(project, recipe_file(RECIPES["seed"])),
        "torch": Plan(project, recipe_file(RECIPES["torch"])),
        "onnx": Plan(project, recipe_file(RECIPES["onnx"])),
        **{name: Plan(project, recipe_file(on_target(name))) for name in PRECISIONS},
    }
    found = {f"export {source}": tuple(plans[source].exports.known) for source in SOURCES}
    for backend in PRECISIONS:
        for name, step in plans[backend].steps():
            assert step is not None
            plans[backend].remember(step, result_of(step))
            kind = name.partition(" ")[0]
            found[f"{kind} {backend}" if name.endswith(backend) else kind] = (
                step.fingerprint.entries
            )
    plans["onnx"] = plans["ncnn"]
    found["measure"] = tuple(inputs.measuring_entries(plans["onnx"].job()))
    found["read"] = tuple(inputs.reading_entries(project))
    return {kind: {label for label, _ in entries} for kind, entries in found.items()}


def on_target(backend: BackendName) -> Recipe:
    """Return a recipe with its segment converted for a backend."""
    (segment,) = RECIPES["onnx"].partition.segments
    partition = replace(RECIPES["onnx"].partition, targets=(Target(segment.save_file, backend),))
    return replace(RECIPES["onnx"], partition=partition)


def result_of(step: Step) -> Result:
    files = {name: StoredFile(digest_of(b""), 1) for name in step.files}
    return Result(files, {"detects": False}, Origin("tiny", step.name, 0.0))


def recipe_file(recipe: Recipe) -> RecipeFile:
    return RecipeFile(recipe, "recipes/tiny.yaml", {"model": {}}, {}, ())


@pytest.mark.parametrize("kind", KINDS)
def test_a_fingerprint_has_the_files_and_every_package_that_they_import(
    fingerprints: dict[str, set[str]], kind: str
) -> None:
    labels = fingerprints[kind]
    assert {f"code partition_core/{label}" for label in code_files(*KINDS[kind])} <= labels
    assert {"python", "partition-core"} <= labels
    imported = {
        name
        for module in closure_of(*KINDS[kind])
        for name in foreign_imports(MODULES[module], PACKAGE)
    }
    assert {name for name in imported if not distributions(name) & labels} == set()


def test_a_report_depends_on_every_version_that_it_shows(
    fingerprints: dict[str, set[str]],
) -> None:
    assert set(report._SHOWN) <= fingerprints["report"]


def test_a_package_that_is_another_than_usual_has_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {"onnxruntime-gpu": "9.9", "opencv-python-headless": "8.8"}
    monkeypatch.setattr(packages, "version_of", installed.get)
    assert ("onnxruntime-gpu", "9.9") in list(onnx.versions())
    assert ("opencv-python-headless", "8.8") in list(mmdet.versions())


@pytest.mark.parametrize("source", ["mmdet", "torch"])
def test_an_export_is_followed_from_the_module_of_its_source(source: str, tmp_path: Path) -> None:
    """What a second recipe of a run loads no more is found from there."""
    recipe = recipe_file(RECIPES["seed" if source == "mmdet" else "torch"])
    pending = [source_module(recipe.recipe)]
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += own_imports(MODULES[name], PACKAGE)
    assert {f"sources.{source}.source", "sources.traced", "trace.exporter"} <= found
