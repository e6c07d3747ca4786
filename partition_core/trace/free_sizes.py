"""The sizes for which a traced program is valid, and further sizes to prove it on.

While torch.export traces a model it records what the trace assumes about the sizes that are not
fixed. Here these guards become plain values; nothing here runs a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import sympy

Inner = Mapping[sympy.Symbol, int]

_SHARES = (0.75, 1.25)
_TRIED = 64
_NO_BATCHES: Mapping[str, Sequence[int]] = MappingProxyType({})


@dataclass(frozen=True)
class TracedSize:
    """A size that is not fixed: `size` in the trace's symbols, and what it was in the sample."""

    size: sympy.Expr
    traced: int


@dataclass(frozen=True)
class FreeSizes:
    """The sizes of a recipe that are not fixed, by the recipe's symbols, and what limits them.

    `inner` maps the trace's own symbols to their traced values: a size may depend on a symbol in
    any way (`32*s0`), and two sizes on the same symbol. The trace is valid for all values that
    satisfy each of `conditions`.
    """

    sizes: Mapping[str, TracedSize]
    inner: Inner
    conditions: tuple[sympy.Basic, ...]

    def others(self, batches: Mapping[str, Sequence[int]] = _NO_BATCHES) -> list[dict[str, int]]:
        """Return sets of sizes, by symbol, that differ from the traced ones in every size.

        They are about 3/4 and 5/4 of the traced ones, in turn, so that two sizes that were equal
        in the trace are not equal here; two sets, or one for each size that `batches` has for a
        symbol. A set that the conditions do not allow is left out.
        """
        wanted = {
            symbol: [size for size in batches[name] if size != traced.traced]
            for name, traced in self.sizes.items()
            for symbol in traced.size.free_symbols
            if name in batches
        }
        count = max((len(_SHARES), *map(len, wanted.values())))
        candidates = (self._near(start, wanted) for start in range(count))
        return [self._outer(values) for values in candidates if values]

    def limits(self) -> dict[str, Any]:
        """Return what limits the sizes, as plain data: the least and most of each, and conditions.

        Conditions that are true for all sizes from the least on are left out; `most` is None for
        a size without a limit.
        """
        ranges = {symbol: self._range(symbol) for symbol in self.inner}
        conditions = [
            self._worded(condition)
            for condition in self.conditions
            if any(
                not self._holds(condition, {**self.inner, symbol: value})
                for symbol in condition.free_symbols
                for value in _tried(*ranges[symbol])
            )
        ]
        sizes = {}
        for name, size in self.sizes.items():
            (symbol,) = size.size.free_symbols
            bounds = [
                None if value is None else int(size.size.xreplace({symbol: sympy.Integer(value)}))
                for value in ranges[symbol]
            ]
            sizes[name] = {"traced": size.traced, "least": bounds[0], "most": bounds[1]}
        return {"sizes": sizes, "conditions": sorted(set(conditions))}

    def fixed_inside(self) -> tuple[str, int, str] | None:
        """Return a size that cannot grow since the trace fixed a size that depends on it, or None.

        The result is the symbol, its largest size and the condition. A plain limit, such as the
        number of rows of a table, does not count: it is the model's own.
        """
        for name, size in self.sizes.items():
            (symbol,) = size.size.free_symbols
            most = self._range(symbol)[1]
            if most is None:
                continue
            beyond = {**self.inner, symbol: most + 1}
            for condition in self.conditions:
                if isinstance(condition, sympy.Eq) and not self._holds(condition, beyond):
                    largest = size.size.xreplace({symbol: sympy.Integer(most)})
                    return name, int(largest), self._worded(condition)
        return None

    def _near(
        self, start: int, wanted: Mapping[sympy.Symbol, Sequence[int]]
    ) -> dict[sympy.Symbol, int] | None:
        chosen: dict[sympy.Symbol, int] = {}
        for number, (symbol, traced) in enumerate(self.inner.items(), start):
            target = traced * _SHARES[number % len(_SHARES)]
            if sizes := wanted.get(symbol):
                target = sizes[start % len(sizes)]
            known = {*chosen, symbol}
            conditions = [
                condition
                for condition in self.conditions
                if symbol in condition.free_symbols and condition.free_symbols <= known
            ]
            value = next(
                (
                    value
                    for value in _nearest(traced, target)
                    if all(
                        self._holds(condition, {**chosen, symbol: value})
                        for condition in conditions
                    )
                ),
                None,
            )
            if value is None:
                return None
            chosen[symbol] = value
        return chosen

    def _outer(self, values: Inner) -> dict[str, int]:
        numbers = {symbol: sympy.Integer(value) for symbol, value in values.items()}
        return {name: int(size.size.xreplace(numbers)) for name, size in self.sizes.items()}

    def _range(self, symbol: sympy.Symbol) -> tuple[int, int | None]:
        least, most = 1, None
        for condition in self.conditions:
            if condition.free_symbols == {symbol} and symbol in condition.args:
                ordered = condition if condition.lhs == symbol else condition.reversed
                if not ordered.rhs.is_Integer:
                    continue  # such as n <= 2 * floor(n / 2), which is no limit of n
                if isinstance(ordered, sympy.Ge):
                    least = max(least, int(ordered.rhs))
                elif isinstance(ordered, sympy.Le):
                    most = int(ordered.rhs) if most is None else min(most, int(ordered.rhs))
        return least, most

    def _holds(self, condition: sympy.Basic, values: Inner) -> bool:
        numbers = {symbol: sympy.Integer(value) for symbol, value in values.items()}
        return bool(condition.xreplace(numbers) == sympy.true)

    def _worded(self, condition: sympy.Basic) -> str:
        names = {
            size.size: sympy.Symbol(name, integer=True)
            for name, size in self.sizes.items()
            if size.size.is_Symbol
        }
        return str(condition.xreplace(names))


def _nearest(traced: int, target: float) -> list[int]:
    """Return the other values from 1 on, those near the target first."""
    most = max(2 * traced, round(target))
    others: Iterable[int] = (value for value in range(1, most + 1) if value != traced)
    return sorted(others, key=lambda value: (abs(value - target), value))


def _tried(least: int, most: int | None) -> Iterator[int]:
    return iter(range(least, least + _TRIED if most is None else min(least + _TRIED, most + 1)))
