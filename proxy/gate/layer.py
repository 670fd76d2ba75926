"""
Between an agent's bytes and its exchanges: who speaks HTTP on which connection.

`GateLayer` stands where mitmproxy's HttpLayer stands, and routes in the same way: bytes go to
the connection's layers, what they read goes to the exchange, what the exchange says goes back
down. `Opening` waits for the first bytes in a tunnel. There is no other way on: no raw TCP, no
passthrough, no protocol but HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mitmproxy.connection import Connection, Server
from mitmproxy.proxy import commands, layer
from mitmproxy.proxy import events as io
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.tls import ClientTLSLayer, ServerTLSLayer

from proxy.gate.account import Stage
from proxy.gate.events import (
    Asked,
    Commands,
    Connect,
    Connected,
    Drop,
    HttpConnection,
    HttpEvent,
    Interim,
    Knock,
    Malformed,
    ReceiveHttp,
    Registered,
    Relieve,
    SendHttp,
)
from proxy.gate.exchange import Exchange
from proxy.gate.http1 import Reading
from proxy.gate.http1_client import Http1Client
from proxy.gate.http1_server import Http1Server
from proxy.gate.http2 import Http2Client, Http2Server
from proxy.gate.reading import Address, Tunnel

if TYPE_CHECKING:
    from proxy.gate.connection import AgentConnection

HIGH_WATER: Final = 256 * 1024
"""Bytes that may wait on their way before whoever sends them has to wait."""

_TLS_HANDSHAKE: Final = 0x16
_HANDSHAKE_LIMIT: Final = 128 * 1024
"""Bytes that an agent's side of a TLS handshake may take."""


@dataclass(frozen=True, slots=True)
class LayerOptions:
    """The options that mitmproxy's layers look up."""

    proxy_debug: bool = False
    # Heads are validated by `proxy.gate.framing`, which refuses one request and not all of a
    # connection.
    validate_inbound_headers: bool = False
    normalize_outbound_headers: bool = True
    http2_ping_keepalive: int = 58


