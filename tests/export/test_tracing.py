"""Models that ask about their input: the branch taken, what is refused, what is restored."""

from __future__ import annotations

import builtins
import contextlib
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses import fake_tensor
from torch.fx.experimental import proxy_tensor, symbolic_shapes
from torch.fx.experimental.sym_node import SymNode
from torch.overrides import _len_torch_function_stack

from partition_core.errors import ExportError
from partition_core.export.replaced import replaced
from partition_core.export.tracing import asking_line, traceable
from tests.export import models
from tests.export.support import export, run, saved
from tests.export.support import torch_recipe as recipe

NONE = -np.ones((6, 4), dtype=np.float32)
SOME = np.array([1, -1, 1, -1, -1, 1], dtype=np.float32)[:, None] * np.ones((6, 4), np.float32)
ONE = np.where(np.arange(6)[:, None] == 2, 1, -1).astype(np.float32) * np.ones((6, 4), np.float32)
ALL = np.arange(1, 25, dtype=np.float32).reshape(6, 4)


def asking(ask: str) -> models.Rows:
    return models.Rows(ask)


@pytest.mark.parametrize(
    ("ask", "question"),
    [
        ("not_all", "mask.all()"),
        ("torch_all", "mask.all()"),
        ("any", "mask.any()"),
        ("empty", "Eq(u0, 0)"),
        ("numel", "4*u0 > 0"),
        ("more_than", "u0 > 3"),
        ("at_least", "u0 >= 3"),
    ],
)
def test_the_traced_branch_is_right_for_no_some_and_all_rows(
    ask: str, question: str, tmp_path: Path
) -> None:
    exported = export(recipe("Rows", {"x": (6, 4)}, args=(("ask", f'"{ask}"'),)))
    path = saved(exported.model, tmp_path)
    for rows in (NONE, ONE, SOME, ALL):
        expected = asking(ask)(torch.from_numpy(rows)).numpy()
        np.testing.assert_array_equal(run(path, {"x": rows})["output"], expected)
    (decision,) = exported.notes["decisions"]
    assert decision["question"] == question
    assert decision["source"].startswith("models.py:")


