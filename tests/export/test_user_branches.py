"""Models of users that ask about values: refused with the line, or right on all inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from partition_core.base.errors import ExportError
from partition_core.recipe.values import Answer, Recipe
from partition_core.trace.probes import probes
from tests.export import branching
from tests.export.support import export, run, saved, torch_recipe

SHAPE = (6, 4)
SAMPLE = {"x": np.random.default_rng(5).standard_normal(SHAPE).astype(np.float32)}
FILE = "tests/export/branching.py"


def recipe(name: str, *answers: Answer) -> Recipe:
    args = (("name", f'"{name}"'),)
    return torch_recipe("tests.export.branching:Model", {"x": SHAPE}, args=args, answers=answers)


def asking_line(ask: Callable[..., object], code: str) -> int:
    lines, first = inspect.getsourcelines(ask)
    (number,) = [index for index, line in enumerate(lines, first) if line.strip() == code]
    return number


BRANCHES = {
    "all_small": "if (x.abs() < 1).all():",
    "any_large": "if (x > 1).any():",
    "many_chosen": "if chosen.numel() > 5:",
    "none_chosen": "if chosen.shape[0] == 0:",
    "until_small": "while x.abs().max() > 1:",
    "mean_is_positive": "return x if x.mean() > 0 else -x",
    "mean_as_number": "return x if x.mean().item() > 0 else -x",
    "count_of_nonzero": "return x * 2 if torch.count_nonzero(x > 0) > 3 else x",
    "equal_lengths": "return high + low if high.shape[0] == low.shape[0] else high",
    "list_at_a_value": "return x * [1.0, 2.0][int(x[0, 0] > 0)]",
    "not_a_number": "return torch.zeros_like(x) if torch.isnan(x.log()).any() else x",
    "first_by_sum": "return sorted([x[0], x[1]], key=lambda row: row.sum())[0]",
    "rows_with_a_sum": "return torch.stack([row for row in x if row.sum() > 0] or [x[0]])",
    "written_through_a_view": "return x * 2 if flag[0] > 0 else x",
    "written_at_an_index": "return x * 2 if flags[0] > 0 else x",
}
NUMBERS = {
    "length_of_nonzero": "return x * 2 if len(torch.nonzero(x > 0)) > 3 else x",
    "float_of_maximum": "return x * float(x.max())",
    "loop_of_a_value": "for _ in range(int(x.abs().max())):",
    "maximum_of_an_array": "return x * float(x.detach().numpy().max())",
}
CAUGHT = {
    "error_is_caught": "large = bool((x > 1).any())",
    "comparison_is_caught": "same = torch.equal(x, x.abs())",
    "array_is_caught": "factor = float(np.asarray(x.detach()).max() > 1)",
}
COMPARED = {"all_close": "return x + 1 if torch.allclose(x, torch.zeros_like(x)) else x"}
ELSEWHERE = ("generated_code", "called_by_a_library")


def test_every_model_is_in_a_table() -> None:
    tables = (BRANCHES, NUMBERS, CAUGHT, COMPARED)
    assert {*ELSEWHERE}.union(*tables) == set(branching.REFUSED)


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        *(
            (name, code, "takes a branch that depends on the input")
            for name, code in BRANCHES.items()
        ),
        *((name, code, "to a Python or numpy number") for name, code in NUMBERS.items()),
        *(
            (name, code, "the model's own code catches the export error")
            for name, code in CAUGHT.items()
        ),
        *((name, code, "compares whole tensors") for name, code in COMPARED.items()),
    ],
    ids=[*BRANCHES, *NUMBERS, *CAUGHT, *COMPARED],
)
def test_a_branch_that_the_input_decides_stops_the_export_with_the_users_line(
    name: str, code: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    line = asking_line(branching.REFUSED[name], code)
    with pytest.raises(ExportError) as error:
        export(recipe(name))
    assert str(error.value).startswith(f"model: {FILE}:{line}: '{code}' ")
    assert says in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_the_message_says_what_to_write_instead() -> None:
    with pytest.raises(ExportError) as error:
        export(recipe("many_chosen"))
    line = asking_line(branching.many_chosen, BRANCHES["many_chosen"])
    assert str(error.value) == (
        f"model: {FILE}:{line}: 'if chosen.numel() > 5:' takes a branch that depends on the input "
        "(it asks 'u0 > 5' of u0, known only when the model runs); an exported model takes the "
        "same branch for every input; write it with torch.where or torch.cond; if one branch is "
        "right for every input, say so under 'export': "
        f"{{answers: [{{at: '{FILE}:{line}', answer: true}}]}}, or false"
    )


def test_code_without_a_file_and_code_that_a_library_calls_are_the_users_too() -> None:
    with pytest.raises(ExportError, match=r"^model: <string>:1 takes a branch"):
        export(recipe("generated_code"))
    line = asking_line(branching.all_small, BRANCHES["all_small"])
    with pytest.raises(ExportError, match=f"^model: {FILE}:{line}: 'if"):
        export(recipe("called_by_a_library"))


@pytest.mark.parametrize("name", sorted(branching.RIGHT))
def test_what_an_exported_model_can_follow_is_right_on_inputs_of_every_kind(
    name: str, tmp_path: Path
) -> None:
    exported = export(recipe(name))
    path, ask = saved(exported.model, tmp_path), branching.RIGHT[name]
    kinds = probes(SAMPLE)
    assert len(kinds) == 8
    for kind, inputs in ({"a sample": SAMPLE} | kinds).items():
        expected = ask(torch.from_numpy(inputs["x"].copy())).numpy()
        given = run(path, inputs)["output"]
        np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5, err_msg=kind)
    assert exported.notes["decisions"] == []


def test_a_branch_in_the_graph_is_run_in_pytorch_on_inputs_of_every_kind() -> None:
    exported = export(recipe("with_cond"))
    assert [one.kind for one in exported.recording.samples] == ["", "", *probes(SAMPLE)]
    large = {(one.inputs["x"] > 1).any() for one in exported.recording.samples}
    assert large == {True, False}


ALL_SMALL = asking_line(branching.all_small, BRANCHES["all_small"])
MANY = asking_line(branching.many_chosen, BRANCHES["many_chosen"])
MEAN = asking_line(branching.mean_as_number, BRANCHES["mean_as_number"])


@pytest.mark.parametrize(
    ("name", "line"), [("all_small", ALL_SMALL), ("many_chosen", MANY), ("mean_as_number", MEAN)]
)
@pytest.mark.parametrize("taken", [True, False])
def test_a_users_answer_is_taken_and_noted_as_an_assumption(
    name: str, line: int, taken: bool, tmp_path: Path
) -> None:
    answer = Answer(f"{FILE}:{line}", taken, "measured in the field")
    exported = export(recipe(name, answer))
    (decision,) = exported.notes["decisions"]
    assert (decision["source"], decision["answer"]) == (f"{FILE}:{line}", taken)
    assert (decision["assumed"], decision["reason"]) == (True, "measured in the field")
    assert [one.kind for one in exported.recording.samples] == ["", "", *probes(SAMPLE)]
    path = saved(exported.model, tmp_path)
    for inputs in probes(SAMPLE).values():
        x = torch.from_numpy(inputs["x"])
        chosen = x[x > 0.5]
        branches = {
            "all_small": (x * 2, x),
            "many_chosen": (chosen.sum() + x, x),
            "mean_as_number": (x, -x),
        }
        expected = branches[name][0 if taken else 1].numpy()
        np.testing.assert_allclose(run(path, inputs)["output"], expected, rtol=1e-5, atol=1e-5)


def test_an_answer_that_nothing_asks_for_is_an_error_with_the_lines_that_ask() -> None:
    used = Answer(f"{FILE}:{ALL_SMALL}", True, "")
    unused = Answer(f"{FILE}:{ALL_SMALL + 1}", True, "")
    with pytest.raises(ExportError) as error:
        export(recipe("all_small", used, unused))
    assert str(error.value) == (
        f"export.answers[1].at: nothing is asked at '{FILE}:{ALL_SMALL + 1}'; "
        f"questions are asked at {FILE}:{ALL_SMALL}; did you mean '{FILE}:{ALL_SMALL}'?"
    )
    with pytest.raises(ExportError, match="the model asks nothing; remove the answer"):
        export(recipe("with_where", unused))


def test_an_answer_does_not_turn_a_value_into_a_number() -> None:
    line = asking_line(branching.float_of_maximum, NUMBERS["float_of_maximum"])
    with pytest.raises(ExportError, match="to a Python or numpy number"):
        export(recipe("float_of_maximum", Answer(f"{FILE}:{line}", True, "")))
