"""Files in ONNX's text form that a recipe cuts in two, and what their segments give in a chain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import onnx.parser

from tests.cutting.chains import equal, run

from .projects import Project

HEAD = '<ir_version: 10, opset_import: ["": 20, "own": 1]>\n'


LINE = "model: {source: onnx, path: detector.onnx}\n"


def parsed(text: str) -> onnx.ModelProto:
    """Return the valid model in ONNX's text form."""
    made = onnx.parser.parse_model(HEAD + text)
    onnx.checker.check_model(made, full_check=True)
    return made


def two(marked: str, outputs: str, inputs: str = "x") -> str:
    """Return a recipe that cuts a file in two at the tensors `marked`."""
    return (
        LINE + f"marks:\n  - {{name: whole, inputs: [{inputs}], outputs: [{outputs}]}}\n"
        f"  - {{name: middle, tensors: [{marked}]}}\n"
        "partition:\n  type: two\n  segments:\n"
        "    - {save_file: a.onnx, start: ['whole:input'], end: ['middle:input']}\n"
        "    - {save_file: b.onnx, start: ['middle:output'], end: ['whole:output']}\n"
    )


def written(model: onnx.ModelProto, folder: Path, name: str) -> Path:
    file = folder / name
    onnx.save(model, file)
    return file


def chained(
    project: Project, feeds: dict[str, np.ndarray], *, valid: bool = True
) -> dict[str, onnx.ModelProto]:
    """Build; the segments in a chain must equal the file, also on these inputs.

    A file that is not `valid` for onnx.checker is one for onnxruntime alone, and so are its parts.
    """
    made = project.make()
    whole = run(project.folder / "detector.onnx", feeds)
    folder = project.folder
    first = run(written(made["a.onnx"], folder, "a.onnx"), feeds)
    second = run(written(made["b.onnx"], folder, "b.onnx"), {**feeds, **first})
    assert second and all(equal(second[name], whole[name]) for name in second)
    again = run(written(made["end2end.onnx"], folder, "e.onnx"), feeds)
    assert all(equal(again[name], whole[name]) for name in whole)
    if valid:
        onnx.checker.check_model(made["end2end.onnx"], full_check=True)
    return made
