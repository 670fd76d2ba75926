"""An agent that asks over HTTP/1.1 or HTTP/2, with or without TLS, and can go in every way there is."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from dataclasses import dataclass
from typing import Final, Protocol

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from faults.answers import slam
from faults.cases import Carrier, Case, Fault
from faults.errands import Errand
from faults.journal import Answer, Attempt

_CONNECTING: Final = 20.0
_HOSTS: Final = {"slam": "slam.faults.test", "refuse": "none.faults.test"}


@dataclass(frozen=True, slots=True)
class Door:
    """Where a gate takes requests: its port, its name in the path, and TLS that trusts its CA."""

    port: int
    name: str
    http1: ssl.SSLContext
    http2: ssl.SSLContext

    @classmethod
    def of(cls, port: int, name: str, ca: str) -> Door:
        """The door of a gate whose CA is in the file `ca`."""
        http1, http2 = (ssl.create_default_context(cafile=ca) for _ in range(2))
        http1.set_alpn_protocols(["http/1.1"])
        http2.set_alpn_protocols(["h2"])
        return cls(port, name, http1, http2)


@dataclass(frozen=True, slots=True)
class Asking:
    """The request of a case, the same bytes each time but for the number of the attempt."""

    host: str
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...]


def asking(case: Case, gate: str) -> Asking:
    """What a case asks for."""
    body = json.dumps({"mark": case.mark, "filling": "x" * case.size}).encode()
    path = f"/{gate}/{case.rule}/{case.behaviour}/{case.mark}"
    headers = (("content-type", "application/json"), ("content-length", str(len(body))))
    usual = "h2.faults.test" if case.http2_upstream else "api.faults.test"
    return Asking(_HOSTS.get(case.behaviour, usual), path, body, headers)


def asking_for(errand: Errand, gate: str, amount: int, *, number: int = 0, behaviour: str = "") -> Asking:
    """One request of an errand; `number` makes it another one, 0 is the same each time."""
    behaviour = behaviour or errand.behaviour
    body = json.dumps({"amount": amount, "item": "x", "number": number}).encode()
    path = f"/{gate}/{errand.slug}/{behaviour}/{errand.mark}{f'?n={number}' if number else ''}"
    headers = (("content-type", "application/json"), ("content-length", str(len(body))))
    usual = "h2.faults.test" if errand.http2_upstream else "api.faults.test"
    return Asking(_HOSTS.get(behaviour, usual), path, body, headers)


class Speaker(Protocol):
    """One request on its way."""

    async def ask(self, asking: Asking, number: int) -> None:
        """Send the request."""
        ...

    async def answer(self) -> Answer | None:
        """The answer, None where the connection ended without one."""
        ...

    def cancel(self) -> None:
        """Take the request back, as far as the protocol knows that."""
        ...


class Asked:
    """An attempt that is under way."""

    def __init__(self, attempt: Attempt, speaker: Speaker, writer: asyncio.StreamWriter) -> None:
        self.attempt = attempt
        self._speaker = speaker
        self._writer = writer
        self._leaving = False
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        attempt = self.attempt
        try:
            answer = await self._speaker.answer()
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError, h2.exceptions.ProtocolError):
            answer = None
        if attempt.left is None:
            attempt.answer, attempt.answered = answer, time.monotonic()
            attempt.lost = answer is None and not self._leaving

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self._reading.done()

    async def answered(self, patience: float) -> bool:
        """Wait until it is over; whether it is."""
        await asyncio.wait({self._reading}, timeout=patience)
        return self.over

    async def leave(self, how: Fault, politely: bool = False) -> None:
        """Hang up; an agent that has its answer already leaves nothing."""
        if self.over or self._leaving:
            return
        self._leaving = True
        if how is Fault.STREAM:
            self._speaker.cancel()
        else:
            await self._close(how is Fault.RST, politely)
        if self.attempt.answer is None:  # what came at the same moment is an answer, and no leaving
            self.attempt.left = time.monotonic()

    async def _close(self, reset: bool, politely: bool) -> None:
        if reset:
            slam(self._writer)
        elif politely:
            self._writer.close()
        else:
            self._writer.transport.abort()
        try:
            async with asyncio.timeout(1):
                await self._writer.wait_closed()
        except (OSError, TimeoutError, ssl.SSLError):
            return

    async def close(self) -> None:
        """Let go of everything."""
        self._reading.cancel()
        await asyncio.wait({self._reading})
        self._writer.transport.abort()


async def ask(what: Asking, carrier: Carrier, door: Door, attempt: Attempt) -> Asked:
    """Ask once; returns as soon as all is sent."""
    async with asyncio.timeout(_CONNECTING):
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        speaker: Speaker
        if carrier is Carrier.PLAIN:
            speaker = Http1(reader, writer, f"http://{what.host}")
        else:
            await _tunnel(reader, writer, what.host)
            context = door.http2 if carrier is Carrier.HTTP2 else door.http1
            await writer.start_tls(context, server_hostname=what.host)
            speaker = Http2(reader, writer) if carrier is Carrier.HTTP2 else Http1(reader, writer, "")
        attempt.asked = time.monotonic()
        await speaker.ask(what, attempt.number)
    return Asked(attempt, speaker, writer)


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
    writer.write(f"CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head[:14]:
        raise ConnectionError(f"CONNECT was answered with {head!r:.100}")


class Http1:
    """A request over HTTP/1.1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, origin: str) -> None:
        self._reader, self._writer, self._origin = reader, writer, origin

    async def ask(self, asking: Asking, number: int) -> None:
        lines = (f"{name}: {value}\r\n" for name, value in asking.headers)
        head = (
            f"POST {self._origin}{asking.path} HTTP/1.1\r\nhost: {asking.host}\r\n"
            f"x-request-id: {number}\r\n{''.join(lines)}\r\n"
        )
        self._writer.write(head.encode() + asking.body)
        await self._writer.drain()

    async def answer(self) -> Answer | None:
        interims: list[int] = []
        while True:
            try:
                head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            except asyncio.IncompleteReadError:
                return None
            status = int(head[9:12])
            if status >= 200:
                break
            interims.append(status)
        lines = (line.partition(":") for line in head.split("\r\n")[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in lines}
        length = int(headers.get("content-length", -1))
        try:
            body = await (self._reader.readexactly(length) if length >= 0 else self._reader.read())
        except (OSError, asyncio.IncompleteReadError):
            return told(status, headers, None, interims)
        return told(status, headers, body, interims)

    def cancel(self) -> None:
        self._writer.transport.abort()


class Http2:
    """A request over HTTP/2, on a connection of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self._stream = 0
        self._status = 0
        self._interims: list[int] = []
        self._headers: dict[str, str] = {}
        self._body = b""
        self._unsent = b""
        self._over: bool | None = None

    async def ask(self, asking: Asking, number: int) -> None:
        self._stream = self._h2.get_next_available_stream_id()
        pseudo = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", asking.host),
            (":path", asking.path),
        ]
        self._h2.send_headers(self._stream, [*pseudo, ("x-request-id", str(number)), *asking.headers])
        self._unsent = asking.body
        self._send()

    def _send(self) -> None:
        """As much of the body as the peer's windows take."""
        while self._unsent:
            room = min(self._h2.local_flow_control_window(self._stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                break
            part, self._unsent = self._unsent[:room], self._unsent[room:]
            self._h2.send_data(self._stream, part, end_stream=not self._unsent)
        self._flush()

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._writer.write(data)

    async def answer(self) -> Answer | None:
        while self._over is None:
            data = await self._reader.read(65536)
            if not data:
                self._over = False
                break
            for event in self._h2.receive_data(data):
                self._happened(event)
            self._send() if self._unsent and self._over is None else self._flush()
        if not self._status:
            return None
        return told(self._status, self._headers, self._body if self._over else None, self._interims)

    def _happened(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived(headers=headers):
                self._headers = {str(name): str(value) for name, value in headers or ()}
                self._status = int(self._headers[":status"])
            case h2.events.InformationalResponseReceived(headers=headers):
                said = {str(name): str(value) for name, value in headers or ()}
                self._interims.append(int(said[":status"]))
            case h2.events.DataReceived(data=data, flow_controlled_length=length, stream_id=stream):
                self._body += data or b""
                self._h2.acknowledge_received_data(length or 0, stream or 0)
            case h2.events.StreamEnded():
                self._over = True
            case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                self._over = self._over or False

    def cancel(self) -> None:
        self._h2.reset_stream(self._stream, h2.errors.ErrorCodes.CANCEL)
        self._flush()


def told(status: int, headers: dict[str, str], body: bytes | None, interims: list[int]) -> Answer:
    """What an agent makes of an answer; `body` is None where it did not come whole."""
    answer = Answer(status, headers.get("sluice-decision", ""), interims=tuple(interims))
    if body is None:
        answer.whole = False
    elif answer.decision:
        problem = json.loads(body)
        answer.retry, answer.detail = problem["retry"], problem["detail"]
        answer.hold = problem.get("hold", "")
        if (problem["decision"], problem["status"]) != (answer.decision, status):
            answer.decision = f"{answer.decision} in the head, {problem['decision']} in the body"
    return answer
