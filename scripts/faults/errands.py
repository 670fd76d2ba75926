"""
What settles more than one hold, drawn from a seed: grants, budgets, edits, and who may say what. Pure.

`STEPS` is the table: each leg is walked step by step, and a fault strikes before a step, in it, or
after the last one. An errand is one such walk; its rules are its own.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from faults.cases import BEHAVIOURS, FAULTS, GATE_WIDE, SPREAD, Carrier, Fault, Moment


class Leg(StrEnum):
    """What is walked; the values are the rows of the table."""

    GRANT = "a grant for the like"
    BUDGET = "a budget"
    EDIT = "an edited request"
    DENIALS = "two denials wanted"
    EXCLUDED = "an excluded person"
    NOBODY = "nobody there"
    SIGNED = "an unsigned answer"


STEPS: Final[Mapping[Leg, tuple[str, ...]]] = {
    Leg.GRANT: ("ask", "grant", "use", "end", "ask again"),
    Leg.BUDGET: ("spend", "ask people for more", "spend more"),
    Leg.EDIT: ("ask", "edit", "approve", "come again"),
    Leg.DENIALS: ("ask", "deny", "deny twice", "answer"),
    Leg.EXCLUDED: ("ask", "approve as the excluded", "approve"),
    Leg.NOBODY: ("ask", "be there", "ask again", "answer"),
    Leg.SIGNED: ("ask", "forge", "approve"),
}

AMOUNT: Final = 50
"""What is asked for first, of a unit that is never named."""
LIMIT: Final = 100
"""What a budget lets through, of the same unit."""
COUNT: Final = 4
"""How many requests a budget lets through that counts them."""
CROWD: Final = 200
"""Requests at once, now and then."""
_CROWDED: Final = 40
_ENDINGS: Final = ("", "time", "revoke", "deny")
_SLUGS: Final[Mapping[Leg, str]] = {leg: leg.name.lower() for leg in Leg}


@dataclass(frozen=True, slots=True)
class Errand:
    """
    One walk along a leg, struck at `step` (its index) and `moment`.

    `many` is how many requests ask at once. `uses` is how often a grant may be used; `ending` how it
    ends before it is used up. `counts` says that a budget counts requests, not amounts, `over` what its rule
    says of more, `window` that what it lets through can be stopped for a while. `amount` is what an edit
    makes of it. `people` is how many have to approve.
    """

    mark: str
    leg: Leg
    step: int
    moment: Moment
    fault: Fault
    carrier: Carrier
    behaviour: str
    lead: float
    http2_upstream: bool
    many: int
    uses: int
    ending: str
    counts: bool
    over: str
    window: bool
    amount: int
    people: int
    revived: bool
    seed: int

    @property
    def slug(self) -> str:
        """The word for its leg in paths."""
        return _SLUGS[self.leg]

    @property
    def rule(self) -> str:
        """The rule that is about its requests, and no others."""
        return f"{self.slug}-{self.mark}"

    @property
    def limit(self) -> int:
        """What its budget lets through."""
        return COUNT if self.counts else LIMIT


def stages(leg: Leg) -> tuple[tuple[int, Moment], ...]:
    """Where a fault can strike on a leg."""
    steps = range(len(STEPS[leg]))
    met = [(step, moment) for step in steps for moment in (Moment.BEFORE, Moment.DURING)]
    return (*met, (steps[-1], Moment.AFTER))


def errand(
    seed: int, at: int, fault: Fault, *, staged: bool, enrolled: bool, chance: random.Random
) -> Errand:
    """One errand of a batch; consecutive ones go through all legs and stages in turn."""
    legs = tuple(Leg)
    leg, turn = legs[at % len(legs)], at // len(legs)
    if leg is Leg.SIGNED and not enrolled:
        leg = legs[turn % legs.index(Leg.SIGNED)]
    where = stages(leg)
    step, moment = where[(2 * turn + FAULTS.index(fault)) % len(where)]
    carrier = Carrier.HTTP2 if fault is Fault.STREAM else chance.choice(tuple(Carrier))
    calm = ("ok", "slow") if fault in GATE_WIDE else ("ok",)
    crowded = leg in (Leg.GRANT, Leg.BUDGET) and chance.randrange(_CROWDED) == 0
    ending = "" if crowded else _ENDINGS[turn % len(_ENDINGS)]
    return Errand(
        mark=f"m{seed}y{at}",
        leg=leg,
        step=step,
        moment=moment,
        fault=fault,
        carrier=Carrier.PLAIN if crowded and fault is not Fault.STREAM else carrier,
        behaviour=chance.choice(BEHAVIOURS.get(fault, calm)),
        lead=chance.uniform(-SPREAD, SPREAD),
        http2_upstream=carrier is Carrier.HTTP2 and not crowded and chance.random() < 0.5,
        many=CROWD if crowded and fault is not Fault.STREAM else chance.randint(3, 6),
        uses=chance.randint(1, 3) + bool(ending),  # one is left where it ends before
        ending=ending,
        counts=chance.random() < 0.4,
        over=chance.choice(("hold", "deny")),
        window=not crowded and chance.random() < 0.3,
        amount=chance.choice((20, 20, 120, 2_000)),
        people=2 if staged and chance.random() < 0.4 else 1,
        revived=chance.random() < 0.7,
        seed=chance.getrandbits(32),
    )
