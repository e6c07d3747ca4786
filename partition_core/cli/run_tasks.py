"""The tasks that run a built model: `detect`, `calibrate`, `merge` and `diagnose`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from doit import doit_cmd
from doit.exceptions import InvalidDodoFile

from partition_core.base.errors import (
    PartitionError,
    RecipeError,
    one_of,
    problem,
    suggestion,
)
from partition_core.base.missing import missing_file
from partition_core.build.run import RecipeBuild
from partition_core.cli.actions import attempt, say, say_all
from partition_core.cli.builds import Task, check_number, selected_builds
from partition_core.cli.command_line import commands, paths_in_full

_SCORE = "0.3"
_CALIBRATION = "calibration"
_PYTORCH = "pytorch"
_DIAGNOSED = (
    "expected target=SEGMENT.onnx=TARGET, or segment=SEGMENT.onnx with=FILE.onnx, or "
    "against=pytorch"
)
_RUNNERS = ("onnxruntime", _PYTORCH)


def task_detect() -> Task:
    """Detect objects in `image=…` with `recipe=…`: write the picture with boxes, and JSON."""

    def lines(build: RecipeBuild, variables: Mapping[str, str]) -> Iterable[str]:
        from partition_core.runtime.commands import detect

        folder, variant = Path(build.full_name.folder), build.full_name.variant
        target = Path(variables.get("out") or folder)
        score = float(variables.get("score", _SCORE))
        use = _use(variables)
        return detect(folder, Path(variables["image"]), target, score, use, variant)

    def check(variables: Mapping[str, str]) -> None:
        _check_source("detect", "image", variables, "image=photo.jpg, or a folder of pictures")
        _check_score(variables.get("score", _SCORE))
        _use(variables)

    return _task("detect", lines, check)


def task_merge() -> Task:
    """Put segments changed outside, `with=a.onnx=other.onnx`, into one file; compare it."""

    def lines(build: RecipeBuild, variables: Mapping[str, str]) -> Iterable[str]:
        return build.merged(variables, say)

    def check(variables: Mapping[str, str]) -> None:
        if not variables.get("with"):
            expected = "expected with=SEGMENT.onnx=FILE.onnx"
            raise RecipeError.at("doit merge", "with= is missing", expected)

    return _task("merge", lines, check)


def task_diagnose() -> Task:
    """Find the first tensor that `target=…`, or `segment=… with=…`, computes otherwise."""

    def lines(build: RecipeBuild, variables: Mapping[str, str]) -> Iterable[str]:
        return build.diagnosis(variables, say)

    # What a proof refuses can be diagnosed too.
    is_proven = not (doit_cmd._CMDLINE_VARS or {}).get("against")
    return _task("diagnose", lines, _check_diagnosed, "prove" if is_proven else "export")


def task_calibrate() -> Task:
    """Write calibration data: each segment's inputs for the pictures in `images=…`."""

    def lines(build: RecipeBuild, variables: Mapping[str, str]) -> Iterable[str]:
        from partition_core.runtime.commands import write_calibration

        folder, variant = Path(build.full_name.folder), build.full_name.variant
        target = Path(variables.get("out") or build.full_name.path(_CALIBRATION))
        marked = build.marked_arrays() if variables.get("from") == _PYTORCH else None
        return write_calibration(folder, Path(variables["images"]), target, marked, variant)

    def check(variables: Mapping[str, str]) -> None:
        _check_source("calibrate", "images", variables, "images=folder")
        _check_runner(variables.get("from", _RUNNERS[0]))

    return _task("calibrate", lines, check)


def _task(
    command: str,
    lines: Callable[[RecipeBuild, Mapping[str, str]], Iterable[str]],
    check: Callable[[Mapping[str, str]], None],
    after: str = "build",
) -> Task:
    """Return a task that runs one recipe's build folder, behind the command `after` of the recipe.

    What the command line lacks is an error only if the command is in it: doit creates all tasks.
    """
    builds, variables = selected_builds(), paths_in_full(doit_cmd._CMDLINE_VARS or {})

    def action() -> object:
        return attempt(lambda: say_all(lines(builds[0], variables)))

    if command not in commands():
        return {"actions": [action], "verbosity": 2}
    try:
        check(variables)
    except PartitionError as error:
        raise InvalidDodoFile(str(error)) from error
    check_number(command, builds)
    return {"actions": [action], "task_dep": [f"{after}:{builds[0].name}"], "verbosity": 2}


def _use(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the targets that `use=` names, by segment; raises RecipeError for another form."""
    pairs = [pair.strip() for pair in variables.get("use", "").split(",") if pair.strip()]
    RecipeError.refuse(
        problem(
            f"use={pair}",
            "does not name a segment and a target",
            "expected use=SEGMENT.onnx=TARGET such as use=yolov3.onnx=openvino",
        )
        for pair in pairs
        if not all(pair.partition("=")[::2])
    )
    return {segment: name for segment, _, name in (pair.partition("=") for pair in pairs)}


def _check_source(command: str, name: str, variables: Mapping[str, str], expected: str) -> None:
    if not variables.get(name):
        raise RecipeError.at(f"doit {command}", f"{name}= is missing", f"expected {expected}")
    if not Path(variables[name]).exists():
        raise RecipeError.at(f"doit {command}", *missing_file(Path.cwd(), variables[name]))


def _check_diagnosed(variables: Mapping[str, str]) -> None:
    """Raise RecipeError unless the variables say what is diagnosed, in one of the ways."""
    given = {name for name in ("target", "segment", "with", "against") if variables.get(name)}
    if len(given) > 1 and given != {"segment", "with"}:
        what = f"{' and '.join(f'{name}=' for name in sorted(given))} do not go together"
        raise RecipeError.at("doit diagnose", what, _DIAGNOSED)
    if given in ({"segment"}, {"with"}):
        lacking = "with" if "segment" in given else "segment"
        raise RecipeError.at("doit diagnose", f"{lacking}= is missing", _DIAGNOSED)
    if variables.get("against", _PYTORCH) != _PYTORCH:
        raise RecipeError.at(f"against={variables['against']}", "unknown", one_of([_PYTORCH]))


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
