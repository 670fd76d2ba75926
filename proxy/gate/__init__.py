"""
The gate: the one door to mitmproxy.

A flow comes in, is turned into a `Request`, is heard by admission, and the decision is
enforced. What the gate asks of admission is the two protocols below; `proxy.admission`
implements them, and the gate imports nothing above.
"""

from __future__ import annotations

from typing import Protocol

from proxy.action import Request
from proxy.decision import Answer, By, Decision, Outcome, Word
from proxy.policy.verdict import Keepalive


class Hearing(Protocol):
    """
    One request on its way through admission.

    `decision` is set as soon as one is made: after `Door.receive`, where headers alone
    settle it, else after `judge`. Every hearing ends in exactly one decision, whatever happens.
    `keepalive` is set where a hold opens: what its rules say of interim answers meanwhile.
    """

    decision: Decision | None
    keepalive: Keepalive | None

    async def judge(self, request: Request) -> Decision:
        """
        The decision on a request whose body has been read; waits for people on a hold.

        Never raises (but CancelledError): what goes wrong inside refuses as `unavailable`.
        When it returns a decision that opens, what must be on disk is on disk.
        """
        ...

    async def refuse(self, word: Word, why: str, *, status: int | None = None, by: By = By.FAULT) -> Decision:
        """The gate's own refusal (`unreadable`, `too_large`, `unavailable`), written down."""
        ...

    def leave(self, why: str) -> None:
        """The agent has gone: a hold ends at once as abandoned. May be called at any time, and twice."""
        ...

    def conclude(self, outcome: Outcome) -> None:
        """What happened upstream, once, for a decision that opened. Later calls do nothing."""
        ...


class Door(Protocol):
    """What the gate asks of admission."""

    async def receive(self, request: Request) -> Hearing:
        """
        Hear a request of which the headers have been read; never raises (but CancelledError).

        Give it `body=b""` where there is none: then the hearing may be over at once. With
        `body=None` the decision stays None unless no body could change it. A hold is never
        opened here: the decision stays None, and `judge` opens it.
        """
        ...

    async def malformed(
        self,
        agent: str | None,
        what: str,
        *,
        request: Request | None = None,
        word: Word = Word.UNREADABLE,
        status: int | None = None,
    ) -> Decision:
        """
        Refuse what is never judged, and write that down; never raises (but CancelledError).

        Bytes that are no request (`request` is None), a request that names two addresses
        (421), a tunnel to another protocol's port (`word` is REFUSED). `what` says what is
        wrong with it, in words that may go to the agent.
        """
        ...

    def about(self, request: Request) -> Answer:
        """
        The answer to a request for the gate's own name (`proxy.about.HOST`), whatever it asks for.

        It is no action: neither judged nor written down, and it goes nowhere.
        """
        ...
