"""Gives the boundary of a segment the sizes that a recipe fixes for it; must not touch disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from partition_core.base.errors import Problem, one_of, problem, suggestion
from partition_core.graph.boundary import Boundary
from partition_core.recipe.input_forms import dims_misfit, dims_text
from partition_core.recipe.values import FileInput


def sizes_of(
    inputs: Sequence[Boundary], entries: Sequence[FileInput], at: str
) -> tuple[dict[str, int], list[Problem]]:
    """Return the size of each symbol that `entries` fix in the `inputs` of a segment, and problems.

    `at` is the YAML path of `entries`.
    """
    by_name = {item.name: item for item in inputs}
    sizes: dict[str, int] = {}
    problems: list[Problem] = []
    for name, shape in ((entry.name, entry.shape or ()) for entry in entries):
        item, where = by_name.get(name), f"{at}.{name}.shape"
        if item is None:
            what = f"the segment has no input '{name}'"
            problems.append(problem(where, what, one_of(by_name), suggestion(name, by_name)))
            continue
        if item.other:
            problems.append(problem(where, f"'{name}' is {item.text}", "only a tensor has dims"))
            continue
        if misfit := dims_misfit(name, item.dims, shape, "in the segment"):
            problems.append(problem(where, misfit, f"not {dims_text(shape)}"))
            continue
        for dim, size in zip(item.dims, shape, strict=True):
            if isinstance(dim, str) and sizes.setdefault(dim, size) != size:
                what = f"'{dim}' is {size} here and {sizes[dim]} in another dim"
                problems.append(problem(where, what, "equal dims have one size"))
    return sizes, problems


def with_sizes(item: Boundary, sizes: Mapping[str, int]) -> Boundary:
    """Return `item` with the numbers of those dims that `sizes` determine."""
    return replace(
        item, dims=tuple(sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in item.dims)
    )
