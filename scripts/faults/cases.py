"""
What is done with one hold, drawn from a seed, and what can go wrong. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from faults.ways import Way
from proxy.hold import Event, State


class Fault(StrEnum):
    """What goes wrong; the values are the rows of the table."""

    NONE = "nothing"
    KILL = "kill -9"
    TERM = "SIGTERM"
    FIN = "agent hangs up (FIN)"
    RST = "agent hangs up (RST)"
    STREAM = "agent cancels (RST_STREAM)"
    REFUSE = "upstream refuses"
    RESET = "upstream resets"
    STALL = "upstream stalls"
    HALF = "half an answer"
    FULL = "disk full"
    LOCKED = "ledger locked"
    CLOCK = "clock jump"
    TWO = "two reviewers at once"
    PAUSE = "sluice pause"


class Moment(StrEnum):
    """When the fault strikes."""

    BEFORE = "in the state"
    DURING = "in the transition"
    AFTER = "after it"


class Carrier(StrEnum):
    """What the agent speaks."""

    PLAIN = "HTTP/1.1"
    TLS = "HTTP/1.1 in TLS"
    HTTP2 = "HTTP/2 in TLS"


class Need(StrEnum):
    """What the rule has to say so that an event can happen; part of the path of the request."""

    BRIEF = "brief"
    FORGETS = "forgets"
    PAIR = "pair"
    WAIT = "wait"
    WINDOW = "window"


NEEDS: Final[dict[Event, frozenset[Need]]] = {
    Event.EXPIRE: frozenset({Need.BRIEF}),
    Event.PROCEED: frozenset({Need.WINDOW}),
    Event.DEFER: frozenset({Need.WAIT}),
    Event.LAPSE: frozenset({Need.FORGETS}),
}

FAULTS: Final = tuple(Fault)
GATE_WIDE: Final = frozenset({Fault.KILL, Fault.TERM, Fault.FULL, Fault.LOCKED, Fault.CLOCK, Fault.PAUSE})
LEAVES: Final = frozenset({Fault.FIN, Fault.RST, Fault.STREAM})
SPREAD: Final = 0.015
"""Seconds by which what happens at once may be apart."""

BEHAVIOURS: Final[dict[Fault, tuple[str, ...]]] = {
    Fault.REFUSE: ("refuse",),
    Fault.RESET: ("reset", "slam"),
    Fault.STALL: ("stall",),
    Fault.HALF: ("half-head", "half-body"),
}
# An unattended hold does without a large body, and is judged anew when its agent brings it again.
_SIZES: Final = (0, 100, 70_000)


@dataclass(frozen=True, slots=True)
class Case:
    """
    One run.

    `mark` is in the request's path and in no other's. `behaviour` is what upstream does with it, over HTTP/2
    where `http2_upstream`. Where `twin`, the agent asks twice at once: those are two holds. `lead` is by how
    many seconds the fault comes after the event's beginning (before it, where negative). Where `onward`,
    what is still open is then led to its release. When all is over a reviewer approves once more, where
    `late`; the agent asks for the very same once more, where `again`, and at the gate's next start, where
    `revived`.
    """

    mark: str
    way: Way
    fault: Fault
    moment: Moment
    carrier: Carrier
    behaviour: str
    needs: frozenset[Need]
    lead: float
    size: int
    http2_upstream: bool
    twin: bool
    onward: bool
    late: bool
    again: bool
    revived: bool
    seed: int

    @property
    def rule(self) -> str:
        """The rule that holds it."""
        return "-".join(sorted(self.needs)) or "plain"

    @property
    def people(self) -> int:
        """How many people have to approve it; none where it goes by itself."""
        if Need.WINDOW in self.needs:
            return 0
        return 2 if Need.PAIR in self.needs else 1


def case(seed: int, at: int, fault: Fault, known: Sequence[Way], staged: bool, chance: random.Random) -> Case:
    """One run of a batch; consecutive ones go through all ways and moments in turn."""
    way = known[at % len(known)]
    moments = tuple(Moment)
    needs = frozenset().union(*(NEEDS.get(event, frozenset()) for event in (*way.path, way.event)))
    if Need.WINDOW not in needs and staged and chance.random() < 0.4:
        needs |= {Need.PAIR}
    carriers = (Carrier.HTTP2,) if fault is Fault.STREAM else tuple(Carrier)
    carrier = chance.choice(carriers)
    calm = ("ok", "slow") if fault in GATE_WIDE else ("ok",)
    return Case(
        mark=f"m{seed}x{at}",
        way=way,
        fault=fault,
        moment=moments[(at // len(known) + at % len(known)) % len(moments)],
        carrier=carrier,
        behaviour=chance.choice(BEHAVIOURS.get(fault, calm)),
        needs=needs,
        lead=chance.uniform(-SPREAD, SPREAD),
        size=chance.choice(_SIZES[: 2 if way.state is State.UNATTENDED else None]),
        http2_upstream=carrier is Carrier.HTTP2 and chance.random() < 0.6,
        twin=chance.random() < 0.1,
        onward=chance.random() < 0.7,
        late=chance.random() < 0.3,
        again=chance.random() < 0.2,
        revived=chance.random() < 0.3,
        seed=chance.getrandbits(32),
    )
