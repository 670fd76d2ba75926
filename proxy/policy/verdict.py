"""What a policy says of an action: the effect, the rules that said it, and what a hold demands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

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
    anyone). A hold carries one demand for each rule that held it, and needs them all.
    """

    rule: str
    reviewers: tuple[str, ...] = ()
    approvals: int = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The answer of a policy, for one action.

    `rule` is the first of `rules` by tier, then by name; `why` and `says` are its. `says` has
    its fields filled in. `settled` is True where no reading of what is still unread or
    unknown could change the effect. `timeout` is in seconds. `unknown` names the rules that
    count only because something could not be read.
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
    budgets: tuple[Claim, ...] = ()


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
    )


def _reversible(said: Sequence[bool | None]) -> bool | None:
    """No, if any says so; yes, if all do."""
    if False in said:
        return False
    return True if all(said) else None
