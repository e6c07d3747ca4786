"""Finds the cuts that no other cut beats, by branch and bound; knows nothing of ONNX."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import gt, itemgetter
from typing import Any

from partition_core.suggest.flow import Flow

GRAIN = 1000
"""Shares of the operations are compared in this many steps: 0.1 % each."""

_WIDTHS = (64, 1024)
_UNIT = 1 << 24  # one byte outweighs the efforts of all tensors together
Parts = tuple[int, ...]
"""For each step of a flow the part it is in, from 0."""


@dataclass(frozen=True)
class Wishes:
    """Requirements on a cut: `parts`, and limits. `most_bytes` may cross each boundary.

    Steps whose operators are in `together` are all in one part. `is_allowed` checks a complete
    cut for limits that the search does not know, such as memory. `efforts` are small numbers, one
    for each tensor: of cuts with equal bytes, that with the least effort is the best.
    """

    parts: int = 2
    most_bytes: int | None = None
    together: frozenset[str] = frozenset()
    is_allowed: Callable[[Parts], bool] | None = None
    efforts: tuple[int, ...] = ()


@dataclass(frozen=True)
class FoundCut:
    """A cut: its parts, the bytes that cross all its boundaries, and the largest part's share.

    `share` counts steps of 1 / GRAIN of all operations, rounded up.
    """

    parts: Parts
    crossing: int
    share: int


@dataclass(frozen=True)
class Front:
    """The cuts that no other beats in both bytes and share, fewest bytes first.

    `is_complete` is whether every possible cut was considered, or is beaten by one of these.
    """

    cuts: tuple[FoundCut, ...]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class _Partial:
    """A cut of the first steps. `open` has, for each open tensor, the part that makes it and the
    last part that it has reached; `home` is the part of the steps that must be together."""

    crossing: tuple[int, ...]
    flops: tuple[int, ...]
    used: int
    home: int
    open: tuple[tuple[int, int], ...]
    last: tuple[int, _Partial] | None
    total: int = 0
    floor: int = 0
    bound: int = 0


def pareto_front(flow: Flow, wishes: Wishes) -> Front:
    """Return the best cuts of `flow` into connected levels: no part reads from a later one.

    Steps are assigned to parts in the graph's order. A start is pruned as soon as a known cut has
    no more bytes than it has already and no larger share than its lower bound. The known cuts are
    from an earlier search that kept the best starts only; if the last search had to drop starts
    for their number, the front is not complete.
    """
    search = _Search(flow, wishes)
    complete = False
    for width in _WIDTHS:
        complete = search.run(width)
        if complete:
            break
    return Front(search.front(), complete)


class _Search:
    """One search: the problem, prepared for the steps in order, and the best cuts so far."""

    def __init__(self, flow: Flow, wishes: Wishes) -> None:
        self._flow = flow
        self._wishes = wishes
        self._all = max(flow.flops, 1)
        self._least: list[int | None] = [None] * (GRAIN + 1)
        self._known: dict[tuple[int, int], FoundCut] = {}
        self._opened = list(_open_tensors(flow))
        efforts = wishes.efforts or (0,) * len(flow.tensors)
        self._prices = [
            None if tensor.size is None else tensor.size * _UNIT + effort
            for tensor, effort in zip(flow.tensors, efforts, strict=True)
        ]
        most = wishes.most_bytes
        self._most = None if most is None else (most + 1) * _UNIT - 1
        done = itertools.accumulate(step.flops for step in flow.steps)
        self._remaining = [flow.flops - flops for flops in done]

    def run(self, width: int) -> bool:
        """Search with at most `width` starts at a time; return whether that was enough."""
        count = self._wishes.parts
        inputs = tuple((0, 0) for _ in self._opened[0])
        starts = [_Partial((0,) * (count - 1), (0,) * count, 0, -1, inputs, None)]
        enough = True
        for index in range(len(self._flow.steps)):
            following = (after for start in starts for after in self._after(start, index))
            starts = self._merged(filter(self._is_new, following), index)
            if len(starts) > width:
                starts, enough = _best(starts, width), False
        for start in starts:
            self._finish(start)
        return enough

    def front(self) -> tuple[FoundCut, ...]:
        """Return the best cuts so far, fewest bytes first."""
        chosen: dict[int, FoundCut] = {}
        least = GRAIN + 1
        for (_, share), cut in sorted(self._known.items(), key=itemgetter(0)):
            if share < least:
                least = share
                chosen[cut.crossing] = cut
        return tuple(chosen.values())

    def _after(self, start: _Partial, index: int) -> Iterator[_Partial]:
        step = self._flow.steps[index]
        before, after = self._opened[index], self._opened[index + 1]
        open_tensors = dict(zip(before, start.open, strict=True))
        first = max((open_tensors[read][0] for read in step.reads), default=0)
        for part in range(first, self._wishes.parts):
            home = start.home
            if step.op_type in self._wishes.together:
                if home not in (-1, part):
                    continue
                home = part
            reached = dict(open_tensors)
            crossing = self._cross(start.crossing, reached, step.reads, part)
            if crossing is None:
                continue
            reached.update((output, (part, part)) for output in step.makes)
            flops = tuple(f + step.flops * (p == part) for p, f in enumerate(start.flops))
            opened = tuple(reached[tensor] for tensor in after)
            floor = self._floor(flops, opened, index)
            yield _Partial(
                crossing,
                flops,
                start.used | 1 << part,
                home,
                opened,
                (part, start),
                sum(crossing),
                floor,
                -(-GRAIN * floor // self._all),
            )

    def _cross(
        self,
        crossing: tuple[int, ...],
        reached: dict[int, tuple[int, int]],
        reads: tuple[int, ...],
        part: int,
    ) -> tuple[int, ...] | None:
        counted = list(crossing)
        for read in reads:
            maker, last = reached[read]
            if last >= part:
                continue
            price = self._prices[read]
            if price is None:
                return None
            for boundary in range(last, part):
                counted[boundary] += price
            reached[read] = (maker, part)
        return None if self._most is not None and max(counted) > self._most else tuple(counted)

    def _floor(
        self, flops: tuple[int, ...], opened: tuple[tuple[int, int], ...], index: int
    ) -> int:
        """Return a lower bound of the operations of the largest part."""
        largest = max(flops)
        remaining = self._remaining[index]
        if remaining and opened:
            earliest = min(maker for maker, _ in opened)
            spread = remaining + sum(flops[earliest:])
            largest = max(largest, -(-spread // (len(flops) - earliest)))
        return largest

    def _merged(self, starts: Iterable[_Partial], index: int) -> list[_Partial]:
        """Return the starts that no other start beats, whatever follows."""
        if self._wishes.is_allowed is not None:
            return list(starts)
        groups: dict[Any, list[_Partial]] = {}
        for start in starts:
            groups.setdefault((start.open, start.home, start.used), []).append(start)
        merged: list[_Partial] = []
        for group in groups.values():
            group.sort(key=lambda start: (start.total, start.bound))
            best: list[_Partial] = []
            for start in group:
                if not any(self._beats(other, start, index) for other in best):
                    best.append(start)
            merged += best
        return merged

    def _beats(self, start: _Partial, other: _Partial, index: int) -> bool:
        """Return whether `start` ends at least as well as `other` if both continue the same way."""
        if self._most is not None and any(map(gt, start.crossing, other.crossing)):
            return False
        remaining = self._remaining[index]
        bound = other.floor
        earliest = min((maker for maker, _ in start.open), default=len(start.flops))
        for part, (mine, its) in enumerate(zip(start.flops, other.flops, strict=True)):
            most = mine + (remaining if part >= earliest else 0)
            if mine > its and most > bound:
                return False
        return True

    def _is_new(self, start: _Partial) -> bool:
        least = self._least[start.bound]
        return least is None or start.total < least

    def _finish(self, start: _Partial) -> None:
        if start.used != (1 << self._wishes.parts) - 1 or not self._is_new(start):
            return
        parts = _parts(start)
        if self._wishes.is_allowed is not None and not self._wishes.is_allowed(parts):
            return
        self._known[start.total, start.bound] = FoundCut(parts, start.total // _UNIT, start.bound)
        for share in range(start.bound, GRAIN + 1):
            least = self._least[share]
            if least is None or start.total < least:
                self._least[share] = start.total


def _open_tensors(flow: Flow) -> Iterator[tuple[int, ...]]:
    """Yield, before each step and at the end, the tensors that are still to be read."""
    for index in range(len(flow.steps) + 1):
        yield tuple(
            number
            for number, tensor in enumerate(flow.tensors)
            if tensor.maker < index and tensor.readers and tensor.readers[-1] >= index
        )


def _best(starts: list[_Partial], width: int) -> list[_Partial]:
    """Return `width` of the starts: of each share in turn the one with the fewest bytes."""
    by_share: dict[int, int] = {}
    ranked = []
    for start in sorted(starts, key=lambda start: start.total):
        rank = by_share.get(start.bound, 0)
        by_share[start.bound] = rank + 1
        ranked.append((rank, start))
    ranked.sort(key=lambda pair: pair[0])
    return [start for _, start in ranked[:width]]


def _parts(start: _Partial) -> Parts:
    parts = []
    last = start.last
    while last is not None:
        parts.append(last[0])
        last = last[1].last
    return tuple(reversed(parts))
