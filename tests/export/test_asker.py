"""The line of a model's code that asks: which frame it is, what it is called, its digest."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from partition_core.trace.asker import Asker, asker_in, asker_of, function_digest

CODE = """
import functools
import bisect

class Head:
    scale = 2

    @functools.wraps(print)
    def decorated(self, ask):
        return ask()

    def predict(self, ask):
        rows = [ask() for _ in range(1)]
        return rows[0]

def sorted_by(ask):
    return sorted([1], key=lambda _: ask())

def compiled(ask):
    return eval("ask()", {"ask": ask})
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "head.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import nets.head  # type: ignore[import-not-found]

    yield nets.head
    del sys.modules["nets.head"], sys.modules["nets"]


def ask_from(call: Callable[[Callable[[], Any]], Any]) -> Asker:
    found: list[Asker | None] = []
    call(lambda: found.append(asker_of(sys._getframe(1))))
    (asker,) = found
    assert asker is not None
    return asker


def test_an_asker_is_called_by_its_file_below_the_folder_it_is_imported_from(
    module: types.ModuleType,
) -> None:
    asker = ask_from(module.Head().predict)
    assert (asker.label, asker.module) == ("nets/head.py:13", "nets.head")
    assert asker.code == "rows = [ask() for _ in range(1)]"
    assert asker.function == "Head.predict.<locals>.<listcomp>"
    assert asker.digest == function_digest(module.Head.predict.__code__) != ""


def test_pythons_own_library_is_passed_over(module: types.ModuleType) -> None:
    asker = ask_from(module.sorted_by)
    assert (asker.label, asker.code) == (
        "nets/head.py:17",
        "return sorted([1], key=lambda _: ask())",
    )


def test_code_without_a_file_asks_for_itself_and_not_for_who_calls_it(
    module: types.ModuleType,
) -> None:
    asker = ask_from(module.compiled)
    assert (asker.label, asker.digest) == ("<string>:1", "")


def test_an_exception_names_the_innermost_line_that_it_went_through(
    module: types.ModuleType,
) -> None:
    import torch

    with pytest.raises(RuntimeError) as error:
        module.Head().predict(torch.ones(2, 3).inverse)
    asker = asker_in(error.value.__traceback__)
    assert asker is not None
    assert asker.label == "nets/head.py:13"


def test_a_digest_is_that_of_the_whole_function_with_its_decorators(
    module: types.ModuleType, tmp_path: Path
) -> None:
    def digests(code: str) -> dict[str, str]:
        path = tmp_path / "nets" / "head.py"
        path.write_text(code)
        import linecache

        from partition_core.trace import asker

        linecache.checkcache(str(path))
        asker._function_text.cache_clear()
        scope: dict[str, Any] = {}
        exec(compile(code, str(path), "exec"), scope)  # noqa: S102 - reason: a module of this test
        head = scope["Head"]
        functions = {"predict": head.predict, "decorated": vars(head)["decorated"]}
        return {name: function_digest(each.__code__) for name, each in functions.items()}

    before = digests(CODE)
    assert all(before.values())
    assert (
        digests("# moved\n" + CODE.replace("]\n        return", "]   \n        return")) == before
    )
    changed = digests(CODE.replace("range(1)", "range(2)"))
    assert changed["predict"] != before["predict"]
    assert changed["decorated"] == before["decorated"]
    assert digests(CODE.replace("wraps(print)", "wraps(max)"))["decorated"] != before["decorated"]
