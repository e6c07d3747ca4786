"""Models that ask about their input: the branch taken, what is refused, what is restored."""

from __future__ import annotations

import builtins
import contextlib
import inspect
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch._subclasses import fake_tensor
from torch.fx.experimental import proxy_tensor, symbolic_shapes
from torch.fx.experimental.sym_node import SymNode
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.overrides import _len_torch_function_stack

from partition_core.base.errors import ExportError
from partition_core.trace import questions
from partition_core.trace.asker import asker_in, function_digest
from partition_core.trace.questions import Answers
from partition_core.trace.replaced import replaced
from partition_core.trace.tracing import traceable
from tests.export import models
from tests.export.support import export
from tests.export.support import torch_recipe as recipe

MASKS = {
    "none": [-1, -1, -1, -1, -1, -1],
    "one": [-1, -1, 1, -1, -1, -1],
    "some": [1, -1, 1, -1, -1, 1],
    "all": [1, 2, 3, 4, 5, 6],
}
KNOWN = {
    "not_all": questions.NOT_ALL,
    "torch_all": questions.NOT_ALL,
    "any": questions.SOME_MATCH,
    "empty": questions.NOT_EMPTY,
    "numel": questions.NOT_EMPTY,
    "more_than": questions.MORE_THAN_THE_LIMIT,
    "at_least": questions.MORE_THAN_THE_LIMIT,
}


def known_function(ask: str) -> questions.KnownFunction:
    """Return what is known of a function of our tests, as if it had been read like mmdet's."""
    function = getattr(models.Rows, ask)
    lines, _ = inspect.getsourcelines(function)
    asking = {line.strip(): KNOWN[ask] for line in lines if " if " in line}
    digest = function_digest(function.__code__)
    return questions.KnownFunction(models.__name__, f"Rows.{ask}", digest, asking)


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
def test_the_branch_of_a_known_function_is_right_for_no_some_and_all_rows(
    ask: str, question: str
) -> None:
    module, sample = models.Rows(ask), torch.ones(6, 4)
    with traceable(Answers([known_function(ask)])) as asked:
        program = torch.export.export(module, (sample,), strict=False)
    for mask in MASKS.values():
        rows = torch.tensor(mask, dtype=torch.float32)[:, None] * torch.arange(1.0, 5.0)
        torch.testing.assert_close(program.module()(rows), module(rows))
    (decision,) = asked.decisions
    assert (decision.question, decision.assumed) == (question, False)
    assert decision.source.startswith("tests/export/models.py:")


@pytest.mark.parametrize("ask", sorted(KNOWN))
def test_the_same_code_under_another_name_is_nobodys(ask: str) -> None:
    other = replace(known_function(ask), module="tests.export.others")
    with pytest.raises(GuardOnDataDependentSymNode), traceable(Answers([other])):
        torch.export.export(models.Rows(ask), (torch.ones(6, 4),), strict=False)


def padding(line: str) -> questions.KnownFunction:
    digest = function_digest(models.Padded.padded.__code__)
    lines = {line: questions.NOT_EMPTY}
    return questions.KnownFunction(models.__name__, "Padded.padded", digest, lines)


def test_what_an_operator_demands_behind_an_answer_answers_no_question_after_it() -> None:
    # Padding refuses no rows. Where there are none PyTorch returns before it, and then gives a
    # row: taken for a fact, the demand would be the answer to the second question.
    line = "if kept.shape[0] == 0:"
    module, sample = models.Padded(), torch.ones(6, 4)
    assert module(-sample).shape == (1, 6)
    with (
        pytest.raises(GuardOnDataDependentSymNode) as error,
        traceable(Answers([padding(line)])) as asked,
    ):
        torch.export.export(module, (sample,), strict=False)
    assert asker_in(error.value.__traceback__) is not None
    assert [decision.code for decision in asked.decisions] == [line]
    assert asker_in(error.value.__traceback__).function == "Padded.forward"  # type: ignore[union-attr]


def test_what_an_operator_demands_without_an_answer_holds_for_what_follows() -> None:
    class Demands(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            kept = x[x[:, 0] > 0]
            padded = torch.nn.functional.pad(kept[None], (1, 1), mode="replicate")[0]
            return kept if kept.shape[0] == 0 else padded  # PyTorch raises before, for none

    with traceable(Answers([padding("")])) as asked:
        torch.export.export(Demands(), (torch.ones(6, 4),), strict=False)
    assert asked.decisions == []


def test_a_question_that_the_trace_itself_can_answer_is_no_decision() -> None:
    exported = export(recipe("Rows", {"x": (6, 4)}, args=(("ask", '"known"'),)))
    assert exported.notes["decisions"] == []


@contextlib.contextmanager
def restored() -> Iterator[None]:
    def state() -> list[object]:
        return [
            SymNode.guard_bool,
            SymNode.expect_true,
            GuardOnDataDependentSymNode.__init__,
            torch.Tensor.numpy,
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
        export(recipe("Rows", {"x": (6, 4)}, args=(("ask", '"known"'),)))


def test_everything_is_restored_after_a_trace_that_fails() -> None:
    with restored(), pytest.raises(ExportError):
        export(recipe("Rows", {"x": (6, 4)}, args=(("ask", '"odd"'),)))
    answers = Answers([known_function("not_all")])
    with restored(), pytest.raises(ZeroDivisionError), traceable(answers):
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
    with traceable() as asked:
        program = torch.export.export(module, (sample,), strict=False)
    assert asked.decisions == []
    found = program.module()(sample)["weighted"]
    assert found.shape == (5, 2)
    torch.testing.assert_close(found, module(sample)["weighted"])
