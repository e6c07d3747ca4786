"""A recipe's `overrides` in an mmdet config: values it has, or that one of its parts can take."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from partition_core.base.errors import ExportError, Problem, nearest, problem
from partition_core.recipe.values import MmdetModel
from partition_core.sources.mmdet.config_reads import Part

_IN_USE = ("model", "test_dataloader", "default_scope")
"""What is asked of a config once it is loaded."""

_REPLACE = "_delete_"
"""The key of a mapping that takes the place of another one, which mmengine else adds to."""


def override(config: Any, model: MmdetModel, place: str) -> None:
    """Give `config` the values that `model` overrides.

    Raises ExportError for an unknown key, and for one that nothing asks for: `test_pipeline` and
    variables of a config have done their work when it was loaded.
    """
    for key, text in model.overrides:
        value = json.loads(text)
        before = copy.deepcopy(config)
        missing = _missing_parent(before, key)
        if missing is not None:
            raise ExportError(_no_such_key(key, missing, model, place))
        if key.partition(".")[0] not in _IN_USE:
            raise ExportError(_unused(key, place))
        try:
            config.merge_from_dict({key: value})
        except (KeyError, TypeError, ValueError) as error:
            raise ExportError(_misfit(key, value, model, place)) from error
        for changed in _changed(before, key, value):
            missing = _unknown(before, config, changed)
            if missing is not None:
                raise ExportError(_no_such_key(changed, missing, model, place))


@dataclass(frozen=True)
class _Missing:
    # A step that a part of the config does not have, and the names that it could have.
    before: str
    step: str
    names: list[str]

    def remedy(self) -> str:
        near = nearest(self.step, self.names)
        return f"did you mean '{self.before}{near}'?" if near else ""


def _missing_parent(config: Any, key: str) -> _Missing | None:
    """Return the step of `key` that is missing, unless it is one that could be added."""
    *parents, last = key.split(".")
    part, walked = Part(config), ""
    for step in parents:
        if step not in part.names():
            return _Missing(walked, step, part.names())
        part, walked = part.at(step), f"{walked}{step}."
    # Items are changed and not added, and nothing asks for another key of the whole.
    is_closed = not parents or isinstance(part.value, list | tuple)
    return _Missing(walked, last, part.names()) if is_closed and last not in part.names() else None


def _unknown(before: Any, after: Any, key: str) -> _Missing | None:
    """Return the last step of `key` unless it was there or can be read."""
    *parents, last = key.split(".")
    old, new = Part(before), Part(after)
    for step in parents:
        old, new = old.at(step), new.at(step)
    known = list(dict.fromkeys([*old.names(), *new.accepted()]))
    walked = "".join(f"{step}." for step in parents)
    return None if last in known else _Missing(walked, last, known)


def _changed(before: Any, key: str, value: Any) -> Iterator[str]:
    """Yield `key`, or what a mapping changes in the one that is there."""
    part = Part(before)
    for step in key.split("."):
        if step not in part.names():
            yield key
            return
        part = part.at(step)
    if isinstance(value, dict) and part.names() and _REPLACE not in value:
        for name, inner in value.items():
            yield from _changed(before, f"{key}.{name}", inner)
    else:
        yield key


def _unused(key: str, place: str) -> Problem:
    return problem(
        place,
        f"to override '{key}' would change nothing: of a config that is loaded only "
        f"{', '.join(_IN_USE[:-1])} and {_IN_USE[-1]} are used",
        "expected a key in one of these, such as test_dataloader.dataset.pipeline.0 "
        "for a step of the test pipeline",
    )


def _no_such_key(key: str, missing: _Missing, model: MmdetModel, place: str) -> Problem:
    return problem(
        place,
        f"config '{model.config}' has no '{key}' to override",
        "expected the dotted path of a value that the config has, or that what is built of it or "
        "the model's code reads",
        missing.remedy(),
    )


def _misfit(key: str, value: Any, model: MmdetModel, place: str) -> Problem:
    return problem(
        place,
        f"config '{model.config}' has something else than a mapping of this form at '{key}'",
        "expected a value that can take its place, such as a number for a number",
        f"to replace all of it, add '{_REPLACE}: true' to the mapping"
        if isinstance(value, dict)
        else "",
    )
