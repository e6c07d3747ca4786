"""The tasks that run what was built: `doit detect` and `doit calibrate`."""

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


def detect_task(builds: Sequence[RecipeBuild], given: Mapping[str, str], is_asked: bool) -> Task:
    """Return the task that detects in pictures, after the build of the recipe.

    `given` are the variables of the command line. Raises RecipeError for those that `doit detect`
    lacks, if it `is_asked` for.
    """

    def lines(recipe: str) -> Iterable[str]:
        from partition_core.runtime.commands import detect

        folder = Path(BUILD) / recipe
        target = Path(given.get("out") or folder)
        return detect(folder, Path(given["image"]), target, float(given.get("score", _SCORE)))

    if is_asked:
        _check_source("detect", "image", given, "image=photo.jpg, or a folder of pictures")
        _check_score(given.get("score", _SCORE))
    return _task("detect", lines, builds, is_asked)


def calibrate_task(builds: Sequence[RecipeBuild], given: Mapping[str, str], is_asked: bool) -> Task:
    """Return the task that writes calibration data, after the build of the recipe.

    Raises RecipeError as `detect_task` does.
    """

    def lines(recipe: str) -> Iterable[str]:
        from partition_core.runtime.commands import write_calibration

        folder = Path(BUILD) / recipe
        target = Path(given.get("out") or folder / _CALIBRATION)
        (build,) = (build for build in builds if build.name == recipe)
        marked = build.marked_arrays() if given.get("from") == _PYTORCH else None
        return write_calibration(folder, Path(given["images"]), target, marked)

    if is_asked:
        _check_source("calibrate", "images", given, "images=folder")
        _check_runner(given.get("from", _RUNNERS[0]))
    return _task("calibrate", lines, builds, is_asked)


def _task(command: str, lines: Any, builds: Sequence[RecipeBuild], is_asked: bool) -> Task:
    names = [build.name for build in builds]
    if is_asked and len(names) != 1:
        raise RecipeError.at(
            f"doit {command}",
            f"it is for one recipe at a time, and {len(names)} are chosen",
            f"expected recipe=…, {one_of(names)}",
        )

    def action() -> object:
        return attempt(lambda: say_all(lines(names[0])))

    # The dependency would cost time in a build of many recipes, which has no use for this task.
    needs = [f"build:{names[0]}"] if is_asked else []
    return {"actions": [action], "task_dep": needs, "verbosity": 2}


def _check_source(command: str, name: str, given: Mapping[str, str], expected: str) -> None:
    if not given.get(name):
        raise RecipeError.at(f"doit {command}", f"{name}= is missing", f"expected {expected}")
    if not Path(given[name]).exists():
        told = missing_file(Path.cwd(), given[name])
        raise RecipeError.at(f"doit {command}", *told)


def _check_runner(name: str) -> None:
    if name not in _RUNNERS:
        raise RecipeError.at(
            f"from={name}",
            "it is nothing that runs a model here",
            f"expected {one_of(_RUNNERS)}",
            suggestion(name, _RUNNERS),
        )


def _check_score(text: str) -> None:
    try:
        is_score = 0 <= float(text) <= 1
    except ValueError:
        is_score = False
    if not is_score:
        raise RecipeError.at(f"score={text}", "it is no score", "expected one from 0 to 1")
