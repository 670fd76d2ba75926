"""
Allowed reads as counts, where not each of them is written down (`--record-reads counts`).

Counted is only what tells nothing new: a read that rules let through by themselves, of an agent
that has done the like there before, with the credential and the recipients that it had then. All that
later decisions stand on (first uses, budgets, holds, grants) is written each.

Counts lie in memory for a minute at most. That is what a crash loses, and the `started` entry
of the next run says so.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.action import Action, Values
from proxy.decision import Happened, Outcome
from proxy.ledger.counted import Count, drafts
from proxy.policy.verdict import Effect, Verdict
from proxy.records import iso

if TYPE_CHECKING:
    from proxy.admission import Admission

MINUTE: Final = 60.0
"""Seconds after the first count that all of them are written."""
KEYS: Final = 500
"""How many are counted apart; one more, and they are written at once."""

_READ: Final = Values(("read",))
_NO: Final = Values(("false",))
_FIRST_USES: Final = tuple(("first_seen", name) for name in ("host", "operation", "credential", "recipient"))


class Key(NamedTuple):
    """What is counted apart: the policy's digest, who asked, where, and the rules that let it through."""

    policy: str
    agent: str
    host: str
    rules: tuple[str, ...]


@dataclass(slots=True)
class _Tally:
    requests: int = 0
    answered: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    unknown: int = 0
    sent: int = 0
    received: int = 0

    def count(self, key: Key) -> Count:
        ends = (dict(self.answered), self.failed, self.unknown, self.sent, self.received)
        return Count(key.agent, key.host, key.rules, self.requests, *ends)


class Counting:
    """
    The counts since the last entry of them; event loop only.

    `within` is in seconds. What was counted is written then, before there are more than `KEYS`, and by
    `close`.
    """

    def __init__(self, admission: Admission, within: float = MINUTE) -> None:
        self._admission = admission
        self._within = within
        self._tallies: dict[Key, _Tally] = {}
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, action: Action, verdict: Verdict) -> Key | None:
        """
        Count a request that is let through; None where it has to be written down.

        While the ledger takes nothing, nothing is counted: whoever asks is refused as ever.
        """
        admission = self._admission
        if not admission.rules.counts or admission.rules.shadow or self._closed:
            return None
        if not countable(action, verdict) or not admission.ledger.takes:
            return None
        key = Key(verdict.policy, action.request.agent or "", action.host, verdict.rules)
        self._tally(key).requests += 1
        admission.counts.allowed += 1
        return key

    def concluded(self, key: Key, outcome: Outcome) -> None:
        """What happened upstream to a request that was counted."""
        tally = self._tally(key)
        match outcome.happened:
            case Happened.COMPLETED:
                name = f"{(outcome.status or 0) // 100}xx"
                tally.answered[name] = tally.answered.get(name, 0) + 1
            case Happened.FAILED:
                tally.failed += 1
            case Happened.UNKNOWN:
                tally.unknown += 1
        tally.sent += outcome.sent
        tally.received += outcome.received

    def write(self) -> None:
        """Write down what has been counted so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        since, until = iso(self._since), iso(max(self._since, self._admission.clock()))
        tallies, self._tallies = self._tallies, {}
        for policy, keys in groupby(sorted(tallies), key=lambda key: key.policy):
            for draft in drafts(since, until, policy, [tallies[key].count(key) for key in keys]):
                self._admission.ledger.note(draft)

    async def close(self) -> None:
        """Write what is left; from now on nothing is counted."""
        self.write()
        self._closed = True

    def _tally(self, key: Key) -> _Tally:
        found = self._tallies.get(key)
        if found is not None:
            return found
        if len(self._tallies) >= KEYS:
            self.write()
        if not self._tallies:
            self._since = self._admission.clock()
            self._timer = asyncio.get_running_loop().call_later(self._within, self.write)
        return self._tallies.setdefault(key, _Tally())


def countable(action: Action, verdict: Verdict) -> bool:
    """Whether an entry for this request alone would tell no more than a count does."""
    return (
        verdict.effect is Effect.ALLOW
        and not verdict.budgets
        and not action.members
        and action.read(("consequence",)) == _READ
        and all(action.read(name) == _NO for name in _FIRST_USES)
    )
