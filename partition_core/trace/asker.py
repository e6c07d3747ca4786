"""The line of a model's code that asks the trace a question, found on the call stack.

Torch, the standard library and this package only pass questions on; all other code asks them,
also code without a file.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import linecache
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

import torch

_FROZEN = "<frozen "
_DIGITS = 16


@dataclass(frozen=True)
class Function:
    """A function's module and qualified name, and the digest of its source."""

    module: str
    name: str
    digest: str


@dataclass(frozen=True)
class Asker:
    """A line of a function: `label` is `file:line` without a folder of the machine.

    `module` and `function` are their qualified names, `code` is the text of the line and `digest`
    that of the whole function, empty without source. `variables` are the function's locals, and
    `callers` the functions of the model's code above it, nearest first.
    """

    label: str
    module: str
    function: str
    code: str
    digest: str
    variables: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    callers: tuple[Function, ...] = field(default=(), compare=False, repr=False)


def asker_of(frame: FrameType | None) -> Asker | None:
    """Return the innermost line of a model's code at `frame` or above it, None without one."""
    while frame is not None and _is_machinery(frame.f_code.co_filename):
        frame = frame.f_back
    return None if frame is None else _asker(frame, frame.f_lineno)


def asker_in(trace: TracebackType | None) -> Asker | None:
    """Return the innermost line of a model's code in an exception's traceback."""
    innermost = None
    while trace is not None:
        if not _is_machinery(trace.tb_frame.f_code.co_filename):
            innermost = (trace.tb_frame, trace.tb_lineno)
        trace = trace.tb_next
    return None if innermost is None else _asker(*innermost)


def function_digest(code: CodeType) -> str:
    """Return the digest of the source of a function, with the functions around and inside it.

    Trailing white space does not count. Empty where there is no source.
    """
    text = _function_text(code.co_filename, code.co_qualname.partition(".<locals>")[0])
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS] if text else ""


def _asker(frame: FrameType, line: int) -> Asker:
    code, function = frame.f_code, _function(frame)
    return Asker(
        label=f"{_label(code.co_filename)}:{line}",
        module=function.module,
        function=function.name,
        code=linecache.getline(code.co_filename, line, frame.f_globals).strip(),
        digest=function.digest,
        variables=dict(frame.f_locals),
        callers=tuple(_callers(frame)),
    )


def _function(frame: FrameType) -> Function:
    module = str(frame.f_globals.get("__name__", ""))
    return Function(module, frame.f_code.co_qualname, function_digest(frame.f_code))


def _callers(frame: FrameType) -> Iterator[Function]:
    above = frame.f_back
    while above is not None:
        if not _is_machinery(above.f_code.co_filename):
            yield _function(above)
        above = above.f_back


@functools.lru_cache(maxsize=1024)
def _function_text(file: str, qualified_name: str) -> str:
    lines = linecache.getlines(file)
    try:
        body: list[ast.stmt] = ast.parse("".join(lines)).body
    except (SyntaxError, ValueError):
        return ""
    node: ast.stmt | None = None
    for name in qualified_name.split("."):
        # The last definition of a name is the one that counts.
        node = next((each for each in reversed(body) if getattr(each, "name", "") == name), None)
        if node is None:
            return ""
        body = getattr(node, "body", [])
    if node is None:
        return ""
    decorators = getattr(node, "decorator_list", [])
    first = min(each.lineno for each in (node, *decorators))
    return "\n".join(line.rstrip() for line in lines[first - 1 : node.end_lineno])


def _label(file: str) -> str:
    """Return a file's path below the folder that Python imports it from, else its name."""
    path = Path(file)
    folders = [Path(folder or os.getcwd()) for folder in sys.path]
    inside = [folder for folder in folders if path.is_relative_to(folder)]
    deepest = max(inside, key=lambda folder: len(folder.parts), default=None)
    return path.relative_to(deepest).as_posix() if deepest is not None else path.name


def _is_machinery(file: str) -> bool:
    """Return whether a file is torch's, Python's own or one of this package."""
    if file.startswith("<"):
        return file.startswith(_FROZEN)
    path = Path(file)
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    if path.is_relative_to(_STANDARD_LIBRARY) and not installed:
        return True
    return any(path.is_relative_to(folder) for folder in _MACHINERY)


_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
_MACHINERY = (Path(torch.__file__).parent, Path(__file__).parents[1])
