"""Each line of the table of questions, with inputs on both sides of its question."""

from __future__ import annotations

import functools
import runpy
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from partition_core.sources.mmdet.ops import provide_compiled_ops
from partition_core.sources.mmdet.questions import KNOWN_FUNCTIONS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    # Before mmdet is imported, which asks for the compiled operators.
    provide_compiled_ops()
    from .other_side import Arrays, Case, Exported, Line, export, run_in_pytorch
    from .question_cases import CASES, GROUPS, UNREACHABLE


# mmdet warns of what it is built of itself.
pytestmark = pytest.mark.filterwarnings("ignore")


def equal(found: Arrays, expected: Arrays, case: Case) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        if array.size or name not in case.emptied:
            assert found[name].dtype == array.dtype, name
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Return the export of the group of a case, which is made once."""

    @functools.cache
    def of_group(group: str) -> Exported:
        modules = {name: module_of(name) for name in GROUPS[group]}
        return export(modules, GROUPS[group], tmp_path_factory.mktemp("group"))

    return lambda name: of_group(next(group for group, cases in GROUPS.items() if name in cases))


@functools.cache
def module_of(name: str) -> nn.Module:
    return CASES[name].module().eval()


SAMPLE = ("layers",)
"""The groups that a run which is not thorough exports."""
SAMPLED = {name for group in SAMPLE for name in GROUPS[group]}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in SAMPLED else pytest.mark.thorough) for name in CASES],
)
def test_what_is_exported_equals_mmdet_on_both_sides(
    name: str, exported: Callable[[str], Exported]
) -> None:
    case = CASES[name]
    ran = run_in_pytorch(case, module_of(name))
    for line in case.lines:
        assert ran.conditions.get(line) == {True, False}, line
    model = exported(name)
    asked = {decision.code for decision in model.decisions}
    assert {code for _, code in case.lines} <= asked
    assert not any(decision.assumed for decision in model.decisions)
    for inputs, expected in zip(case.inputs, ran.expected, strict=True):
        equal(model(name, inputs), expected, case)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, marks=() if name in SAMPLED else pytest.mark.thorough)
        for line, (name, _) in UNREACHABLE.items()
    ],
    ids=[line[0] for line in UNREACHABLE],
)
def test_no_input_reaches_the_other_side_of_these_lines(
    line: Line, exported: Callable[[str], Exported]
) -> None:
    name, _ = UNREACHABLE[line]
    case = CASES[name]
    none = [inputs for inputs in case.inputs if not (inputs["keep"] > 0).any()]
    assert none
    ran = run_in_pytorch(replace(case, lines=(line,)), module_of(name))
    assert len(ran.conditions[line]) == 1
    assert line[1] in {decision.code for decision in exported(name).decisions}


def test_every_line_of_the_table_has_a_case_or_a_reason_why_it_has_none() -> None:
    known = {(row.function, code) for row in KNOWN_FUNCTIONS for code in row.lines}
    reached = {line for case in CASES.values() for line in case.lines}
    assert reached | set(UNREACHABLE) == known
    assert not reached & set(UNREACHABLE)


def test_the_page_of_questions_is_what_its_tool_writes() -> None:
    known_functions = runpy.run_path(str(Path(__file__).parents[2] / "tools/known_functions.py"))
    assert known_functions["PAGE"].read_text(encoding="utf-8") == known_functions["page"]()
