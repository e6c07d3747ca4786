"""Models whose code asks about values: for each a plain way of writing it, as a user would.

`REFUSED` are those that an exported model cannot follow, `RIGHT` those that it can.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

Ask = Callable[[torch.Tensor], Any]


class Model(nn.Module):
    """What one of the functions below makes of a tensor (6, 4)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.ask = (REFUSED | RIGHT)[name]

    def forward(self, x: torch.Tensor) -> Any:
        return self.ask(x)


def all_small(x: torch.Tensor) -> torch.Tensor:
    if (x.abs() < 1).all():
        return x * 2
    return x


def any_large(x: torch.Tensor) -> torch.Tensor:
    y = x + 0
    if (x > 1).any():
        y = torch.tanh(y)
    return y


def many_chosen(x: torch.Tensor) -> torch.Tensor:
    chosen = x[x > 0.5]
    if chosen.numel() > 5:
        return chosen.sum() + x
    return x


def none_chosen(x: torch.Tensor) -> torch.Tensor:
    chosen = torch.nonzero(x > 1.5)
    if chosen.shape[0] == 0:
        return x * 0.1
    return x


def until_small(x: torch.Tensor) -> torch.Tensor:
    while x.abs().max() > 1:
        x = x / 2
    return x


def mean_is_positive(x: torch.Tensor) -> torch.Tensor:
    return x if x.mean() > 0 else -x


def mean_as_number(x: torch.Tensor) -> torch.Tensor:
    return x if x.mean().item() > 0 else -x


def count_of_nonzero(x: torch.Tensor) -> torch.Tensor:
    return x * 2 if torch.count_nonzero(x > 0) > 3 else x


def length_of_nonzero(x: torch.Tensor) -> torch.Tensor:
    return x * 2 if len(torch.nonzero(x > 0)) > 3 else x


def equal_lengths(x: torch.Tensor) -> torch.Tensor:
    high, low = x[x > 0], x[x < 0]
    return high + low if high.shape[0] == low.shape[0] else high


def float_of_maximum(x: torch.Tensor) -> torch.Tensor:
    return x * float(x.max())


def loop_of_a_value(x: torch.Tensor) -> torch.Tensor:
    total = x
    for _ in range(int(x.abs().max())):
        total = total + x
    return total


def list_at_a_value(x: torch.Tensor) -> torch.Tensor:
    return x * [1.0, 2.0][int(x[0, 0] > 0)]


def error_is_caught(x: torch.Tensor) -> torch.Tensor:
    try:
        large = bool((x > 1).any())
    except Exception:
        large = False
    return x * 2 if large else x


def comparison_is_caught(x: torch.Tensor) -> torch.Tensor:
    same = False
    with contextlib.suppress(Exception):
        same = torch.equal(x, x.abs())
    return x * 2 if same else x


def array_is_caught(x: torch.Tensor) -> torch.Tensor:
    try:
        factor = float(np.asarray(x.detach()).max() > 1)
    except Exception:
        factor = 0.0
    return x * (2 + factor)


def maximum_of_an_array(x: torch.Tensor) -> torch.Tensor:
    return x * float(x.detach().numpy().max())


def all_close(x: torch.Tensor) -> torch.Tensor:
    return x + 1 if torch.allclose(x, torch.zeros_like(x)) else x


def not_a_number(x: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x) if torch.isnan(x.log()).any() else x


def first_by_sum(x: torch.Tensor) -> torch.Tensor:
    return sorted([x[0], x[1]], key=lambda row: row.sum())[0]


def rows_with_a_sum(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([row for row in x if row.sum() > 0] or [x[0]])


def written_through_a_view(x: torch.Tensor) -> torch.Tensor:
    # torch.export alone takes `flag` for the 1 that it was made of.
    flag = torch.tensor([1])
    flag.view(1).copy_((x.sum() > 0).long().view(1))
    return x * 2 if flag[0] > 0 else x


def written_at_an_index(x: torch.Tensor) -> torch.Tensor:
    flags = torch.tensor([1, 2])
    flags[0] = (x.sum() > 0).long()
    return x * 2 if flags[0] > 0 else x


def generated_code(x: torch.Tensor) -> Any:
    return eval("x * 2 if (x > 1).any() else x", {"x": x})  # noqa: S307 - reason: what einops and attrs do


def called_by_a_library(x: torch.Tensor) -> torch.Tensor:
    from torch.utils._pytree import tree_map

    return tree_map(all_small, [x])[0]


def with_cond(x: torch.Tensor) -> Any:
    return torch.cond((x > 1).any(), lambda x: x.tanh(), lambda x: x * 1, (x,))


def with_cond_or_as_it_is(x: torch.Tensor) -> Any:
    return torch.cond((x > 1).any(), torch.tanh, torch.clone, (x,))


def with_where(x: torch.Tensor) -> torch.Tensor:
    return torch.where((x > 1).any(), x.tanh(), x)


def item_in_a_product(x: torch.Tensor) -> torch.Tensor:
    return x * x.max().item()


def sum_of_a_list(x: torch.Tensor) -> torch.Tensor:
    return x * sum(x[0].tolist())


def value_at_an_index(x: torch.Tensor) -> torch.Tensor:
    return x + x.flatten()[x.argmax()]


def larger_of_two(x: torch.Tensor) -> torch.Tensor:
    return x * max(x[0, 0], x[0, 1])


def chosen_rows(x: torch.Tensor) -> torch.Tensor:
    return x[x[:, 0] > 0] * 2


def constant_is_asked(x: torch.Tensor) -> torch.Tensor:
    return x * 2 if torch.tensor([1, 2, 3]).sum() > 3 else x


def shape_is_asked(x: torch.Tensor) -> torch.Tensor:
    return x * 2 if x.shape[0] > 5 else x


REFUSED: dict[str, Ask] = {
    ask.__name__: ask
    for ask in (
        all_small,
        any_large,
        many_chosen,
        none_chosen,
        until_small,
        mean_is_positive,
        mean_as_number,
        count_of_nonzero,
        length_of_nonzero,
        equal_lengths,
        float_of_maximum,
        loop_of_a_value,
        list_at_a_value,
        error_is_caught,
        comparison_is_caught,
        array_is_caught,
        maximum_of_an_array,
        all_close,
        not_a_number,
        first_by_sum,
        rows_with_a_sum,
        written_through_a_view,
        written_at_an_index,
        generated_code,
        called_by_a_library,
    )
}

RIGHT: dict[str, Ask] = {
    ask.__name__: ask
    for ask in (
        with_cond,
        with_cond_or_as_it_is,
        with_where,
        item_in_a_product,
        sum_of_a_list,
        value_at_an_index,
        larger_of_two,
        chosen_rows,
        constant_is_asked,
        shape_is_asked,
    )
}
