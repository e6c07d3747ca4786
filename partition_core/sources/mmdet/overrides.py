"""Applies a recipe's `overrides` to an mmdet config, and rejects unknown keys."""

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
"""The keys of a loaded config that are used."""

_REPLACE = "_delete_"
"""The key of a mapping that replaces another one; without it mmengine merges the two."""


def override(config: Any, model: MmdetModel, place: str) -> None:
    """Set the values in `config` that `model` overrides.

    Raises ExportError for an unknown key, and for one that nothing reads: `test_pipeline` and
    other variables of a config are only used while it is loaded.
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
    # A step that a part of the config lacks, and the valid names.
    before: str
    step: str
    names: list[str]

    def remedy(self) -> str:
        near = nearest(self.step, self.names)
        return f"did you mean '{self.before}{near}'?" if near else ""


def _missing_parent(config: Any, key: str) -> _Missing | None:
    """Return the missing step of `key`, unless it can be added."""
    *parents, last = key.split(".")
    part, walked = Part(config), ""
    for step in parents:
        if step not in part.names():
            return _Missing(walked, step, part.names())
        part, walked = part.at(step), f"{walked}{step}."
    # Items of a list can only be changed, and nothing reads other top-level keys.
    is_closed = not parents or isinstance(part.value, list | tuple)
    return _Missing(walked, last, part.names()) if is_closed and last not in part.names() else None


def _unknown(before: Any, after: Any, key: str) -> _Missing | None:
    """Return the last step of `key` unless it existed before or can be read."""
    *parents, last = key.split(".")
    old, new = Part(before), Part(after)
    for step in parents:
        old, new = old.at(step), new.at(step)
    known = list(dict.fromkeys([*old.names(), *new.accepted()]))
    walked = "".join(f"{step}." for step in parents)
    return None if last in known else _Missing(walked, last, known)


def _changed(before: Any, key: str, value: Any) -> Iterator[str]:
    """Yield `key`, or the keys below it that a mapping changes."""
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
        f"overriding '{key}' has no effect: of a loaded config, only "
        f"{', '.join(_IN_USE[:-1])} and {_IN_USE[-1]} are used",
        "expected a key in one of these, such as test_dataloader.dataset.pipeline.0 "
        "for a step of the test pipeline",
    )


def _no_such_key(key: str, missing: _Missing, model: MmdetModel, place: str) -> Problem:
    return problem(
        place,
        f"config '{model.config}' has no '{key}' to override",
        "expected the dotted path of a value in the config, or of one that its classes or the "
        "model's code read",
        missing.remedy(),
    )


def _misfit(key: str, value: Any, model: MmdetModel, place: str) -> Problem:
    return problem(
        place,
        f"the value at '{key}' in config '{model.config}' cannot be merged with this one",
        "expected a value of the same kind, such as a number for a number",
        f"to replace all of it, add '{_REPLACE}: true' to the mapping"
        if isinstance(value, dict)
        else "",
    )
