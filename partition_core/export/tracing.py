"""Answers for what a model asks about its input while torch.export traces it, as one block.

What reaches into torch beyond its documented functions is here and nowhere else.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sympy
import torch
from torch._subclasses import fake_tensor
from torch.fx.experimental import proxy_tensor
from torch.fx.experimental.sym_node import SymNode
from torch.fx.experimental.symbolic_shapes import (
    free_unbacked_symbols,
    statically_known_false,
    statically_known_true,
)
from torch.overrides import TorchFunctionMode

from partition_core.export.free_sizes import FreeSizes, TracedSize
from partition_core.export.questions import MASK_QUESTIONS, Decision, decide_mask, decide_size
from partition_core.export.replaced import replaced

_CONSTANT = 64
"""Elements of a tensor made of Python numbers up to which a trace knows its values."""


@contextlib.contextmanager
def traceable() -> Iterator[list[Decision]]:
    """Answer questions about sizes and masks; yield the decisions taken, without repeats."""
    decisions: list[Decision] = []
    with contextlib.ExitStack() as undo:
        undo.enter_context(sizes_answered(decisions))
        # torch follows only single numbers, and models read sizes back from lists of them.
        undo.enter_context(replaced(fake_tensor, "CONSTANT_NUMEL_LIMIT", _CONSTANT))
        undo.enter_context(replaced(proxy_tensor, "CONSTANT_NUMEL_LIMIT", _CONSTANT))
        undo.enter_context(_TensorQuestions(decisions))
        yield decisions


@contextlib.contextmanager
def sizes_answered(decisions: list[Decision]) -> Iterator[None]:
    """Answer questions about sizes, and note in `decisions` those that are not in it."""
    # Where Python and C++ both come when a symbolic truth must be True or False.
    with replaced(SymNode, "guard_bool", _answering(decisions)):
        yield


def _answering(decisions: list[Decision]) -> Callable[[SymNode, str, int], bool]:
    """Return what a symbolic truth is taken for: a size that the input decides is looked up."""
    ask: Callable[[SymNode, str, int], bool] = SymNode.guard_bool

    def answer(node: SymNode, file: str, line: int) -> bool:
        question = torch.SymBool(node)  # type: ignore[no-untyped-call]  # reason: torch's own class without annotations
        if statically_known_true(question):
            return True
        if statically_known_false(question):
            return False
        symbols, environment = free_unbacked_symbols(question), node.shape_env
        # A number read out of a tensor is a symbol as well, but not one of a size.
        if not symbols or environment is None or not symbols <= environment.size_like:
            return ask(node, file, line)
        decision = decide_size(node.expr, asking_line(traceback.extract_stack()))
        if decision is None:
            return ask(node, file, line)
        _note(decisions, decision)
        return decision.answer

    return answer


class _TensorQuestions(TorchFunctionMode):
    """Answers `bool()` of a question about a whole mask that depends on the input."""

    def __init__(self, decisions: list[Decision]) -> None:
        super().__init__()
        self._decisions = decisions
        # The tensors are kept, so that an id is not given to another one.
        self._asked: dict[int, tuple[torch.Tensor, str]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        question = self._asked.get(id(args[0]), (None, ""))[1] if args else ""
        if func is torch.Tensor.__bool__ and question in MASK_QUESTIONS:
            decision = decide_mask(question, asking_line(traceback.extract_stack()))
            _note(self._decisions, decision)
            return decision.answer
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dim() == 0:
            asks = _asked_of_mask(getattr(func, "__name__", ""), args, question)
            if asks:
                self._asked[id(result)] = (result, asks)
        return result


def _asked_of_mask(name: str, args: Any, before: str) -> str:
    """Return what a function asks of a mask as a whole, or an empty string.

    `before` is what its first argument is: itself an answer about a mask, or empty.
    """
    if name in ("all", "any"):
        return f"{name}()"
    if name == "sum" and args[0].dtype == torch.bool:
        return "sum()"
    if before == "sum()" and name in _COMPARISONS:
        return f"sum() {_COMPARISONS[name]} {args[1]}"
    return ""


_COMPARISONS = {"eq": "==", "__eq__": "==", "gt": ">", "__gt__": ">"}


def _note(decisions: list[Decision], decision: Decision) -> None:
    if decision not in decisions:
        decisions.append(decision)


def input_dims(program: torch.export.ExportedProgram) -> list[tuple[int | str, ...]]:
    """Return the dims of each input of a traced program: a number, or a symbol if not fixed."""
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    found = []
    for name in program.graph_signature.user_inputs:
        # A symbol that turned out to be a number while tracing prints as that number.
        dims = [str(dim) for dim in placeholders[str(name)].meta["val"].shape]
        found.append(tuple(int(dim) if dim.isdecimal() else dim for dim in dims))
    return found


def free_sizes(
    program: torch.export.ExportedProgram, axes: Sequence[tuple[int, int, str]]
) -> FreeSizes:
    """Return the sizes of `axes` and what the trace takes for granted about them.

    `axes` holds the number of an input, an axis that is not fixed, and its symbol in the recipe.
    """
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    inputs = [placeholders[str(name)].meta["val"] for name in program.graph_signature.user_inputs]
    sizes: dict[str, TracedSize] = {}
    inner: dict[sympy.Symbol, int] = {}
    conditions: dict[sympy.Basic, None] = {}
    for number, axis, name in axes:
        size: Any = inputs[number].shape[axis]
        node = size.node
        env = node.shape_env
        sizes.setdefault(name, TracedSize(node.expr, int(node.hint)))
        for symbol in sorted(node.expr.free_symbols, key=str):
            inner[symbol] = int(env.backed_var_to_val[symbol])
            conditions.update(dict.fromkeys(_bounds(symbol, env.var_to_range[symbol])))
    for env in {id(one): one for one in _shape_envs(inputs)}.values():
        for guard in env.guards:
            condition = guard.expr.xreplace(env.replacements)
            if condition.free_symbols and condition.free_symbols <= set(inner):
                conditions[condition] = None
    return FreeSizes(sizes, inner, tuple(conditions))


def _shape_envs(inputs: list[torch.Tensor]) -> list[Any]:
    # torch's stubs know nothing but numbers as sizes.
    dims: list[Any] = [dim for tensor in inputs for dim in tensor.shape]
    return [dim.node.shape_env for dim in dims if isinstance(dim, torch.SymInt)]


def _bounds(symbol: sympy.Symbol, allowed: Any) -> list[sympy.Basic]:
    bounds = []
    # Every size of a trace is at least 2 to begin with; that alone says nothing about the model.
    if allowed.lower > _FIRST_FREE:
        bounds.append(sympy.Ge(symbol, allowed.lower))
    if allowed.upper.is_Integer and allowed.upper < _NO_LIMIT:
        bounds.append(sympy.Le(symbol, allowed.upper))
    return bounds


_FIRST_FREE = 2
_NO_LIMIT = 2**31


def asking_line(stack: traceback.StackSummary) -> str:
    """Return the innermost line of mmdet, mmcv or user code, without a folder of the machine.

    Empty if `stack`, outermost first, has no such line.
    """
    for frame in reversed(stack):
        path = Path(frame.filename)
        if frame.filename.startswith("<") or _is_machinery(path):
            continue
        for package in ("mmdet", "mmcv", "mmengine"):
            if package in path.parts:
                start = len(path.parts) - 1 - path.parts[::-1].index(package)
                return f"{'/'.join(path.parts[start:])}:{frame.lineno}"
        return f"{path.name}:{frame.lineno}"
    return ""


def _is_machinery(path: Path) -> bool:
    """Return whether a file is torch's, Python's own or one of this package."""
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    if path.is_relative_to(_STANDARD_LIBRARY) and not installed:
        return True
    return any(path.is_relative_to(folder) for folder in _MACHINERY)


_STANDARD_LIBRARY = Path(traceback.__file__).parent
_MACHINERY = (Path(torch.__file__).parent, Path(__file__).parents[1])
