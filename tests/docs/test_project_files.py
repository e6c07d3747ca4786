"""What the files around the package say of it: its version, checks, bounds and promises."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import partition_core

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_RUN = ("coverage", "docs", "gs", "test")  # extras whose bounds no user meets, or no test
HEAVY = {
    "doit",
    "importlib.metadata",
    "jsonschema",
    "numpy",
    "onnx",
    "onnxruntime",
    "torch",
    "yaml",
}


def test_the_version_is_that_of_the_wheel_and_of_the_changelog(tmp_path: Path) -> None:
    # In a process of its own: setuptools changes what is imported.
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "from setuptools.config.pyprojecttoml import apply_configuration\n"
            "from setuptools.dist import Distribution\n"
            "import sys\n"
            "print(apply_configuration(Distribution(), 'pyproject.toml').get_version())\n"
            "assert 'partition_core' not in sys.modules, 'making a wheel imports the package'\n",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout.split() == [partition_core.__version__], told.stderr
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\S+)", changes, re.M)
    assert headings[0] == partition_core.__version__


def test_asking_for_the_version_imports_nothing_heavy() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; before = {*sys.modules}\n"
            "import partition_core; partition_core.__version__\n"
            "print(*({*sys.modules} - before))",
        ],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "partition_core" in told.stdout.split()
    assert HEAVY & set(told.stdout.split()) == set()


def test_pre_commit_checks_what_ci_checks() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    first = script.index('.ci/interpreters >"$scratch/interpreters" 2>&1 &') + 1
    checks = script[first : script.index("wait $! || status=$?")]
    assert [hook["entry"] for hook in hooks] == checks
    assert {"ruff check .", "mypy"} < set(checks)


def test_the_lowest_versions_that_are_tested_are_the_bounds() -> None:
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    tested = [Requirement(line) for line in lines if not line.startswith("#")]
    extras = PROJECT["optional-dependencies"]
    declared = [
        Requirement(text)
        for texts in (
            PROJECT["dependencies"],
            *(extras[one] for one in extras.keys() - NOT_RUN),
        )
        for text in texts
    ]
    bounds = {one.name: _lowest(one) for one in declared if one.name != PROJECT["name"]}
    assert {one.name: _lowest(one) for one in tested} == bounds


def _lowest(requirement: Requirement) -> Version:
    (lowest,) = [one.version for one in requirement.specifier if one.operator in (">=", "==")]
    return Version(lowest)


def test_the_classifiers_claim_no_python_that_ci_does_not_look_for() -> None:
    claimed = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    script = (ROOT / ".ci" / "interpreters").read_text(encoding="utf-8")
    (looked_for,) = re.findall(r"^PYTHONS=\((.*)\)$", script, re.M)
    assert claimed
    assert set(claimed) <= set(looked_for.split())
    assert PROJECT["requires-python"] == f">={looked_for.split()[0]}" == f">={claimed[0]}"


def test_each_promise_has_tests_that_exist() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promises = page.partition("|---|---|\n")[2].partition("\n\n")[0].splitlines()
    named = [re.findall(r"`(test_\w+)`", promise) for promise in promises]
    assert len(named) > 5
    assert all(named)
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.M)
    }
    assert {name for names in named for name in names} - there == set()
