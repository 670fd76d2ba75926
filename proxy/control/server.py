"""
The gate's end of the control socket.

One call a connection, answered and closed; `changes` is answered until the client leaves, and
`run-hello` keeps its connection until goodbye. Who asks is what the kernel says of the peer.
Every line has a limit, every wait a deadline, and a client that does not read is dropped.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
import stat
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from proxy.control.guard import Guard
from proxy.errors import Exit, Problem, SluiceError, fail
from proxy.hold import Reviewer
from proxy.linux import peer as kernel
from proxy.linux.peer import Peer
from proxy.wire import (
    CALL_LIMIT,
    Call,
    Desk,
    Failure,
    Snapshot,
    Verb,
    decode,
    encode,
    snapshot_lines,
)

CONNECTIONS: Final = 128
"""How many clients are served at once, guarded roots not counted."""

LEAVING: Final = 64
"""How many refused clients, beyond those, may still read why."""

LAST_WORDS: Final = 1.0
"""Seconds that a refused client has for that."""

PATIENCE: Final = 10.0
"""Seconds until a client has asked, or has read what it was sent."""

_log = logging.getLogger(__name__)

type DeskFor = Callable[[Reviewer], Desk]


class Names(Protocol):
    """Who an account is, as far as anybody says so."""

    def who(self, uid: int, account: str, name: str | None = None) -> Reviewer:
        """The reviewer, by the name it asks for or its first one; SluiceError (exit 1) where it is none."""
        ...


@dataclass(frozen=True, slots=True)
class Client:
    """One connection: the peer behind it, and its two directions."""

    peer: Peer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, line: bytes) -> None:
        """Send one line; TimeoutError where the client does not read."""
        self.writer.write(line)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def call(self, patience: float | None = PATIENCE) -> Call:
        """The next thing that the client asks, within so many seconds."""
        try:
            async with asyncio.timeout(patience):
                line = await self.reader.readline()
        except ValueError:
            raise fail(f"a call is longer than {CALL_LIMIT} bytes") from None
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the client left")
        message = decode(line)
        if not isinstance(message, Call):
            raise fail("only calls are understood here")
        return message


class ControlServer:
    """The control socket, open from `open` until `close`."""

    def __init__(self, path: Path, desk_for: DeskFor, *, reviewers: Names, guard: Guard) -> None:
        self.path = path
        self._desk_for = desk_for
        self._reviewers = reviewers
        self._guard = guard
        self._clients: set[asyncio.Task[None]] = set()
        self._leaving = 0
        self._server: asyncio.Server | None = None
        self._lock: int | None = None

    @property
    def locked(self) -> str:
        """Why no decision is taken from the socket; empty where one is."""
        return self._guard.locked

    def unlock(self) -> None:
        """Take decisions again (the console of `up` alone calls this)."""
        self._guard.unlock()

    async def open(self, group: int | None = None) -> None:
        """
        Listen; the socket is 0600, or 0660 for the group with this number.

        Raises SluiceError where another gate serves this folder, or the path is something else.
        """
        self._lock = _claim(self.path)
        try:
            bound = _bind(self.path, group)
            self._server = await asyncio.start_unix_server(self._connected, sock=bound, limit=CALL_LIMIT)
        except BaseException:
            os.close(self._lock)
            self._lock = None
            raise

    async def close(self) -> None:
        """Stop listening and let every client go; the socket's name is removed."""
        if self._server is None or self._lock is None:
            return
        self._server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self.path.unlink(missing_ok=True)
        os.close(self._lock)
        self._server = self._lock = None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client(kernel.peer_of(writer.get_extra_info("socket")), reader, writer)
        try:
            await self._answer(client)
        except OSError:
            writer.transport.abort()  # gone, or does not read: nobody to tell, nothing to keep for it
        finally:
            client.peer.close()
            writer.close()

    async def _answer(self, client: Client) -> None:
        try:
            self._guard.screen(client.peer)
            if len(self._clients) - self._guard.roots - self._leaving > CONNECTIONS:
                raise fail(f"{CONNECTIONS} clients are served already", fix="close one", exit=Exit.NO)
            call = await client.call()
            self._guard.check(client.peer, call)
            await self._take(client, call)
            await client.send(b"")
        except SluiceError as error:
            await self._refuse(client, Failure(error.exit, error.problems))
        except OSError:
            raise
        except Exception:
            _log.exception("a call on the control socket failed")
            problem = Problem("the gate failed to answer; nothing may have been done", fix="look at its log")
            await self._refuse(client, Failure(Exit.NO, (problem,)))

    async def _refuse(self, client: Client, failure: Failure) -> None:
        """Say why not, and let a client that is still writing read it before the connection closes."""
        await client.send(encode(failure))
        if self._leaving >= LEAVING:
            return
        self._leaving += 1
        try:
            client.writer.write_eof()
            async with asyncio.timeout(LAST_WORDS):
                while await client.reader.read(CALL_LIMIT):
                    pass
        finally:
            self._leaving -= 1

    async def _take(self, client: Client, call: Call) -> None:
        peer = client.peer
        reviewer = self._reviewers.who(peer.uid, kernel.account(peer.uid), call.name)
        desk = self._desk_for(reviewer)
        match call.verb:
            case Verb.CHANGES:
                await _until_left(client, desk)
            case Verb.SNAPSHOT:
                for line in snapshot_lines(await desk.snapshot()):
                    await client.send(line)
            case Verb.RUN_HELLO:
                await self._attend(client, desk)
            case _:
                await client.send(encode(await desk.take(call)))

    async def _attend(self, client: Client, desk: Desk) -> None:
        """Guard a `sluice run` until it says goodbye; anything else that ends this locks the desk."""
        if client.peer.uid not in (os.geteuid(), 0):
            raise fail("agents of another account do not run behind this gate", exit=Exit.NO)
        root = self._guard.hello(client.peer, client.writer.get_extra_info("socket"))
        try:
            await client.send(encode((await desk.snapshot()).status))
            call = await client.call(patience=None)
            if call.verb is not Verb.RUN_GOODBYE:
                raise fail("after run-hello there is only run-goodbye")
            self._guard.goodbye(root)
        finally:
            self._guard.lose(root)
        await client.send(encode((await desk.snapshot()).status))


