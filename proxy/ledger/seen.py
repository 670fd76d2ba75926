"""
What an agent has done before: a fold over the decisions that let something leave.

Pure, and bounded: beyond its limit it learns nothing new, and what it has not learned is new.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.decision import Word
from proxy.ledger import Fields

LIMIT: Final = 100_000
_OPEN: Final = frozenset(str(word) for word in Word if word.opens)


class Seen:
    """
    Hosts, operations and credentials that each agent has used, and whom it has reached.

    Credentials and recipients are short keyed hashes, never the thing itself. Nothing is ever forgotten.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._members: set[tuple[str, ...]] = set()
        self._first: dict[tuple[str, str], str] = {}

    def __len__(self) -> int:
        return len(self._members) + len(self._first)

    @property
    def full(self) -> bool:
        """Whether it has stopped learning."""
        return len(self) >= self._limit

    def add(self, fields: Fields) -> None:
        """
        Learn from the fields of a `decided` entry; one that let nothing leave teaches nothing.

        Neither does one that flowed under `--shadow` alone: nobody has said that it may.
        """
        if _text(fields, "decision") not in _OPEN or _only_in_shadow(fields):
            return
        agent, host = _text(fields, "agent"), _text(fields, "host")
        operation, credential = _text(fields, "operation"), _text(fields, "credential")
        if host:
            self._learn(("host", agent, host))
        if operation:
            self._learn(("operation", agent, host, operation))
        recipients = fields.get("recipients")
        for recipient in recipients if isinstance(recipients, list) else ():
            if type(recipient) is str:
                self._learn(("recipient", agent, recipient))
        if host and credential:
            self._learn(("credential", agent, host, credential))
            if (agent, host) not in self._first and not self.full:
                self._first[agent, host] = credential

    def _learn(self, member: tuple[str, ...]) -> None:
        if not self.full:
            self._members.add(member)

    def new_host(self, agent: str | None, host: str) -> bool:
        """Whether this agent has not been let through to this host before."""
        return ("host", agent or "", host) not in self._members

    def new_operation(self, agent: str | None, host: str, operation: str) -> bool:
        """Whether this agent has not been let do this at this host before."""
        return ("operation", agent or "", host, operation) not in self._members

    def new_recipient(self, agent: str | None, recipient: str) -> bool:
        """Whether this agent has not reached this recipient (its keyed hash) before."""
        return ("recipient", agent or "", recipient) not in self._members

    def new_credential(self, agent: str | None, host: str, credential: str) -> bool:
        """Whether this agent has not used this credential at this host before."""
        return ("credential", agent or "", host, credential) not in self._members

    def other_credential(self, agent: str | None, host: str, credential: str) -> bool:
        """
        Whether this is another credential than the first one of this agent at this host.

        Where there was none yet it is another one too: what the first one is, is learned from
        what was released, and until then nobody has said that it may be this one.
        """
        return self._first.get((agent or "", host)) != credential


def fold(decided: Iterable[Fields], limit: int = LIMIT) -> Seen:
    """What a ledger's entries teach (`read.entries` with the kind ``decided`` gives them)."""
    seen = Seen(limit)
    for fields in decided:
        seen.add(fields)
    return seen


def _only_in_shadow(fields: Fields) -> bool:
    return fields.get("shadow") is True and _text(fields, "effect") not in ("allow", "watch")


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return value if type(value) is str else ""
