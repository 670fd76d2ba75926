"""
The sockets of one agent: what mitmproxy's layers want done, done; what happens, told to them.

mitmproxy's layers do no I/O: they take events and yield commands. This is what stands below
them, in place of mitmproxy's own: it holds back whoever sends faster than others read, dials
only through the guard, and treats a bug as a reason to close.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.proxy import commands, layer
from mitmproxy.proxy import events as io
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import tls as tls_layer

from proxy.gate import Door, sockets
from proxy.gate.account import place
from proxy.gate.bodies import Memory
from proxy.gate.dial import Dialler
from proxy.gate.events import Await, Awaited, Knock, Relieve, Reset, Switch
from proxy.gate.layer import HIGH_WATER, GateLayer, LayerOptions, Opening
from proxy.gate.pulse import Pulse
from proxy.gate.tls import Tls
from proxy.gate.waiting import turns

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

logger = logging.getLogger(__name__)

_CHUNK: Final = 64 * 1024
_HANDSHAKE: Final = 20.0
"""Seconds that an upstream has for its TLS handshake."""
_FLUSH: Final = 5.0
"""Seconds that a closed connection may take to send what was written."""


@dataclass(frozen=True, slots=True)
class Terms:
    """
    What all connections of a gate share.

    `clock` is in seconds, of any origin. So are `idle`, `pulse` (between interim answers), and
    `knock` (how long an HTTP/2 agent may take to answer a PING before its request leaves).
    """

    door: Door
    dialler: Dialler
    tls: Tls
    memory: Memory
    body_limit: int
    idle: float
    pulse: float
    knock: float
    clock: Callable[[], float]
    spawn: Callable[[Coroutine[Any, Any, None]], None]


@dataclass(slots=True)
class _Transport:
    reader: StreamReader
    writer: StreamWriter
    draining: bool = False


class AgentConnection:
    """One agent's connection, and the upstream ones opened for it."""

    def __init__(self, terms: Terms, agent: str | None, reader: StreamReader, writer: StreamWriter) -> None:
        self.terms = terms
        self.agent = agent
        self.http: GateLayer | None = None
        self._host = ""
        self._finishing = False
        self._client = Client(
            peername=writer.get_extra_info("peername"),
            sockname=writer.get_extra_info("sockname"),
            timestamp_start=0.0,
            state=ConnectionState.OPEN,
        )
        self._options = LayerOptions()
        self._layer: layer.Layer = GateLayer(self._context(), self, None)
        self._transports: dict[Connection, _Transport] = {self._client: _Transport(reader, writer)}
        self._events: deque[io.Event] = deque()
        self._feeding = False
        self._said: dict[Connection, list[bytes]] = {}
        self._relieved = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._dials: set[asyncio.Task[Any]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._last = 0.0

    def _context(self) -> Context:
        return Context(self._client, self._options)  # type: ignore[arg-type]

    async def serve(self) -> None:
        """Until the agent leaves, or is left."""
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        watch = loop.create_task(self._watch(loop))
        transport = self._transports[self._client]
        sockets.tune(transport.writer, HIGH_WATER)
        try:
            self.feed(io.Start())
            await self._pump(self._client, transport.reader)
        finally:
            watch.cancel()
            self._end()

    async def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Leave an agent that has not been heard of for long, and waits for nothing."""
        while (left := self._last + self.terms.idle - loop.time()) > 0:
            await asyncio.sleep(left)
            if self.http is not None and not self.http.idle:
                self._last = loop.time()
        self.close()

    def close(self) -> None:
        """Let go of the agent; what was written for it is still sent."""
        self._close(self._client)

    def finish(self) -> None:
        """Close as soon as no exchange is under way."""
        self._finishing = True
        if self.http is None or self.http.idle:
            self.close()

    @property
    def answered(self) -> bool:
        """Whether nobody here waits for the beginning of an answer."""
        return self.http is None or self.http.answered

    def leave_upstream(self) -> None:
        """Wait for no upstream any longer: who waits for an answer of one is told that it is lost."""
        for connection in [each for each in self._transports if each is not self._client]:
            self._close(connection)

    def abort(self, why: str) -> None:
        """Close now: what is under way is cut, visibly."""
        if self.http is not None:
            for exchange in list(self.http.exchanges.values()):
                exchange.abort(why)
        self.close()

    async def _pump(self, connection: Connection, reader: StreamReader) -> None:
        while True:
            while self.http is not None and self.http.blocked(connection):
                self._relieved.clear()
                await self._relieved.wait()
            try:
                data = await reader.read(_CHUNK)
            except OSError:
                data = b""
            if connection not in self._transports:
                return
            if not data:
                connection.state &= ~ConnectionState.CAN_READ
                self.feed(io.ConnectionClosed(connection))
                self._close(connection)
                return
            self.feed(io.DataReceived(connection, data))

    def _end(self) -> None:
        # First to the layers, so that what is under way ends because the agent has gone.
        self.feed(io.ConnectionClosed(self._client))
        for connection in list(self._transports):
            self._close(connection)
        for dial in self._dials:
            dial.cancel()
        for timer in self._timers:
            timer.cancel()

    # Events down, commands up

    def feed(self, event: io.Event) -> None:
        """Tell the layers what happened, and do what they want."""
        self._events.append(event)
        if self._feeding:
            return
        self._feeding = True
        self._last = asyncio.get_running_loop().time()
        try:
            while self._events:
                self._tell(self._events.popleft())
            if self.http is not None and self.http.owes:
                self._tell(Relieve())
            self._flush()
            if self._finishing:
                self.finish()
        except Exception as bug:
            self._fault(bug)
        finally:
            self._feeding = False
            self._relieved.set()

    def _tell(self, event: io.Event) -> None:
        for command in self._layer.handle_event(event):
            self._obey(command)

    def _fault(self, bug: Exception) -> None:
        logger.error("the gate closes a connection on which it failed: %s", place(bug))
        self._events.clear()
        # Half of a request may be said already: none of it leaves.
        self._said = {}
        if self.http is not None:
            for exchange in list(self.http.exchanges.values()):
                exchange.abort("the gate failed")
        self._close(self._client)

    def _obey(self, command: commands.Command) -> None:
        match command:
            case commands.SendData():
                self._said.setdefault(command.connection, []).append(command.data)
            case Await():
                self._spawn(self._asked(command))
            case commands.OpenConnection():
                self._spawn(self._open(command))
            case Reset():
                self._reset(command.connection)
            case commands.CloseConnection():
                self._close(command.connection)
            case commands.StartHook():
                self._answer_hook(command)
                if command.blocking:
                    self._events.append(io.HookCompleted(command))
            case commands.RequestWakeup():
                self._wake(command)
            case Switch():
                self._host = command.address.host
                self._layer = Opening(self._context(), self, command.address)
                self._events.append(io.Start())
                if command.data:
                    self._events.append(io.DataReceived(self._client, command.data))
            case commands.Log():
                pass
            case _:
                raise RuntimeError(f"unknown command: {type(command).__name__}")

    def _answer_hook(self, hook: commands.StartHook) -> None:
        match hook:
            case tls_layer.TlsStartClientHook():
                hook.data.ssl_conn = self.terms.tls.towards_agent(self._host)
            case tls_layer.TlsStartServerHook():
                hook.data.ssl_conn = self.terms.tls.towards_upstream(hook.data.conn, self._client)
            case _:
                pass

    async def _asked(self, command: Await) -> None:
        pulse = None
        if command.meanwhile is not None:
            loop = asyncio.get_running_loop()
            pulse = Pulse(loop, self.terms.pulse, command.meanwhile, self._interject)
        try:
            reply: tuple[Any, BaseException | None] = (await command.question, None)
        except Exception as error:
            reply = (None, error)
        finally:
            if pulse is not None:
                pulse.stop()
        self.feed(Awaited(command, reply))

    async def there(self) -> bool:
        """
        Whether the agent is there at this very moment, as far as anybody can tell.

        The kernel knows of a hang-up. HTTP/2 clients may stop waiting without a word, but one
        that waits answers a PING.
        """
        if self._client.alpn == b"h2":
            heard = asyncio.Event()
            self.feed(Knock(0, heard.set))
            try:
                await asyncio.wait_for(heard.wait(), self.terms.knock)
            except TimeoutError:
                return False
        await turns()
        return True

    def _interject(self, event: io.Event) -> None:
        # For an agent that does not read, words would pile up here.
        if self.backlog(self._client) == 0:
            self.feed(event)

    def _wake(self, command: commands.RequestWakeup) -> None:
        def wake() -> None:
            self._timers.discard(timer)
            self.feed(io.Wakeup(command))

        timer = asyncio.get_running_loop().call_later(command.delay, wake)
        self._timers.add(timer)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # Sockets

    def _flush(self) -> None:
        """Send what was said in one go: a head and its body are one packet."""
        while self._said:
            connection, parts = self._said.popitem()
            transport = self._transports.get(connection)
            if transport is None or transport.writer.is_closing():
                continue
            transport.writer.write(b"".join(parts))
            if self.backlog(connection) > HIGH_WATER and not transport.draining:
                transport.draining = True
                self._spawn(self._drain(transport))

    async def _drain(self, transport: _Transport) -> None:
        with contextlib.suppress(OSError):
            await transport.writer.drain()
        transport.draining = False
        self.feed(Relieve())

    def backlog(self, connection: Connection) -> int:
        """Bytes written to a connection that the kernel has not taken yet."""
        transport = self._transports.get(connection)
        return 0 if transport is None else transport.writer.transport.get_write_buffer_size()

    def stale(self, connection: Connection) -> bool:
        """Whether an idle upstream has something to say: that it closes, at best."""
        transport = self._transports.get(connection)
        return transport is None or sockets.readable(transport.writer)

    async def _open(self, command: commands.OpenConnection) -> None:
        server = command.connection
        task = asyncio.current_task()
        if not isinstance(server, Server) or server.address is None or task is None:
            raise RuntimeError("no address to dial")
        self._dials.add(task)
        try:
            reader, writer = await self.terms.dialler.dial(server.address)
        except OSError as error:
            self.feed(io.OpenConnectionCompleted(command, self.terms.dialler.explain(error)))
            return
        except asyncio.CancelledError:
            self.feed(io.OpenConnectionCompleted(command, "the agent has gone"))
            raise
        self._dials.discard(task)
        server.state = ConnectionState.OPEN
        server.peername = writer.get_extra_info("peername")
        server.sockname = writer.get_extra_info("sockname")
        transport = _Transport(reader, writer)
        sockets.tune(writer, HIGH_WATER)
        self._transports[server] = transport
        if server.tls:
            self._limit_handshake(server)
        self.feed(io.OpenConnectionCompleted(command, None))
        await self._pump(server, reader)

    def _limit_handshake(self, server: Server) -> None:
        def late() -> None:
            self._timers.discard(timer)
            if not server.tls_established:
                self._close(server)

        timer = asyncio.get_running_loop().call_later(_HANDSHAKE, late)
        self._timers.add(timer)

    def _reset(self, connection: Connection) -> None:
        transport = self._transports.get(connection)
        if transport is not None:
            self._flush()
            sockets.abort(transport.writer)
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        connection.state = ConnectionState.CLOSED
        if connection not in self._transports:
            return
        self._flush()
        transport = self._transports.pop(connection)
        writer = transport.writer
        writer.close()
        if writer.transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(_FLUSH, writer.transport.abort)
        if connection is not self._client:
            self._events.append(io.ConnectionClosed(connection))
            if not self._feeding:
                self.feed(self._events.popleft())
