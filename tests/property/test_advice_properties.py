"""The search finds what trying every cut finds, on small random graphs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from partition_core.suggest import search
from partition_core.suggest.flow import Flow, FlowStep, FlowTensor
from partition_core.suggest.search import GRAIN, Parts, Wishes, pareto_front

OPERATORS = ("Conv", "Add", "TopK")


def drawn_flow(rng: random.Random, count: int) -> Flow:
    """Return a random graph: some tensors have readers far away, some none, some no known size."""
    sizes = [rng.choice((0, 1, 1, 3, 10, None)) for _ in range(rng.randint(1, 2))]
    makers = [-1] * len(sizes)
    steps = []
    for index in range(count):
        known = range(len(sizes))
        near = [one for one in known if one >= len(sizes) - 3]
        reads = {
            rng.choice(near if rng.random() < 0.7 else known) for _ in range(rng.randint(1, 3))
        }
        makes = [len(sizes) + one for one in range(1 + (rng.random() < 0.2))]
        sizes += [
            rng.choice((0, 1, 2, 2, 5, 8, 13, *([None] * (rng.random() < 0.1)))) for _ in makes
        ]
        makers += [index] * len(makes)
        flops = rng.choice((0, 0, 1, 1, 2, 7, 40))
        steps.append(
            FlowStep(f"s{index}", rng.choice(OPERATORS), flops, tuple(sorted(reads)), tuple(makes))
        )
    readers = [tuple(i for i, s in enumerate(steps) if t in s.reads) for t in range(len(sizes))]
    return Flow(
        tuple(steps),
        tuple(
            FlowTensor(f"t{t}", size, makers[t], readers[t], is_output=not readers[t])
            for t, size in enumerate(sizes)
        ),
    )


def all_cuts(flow: Flow, parts: int) -> Iterator[Parts]:
    """Yield every way to give steps to parts in which nothing flows back and none is empty."""
    for chosen in itertools.product(range(parts), repeat=len(flow.steps)):
        flows_on = all(
            chosen[flow.tensors[read].maker] <= chosen[index]
            for index, step in enumerate(flow.steps)
            for read in step.reads
            if flow.tensors[read].maker >= 0
        )
        if flows_on and set(chosen) == set(range(parts)):
            yield chosen


def crossing(flow: Flow, chosen: Parts, boundary: int) -> int | None:
    """Return the bytes that are made up to a part and read after it, None if one is unknown."""
    sizes = [
        tensor.size
        for tensor in flow.tensors
        if (tensor.maker < 0 or chosen[tensor.maker] <= boundary)
        and any(chosen[reader] > boundary for reader in tensor.readers)
    ]
    return None if None in sizes else sum(size or 0 for size in sizes)


def share(flow: Flow, chosen: Parts, parts: int) -> int:
    """Return the share of the largest part in steps of 1 / GRAIN, rounded up."""
    largest = max(
        sum(s.flops for s, part in zip(flow.steps, chosen, strict=True) if part == p)
        for p in range(parts)
    )
    return -(-GRAIN * largest // max(flow.flops, 1))


def best_of_all(flow: Flow, wishes: Wishes) -> list[tuple[int, int]]:
    """Return bytes and share of every cut that no other beats, by trying all."""
    found = set()
    for chosen in all_cuts(flow, wishes.parts):
        bytes_at = [crossing(flow, chosen, boundary) for boundary in range(wishes.parts - 1)]
        known = [count for count in bytes_at if count is not None]
        homes = {p for p, s in zip(chosen, flow.steps, strict=True) if s.op_type in wishes.together}
        if (
            len(known) == len(bytes_at)
            and (wishes.most_bytes is None or max(known) <= wishes.most_bytes)
            and len(homes) <= 1
            and (wishes.is_allowed is None or wishes.is_allowed(chosen))
        ):
            found.add((sum(known), share(flow, chosen, wishes.parts)))
    return sorted(
        one
        for one in found
        if not any(o != one and o[0] <= one[0] and o[1] <= one[1] for o in found)
    )


@settings(max_examples=250)
@given(
    seed=st.integers(0, 2**32),
    parts=st.sampled_from((2, 2, 3)),
    most=st.sampled_from((None, None, 5, 12)),
    together=st.sampled_from(((), (), ("TopK",), ("TopK", "Conv"))),
    forbidden=st.sampled_from((None, None, 0, 1)),
)
def test_the_front_is_that_of_trying_every_cut(
    seed: int, parts: int, most: int | None, together: tuple[str, ...], forbidden: int | None
) -> None:
    rng = random.Random(seed)
    flow = drawn_flow(rng, rng.randint(2, 9 if parts == 2 else 7))
    is_allowed = None if forbidden is None else lambda chosen: sum(chosen) % 2 != forbidden
    efforts = tuple(rng.randrange(20) for _ in flow.tensors)
    wishes = Wishes(parts, most, frozenset(together), is_allowed, efforts)
    front = pareto_front(flow, wishes)
    assert front.is_complete
    assert [(found.crossing, found.share) for found in front.cuts] == best_of_all(flow, wishes)
    for found in front.cuts:
        assert found.parts in set(all_cuts(flow, parts))
        bytes_at = [crossing(flow, found.parts, boundary) or 0 for boundary in range(parts - 1)]
        assert (sum(bytes_at), share(flow, found.parts, parts)) == (found.crossing, found.share)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_of_equal_cuts_that_with_the_least_effort_is_told(seed: int) -> None:
    rng = random.Random(seed)
    flow = drawn_flow(rng, rng.randint(2, 8))
    efforts = tuple(rng.randrange(20) for _ in flow.tensors)

    def effort(chosen: Parts) -> int:
        return sum(
            efforts[number]
            for number, tensor in enumerate(flow.tensors)
            if (tensor.maker < 0 or chosen[tensor.maker] == 0)
            and any(chosen[reader] for reader in tensor.readers)
        )

    for found in pareto_front(flow, Wishes(efforts=efforts)).cuts:
        equal = [
            chosen
            for chosen in all_cuts(flow, 2)
            if (crossing(flow, chosen, 0), share(flow, chosen, 2)) == (found.crossing, found.share)
        ]
        assert effort(found.parts) == min(map(effort, equal))


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), parts=st.sampled_from((2, 3)))
def test_a_search_that_gives_up_says_so_and_tells_only_cuts_that_there_are(
    seed: int, parts: int
) -> None:
    rng = random.Random(seed)
    flow = drawn_flow(rng, 7)
    narrow = search._Search(flow, Wishes(parts))
    if narrow.run(1):
        assert [(f.crossing, f.share) for f in narrow.front()] == best_of_all(flow, Wishes(parts))
    for found in narrow.front():
        bytes_at = [crossing(flow, found.parts, boundary) or 0 for boundary in range(parts - 1)]
        assert (sum(bytes_at), share(flow, found.parts, parts)) == (found.crossing, found.share)
    assert narrow.run(10**6)
    assert [(f.crossing, f.share) for f in narrow.front()] == best_of_all(flow, Wishes(parts))
