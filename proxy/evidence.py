"""
The ledger of a gate, with its witnesses and with what is kept for how long.

Opened before anything is accepted, if every witness that can be read here agrees with it;
closed after everyone was answered, so that the last head is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from proxy.config import Config
from proxy.ledger import Fields
from proxy.ledger.opening import Recovered
from proxy.ledger.retention import erase_in, expire
from proxy.ledger.seal import KEY
from proxy.ledger.sqlite import SqliteLedger
from proxy.witness.kinds import Nearby, local_places, witness
from proxy.witness.sending import Sending


class Evidence:
    """A ledger and what stands behind it. SluiceError (exit 2) where a witness is none."""

    def __init__(self, config: Config) -> None:
        nearby = Nearby(config.ledger, config.state)
        self._config = config
        self._witnesses = [witness(text, nearby) for text in config.witnesses]
        self._ledger: SqliteLedger | None = None
        self._sending: Sending | None = None
        self._expiring: asyncio.Task[None] | None = None

    async def open(self, started: Fields) -> tuple[SqliteLedger, Recovered]:
        """The ledger; whoever asks closes it, and then this. SluiceError where it may not be used."""
        config = self._config
        self._ledger, recovered = await SqliteLedger.open(
            config.ledger,
            key=config.state / KEY,
            encrypt=config.encrypt_payloads,
            against=list(local_places(self._witnesses)),
            started={**started, "witnesses": [one.name[:300] for one in self._witnesses[:100]]},
        )
        return self._ledger, recovered

    def start(self, changed: Callable[[], None], kept: Callable[[], float | None]) -> None:
        """
        Begin to send heads, and to erase what is too old; `changed` where `trouble` is another.

        `kept` are the seconds for which the policy in force keeps payloads, None where it says nothing.
        """
        ledger, config = self._ledger, self._config
        assert ledger is not None
        self._sending = Sending(
            self._witnesses,
            lambda: ledger.seal,
            ledger.note,
            ticks=time.monotonic,
            max_unanchored=config.max_unanchored,
        )
        self._sending.start(changed)
        expiring = expire(
            config.ledger, ledger, lambda: _shorter(config.keep_payloads, kept()), clock=time.time
        )
        self._expiring = asyncio.create_task(expiring, name="retention")

    async def erase(self, hold: str, reason: str, by: str) -> None:
        """Erase what lies beside the entries of one hold; `hold` is any unique prefix of its id."""
        assert self._ledger is not None
        await erase_in(self._config.ledger, self._ledger, hold, reason, by)

    @property
    def trouble(self) -> str:
        """What is wrong with the witnesses, empty where nothing is."""
        return "" if self._sending is None else self._sending.trouble

    async def close(self) -> None:
        """Stop erasing, and send the last head."""
        if self._expiring is not None:
            self._expiring.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._expiring
        if self._sending is not None:
            await self._sending.close()


def _shorter(one: float | None, other: float | None) -> float | None:
    return min((kept for kept in (one, other) if kept is not None), default=None)
