"""A folder that shows a difference without this package: a small model, arrays and a program."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from partition_core.backends.backend import Backend
from partition_core.base.arrays import Arrays
from partition_core.base.wording import one_line
from partition_core.proof.diagnosis.culprit import CULPRIT, Culprit
from partition_core.proof.diagnosis.trial import Trial

INPUTS, EXPECTED, PROGRAM, REPORT = "inputs.npz", "expected.npz", "reproduce.py", "report.md"
_SHOWN = 1
_SECONDS = 600

_HEAD = '''\
"""{about}

Exits with 1 if so, else with 0. Needs numpy and {package}; runs in this folder.
"""

import sys

import numpy as np
import {package}

'''
_LOADED = 'inputs, expected = dict(np.load("inputs.npz")), dict(np.load("expected.npz"))\n\n'
_COMPARED = """
wrong = False
for name, theirs in expected.items():
    if given[name].shape != theirs.shape:
        sys.exit(f"{{name}} has the shape {{given[name].shape}}, not {{theirs.shape}}")
    apart = np.linalg.norm(given[name].astype(float) - theirs.astype(float))
    relative = apart / (np.linalg.norm(theirs.astype(float)) or 1)
    print(f"{{name}}: relative L2 {{relative:.3g}}, allowed {tolerance:g}")
    wrong |= not relative <= {tolerance:g}
sys.exit(int(wrong))
"""
_FAILED = """
print(failure or "it is converted")
sys.exit(int(bool(failure)))
"""


def write_folder(culprit: Culprit, backend: Backend, tolerance: float, folder: Path) -> str:
    """Write what shows a culprit into the empty `folder`; return what its program printed.

    The text begins with whether the program shows it. It is empty if the backend has no program.
    """
    trial = culprit.shown or Trial()
    beside = [file.with_name(f"{CULPRIT}.data") for file in trial.files[:1]]
    for file in (*trial.files, *(file for file in beside if file.is_file())):
        shutil.copyfile(file, folder / file.name)
    save_arrays(trial.inputs, folder / INPUTS)
    save_arrays(trial.expected, folder / EXPECTED)
    program = _program(culprit, trial, backend, tolerance)
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


def _program(culprit: Culprit, trial: Trial, backend: Backend, tolerance: float) -> str:
    where = f"'{culprit.tensor}' of {CULPRIT} ({culprit.node.op_type})"
    if trial.failure and not trial.is_converted:
        code, end = backend.conversion_code(CULPRIT), _FAILED
        about, start = f"Shows that {backend.name} cannot convert {where}.", ""
    else:
        ends = list(trial.inputs), list(trial.expected)
        code, end = backend.code(trial.files[1:], *ends), _COMPARED.format(tolerance=tolerance)
        about, start = f"Shows that {backend.name} computes {where} wrongly.", _LOADED
    head = _HEAD.format(about=about, package=backend.extra)
    return code and f"{head}{start}{code}{end}"


def _tried(folder: Path) -> str:
    """Run the program in a copy of its folder; return whether it shows it, and what it printed."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = shutil.copytree(folder, Path(scratch) / "copy")
        try:
            run = subprocess.run(  # noqa: S603  # reason: the program that was just written
                [sys.executable, "-I", PROGRAM],
                cwd=copy,
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return f"does not end in {_SECONDS} s"
        lines = [*run.stdout.splitlines(), *run.stderr.splitlines()[-1:]]
        printed = one_line(" ".join(lines), copy)
    shown = "shows it" if run.returncode == _SHOWN else f"ends with {run.returncode}"
    return f"{shown}: {printed}"
