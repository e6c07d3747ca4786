"""Finds the keys that a part of an mmdet config can have: parameters of the class it builds, or
keys that the code of the model reads. Builds no model."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from partition_core.trace.structure import mappings_in

Builder = Callable[..., Any]
"""A class or a function that receives a part of a config."""

_TESTING = "test_cfg"
_RECIPIENTS = {
    "rpn": ("rpn_head", _TESTING),
    "rcnn": ("roi_head", "rcnn_test_cfg"),
    "panoptic": ("panoptic_fusion_head", _TESTING),
}
"""The part of a detector that gets this part of its `test_cfg`, and its name there."""

_READ_BY: dict[str, tuple[str, str]] = {
    "nms": ("mmcv.ops.nms", "batched_nms"),
    "nms_cfg": ("mmcv.ops.nms", "batched_nms"),
    "norm_cfg": ("mmcv.cnn.bricks.norm", "build_norm_layer"),
    "init_cfg": ("mmengine.model.weight_init", "initialize"),
}
"""The function that reads a part with this name before it builds something, wherever it is."""

_WITHOUT_CONFIGS = ("torch", "mmengine", "builtins", "abc", "typing")
"""Packages whose classes read no config of a detector."""


@dataclass(frozen=True)
class Part:
    """A part of a config: its value, its key, and what reads it.

    `owners` are the classes and functions whose source may read it, `siblings` is the mapping that
    contains it.
    """

    value: Any
    key: str = ""
    owners: tuple[Builder, ...] = ()
    siblings: Any = None

    def names(self) -> list[str]:
        """Return the keys or indices that the part has."""
        if isinstance(self.value, list | tuple):
            return [str(index) for index in range(len(self.value))]
        return list(self.value) if hasattr(self.value, "keys") else []

    def at(self, step: str) -> Part:
        """Return the part under one of `names`."""
        if isinstance(self.value, list | tuple):
            return Part(self.value[int(step)], self.key, self.owners)
        value = self.value[step]
        if step == _TESTING:
            kinds = [kind for kind in _kinds(self.value) if _TESTING in _parameters(kind)]
            return Part(value, step, tuple(kinds), self.value)
        if self.key == _TESTING and step in _RECIPIENTS:
            # It is the whole 'test_cfg' of its recipient.
            recipient, name = _RECIPIENTS[step]
            return Part(value, name, tuple(_kinds((self.siblings or {}).get(recipient))))
        return Part(value, step, self._builders() or self.owners, self.value)

    def accepted(self) -> list[str]:
        """Return the keys that the part may have, present or not."""
        if not isinstance(self.value, Mapping):
            return []
        keys = [*_parameters(_kind(self.value)), *self._keys_read()]
        return list(dict.fromkeys(keys))

    def _builders(self) -> tuple[Builder, ...]:
        kind = _kind(self.value)
        return (kind,) if kind else tuple(call.function for call in self._uses().calls)

    def _keys_read(self) -> Iterator[str]:
        uses = self._uses()
        yield from uses.keys
        for call in uses.calls:
            yield from call.free_parameters()
        if self.key in _READ_BY:
            yield from _keys_of_reader(*_READ_BY[self.key], self.value)

    def _uses(self) -> _Uses:
        return _uses_of(self.owners, self.key)


@dataclass(frozen=True)
class _Call:
    # A call `function(…, **part)`: the number of positional arguments, and the names of others.
    function: Builder
    positional: int
    named: tuple[str, ...]

    def free_parameters(self) -> list[str]:
        free = _parameters(self.function)[self.positional :]
        return [name for name in free if name not in self.named]


@dataclass(frozen=True)
class _Uses:
    keys: tuple[str, ...] = ()
    calls: tuple[_Call, ...] = ()


def _kinds(part: Any) -> Iterator[Builder]:
    """Yield the classes that the `type` keys in a part of a config name."""
    yield from filter(None, map(_kind, mappings_in(part)))


def _kind(part: Any) -> Builder | None:
    """Return the class that the `type` of a part names, if a registry has it."""
    from mmdet.registry import DATASETS, MODELS, TASK_UTILS, TRANSFORMS
    from mmengine.registry import WEIGHT_INITIALIZERS

    kind = part.get("type") if isinstance(part, Mapping) else None
    if isinstance(kind, str):
        registries = (MODELS, TRANSFORMS, DATASETS, TASK_UTILS, WEIGHT_INITIALIZERS)
        kind = next(filter(None, (registry.get(kind) for registry in registries)), None)
    return kind if callable(kind) else None


def _parameters(builder: Builder | None) -> list[str]:
    if not inspect.isclass(builder):
        return _named(builder)[0] if builder else []
    parameters: list[str] = []
    for owner in builder.__mro__:
        if "__init__" not in vars(owner):
            continue
        names, takes_others = _named(owner)
        parameters += names
        if not takes_others:
            break  # it passes no other parameters to its bases
    return parameters


def _named(function: Builder) -> tuple[list[str], bool]:
    """Return the named parameters, and whether there is a `**` parameter."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return [], False  # a C function without a signature
    names = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return names, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _keys_of_reader(module: str, function: str, part: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys that a function reads in its config, and the parameters of its `type`."""
    source = vars(importlib.import_module(module))
    reader = _Reader("cfg", source, loosely=True)
    reader.visit(_tree(inspect.unwrap(source[function])))
    yield from reader.keys
    named = part.get("type")
    builder = source.get(named) if isinstance(named, str) else named
    # The first parameters of such a function are tensors.
    if inspect.isfunction(builder):
        signature = inspect.signature(builder).parameters.values()
        yield from (p.name for p in signature if not _is_of_tensor(p))


def _is_of_tensor(parameter: inspect.Parameter) -> bool:
    return "Tensor" in str(parameter.annotation) or "array_like" in str(parameter.annotation)


def _uses_of(owners: tuple[Builder, ...], key: str) -> _Uses:
    """Return how the code of `owners` uses a part called `key`.

    If a class only passes it on, its whole module is searched.
    """
    for scopes in (_functions, _modules):
        keys: list[str] = []
        calls: list[_Call] = []
        for scope in dict.fromkeys(scope for owner in owners for scope in scopes(owner)):
            uses = _uses_in(scope, key)
            keys += uses.keys
            calls += uses.calls
        if keys or calls:
            return _Uses(tuple(dict.fromkeys(keys)), tuple(dict.fromkeys(calls)))
    return _Uses()


def _functions(owner: Builder) -> list[Any]:
    """Return the functions of a class and its bases that are not overridden."""
    if not inspect.isclass(owner):
        return [inspect.unwrap(owner)]
    functions: list[Any] = []
    overridden: set[str] = set()
    for kind in _classes(owner):
        for name, value in vars(kind).items():
            function = inspect.unwrap(getattr(value, "__func__", value))
            if name in overridden or not inspect.isfunction(function):
                continue
            functions.append(function)
            if "super" not in function.__code__.co_names:
                overridden.add(name)
    return functions


def _classes(owner: Builder) -> list[Any]:
    bases = owner.__mro__ if inspect.isclass(owner) else [inspect.unwrap(owner)]
    return [base for base in bases if base.__module__.partition(".")[0] not in _WITHOUT_CONFIGS]


def _modules(owner: Builder) -> list[Any]:
    names = (kind.__module__ for kind in _classes(owner))
    return [sys.modules[name] for name in names if name in sys.modules]


@functools.cache
def _uses_in(scope: Any, key: str) -> _Uses:
    module = scope if inspect.ismodule(scope) else sys.modules.get(scope.__module__)
    reader = _Reader(key, vars(module) if module else {})
    reader.visit(_tree(scope))
    return _Uses(tuple(reader.keys), tuple(reader.calls))


def _tree(scope: Any) -> ast.AST:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(scope)))
    except (OSError, TypeError, SyntaxError):
        return ast.Module([], [])  # code without a file


class _Reader(ast.NodeVisitor):
    # Finds what code does with a part of a config, which it knows by its key.

    def __init__(self, key: str, names: Mapping[str, Any], *, loosely: bool = False) -> None:
        self.keys: list[str] = []
        self.calls: list[_Call] = []
        self._key = key
        self._names = names
        self._loosely = loosely

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self._is_part(node.value) and isinstance(node.slice, ast.Constant):
            self._add(node.slice)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if self._is_part(node.value) and not hasattr(dict, node.attr):
            self.keys.append(node.attr)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        is_membership = any(isinstance(op, ast.In | ast.NotIn) for op in node.ops)
        if is_membership and self._is_part(node.comparators[0]):
            self._add(node.left)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr in ("get", "pop", "setdefault"):
            if self._is_part(called.value) and node.args:
                self._add(node.args[0])
        elif isinstance(called, ast.Name) and called.id in ("hasattr", "getattr"):
            if self._is_part(node.args[0]):
                self._add(node.args[1])
        elif any(word.arg is None and self._is_part(word.value) for word in node.keywords):
            function = self._names.get(called.id) if isinstance(called, ast.Name) else None
            if callable(function):
                named = tuple(word.arg for word in node.keywords if word.arg is not None)
                self.calls.append(_Call(function, len(node.args), named))
        self.generic_visit(node)

    def _add(self, node: ast.expr) -> None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self.keys.append(node.value)

    def _is_part(self, node: ast.expr) -> bool:
        name = getattr(node, "attr", None) or getattr(node, "id", None)
        if not isinstance(name, str):
            return False
        name = name.strip("_")
        if self._loosely:
            return name.endswith(self._key)
        if self._key.endswith(_TESTING):
            return name.endswith(_TESTING) or (self._key == _TESTING and name == "cfg")
        return name in (self._key, f"{self._key}_cfg", f"{self._key}_")
