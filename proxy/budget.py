"""
Budgets: what was released on each account, in windows that slide.

A fold over ledger entries: a `decided` entry says what a release took out of which accounts, an
outcome may give it back. The same fold goes on while the gate runs, so that a start finds what
the run before had used. It knows no policy: rules say in each claim how much and how long.

What never makes room: an amount that nobody can read, an account for which there is no place, an
outcome that nobody knows, and a clock that goes back: time stands still then until the clock is
again where it was, because which of the two times was wrong nobody can say.

Amounts are decimals, added exactly. The newest releases of an account are kept one by one; of
more than `MOST`, older ones are put together, and leave the window late by at most a 32nd of
their age, never early.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from proxy.decision import Happened, Outcome, Word
from proxy.policy.limits import ACCOUNTS, EXACTLY, LONGEST, ZERO, limited, total
from proxy.policy.verdict import Account, Claim, Verdict

EXACT: Final = 512
MOST: Final = 2_048
OPEN: Final = 100_000
"""Releases whose outcome is awaited; the oldest beyond count as kept."""
RETURNED: Final = "returned"
"""What an outcome's entry says of budgets, where it gives back what was taken."""

_MICRO: Final = 1_000_000
_COARSE: Final = 32
_NUMBER: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?")


def gives_back(outcome: Outcome) -> bool:
    """
    Whether what a release took goes back: nothing was sent, or upstream refused (4xx).

    What nobody knows is kept: an answer that was lost, and a server's own error (5xx).
    """
    match outcome.happened:
        case Happened.FAILED:
            return True
        case Happened.UNKNOWN:
            return False
        case Happened.COMPLETED:
            return outcome.status is not None and 400 <= outcome.status <= 499


# -- as an entry has it --------------------------------------------------------------------


def entered(claims: Iterable[Claim]) -> list[object]:
    """What a release takes, as its `decided` entry says it; an amount that nobody can read takes nothing."""
    return [
        {
            "rule": claim.account.rule,
            "owner": claim.account.owner,
            "unit": claim.account.unit,
            "amount": format(claim.amount, "f"),
            "limit": format(claim.limit, "f"),
            "per": claim.per,
        }
        for claim in claims
        if claim.amount
    ]


@dataclass(frozen=True, slots=True)
class Taking:
    """What a release took out of one account, and the limit that stood then."""

    account: Account
    amount: Decimal
    limit: Decimal
    per: int


def takings(claims: Iterable[Claim]) -> list[Taking]:
    """What is taken by claims that are released, whether or not there was room."""
    return [Taking(claim.account, claim.amount, claim.limit, claim.per) for claim in claims if claim.amount]


def _read(entered: object) -> Iterator[Taking]:
    """The takings of an entry; what is none of ours is passed over."""
    for one in entered if isinstance(entered, list) else ():
        if not isinstance(one, Mapping):
            continue
        rule, owner, unit = (_text(one, name) for name in ("rule", "owner", "unit"))
        amount, limit, per = _number(one, "amount"), _number(one, "limit"), one.get("per")
        if rule and amount and limit is not None and type(per) is int and 0 < per <= LONGEST:
            yield Taking(Account(rule, owner, unit), amount, limit, per)


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return value if type(value) is str else ""


def _number(fields: Mapping[str, object], name: str) -> Decimal | None:
    text = _text(fields, name)
    return Decimal(text) if _NUMBER.fullmatch(text) else None


