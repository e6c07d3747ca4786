"""A recipe's `overrides` in an mmdet config: values it has, or that one of its parts can take."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

from partition_core.errors import ExportError, Place, problem, suggestion
from partition_core.recipe import MmdetModel

_IN_USE = ("model", "test_dataloader", "default_scope")
"""What is asked of a config once it is loaded."""


def override(config: Any, model: MmdetModel, place: Place) -> None:
    """Give `config` the values that `model` overrides.

    Raises ExportError for an unknown key, and for one that nothing asks for: `test_pipeline` and
    variables of a config have done their work when it was loaded.
    """
    for key, text in model.overrides:
        if _keys(config, key) is None and key.partition(".")[0] not in _IN_USE:
            raise ExportError(
                problem(
                    place,
                    f"to override '{key}' would change nothing: of a config that is loaded only "
                    f"{', '.join(_IN_USE[:-1])} and {_IN_USE[-1]} are used",
                    "expected a key in one of these, such as test_dataloader.dataset.pipeline.0 "
                    "for a step of the test pipeline",
                )
            )
        known = _keys(config, key)
        if known is not None:
            raise ExportError(
                problem(
                    place,
                    f"config '{model.config}' has no '{key}' to override",
                    "expected the dotted path of a value that the config has, or that a 'type' "
                    "in it takes",
                    suggestion(key, known),
                )
            )
        config.merge_from_dict({key: json.loads(text)})


def _keys(config: Any, key: str) -> list[str] | None:
    """Return None if `config` has `key`, else the keys beside the first step that is missing."""
    here, walked = config, ""
    *parents, last = key.split(".")
    for step in parents:
        names = _names(here)
        if step not in names:
            return [f"{walked}{name}" for name in names]
        here = here[int(step)] if isinstance(here, list | tuple) else here[step]
        walked += f"{step}."
    names = _names(here)
    if last in names:
        return None
    names += _parameters(here)
    return None if last in names else [f"{walked}{name}" for name in names]


def _names(here: Any) -> list[str]:
    if isinstance(here, list | tuple):
        return [str(index) for index in range(len(here))]
    return list(here) if hasattr(here, "keys") else []


def _parameters(part: Any) -> list[str]:
    """Return what can be set of the class that a part of a config names, whatever it sets."""
    from mmdet.registry import DATASETS, MODELS, TASK_UTILS, TRANSFORMS

    kind = part.get("type") if hasattr(part, "keys") else None
    if isinstance(kind, str):
        found = (one.get(kind) for one in (MODELS, TRANSFORMS, DATASETS, TASK_UTILS))
        kind = next(filter(None, found), None)
    return list(_named(kind)) if isinstance(kind, type) else []


def _named(kind: type) -> Iterator[str]:
    for owner in kind.__mro__:
        if "__init__" not in vars(owner):
            continue
        parameters = list(inspect.signature(owner).parameters.values())
        yield from (p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            return  # what it does not take is not handed on to its bases
