"""
Bugs to be found: each puts one into the gate of `faults.stage`, and the suite has to say so.

None of them is reachable from the product, and each names the promise that it breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final


def release_before_write() -> None:
    """Let a request leave as soon as its entry is queued (promise 2)."""
    from proxy.admission import Admission

    opened = Admission.opened

    async def hasty(self: Admission, decision: Any, draft: Any, *, wait: bool) -> Any:
        return await opened(self, decision, draft, wait=False)

    Admission.opened = hasty  # type: ignore[method-assign]


def no_disconnect_watch() -> None:
    """Never notice that an agent has gone while its request waits (promise 3)."""
    from proxy.gate.waiting import Waiting

    Waiting._leave = lambda self, why: None  # type: ignore[method-assign]


def one_reviewer_counts_twice() -> None:
    """Take two names of one account for two people (promise 1: four eyes)."""
    from proxy.reviewers import Reviewers

    who = Reviewers.who

    def each_name(self: Reviewers, uid: int, account: str, name: str | None = None) -> Any:
        found = who(self, uid, account, name)
        return replace(found, person=f"name:{found.name}")

    Reviewers.who = each_name  # type: ignore[method-assign]


def sent_again_when_the_answer_is_lost() -> None:
    """Send a request once more when upstream hangs up, as clients like to do (promise 3: once)."""
    from proxy.gate.exchange import Exchange

    lost = Exchange._lost

    def again(self: Any, why: str) -> Any:
        if self.permit is None or self.account.status is not None or hasattr(self, "sent_again"):
            yield from lost(self, why)
        else:
            self.sent_again = True
            yield from self._send(self.permit.body)

    Exchange._lost = again  # type: ignore[method-assign]


def silence_told_as_a_denial() -> None:
    """Tell an agent that a person denied what nobody has answered (promise 5)."""
    from proxy.admission import holding
    from proxy.decision import By, Word
    from proxy.hold import State

    holding._ENDS[State.EXPIRED] = (Word.DENIED, By.REVIEWER)


def end_not_written() -> None:
    """Leave a hold without an end in the ledger where nobody waits for it (promise 7)."""
    from proxy.admission import Admission
    from proxy.decision import Word

    Admission._write_end = lambda self, hold: self.recorded(hold.id, Word.UNAVAILABLE)  # type: ignore


PLANTS: Final[Mapping[str, Callable[[], None]]] = {
    "release-before-write": release_before_write,
    "no-disconnect-watch": no_disconnect_watch,
    "one-reviewer-counts-twice": one_reviewer_counts_twice,
    "sent-again-when-the-answer-is-lost": sent_again_when_the_answer_is_lost,
    "silence-told-as-a-denial": silence_told_as_a_denial,
    "end-not-written": end_not_written,
}
