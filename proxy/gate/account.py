"""What became of one request: how far it got, who heard it, what was decided and then happened, said once."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from proxy.decision import By, Decision, Happened, Outcome, Word
from proxy.gate import Hearing


class Stage(Enum):
    """How far an exchange has got."""

    HEAD = auto()
    READING = auto()  # the body, to be judged
    SENDING = auto()  # the head has left, the body follows as it comes
    SENT = auto()
    PIPE = auto()  # a WebSocket
    OVER = auto()


@dataclass(slots=True)
class Account:
    """
    The books of an exchange.

    `sent` and `received` are body bytes, `status` is what the agent was answered, `clock` is in
    seconds.
    """

    clock: Callable[[], float]
    hearing: Hearing | None = None
    decision: Decision | None = None
    sent: int = 0
    received: int = 0
    status: int | None = None
    since: float = field(default=0.0)

    def decided(self, decision: Decision) -> None:
        """A decision was made; from now on time counts."""
        self.decision = decision
        self.since = self.clock()

    @property
    def held(self) -> bool:
        """Whether a person decided."""
        return self.decision is not None and self.decision.hold is not None

    def conclude(self, happened: Happened, why: str, told: Word | None) -> None:
        """Tell the hearing what happened, where it let the request through; only the first time counts."""
        if self.hearing is None or self.decision is None or not self.decision.word.opens:
            return
        seconds = self.clock() - self.since
        self.hearing.conclude(Outcome(happened, self.status, self.sent, self.received, seconds, why, told))

    def instead(self, word: Word, why: str) -> Decision:
        """What the agent is told instead of upstream's answer."""
        rule = self.decision.rule if self.decision else ""
        hold = self.decision.hold if self.decision else None
        return Decision(word, By.FAULT, rule=rule, why=why, detail=why, hold=hold)


def place(bug: BaseException) -> str:
    """A bug for the log: its kind and where it happened. Its message may quote what an agent sent."""
    frames = reversed(traceback.extract_tb(bug.__traceback__))
    return f"{type(bug).__name__} at " + " < ".join(f"{frame.name}:{frame.lineno}" for frame in frames)
