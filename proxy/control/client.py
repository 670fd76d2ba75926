"""The reviewer's end of the control socket: a `Desk` that is in another process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from proxy.errors import Exit, SluiceError, fail
from proxy.linux import peer as kernel
from proxy.wire import (
    CALL_LIMIT,
    LINE_LIMIT,
    Answer,
    Call,
    Change,
    Desk,
    Failure,
    HoldView,
    Listing,
    Message,
    Offer,
    RollView,
    Sheet,
    Snapshot,
    Standing,
    Status,
    Verb,
    decode,
    encode,
    strange,
)

ANSWER: Final = 60.0
"""Seconds to wait for one answer; it may have to wait for the gate's disk."""


class Wire:
    """One connection to the gate: messages out and in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, call: Call) -> None:
        """Send a call; that the gate has gone is found out by reading. SluiceError for one too long."""
        line = encode(call)
        if len(line) > CALL_LIMIT:
            what = f"what is asked is longer than {CALL_LIMIT} bytes"
            raise fail(what, fix="make it shorter", exit=Exit.NO)
        try:
            self._writer.write(line)
            await self._writer.drain()
        except ConnectionError:
            pass

    async def read(self, patience: float | None = ANSWER) -> Message:
        """The next message; raises what a failure says, and with exit 3 where none comes."""
        try:
            async with asyncio.timeout(patience):
                line = await self._reader.readline()
        except (OSError, ValueError) as error:
            raise _lost(str(error) or "it did not answer in time") from None
        if not line.endswith(b"\n"):
            raise _lost("it closed the connection")
        message = decode(line)
        if isinstance(message, Failure):
            raise message.error()
        return message

    async def snapshot(self, head: Listing | None = None) -> Snapshot:
        """A snapshot, from its lines; `head` is the first of them where it was read already."""
        head = head or _of(Listing, await self.read())
        return Snapshot(head.status, tuple([_of(HoldView, await self.read()) for _ in range(head.count)]))


@dataclass(frozen=True, slots=True)
class ControlDesk(Desk):
    """
    The desk of the gate that listens at `path`, for the reviewer called `name`.

    Without a name, the first that the gate's reviewers file gives to this account.
    """

    path: Path
    name: str | None = None

    async def changes(self) -> AsyncIterator[Snapshot | Change]:
        """As `Desk.changes`; raises SluiceError with exit 3 when the gate stops."""
        async with connected(self.path) as wire:
            await wire.ask(Call(Verb.CHANGES, self.name))
            yield await wire.snapshot()
            while True:
                message = await wire.read(patience=None)
                # A reader who was too slow for the gate is given everything anew.
                if isinstance(message, Listing):
                    yield await wire.snapshot(message)
                else:
                    yield _of(Change, message)

    async def snapshot(self) -> Snapshot:
        """As `Desk.snapshot`."""
        async with connected(self.path) as wire:
            await wire.ask(Call(Verb.SNAPSHOT, self.name))
            return await wire.snapshot()

    async def take(self, call: Call) -> Answer:
        """As `Desk.take`, on a connection of its own."""
        async with connected(self.path) as wire:
            await wire.ask(replace(call, name=self.name))
            answer = await wire.read()
        if not isinstance(answer, HoldView | Status | Offer | Standing | Sheet | RollView):
            raise strange()
        return answer


class GuardedRun:
    """A `sluice run` whose tree the gate guards, from hello to goodbye."""

    def __init__(self, wire: Wire, status: Status) -> None:
        self._wire = wire
        self.status = status

    async def goodbye(self) -> None:
        """Nothing of the agent lives any more: the gate may stop guarding."""
        await self._wire.ask(Call(Verb.RUN_GOODBYE))
        _of(Status, await self._wire.read())

    async def lost(self) -> None:
        """Return once the gate has closed the connection; to be waited for beside the agent."""
        try:
            await self._wire.read(patience=None)
        except SluiceError:
            return


@asynccontextmanager
async def guarded_run(path: Path) -> AsyncIterator[GuardedRun]:
    """
    Have the gate refuse this process and all below it, before an agent is started.

    Leaving without `goodbye` locks the gate's desk, as does the death of this process.
    """
    async with connected(path) as wire:
        await wire.ask(Call(Verb.RUN_HELLO))
        yield GuardedRun(wire, _of(Status, await wire.read()))


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Wire]:
    """A connection to the gate at this path; SluiceError with exit 3 where there is none."""
    try:
        with kernel.address(path) as address:
            reader, writer = await asyncio.open_unix_connection(address, limit=LINE_LIMIT)
    except PermissionError as error:
        raise fail(
            f"the gate at '{path}' does not let this account in",
            error.strerror or str(error),
            "whoever runs it names a group of yours: sluice up --review-group GROUP",
            exit=Exit.UNREACHABLE,
        ) from None
    except OSError as error:
        raise fail(
            f"no running gate could be reached at '{path}'",
            error.strerror or str(error),
            "start one: sluice up; or name its folder with --state",
            exit=Exit.UNREACHABLE,
        ) from None
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def _of[T: Message](type_: type[T], message: Message) -> T:
    if not isinstance(message, type_):
        raise strange()
    return message


def _lost(why: str) -> SluiceError:
    return fail(
        "the gate was lost before it answered",
        f"{why}; whether it did what was asked is in its ledger",
        "sluice ledger show",
        exit=Exit.UNREACHABLE,
    )
