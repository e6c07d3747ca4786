"""Which of a user's files a dotted name and its imports are in, and where others would count."""

from __future__ import annotations

from pathlib import Path

import pytest

from partition_core.build.dependencies.local_modules import local_modules


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "model.py": "import torch\nfrom parts import head\nimport pkg.deep.inner as inner\n",
        "parts.py": "from math import sqrt\n\ndef head(): ...\n",
        "unused.py": "",
        "pkg/__init__.py": "from .sibling import x\n",
        "pkg/sibling.py": "from ..model import y\n",
        "pkg/deep/inner.py": "from . import other\nfrom ..sibling import z\n",
        "pkg/deep/other.py": "import pkg.lazy\n",
        "pkg/lazy.py": "def f():\n    import late\n",
        "late.py": "",
        "broken.py": "def (",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def found(root: Path, *names: str) -> list[str]:
    return [path.relative_to(root).as_posix() for path in local_modules(list(names), root)[0]]


def test_imports_are_followed_to_the_end_and_nothing_else_is_taken(root: Path) -> None:
    assert found(root, "model.Net.forward") == [
        "late.py",
        "model.py",
        "parts.py",
        "pkg/__init__.py",
        "pkg/deep/inner.py",
        "pkg/deep/other.py",
        "pkg/lazy.py",
        "pkg/sibling.py",
    ]


def test_a_class_of_a_package_needs_the_package_file(root: Path) -> None:
    assert "pkg/__init__.py" in found(root, "pkg.Class")
    assert found(root, "late.anything.at.all") == ["late.py"]


def test_installed_packages_and_unknown_names_have_no_file(root: Path) -> None:
    assert found(root, "torch.nn.Module", "nowhere.at.all") == []


def test_a_file_that_is_no_python_is_still_an_input(root: Path) -> None:
    assert found(root, "broken.f") == ["broken.py"]


def test_a_package_goes_before_a_module_of_its_name(root: Path) -> None:
    (root / "late").mkdir()
    assert found(root, "late.f") == ["late.py"]
    (root / "late" / "__init__.py").write_text("")
    assert found(root, "late.f") == ["late/__init__.py"]


@pytest.mark.parametrize("appears", ["torch/__init__.py", "torch.py", "late/__init__.py"])
def test_a_place_that_would_change_the_answer_is_told(root: Path, appears: str) -> None:
    before, missing = local_modules(["model.f"], root)
    path = root / appears
    assert {path, path.parent} & set(missing)
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    assert local_modules(["model.f"], root)[0] != before
