"""What the runs of one batch share: the gate, its desk, and the moments at which all of them are struck."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from faults.agent import Door
from faults.batches import Batch
from faults.cases import GATE_WIDE, SPREAD, Fault
from faults.gate import Gate, GateError
from faults.journal import Arrival
from faults.people import Board, People
from proxy.ledger.read import entries, reading
from proxy.ledger.verify import verify

GATHERED: Final = 12.0
"""Seconds after which a fault strikes all, whoever has not come to the moment yet."""
JUMPS: Final = (-86_400.0 * 40, -3_600.0, 3_600.0, 86_400.0 * 40)
"""Seconds by which a clock jumps."""
_IDLE: Final = 20.0
_SICK: Final = 1.5
_MARK: Final = re.compile(r"/(m\d+[xy]\d+)", re.ASCII)


def mark_of(url: str) -> str:
    """The mark in a URL, empty where it has none."""
    found = _MARK.search(url)
    return found[1] if found else ""


class Scene:
    """
    One gate and everyone at it.

    `hit` says that a fault of the whole gate strikes or has struck. `gone` is set once the gate has
    ended, `ending` when it is told to stop (`ended` is when), `over` when nothing more will happen.
    `paused` is from when to when everything was paused, by the monotonic clock.
    """

    def __init__(self, batch: Batch, gate: Gate, door: Door) -> None:
        self.batch, self.gate, self.door = batch, gate, door
        self.people = People(gate)
        self.board = Board(self.people, mark_of)
        self.ending, self.over, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._chance = random.Random(batch.seed)
        self._strike, self._struck = asyncio.Event(), asyncio.Event()
        self.hit = False
        self.ended = math.inf
        self.paused: tuple[float, float] | None = None
        self._come: set[str] = set()
        self._idle: set[str] = set()
        self._moved = asyncio.Event()

    # -- the runs' side --------------------------------------------------------------

    async def strike_at(self, mark: str) -> None:
        """A run has come to its moment and goes on as the fault strikes."""
        await self._arrive(mark, self._strike)

    async def struck_at(self, mark: str) -> None:
        """A run has come to its moment and goes on once the fault has struck."""
        await self._arrive(mark, self._struck)

    async def _arrive(self, mark: str, until: asyncio.Event) -> None:
        self._come.add(mark)
        self._moved.set()
        await until.wait()

    def idle(self, mark: str) -> None:
        """A run waits for nothing but its answer, or for the gate to end."""
        self._come.add(mark)
        self._idle.add(mark)
        self._moved.set()

    # -- the conductor's side --------------------------------------------------------

    async def conduct(self) -> None:
        """Strike when all have come to their moment, wait until all are done, and end the gate."""
        if self.batch.fault in GATE_WIDE:
            await self._all(self._come, GATHERED)
            await self._hit()
        await self._all(self._idle, _IDLE)
        self.gate.heal()
        self.end()
        if not self.gone.is_set():
            await asyncio.sleep(0)
            await self._end(signal.SIGKILL if self.batch.kept else signal.SIGTERM)
        self.over.set()

    def end(self) -> None:
        """The gate is told to stop, or has gone."""
        self.ended = min(self.ended, time.monotonic())
        self.ending.set()

    async def _all(self, marks: set[str], patience: float) -> None:
        deadline = time.monotonic() + patience
        while len(marks) < self.batch.runs and (left := deadline - time.monotonic()) > 0:
            self._moved.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), left)

    async def _hit(self) -> None:
        self.hit = True
        self._strike.set()
        await asyncio.sleep(self._chance.uniform(0, 3 * SPREAD))
        match self.batch.fault:
            case Fault.KILL:
                await self._end(signal.SIGKILL)
            case Fault.TERM:
                self.end()
                await self._end(signal.SIGTERM)
            case Fault.FULL:
                self.gate.fill()
            case Fault.LOCKED:
                self.gate.lock()
            case Fault.CLOCK:
                self.gate.shift(self._chance.choice(JUMPS))
            case Fault.PAUSE:
                await self._pause()
            case _:
                raise ValueError(self.batch.fault)
        self._struck.set()
        if self.batch.fault in (Fault.FULL, Fault.LOCKED):
            await asyncio.sleep(_SICK)
            self.gate.heal()
        if self.paused and not self.batch.kept:
            await asyncio.sleep(_SICK)
            self.paused = (self.paused[0], time.monotonic())
            await self.people.resume()

    async def _pause(self) -> None:
        if not await self.people.pause():
            raise GateError("the gate did not pause")
        self.paused = (time.monotonic(), math.inf)

    async def _end(self, number: signal.Signals) -> None:
        await self.gate.stop(number)
        self.gone.set()
        self.end()


def arrivals(folder: Path) -> list[Arrival]:
    """What upstream has counted for one gate."""
    log = folder / "arrivals.jsonl"
    if not log.exists():
        return []
    return [Arrival(**json.loads(line)) for line in log.read_text().splitlines()]


def lines(ledger: Path) -> list[dict[str, object]]:
    """All entries of a ledger so far."""
    with reading(ledger) as connection:
        return [dict(fields) for _, fields in entries(connection)]


def history(ledger: Path, now: float) -> tuple[list[dict[str, object]], str]:
    """
    All entries of a ledger that nobody writes any more, and what `ledger verify` has against it.

    `now` is Unix time in seconds, as late as the gate that wrote it may have thought it.
    """
    report = verify(ledger, now)
    return lines(ledger), "" if report.ok else "; ".join(
        f"entry {one.seq}: {one.what}" for one in report.findings[:3]
    )
