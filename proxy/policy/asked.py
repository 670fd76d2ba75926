"""
Requests written down by people and tools, and what the gate would answer to each.

The story is the gate's own: the headers alone where they settle it, else the whole request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from proxy.action import Action, Request
from proxy.decode import Facts, Unreadable, decode
from proxy.decode.http import read_port
from proxy.errors import fail
from proxy.policy.evaluate import Policy
from proxy.policy.limits import Used, limited, unused
from proxy.policy.verdict import Effect, Verdict

BODY_LIMIT: Final = 10 * 1024 * 1024
NO_FACTS: Final = Facts()

_URL: Final = re.compile(r"(https?)://([^/?#]+)(.*)", re.IGNORECASE | re.DOTALL)
_AUTHORITY: Final = re.compile(r"(\[[^\[\]]*\]|[^\[\]:@]+)(?::([^@]*))?")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PORTS: Final = {"http": 80, "https": 443}


def request(
    method: str,
    url: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    agent: str | None = None,
) -> Request:
    """
    A request as an agent would send it; Host and Content-Length are added where they are missing.

    Only what cannot be sent at all is refused here (SluiceError); all else is for the decoder to judge.
    """
    found = _URL.fullmatch(url)
    authority = _AUTHORITY.fullmatch(found[2]) if found else None
    if found is None or authority is None:
        raise fail(
            f"'{url[:200]}' is no URL of a request", fix="write it as in https://api.example.com/v1/items"
        )
    scheme, host, rest = found[1].lower(), authority[1], found[3]
    target = rest if rest.startswith("/") else f"/{rest}"
    try:
        port = _PORTS[scheme] if authority[2] is None else read_port(authority[2])
        sent = [(_name(name), _value(value)) for name, value in headers]
        names = {name.lower() for name, _ in sent}
        if b"host" not in names:
            named = host if port == _PORTS[scheme] else f"{host}:{port}"
            sent.insert(0, (b"host", named.encode("utf-8")))
        if body and not names & {b"content-length", b"transfer-encoding"}:
            sent.append((b"content-length", b"%d" % len(body)))
        bare = host.removeprefix("[").removesuffix("]")
        return Request(
            agent, method.encode("utf-8"), scheme, bare, port, target.encode("utf-8"), tuple(sent), body
        )
    except UnicodeEncodeError:
        raise fail("half a surrogate pair in the request", fix="write it as UTF-8") from None
    except Unreadable as reason:
        raise fail(str(reason)) from None


def _name(name: str) -> bytes:
    if not _HEADER_NAME.fullmatch(name):
        raise fail(f"'{name[:100]}' is no header's name", fix="write it as in content-type")
    return name.encode("ascii")


def _value(value: str) -> bytes:
    if any(char in value for char in "\r\n\0"):
        raise fail("a header's value has a line end or a NUL", "it would end the header")
    return value.encode("utf-8")


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What the gate would do: `decision` is an effect, `unreadable` or `too_large`.

    `verdict` is None for these two. `action` is what was judged: its body is unread where the headers
    settled it.
    """

    decision: str
    why: str
    action: Action
    verdict: Verdict | None = None

    @property
    def rule(self) -> str:
        """The first rule that spoke, empty where none was asked."""
        return self.verdict.rule if self.verdict else ""

    @property
    def rules(self) -> tuple[str, ...]:
        """All rules that spoke."""
        return self.verdict.rules if self.verdict else ()


def answer(
    policy: Policy,
    asked: Request,
    facts: Facts = NO_FACTS,
    *,
    body_limit: int = BODY_LIMIT,
    used: Used = unused,
) -> Answer:
    """The gate's answer to one request, its body in hand; `used` says what its budgets have left."""
    head = decode(replace(asked, body=None) if asked.body else asked, facts)
    if head.unreadable is not None:
        return Answer("unreadable", head.unreadable, head)
    verdict = limited(policy.judge(head), used)
    if head.complete or (verdict.settled and verdict.effect is not Effect.HOLD):
        return Answer(str(verdict.effect), verdict.why, head, verdict)
    if len(asked.body or b"") > body_limit:
        return Answer("too_large", f"a rule needs the body, and it is over {body_limit} bytes", head)
    action = decode(asked, facts)
    if action.unreadable is not None:
        return Answer("unreadable", action.unreadable, action)
    verdict = limited(policy.judge(action), used)
    return Answer(str(verdict.effect), verdict.why, action, verdict)
