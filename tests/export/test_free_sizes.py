"""The sizes for which a trace holds: what it notes about them, and others to prove it on."""

from __future__ import annotations

import pytest
import sympy

from partition_core.base.errors import ExportError
from partition_core.recipe.values import DynamicAxis, Recipe
from partition_core.trace.free_sizes import FreeSizes, TracedSize
from tests.export.support import export
from tests.export.support import torch_recipe as recipe


def refused(given: Recipe) -> str:
    with pytest.raises(ExportError) as error:
        export(given)
    return str(error.value)


def axes(tensor: str, **symbols: int) -> tuple[DynamicAxis, ...]:
    return tuple(DynamicAxis(tensor, axis, symbol) for symbol, axis in symbols.items())


def shapes(
    given: Recipe, name: str, kind: str = "inputs"
) -> tuple[list[tuple[int, ...]], dict[str, object]]:
    exported = export(given)
    found = [getattr(one, kind)[name].shape for one in exported.recording.samples]
    return found, exported.notes["dynamic_axes"]


def test_a_recipe_without_free_dims_has_no_further_samples() -> None:
    exported = export(recipe("Net", {"image": (2, 3, 16, 16)}))
    assert len(exported.recording.samples) == 2
    assert "dynamic_axes" not in exported.notes


def test_every_free_dim_is_run_at_two_further_sizes_that_differ_from_each_other() -> None:
    given = recipe(
        "Net",
        {"image": (2, 3, 16, 16)},
        dynamic_axes=axes("image", batch=0, height=2, width=3),
    )
    found, notes = shapes(given, "image")
    assert found == [(2, 3, 16, 16), (2, 3, 16, 16), (1, 3, 20, 12), (5, 3, 12, 20)]
    assert notes["sizes"] == {
        "batch": {"traced": 2, "least": 1, "most": None},
        "height": {"traced": 16, "least": 1, "most": None},
        "width": {"traced": 16, "least": 1, "most": None},
    }


def test_dims_of_one_symbol_get_one_size() -> None:
    given = recipe(
        "Added",
        {"left": (4, 3), "right": (4, 3)},
        dynamic_axes=(*axes("left", n=0), *axes("right", n=0)),
    )
    assert shapes(given, "left")[0] == shapes(given, "right")[0]
    assert shapes(given, "output", "outputs")[0] == [(4, 3), (4, 3), (1, 3), (2, 3), (5, 3)]


def test_only_sizes_that_the_model_takes_are_run_and_what_it_asks_is_told() -> None:
    eighths = recipe("Eighths", {"x": (2, 32)}, dynamic_axes=axes("x", length=1))
    found, notes = shapes(eighths, "x")
    assert [length for _, length in found] == [32, 32, 24, 40]
    assert notes["conditions"] == ["Eq(Mod(length, 8), 0)"]


def test_a_table_with_so_many_rows_limits_a_size() -> None:
    given = recipe("Positions", {"x": (2, 6, 4)}, dynamic_axes=axes("x", length=1))
    found, notes = shapes(given, "x")
    assert [length for _, length, _ in found] == [6, 6, 4, 7]
    assert notes["sizes"] == {"length": {"traced": 6, "least": 1, "most": 8}}


def test_a_size_that_is_one_inside_the_model_is_refused_rather_than_wrong_beyond() -> None:
    single = recipe("Strided", {"x": (2, 4, 8)}, dynamic_axes=axes("x", length=2))
    assert refused(single) == (
        "export.dynamic_axes.x: traced with 'length' = 8, the model would be wrong for 'length' "
        "above 8; a size inside it is fixed up to there: Eq(((length + 7)//8), 1); "
        "give 'x' a shape with a 'length' above 8"
    )
    larger = recipe("Strided", {"x": (2, 4, 24)}, dynamic_axes=axes("x", length=2))
    assert shapes(larger, "x")[1]["conditions"] == ["Ne(((length + 7)//8), 1)"]


def test_a_condition_between_a_size_and_its_own_parts_is_no_limit() -> None:
    size = sympy.Symbol("s0", integer=True, positive=True)
    even = sympy.Le(size, 2 * sympy.floor(size / 2), evaluate=False)
    conditions = (even, sympy.Ge(size, 8), sympy.Le(size, 64))
    sizes = FreeSizes({"width": TracedSize(size, 16)}, {size: 16}, conditions)
    assert sizes.limits()["sizes"] == {"width": {"traced": 16, "least": 8, "most": 64}}
    assert sizes.fixed_inside() is None
    assert sizes.others() == [{"width": 12}, {"width": 20}]