class GateLayer(layer.Layer):
    """All HTTP of one agent connection, or of the tunnel in it."""

    def __init__(self, context: Context, peer: AgentConnection, tunnel: Tunnel | None) -> None:
        super().__init__(context)
        self.peer = peer
        self.tunnel = tunnel
        self.exchanges: dict[int, Exchange] = {}
        self.speakers: dict[Connection, HttpConnection] = {}
        self._stacks: dict[Connection, layer.Layer] = {}
        self._waiting: dict[Server, list[Connect]] = {}
        self._asking: dict[commands.Command, layer.Layer] = {}

    def _handle_event(self, event: io.Event) -> Commands[None]:
        if isinstance(event, io.ConnectionEvent):
            stack = self._stacks.get(event.connection)
            if stack is not None:
                yield from self._to(stack, event)
            if isinstance(event, io.ConnectionClosed):
                self._forget(event.connection)
        elif isinstance(event, io.CommandCompleted):
            child = self._asking.pop(event.command, None)
            if child is not None:
                yield from self._to(child, event)
        elif isinstance(event, Interim | Knock):
            yield from self._to(self._stacks[self.context.client], event)
        elif isinstance(event, Relieve):
            yield from self._relieve()
        elif isinstance(event, io.Start):
            client = self.context.client
            speaker = Http2Server(self.context) if client.alpn == b"h2" else Http1Server(self.context)
            self._stacks[client] = self.speakers[client] = speaker
            self.peer.http = self
            yield from self._to(speaker, event)

    def _forget(self, connection: Connection) -> None:
        if connection is not self.context.client:
            self._stacks.pop(connection, None)
            self.speakers.pop(connection, None)

    def _to(self, child: layer.Layer, event: io.Event) -> Commands[None]:
        """Hand an event to a layer below, and obey what comes back."""
        for command in child.handle_event(event):
            if command.blocking or isinstance(command, commands.RequestWakeup):
                self._asking[command] = child
            match command:
                case ReceiveHttp():
                    yield from self._received(command.event)
                case SendHttp():
                    stack = self._stacks.get(command.connection)
                    if stack is not None:
                        yield from self._to(stack, command.event)
                case Connect():
                    yield from self._connect(command)
                case Registered():
                    yield from self._registered(command)
                case Drop():
                    self._drop(command.exchange)
                case _:
                    yield command

    def _received(self, event: HttpEvent) -> Commands[None]:
        exchange = self.exchanges.get(event.stream_id)
        if exchange is None and isinstance(event, (Asked, Malformed)):
            exchange = Exchange(self.context, event.stream_id, self.peer, self.tunnel)
            self.exchanges[event.stream_id] = exchange
        if exchange is not None:
            yield from self._to(exchange, event)

    def _drop(self, exchange: Exchange) -> None:
        self.exchanges.pop(exchange.stream_id, None)
        for speaker in self.speakers.values():
            if isinstance(speaker, Http1Client):
                speaker.unreserve(exchange.stream_id)
            elif isinstance(speaker, Http2Client):
                speaker.forget(exchange.stream_id)

    def takes(self, upstream: Server, stream_id: int) -> bool:
        """Whether the request of `stream_id` can leave on the connection that it was given."""
        speaker = self.speakers.get(upstream)
        return (
            upstream.connected and isinstance(speaker, Http1Client | Http2Client) and speaker.takes(stream_id)
        )

    # Upstream connections

    def _connect(self, command: Connect) -> Commands[None]:
        exchange = self._asking[command]
        stream_id = exchange.stream_id if isinstance(exchange, Exchange) else 0
        for connection, speaker in self.speakers.items():
            if not isinstance(connection, Server) or not isinstance(speaker, Http1Client | Http2Client):
                continue
            speaker.unreserve(stream_id)
            if self._ready(connection, speaker, command):
                speaker.reserve(stream_id)
                yield from self._to(self._asking.pop(command), Connected(command, (connection, "")))
                return
        for connection, waiting in self._waiting.items():
            if self._fits(connection, command):
                waiting.append(command)
                return
        yield from self._dial(command)

    def _ready(self, connection: Server, speaker: Http1Client | Http2Client, command: Connect) -> bool:
        """Whether a request can leave on a connection that is open already."""
        if not (self._fits(connection, command) and connection.connected and speaker.free):
            return False
        return isinstance(speaker, Http2Client) or not self.peer.stale(connection)

    @staticmethod
    def _fits(connection: Server, command: Connect) -> bool:
        return connection.address == command.address and connection.tls == command.tls

    def _dial(self, command: Connect) -> Commands[None]:
        context = self.context.fork()
        context.server = server = Server(address=command.address)
        upstream = Upstream(context)
        stack: layer.Layer = upstream
        if command.tls:
            server.sni = command.address[0]
            stack = ServerTLSLayer(context)
            stack.child_layer = upstream
        self._stacks[server] = stack
        self._waiting[server] = [command]
        yield from self._to(stack, io.Start())

    def _registered(self, command: Registered) -> Commands[None]:
        server = command.connection
        if not isinstance(server, Server):
            return
        waiting = self._waiting.pop(server, [])
        if command.speaks is None:
            self._stacks.pop(server, None)
            for each in waiting:
                reply = Connected(each, (None, command.error or "no connection"))
                yield from self._to(self._asking.pop(each), reply)
            return
        self.speakers[server] = command.speaks
        # The first has it; with HTTP/1 upstream each of the others dials for itself.
        for each in waiting:
            yield from self._connect(each)

    # How much is on its way

    def blocked(self, connection: Connection) -> bool:
        """
        Whether nothing should be read from a connection now.

        With HTTP/2 single streams are held back by its flow control instead.
        """
        if self.peer.backlog(connection) > 4 * HIGH_WATER:
            return True
        speaker = self.speakers.get(connection)
        if isinstance(speaker, Http1Server) and speaker.state in (Reading.BODY, Reading.PIPE):
            exchange = self.exchanges.get(speaker.stream_id)
            return exchange is not None and self._upload_waits(exchange)
        if isinstance(speaker, Http1Client) and speaker.stream_id is not None:
            return self._download_waits(speaker.stream_id)
        return False

    def _upload_waits(self, exchange: Exchange) -> bool:
        if exchange.paused:
            return exchange.queued > HIGH_WATER
        if exchange.upstream is None:
            return False
        if self.peer.backlog(exchange.upstream) > HIGH_WATER:
            return True
        speaker = self.speakers.get(exchange.upstream)
        return isinstance(speaker, Http2Client) and speaker.backlog(exchange.stream_id) > HIGH_WATER

    def _download_waits(self, stream_id: int) -> bool:
        client = self.context.client
        if self.peer.backlog(client) > HIGH_WATER:
            return True
        speaker = self.speakers.get(client)
        return isinstance(speaker, Http2Server) and speaker.backlog(stream_id) > HIGH_WATER

    @property
    def owes(self) -> bool:
        """Whether an HTTP/2 peer may wait for its window."""
        return any(
            speaker.owed
            for speaker in self.speakers.values()
            if isinstance(speaker, Http2Server | Http2Client)
        )

    def _relieve(self) -> Commands[None]:
        """Let HTTP/2 peers send on where what they sent has moved on."""
        for connection, speaker in list(self.speakers.items()):
            if isinstance(speaker, Http2Server) and speaker.owed:
                waits = {
                    stream_id
                    for stream_id in speaker.owed
                    if (exchange := self.exchanges.get(stream_id)) is not None
                    and (exchange.paused or self._upload_waits(exchange))
                }
                yield from self._to(self._stacks[connection], speaker.acknowledgement(waits))
            elif isinstance(speaker, Http2Client) and speaker.owed:
                waits = {sid for sid in speaker.owed if self._download_waits(speaker.asked_as(sid))}
                yield from self._to(self._stacks[connection], speaker.acknowledgement(waits))

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything here."""
        return all(exchange.stage is Stage.OVER for exchange in self.exchanges.values())

    @property
    def answered(self) -> bool:
        """Whether everyone here has at least the beginning of an answer."""
        return all(exchange.stage is Stage.OVER or exchange.answered for exchange in self.exchanges.values())


class Upstream(layer.Layer):
    """A connection being opened, then whichever HTTP was agreed on."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._speaker: HttpConnection | None = None

    def _handle_event(self, event: io.Event) -> Commands[None]:
        if self._speaker is not None:
            yield from self._speaker.handle_event(event)
        elif isinstance(event, io.Start):
            server = self.context.server
            error = yield commands.OpenConnection(server)
            if error:
                yield Registered(server, error, None)
                return
            speaker = Http2Client(self.context) if server.alpn == b"h2" else Http1Client(self.context)
            self._speaker = speaker
            yield from speaker.handle_event(event)
            yield Registered(server, None, speaker)


