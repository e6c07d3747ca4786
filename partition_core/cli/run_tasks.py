"""The tasks that run a built model: `doit detect` and `doit calibrate`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from partition_core.base.errors import RecipeError, one_of, suggestion
from partition_core.base.folders import BUILD
from partition_core.base.missing import missing_file
from partition_core.build.run import RecipeBuild
from partition_core.cli.actions import attempt, say_all

Task = dict[str, Any]

_SCORE = "0.3"
_CALIBRATION = "calibration"
_PYTORCH = "pytorch"
_RUNNERS = ("onnxruntime", _PYTORCH)


def detect_task(
    builds: Sequence[RecipeBuild], variables: Mapping[str, str], is_selected: bool
) -> Task:
    """Return the task that detects objects in pictures, after the build of the recipe.

    `variables` are those of the command line. Raises RecipeError for missing or wrong ones if the
    task `is_selected` there.
    """

    def lines(recipe: str) -> Iterable[str]:
        from partition_core.runtime.commands import detect

        folder = Path(BUILD) / recipe
        target = Path(variables.get("out") or folder)
        score = float(variables.get("score", _SCORE))
        return detect(folder, Path(variables["image"]), target, score)

    if is_selected:
        _check_source("detect", "image", variables, "image=photo.jpg, or a folder of pictures")
        _check_score(variables.get("score", _SCORE))
    return _task("detect", lines, builds, is_selected)


def calibrate_task(
    builds: Sequence[RecipeBuild], variables: Mapping[str, str], is_selected: bool
) -> Task:
    """Return the task that writes calibration data, after the build of the recipe.

    Raises RecipeError as `detect_task` does.
    """

    def lines(recipe: str) -> Iterable[str]:
        from partition_core.runtime.commands import write_calibration

        folder = Path(BUILD) / recipe
        target = Path(variables.get("out") or folder / _CALIBRATION)
        (build,) = (build for build in builds if build.name == recipe)
        marked = build.marked_arrays() if variables.get("from") == _PYTORCH else None
        return write_calibration(folder, Path(variables["images"]), target, marked)

    if is_selected:
        _check_source("calibrate", "images", variables, "images=folder")
        _check_runner(variables.get("from", _RUNNERS[0]))
    return _task("calibrate", lines, builds, is_selected)


def _task(command: str, lines: Any, builds: Sequence[RecipeBuild], is_selected: bool) -> Task:
    names = [build.name for build in builds]
    if is_selected and len(names) != 1:
        raise RecipeError.at(
            f"doit {command}",
            f"takes one recipe at a time, but {len(names)} are selected",
            f"expected recipe=…, {one_of(names)}",
        )

    def action() -> object:
        return attempt(lambda: say_all(lines(names[0])))

    # The dependency would cost time in builds of many recipes, which do not run this task.
    needs = [f"build:{names[0]}"] if is_selected else []
    return {"actions": [action], "task_dep": needs, "verbosity": 2}


def _check_source(command: str, name: str, variables: Mapping[str, str], expected: str) -> None:
    if not variables.get(name):
        raise RecipeError.at(f"doit {command}", f"{name}= is missing", f"expected {expected}")
    if not Path(variables[name]).exists():
        raise RecipeError.at(f"doit {command}", *missing_file(Path.cwd(), variables[name]))


def _check_runner(name: str) -> None:
    if name not in _RUNNERS:
        raise RecipeError.at(
            f"from={name}",
            "not a source of calibration data",
            f"expected {one_of(_RUNNERS)}",
            suggestion(name, _RUNNERS),
        )


def _check_score(text: str) -> None:
    try:
        is_score = 0 <= float(text) <= 1
    except ValueError:
        is_score = False
    if not is_score:
        raise RecipeError.at(f"score={text}", "not a score", "expected a number from 0 to 1")
