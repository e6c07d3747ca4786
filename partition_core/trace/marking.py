"""Puts marks on functions and modules of a PyTorch model for the duration of a `with` block."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from partition_core.base.errors import ExportError, Problem, problem
from partition_core.recipe.mark_reference import MarkReference, Side
from partition_core.recipe.values import Mark
from partition_core.trace.arguments import Arguments
from partition_core.trace.decorator import ACTIVE_MARKER
from partition_core.trace.mark_op import mark_tensor
from partition_core.trace.mark_targets import Function, mark_targets
from partition_core.trace.replaced import replaced
from partition_core.trace.structure import TensorPath, map_tensors, tensors


class Marking:
    """The marks of one recipe while its model runs, with every tensor that they marked.

    `tensors` maps each mark reference, in the order of the calls, to a copy of the marked tensor
    (the mark's own result while a graph is traced, where a copy would become a node).
    """

    def __init__(self, marks: tuple[Mark, ...], traced: bool) -> None:
        self.tensors: dict[MarkReference, torch.Tensor] = {}
        self._traced = traced
        self._yaml_paths = {mark.name: f"marks[{i}]" for i, mark in enumerate(marks)}
        self._calls: Counter[str] = Counter()
        self._inside: set[str] = set()

    def call(self, mark: Mark, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function` with its marked arguments and return its marked result."""
        # One function of an 'any_of' may be another's own implementation.
        if mark.name not in self._yaml_paths or mark.name in self._inside:
            return function(*args, **kwargs)
        number = self._calls[mark.name]
        self._calls[mark.name] += 1
        arguments = Arguments(function, args, kwargs)
        for name, parameter in self._input_names(mark, arguments).items():
            path = tuple(name.split("."))
            arguments[parameter] = self._marked(mark, number, "input", path, arguments[parameter])
        with self._once(mark):
            result = function(*arguments.positional, **arguments.by_name)
        return self._marked_result(mark, number, result)

    @contextlib.contextmanager
    def _once(self, mark: Mark) -> Iterator[None]:
        names = {mark.name} if mark.any_of else set()
        self._inside |= names
        try:
            yield
        finally:
            self._inside -= names

    def check_all_called(self, marks: tuple[Mark, ...]) -> None:
        """Raise ExportError naming every mark whose function or module was never called."""
        silent = (mark for mark in marks if not self._calls[mark.name])
        ExportError.refuse(self._problem(mark, *_never_called(mark)) for mark in silent)

    def _input_names(self, mark: Mark, arguments: Arguments) -> dict[str, str]:
        """Return the name of the argument that each input of a mark stands for.

        An input that is not the name of an argument is the parameter at its position.
        """
        passed = list(arguments)
        if mark.inputs is None:
            return {name: name for name in passed if _has_tensor(arguments[name])}
        parameters = arguments.parameters
        named: dict[str, str] = {}
        for index, name in enumerate(mark.inputs):
            if name in passed or name in parameters:
                named[name] = name
            elif index < len(parameters):
                named[name] = parameters[index]
            else:
                raise self._too_many(mark, parameters)
        for name, parameter in named.items():
            if list(named.values()).count(parameter) > 1:
                others = ", ".join(f"'{other}'" for other in named if named[other] == parameter)
                what = f"names parameter '{parameter}' twice, as {others}"
                raise self._error(mark, what, "expected a name for each parameter")
            if parameter not in passed or not _has_tensor(arguments[parameter]):
                raise self._error(
                    mark,
                    f"finds no tensor in input '{name}' (parameter '{parameter}')",
                    "a mark needs a tensor, or a list, tuple or dict of tensors",
                )
        return named

    def _too_many(self, mark: Mark, parameters: Sequence[str]) -> ExportError:
        listed = ", ".join(parameters) or "none"
        return self._error(
            mark,
            f"names {len(mark.inputs or ())} inputs, and the function has "
            f"{len(parameters)} parameters ({listed})",
        )

    def _marked_result(self, mark: Mark, number: int, result: Any) -> Any:
        if mark.outputs == ():
            return result
        if not _has_tensor(result):
            raise self._error(
                mark,
                f"finds no tensor in its output, which is a {type(result).__name__}",
                "a mark needs a tensor, or a list, tuple or dict of tensors",
                "mark another function, or write 'outputs: []'",
            )
        names = self._output_names(mark, result)

        def change(tensor: torch.Tensor, path: TensorPath) -> torch.Tensor:
            return self._mark(mark, number, "output", names(path), tensor)

        return map_tensors(result, _is_tensor, change)

    def _output_names(self, mark: Mark, result: Any) -> Callable[[TensorPath], TensorPath]:
        if mark.outputs is None:
            named = isinstance(result, dict)
            return lambda path: path if named else ("output", *path)
        if len(mark.outputs) == 1 and not (isinstance(result, dict) and len(result) == 1):
            (only,) = mark.outputs
            return lambda path: (only, *path)
        items = list(result) if isinstance(result, list | tuple | dict) else [result]
        if len(items) != len(mark.outputs):
            raise self._error(
                mark,
                f"names {len(mark.outputs)} outputs ({', '.join(mark.outputs)}), "
                f"and the function returned {len(items)}",
            )
        values = result.values() if isinstance(result, dict) else items
        for name, value in zip(mark.outputs, values, strict=True):
            if not _has_tensor(value):
                raise self._error(
                    mark,
                    f"finds no tensor in output '{name}', which is a {type(value).__name__}",
                    "a mark needs a tensor, or a list, tuple or dict of tensors",
                )
        keys = list(result) if isinstance(result, dict) else range(len(items))
        names = {str(key): name for key, name in zip(keys, mark.outputs, strict=True)}
        return lambda path: (names[path[0]], *path[1:])

    def _marked(self, mark: Mark, number: int, side: Side, prefix: TensorPath, value: Any) -> Any:
        def change(tensor: torch.Tensor, path: TensorPath) -> torch.Tensor:
            return self._mark(mark, number, side, (*prefix, *path), tensor)

        return map_tensors(value, _is_tensor, change)

    def _mark(
        self, mark: Mark, number: int, side: Side, path: TensorPath, tensor: torch.Tensor
    ) -> torch.Tensor:
        index = sum(
            1
            for known in self.tensors
            if (known.mark, known.call, known.side) == (mark.name, number, side)
        )
        result: torch.Tensor = mark_tensor(tensor, mark.name, number, side, ".".join(path), index)
        recorded = result if self._traced else tensor.clone()
        self.tensors[MarkReference(mark.name, side, number, path)] = recorded
        return result

    def _error(self, mark: Mark, what: str, expected: str = "", remedy: str = "") -> ExportError:
        return ExportError(self._problem(mark, what, expected, remedy))

    def _problem(self, mark: Mark, what: str, expected: str = "", remedy: str = "") -> Problem:
        return problem(self._yaml_paths[mark.name], f"mark '{mark.name}' {what}", expected, remedy)


def _never_called(mark: Mark) -> tuple[str, str]:
    reason = f"none of {', '.join(mark.any_of)} is" if mark.any_of else ""
    return "is never called when the model runs", reason


@contextlib.contextmanager
def marked(
    marks: tuple[Mark, ...],
    model: torch.nn.Module,
    *,
    entry_point: Function | None = None,
    traced: bool = False,
) -> Iterator[Marking]:
    """Put `marks` on `model`, its modules and on functions; remove them at the end.

    `entry_point` is the target of a mark on the whole model, if that is not its `forward`.

    Raises ExportError, all problems at once, for a target that cannot be found.
    """
    marking = Marking(marks, traced)
    targets = mark_targets(marks, model, entry_point or (model, "forward"))
    token = ACTIVE_MARKER.set(marking)
    with contextlib.ExitStack() as undo:
        undo.callback(ACTIVE_MARKER.reset, token)
        for mark, owner, attribute in targets:
            undo.enter_context(
                replaced(owner, attribute, _wrapper(marking, mark, owner, attribute))
            )
        yield marking


def _wrapper(marking: Marking, mark: Mark, owner: Any, attribute: str) -> Any:
    static = inspect.getattr_static(owner, attribute)
    function = static.__func__ if isinstance(static, staticmethod | classmethod) else None
    function = function or getattr(owner, attribute)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return marking.call(mark, function, *args, **kwargs)

    return type(static)(wrapper) if isinstance(static, staticmethod | classmethod) else wrapper


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _has_tensor(value: Any) -> bool:
    return next(tensors(value, _is_tensor), None) is not None
