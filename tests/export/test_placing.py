"""Marks on running models: which tensors they find, under which names, and what they leave."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from partition_core.base.errors import ExportError
from partition_core.recipe.values import Mark
from partition_core.trace.marking import Marking, marked
from tests.export import models
from tests.export.support import mark

X = torch.arange(8.0).reshape(2, 4)


def seen(what: str, *marks: Mark, x: torch.Tensor = X) -> dict[str, torch.Tensor]:
    """Run `Calls(what)` with the marks; return what each mark reference saw."""
    model = models.Calls(what)
    with marked(marks, model) as marking, torch.no_grad():
        model(x)
    marking.check_all_called(marks)
    return {str(reference): tensor for reference, tensor in marking.tensors.items()}


def refused(what: str, *marks: Mark) -> str:
    with pytest.raises(ExportError) as error:
        seen(what, *marks)
    return str(error.value)


def test_a_function_by_its_dotted_path_is_marked_before_and_after() -> None:
    found = seen("function", mark("m", "double"))
    assert list(found) == ["m:input.value", "m:output.output"]
    assert torch.equal(found["m:input.value"], X)
    assert torch.equal(found["m:output.output"], 2 * X)


def test_a_mark_keeps_a_copy_of_what_it_saw() -> None:
    x = X.clone()
    model = models.Calls("function")
    with marked((mark("m", "double"),), model) as marking:
        model(x)
        x.zero_()
    assert torch.equal(next(iter(marking.tensors.values())), X)


def test_calls_of_one_function_are_told_apart_by_their_number() -> None:
    found = seen("twice", mark("m", "double", inputs=("v",), outputs=("w",)))
    assert list(found) == ["m:input.v", "m:output.w", "m[1]:input.v", "m[1]:output.w"]
    assert torch.equal(found["m[1]:output.w"], 4 * X)


def test_each_run_of_the_model_counts_its_calls_from_zero() -> None:
    marks = (mark("m", "double"),)
    assert list(seen("function", *marks)) == list(seen("function", *marks))


@pytest.mark.parametrize(
    ("what", "on", "factor"),
    [
        ("method_of_class", "Steps.method", 5),
        ("method_of_subclass", "Steps.method", 5),
        ("method_of_subclass", "MoreSteps.method", 5),
        ("static", "Steps.static", 7),
        ("of_class", "Steps.of_class", 11),
    ],
)
def test_methods_of_every_kind_are_marked_without_their_owner(
    what: str, on: str, factor: int
) -> None:
    found = seen(what, mark("m", on, inputs=("given",), outputs=("made",)))
    assert torch.equal(found["m:input.given"], X)
    assert torch.equal(found["m:output.made"], factor * X)


def test_a_method_inherited_by_one_class_is_marked_for_that_class_only() -> None:
    assert "never called" in refused("method_of_class", mark("m", "MoreSteps.method"))


def test_a_static_method_is_marked_through_the_class_and_an_instance() -> None:
    assert "m[1]:output.output" in seen("static", mark("m", "Steps.static"))


def test_a_module_is_marked_by_its_path_in_the_model() -> None:
    found = seen("submodule", mark("m", module="inner"), mark("linear", module="inner.0"))
    assert list(found) == [
        "m:input.input",
        "linear:input.input",
        "linear:output.output",
        "m:output.output",
    ]
    assert torch.equal(found["m:output.output"], found["linear:output.output"].relu())


def test_keyword_arguments_get_the_names_of_their_parameters() -> None:
    found = seen("by_keyword", mark("m", "shifted", outputs=()))
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "m:input.value": (X * 10).tolist(),
        "m:input.scale": X.tolist(),
    }


def test_inputs_are_named_by_position_and_the_rest_stays_unmarked() -> None:
    assert list(seen("by_position", mark("m", "shifted", inputs=("given",), outputs=()))) == [
        "m:input.given"
    ]


def test_a_side_with_no_names_is_not_marked() -> None:
    assert list(seen("function", mark("m", "double", inputs=()))) == ["m:output.output"]
    assert list(seen("function", mark("m", "double", outputs=()))) == ["m:input.value"]


def test_tensors_in_containers_of_every_kind_are_found_by_their_path() -> None:
    found = seen("containers", mark("m", "nested"))
    assert list(found) == [
        "m:input.values.list.0",
        "m:input.values.pair.0",
        "m:input.values.pair.1",
        "m:output.sum.0",
        "m:output.pair.0",
        "m:output.pair.1",
    ]
    assert torch.equal(found["m:input.values.pair.1"], X + 2)


def test_marking_containers_changes_nothing_of_the_result() -> None:
    model = models.Calls("containers")
    expected = model(X)
    with marked((mark("m", "nested"),), model):
        assert torch.equal(model(X), expected)


def test_several_outputs_get_several_names_and_one_name_holds_them_all() -> None:
    named = seen("pair", mark("m", "two", inputs=(), outputs=("more", "less")))
    assert torch.equal(named["m:output.less"], X - 1)
    joined = seen("pair", mark("m", "two", inputs=(), outputs=("both",)))
    assert list(joined) == ["m:output.both.0", "m:output.both.1"]


def test_the_keys_of_a_returned_dict_are_renamed_in_their_order() -> None:
    marks = mark("m", "nested", inputs=(), outputs=("total", "rest", "text"))
    assert refused("containers", marks) == (
        "marks[0]: mark 'm' finds no tensor in output 'text', which is a str; "
        "a mark needs a tensor, or a list, tuple or dict of tensors"
    )


def test_the_decorator_marks_only_within_an_export_that_declares_it() -> None:
    declared = mark("decorated", decorator=True)
    assert list(seen("with_decorator", declared)) == [
        "decorated:input.given",
        "decorated:output.made",
    ]
    assert seen("with_decorator") == {}
    assert torch.equal(models.decorated(X), 3 * X)


def test_a_declared_decorator_that_is_nowhere_is_an_error() -> None:
    assert refused("function", mark("decorated", decorator=True)) == (
        "marks[0]: mark 'decorated' is never called when the model runs"
    )


def test_a_wrong_name_count_tells_the_parameters() -> None:
    assert refused("function", mark("m", "double", inputs=("a", "b"))) == (
        "marks[0]: mark 'm' names 2 inputs, and the function has 1 parameters (value)"
    )
    assert refused("pair", mark("m", "two", outputs=("a", "b", "c"))) == (
        "marks[0]: mark 'm' names 3 outputs (a, b, c), and the function returned 2"
    )
    assert refused("function", mark("m", "double", outputs=("a", "b"))) == (
        "marks[0]: mark 'm' names 2 outputs (a, b), and the function returned 1"
    )


def test_a_named_side_without_a_tensor_is_an_error() -> None:
    needs = "a mark needs a tensor, or a list, tuple or dict of tensors"
    assert refused("by_position", mark("m", "shifted", inputs=("given", "far"))) == (
        f"marks[0]: mark 'm' finds no tensor in input 'far' (parameter 'by'); {needs}"
    )
    assert refused("number", mark("m", "count")) == (
        f"marks[0]: mark 'm' finds no tensor in its output, which is a int; {needs}; "
        "mark another function, or write 'outputs: []'"
    )
    assert refused("halves", mark("m", "half_a_tensor", outputs=("one", "other"))) == (
        f"marks[0]: mark 'm' finds no tensor in output 'other', which is a NoneType; {needs}"
    )


def test_marks_that_are_never_called_are_told_all_at_once() -> None:
    assert refused("function", mark("a", "never"), mark("b", "double"), mark("c", "two")) == (
        "marks[0]: mark 'a' is never called when the model runs\n"
        "marks[2]: mark 'c' is never called when the model runs"
    )


NOT_WRITTEN = "a mark's 'on' names a function or a method that is written in Python"
HERE = "tests.export.models"


@pytest.mark.parametrize(
    ("on", "message"),
    [
        (
            "nowhere.at.all",
            "mark 'm' is on 'nowhere.at.all', and there is no module 'nowhere'; "
            "a mark's 'on' is the dotted path of a function that can be imported",
        ),
        (
            f"{HERE}.dubble",
            f"mark 'm' is on '{HERE}.dubble', and module '{HERE}' has no 'dubble'; "
            "did you mean 'double'?",
        ),
        (
            "tests.exports.models.double",
            "mark 'm' is on 'tests.exports.models.double', and module 'tests' has no 'exports'; "
            "did you mean 'export'?",
        ),
        (
            f"{HERE}.Steps.methud",
            f"mark 'm' is on '{HERE}.Steps.methud', and class 'Steps' has no 'methud'; "
            "did you mean 'method'?",
        ),
        (
            f"{HERE}.NOT_A_FUNCTION",
            f"mark 'm' is on '{HERE}.NOT_A_FUNCTION', which is a int; {NOT_WRITTEN}",
        ),
        (
            f"{HERE}.NOT_A_FUNCTION.part",
            f"mark 'm' is on '{HERE}.NOT_A_FUNCTION.part', and class 'int' has no 'part'",
        ),
        (f"{HERE}.Steps", f"mark 'm' is on '{HERE}.Steps', which is a class; {NOT_WRITTEN}"),
        (
            "torch.relu",
            "mark 'm' is on 'torch.relu', which is a builtin_function_or_method; " + NOT_WRITTEN,
        ),
    ],
)
def test_a_target_that_cannot_be_marked_is_an_error_that_helps(on: str, message: str) -> None:
    assert refused("function", Mark("m", on, None, None, None)) == f"marks[0]: {message}"


def test_a_module_that_fails_while_it_is_imported_is_told_with_its_reason(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('no GPU here')\n")
    (tmp_path / "needs_more.py").write_text("import needs\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert refused("function", Mark("m", "broken_module.f", None, None, None)) == (
        "marks[0]: mark 'm' is on 'broken_module.f', and importing 'broken_module' fails with "
        "RuntimeError: no GPU here"
    )
    # The module is there; what it imports is not, and its name begins like the module's own.
    assert refused("function", Mark("m", "needs_more.f", None, None, None)) == (
        "marks[0]: mark 'm' is on 'needs_more.f', and importing 'needs_more' fails with "
        "ModuleNotFoundError: No module named 'needs'"
    )


def test_an_unknown_module_path_tells_what_is_at_the_top() -> None:
    assert refused("submodule", mark("m", module="iner")) == (
        "marks[0]: the model has no module 'iner'; at the top are 'inner'; did you mean 'inner'?"
    )
    assert refused("submodule", mark("m", module="inner.2")) == (
        "marks[0]: the model has no module 'inner.2'; at the top are 'inner'; "
        "did you mean 'inner.1'?"
    )


def test_all_targets_that_cannot_be_found_are_told_at_once() -> None:
    problems = refused("function", mark("a", "nope"), mark("b", "double"), mark("c", module="x"))
    assert [line.split(":")[0] for line in problems.splitlines()] == ["marks[0]", "marks[2]"]


def test_a_problem_of_one_target_leaves_the_others_unmarked() -> None:
    before = models.double
    refused("function", mark("a", "double"), mark("b", "nope"))
    assert models.double is before


MARKED = (
    mark("a", "fails"),
    mark("b", "double"),
    mark("c", "Steps.static"),
    mark("d", "MoreSteps.method"),
    mark("e", module="inner"),
)


@contextlib.contextmanager
def unchanged(model: models.Calls) -> Iterator[None]:
    owners = (models.Steps, models.MoreSteps, model.inner)
    before = [dict(vars(owner)) for owner in (models, *owners)]
    yield
    assert [dict(vars(owner)) for owner in (models, *owners)] == before
    with marked((), model) as fresh:
        models.decorated(X)
    assert fresh.tensors == {}


@pytest.mark.parametrize("what", ["function", "failing"])
def test_nothing_stays_marked_after_success_or_an_exception(what: str) -> None:
    model = models.Calls(what)
    expected = pytest.raises(RuntimeError, match="on purpose")
    with (
        unchanged(model),
        expected if what == "failing" else contextlib.nullcontext(),
        marked(MARKED, model),
    ):
        model(X)


def test_a_marked_function_keeps_its_name_and_signature() -> None:
    model = models.Calls("function")
    with marked((mark("m", "double"),), model):
        assert models.double.__name__ == "double"
        assert models.double.__wrapped__ is not models.double  # type: ignore[attr-defined]


def test_two_marks_on_one_function_both_see_it() -> None:
    found = seen("function", mark("inner", "double"), mark("outer", "double"))
    assert set(found) == {
        f"{name}:{side}" for name in ("inner", "outer") for side in ("input.value", "output.output")
    }


def test_marks_number_the_tensors_of_one_side_in_order() -> None:
    numbers: list[int] = []
    model = models.Calls("containers")

    def note(tensor: torch.Tensor, func: str, func_id: int, side: str, name: str, id: int) -> Any:
        numbers.append(id)
        return tensor.clone()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("partition_core.trace.marking.mark_tensor", note)
        with marked((mark("m", "nested"),), model):
            model(X)
    assert numbers == [0, 1, 2, 0, 1, 2]


def test_a_traced_placement_hands_on_what_the_mark_returns() -> None:
    double = mark("m", "double")
    marking = Marking((double,), traced=True)
    result = marking.call(double, models.double, X)
    assert marking.tensors[list(marking.tensors)[-1]] is result
    np.testing.assert_array_equal(result, 2 * X)
