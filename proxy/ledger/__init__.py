"""
What every ledger promises.

History only grows: an entry is written once, after the one before it, and never changes.
The one in use is `proxy.ledger.sqlite`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from proxy.errors import SluiceError

type Fields = Mapping[str, object]
"""The fields of an entry: str, int, bool, None, lists and mappings of them; no floats."""


class UnavailableError(SluiceError):
    """Nothing can be written down now, so nothing may be let through."""


@dataclass(frozen=True, slots=True)
class Draft:
    """
    An entry to be: its kind, its fields, and optionally a payload beside it.

    `digest` is the digest of the request the entry is about (32 bytes); the entry carries only
    SHA-256(tag, salt, digest), and the salt lies with the payload, so that erasing it erases.
    `payload` is what may be erased later (already redacted), committed to in the same way. With a
    `salt` (16 random bytes) the commitments are made with that one: entries that share it can be
    seen to be about the same request.
    """

    kind: str
    fields: Fields
    digest: bytes | None = None
    payload: bytes | None = None
    salt: bytes | None = None


class Ledger(Protocol):
    """Where decisions are written down."""

    def queue(self, draft: Draft, *, patient: bool = False) -> asyncio.Future[int]:
        """
        Put one entry at the end of the queue; entries reach the disk in this order.

        `patient` is for what waits for the disk anyway: a slow one does not refuse it.

        The future has the entry's sequence number once it survives a power cut; when it
        raises UnavailableError, assume nothing about whether the entry was written. Raises
        UnavailableError at once where the queue is full, older than its limit, or the ledger
        is broken.
        """
        ...

    def note(self, draft: Draft) -> None:
        """
        Queue an entry about something that has already happened (an outcome).

        Never refused for a full queue: what happened, happened. Does nothing on a broken ledger.
        """
        ...

    @property
    def takes(self) -> bool:
        """Whether an entry that is queued now would be taken; for what is let through and only counted."""
        ...

    @property
    def head(self) -> tuple[int, bytes]:
        """Sequence number and hash of the last entry on disk."""
        ...

    async def close(self) -> None:
        """Write what is queued, then close. Queuing afterwards raises UnavailableError."""
        ...
