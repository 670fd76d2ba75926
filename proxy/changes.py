"""
What a change of policy does to requests: each that gets another answer, and which way it goes.

Pure: for requests out of a ledger (`proxy.replay`), and for requests written down in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from proxy.decode import Facts
from proxy.policy import Policy, answer
from proxy.policy.asked import NO_FACTS
from proxy.policy.difference import Way
from proxy.policy.lines import Given
from proxy.policy.verdict import Effect
from proxy.redact import redact_url
from proxy.replay import Again, Recorded, again, same

UNKNOWN: Final = "unknown"
_STRICTEST: Final = len(Effect)


@dataclass(frozen=True, slots=True)
class Change:
    """
    One request and its answers: effects, ``unreadable``, ``too_large``, or ``unknown``.

    The rules are the first that spoke. `way` is None where the answer is the same, or nobody
    can say.
    """

    method: str
    url: str
    before: str
    after: str
    before_rule: str = ""
    after_rule: str = ""

    @property
    def way(self) -> Way | None:
        """Which way it goes."""
        if self.before == self.after or UNKNOWN in (self.before, self.after):
            return None
        return Way.STRICTER if _strictness(self.after) > _strictness(self.before) else Way.LOOSER


def _strictness(word: str) -> int:
    return Effect[word.upper()] if word in map(str, Effect) else _STRICTEST


def of_requests(
    old: Policy, new: Policy, lines: Iterable[Given], facts: Facts = NO_FACTS
) -> Iterator[Change]:
    """The answers to requests that are there in full; a line that is none is unknown to both."""
    for given in lines:
        if given.request is None:
            yield Change("", f"line {given.id}", UNKNOWN, UNKNOWN)
            continue
        before, after = (answer(policy, given.request, facts) for policy in (old, new))
        yield Change(
            given.request.method.decode("latin-1"),
            redact_url(given.request.url),
            before.decision,
            after.decision,
            before.rule,
            after.rule,
        )


def of_recorded(old: Policy, new: Policy, decisions: Iterable[Recorded]) -> Iterator[Change]:
    """
    The answers to requests out of a ledger, as far as anybody can say.

    Those that no policy was asked about are left out.
    """
    for one in decisions:
        if one.effect is None:
            continue
        before, after = again(old, one, old), again(new, one, old)
        if (before.effect is None or after.effect is None) and same(old, new, one):
            # Whatever it was, it still is.
            known = next((found for found in (before, after) if found.effect is not None), None)
            before = after = known or Again(one.effect, one.rules)
        yield Change(one.method, one.url, _word(before), _word(after), before.rule, after.rule)


def _word(found: Again) -> str:
    return UNKNOWN if found.effect is None else str(found.effect)
