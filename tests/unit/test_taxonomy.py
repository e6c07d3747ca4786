"""The rules of the tests themselves: what they import, and the markers that say what they need."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.util import find_spec

import pytest

from tests.groups import group_of
from tests.needs import COSTLY, NEEDS, ROOT, imports, is_quick, needs

MODULES = sorted((ROOT / "tests").rglob("test_*.py"))


def test_no_test_module_imports_another_one() -> None:
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES}
    found = {
        path.relative_to(ROOT).as_posix(): others
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if (others := imports(path) & names)
    }
    assert found == {}


def test_every_marker_is_described_once() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]
    described = [line.partition(": ")[0] for line in settings["ini_options"]["markers"]]
    assert sorted(described) == sorted({*NEEDS, "quick", "costly", "thorough", "fuzz"})


def test_what_a_module_needs_is_found_through_what_itimports() -> None:
    folder = ROOT / "tests"
    assert needs(folder / "scenario" / "test_yolov3.py") == {"builds"}
    assert needs(folder / "scenario" / "test_report_in_a_browser.py") == {"builds", "browser"}
    assert "torch" in needs(folder / "proving" / "test_proof_of_segments.py")  # by its support
    assert needs(folder / "unit" / "test_cut.py") == set()


@pytest.mark.parametrize("marker", ["quick", *NEEDS])
def test_every_marker_has_tests(marker: str) -> None:
    has = is_quick if marker == "quick" else lambda path: marker in needs(path)
    assert len([path for path in MODULES if has(path)]) >= 2


def test_a_module_needs_what_the_fixtures_of_its_folder_do() -> None:
    folder = ROOT / "tests" / "running"
    assert "tests.projects" not in imports(folder / "test_pipeline.py")
    assert needs(folder / "test_pipeline.py") == {"torch", "builds"}  # it asks for a build
    assert needs(ROOT / "tests" / "proving" / "test_sessions.py") == set()  # it asks for nothing


@pytest.mark.costly
@pytest.mark.skipif(find_spec("torch") is None, reason="all that the tests need is not installed")
def test_collecting_the_quick_tests_imports_no_torch() -> None:
    code = (
        "import pytest, sys\n"
        "assert not pytest.main(['-m', 'quick', '--collect-only', '-n', '0'])\n"
        "print('torch' in sys.modules, sys.modules['tests.proving.conftest'].__name__)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "False tests.proving.conftest"


def test_the_costly_modules_are_there() -> None:
    assert {name for name in COSTLY if not (ROOT / name).is_file()} == set()


@pytest.mark.parametrize(
    ("test", "group"),
    [
        ("tests/unit/test_disk.py::test_nothing", "tests/unit/test_disk.py::test_nothing"),
        # A fixture of the module, one of the folder, and one that another needs.
        (
            "tests/own_code/test_steps.py::test_measuring_runs_a_module_in_another_process_which_counts",
            "tests/own_code/test_steps.py",
        ),
        (
            "tests/scenario/test_yolov3.py::test_the_proof_is_not_on_nothing",
            "tests/scenario/conftest.py::yolov3",
        ),
        (
            "tests/running/test_commands.py::test_a_changed_end2end_is_not_run_for_the_segments",
            "tests/running/conftest.py::detector",
        ),
    ],
)
def test_tests_that_share_a_fixture_are_one_group(test: str, group: str) -> None:
    assert group_of(test) == group


def test_what_is_made_once_for_a_run_groups_nothing() -> None:
    test = "tests/scenario/test_store.py::test_a_flipped_bit_in_any_object_is_never_served"
    assert group_of(test) == test
