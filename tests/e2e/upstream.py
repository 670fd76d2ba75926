"""
An API of the tests' own, over TLS on loopback, which remembers every request that really came.

The other end of every promise: what is not here has not left the gate.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from proxy.demo.authority import Authority

MIB = 2**20
LARGE = 50 * MIB
"""Bytes of the body at ``/large``."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that came; header names in lower case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key == name)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API says to a request."""

    status: int = 200
    body: bytes = b'{"ok":  true}'  # two blanks: who writes the JSON anew is found out
    type: str = "application/json"

    def wire(self) -> bytes:
        head = (
            f"HTTP/1.1 {self.status} Said\r\n"
            f"content-type: {self.type}\r\ncontent-length: {len(self.body)}\r\n"
            "x-said-by: upstream\r\nsluice-decision: approved\r\n\r\n"
        )
        return head.encode() + (b"" if self.status == 204 else self.body)


class Upstream:
    """
    All of `hosts` on one port. `answers` is by method and path, others get `Answer()`.

    Some paths do more: ``/lost`` hangs up instead of answering, ``/events`` sends one event for
    each `say`, ``/large`` is 50 MiB, ``/echo`` is a WebSocket.
    """

    def __init__(
        self,
        authority: Authority,
        hosts: Sequence[str],
        answers: Mapping[tuple[str, str], Answer] | None = None,
    ) -> None:
        self.hosts = hosts
        self.port = 0
        self._answers = answers or {}
        self._tls = authority.server_context(hosts)
        self._arrivals: list[Arrival] = []
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._events: asyncio.Queue[bytes] = asyncio.Queue()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @staticmethod
    async def _end() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    @property
    def flags(self) -> list[str]:
        """What sends a gate's connections for these hosts here."""
        return [f"--resolve={host}:443:127.0.0.1:{self.port}" for host in self.hosts]

    @property
    def arrivals(self) -> list[Arrival]:
        """Everything that came, in order."""
        with self._changed:
            return list(self._arrivals)

    def got(self, part: str) -> list[Arrival]:
        """What came whose target has this part."""
        return [arrival for arrival in self.arrivals if part in arrival.target]

    def wait_for(self, part: str) -> Arrival:
        """The first that comes whose target has this part."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(part in one.target for one in self._arrivals), 20)
        return self.got(part)[0]

    def say(self, event: bytes) -> None:
        """One event for the reader of ``/events``; an empty one ends it."""
        self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    # -- one connection ------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (arrival := await _read(reader)) is not None:
                with self._changed:
                    self._arrivals.append(arrival)
                    self._changed.notify_all()
                if not await self._answer(arrival, reader, writer):
                    return
        except OSError:
            return  # a client that goes in the middle is no news
        finally:
            writer.close()

    async def _answer(
        self, arrival: Arrival, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; whether the connection goes on."""
        path = arrival.target.partition("?")[0]
        if path.startswith("/lost"):
            return False
        if path == "/echo":
            await _echo(arrival, reader, writer)
            return False
        if path == "/events":
            await _chunked(writer, "text/event-stream", self._said())
        elif path == "/large":
            await _chunked(writer, "application/octet-stream", _blocks())
        else:
            writer.write(self._answers.get((arrival.method, path), Answer()).wire())
            await writer.drain()
        return True

    async def _said(self) -> AsyncIterator[bytes]:
        while event := await self._events.get():
            yield event


async def _read(reader: asyncio.StreamReader) -> Arrival | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    pairs = [line.split(": ", 1) for line in lines]
    headers = tuple((name.lower(), value) for name, value in pairs)
    told = dict(headers)
    if "transfer-encoding" in told:
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(told.get("content-length", 0)))
    return Arrival(method, target, headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readline()
    return bytes(body)


async def _chunked(writer: asyncio.StreamWriter, type: str, parts: AsyncIterator[bytes]) -> None:
    writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {type}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    async for part in parts:
        writer.write(b"%x\r\n%s\r\n" % (len(part), part))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _blocks() -> AsyncIterator[bytes]:
    for number in range(LARGE // MIB):
        yield bytes([number]) * MIB


def large_digest() -> str:
    """SHA-256 of what ``/large`` sends."""
    hashed = hashlib.sha256()
    for number in range(LARGE // MIB):
        hashed.update(bytes([number]) * MIB)
    return hashed.hexdigest()


_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def _accepts(key: str) -> str:
    """What a WebSocket server answers to a key (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


async def _echo(arrival: Arrival, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A WebSocket that sends every short message back (RFC 6455, masked in, plain out)."""
    accept = _accepts(arrival.header("sec-websocket-key"))
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-accept: %s\r\n\r\n" % accept.encode()
    )
    while head := await reader.read(1):
        length = (await reader.readexactly(1))[0] & 0x7F
        mask = await reader.readexactly(4)
        masked = await reader.readexactly(length)
        plain = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
        writer.write(head + bytes([length]) + plain)
        await writer.drain()
        if head[0] & 0x0F == 0x8:  # close
            return
