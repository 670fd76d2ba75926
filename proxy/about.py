"""
What an agent may know of the gate that it speaks through: how holds work, and how its own stand.

Served at ``http://sluice.invalid/``, a name that RFC 6761 (6.4) keeps from ever leading anywhere,
so that it means the same through every gate. Reading it is no action: it is not judged, not
dialled and not written down. No rule, path or reviewer is named, and whoever asks for a hold
that is not their own is told the same as of one that never was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from proxy.action import Request
from proxy.decision import OWN_NAME, REFUSALS, Answer, Told, Word, sayable
from proxy.hold import Hold, State
from proxy.policy import Policy
from proxy.policy.rule import Operator
from proxy.policy.verdict import Effect
from proxy.records import iso

HOST: Final = OWN_NAME
URL: Final = f"http://{HOST}/"
MAX_HOSTS: Final = 200
ASK_AGAIN: Final = 5
"""Seconds after which an agent that was deferred may ask again: asking waits for it anyway."""

MAX_ACCEPT: Final = 1_000
"""Bytes of an Accept header that are read."""

_HOLD: Final = re.compile(rb"/holds/([0-9a-z]{1,64})")
_READ: Final = (b"GET", b"HEAD")
_JSON: Final = b"application/json"
_MARKDOWN: Final = b"text/markdown"
_NAMING: Final = frozenset({Operator.IS, Operator.IN, Operator.LIKE})


@dataclass(frozen=True, slots=True)
class Terms:
    """
    What holds at this gate: hosts that rules hold or deny requests to, and the longest body
    (bytes) that is read. `more` hosts are not listed.
    """

    hosts: tuple[str, ...]
    more: int
    body_limit: int

    @classmethod
    def of(cls, policy: Policy, body_limit: int) -> Terms:
        """The terms under a policy."""
        named = {
            str(operand)
            for rule in policy.rules
            if rule.then in (Effect.HOLD, Effect.DENY)
            for line in rule.match
            if line.field == ("host",) and line.operator in _NAMING
            for operand in line.operands
        }
        wide = {pattern.removeprefix("*") for pattern in named if pattern.startswith("*.")}
        apart = sorted(name for name in named if name.startswith("*.") or not _below(name, wide))
        return cls(tuple(apart[:MAX_HOSTS]), max(0, len(apart) - MAX_HOSTS), body_limit)


def _below(host: str, suffixes: set[str]) -> bool:
    """Whether a host is below one of the domains, given as ``.example.com``."""
    return any(host[at:] in suffixes for at, char in enumerate(host) if char == "." and at)


_COME: Final = "approved: send the same request again now, it goes through once"
# An unattended hold waits for its agent, not for people.
_COMES_BACK: Final = {State.DEFERRED: ASK_AGAIN, State.UNATTENDED: 0}


@dataclass(frozen=True, slots=True)
class Standing:
    """
    How one hold stands, for the agent that asked.

    `state` is ``pending``, ``approved`` or how it ended; `deadline` (of the people, or for fetching
    what they approved) is RFC 3339 in UTC; `retry_after` is in seconds, None where there is nothing
    to come back for. `decision` and `detail` are what the agent is told of one that has ended.
    """

    hold: str
    state: str
    deadline: str
    decision: str = ""
    detail: str = ""
    retry_after: int | None = None

    @classmethod
    def of(cls, hold: Hold, decided: Word | None) -> Standing:
        """
        How a hold stands; `decided` is what was enforced in its end, None until that is on disk.

        Until then nothing has been decided: what cannot be written down is not enforced.
        """
        deadline = iso(hold.deadline)
        if hold.state is State.SPENDABLE:
            until = hold.reviews[-1].time + hold.verdict.patience.remember if hold.reviews else hold.deadline
            return cls(hold.id, str(State.APPROVED), iso(until), detail=_COME, retry_after=0)
        if not hold.settled or decided is None:
            return cls(hold.id, str(State.PENDING), deadline, retry_after=_COMES_BACK.get(hold.state))
        detail = hold.cause if decided in (Word.DENIED, Word.REFUSED) else ""
        return cls(hold.id, str(decided), deadline, str(decided), detail)

    def as_dict(self) -> dict[str, object]:
        """The object that the status URL gives; what is not known yet is left out."""
        found: dict[str, object] = {"hold": self.hold, "state": self.state, "deadline": self.deadline}
        if self.decision:
            found["decision"] = self.decision
        if self.detail:
            found["detail"] = sayable(self.detail)
        if self.retry_after is not None:
            found["retry_after"] = self.retry_after
        return found


def answer(
    request: Request, terms: Callable[[], Terms], standing: Callable[[str, str], Standing | None]
) -> Answer:
    """
    The answer to a request for `HOST`, whatever it asks for.

    `standing` is asked for the hold of an id and the agent that asks, and gives None where there
    is none that this agent may know of.
    """
    if request.method not in _READ:
        return _refusal(405, "Method Not Allowed", "only GET is answered here", (b"allow", b"GET, HEAD"))
    path = request.target.partition(b"?")[0]
    if path == b"/":
        if prefers_markdown(request):
            return _page(200, _MARKDOWN + b"; charset=utf-8", markdown(terms()).encode())
        return _page(200, _JSON, _json(described(terms())))
    wanted = _HOLD.fullmatch(path)
    found = standing(wanted[1].decode(), request.agent) if wanted and request.agent else None
    if found is None:
        return _refusal(404, "Not Found", f"there is nothing here for you: {URL} says what there is")
    retry = () if found.retry_after is None else ((b"retry-after", b"%d" % found.retry_after),)
    return _page(200, _JSON, _json(found.as_dict()), *retry)


def prefers_markdown(request: Request) -> bool:
    """
    Whether the Accept header asks for a text to read rather than for JSON (RFC 9110, 12.5.1).

    What takes HTML gets Markdown: there is no HTML here, and a page fetcher can read it.
    """
    weights: dict[bytes, float] = {}
    for part in b",".join(request.header(b"accept"))[:MAX_ACCEPT].lower().split(b","):
        kind, *parameters = (piece.strip() for piece in part.split(b";"))
        weights[kind] = _weight(parameters)
    text = max(weights.get(kind, 0.0) for kind in (_MARKDOWN, b"text/html", b"text/*"))
    return text > weights.get(_JSON, 0.0)


def _weight(parameters: list[bytes]) -> float:
    for one in parameters:
        if one.startswith(b"q=") and re.fullmatch(rb"[01](\.\d{0,3})?", one[2:]):
            return float(one[2:])
    return 1.0


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


def _page(status: int, kind: bytes, body: bytes, *more: tuple[bytes, bytes]) -> Answer:
    headers = (
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"vary", b"accept"),
        *more,
    )
    return Answer(status, headers, body)


def _refusal(status: int, title: str, detail: str, *more: tuple[bytes, bytes]) -> Answer:
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return _page(status, b"application/problem+json", _json(problem), *more)


# -- the text --------------------------------------------------------------------------

_WHAT: Final = (
    "You speak to the network through Sluice, a gate that a person put there. Most requests pass "
    "untouched. A request that its rules call risky is held: it waits, unsent, until a person approves "
    "or denies it. Every decision is written down."
)
_HELD: Final = (
    "A held request looks like a slow one: its connection stays open without an answer, for ten minutes "
    "unless its rule says otherwise. Wait with a long timeout. Nothing has been sent meanwhile. If "
    "approved, you get the answer of the server as if nothing had been between.",
    "If your client gives up, send the same request again within a minute: same method, URL, headers and "
    "body. It goes on under the same hold. A changed request is another one, and is held anew.",
    "`pending` (503 with retry-after, or 202 where you sent `Prefer: respond-async`) means that nobody has "
    "decided yet and that you need not keep a connection open. After retry-after seconds send the very "
    "same request again: that is how an approval is used. `status_url` in that answer says how the "
    "hold stands, and asking it sends nothing.",
)
_REFUSED: Final = (
    "Read `decision` and `detail` in the answer (application/problem+json; the headers sluice-decision, "
    "sluice-hold and sluice-detail say the same).",
    "Where retry is false, do not send it again: after a person's no the same request is refused without "
    "anybody being asked. Do not look for another way to the same effect either. Tell the person you work "
    "for what was refused and why, and go on with what does not need it.",
    "Nobody but a person can approve. `expired` and `unattended` are not a no: nobody looked. Say so, and "
    "ask whether to try again.",
    "After `unknown` the request may have taken effect: look before you repeat it.",
)
_MEANS: Final[Mapping[Word, str]] = {
    Word.REFUSED: "a rule forbids it, or everything is paused",
    Word.DENIED: "a person said no; detail is their reason",
    Word.EXPIRED: "nobody answered in time; no person decided",
    Word.UNATTENDED: "nobody is there to decide; no person decided",
    Word.UNREADABLE: "malformed or ambiguous: two servers could read it differently",
    Word.TOO_LARGE: "the body has to be judged and is over the limit",
    Word.PENDING: "not decided yet; send the same request again after retry-after seconds",
    Word.UNAVAILABLE: "the gate cannot decide safely; nobody decided anything",
    Word.FAILED: "let through, but the server could not be reached; nothing was sent",
    Word.UNKNOWN: "let through and sent, but the answer was lost; do not repeat",
}
_HOSTS: Final = (
    "Some requests to these hosts wait or are refused. A host that is not listed may be "
    "gated too, above all for requests that write."
)


def _told() -> Iterator[tuple[Word, Told, str]]:
    for word, means in _MEANS.items():
        yield word, REFUSALS[word], means


def described(terms: Terms) -> dict[str, object]:
    """The description as JSON values."""
    return {
        "gate": "Sluice",
        "what": _WHAT,
        "held": list(_HELD),
        "refused": list(_REFUSED),
        "decisions": {
            str(word): {"status": told.status, "retry": told.retry, "means": means}
            for word, told, means in _told()
        },
        "status_url": f"{URL}holds/ID",
        "body_limit": terms.body_limit,
        "hosts": {"note": _HOSTS, "names": list(terms.hosts), "more": terms.more},
    }


def markdown(terms: Terms) -> str:
    """The description as Markdown, for a model to read."""
    rows = [
        f"| `{word}` | {told.status} | {'yes' if told.retry else 'no'} | {means} |"
        for word, told, means in _told()
    ]
    more = f"\n\nand {terms.more} more." if terms.more else ""
    return (
        "\n\n".join(
            (
                "# Sluice: a gate between you and the network",
                _WHAT,
                "## When a request is held",
                *_HELD,
                "## When a request is refused",
                *_REFUSED,
                "| decision | status | retry | what happened |\n|---|---|---|---|\n" + "\n".join(rows),
                f"## How a hold of yours stands\n\n`GET {URL}holds/ID`, with the `hold` of a refusal or of "
                "`pending`: `state`, `deadline`, and once it has ended `decision` and `detail`. Only for the "
                "agent that asked.",
                f"## Limits\n\nA body that has to be judged: {terms.body_limit} bytes.",
                f"## Hosts that are gated\n\n{_HOSTS}\n\n"
                + (", ".join(f"`{host}`" for host in terms.hosts) or "No host is named.")
                + more,
            )
        )
        + "\n"
    )
