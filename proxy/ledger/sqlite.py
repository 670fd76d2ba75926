"""
The embedded ledger: SQLite through aiosqlite, one writer task that owns the one connection.

What is queued while the disk is at work goes to it in one transaction as soon as it is free;
nothing lingers (`proxy.ledger.queue`).

An error of the disk leaves open whether a group was written. Its callers are told so, its
entries are never written again, the connection is closed, and the head is read anew. From
then on nothing is taken until a probe entry has reached the disk.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import aiosqlite

from proxy import chain
from proxy.ledger import Draft, Fields, UnavailableError
from proxy.ledger.anchors import Place
from proxy.ledger.files import Lock, ReplacedError, beside
from proxy.ledger.opening import Ready, Recovered, prepare
from proxy.ledger.pen import TIDY, Group, Line, Pen
from proxy.ledger.queue import ENTRIES, GROUP, Queue, Waiting, unavailable
from proxy.ledger.reserve import Reserve
from proxy.ledger.seal import KEY, Seal
from proxy.ledger.succession import check_places

log = logging.getLogger("sluice")

IDLE: Final = 0.001
"""Seconds without an entry after which the log of writes is copied: nobody waits for it then."""
_DELAYS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
_FULL: Final = "the disk is full: what happens is still written down, nothing new is let through"
_NO_FIELDS: Final[Fields] = {}


class SqliteLedger:
    """
    A `proxy.ledger.Ledger` in one file. `open` is the only way to have one.

    `clock` gives Unix time in seconds, `ticks` seconds that never go back.
    """

    def __init__(
        self, path: Path, lock: Lock, ready: Ready, clock: Callable[[], float], ticks: Callable[[], float]
    ) -> None:
        self.path = path
        self.trouble = ""
        self._lock = lock
        self._clock = clock
        self._ticks = ticks
        self._head = ready.head
        self._seal = ready.seal
        self._signer = ready.signer
        self._cipher = ready.cipher
        self._connection: aiosqlite.Connection | None = None
        self._queue = Queue(ready.time, clock, ticks)
        self._group = Group(())
        self._closing = False
        self._missed = 0
        self._unrecorded = 0
        self._said = ticks()
        self._ended = False
        self._log = 0
        self._reserve = Reserve(beside(path, ".reserve"))
        self._writer: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        key: Path | None = None,
        encrypt: bool = False,
        against: Sequence[Place] = (),
        started: Fields = _NO_FIELDS,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> tuple[SqliteLedger, Recovered]:
        """
        Open a ledger for writing, or make it; `started` are the fields of its `started` entry.

        `key` is the file of the key that signs its head, beside the ledger unless given; with
        `encrypt` payloads are encrypted under a key beside that one (`proxy.ledger.cipher`);
        `against` are places that have seen it, which it must agree with.
        What the run before left open is settled in the same transaction. Raises SluiceError
        where the ledger is elsewhere, in use, from a newer version, or broken.
        """
        await asyncio.to_thread(path.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
        chain.check("started", started)
        lock = Lock(path)
        try:
            ready = await asyncio.to_thread(
                _prepared, path, key or path.with_name(KEY), encrypt, against, int(clock() * 1_000_000)
            )
            ledger = cls(path, lock, ready, clock, ticks)
            await ledger._begin(ready, started)
        except BaseException:
            lock.release()
            raise
        return ledger, ready.recovered

    @property
    def takes(self) -> bool:
        """See `Ledger.takes`."""
        try:
            self._refuse_if_unavailable(patient=False)
        except UnavailableError:
            return False
        return True

    @property
    def head(self) -> tuple[int, bytes]:
        """Sequence number and hash of the last entry on disk."""
        return self._head

    @property
    def seal(self) -> Seal:
        """The signed head of what is on disk."""
        return self._seal

    @property
    def vkey(self) -> str:
        """The key that verifies it, to be kept by whoever verifies."""
        return str(self._signer.key)

    def queue(self, draft: Draft, *, patient: bool = False) -> asyncio.Future[int]:
        """
        See `Ledger.queue`. A draft that cannot be an entry raises `chain.UnfitError`.

        Cancelling the future does not take the entry back.
        """
        try:
            self._refuse_if_unavailable(patient)
        except UnavailableError:
            self._unrecorded += 1
            raise
        ticket: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.add(draft, ticket)
        return ticket

    def note(self, draft: Draft) -> None:
        """See `Ledger.note`. While the disk fails so many are kept, until it can be written again."""
        broken = self.trouble and not self._reserve.given
        self._missed += bool(broken)
        if self._closing or self._ended or (broken and len(self._queue) >= ENTRIES):
            return
        self._queue.add(draft, None)

    async def close(self, why: str = "") -> None:
        """Write what is queued and a `stopped` entry that says why, then close."""
        if self._closing:
            return
        if not self.trouble or self._reserve.given:
            self._say_what_is_unrecorded()
            self._queue.add(Draft("stopped", {"why": chain.cut(why, 1_000)}), None)
        self._closing = True
        self._queue.wake()
        try:
            if self._writer is not None:
                await self._writer
        finally:
            await self._disconnect()
            self._lock.release()

    def _refuse_if_unavailable(self, patient: bool) -> None:
        if self._closing:
            raise unavailable("the ledger is closed")
        if self.trouble:
            raise unavailable(self.trouble)
        self._queue.refuse_if_full(self._group, patient)

    # -- the writer ----------------------------------------------------------------

    async def _begin(self, ready: Ready, started: Fields) -> None:
        """The first transaction: what the run before left, and that this one has started."""
        back = self._queue.set_back(0)
        drafts = [*([] if back is None else [back]), *ready.settlement]
        found = ready.recovered
        uncounted = {"uncounted": found.uncounted} if found.uncounted else {}
        drafts.append(Draft("started", {**started, "clean": found.clean, **uncounted}))
        try:
            await self._connect()
            for at in range(0, len(drafts), GROUP):
                time = self._queue.now()
                await self._write([Line(draft, time) for draft in drafts[at : at + GROUP]])
        except (sqlite3.Error, OSError) as error:
            await self._disconnect()
            raise unavailable(str(error)) from None
        if not await asyncio.to_thread(self._reserve.keep):
            log.warning("there is no room for '%s.reserve': a full disk will not be written down", self.path)
        self._writer = asyncio.create_task(self._run(), name="ledger")

    async def _run(self) -> None:
        try:
            while await self._work():
                taken = self._queue.take()
                try:
                    await self._write([waiting.line for waiting in taken])
                except asyncio.CancelledError:
                    self.trouble = "the ledger's writer was stopped"
                    self._queue.give_up(self.trouble, taken)
                    raise
                except Exception as error:
                    # Whatever it was, a bug of ours too: nothing is taken until a probe is on disk.
                    self._break(taken, error)
                    await self._reopen(error)
                else:
                    self._acknowledge(taken)
        finally:
            self._ended = True
            self.trouble = self.trouble or ("" if self._closing else "the ledger's writer has ended")
            self._queue.give_up(self.trouble)

    async def _work(self) -> bool:
        """
        Wait for something to write; False once there is nothing and there will be nothing.

        True too where nobody has come for a moment, and the log of writes may be copied meanwhile.
        """
        while not self._queue:
            if self._closing:
                return False
            self._queue.sleep()
            if self._reserve.given:
                if not await self._queue.woken(_DELAYS[-1]):
                    await self._resume()
            elif not await self._queue.woken(None if self._log < TIDY else IDLE):
                return True
        return not (self._closing and self.trouble and not self._reserve.given)

    async def _write(self, lines: list[Line]) -> None:
        assert self._connection is not None
        self._group = Group(lines)
        try:
            await self._connection.executemany("a group", [self._group])
            self._log = self._group.log
            if lines:
                assert self._group.seal is not None
                self._head, self._seal = self._group.head, self._group.seal
        finally:
            self._group = Group(())

    def _acknowledge(self, taken: list[Waiting]) -> None:
        first = self._head.seq - len(taken) + 1
        for seq, waiting in enumerate(taken, first):
            if waiting.ticket is not None and not waiting.ticket.done():
                waiting.ticket.set_result(seq)
        # Once a second at most, and with room: what was refused must not crowd out others.
        if self._ticks() - self._said >= 1.0 and not self.trouble and len(self._queue) < ENTRIES // 2:
            self._say_what_is_unrecorded()

    def _say_what_is_unrecorded(self) -> None:
        if self._unrecorded:
            self._said = self._ticks()
            self._queue.add(Draft("unrecorded", {"entries": self._unrecorded}), None)
            self._unrecorded = 0

    # -- when the disk fails -------------------------------------------------------

    def _break(self, taken: list[Waiting], error: Exception) -> None:
        self.trouble = f"the ledger cannot be written: {error}"
        log.error("%s", self.trouble)
        self._missed += len(taken) + len(self._queue)
        self._queue.give_up(self.trouble, taken)

    async def _reopen(self, error: Exception) -> None:
        """Try again, ever more slowly, until a probe entry is on disk, or never where it makes no sense."""
        attempt = 0
        while not self._closing and not isinstance(error, ReplacedError):
            await self._pause(_DELAYS[min(attempt, len(_DELAYS) - 1)])
            attempt += 1
            await asyncio.to_thread(self._reserve.give)
            try:
                await self._probe()
            except Exception as again:
                # As above: while the probe fails, for whatever reason, everything is refused.
                error = again
                continue
            self._missed = 0
            await self._resume()
            return
        self._ended = True
        if not self._closing:
            self.trouble = f"the ledger cannot be written, and will not be until a restart: {error}"
            log.error("%s", self.trouble)

    async def _resume(self) -> None:
        """The disk can be written: with room enough everything is taken again, else what has happened."""
        if await asyncio.to_thread(self._reserve.keep) or not self._reserve.given:
            self.trouble = ""
            log.warning("the ledger can be written again")
        elif self.trouble != _FULL:
            self.trouble = _FULL
            log.error("%s", _FULL)

    async def _probe(self) -> None:
        await self._disconnect()
        await self._connect()
        probe = Draft("recovered", {"in_doubt": self._missed, "why": chain.cut(self.trouble, 1_000)})
        await self._write([Line(probe, self._queue.next_time())])

    async def _pause(self, seconds: float) -> None:
        self._queue.sleep()
        if not self._closing:
            await self._queue.woken(seconds)

    async def _connect(self) -> None:
        path, expected, signer, cipher = self.path, self._head, self._signer, self._cipher
        # Without CREATE: a ledger that is gone is an error, not a new ledger.
        self._connection = await aiosqlite.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=1.0,
            factory=lambda *args, **options: Pen(path, expected, signer, cipher, *args, **options),
        )

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.close()
        except sqlite3.Error as error:
            log.warning("closing the ledger: %s", error)


def _prepared(path: Path, key: Path, encrypt: bool, against: Sequence[Place], now: int) -> Ready:
    if not path.exists():
        check_places(path, key, against, None)
    ready = prepare(path, key, now, encrypt=encrypt)
    check_places(path, key, against, ready.seal)
    return ready
