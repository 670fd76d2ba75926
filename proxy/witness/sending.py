"""
Sending signed heads to witnesses while a gate runs.

One task a witness, so that a slow one delays no other. Heads wait in a backlog that is sent in
order; it is bounded, and where it is full every second head in it is left out, never the newest:
a later head covers those before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from proxy.chain import cut
from proxy.ledger import Draft
from proxy.ledger.seal import Seal
from proxy.witness import Witness

log = logging.getLogger("sluice")

BACKLOG: Final = 1_024
_AT_ONCE: Final = 64
_LAST: Final = 3.0
_SLOWEST: Final = 60.0


@dataclass(slots=True)
class _Line:
    """
    One witness, and what it has not been sent.

    `since` is when the oldest of that was signed, or when the last of it was sent.
    """

    witness: Witness
    backlog: list[Seal] = field(default_factory=list)
    size: int = 0
    since: float = 0.0
    trouble: str = ""
    late: bool = False
    failures: int = 0

    def add(self, seal: Seal, now: float) -> None:
        renew = self.witness.renew
        due = bool(renew and self.size and not self.backlog and now - self.since >= renew)
        if seal.tree.size <= self.size and not due:
            return
        if not self.backlog:
            self.since = now
        self.size = seal.tree.size
        self.backlog.append(seal)
        if len(self.backlog) > BACKLOG:
            del self.backlog[-2::-2]


class Sending:
    """
    Sends the heads of one ledger to its witnesses until it is closed.

    `seal` gives the newest head; `record` writes an entry down. `ticks` are seconds that never
    go back. A witness that has not kept a head for `max_unanchored` seconds is an alarm.
    """

    def __init__(
        self,
        witnesses: Iterable[Witness],
        seal: Callable[[], Seal],
        record: Callable[[Draft], None],
        *,
        ticks: Callable[[], float],
        max_unanchored: float,
    ) -> None:
        self._lines = [_Line(witness) for witness in witnesses]
        self._seal = seal
        self._record = record
        self._ticks = ticks
        self._max = max_unanchored
        self._changed: Callable[[], None] = lambda: None
        self._closing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, changed: Callable[[], None] = lambda: None) -> None:
        """Begin to send; `changed` is called when `trouble` is another."""
        self._changed = changed
        self._tasks = [
            asyncio.create_task(self._run(line), name=f"witness {line.witness.name}") for line in self._lines
        ]

    @property
    def trouble(self) -> str:
        """Which witnesses do not keep what they are sent, and why; empty where all do."""
        return "; ".join(
            f"{'ALARM: ' if line.late else ''}{line.witness.name} does not keep checkpoints: {line.trouble}"
            for line in self._lines
            if line.trouble
        )

    async def close(self) -> None:
        """Send the newest head once more, for 3 s at most."""
        self._closing.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_LAST)
            for task in late:
                task.cancel()
        for line in self._lines:
            if line.backlog:
                log.warning("%s has not kept the last checkpoint: %s", line.witness.name, line.trouble)

    async def _run(self, line: _Line) -> None:
        while not self._closing.is_set():
            pause = min(line.witness.every * 2 ** min(line.failures, 6), max(_SLOWEST, line.witness.every))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause)
            await self._flush(line)

    async def _flush(self, line: _Line) -> None:
        line.add(self._seal(), self._ticks())
        while line.backlog:
            taken = line.backlog[:_AT_ONCE]
            try:
                await _apart(line.witness, taken)
            except Exception as error:
                # Whatever it was, a bug of ours too: it must not end the sending unseen.
                self._failed(line, str(error))
                return
            del line.backlog[: len(taken)]
            line.since = self._ticks()
        if line.trouble:
            self._kept_again(line)

    def _failed(self, line: _Line, why: str) -> None:
        line.failures += 1
        name, before = line.witness.name, (line.trouble, line.late)
        line.trouble = why or "no reason was given"
        if not before[0]:
            log.warning("%s does not keep checkpoints: %s", name, why)
            self._record(Draft("unwitnessed", {"witness": cut(name, 300), "why": cut(why, 500)}))
        if not line.late and self._ticks() - line.since > self._max:
            line.late = True
            log.error("for %.0f s %s has kept no checkpoint", self._max, name)
            fields = {"witness": cut(name, 300), "seconds": int(self._max), "size": line.size}
            self._record(Draft("unanchored", fields))
        if before != (line.trouble, line.late):
            self._changed()

    def _kept_again(self, line: _Line) -> None:
        line.trouble, line.late, line.failures = "", False, 0
        log.warning("%s keeps checkpoints again", line.witness.name)
        self._record(Draft("witnessed", {"witness": cut(line.witness.name, 300), "size": line.size}))
        self._changed()


async def _apart(witness: Witness, seals: list[Seal]) -> None:
    """
    Send in a thread that nobody waits for at the end.

    The loop's own threads are joined when it closes, and a witness that hangs would hang the gate.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def answer(error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def send() -> None:
        error = None
        try:
            witness.send(seals)
        except Exception as raised:  # whatever it is, it belongs to whoever waits
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(answer, error)

    threading.Thread(target=send, name=f"witness {witness.name}", daemon=True).start()
    await done