async def _until_left(client: Client, desk: Desk) -> None:
    """Send every change until the client hangs up, or says anything more."""
    sending = asyncio.ensure_future(_send_changes(client, desk))
    leaving = asyncio.ensure_future(client.reader.read(1))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        sending.cancel()
        await asyncio.wait({sending, leaving})
    if not sending.cancelled():
        sending.result()


async def _send_changes(client: Client, desk: Desk) -> None:
    changes = desk.changes()
    try:
        async for change in changes:
            if isinstance(change, Snapshot):
                for line in snapshot_lines(change):
                    await client.send(line)
            else:
                await client.send(encode(change))
    finally:
        if isinstance(changes, AsyncGenerator):
            await changes.aclose()


def _claim(path: Path) -> int:
    """Be the only gate of this folder, for as long as the returned descriptor is open."""
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise _served_already(path) from None
    return lock


def _bind(path: Path, group: int | None) -> socket.socket:
    """A socket at this path, its mode set before anyone can connect."""
    _clear(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with kernel.address(path) as address:
            bound.bind(address)
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(0o600 if group is None else 0o660)
    except BaseException:
        bound.close()
        raise
    return bound


def _clear(path: Path) -> None:
    """Remove the socket of a gate that has ended; refuse where one lives, or it is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise fail(
            f"'{path}' is there and is no socket", "it would have to be removed", "move it, or name --state"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, kernel.address(path) as address:
        probe.settimeout(1)
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:
            pass  # whoever it is, it is there
    raise _served_already(path)


def _served_already(path: Path) -> SluiceError:
    return fail(
        f"a gate serves '{path.parent}' already",
        "two gates on one ledger would break its chain",
        "stop the other one, or name another folder with --state",
    )
