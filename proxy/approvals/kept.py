"""
What is kept of holds that no connection waits for: how many, how much of each, and by which digest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from proxy.hold import Hold, State

_LARGEST_UNATTENDED: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be kept of holds that no connection waits for: so many, and bytes of their requests."""

    holds: int = 10_000
    size: int = 64 * 1024 * 1024


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

    def newest(self, asked: bytes) -> str | None:
        """The one that was added last."""
        return next(reversed(self._ids.get(asked, {})), None)


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
