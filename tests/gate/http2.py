"""A raw HTTP/2 agent and a raw HTTP/2 upstream, on hyper-h2, that do what they are told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings

from .conftest import LIMIT, Agent

type Fields = list[tuple[str, str]]


class Agent2:
    """One connection; `acknowledges` False makes it a reader that never reads on."""

    def __init__(self, agent: Agent, authority: str) -> None:
        self.agent = agent
        self.authority = authority
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True,
                header_encoding="utf-8",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.status: dict[int, int] = {}
        self.headers: dict[int, dict[str, str]] = {}
        self.interims: dict[int, list[int]] = defaultdict(list)
        self.body: dict[int, bytes] = defaultdict(bytes)
        self.trailers: dict[int, list[tuple[str, str]]] = {}
        self.received: dict[int, int] = defaultdict(int)
        self.ended: set[int] = set()
        self.reset: dict[int, int] = {}
        self.closed = False
        self.acknowledges = True
        self.keeps = True
        self.changed = asyncio.Event()
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(2**24)
        self.flush()
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while data := await self.agent.reader.read(65536):
                for event in self.h2.receive_data(data):
                    self._happened(event)
                self.flush()
                self.changed.set()
        except OSError:
            pass
        self.closed = True
        self.changed.set()

    def _happened(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                self.headers[event.stream_id] = dict(event.headers)
                self.status[event.stream_id] = int(dict(event.headers)[":status"])
            case h2.events.InformationalResponseReceived():
                self.interims[event.stream_id].append(int(dict(event.headers)[":status"]))
            case h2.events.DataReceived():
                self.received[event.stream_id] += len(event.data)
                if self.keeps:
                    self.body[event.stream_id] += event.data
                if self.acknowledges:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                self.trailers[event.stream_id] = list(event.headers)
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)
            case h2.events.StreamReset():
                self.reset[event.stream_id] = event.error_code

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.agent.writer.write(data)

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Fields | None = None,
        pseudo: Fields | None = None,
        end: bool = True,
    ) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        first = pseudo or [
            (":method", method),
            (":scheme", "https"),
            (":authority", self.authority),
            (":path", path),
        ]
        self.h2.send_headers(stream_id, [*first, *(headers or [])], end_stream=end)
        self.flush()
        return stream_id

    def data(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        self.h2.send_data(stream_id, data, end_stream=end)
        self.flush()

    async def upload(self, stream_id: int, size: int, *, end: bool = True, stall: float = LIMIT) -> int:
        """Send as much as the window takes; returns how much that was when it stalls for so many seconds."""
        sent = 0
        while sent < size:
            window = min(self.h2.local_flow_control_window(stream_id), 16384, size - sent)
            if window <= 0:
                self.changed.clear()
                try:
                    await asyncio.wait_for(self.changed.wait(), stall)
                except TimeoutError:
                    return sent
                continue
            self.data(stream_id, b"x" * window)
            sent += window
            await self.agent.writer.drain()
        if end:
            self.data(stream_id, b"", end=True)
        return sent

    def cancel(self, stream_id: int) -> None:
        self.h2.reset_stream(stream_id, 8)
        self.flush()

    async def until(self, is_so: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT):
            while not is_so():
                self.changed.clear()
                await self.changed.wait()

    async def answer(self, stream_id: int) -> tuple[int, bytes]:
        await self.until(lambda: stream_id in self.ended or stream_id in self.reset or self.closed)
        assert stream_id in self.ended, (self.reset, self.closed)
        return self.status[stream_id], self.body[stream_id]


@dataclass
class Upstream2:
    """Answers each request with 200 and ``ok`` (or what `reply` does), remembering all of them."""

    requests: list[dict[str, str]] = field(default_factory=list)
    bodies: dict[int, bytes] = field(default_factory=lambda: defaultdict(bytes))
    resets: list[int] = field(default_factory=list)
    streams: int = 100
    connections: int = 0
    reply: Callable[[h2.connection.H2Connection, int], None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        conn = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=False, header_encoding="utf-8", validate_outbound_headers=False
            )
        )
        conn.local_settings.max_concurrent_streams = self.streams
        conn.local_settings.acknowledge()
        conn.initiate_connection()
        writer.write(conn.data_to_send())
        try:
            while data := await reader.read(65536):
                for event in conn.receive_data(data):
                    self._happened(conn, event)
                writer.write(conn.data_to_send())
                self.changed.set()
        except OSError:
            pass
        finally:
            writer.close()

    def _happened(self, conn: h2.connection.H2Connection, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self.requests.append(dict(event.headers))
            case h2.events.DataReceived():
                self.bodies[event.stream_id] += event.data
                conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamReset():
                self.resets.append(event.stream_id)
            case h2.events.StreamEnded():
                if self.reply is not None:
                    self.reply(conn, event.stream_id)
                    return
                conn.send_headers(event.stream_id, [(":status", "200"), ("x-up", "1")])
                conn.send_data(event.stream_id, b"ok", end_stream=True)

    async def until(self, is_so: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT):
            while not is_so():
                self.changed.clear()
                await self.changed.wait()
