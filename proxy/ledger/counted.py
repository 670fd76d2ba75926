"""
What a `counted` entry says: reads that were let through, and of which only the number is kept.

Pure. Written by a gate under `--record-reads counts`, read by whoever shows or exports a ledger;
what is read is as hostile as any file, and what is no count is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.chain import canonical, cut
from proxy.ledger import Draft, Fields

KIND: Final = "counted"
MAX_RULES: Final = 20
_ROOM: Final = 60_000
"""Bytes of the counts in one entry, which has 65,535 at most."""


@dataclass(frozen=True, slots=True)
class Count:
    """
    The reads of one agent at one host by the same rules.

    `requests` were let through; the others count how such requests ended meanwhile, some of which
    may have been let through before: `answered` by class of status (``2xx``), `failed` and
    `unknown`. `sent` and `received` are body bytes. `agent` is empty where nobody could say.
    """

    agent: str
    host: str
    rules: tuple[str, ...]
    requests: int = 0
    answered: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0
    unknown: int = 0
    sent: int = 0
    received: int = 0

    def words(self) -> str:
        """``uid:ci at api.example.com by default: 50, answered 2xx 49, failed 1``."""
        ends = [f"answered {name} {count}" for name, count in sorted(self.answered.items())]
        ends += [
            f"{name} {count}" for name, count in (("failed", self.failed), ("unknown", self.unknown)) if count
        ]
        whose = f"{self.agent or 'nobody knows who'} at {self.host} by {', '.join(self.rules)}"
        return ", ".join([f"{whose}: {self.requests}", *ends])

    def fields(self) -> dict[str, object]:
        """As an entry has it."""
        rules = [cut(rule, 200) for rule in self.rules[:MAX_RULES]]
        return {
            "agent": cut(self.agent, 300) if self.agent else None,
            "host": cut(self.host, 300),
            "rule": rules[0] if rules else "",
            **({"rules": rules} if len(rules) > 1 else {}),
            "requests": self.requests,
            "completed": dict(self.answered),
            "failed": self.failed,
            "unknown": self.unknown,
            "sent": self.sent,
            "received": self.received,
        }


def drafts(since: str, until: str, policy: str, counts: Iterable[Count]) -> Iterator[Draft]:
    """The entries that hold these counts, as few as they fit into; times are RFC 3339 in UTC."""
    lines: list[dict[str, object]] = []
    requests = weight = 0
    for count in counts:
        line = count.fields()
        size = len(canonical(line)) + 1
        if weight + size > _ROOM:
            yield _draft(since, until, policy, requests, lines)
            lines, requests, weight = [], 0, 0
        lines.append(line)
        requests, weight = requests + count.requests, weight + size
    if lines:
        yield _draft(since, until, policy, requests, lines)


def _draft(since: str, until: str, policy: str, requests: int, lines: list[dict[str, object]]) -> Draft:
    said = {"since": since, "until": until, "policy": policy, "requests": requests, "reads": lines}
    return Draft(KIND, said)


def total(fields: Fields) -> int:
    """How many requests an entry counts."""
    return sum(one.requests for one in counts(fields))


def counts(fields: Fields) -> tuple[Count, ...]:
    """The counts of an entry; empty for one of another kind."""
    lines = fields.get("reads") if fields.get("kind") == KIND else None
    return tuple(_count(line) for line in lines if isinstance(line, dict)) if isinstance(lines, list) else ()


def _count(line: Fields) -> Count:
    rules, answered = line.get("rules"), line.get("completed")
    names = rules if isinstance(rules, list) else [line.get("rule")]
    ends = answered if isinstance(answered, dict) else {}
    return Count(
        agent=_text(line.get("agent")),
        host=_text(line.get("host")),
        rules=tuple(filter(None, map(_text, names))),
        requests=_number(line.get("requests")),
        answered={str(name): _number(count) for name, count in ends.items()},
        failed=_number(line.get("failed")),
        unknown=_number(line.get("unknown")),
        sent=_number(line.get("sent")),
        received=_number(line.get("received")),
    )


def _text(value: object) -> str:
    return value if type(value) is str else ""


def _number(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
