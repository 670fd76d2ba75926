"""
The decision that is enforced on one request, and what the agent is told of it.

The words are a contract: scripts, ledgers and agents read them. Only three of them let
anything leave (`Word.opens`); `match` over them has no default that allows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from proxy.action import Request


class Word(StrEnum):
    """What was decided, in the one word that ledger, console and agent share."""

    ALLOWED = "allowed"
    WATCHED = "watched"
    APPROVED = "approved"
    REFUSED = "refused"
    DENIED = "denied"
    EXPIRED = "expired"
    UNATTENDED = "unattended"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    PENDING = "pending"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    UNKNOWN = "unknown"
    ABANDONED = "abandoned"
    CUT_OFF = "cut_off"
    UNSPENT = "unspent"

    @property
    def opens(self) -> bool:
        """Whether the request may leave."""
        return self in _OPEN


class By(StrEnum):
    """Who decided."""

    RULE = "rule"
    REVIEWER = "reviewer"
    DEADLINE = "deadline"
    AGENT = "agent"
    FAULT = "fault"
    GRANT = "grant"


_OPEN: Final = frozenset({Word.ALLOWED, Word.WATCHED, Word.APPROVED})

OWN_NAME: Final = "sluice.invalid"
"""The host under which a gate speaks of itself (`proxy.about`); it leads nowhere else (RFC 6761, 6.4)."""

MAX_DETAIL: Final = 300
"""Bytes of the detail in the `sluice-detail` header; the body has all of it."""


class Told(NamedTuple):
    """How a refusal is told: the HTTP status, its title, and whether asking again may help."""

    status: int
    title: str
    retry: bool


REFUSALS: Final[dict[Word, Told]] = {
    Word.REFUSED: Told(403, "Refused by policy", False),
    Word.DENIED: Told(403, "Refused by a reviewer", False),
    Word.EXPIRED: Told(403, "Nobody answered in time; no person decided", False),
    Word.UNATTENDED: Told(403, "Nobody is there to decide", False),
    Word.UNREADABLE: Told(400, "Malformed or ambiguous request", False),
    Word.TOO_LARGE: Told(413, "Too large to be judged", False),
    Word.PENDING: Told(503, "Waiting for a reviewer; ask again with the same request", True),
    Word.UNAVAILABLE: Told(503, "The gate cannot decide safely; nobody decided anything", True),
    Word.FAILED: Told(502, "Upstream could not be reached; nothing was sent", True),
    Word.UNKNOWN: Told(502, "Sent, but the answer was lost; do not repeat", False),
    # An agent that has gone, or was cut off by a restart, reads none of these; they are
    # here so that no word is without an answer that refuses.
    Word.ABANDONED: Told(503, "The agent left while waiting", True),
    Word.CUT_OFF: Told(503, "The gate cannot decide safely; nobody decided anything", True),
    Word.UNSPENT: Told(503, "Approved, but the agent did not come back for it", True),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A refusal as it goes to the agent (RFC 9457), ready for any HTTP version."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What is enforced on one request, by whom and why; `salt` is its hold's.

    `why` is for the ledger and the console; `detail` is what the agent reads: the reviewer's
    reason or the rule's why, never paths, other rules or a stack trace. `again` is the earlier
    hold whose denial answers this request too, `grant` the grant that let it go unasked. `sends`
    is what leaves where that is not the very request that was judged; `retry_after` (seconds) and
    `follow` (a URL) tell an agent when to ask again, and where to look meanwhile.
    """

    word: Word
    by: By
    rule: str = ""
    rules: tuple[str, ...] = ()
    why: str = ""
    detail: str = ""
    hold: str | None = None
    reviewers: tuple[str, ...] = ()
    status: int | None = None
    digest: bytes = b""
    salt: bytes = b""
    again: str = ""
    grant: str = ""
    sends: Request | None = None
    retry_after: int | None = None
    follow: str = ""

    def answer(self) -> Answer:
        """The refusal that the agent gets; asking it of a decision that opens is a bug."""
        status, title, retry = REFUSALS[self.word]
        if self.status is not None:
            status = self.status
        problem: dict[str, object] = {
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": sayable(self.detail or title),
            "decision": str(self.word),
        }
        if self.rule:
            problem["rule"] = self.rule
        hold = self.hold or self.again
        if hold:
            problem["hold"] = hold
        problem["retry"] = retry
        if self.follow:
            problem["status_url"] = self.follow
        if self.retry_after is not None:
            problem["retry_after"] = self.retry_after
        body = json.dumps(problem, ensure_ascii=True).encode() + b"\n"
        headers: tuple[tuple[bytes, bytes], ...] = (
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"x-should-retry", b"true" if retry else b"false"),
            (b"sluice-decision", str(self.word).encode()),
            # Beside the body, because not every SDK shows that.
            (b"sluice-detail", _in_a_header(self.detail) or _in_a_header(title)),
            (b"link", b'<http://%s/>; rel="help"' % OWN_NAME.encode()),
        )
        if hold:
            headers = (*headers, (b"sluice-hold", hold.encode("ascii", "backslashreplace")))
        if self.retry_after is not None:
            headers = (*headers, (b"retry-after", b"%d" % self.retry_after))
        return Answer(status, headers, body)


def sayable(text: str) -> str:
    """A text without what makes JSON that strict parsers refuse: a reviewer's bytes may be no text."""
    return text.encode("utf-8", "backslashreplace").decode()


def _in_a_header(text: str) -> bytes:
    """A text as a header's value: one line of printable ASCII, anything else as its code."""
    line = " ".join(text.split())
    coded = line.encode("ascii", "backslashreplace").decode()
    printable = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in coded)
    cut = printable if len(printable) <= MAX_DETAIL else f"{printable[: MAX_DETAIL - 3].rstrip()}..."
    return cut.encode("ascii")


class Happened(StrEnum):
    """What then happened upstream to a request that was let through."""

    COMPLETED = "completed"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What happened upstream: sent and answered, not sent at all, or nobody can say.

    `status` is upstream's, `sent` and `received` are body bytes, `seconds` from the decision
    to the end. `why` says in words what went wrong; `decision` is what the agent was told
    instead of an answer (failed, unknown, or refused by the address guard).
    """

    happened: Happened
    status: int | None = None
    sent: int = 0
    received: int = 0
    seconds: float = 0.0
    why: str = ""
    decision: Word | None = None
