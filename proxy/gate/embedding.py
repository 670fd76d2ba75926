"""
The gate as a whole: a listening socket, and mitmproxy's proxy core behind each connection.

mitmproxy's layers are embedded without its Master, addons and options: those dispatch every
event of every request to every addon, fail open when one of them raises, and are global to the
process. Here each connection is its own, and any number of gates fit in one program.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import errno
import ipaddress
import logging
import pwd
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from proxy.errors import fail
from proxy.gate import Door
from proxy.gate.bodies import Memory
from proxy.gate.ca import CERTIFICATE, open_authority
from proxy.gate.connection import AgentConnection, Terms
from proxy.gate.dial import Dialler
from proxy.gate.guard import Guard
from proxy.gate.reading import Address
from proxy.gate.tls import Tls
from proxy.linux.sockets import is_local, own_uid, peer_uid, raise_file_limit

logger = logging.getLogger(__name__)

_BACKLOG: Final = 4096
_RESOLVERS: Final = 32
"""Names that are resolved at once."""


@dataclass(frozen=True, slots=True)
class GateConfig:
    """
    How a gate is set up.

    `state` is a folder that exists and is ours alone. `resolve` maps (host, port) to the address
    that is dialled instead. `upstream_ca` is a file of CAs that upstreams may present besides
    the usual ones. Sizes are in bytes, times in seconds. With `check_uid`, agents are processes
    of our own user on this machine and nobody else is served. `pulse` is between two interim
    answers to an agent that waits, and before the first; `knock` is what an HTTP/2 agent has to
    answer a PING, before what it waited for is sent.
    """

    state: Path
    host: str = "127.0.0.1"
    port: int = 8080
    resolve: Mapping[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    upstream_ca: Path | None = None
    body_limit: int = 10 * 1024 * 1024
    hold_memory: int = 256 * 1024 * 1024
    check_uid: bool = True
    idle: float = 3600.0
    pulse: float = 2.0
    knock: float = 5.0
    grace: float = 3.0


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Gate:
    """One listening gate in front of a door."""

    def __init__(
        self,
        config: GateConfig,
        door: Door,
        *,
        clock: Callable[[], float] | None = None,
        now: Callable[[], datetime.datetime] = _now,
    ) -> None:
        self._config = config
        self._door = door
        self._clock = clock
        self._now = now
        self._server: asyncio.Server | None = None
        self._terms: Terms | None = None
        self._connections: set[AgentConnection] = set()
        self._alone = asyncio.Event()
        self._executor: ThreadPoolExecutor | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ca_pem(self) -> Path:
        """The certificate that agents have to trust."""
        return self._config.state / CERTIFICATE

    @property
    def connections(self) -> int:
        """Agent connections that are open now."""
        return len(self._connections)

    async def start(self) -> Address:
        """Listen; returns the address. Raises SluiceError with what, why and fix."""
        config = self._config
        authority = open_authority(config.state, self._now())
        tls = Tls(authority, config.upstream_ca, self._now)
        sock = _listen(config)
        host, port = sock.getsockname()[:2]
        raise_file_limit()
        loopback = ipaddress.ip_address(host).is_loopback
        guard = Guard(frozenset({port}), is_local, not loopback, config.resolve)
        self._executor = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="resolve")
        loop = asyncio.get_running_loop()
        self._terms = Terms(
            door=self._door,
            dialler=Dialler(guard, self._executor),
            tls=tls,
            memory=Memory(config.hold_memory),
            body_limit=config.body_limit,
            idle=config.idle,
            pulse=config.pulse,
            knock=config.knock,
            clock=self._clock or loop.time,
            spawn=self._spawn,
        )
        self._server = await asyncio.start_server(self._accept, sock=sock, backlog=_BACKLOG)
        return Address(host, port)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._terms is None or self._server is None:
            writer.transport.abort()
            return
        known, agent = self._agent(writer)
        if not known:
            writer.transport.abort()
            return
        connection = AgentConnection(self._terms, agent, reader, writer)
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)
            if not self._connections:
                self._alone.set()

    def _agent(self, writer: StreamWriter) -> tuple[bool, str | None]:
        """(is served, who it is)."""
        if not self._config.check_uid:
            return True, None
        peer, ours = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        uid = peer_uid(peer[:2], ours[:2]) if peer and ours else None
        if uid is None or uid != own_uid():
            who = "somebody who cannot be told" if uid is None else f"another user, uid {uid}"
            logger.warning("a connection of %s was closed", who)
            return False, None
        try:
            return True, f"uid:{pwd.getpwuid(uid).pw_name}"
        except KeyError:
            return True, f"uid:{uid}"

    async def stop(self) -> None:
        """
        Take no more agents, let those that wait read their answers, close.

        The door has to have settled its holds before. Answers that have begun get a quarter of `grace`
        to end, those still to begin get all of it; then who waits for one is told that it is lost.
        """
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in list(self._connections):
            connection.finish()
        await self._left_alone(self._config.grace / 4)
        for connection in [each for each in self._connections if each.answered]:
            connection.abort("the gate is stopping")
        await self._left_alone(self._config.grace)
        for connection in list(self._connections):
            connection.leave_upstream()
        await self._left_alone(self._config.grace / 4)
        for connection in list(self._connections):
            connection.abort("the gate is stopping")
        await self._left_alone(1.0)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def _left_alone(self, seconds: float) -> None:
        self._alone.clear()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._alone.wait(), seconds)


def _listen(config: GateConfig) -> socket.socket:
    try:
        address = ipaddress.ip_address("127.0.0.1" if config.host == "localhost" else config.host)
    except ValueError as error:
        raise fail(
            f"cannot listen on '{config.host}'", "it is no IP address", "sluice up --listen 127.0.0.1:8080"
        ) from error
    if config.check_uid and not address.is_loopback:
        raise fail(
            f"cannot listen on '{config.host}'",
            "agents on other machines cannot be told apart yet",
            "sluice up --listen 127.0.0.1:8080",
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(address), config.port))
    except OSError as error:
        sock.close()
        taken = error.errno == errno.EADDRINUSE
        raise fail(
            f"cannot listen on '{config.host}:{config.port}': {error.strerror}",
            "another program listens there" if taken else "the system does not permit it",
            f"take another port: sluice up --listen {config.host}:0",
        ) from error
    sock.setblocking(False)
    return sock
