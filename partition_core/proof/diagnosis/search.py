"""Bisects a graph for the first tensor that is wrong. Pure: what is wrong is asked of a function.

The bisection assumes that an error stays: whatever is computed from a wrong tensor is wrong. Then a
right tensor clears all that it is computed from, a wrong one accuses one of those, or itself, and
about log2(n) answers remain for n tensors, on branches too.

An error may instead be damped: a Relu cuts it off, a Softmax saturates, a norm rescales it. A right
tensor then clears a wrong one. So the answer is verified: what the tensor is computed from directly
is asked about as well. If one of these is wrong the search goes on from there, towards the inputs,
which ends, since a graph has no circle. What is found is thus wrong while all that its node reads
is right. A damped error in front of it, which leaves nothing wrong in between, stays hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from partition_core.proof.diagnosis.lineage import Bits, Lineage, bits_of, members


class Answer(Enum):
    """What is known of a tensor. UNKNOWN: it cannot be compared after all."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


Ask = Callable[[int], Answer]
"""Returns the answer for the tensor with an index."""


class BudgetError(Exception):
    """No more questions are allowed."""


@dataclass
class Asked:
    """Asks about each tensor at most once, and about at most `budget` of them."""

    ask: Ask
    budget: int
    answers: dict[int, Answer] = field(default_factory=dict)

    def __call__(self, index: int) -> Answer:
        """Return the answer for a tensor; raises BudgetError."""
        if index not in self.answers:
            if len(self.answers) >= self.budget:
                raise BudgetError
            self.answers[index] = self.ask(index)
        return self.answers[index]

    @property
    def unknown(self) -> Bits:
        """The tensors that turned out not to be comparable."""
        return bits_of(i for i, answer in self.answers.items() if answer is Answer.UNKNOWN)


@dataclass(frozen=True)
class Location:
    """The index of a wrong tensor; `is_verified` if all that its node reads was asked about."""

    index: int
    is_verified: bool


def first_wrong(lineage: Lineage, wrong: int, ask: Asked) -> Location:
    """Return a tensor that is wrong while all that its node reads is right.

    `wrong` is a wrong tensor that it is, or that is computed from it. With the budget at its end it
    is the earliest wrong tensor so far, unverified.
    """
    latest = [wrong]
    try:
        while True:
            _descend(lineage, latest, ask)
            for parent in _asked_parents(lineage, latest[-1], ask):
                if ask(parent) is Answer.WRONG:
                    latest.append(parent)
                    break
            else:
                return Location(latest[-1], is_verified=True)
    except BudgetError:
        return Location(latest[-1], is_verified=False)


def _descend(lineage: Lineage, latest: list[int], ask: Asked) -> None:
    """Bisect what the last of `latest` is computed from; append each wrong tensor to `latest`."""
    rest = lineage.ancestors[latest[-1]]
    while choice := _halving(lineage, rest & ~(1 << latest[-1]), rest):
        index, above = choice
        match ask(index):
            case Answer.WRONG:
                latest.append(index)
                rest &= above
            case Answer.RIGHT:
                rest &= ~above
            case Answer.UNKNOWN:
                rest &= ~(1 << index)


def _halving(lineage: Lineage, choices: Bits, rest: Bits) -> tuple[int, Bits] | None:
    """Return the tensor of `choices` whose ancestors are nearest to half of `rest`, with them."""
    half = rest.bit_count() / 2
    best = min(
        members(choices),
        key=lambda index: abs((lineage.ancestors[index] & rest).bit_count() - half),
        default=None,
    )
    return None if best is None else (best, lineage.ancestors[best])


def _asked_parents(lineage: Lineage, index: int, ask: Asked) -> list[int]:
    """Return the nearest tensors that can be compared, in order, and ask about each."""
    while True:
        _, parents = lineage.region(index, ask.unknown)
        if all(ask(parent) is not Answer.UNKNOWN for parent in members(parents)):
            return list(members(parents))
