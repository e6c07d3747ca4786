"""The range of an integer input from the tables that it indexes: integer arithmetic, pure.

Code that follows a model's tensors (torch's operators, ONNX's nodes) records here which of them
have the elements of an input, and which of them index which table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ZERO_OR_ONE = "drawn_from_0_and_1"
"""The note of an export that names the integer inputs with an unknown range."""

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
        """Return the least and the greatest x that index a table of `size` rows for every shift."""
        least, most = -self.low, size - 1 - self.high
        if self.scale < 0:
            least, most = -most, -least
        step = abs(self.scale)
        return -(-least // step), most // step


Origins = frozenset[Origin]
"""The possible sources of a tensor's elements; empty if they cannot be followed."""

UNFOLLOWED: Origins = frozenset()


def joined(several: Iterable[Origins]) -> Origins:
    """Return the origins of a tensor whose elements come from several tensors."""
    return UNFOLLOWED.union(*several)


def moved(origins: Origins, low: int, high: int) -> Origins:
    """Return the origins of a tensor after the addition of numbers from `low` to `high`."""
    return frozenset(
        dataclasses.replace(origin, low=origin.low + low, high=origin.high + high)
        for origin in origins
    )


def scaled(origins: Origins, factor: int) -> Origins:
    """Return the origins of a tensor after the multiplication by `factor`."""
    if factor == 0:
        return UNFOLLOWED
    return frozenset(
        Origin(o.name, o.scale * factor, *sorted((o.low * factor, o.high * factor)))
        for o in origins
    )


@dataclass
class IndexReads:
    """The recorded tables that inputs index."""

    _ranges: dict[str, tuple[int, int]] = field(default_factory=dict)

    def note(self, origins: Origins, size: int) -> None:
        """Record a table of `size` rows that is indexed by a tensor with these origins."""
        for origin in origins:
            low, high = origin.within(size)
            least, most = self._ranges.get(origin.name, (low, high))
            self._ranges[origin.name] = max(low, least), min(high, most)

    def ranges(self) -> Ranges:
        """Return, by input, the least and the greatest element that index every table it indexes.

        Negative elements are excluded, and so is an input with too few elements left for samples
        to differ.
        """
        ranges = {}
        for name, (low, high) in self._ranges.items():
            least = max(low, 0)
            if least < high or 0 <= low == high:
                ranges[name] = (least, high)
        return ranges
