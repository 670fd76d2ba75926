"""What a policy says of an action: the effect, the rules that said it, and what a hold demands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

from proxy.action import Field


class Effect(IntEnum):
    """Effects in order of strictness: the strictest of several is their `max`."""

    ALLOW = 0
    WATCH = 1
    HOLD = 2
    DENY = 3

    def __str__(self) -> str:
        return self.name.lower()


class Tier(IntEnum):
    """Risk as the rule's author sees it; the highest of several counts."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Demand:
    """
    What one rule asks of the people who may release a hold.

    `approvals` different people are needed, each of one of the groups `reviewers` (empty:
    anyone) and none of `excluded` (groups, or ``agent-owner``: the account that runs the agent).
    `denials` different people settle it as denied. A hold carries one demand for each rule that
    held it, and needs them all.
    """

    rule: str
    reviewers: tuple[str, ...] = ()
    approvals: int = 1
    denials: int = 1
    excluded: tuple[str, ...] = ()


class Nobody(StrEnum):
    """What happens to a hold that nobody is there to answer."""

    HOLD = "hold"
    REFUSE = "refuse"


class Keepalive(StrEnum):
    """Which interim response keeps the client of a held request waiting (RFC 9110, 15.2)."""

    AUTO = "auto"
    NONE = "none"
    CONTINUE = "100"
    PROCESSING = "102"


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How long each side of a hold waits for the other, in seconds.

    `rejoin`: an agent that has gone may come back with the same request. `remember`: a denial
    answers every same request; an approval that nobody waits for may be spent. `wait`: then the
    agent is told to ask again (None: it is kept waiting to the deadline).
    """

    rejoin: float = 60.0
    remember: float = 600.0
    wait: float | None = None
    nobody: Nobody = Nobody.HOLD
    keepalive: Keepalive = Keepalive.AUTO


UNSAID: Final = Patience()
"""What a rule means that says nothing of it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The answer of a policy, for one action.

    `rule` is the first of `rules` by tier, then by name; `why` and `says` are its. `says` has
    its fields filled in. `settled` is True where no reading of what is still unread or
    unknown could change the effect. `timeout` is in seconds. `unknown` names the rules that
    count only because something could not be read. `window` is how many seconds a watched
    request can be stopped in before it proceeds; `idempotency` names the headers that get a key
    derived from the hold.
    """

    effect: Effect
    rule: str
    rules: tuple[str, ...]
    why: str
    policy: str
    settled: bool = True
    unknown: tuple[str, ...] = ()
    tier: Tier = Tier.MEDIUM
    reversible: bool | None = None
    says: str = ""
    show: tuple[Field, ...] = ()
    demands: tuple[Demand, ...] = ()
    timeout: float = 600.0
    always_ask: bool = False
    window: float = 0.0
    patience: Patience = UNSAID
    idempotency: tuple[str, ...] = ()
    budgets: tuple[Claim, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether the request waits, for people or for its window."""
        return self.effect is Effect.HOLD or (self.effect is Effect.WATCH and self.window > 0)

    def demands_as(self, other: Verdict) -> bool:
        """
        Whether it says the same as another, whichever policy says it.

        Where budgets speak, the why names what is used of them, and that changes all the time.
        """
        why = other.why if self.budgets else self.why
        return replace(self, policy=other.policy, why=why) == other


class Account(NamedTuple):
    """
    What a budget keeps count of: a rule's releases, of one owner, in one unit.

    `owner` is an agent or a credential's keyed hash, empty where everyone shares the account;
    `unit` is in upper case, empty where the amounts have none.
    """

    rule: str
    owner: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What an action takes out of one account when it is released.

    `amount` is None where nobody can say how much, and `why` says why: then there is no room.
    `limit` is what may be released within `per` seconds. `over` is what the rule says where
    there is no room, with an empty why.
    """

    account: Account
    amount: Decimal | None
    limit: Decimal
    per: int
    over: Verdict
    why: str = ""


def strictest(verdicts: Sequence[Verdict]) -> Verdict:
    """
    The verdict on a container, of its own and its members': all that share the strictest effect speak.

    It is settled where one that is settled is as strict as any may become.
    """
    effect = max(one.effect for one in verdicts)
    speakers = sorted(
        (one for one in verdicts if one.effect is effect), key=lambda one: (-one.tier, one.rule == "default")
    )
    first = speakers[0]
    if len(speakers) == 1:
        return first
    demands = dict.fromkeys(demand for one in speakers for demand in one.demands)
    return replace(
        first,
        rules=tuple(dict.fromkeys(rule for one in speakers for rule in one.rules)),
        settled=any(one.settled for one in speakers),
        unknown=tuple(sorted({rule for one in speakers for rule in one.unknown})),
        reversible=_reversible([one.reversible for one in speakers]),
        show=tuple(dict.fromkeys(field for one in speakers for field in one.show)),
        demands=tuple(demands),
        timeout=min(one.timeout for one in speakers),
        always_ask=any(one.always_ask for one in speakers),
        window=max(one.window for one in speakers),
        patience=shortest([one.patience for one in speakers]),
        idempotency=tuple(dict.fromkeys(name for one in speakers for name in one.idempotency)),
    )


def shortest(said: Sequence[Patience]) -> Patience:
    """Of several: each timer the shortest, deferred only where all are, kept alive only as all say."""
    first = said[0]
    if all(one == first for one in said):
        return first
    waits = [one.wait for one in said]
    same = all(one.keepalive is first.keepalive for one in said)
    return Patience(
        rejoin=min(one.rejoin for one in said),
        remember=min(one.remember for one in said),
        wait=None if None in waits else min(wait for wait in waits if wait is not None),
        nobody=Nobody.REFUSE if any(one.nobody is Nobody.REFUSE for one in said) else Nobody.HOLD,
        keepalive=first.keepalive if same else Keepalive.NONE,
    )


def _reversible(said: Sequence[bool | None]) -> bool | None:
    """No, if any says so; yes, if all do."""
    if False in said:
        return False
    return True if all(said) else None
