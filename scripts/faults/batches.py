"""
Which runs are under way together, drawn from a seed. Pure.

A batch is one gate's life: its seed alone says which fault strikes and what is done, so that
``--seed N --runs 1`` does again what batch N did. The timing of real processes is not repeated.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

from faults.cases import FAULTS, Case, Fault, case
from faults.errands import Errand, Leg, errand
from faults.ways import Way


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Runs that are under way in one gate.

    `staged` where the gate knows several people by one uid, `enrolled` where they sign what they
    decide. A pause ends before the gate does, unless it is `kept`: then the gate is killed in it.
    """

    seed: int
    fault: Fault
    staged: bool
    cases: tuple[Case, ...]
    errands: tuple[Errand, ...] = ()
    enrolled: bool = False
    kept: bool = False

    @property
    def name(self) -> str:
        return f"b{self.seed}"

    @property
    def runs(self) -> int:
        """How many there are."""
        return len(self.cases) + len(self.errands)

    @property
    def watches(self) -> tuple[str, ...]:
        """The errands for which somebody may come to the desk, by mark."""
        return tuple(one.mark for one in self.errands if one.leg is Leg.NOBODY)


def batches(
    seed: int, runs: int, size: int, known: Sequence[Way], faults: Sequence[Fault]
) -> Iterator[Batch]:
    """As many batches of `size` as hold so many runs, from this seed on, of those with one of `faults`."""
    numbers = (number for number in count(seed) if _fault(number) in faults)
    for number in islice(numbers, max(1, -(-runs // size))):
        yield batch(number, size, known)


def _fault(seed: int) -> Fault:
    return FAULTS[seed % len(FAULTS)]


def batch(seed: int, size: int, known: Sequence[Way]) -> Batch:
    """The batch of a seed; consecutive ones go through all faults, ways, legs and moments in turn."""
    fault, turn = _fault(seed), seed // len(FAULTS)
    chance = random.Random(seed)
    # What a killed gate left is read as the product wrote it: every other one is nothing but that.
    staged = fault not in (Fault.KILL, Fault.TERM) or turn % 2 == 1
    enrolled = (seed + turn) % 3 == 1
    others = size // 4
    holds = size - others
    cases = tuple(case(seed, turn * holds + at, fault, known, staged, chance) for at in range(holds))
    errands = tuple(
        errand(seed, turn * others + at, fault, staged=staged, enrolled=enrolled, chance=chance)
        for at in range(others)
    )
    kept = fault is Fault.PAUSE and chance.random() < 0.5
    return Batch(seed, fault, staged, cases, errands, enrolled, kept)
