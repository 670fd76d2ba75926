"""
The open holds by digest, and what is kept of those that no connection waits for.

How much that may be is bounded for all together, and for each agent below that: whoever leaves
requests behind by the thousand ends its own, and nobody else's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from proxy.hold import OPEN, Hold, State

_LARGEST_UNATTENDED: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much may be kept of holds that no connection waits for: so many, and bytes of their requests.

    The first two are for all agents together, the others for each; an agent that nobody can name is one.
    """

    holds: int = 10_000
    size: int = 64 * 1024 * 1024
    agent_holds: int = 2_500
    agent_size: int = 16 * 1024 * 1024


class Same:
    """Ids by a digest; each is in here once, and its length is how many there are."""

    def __init__(self) -> None:
        self._ids: dict[bytes, dict[str, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, asked: bytes, id: str) -> None:
        """One more."""
        self._ids.setdefault(asked, {})[id] = None
        self._count += 1

    def remove(self, asked: bytes, id: str) -> None:
        """One less; it has been added."""
        ids = self._ids[asked]
        del ids[id]
        self._count -= 1
        if not ids:
            del self._ids[asked]

    def ids(self, asked: bytes) -> tuple[str, ...]:
        """All of them, as they are now."""
        return tuple(self._ids.get(asked, ()))

    def newest(self, asked: bytes) -> str | None:
        """The one that was added last."""
        return next(reversed(self._ids.get(asked, {})), None)


@dataclass(frozen=True, slots=True)
class Amount:
    """So many holds, and the bytes of their requests."""

    holds: int = 0
    size: int = 0

    def of(self, hold: Hold, sign: int = 1) -> Amount:
        """With this hold; without it where `sign` is -1."""
        return Amount(self.holds + sign, self.size + sign * size_of(hold))


class Kept:
    """
    The ids of open holds, by digest: `alone` no connection waits for, `spendable` are those of them
    that are approved, and one waits for those in `attended`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.alone, self.spendable, self.attended = Same(), Same(), Same()
        self.total = Amount()
        self.by_agent: dict[str | None, Amount] = {}

    def add(self, hold: Hold) -> None:
        """An open hold, as it is now."""
        self._index(hold).add(hold.asked, hold.id)
        if hold.state in _ALONE:
            self._count(hold, 1)

    def remove(self, hold: Hold) -> None:
        """An open hold, exactly as it was when it was added."""
        self._index(hold).remove(hold.asked, hold.id)
        if hold.state in _ALONE:
            self._count(hold, -1)

    def ids(self, asked: bytes) -> tuple[str, ...]:
        """All of one digest."""
        return (*self.attended.ids(asked), *self.alone.ids(asked), *self.spendable.ids(asked))

    def too_much(self, hold: Hold) -> bool:
        """Whether more is kept than may be, of all or of its agent, with this hold where it is not yet."""
        total, own = self.total, self.by_agent.get(hold.agent, Amount())
        if hold.state not in _ALONE:
            total, own = total.of(hold), own.of(hold)
        limits = self._limits
        many = total.holds > limits.holds or own.holds > limits.agent_holds
        return many or total.size > limits.size or own.size > limits.agent_size

    def _index(self, hold: Hold) -> Same:
        if hold.state is State.PENDING:
            return self.attended
        return self.spendable if hold.state is State.SPENDABLE else self.alone

    def _count(self, hold: Hold, sign: int) -> None:
        self.total = self.total.of(hold, sign)
        own = self.by_agent.pop(hold.agent, Amount()).of(hold, sign)
        if own.holds:
            self.by_agent[hold.agent] = own


_ALONE: Final = OPEN - {State.PENDING}


def lighter(hold: Hold) -> Hold:
    """An unattended hold does without a large body: whoever comes again brings it."""
    body = hold.action.request.body
    if hold.state is State.UNATTENDED and body is not None and len(body) > _LARGEST_UNATTENDED:
        return without_body(hold)
    return hold


def without_body(hold: Hold) -> Hold:
    """What is kept of an ended hold: 500 bodies of 10 MiB would be a way to fill the memory."""
    action = hold.action.bare()
    return replace(hold, action=replace(action, request=replace(action.request, body=None)))


def bare(hold: Hold) -> Hold:
    """A hold without what was parsed of its body."""
    return replace(hold, action=hold.action.bare())


def size_of(hold: Hold) -> int:
    """The bytes of a hold's request, as far as they are kept."""
    request = hold.action.request
    headers = sum(len(name) + len(value) for name, value in request.headers)
    return len(request.target) + headers + len(request.body or b"")
