"""
One verdict and its budgets: what it becomes where an account has no room, and the words for that.

How much of an account is used is asked of whoever knows (`proxy.budget`, a case, nobody). Amounts
are decimals, added exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Context, Decimal, Inexact
from typing import Final

from proxy.policy.verdict import Account, Claim, Effect, Verdict, strictest

LONGEST: Final = 31 * 86_400
"""Seconds that a window may be long, and so what is remembered of an account."""
ACCOUNTS: Final = 1_000
"""Accounts that one rule may have; for one more there is no room."""
ZERO: Final = Decimal(0)

# 10,000 values of 36 digits have fewer than 60; a sum that had to be rounded would be a bug.
EXACTLY: Final = Context(prec=100, traps=[Inexact])


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum, whatever the thread's own context rounds to."""
    found = ZERO
    for amount in amounts:
        found = EXACTLY.add(found, amount)
    return found


type Used = Callable[[Claim], Decimal | None]
"""How much of an account is used, None where there is no place for it."""


def unused(_: Claim) -> Decimal:
    """As before anything was released."""
    return ZERO


def limited(verdict: Verdict, used: Used) -> Verdict:
    """
    The verdict once its budgets are asked: the strictest of it and of each rule without room.

    Its why then names how much is used.
    """
    if verdict.effect is Effect.DENY or not verdict.budgets:
        return verdict
    over = [
        replace(claim.over, why=why, policy=verdict.policy)
        for claim in verdict.budgets
        if (why := shortage(claim, used(claim)))
    ]
    if not over:
        return verdict
    found = strictest([verdict, *over])
    whys = dict.fromkeys(one.why for one in (verdict, *over) if one.effect is found.effect)
    why = "; ".join(whys)
    return replace(found, why=why, settled=verdict.settled, budgets=verdict.budgets)


def shortage(claim: Claim, used: Decimal | None) -> str:
    """Why an account has no room for a claim, in words; empty where it has."""
    if claim.amount is None:
        return f"{claim.why}: it counts as over the budget"
    if used is None:
        return f"more than {ACCOUNTS} accounts draw on this budget: there is no place for another"
    if EXACTLY.add(used, claim.amount) <= claim.limit:
        return ""
    return f"{usage(claim.account, used, claim.limit, claim.per)}, and this takes {claim.amount:f}"


def usage(account: Account, used: Decimal, limit: Decimal, per: int) -> str:
    """``180.00 of 200.00 EUR in 24h are used``."""
    places = max(_places(used), _places(limit))
    unit = f" {account.unit}" if account.unit else ""
    return f"{used:.{places}f} of {limit:.{places}f}{unit} in {span(per)} are used"


def span(seconds: int) -> str:
    """A duration as rules write it, in days from two of them on."""
    if seconds % 86_400 == 0 and seconds > 86_400:
        return f"{seconds // 86_400}d"
    if seconds % 3_600 == 0:
        return f"{seconds // 3_600}h"
    return f"{seconds}s" if seconds % 60 else f"{seconds // 60}m"


def _places(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
