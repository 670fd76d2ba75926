"""
HTTP/1 towards the agent: requests in, answers out, one after the other.

A mitmproxy layer in place of mitmproxy's own, which reads leniently, answers malformed requests
by itself, and buffers heads and what comes behind them without a limit.
"""

from __future__ import annotations

from typing import Final

from mitmproxy.proxy import commands
from mitmproxy.proxy import events as io
from mitmproxy.proxy.context import Context

from proxy.gate.bodies import Body, body_of
from proxy.gate.events import (
    Answered,
    Asked,
    Commands,
    ErrorCode,
    HttpConnection,
    HttpEvent,
    Interim,
    Malformed,
    ReceiveHttp,
    RequestData,
    RequestEndOfMessage,
    RequestProtocolError,
    Reset,
    ResponseData,
    ResponseEndOfMessage,
    ResponseProtocolError,
    Switch,
    Tunnelled,
)
from proxy.gate.framing import HEAD_LIMIT, Head, UnreadableError, bodiless, read_head, read_request_line
from proxy.gate.http1 import END_OF_HEAD, Reading, lines, status_line

_EARLY_LIMIT: Final = HEAD_LIMIT
"""Bytes that an agent may send ahead while its request waits: nobody else counts them."""
_LINGER_STEP: Final = 2.0
_LINGER_STEPS: Final = 15
"""How long (seconds, and how often) an agent may go on sending what nobody reads any more."""


