"""
What is remembered of holds that have ended, for when the same comes again.

Everything here is bounded, and what has been forgotten is asked again: nothing in here lets
anything through.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, NamedTuple

from proxy import differs
from proxy.action import Request
from proxy.decision import Happened, Outcome, Word
from proxy.hold import Hold, State, key_for, reviewed_digest
from proxy.ledger.past import LIMIT as PAST
from proxy.ledger.past import Past
from proxy.policy.verdict import Verdict

LIMIT: Final = 10_000
"""How many denials, and how many requests that were sent, are remembered."""

LIMIT_SAME: Final = 3
"""How often the same request's having been sent is remembered, the last times."""

LIMIT_EARLIER: Final = 500
"""How many requests are kept to tell a later one's difference."""

# An earlier attempt that has not left: another request for the same place may be its correction, or
# something else in its shadow.
_NOT_SENT: Final = frozenset(State) - {State.PENDING, State.APPROVED, State.PROCEEDED}


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that left: when (Unix seconds), under which hold, and what became of it."""

    hold: str
    time: float
    became: str = "not yet answered"
    edited: str = ""
    answered: bool = False


class Denial(NamedTuple):
    """That people said no to a hold: why, and who they were."""

    hold: str
    reason: str
    reviewers: tuple[str, ...]


class Place(NamedTuple):
    """Where a request goes, whatever it carries."""

    agent: str | None
    method: bytes
    host: str
    path: str


class Recall:
    """
    Denials, requests that were sent, and requests that were not, each for its rule's `remember`.

    `clock` gives Unix time in seconds; `past` is what the ledger knows from before, oldest first.
    """

    def __init__(self, clock: Callable[[], float], past: Sequence[Past] = ()) -> None:
        self._clock = clock
        self._past = past
        self._denied: OrderedDict[bytes, tuple[float, Hold]] = OrderedDict()
        self._sent: OrderedDict[bytes, tuple[float, tuple[Sent, ...]]] = OrderedDict()
        self._earlier: OrderedDict[Place, tuple[float, Hold, differs.Facts]] = OrderedDict()
        self._decisions: OrderedDict[str, Word] = OrderedDict()
        self._forgotten = 0.0  # until then something may have been sent that is no longer known

    # -- learning ----------------------------------------------------------------------

    def ended(self, hold: Hold) -> None:
        """A hold has ended, or its agent has gone; its request's body may still be there."""
        until = self._clock() + hold.verdict.patience.remember
        if hold.state is State.DENIED and not hold.again:  # else it is known already whose denial it was
            _keep(self._denied, hold.asked, (until, _light(hold)), LIMIT)
        own = hold.edit.before if hold.edit else hold  # later ones are compared with what was asked
        if hold.state in _NOT_SENT and own.action.request.body is not None:
            kept = (until, _light(hold), differs.facts(own.action.request))
            _keep(self._earlier, _place(own), kept, LIMIT_EARLIER)

    def decided(self, id: str, word: Word) -> None:
        """What was enforced on a hold; that need not be what people said, where it could not be written."""
        _keep(self._decisions, id, word, LIMIT)

    def sent(self, hold: Hold) -> None:
        """What a hold was about leaves now."""
        self._earlier.pop(_place(hold.edit.before if hold.edit else hold), None)
        now = self._clock()
        by = f"as {', '.join(hold.edit.by)} had edited it, " if hold.edit else ""
        _, before = self._sent.get(hold.asked, (0.0, ()))
        sent = (*before[1 - LIMIT_SAME :], Sent(hold.id, now, edited=by))
        gone = _keep(self._sent, hold.asked, (now + hold.verdict.patience.remember, sent), LIMIT)
        if gone is not None and not all(one.answered for one in gone[1]):
            self._forgotten = max(self._forgotten, gone[0])

    def concluded(self, asked: bytes, id: str, outcome: Outcome) -> None:
        """What became of a request that left, released as `id`; one that failed has not left."""
        until, sent = self._sent.get(asked, (0.0, ()))
        failed = outcome.happened is Happened.FAILED
        left = tuple(
            replace(one, became=_became(outcome), answered=outcome.happened is Happened.COMPLETED)
            if one.hold == id
            else one
            for one in sent
            if not (failed and one.hold == id)
        )
        if left:
            self._sent[asked] = (until, left)
        else:
            self._sent.pop(asked, None)

    # -- remembering -------------------------------------------------------------------

    def denial(self, asked: bytes, request: Request, verdict: Verdict) -> Denial | None:
        """The denial that answers this request too."""
        found = self._denied.get(asked)
        if found is not None and self._clock() < found[0]:
            return Denial(found[1].id, found[1].cause, found[1].by)
        past = self._before(asked, request, verdict, "denied", "approved")
        if past is None or past.decision != "denied":
            return None  # what people said last is what counts
        reason = past.reason
        if reason is None:  # the decision says it, or why the rule asked where there was none
            reason = "" if past.why == verdict.why else past.why
        return Denial(past.again or past.hold, reason, past.reviewers)

    def _before(self, asked: bytes, request: Request, verdict: Verdict, *decisions: str) -> Past | None:
        """
        What was decided of the same request before this gate was started, within its rule's time.

        An entry names what would have left: the request, and the key that its hold added to it.
        """
        since = self._clock() - verdict.patience.remember
        for past in reversed(self._past):
            if past.time <= since:
                return None
            if past.decision not in decisions:
                continue
            if past.about(reviewed_digest(asked, key_for(past.hold, verdict, request))):
                return past
        return None

    def decision(self, id: str) -> Word | None:
        """What was enforced on a hold that has ended."""
        return self._decisions.get(id)

    def notices(self, hold: Hold, twin: Hold | None) -> tuple[str, ...]:
        """What a reviewer has to know first of a new hold."""
        told = []
        sent = self._already(hold)
        if sent is not None:
            time = datetime.fromtimestamp(sent.time, UTC)
            told.append(f"the same was already sent {time:%H:%M:%S} UTC, {sent.edited}{sent.became}")
        if twin is not None:
            told.append(f"the same request also waits as {twin.id[:6]}: a denial answers both")
        return tuple(told)

    def _already(self, hold: Hold) -> Sent | None:
        found = self._sent.get(hold.asked)
        if found is not None and self._clock() < found[0]:
            return found[1][-1]
        past = self._before(hold.asked, hold.action.request, hold.verdict, "approved", "watched")
        if past is None:
            return None
        answered = past.outcome == "completed"
        became = f"answered {past.status}" if answered else "and its answer was lost"
        return Sent(past.hold, past.time, became, answered=answered)

    def in_doubt(self, hold: Hold) -> bool:
        """
        Whether the same was sent and its answer did not come: only a person sends it again.

        So it may have been where more was sent in this time than is remembered.
        """
        now, sent = self._clock(), self._already(hold)
        if sent is not None:
            return not sent.answered
        since = now - hold.verdict.patience.remember
        return now < self._forgotten or (len(self._past) >= PAST and self._past[0].time > since)

    def differences(self, hold: Hold) -> tuple[str, ...]:
        """How a new hold's request differs from one for the same place that was not sent."""
        found = self._earlier.get(_place(hold))
        if found is None or self._clock() >= found[0] or found[1].asked == hold.asked:
            return ()
        before = found[1]
        lines = differs.differences(found[2], differs.facts(hold.action.request))
        stands = "approved, not yet sent" if before.state is State.SPENDABLE else before.state
        return (f"not the same as {before.id[:6]} ({stands}):", *lines) if lines else ()


def _place(hold: Hold) -> Place:
    request = hold.action.request
    return Place(request.agent, request.method, request.host, hold.action.path)


def _became(outcome: Outcome) -> str:
    if outcome.happened is Happened.COMPLETED:
        return f"answered {outcome.status}"
    return "and its answer was lost"


def _light(hold: Hold) -> Hold:
    action = hold.action.bare()
    return replace(hold, action=replace(action, request=replace(action.request, body=None, headers=())))


def _keep[K, V](kept: OrderedDict[K, V], key: K, value: V, limit: int) -> V | None:
    """Keep one more; the oldest, where that has to go."""
    kept[key] = value
    kept.move_to_end(key)
    return kept.popitem(last=False)[1] if len(kept) > limit else None
