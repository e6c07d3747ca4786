"""What a user may import: the names of the package, and nothing heavy with them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import partition_core

ROOT = Path(__file__).parents[2]


def test_the_public_names_are_these() -> None:
    assert partition_core.__all__ == [
        "CalibrationReader",
        "OnnxRuntime",
        "PartitionError",
        "Pipeline",
        "RunError",
        "__version__",
        "cut_between",
        "mark",
        "read_recipe",
    ]
    for name in partition_core.__all__:
        assert getattr(partition_core, name).__doc__
    assert set(partition_core.__all__) <= set(dir(partition_core))


def test_documents_import_public_names_only() -> None:
    texts = {
        path: path.read_text(encoding="utf-8")
        for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
        if path.name != "design_notes.md"
    }
    deep = [
        (path.name, line)
        for path, text in texts.items()
        for line in re.findall(r"^\s*(?:from|import) partition_core\.(?!tasks).*", text, re.M)
    ]
    assert deep == []
    imported = " ".join(
        re.findall(r"^\s*from partition_core import (.*)", "\n".join(texts.values()), re.M)
    )
    assert set(re.findall(r"\w+", imported)) <= set(partition_core.__all__)
    assert "Pipeline" in imported


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = """
import sys
import partition_core
from partition_core import cut_between, read_recipe
partition_core.__version__
print(sorted({"jsonschema", "numpy", "onnx", "onnxruntime", "torch"} & set(sys.modules)))
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"
