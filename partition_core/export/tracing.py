"""Answers for what a model asks about its input while torch.export traces it, as one block.

What reaches into torch beyond its documented functions is here and nowhere else.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import (
    free_unbacked_symbols,
    statically_known_false,
    statically_known_true,
)
from torch.overrides import TorchFunctionMode

from partition_core.export.questions import MASK_QUESTIONS, Decision, decide_mask, decide_size
from partition_core.export.replaced import replaced


@contextlib.contextmanager
def traceable() -> Iterator[list[Decision]]:
    """Answer questions about sizes and masks; yield the decisions taken, without repeats."""
    decisions: list[Decision] = []
    with contextlib.ExitStack() as undo:
        undo.enter_context(replaced(torch.SymBool, "__bool__", _answering(decisions)))
        undo.enter_context(_TensorQuestions(decisions))
        yield decisions


def _answering(decisions: list[Decision]) -> Callable[[torch.SymBool], bool]:
    """Return what `bool()` of a symbolic truth does: a size that the input decides is looked up."""
    ask: Callable[[torch.SymBool], bool] = torch.SymBool.__bool__

    def answer(question: torch.SymBool) -> bool:
        if statically_known_true(question):
            return True
        if statically_known_false(question):
            return False
        symbols = free_unbacked_symbols(question)
        # A number read out of a tensor is a symbol as well, but not one of a size.
        if not symbols or not symbols <= question.node.shape_env.size_like:
            return ask(question)
        decision = decide_size(question.node.expr, asking_line(traceback.extract_stack()))
        if decision is None:
            return ask(question)
        _note(decisions, decision)
        return decision.answer

    return answer


class _TensorQuestions(TorchFunctionMode):
    """Answers `bool(mask.all())` and `bool(mask.any())`, whose masks depend on the input."""

    def __init__(self, decisions: list[Decision]) -> None:
        super().__init__()
        self._decisions = decisions
        # The tensors are kept, so that an id is not given to another one.
        self._asked: dict[int, tuple[torch.Tensor, str]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__bool__ and id(args[0]) in self._asked:
            decision = decide_mask(
                self._asked[id(args[0])][1], asking_line(traceback.extract_stack())
            )
            _note(self._decisions, decision)
            return decision.answer
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in MASK_QUESTIONS and isinstance(result, torch.Tensor) and result.dim() == 0:
            self._asked[id(result)] = (result, name)
        return result


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