class Opening(layer.Layer):
    """The first byte in a tunnel says whether it is TLS; anything else has to be HTTP."""

    def __init__(self, context: Context, peer: AgentConnection, address: Address) -> None:
        super().__init__(context)
        self._peer = peer
        self._address = address
        self._child: layer.Layer | None = None
        self._handshake = 0

    def _handle_event(self, event: io.Event) -> Commands[None]:
        if isinstance(event, io.DataReceived) and self._child is not None and self._endless(event):
            yield commands.CloseConnection(event.connection)
        elif self._child is not None:
            yield from self._child.handle_event(event)
        elif isinstance(event, io.DataReceived):
            self._handshake = len(event.data)
            self._child = child = self._begin(event.data[0] == _TLS_HANDSHAKE)
            yield from child.handle_event(io.Start())
            yield from child.handle_event(event)
        elif isinstance(event, io.ConnectionClosed):
            yield commands.CloseConnection(event.connection)

    def _endless(self, event: io.DataReceived) -> bool:
        """Whether a handshake takes more bytes than any does."""
        client = self.context.client
        if not client.tls or client.tls_established or event.connection is not client:
            return False
        self._handshake += len(event.data)
        return self._handshake > _HANDSHAKE_LIMIT

    def _begin(self, tls: bool) -> layer.Layer:
        tunnel = Tunnel(self._address, tls)
        if not tls:
            return GateLayer(self.context, self._peer, tunnel)
        child = ClientTLSLayer(self.context)
        child.child_layer = GateLayer(self.context, self._peer, tunnel)
        return child