# -- the accounts --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """
    One account as it stands: how much is used of the limit of its last release.

    `room_at` is when there will be room again, in Unix microseconds; None where there is some now.
    """

    account: Account
    used: Decimal
    limit: Decimal
    per: int
    room_at: int | None


class Budgets:
    """
    The accounts of all rules; times are Unix microseconds.

    One owner, no waiting inside: who asks for room and takes it without a pause between is sure
    of it, however many ask at once.
    """

    def __init__(self, *, accounts: int = ACCOUNTS, exact: int = EXACT, most: int = MOST) -> None:
        self._most_accounts = accounts
        self._exact = exact
        self._most = most
        self._rules: dict[str, dict[Account, _Spent]] = {}
        self._open: OrderedDict[str, list[tuple[Account, int, Decimal]]] = OrderedDict()
        self._now = 0

    def used(self, account: Account, per: int, now: int) -> Decimal | None:
        """What was released within the last `per` seconds; None where there is no place for the account."""
        now = self._at(now)
        accounts = self._rules.get(account.rule, {})
        spent = accounts.get(account)
        if spent is None:
            return ZERO if self._has_place(account.rule, now) else None
        return total(release.amount for release in spent.since(now - per * _MICRO))

    def ask(self, verdict: Verdict, now: int) -> Verdict:
        """The verdict once the accounts are asked (`limited`)."""
        return limited(verdict, lambda claim: self.used(claim.account, claim.per, now))

    def take(self, id: str, takings: Iterable[Taking], now: int) -> None:
        """Take out what the request `id` is released with, whether or not there is room."""
        now = self._at(now)
        taken = []
        for one in takings:
            spent = self._open_account(one.account, now)
            if spent is not None and one.amount > 0:
                spent.limit, spent.per = one.limit, one.per
                spent.add(now, one.amount)
                taken.append((one.account, now, one.amount))
        if taken:
            self._open[id] = taken
            if len(self._open) > OPEN:
                self._open.popitem(last=False)

    def give_back(self, id: str) -> bool:
        """Put back what a request took, once; whether there was anything."""
        taken = self._open.pop(id, [])
        for account, time, amount in taken:
            accounts = self._rules.get(account.rule, {})
            spent = accounts.get(account)
            if spent is not None and time > self._now - LONGEST * _MICRO:
                spent.take_back(time, amount)
                if not spent.releases:
                    del accounts[account]
        return bool(taken)

    def keep(self, id: str) -> None:
        """What a request took stays taken."""
        self._open.pop(id, None)

    def forget_open(self) -> None:
        """What has no outcome so far is kept: nobody is there who could tell it."""
        self._open.clear()

    def learn(self, fields: Mapping[str, object], time: int) -> None:
        """Go on by one ledger entry; those that do not speak of budgets may be left out."""
        self._at(time)
        id, told = _text(fields, "id"), fields.get("budgets")
        if told == RETURNED:
            self.give_back(id)
        elif _text(fields, "decision") in _OPENING:
            self.take(id, _read(told), time)

    def standings(self, now: int) -> list[Standing]:
        """Every account of which something is used, by rule, owner and unit."""
        now = self._at(now)
        return [
            standing
            for _, accounts in sorted(self._rules.items())
            for account, spent in sorted(accounts.items())
            if (standing := _standing(account, spent, now)).used
        ]

    def _at(self, now: int) -> int:
        """The latest time there ever was."""
        self._now = max(self._now, now)
        return self._now

    def _open_account(self, account: Account, now: int) -> _Spent | None:
        accounts = self._rules.setdefault(account.rule, {})
        spent = accounts.get(account)
        if spent is None:
            if not self._has_place(account.rule, now):
                return None
            spent = accounts[account] = _Spent(self._exact, self._most)
        spent.forget(now - LONGEST * _MICRO)
        return spent

    def _has_place(self, rule: str, now: int) -> bool:
        accounts = self._rules.get(rule, {})
        if len(accounts) < self._most_accounts:
            return True
        horizon = now - LONGEST * _MICRO
        for account in [one for one, spent in accounts.items() if spent.newest <= horizon]:
            del accounts[account]
        return len(accounts) < self._most_accounts


_OPENING: Final = frozenset(str(word) for word in Word if word.opens)


def counts_until(fields: Mapping[str, object], time: int) -> int:
    """Until when an entry of this time counts, given back or not, in Unix microseconds; 0 if it does not."""
    if _text(fields, "decision") not in _OPENING:
        return 0
    return max((time + one.per * _MICRO for one in _read(fields.get("budgets"))), default=0)


def fold(entries: Iterable[tuple[Mapping[str, object], int]]) -> Budgets:
    """
    What a ledger's entries leave used; each with its time in Unix microseconds, in their order.

    What then has no outcome yet will never be given back: the run that could have known has ended.
    """
    budgets = Budgets()
    for fields, time in entries:
        budgets.learn(fields, time)
    budgets.forget_open()
    return budgets


def _standing(account: Account, spent: _Spent, now: int) -> Standing:
    window = spent.since(now - spent.per * _MICRO)
    used = total(release.amount for release in window)
    left, room_at = used, None
    for release in window:
        if left < spent.limit:
            break
        left = EXACTLY.subtract(left, release.amount)
        room_at = release.last + spent.per * _MICRO
    return Standing(account, used, spent.limit, spent.per, room_at)


# -- one account ---------------------------------------------------------------------------


@dataclass(slots=True)
class _Release:
    """What left at `last`, with what left shortly before it, from `first` on."""

    first: int
    last: int
    amount: Decimal


def _last(release: _Release) -> int:
    return release.last


class _Spent:
    """The releases of one account, oldest first; the time of each is in the first that is not before it."""

    __slots__ = ("_exact", "_most", "limit", "per", "releases")

    def __init__(self, exact: int, most: int) -> None:
        self._exact = exact
        self._most = most
        self.limit = ZERO
        self.per = 1
        self.releases: list[_Release] = []

    @property
    def newest(self) -> int:
        return self.releases[-1].last if self.releases else -1

    def since(self, begin: int) -> list[_Release]:
        """The releases after `begin`."""
        return self.releases[bisect_right(self.releases, begin, key=_last) :]

    def add(self, time: int, amount: Decimal) -> None:
        """`time` is not before any other."""
        if self.releases and self.newest == time:
            self.releases[-1].amount = EXACTLY.add(self.releases[-1].amount, amount)
            return
        self.releases.append(_Release(time, time, amount))
        if len(self.releases) > self._most:
            self._thin(time)

    def take_back(self, time: int, amount: Decimal) -> None:
        at = bisect_left(self.releases, time, key=_last)
        if at < len(self.releases):
            left = EXACTLY.subtract(self.releases[at].amount, amount)
            self.releases[at].amount = left
            if left <= 0:
                del self.releases[at]

    def forget(self, horizon: int) -> None:
        """Let go of what left at `horizon` or before."""
        del self.releases[: bisect_right(self.releases, horizon, key=_last)]

    def _thin(self, now: int) -> None:
        """Put old releases together with the one after them, where that is late by little for their age."""
        newest = self.releases[-self._exact :]
        thinned: list[_Release] = []
        for release in reversed(self.releases[: -self._exact]):
            after = thinned[-1] if thinned else None
            if after is not None and after.last - release.first <= (now - after.last) // _COARSE:
                after.first = release.first
                after.amount = EXACTLY.add(after.amount, release.amount)
            else:
                thinned.append(release)
        self.releases = [*reversed(thinned), *newest]
