"""Where in a recipe's files the problems are that others tell by a YAML path."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from partition_core.base.errors import CutError, PartitionError, Place, Problem
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.values import ANY_DETECTOR, ONE_LINE, SHOWN_POLICIES

_ONE_LINE = (
    (re.compile(r"partition\.segments\[0\]\.start(\[0\])?"), "partition.from"),
    (re.compile(r"partition\.segments\[0\]\.end(\[0\])?"), "partition.to"),
    (re.compile(r"partition\.segments\[0\]"), "partition"),
)
"""The places of the segment that the one-line form stands for."""

_TYPE = "partition.type"


@contextlib.contextmanager
def in_recipe(file: RecipeFile) -> Iterator[None]:
    """Give problems, whose places are YAML paths, the file and line that these have in a recipe.

    What has only a recipe's values names a YAML path; this is for what has its file.
    """
    try:
        yield
    except PartitionError as error:
        problems = (placed(file, one) for one in error.problems)
        if isinstance(error, CutError):
            problems = (_of_policy(file, one) for one in problems)
        raise type(error)(*problems) from error


def placed(file: RecipeFile, one: Problem) -> Problem:
    """Return a problem, whose place is a YAML path, with its file and line."""
    if one.place.file:
        return one
    path = one.place.path
    if file.recipe.partition.type == ONE_LINE:
        for written, shown in _ONE_LINE:
            path = written.sub(shown, path)
    place = file.place(path)
    return Problem(Place(place.file, place.line, path), one.what, one.expected, one.remedy)


def _of_policy(file: RecipeFile, one: Problem) -> Problem:
    """Return a problem of a shared policy's segment as one of the recipe, which names the policy.

    The policy is a file of this package, and nobody's to edit.
    """
    if not one.place.file.startswith(f"{SHOWN_POLICIES}/"):
        return one
    policy, place = file.recipe.partition.type, file.place(_TYPE)
    others = f"write 'type: {ANY_DETECTOR}', or " if policy != ANY_DETECTOR else ""
    remedy = f"{others}copy the policy's segments into the recipe (docs/policies.md)"
    return Problem(
        Place(place.file, place.line, _TYPE),
        f"policy '{policy}' does not fit the model: {one.what}",
        one.expected,
        f"{remedy} and {one.remedy}" if one.remedy else remedy,
    )
