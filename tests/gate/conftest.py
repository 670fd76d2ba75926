"""A gate over real sockets: a door of our own, upstreams that count, raw agents."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.action import Request
from proxy.decision import Answer, By, Decision, Outcome, Word
from proxy.gate import Hearing
from proxy.gate.ca import open_authority
from proxy.gate.embedding import Gate, GateConfig
from proxy.policy.verdict import Keepalive

LIMIT = 10.0
"""Seconds after which a test gives up waiting."""


@dataclass
class SmallHearing:
    """A hearing of the door below: the path says what becomes of a request."""

    door: SmallDoor
    request: Request
    decision: Decision | None = None
    keepalive: Keepalive | None = None
    left: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def judge(self, request: Request) -> Decision:
        self.request = request
        self.door.judged.append(request)
        path = request.target
        if b"bug-in-judge" in path:
            raise ValueError("planted")
        if b"hold" in path:
            self.keepalive = self.door.keepalive
            self.door.waiting.append(self)
            self.door.changed()
            if not self.left:
                await self.released.wait()
            if self.left:
                return self.settle(Decision(Word.ABANDONED, By.AGENT, hold="h1", why=self.left[0]))
            if self.door.denies:
                word = self.door.denies
                return self.settle(Decision(word, By.REVIEWER, rule="r", hold="h1", detail="amount too high"))
            return self.settle(Decision(Word.APPROVED, By.REVIEWER, rule="r", hold="h1"))
        if b"refuse" in path:
            return self.settle(Decision(Word.REFUSED, By.RULE, rule="r", detail="no"))
        return self.settle(Decision(Word.ALLOWED, By.RULE, rule="r"))

    def settle(self, decision: Decision) -> Decision:
        self.decision = decision
        self.door.decided.append(decision)
        self.door.changed()
        return decision

    async def refuse(self, word: Word, why: str, *, status: int | None = None, by: By = By.FAULT) -> Decision:
        return self.settle(Decision(word, by, why=why, detail=why, status=status))

    def leave(self, why: str) -> None:
        self.left.append(why)
        self.released.set()
        self.door.changed()

    def conclude(self, outcome: Outcome) -> None:
        if not self.outcomes:
            self.door.outcomes.append(outcome)
        self.outcomes.append(outcome)
        self.door.changed()

    def release(self) -> None:
        self.released.set()


@dataclass
class SmallDoor:
    """A second implementation of the seam: ``/stream`` and ``/deny`` are settled by their path."""

    heard: list[SmallHearing] = field(default_factory=list)
    judged: list[Request] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    waiting: list[SmallHearing] = field(default_factory=list)
    decided: list[Decision] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    denies: Word | None = None
    slow: float = 0.0
    keepalive: Keepalive = Keepalive.AUTO
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self, request: Request) -> Hearing:
        hearing = SmallHearing(self, request)
        self.heard.append(hearing)
        if b"bug-in-receive" in request.target:
            raise ValueError("planted")
        if self.slow:
            await asyncio.sleep(self.slow)
        if b"deny" in request.target:
            hearing.settle(Decision(Word.REFUSED, By.RULE, rule="r", detail="never"))
        elif b"stream" in request.target:
            hearing.settle(Decision(Word.ALLOWED, By.RULE, rule="r"))
        self.changed()
        return hearing

    async def malformed(
        self,
        agent: str | None,
        what: str,
        *,
        request: Request | None = None,
        word: Word = Word.UNREADABLE,
        status: int | None = None,
    ) -> Decision:
        decision = Decision(word, By.FAULT, why=what, detail=what, status=status)
        self.decided.append(decision)
        self.changed()
        return decision

    def about(self, request: Request) -> Answer:
        if b"bug" in request.target:
            raise ValueError("planted")
        self.asked.append(request)
        body = b"about " + request.target
        return Answer(200, ((b"content-length", b"%d" % len(body)),), body)

    def changed(self) -> None:
        self._changed.set()

    async def until(self, is_so: Callable[[], object]) -> None:
        """Wait for something to be so at this door."""
        async with asyncio.timeout(LIMIT):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()

    @property
    def words(self) -> list[str]:
        return [str(decision.word) for decision in self.decided]


@pytest.fixture
async def door() -> SmallDoor:
    return SmallDoor()


@dataclass
class Pki:
    """A CA for upstreams, as files."""

    ca: Path
    folder: Path

    def server(self, host: str, *alpn: str) -> ssl.SSLContext:
        authority = open_authority(self.folder, datetime.datetime.now(datetime.UTC))
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = authority.leaf(host, key.public_key(), datetime.datetime.now(datetime.UTC))
        file = self.folder / f"{host}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("upstream")
    open_authority(folder, datetime.datetime.now(datetime.UTC))
    return Pki(folder / "ca.pem", folder)


type Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Upstream:
    """A raw server that keeps every byte; `answer` is sent for each complete head."""

    port: int = 0
    seen: bytearray = field(default_factory=bytearray)
    connections: int = 0
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    server: asyncio.Server | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        pending = b""
        try:
            while data := await reader.read(65536):
                self.seen += data
                self.changed.set()
                pending += data
                while b"\r\n\r\n" in pending:
                    pending = pending.partition(b"\r\n\r\n")[2]
                    writer.write(self.answer)
        except OSError:
            pass
        finally:
            writer.close()

    @property
    def requests(self) -> int:
        return bytes(self.seen).count(b" HTTP/1.1\r\n")

    async def until(self, is_so: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT):
            while not is_so():
                self.changed.clear()
                await self.changed.wait()


type Listen = Callable[..., Awaitable[int]]


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """Start a raw server: `await listen(serve, context)` is its port."""
    servers: list[asyncio.Server] = []

    async def start(serve: Serve, context: ssl.SSLContext | None = None) -> int:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    yield start
    for server in servers:
        server.close()


@pytest.fixture
async def upstream(listen: Listen) -> Upstream:
    raw = Upstream()
    raw.port = await listen(raw.serve)
    return raw


type Open = Callable[..., Awaitable["OpenGate"]]


@dataclass
class OpenGate:
    """A running gate, and ways to speak to it."""

    gate: Gate
    port: int

    async def connect(self) -> Agent:
        return Agent(*await asyncio.open_connection("127.0.0.1", self.port))

    async def send(self, raw: bytes) -> Agent:
        agent = await self.connect()
        agent.writer.write(raw)
        return agent

    async def tunnel(self, host: str, port: int) -> Agent:
        agent = await self.send(b"CONNECT %s:%d HTTP/1.1\r\n\r\n" % (host.encode(), port))
        head = await agent.head()
        assert b" 200 " in head, head
        return agent

    async def tls(self, host: str, port: int, *alpn: str, sni: str | None = None) -> Agent:
        agent = await self.tunnel(host, port)
        context = ssl.create_default_context(cafile=str(self.gate.ca_pem))
        if sni is not None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols(list(alpn))
        async with asyncio.timeout(LIMIT):
            await agent.writer.start_tls(context, server_hostname=sni or host)
        return agent


@dataclass
class Agent:
    """A raw client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def head(self) -> bytes:
        async with asyncio.timeout(LIMIT):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> tuple[int, bytes, bytes]:
        """Status, head and body of the next answer."""
        head = await self.head()
        low = head.lower()
        body = b""
        async with asyncio.timeout(LIMIT):
            if b"content-length: " in low:
                length = int(low.partition(b"content-length: ")[2].partition(b"\r")[0])
                body = await self.reader.readexactly(length)
            elif b"transfer-encoding: chunked" in low:
                while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
                    body += await self.reader.readexactly(size)
                    await self.reader.readexactly(2)
                await self.reader.readexactly(2)
        return int(head.split()[1]), head, body

    async def end(self) -> bytes:
        """Everything until the gate closes."""
        async with asyncio.timeout(LIMIT):
            return await self.reader.read(-1)

    def reset(self) -> None:
        import socket
        import struct

        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


@pytest.fixture
async def open_gate(tmp_path: Path, door: SmallDoor, pki: Pki) -> AsyncIterator[Open]:
    opened: list[Gate] = []

    async def start(**settings: object) -> OpenGate:
        values: dict[str, object] = {"state": tmp_path, "port": 0, "upstream_ca": pki.ca, "grace": 0.1}
        config = GateConfig(**{**values, **settings})  # type: ignore[arg-type]
        gate = Gate(config, door)
        opened.append(gate)
        address = await gate.start()
        return OpenGate(gate, address.port)

    yield start
    for gate in opened:
        await gate.stop()


def get(port: int, path: str, *headers: str, host: str = "127.0.0.1") -> bytes:
    """A GET through the proxy (absolute form)."""
    lines = [f"GET http://{host}:{port}{path} HTTP/1.1", f"Host: {host}:{port}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def post(port: int, path: str, body: bytes, *headers: str, host: str = "127.0.0.1") -> bytes:
    """A POST through the proxy (absolute form)."""
    lines = [
        f"POST http://{host}:{port}{path} HTTP/1.1",
        f"Host: {host}:{port}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
