"""From the tables that an input indexes to the values it may have: integer arithmetic, pure.

What follows a model's tensors (torch's operators, ONNX's nodes) tells here which of them hold the
elements of an input, and what indexes which table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ZERO_OR_ONE = "drawn_from_0_and_1"
"""The note of an export that names the integer inputs of which nothing tells a range."""

Ranges = Mapping[str, tuple[int, int]]
"""The least and the greatest element of integer inputs, by name."""


@dataclass(frozen=True)
class Origin:
    """A tensor's elements are `scale * x + shift`: x are elements of the input `name`.

    The shift, from `low` to `high`, may differ from element to element; `scale` is not 0.
    """

    name: str
    scale: int = 1
    low: int = 0
    high: int = 0

    def within(self, size: int) -> tuple[int, int]:
        """Return the least and the greatest x that index a table of `size` rows, whatever shift."""
        least, most = -self.low, size - 1 - self.high
        if self.scale < 0:
            least, most = -most, -least
        step = abs(self.scale)
        return -(-least // step), most // step


Origins = frozenset[Origin]
"""Where the elements of a tensor may come from; empty if from inputs in a way not followed."""

UNFOLLOWED: Origins = frozenset()


def joined(several: Iterable[Origins]) -> Origins:
    """Return the origins of a tensor whose elements are those of some tensors."""
    return UNFOLLOWED.union(*several)


def moved(origins: Origins, low: int, high: int) -> Origins:
    """Return the origins of a tensor after the addition of numbers from `low` to `high`."""
    return frozenset(
        dataclasses.replace(one, low=one.low + low, high=one.high + high) for one in origins
    )


def scaled(origins: Origins, factor: int) -> Origins:
    """Return the origins of a tensor after the multiplication by `factor`."""
    if factor == 0:
        return UNFOLLOWED
    return frozenset(
        Origin(one.name, one.scale * factor, *sorted((one.low * factor, one.high * factor)))
        for one in origins
    )


@dataclass
class IndexReads:
    """The tables that inputs index, as far as they are noted."""

    _ranges: dict[str, tuple[int, int]] = field(default_factory=dict)

    def note(self, origins: Origins, size: int) -> None:
        """Take note of a table of `size` rows that is indexed by a tensor of these origins."""
        for origin in origins:
            low, high = origin.within(size)
            least, most = self._ranges.get(origin.name, (low, high))
            self._ranges[origin.name] = max(low, least), min(high, most)

    def ranges(self) -> Ranges:
        """Return, by input, the least and the greatest element that index every table it indexes.

        Negative elements are left out, and so is an input of which too little is then left to
        tell samples apart.
        """
        found = {}
        for name, (low, high) in self._ranges.items():
            least = max(low, 0)
            if least < high or 0 <= low == high:
                found[name] = (least, high)
        return found
