"""Which tests run in one process of pytest-xdist: those that share a fixture, which is made once.

It is found in the text of the tests, since the process that deals them out collects none.
`xdist_group` changes the ids of tests, which pytest 9.2 does not let it do.
"""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

from tests.needs import ROOT


@dataclass(frozen=True)
class Definition:
    """A function of a module of the tests: the file, its arguments, and its scope as a fixture."""

    file: str
    arguments: frozenset[str]
    scope: str

    @property
    def is_shared(self) -> bool:
        """Return whether tests of one process share it; what is made by `once` all do."""
        return self.scope in ("module", "session") and "once" not in self.arguments


class ByFixture(LoadScopeScheduling):  # type: ignore[misc]  # reason: it has no types
    """Deals out tests one by one, and those that share a fixture together."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """Return the name of the group of a test, which is its own id if it shares nothing."""
    name, _, rest = nodeid.partition("::")
    known = _definitions(ROOT / name)
    found = _closure(known, rest.partition("[")[0])
    shared = {one: known[one] for one in found if known[one].is_shared}
    for one in sorted(shared):
        if shared[one].scope == "session" and not shared.keys() & shared[one].arguments:
            return f"{shared[one].file}::{one}"
    return name if shared else nodeid


def _closure(known: dict[str, Definition], test: str) -> set[str]:
    """Return the names of all fixtures that a test asks for, by others too."""
    found: set[str] = set()
    left = {test} & known.keys()
    while left:
        left = {name for one in left for name in known[one].arguments & known.keys()} - found
        found |= left
    return found


@functools.cache
def _definitions(file: Path) -> dict[str, Definition]:
    """Return the functions of a module by name, and the fixtures of its folder."""
    found = {}
    for path in (file.with_name("conftest.py"), file):
        if path.is_file():
            where = path.relative_to(ROOT).as_posix()
            for node in ast.parse(path.read_bytes()).body:
                if isinstance(node, ast.FunctionDef):
                    arguments = frozenset(argument.arg for argument in node.args.args)
                    found[node.name] = Definition(where, arguments, _scope(node))
    return found


def _scope(function: ast.FunctionDef) -> str:
    for decorator in function.decorator_list:
        for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
            if keyword.arg == "scope" and isinstance(keyword.value, ast.Constant):
                return str(keyword.value.value)
    return "function"