class Http1Server(HttpConnection):
    """The agent's side: requests in, answers out, one after the other."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, context.client)
        self.stream_id = 1
        self.state = Reading.HEAD
        self.buffer = bytearray()
        self._body: Body = body_of(0, strict=True)
        self._head: Head | None = None
        self._searched = 0
        self._chunked = False
        self._framed = True
        self._silent = False
        self._stays = False
        self._told = False
        self._heard = 0
        self._lingered = 0

    def _handle_event(self, event: io.Event) -> Commands[None]:
        if isinstance(event, io.DataReceived):
            yield from self._received(event.data)
        elif isinstance(event, HttpEvent):
            if event.stream_id == self.stream_id and self.state is not Reading.CLOSED:
                yield from self._send(event)
        elif isinstance(event, io.ConnectionClosed):
            yield from self._closed()
        elif isinstance(event, io.Wakeup):
            yield from self._linger_on()

    def _received(self, data: bytes) -> Commands[None]:
        if self.state is Reading.PIPE:
            yield ReceiveHttp(RequestData(self.stream_id, data))
        elif self.state is Reading.LINGER:
            self._heard += len(data)
        elif self.state is not Reading.CLOSED:
            self.buffer += data
            yield from self._read()

    def _read(self) -> Commands[None]:
        """Read on as far as the buffer goes; what is read may change the state at each yield."""
        try:
            while self.buffer:
                before = len(self.buffer), self.state
                if self.state is Reading.HEAD:
                    yield from self._read_head()
                elif self.state is Reading.BODY:
                    yield from self._read_body()
                elif self.state is Reading.WAIT and len(self.buffer) > _EARLY_LIMIT:
                    yield from self._hang_up("more was sent ahead than can wait")
                if (len(self.buffer), self.state) == before:
                    return
        except UnreadableError as error:
            asked = self.state is Reading.BODY
            self.state = Reading.WAIT
            self._stays = False
            self.buffer.clear()
            if not asked:
                self._head = None
            yield ReceiveHttp(Malformed(self.stream_id, str(error)))

    def _read_head(self) -> Commands[None]:
        if self.buffer.startswith(b"\r\n"):
            # RFC 9112, 2.2: an empty line before a request is ignored.
            del self.buffer[:2]
            return
        if not 0x41 <= self.buffer[0] <= 0x5A and self.buffer != b"\r":
            raise UnreadableError("this is not HTTP")
        found = END_OF_HEAD.search(self.buffer, self._searched)
        end = found.end() if found else len(self.buffer)
        if end > HEAD_LIMIT:
            raise UnreadableError("the head is over 64 KiB")
        if found is None:
            self._searched = max(0, end - 2)
            if (first := self.buffer.find(b"\n")) >= 0:
                read_request_line(bytes(self.buffer[:first]).removesuffix(b"\r"))
            return
        raw = bytes(self.buffer[:end])
        del self.buffer[:end]
        self._searched = 0
        if not raw.endswith(b"\r\n\r\n"):
            raise UnreadableError("a line of the head ends in a bare CR or LF")
        self._head = head = read_head(raw[:-2])
        self._body = body_of(head.length, strict=True)
        self._stays = head.keep_alive
        self.state = Reading.WAIT if head.length == 0 else Reading.BODY
        yield ReceiveHttp(Asked(self.stream_id, head, head.length == 0))
        if head.length == 0:
            yield ReceiveHttp(RequestEndOfMessage(self.stream_id))

    def _read_body(self) -> Commands[None]:
        data = self._body.read(self.buffer)
        if self._body.done:
            self.state = Reading.WAIT
        if data:
            yield ReceiveHttp(RequestData(self.stream_id, data))
        if self._body.done:
            yield ReceiveHttp(RequestEndOfMessage(self.stream_id))

    def _closed(self) -> Commands[None]:
        if self.state in (Reading.BODY, Reading.WAIT, Reading.PIPE):
            yield from self._hang_up("the agent hung up")
        elif self.state is not Reading.CLOSED:
            self.state = Reading.CLOSED
            yield commands.CloseConnection(self.conn)

    def _hang_up(self, why: str) -> Commands[None]:
        self.state = Reading.CLOSED
        self.buffer.clear()
        yield commands.CloseConnection(self.conn)
        yield ReceiveHttp(RequestProtocolError(self.stream_id, why, ErrorCode.CLIENT_DISCONNECTED))

    def _send(self, event: HttpEvent) -> Commands[None]:
        if isinstance(event, Answered):
            yield from self._answer(event)
        elif isinstance(event, ResponseData):
            if event.data and not self._silent:
                data = b"%x\r\n%s\r\n" % (len(event.data), event.data) if self._chunked else event.data
                yield commands.SendData(self.conn, data)
        elif isinstance(event, ResponseEndOfMessage):
            yield from self._end()
        elif isinstance(event, ResponseProtocolError):
            # An answer that ends here is cut, not finished: the agent has to see that.
            self.state = Reading.CLOSED
            yield commands.CloseConnection(self.conn) if self._framed else Reset(self.conn)
        elif isinstance(event, Tunnelled):
            self.state = Reading.CLOSED
            early, self.buffer = bytes(self.buffer), bytearray()
            yield commands.SendData(self.conn, b"HTTP/1.1 200 Connection established\r\n\r\n")
            yield Switch(event.address, early)
        elif isinstance(event, Interim) and self._may_interject():
            yield commands.SendData(self.conn, status_line(event.status, b"") + b"\r\n")

    def _may_interject(self) -> bool:
        """Whether the agent knows interim answers, and the final one has not begun."""
        return self._head is not None and self._head.version == "HTTP/1.1" and not self._told

    def _answer(self, event: Answered) -> Commands[None]:
        self._told = True
        head = self._head
        method = head.method if head else b""
        old = head is not None and head.version == "HTTP/1.0"
        switches = event.status == 101
        self._silent = not switches and bodiless(event.status, method)
        if event.last and self.state is Reading.BODY:
            self._stays = False
        headers = event.headers
        known = any(name.lower() == b"content-length" for name, _ in headers)
        self._chunked = not (self._silent or known or old or switches)
        self._framed = self._chunked or known
        if switches:
            headers = [*headers, (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        elif self._chunked:
            headers = [*headers, (b"Transfer-Encoding", b"chunked")]
        if old and not (known or self._silent):
            self._stays = False
        if not self._stays and not switches:
            headers = [*headers, (b"Connection", b"close")]
        yield commands.SendData(self.conn, status_line(event.status, event.reason) + lines(headers))
        if switches:
            self.state = Reading.PIPE
            early, self.buffer = bytes(self.buffer), bytearray()
            if early:
                yield ReceiveHttp(RequestData(self.stream_id, early))

    def _end(self) -> Commands[None]:
        if self._chunked:
            yield commands.SendData(self.conn, b"0\r\n\r\n")
        if self.state is Reading.PIPE:
            self.state = Reading.CLOSED
            yield commands.CloseConnection(self.conn)
        elif self.state is Reading.WAIT and self._stays:
            self.stream_id += 2
            self.state = Reading.HEAD
            self._head = None
            self._told = False
            yield from self._read()
        elif self.state is Reading.WAIT and self._head is not None and self._body.done:
            self.state = Reading.CLOSED
            yield commands.CloseConnection(self.conn)
        else:
            # Closing with unread bytes would reset the connection, and the agent would lose the
            # answer: read on for a while without keeping anything.
            self.state = Reading.LINGER
            self.buffer.clear()
            yield commands.RequestWakeup(_LINGER_STEP)

    def _linger_on(self) -> Commands[None]:
        self._lingered += 1
        heard, self._heard = self._heard, 0
        if self.state is not Reading.LINGER:
            return
        if heard and self._lingered < _LINGER_STEPS:
            yield commands.RequestWakeup(_LINGER_STEP)
        else:
            self.state = Reading.CLOSED
            yield commands.CloseConnection(self.conn)
