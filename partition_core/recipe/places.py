"""Gives problems at a YAML path the file and line of that path in a recipe."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace

from partition_core.base.errors import CutError, PartitionError, Place, Problem
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.target import Target
from partition_core.recipe.values import ANY_DETECTOR, ONE_LINE, SHOWN_POLICIES

_ONE_LINE = (
    (re.compile(r"partition\.segments\[0\]\.start(\[0\])?"), "partition.from"),
    (re.compile(r"partition\.segments\[0\]\.end(\[0\])?"), "partition.to"),
    (re.compile(r"partition\.segments\[0\]"), "partition"),
)
"""The places of the segment that the one-line form stands for."""

_KEY = re.compile(r"\w+")

_TYPE = "partition.type"
_KEY = re.compile(r"\w+")

OF_THE_PARTITION = ("marks", "partition", "types")
"""The keys of a recipe that say where its model is cut, and with which types."""
OF_THE_PROOF = "proof"
OF_THE_PARTITION = ("marks", "partition", "types")
"""The keys of a recipe that say where its model is cut, and with which types."""


@contextlib.contextmanager
def in_recipe(file: RecipeFile) -> Iterator[None]:
    """Give problems at YAML paths the file and line of those paths in a recipe.

    Code that has only a recipe's values names YAML paths; its caller, which has the file, uses it.
    """
    try:
        yield
    except PartitionError as error:
        problems = (located(file, problem) for problem in error.problems)
        if isinstance(error, CutError):
            problems = (_of_policy(file, problem) for problem in problems)
        raise type(error)(*problems) from error


@contextlib.contextmanager
def in_target(file: RecipeFile, target: Target) -> Iterator[None]:
    """Give problems without a file the place of the targets of a segment, and name the target."""
    try:
        yield
    except PartitionError as error:
        place = target_place(file, target)
        problems = (
            replace(each, place=place, what=f"{target.folder}: {_what(each)}")
            if not each.place.file
            else each
            for each in error.problems
        )
        raise type(error)(*problems) from error


def target_place(file: RecipeFile, target: Target) -> Place:
    """Return where a recipe writes the targets of a segment."""
    files = [segment.save_file for segment in file.recipe.partition.segments]
    number = files.index(target.segment) if target.segment in files else 0
    paths = (
        f"partition.segments[{number}].targets",
        f"partition.targets['{target.segment}']",
        "partition.targets",
        "partition.segments.targets",
    )
    return file.place(next((path for path in paths if path in file.places), "partition"))


def _what(problem: Problem) -> str:
    return f"{problem.place.path}: {problem.what}" if problem.place.path else problem.what


def located(file: RecipeFile, problem: Problem) -> Problem:
    """Return a problem at a YAML path with its file and line."""
    if problem.place.file:
        return problem
    path = problem.place.path
    if file.recipe.partition.type == ONE_LINE:
        for written, shown in _ONE_LINE:
            path = written.sub(shown, path)
    return replace(problem, place=file.exact_place(path))


def is_of_the_partition(problem: Problem) -> bool:
    """Return whether a problem is about where a model is cut, and not about the model."""
    key = _KEY.match(problem.place.path)
    is_in_recipe = key is not None and key[0] in OF_THE_PARTITION
    return is_in_recipe or problem.place.file.startswith(f"{SHOWN_POLICIES}/")


def is_beside_the_model(problem: Problem) -> bool:
    """Return whether a problem is about where a model is cut or proven, and not about the model."""
    key = _KEY.match(problem.place.path)
    is_in_recipe = key is not None and key[0] in (*OF_THE_PARTITION, OF_THE_PROOF)
    return is_in_recipe or problem.place.file.startswith(f"{SHOWN_POLICIES}/")


def _of_policy(file: RecipeFile, problem: Problem) -> Problem:
    """Return a problem in a shared policy's segment as one of the recipe that names the policy.

    The policy is a file of this package, which users do not edit.
    """
    if not problem.place.file.startswith(f"{SHOWN_POLICIES}/"):
        return problem
    policy, place = file.recipe.partition.type, file.place(_TYPE)
    others = f"write 'type: {ANY_DETECTOR}', or " if policy != ANY_DETECTOR else ""
    remedy = f"{others}copy the policy's segments into the recipe (docs/policies.md)"
    return Problem(
        Place(place.file, place.line, _TYPE),
        f"policy '{policy}' does not fit the model: {problem.what}",
        problem.expected,
        f"{remedy} and {problem.remedy}" if problem.remedy else remedy,
    )
