"""How a torch model is called: a recipe's inputs and constants, bound to the parameters of its
`forward` as Python binds them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from partition_core.base.errors import ExportError, Problem, nearest, problem, suggestion
from partition_core.recipe.values import ExportOptions, TensorSpec
from partition_core.trace.callables import imported
from partition_core.trace.structure import tensors as tensors_in

WRAPPED = "model"
"""A `CalledModel`'s attribute for the module it wraps: the first step of its modules' paths."""
_FACTORY = "factory"
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE = {
    inspect.Parameter.VAR_POSITIONAL: (list, "*", "0"),
    inspect.Parameter.VAR_KEYWORD: (dict, "**", "name"),
}
"""The type of `*args` and `**kwargs`, their prefix in Python, and an example step into them."""
_Steps = tuple[str, ...]


@dataclass(frozen=True)
class _InputSlot:
    # Where an input goes in an argument.
    name: str


@dataclass(frozen=True)
class _FactoryArgument:
    # An argument that a user's callable makes of a value.
    factory: Callable[[Any], Any]
    value: Any


class CalledModel(nn.Module):
    """`model` as a module that takes its input tensors by position, in the order `names`.

    Its arguments are trees of lists and dicts with tensors and constants. With `only_tensors` it
    returns the tensors in its result as a tuple, since torch.export takes no other types.
    """

    only_tensors = False

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[str],
        positional: Sequence[Any],
        by_name: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.model = model
        self._names = tuple(names)
        self._positional = tuple(positional)
        self._by_name = dict(by_name)

    def forward(self, *tensors: torch.Tensor) -> Any:
        """Return what the model returns for its inputs."""
        result = self.call_by_name(**dict(zip(self._names, tensors, strict=True)))
        if not self.only_tensors:
            return result
        return tuple(tensor for _, tensor in tensors_in(result, torch.is_tensor))

    def call_by_name(self, **inputs: torch.Tensor) -> Any:
        """Return what the model returns for its inputs by their names."""
        positional = [_filled(tree, inputs) for tree in self._positional]
        by_name = {name: _filled(tree, inputs) for name, tree in self._by_name.items()}
        return self.model(*positional, **by_name)


def as_called(
    module: nn.Module, export: ExportOptions
) -> tuple[CalledModel, tuple[TensorSpec, ...]]:
    """Return `module` as one that is called by position, and its inputs in that order.

    An input is a parameter of `forward`, or an item in one: `past.0.key` is the item 'key' of the
    first in a list. Raises ExportError, all problems at once, for inputs that Python cannot bind.
    """
    binding = _Binding(_parameters(module), export)
    positional, by_name = binding.arguments()
    names = list(_names_in([*positional, *by_name.values()]))
    specs = {spec.name: spec for spec in export.inputs}
    return (
        CalledModel(module, names, positional, by_name).eval(),
        tuple(specs[name] for name in names),
    )


def _parameters(module: nn.Module) -> Mapping[str, inspect.Parameter]:
    if not isinstance(module, torch.jit.ScriptModule):
        return inspect.signature(module.forward).parameters
    forward: Any = module.forward
    _, *arguments = forward.schema.arguments
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return {
        argument.name: inspect.Parameter(
            argument.name,
            kind,
            default=argument.default_value
            if argument.has_default_value()
            else inspect.Parameter.empty,
        )
        for argument in arguments
    }


class _Binding:
    # The recipe's inputs and constants for each parameter of a signature.

    def __init__(self, parameters: Mapping[str, inspect.Parameter], export: ExportOptions) -> None:
        self._parameters = parameters
        self._problems: list[Problem] = []
        self._trees: dict[str, Any] = {}
        self._factories: dict[str, str] = {}
        self._misspelt: set[str] = set()
        for name, text in export.args:
            self._add_constant(name, json.loads(text), export.inputs)
        for spec in export.inputs:
            self._add_tensor(spec.name)

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the trees to pass by position and those to pass by name."""
        self._check_names()
        trees = {name: self._finished(name, tree) for name, tree in self._trees.items()}
        self._check_complete(trees)
        ExportError.refuse(self._problems)
        positional: list[Any] = []
        by_name: dict[str, Any] = {}
        for name, parameter in self._parameters.items():
            if name not in trees:
                continue
            tree = trees.pop(name)
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                positional += tree
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                by_name |= tree
            elif parameter.kind in _POSITIONAL and self._all_before(name, positional):
                positional.append(tree)
            else:
                by_name[name] = tree
        return positional, by_name | trees

    def _add_constant(self, name: str, value: Any, inputs: Sequence[TensorSpec]) -> None:
        below = any(spec.name.startswith(f"{name}.") for spec in inputs)
        if below and isinstance(value, dict) and set(value) == {_FACTORY}:
            self._factories[name] = str(value[_FACTORY])
        else:
            self._trees[name] = value

    def _add_tensor(self, name: str) -> None:
        steps: _Steps = (name,) if name in self._parameters else tuple(name.split("."))
        tree = self._trees
        for step in steps[:-1]:
            inner = tree.setdefault(step, {})
            if not isinstance(inner, dict):
                self._refuse_input(name, f"lies in '{step}', which is given as a whole")
                return
            tree = inner
        if steps[-1] in tree:
            self._refuse_input(name, "is given twice: also in 'args', or by an input inside it")
        tree[steps[-1]] = _InputSlot(name)

    def _check_names(self) -> None:
        kinds = {parameter.kind for parameter in self._parameters.values()}
        if inspect.Parameter.VAR_KEYWORD in kinds:
            return
        for name in [name for name in self._trees if name not in self._parameters]:
            inputs = list(_names_in([self._trees.pop(name)]))
            key = f"inputs.{inputs[0]}" if inputs else f"args.{name}"
            self._problems.append(
                problem(
                    f"export.{key}",
                    f"the model's forward has no parameter '{name}'",
                    f"it takes {self._signature()}",
                    suggestion(name, self._parameters),
                )
            )
            # A misspelt name is not reported as missing too.
            self._misspelt.add(nearest(name, self._parameters) or "")

    def _check_complete(self, trees: Mapping[str, Any]) -> None:
        for name, parameter in self._parameters.items():
            is_needed = parameter.default is inspect.Parameter.empty
            if parameter.kind in _VARIABLE:
                form, stars, example = _VARIABLE[parameter.kind]
                if name in trees and not isinstance(trees[name], form):
                    what = f"is '{stars}{name}' of the model's forward; write '{name}.{example}'"
                    self._refuse_input(name, what)
            elif is_needed and name not in trees and name not in self._misspelt:
                what = f"the model's forward needs '{name}', which is not given"
                remedy = f"add the input '{name}', or a constant: 'export': {{args: {{{name}: …}}}}"
                place = "export.inputs"
                self._problems.append(problem(place, what, f"it takes {self._signature()}", remedy))

    def _signature(self) -> str:
        named = (
            f"{_VARIABLE[parameter.kind][1] if parameter.kind in _VARIABLE else ''}{name}"
            for name, parameter in self._parameters.items()
        )
        return ", ".join(named) or "nothing"

    def _all_before(self, name: str, positional: Sequence[Any]) -> bool:
        return list(self._parameters).index(name) == len(positional)

    def _finished(self, name: str, tree: Any) -> Any:
        tree = self._with_lists(name, tree)
        if name not in self._factories:
            return tree
        try:
            place = f"export.args.{name}"
            factory = imported(self._factories[name], place, "the argument")
        except ExportError as error:
            self._problems += error.problems
            return tree
        return _FactoryArgument(factory, tree)

    def _with_lists(self, path: str, tree: Any) -> Any:
        """Return `tree` with a list for each dict whose keys are numbers."""
        if not isinstance(tree, dict):
            return tree
        inner = {key: self._with_lists(f"{path}.{key}", value) for key, value in tree.items()}
        numbers = sorted(int(key) for key in inner if key.isdecimal())
        if not inner or len(numbers) < len(inner):
            return inner
        if numbers != list(range(len(numbers))):
            missing = next(n for n, number in enumerate(numbers) if n != number)
            self._refuse_input(path, f"is a list without '{path}.{missing}'")
        return [inner[key] for key in sorted(inner, key=int)]

    def _refuse_input(self, name: str, what: str) -> None:
        place = f"export.inputs.{name}"
        self._problems.append(problem(place, f"input '{name}' {what}"))


def _names_in(tree: Any) -> Iterator[str]:
    if isinstance(tree, _InputSlot):
        yield tree.name
    elif isinstance(tree, _FactoryArgument):
        yield from _names_in(tree.value)
    elif isinstance(tree, list | dict):
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from _names_in(item)


def _filled(tree: Any, inputs: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(tree, _InputSlot):
        return inputs[tree.name]
    if isinstance(tree, _FactoryArgument):
        return tree.factory(_filled(tree.value, inputs))
    if isinstance(tree, dict):
        return {key: _filled(item, inputs) for key, item in tree.items()}
    if isinstance(tree, list):
        return [_filled(item, inputs) for item in tree]
    return tree