@pytest.mark.parametrize(
    ("ask", "code", "reason"),
    [
        ("odd", "% 2 == 0", "Eq(Mod(u0, 2), 0)"),
        ("difference", "one.shape[0] - other.shape[0]", "u0 - u1 > 0"),
        ("value", "int(x[0, 0])", "zuf0"),
        ("real_value", "x.max().item() > 0", "zuf0 > 0.0"),
        ("branch", "x.sum() > 0", "Eq(u0, 1)"),
    ],
)
def test_what_no_row_answers_stops_the_export_and_names_the_line_that_asks(
    ask: str, code: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    text = Path(models.__file__).read_text().splitlines()
    (line,) = [number for number, content in enumerate(text, 1) if code in content]
    with pytest.raises(ExportError) as error:
        export(recipe("Rows", {"x": (6, 4)}, args=(("ask", f'"{ask}"'),)))
    assert str(error.value) == (
        f"model: torch.export cannot trace the model, at models.py:{line}; "
        "GuardOnDataDependentSymNode: Could not guard on data-dependent expression "
        f"{reason}; mark and export a part of it, or change the model where it depends on its input"
    )
    assert capfd.readouterr() == ("", "")


def test_a_question_that_the_trace_itself_can_answer_is_no_decision() -> None:
    exported = export(recipe("Rows", {"x": (6, 4)}, args=(("ask", '"known"'),)))
    assert exported.notes["decisions"] == []


@contextlib.contextmanager
def restored() -> Iterator[None]:
    def state() -> list[object]:
        return [
            SymNode.guard_bool,
            fake_tensor.CONSTANT_NUMEL_LIMIT,
            proxy_tensor.CONSTANT_NUMEL_LIMIT,
            _len_torch_function_stack(),
            builtins.len,
            builtins.min,
            builtins.max,
            *[logging.getLogger(name).level for name in ("torch.onnx", "torch.fx")],
            models.__dict__.get("len"),
        ]

    before = state()
    yield
    assert state() == before


def test_everything_is_restored_after_a_trace_that_succeeds() -> None:
    with restored():
        export(recipe("Rows", {"x": (6, 4)}, args=(("ask", '"not_all"'),)))


def test_everything_is_restored_after_a_trace_that_fails() -> None:
    with restored(), pytest.raises(ExportError):
        export(recipe("Rows", {"x": (6, 4)}, args=(("ask", '"odd"'),)))
    with restored(), pytest.raises(ZeroDivisionError), traceable():
        raise ZeroDivisionError


def test_questions_about_known_masks_are_asked_as_ever_outside_of_a_trace() -> None:
    with pytest.raises(ExportError):
        export(recipe("Rows", {"x": (6, 4)}, args=(("ask", '"odd"'),)))
    assert bool(torch.tensor([True, True]).all()) is True
    assert bool(torch.tensor([False]).any()) is False


def test_a_replaced_attribute_comes_back_to_the_one_who_held_it() -> None:
    class Base:
        def hello(self) -> str:
            return "base"

    class Child(Base):
        pass

    with replaced(Child, "hello", lambda self: "changed"):
        assert (Child().hello(), Base().hello()) == ("changed", "base")
    assert "hello" not in vars(Child)
    with pytest.raises(KeyError), replaced(Base, "hello", None):
        raise KeyError
    assert Child().hello() == "base"


def test_the_asking_line_is_the_innermost_one_outside_of_torch_python_and_this_package() -> None:
    def at(*files: str) -> str:
        return asking_line(traceback.StackSummary.from_list([(f, 9, "f", None) for f in files]))

    torch_file, own_file = torch.__file__, Path(models.__file__).parents[2] / "partition_core/x.py"
    stdlib = contextlib.__file__
    inner = [torch_file, str(own_file), stdlib, "<string>"]
    assert at("/home/me/net.py", "/home/me/head.py", *inner) == "head.py:9"
    assert at("/a/lib/python3/site-packages/mmdet/models/x.py", *inner) == "mmdet/models/x.py:9"
    assert at("/mmdet/clone/mmdet/models/x.py", *inner) == "mmdet/models/x.py:9"
    assert at("/home/me/torch_like/net.py", *inner) == "net.py:9"
    assert at(*inner) == ""


def test_torch_still_has_what_the_tracing_relies_on() -> None:
    """The private things of torch that `tracing` uses, each with what it is used for."""
    seen: list[tuple[object, object, bool, set[object]]] = []
    ask = SymNode.guard_bool

    def note(node: SymNode, file: str, line: int) -> bool:
        question = torch.SymBool(node)
        if not (free := symbolic_shapes.free_unbacked_symbols(question)):
            return ask(node, file, line)
        size_like = free <= node.shape_env.size_like
        told = (type(node.expr).__name__, str(question), size_like, {str(one) for one in free})
        seen.append(told)
        return True

    class Asks(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = x.nonzero()
            if rows.shape[0] > 5:  # a branch of Python asks
                rows = rows + 1
            if not rows.shape[0] >= 3:
                rows = rows + 1
            if x[0].to(torch.int64).item() > 5:  # a value is no size
                rows = rows + 1
            ones = torch.ones(1)
            return torch.nn.functional.batch_norm(rows.float(), ones, ones)  # C++ asks

    with replaced(SymNode, "guard_bool", note):
        torch.export.export(Asks(), (torch.ones(8),), strict=False)
    assert SymNode.guard_bool is ask
    assert [one for one in seen if "5" in str(one[1]) or "3" in str(one[1])] == [
        ("StrictGreaterThan", "u0 > 5", True, {"u0"}),
        ("GreaterThan", "u0 >= 3", True, {"u0"}),
        ("StrictGreaterThan", "u1 > 5", False, {"u1"}),
    ]
    assert ("Equality", "Eq(u0, 0)", True, {"u0"}) in seen


class Sizes(torch.nn.Module):
    """Reads a size back from a list of numbers that it made a tensor of."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        ends = x.new_tensor([2, 3]).long().cumsum(0)
        weights = x.new_ones(int(ends[-1]))
        weights[ends[0] :] *= 3.0
        return {"weighted": x[:5] * weights[:, None]}


def test_a_size_that_is_kept_in_a_tensor_is_a_number_to_the_trace() -> None:
    module, sample = Sizes(), torch.arange(12.0).reshape(6, 2)
    with traceable() as decisions:
        program = torch.export.export(module, (sample,), strict=False)
    assert decisions == []
    found = program.module()(sample)["weighted"]
    assert found.shape == (5, 2)
    torch.testing.assert_close(found, module(sample)["weighted"])
