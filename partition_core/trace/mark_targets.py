"""Resolves the functions, methods and modules that a recipe's marks name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import torch

from partition_core.base.errors import ExportError, Problem, suggestion
from partition_core.recipe.values import Mark

Function = tuple[Any, str]
"""The owner of a function, and the function's name there."""


def mark_targets(
    marks: tuple[Mark, ...], model: torch.nn.Module, entry_point: Function
) -> list[tuple[Mark, Any, str]]:
    """Return, for each target of `marks`, the mark, the owner of a function and its name there.

    `model` holds the modules that marks name, and `entry_point` is the target of a mark on all of
    it. Raises ExportError, all problems at once, for a target that cannot be found.
    """
    targets: list[tuple[Mark, Any, str]] = []
    problems: list[Problem] = []
    for index, mark in enumerate(marks):
        place = f"marks[{index}]"
        if mark.decorator:
            continue
        try:
            if mark.module == "" or mark.on in _WHOLE:
                targets.append((mark, *entry_point))
            elif mark.module is not None:
                targets.append((mark, _submodule(model, mark.module, place), "forward"))
            else:
                for path in mark.any_of or (str(mark.on),):
                    targets.append((mark, *_function_owner(mark, path, place)))
        except ExportError as error:
            problems.extend(error.problems)
    ExportError.refuse(problems)
    return targets


_WHOLE = ("model", "detector")
"""The values of `on` that mean the whole model."""


def _submodule(model: torch.nn.Module, path: str, place: str) -> torch.nn.Module:
    modules: dict[str, torch.nn.Module] = dict(model.named_modules())
    if path in modules:
        return modules[path]
    siblings = {name for name in modules if name and name.count(".") <= path.count(".")}
    top = [f"'{name}'" for name in sorted(siblings) if "." not in name]
    raise ExportError.at(
        place,
        f"the model has no module '{path}'",
        f"at the top are {', '.join(top) or 'none'}",
        suggestion(path, siblings),
    )


def _function_owner(mark: Mark, path: str, place: str) -> tuple[Any, str]:
    """Return the module or class that holds the function that `path` names, and its name."""
    steps = path.split(".")
    owner, rest = _import_longest(steps, mark, place)
    for step in rest[:-1]:
        owner = _member(owner, step, mark, path, place)
    target = _member(owner, rest[-1], mark, path, place)
    kind = "class" if inspect.isclass(target) else type(target).__name__
    if kind == "class" or not callable(target) or not _has_signature(target):
        raise ExportError.at(
            place,
            f"mark '{mark.name}' is on '{path}', which is a {kind}",
            "a mark's 'on' names a function or a method that is written in Python",
        )
    return owner, rest[-1]


def _has_signature(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function)
    except (TypeError, ValueError):
        return False  # a C function without a signature
    return True


def _import_longest(steps: list[str], mark: Mark, place: str) -> tuple[Any, list[str]]:
    path = ".".join(steps)
    module, count = None, 0
    for end in range(1, len(steps)):
        name = ".".join(steps[:end])
        try:
            module, count = importlib.import_module(name), end
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise _cannot_import(mark, path, name, error, place) from error
            break
        except Exception as error:  # a user's module may raise anything while it is imported
            raise _cannot_import(mark, path, name, error, place) from error
    if module is None:
        raise ExportError.at(
            place,
            f"mark '{mark.name}' is on '{path}', and there is no module '{steps[0]}'",
            "a mark's 'on' is the dotted path of a function that can be imported",
        )
    return module, steps[count:]


def _cannot_import(mark: Mark, path: str, name: str, error: Exception, place: str) -> ExportError:
    return ExportError.at(
        place,
        f"mark '{mark.name}' is on '{path}', and importing '{name}' fails with "
        f"{type(error).__name__}: {error}",
    )


def _member(owner: Any, name: str, mark: Mark, path: str, place: str) -> Any:
    if hasattr(owner, name):
        return getattr(owner, name)
    kind = "module" if inspect.ismodule(owner) else "class"
    owner_name = getattr(owner, "__name__", type(owner).__name__)
    raise ExportError.at(
        place,
        f"mark '{mark.name}' is on '{path}', and {kind} '{owner_name}' has no '{name}'",
        "",
        suggestion(name, (known for known in dir(owner) if not known.startswith("__"))),
    )
