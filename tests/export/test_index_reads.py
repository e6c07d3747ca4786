"""The range of an integer input of a torch model: what the model indexes with it, seen in a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from partition_core.recipe.values import TensorSpec
from partition_core.sources.samples import samples_of, typical_sample
from partition_core.sources.torch.index_reads import index_ranges
from partition_core.sources.torch.source import read_ranges

Tensor = torch.Tensor
LONG = torch.tensor([[0, 1, 1, 0]])
TABLE = torch.zeros(20, 4)
EMBEDDING = nn.Embedding(500, 4)
BAG = nn.EmbeddingBag(30, 4)
ATTENTION = nn.TransformerEncoder(
    nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2, enable_nested_tensor=False
).eval()


def shifted_right(x: Tensor) -> Tensor:
    start = torch.zeros_like(x)
    start[:, 1:] = x[:, :-1].clone()
    return EMBEDDING(start)


def moved_in_place(x: Tensor) -> Tensor:
    x = x.clone()
    x.sub_(1)
    return EMBEDDING(x.clamp_(min=0))


def with_a_mask(x: Tensor) -> Tensor:
    x = x.clone()
    x[x == 1] = 3
    return TABLE[x]


READS: dict[str, tuple[Callable[[Tensor], Any], tuple[int, int]]] = {
    "embedding": (EMBEDDING, (0, 499)),
    "embedding_bag": (BAG, (0, 29)),
    "index": (lambda x: TABLE[x], (0, 19)),
    "index in a later dim": (lambda x: torch.zeros(3, 7, 2)[:, x], (0, 6)),
    "index behind a mask": (
        lambda x: torch.zeros(3, 2, 9)[torch.eye(3, 2, dtype=torch.bool), x[:, :2]],
        (0, 8),
    ),
    "index_put": (lambda x: torch.zeros(12, 3).index_put((x[0],), torch.ones(4, 3)), (0, 11)),
    "index_add": (lambda x: torch.zeros(12, 3).index_add(0, x[0], torch.ones(4, 3)), (0, 11)),
    "index_select": (lambda x: TABLE.index_select(1, x[0]), (0, 3)),
    "gather": (lambda x: torch.zeros(1, 9).gather(-1, x), (0, 8)),
    "gather by keywords": (lambda x: torch.gather(torch.zeros(1, 9), dim=1, index=x), (0, 8)),
    "take_along_dim": (lambda x: torch.take_along_dim(torch.zeros(1, 9), x, 1), (0, 8)),
    "scatter": (lambda x: torch.zeros(1, 8).scatter(1, x, 1.0), (0, 7)),
    "scatter_add_": (lambda x: torch.zeros(1, 8).scatter_add_(1, x, torch.ones(1, 4)), (0, 7)),
    "one_hot": (lambda x: functional.one_hot(x, 11), (0, 10)),
    "take": (TABLE.take, (0, 79)),
    "cross_entropy": (lambda x: functional.cross_entropy(torch.zeros(4, 6), x[0]), (0, 5)),
    "the smallest of several": (lambda x: (EMBEDDING(x), TABLE[x], BAG(x)), (0, 19)),
    "inside a layer": (lambda x: ATTENTION(EMBEDDING(x), src_key_padding_mask=x == 0), (0, 499)),
    # what keeps the elements
    "views": (lambda x: EMBEDDING(x.view(2, 2).t().unsqueeze(0).expand(3, -1, -1)[:, 1]), (0, 499)),
    "copies": (lambda x: EMBEDDING(x.clone().contiguous().flip(1).repeat(2, 1).roll(1)), (0, 499)),
    "parts": (lambda x: [EMBEDDING(one) for one in x.split(2, 1)], (0, 499)),
    "cat": (lambda x: EMBEDDING(torch.cat([x, torch.ones_like(x)], 1)), (0, 499)),
    "stack": (lambda x: EMBEDDING(torch.stack([x, x])), (0, 499)),
    "casts": (lambda x: EMBEDDING(x.to(torch.int32).float().long()), (0, 499)),
    "where": (lambda x: TABLE[torch.where(x > 0, x, torch.tensor(5))], (0, 19)),
    "masked_fill": (lambda x: TABLE[x.masked_fill(x == 1, 3)], (0, 19)),
    "a mask in place": (with_a_mask, (0, 19)),
    "pad": (lambda x: TABLE[functional.pad(x, (1, 2), value=3)], (0, 19)),
    "sorted": (lambda x: TABLE[x.sort(dim=1).values], (0, 19)),
    "largest": (lambda x: TABLE[x.max(dim=1)[0]], (0, 19)),
    "shifted right": (shifted_right, (0, 499)),
    # arithmetic
    "plus": (lambda x: EMBEDDING(x + 2), (0, 497)),
    "minus": (lambda x: EMBEDDING((x - 1).clamp(min=0)), (1, 500)),
    "minus in place": (moved_in_place, (1, 500)),
    "from the other end": (lambda x: EMBEDDING(499 - x), (0, 499)),
    "times": (lambda x: EMBEDDING(3 * x + 1), (0, 166)),
    "an offset for each": (lambda x: EMBEDDING(x + torch.tensor([0, 100, 200, 300])), (0, 199)),
    "remainder": (lambda x: TABLE[x % 20], (0, 19)),
}


NARROWER = {"remainder", "an offset for each", "take_along_dim"}
"""A range that a model can leave: it wraps round, some elements may be larger, none is checked."""


@pytest.mark.parametrize("name", READS)
def test_a_range_goes_to_the_last_row_that_an_input_can_index(name: str) -> None:
    model, (low, high) = READS[name]
    assert index_ranges(model, {"x": LONG.clone()}) == ({"x": (low, high)}, True)
    for x in (low, high):
        model(torch.full_like(LONG, x))
    if name not in NARROWER:
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full_like(LONG, high + 1))


UNKNOWN: dict[str, Callable[[Tensor], Any]] = {
    "no index": lambda x: x * 2.0,
    "a mask": lambda x: TABLE[:1].masked_fill(x == 0, 1.0),
    "squares": lambda x: EMBEDDING(x * x),
    "a sum with what depends on it": lambda x: EMBEDDING(x + (x > 0).long()),
    "a sum with what depends on it through floats": lambda x: TABLE[x + (TABLE + x > 0).sum()],
    "a running sum": lambda x: EMBEDDING(x.cumsum(1)),
    "places of the sorted": lambda x: TABLE[x.sort(dim=1).indices],
    "a truth": lambda x: TABLE[x.bool().long()],
    "negative": lambda x: TABLE[-x],
}


@pytest.mark.parametrize("model", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_followed_tells_no_range(model: Callable[[Tensor], Any]) -> None:
    assert index_ranges(model, {"x": LONG[:, :4].clone()})[0] == {}


def test_each_input_has_a_range_of_its_own() -> None:
    both = {"x": LONG.clone(), "y": LONG.clone()}
    assert index_ranges(lambda x, y: EMBEDDING(x) + TABLE[y], both)[0] == {
        "x": (0, 499),
        "y": (0, 19),
    }
    assert index_ranges(lambda x, y: EMBEDDING(x + 100 * y), both)[0] == {}


class Several(nn.Module):
    def __init__(self, read: Callable[..., Any]) -> None:
        super().__init__()
        self.read = read

    def forward(self, *inputs: Tensor) -> Any:
        return self.read(*inputs)


def ranges(read: Callable[..., Any], *names: str, shape: tuple[int, ...] = (1, 8)) -> Any:
    specs = [TensorSpec(name, shape, "int64") for name in names]
    return read_ranges(Several(read), specs, typical_sample(specs, ()), samples_of(specs, ()))


def test_a_range_that_another_read_cannot_have_is_not_used() -> None:
    assert ranges(lambda x: (EMBEDDING(x), TABLE[x * x]), "x") == {}
    assert ranges(lambda x, y: (EMBEDDING(x), TABLE[y * y], TABLE[y]), "x", "y") == {"x": (0, 499)}
    assert ranges(lambda x: (EMBEDDING(x), EMBEDDING(x * x % 500)), "x") == {"x": (0, 499)}


def test_tables_of_one_row_let_the_model_run_that_ones_would_stop() -> None:
    one_row = torch.zeros(1, 3)
    read = lambda x, y, z: (one_row[y], EMBEDDING(x), one_row[z])  # noqa: E731
    assert ranges(read, "x", "y", "z") == {"x": (0, 499), "y": (0, 0), "z": (0, 0)}


def test_a_model_that_fails_anyway_is_left_to_whoever_runs_it() -> None:
    def failing(x: Tensor) -> Tensor:
        raise ValueError("on purpose")

    assert ranges(failing, "x") == {}


def test_looking_for_ranges_changes_no_input() -> None:
    def writing(x: Tensor) -> Tensor:
        return TABLE[x.add_(1)]

    specs = [TensorSpec("x", (1, 8), "int64")]
    samples = samples_of(specs, ())
    before = samples[0].arrays()["x"]
    assert read_ranges(Several(writing), specs, typical_sample(specs, ()), samples) == {
        "x": (0, 18)
    }
    np.testing.assert_array_equal(samples[0].arrays()["x"], before)
