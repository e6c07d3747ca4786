"""A folder that shows a difference without this package: a small model, arrays and a program."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

from partition_core.backends.backend import Backend
from partition_core.base.arrays import Arrays
from partition_core.base.wording import one_line
from partition_core.proof.diagnosis.culprit import CULPRIT
from partition_core.proof.diagnosis.trial import Trial

INPUTS, EXPECTED, PROGRAM, REPORT = "inputs.npz", "expected.npz", "reproduce.py", "report.md"
_SHOWN = 1
_SECONDS = 600

_HEAD = '''\
"""{about}

Exits with 1 if it does, with 0 if not. Needs numpy and {package}; run it in this folder.
"""

import sys
import numpy as np
'''
_COMPARED = """\
wrong = False
for name, theirs in dict(np.load("expected.npz")).items():
    ours = given[name]
    print(name, "has the shape", ours.shape, "in it and", theirs.shape, "in onnxruntime")
    wrong |= ours.shape != theirs.shape
    if ours.shape == theirs.shape:
        size = np.linalg.norm(theirs.astype(float)) or 1
        apart = np.linalg.norm(ours.astype(float) - theirs) / size
        print(f"relative L2 {{apart:.3g}}, allowed {tolerance}")
        wrong |= not apart <= {tolerance}
sys.exit(int(wrong))
"""
_FAILED = """\
print(failure or "it is converted")
sys.exit(int(bool(failure)))
"""


def write_folder(trial: Trial, backend: Backend, tolerance: float, about: str, folder: Path) -> str:
    """Write what shows a trial into the empty `folder`; return what its program printed.

    The first of the trial's files is the ONNX file. Without a program for the backend nothing is
    printed; else the text ends with whether the difference was there.
    """
    for file in trial.files:
        shutil.copyfile(file, folder / file.name)
    save_arrays(trial.inputs, folder / INPUTS)
    save_arrays(trial.expected, folder / EXPECTED)
    program = _program(trial, backend, tolerance, about)
    if not program:
        return ""
    (folder / PROGRAM).write_text(program, encoding="utf-8")
    return _tried(folder)


def save_arrays(arrays: Arrays, target: Path) -> None:
    """Write an `.npz` file with arrays by name, whatever their names are."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def _program(trial: Trial, backend: Backend, tolerance: float, about: str) -> str:
    if trial.failure and not trial.is_converted:
        body, end = backend.conversion_code(CULPRIT), _FAILED
    else:
        ends = list(trial.inputs), list(trial.expected)
        body, end = backend.code(trial.files[1:], *ends), _COMPARED.format(tolerance=tolerance)
        body = body and f"{_loaded()}{body}"
    head = _HEAD.format(about=about, package=backend.extra)
    return body and f"{head}{body}{end}"


def _loaded() -> str:
    return f'\ninputs = dict(np.load("{INPUTS}"))\n'


def _tried(folder: Path) -> str:
    """Run the program as a user does, and return what it printed and whether it shows it."""
    command = [sys.executable, "-I", PROGRAM]
    try:
        run = subprocess.run(  # noqa: S603  # reason: the program that was just written
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"it did not end in {_SECONDS} s"
    printed = one_line(" ".join([*run.stdout.splitlines(), *run.stderr.splitlines()[-1:]]), folder)
    shown = "shows it" if run.returncode == _SHOWN else f"ends with {run.returncode}"
    return f"{shown}: {printed}"
