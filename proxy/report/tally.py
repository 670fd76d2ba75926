"""What is counted of some holds: ends, times, and what need not have been asked."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

QUICK: Final = 2.0
"""Seconds: who answers sooner has not read what was asked."""
KEPT: Final = 100_000
"""Numbers of which a median is exact; of more, every second (fourth, eighth …) is kept."""


class Sample:
    """Numbers for a median: all of them up to `KEPT`, then every second, every fourth, and so on."""

    __slots__ = ("_kept", "_numbers", "_step", "count")

    def __init__(self, kept: int = KEPT) -> None:
        self.count = 0
        self._kept = kept
        self._numbers = array("d")
        self._step = 1

    def add(self, number: float) -> None:
        """Take one more."""
        if self.count % self._step == 0:
            if len(self._numbers) == self._kept:
                self._numbers = self._numbers[::2]
                self._step *= 2
            if self.count % self._step == 0:
                self._numbers.append(number)
        self.count += 1

    @property
    def exact(self) -> bool:
        """Whether all numbers were kept."""
        return self._step == 1

    @property
    def median(self) -> float | None:
        """The middle of the numbers (of two, the mean of both); None of none."""
        ordered, middle = sorted(self._numbers), len(self._numbers) // 2
        if not ordered:
            return None
        return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


@dataclass(slots=True)
class Tally:
    """
    What became of some holds; `seconds` are those in which people decided.

    In a reviewer's tally `approved` and `denied` are this person's own answers, whatever then
    became of the hold. `other` ended without people: refused by a changed policy, cut off.
    `spared` would not have been asked under a grant; of these `amiss` were denied.
    """

    holds: int = 0
    approved: int = 0
    denied: int = 0
    expired: int = 0
    abandoned: int = 0
    other: int = 0
    quick: int = 0
    spared: int = 0
    amiss: int = 0
    seconds: Sample = field(default_factory=Sample)

    def add(self, end: str, seconds: float | None) -> None:
        """Count one hold that has ended, in so many seconds where people decided."""
        self.holds += 1
        setattr(self, end, getattr(self, end) + 1)
        if seconds is not None:
            self.seconds.add(seconds)
            self.quick += seconds < QUICK

    @property
    def only_approved(self) -> bool:
        """Whether people said yes whenever they said anything."""
        return self.approved > 0 and self.denied == 0

    def as_dict(self) -> dict[str, object]:
        """The counts as `--json` names them; times are in seconds."""
        median = self.seconds.median
        return {
            "holds": self.holds,
            "approved": self.approved,
            "denied": self.denied,
            "expired": self.expired,
            "abandoned": self.abandoned,
            "other": self.other,
            "median_seconds": None if median is None else round(median, 3),
            "exact": self.seconds.exact,
            "under_2_seconds": self.quick,
        }


@dataclass(slots=True)
class Threshold:
    """
    One amount field of one rule, in one currency: what was approved below all that was denied.

    What is not below the least amount denied so far is let go of: no limit can spare it.
    """

    least_denied: Decimal | None = None
    approved: list[Decimal] = field(default_factory=list)
    more: int = 0

    def add(self, amount: Decimal, end: str, *, alone: bool) -> None:
        """Take one decided amount; `alone` where no other rule would have asked anyway."""
        if end == "denied" and (self.least_denied is None or amount < self.least_denied):
            self.least_denied = amount
            self.approved = [one for one in self.approved if one < amount]
        elif end == "approved" and alone and (self.least_denied is None or amount < self.least_denied):
            if len(self.approved) < KEPT:
                self.approved.append(amount)
            else:
                self.more += 1

    @property
    def spared(self) -> int:
        """Prompts fewer, had only amounts from the least denied on been held (at least so many)."""
        return 0 if self.least_denied is None else len(self.approved)

    @property
    def exact(self) -> bool:
        """Whether every amount was followed."""
        return self.more == 0
