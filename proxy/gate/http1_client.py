"""
HTTP/1 towards upstream: one request at a time out, its answer in.

A mitmproxy layer in place of mitmproxy's own, which takes an interim answer (1xx) for the final
one, and buffers heads without a limit.
"""

from __future__ import annotations

from mitmproxy.proxy import commands
from mitmproxy.proxy import events as io
from mitmproxy.proxy.context import Context

from proxy.gate.bodies import Body, body_of
from proxy.gate.events import (
    Answered,
    Commands,
    ErrorCode,
    HttpConnection,
    HttpEvent,
    ReceiveHttp,
    Released,
    RequestData,
    RequestEndOfMessage,
    ResponseData,
    ResponseEndOfMessage,
    ResponseProtocolError,
)
from proxy.gate.framing import HEAD_LIMIT, UnreadableError, read_answer
from proxy.gate.http1 import END_OF_HEAD, Reading, lines


class Http1Client(HttpConnection):
    """Upstream's side: one request at a time out, its answer in."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, context.server)
        self.stream_id: int | None = None
        self.buffer = bytearray()
        self.state = Reading.WAIT
        self._body: Body = body_of(0, strict=False)
        self._method = b""
        self._upgrade = False
        self._chunked = False
        self._sent = False
        self._stays = False
        self._reserved: int | None = None

    @property
    def free(self) -> bool:
        """Whether the next request may go out here."""
        return self.stream_id is None and self._reserved is None and self.state is not Reading.CLOSED

    def reserve(self, stream_id: int) -> None:
        """Keep this connection for the request of `stream_id`, which is about to leave."""
        self._reserved = stream_id

    def unreserve(self, stream_id: int) -> None:
        """The request of `stream_id` is not going to leave after all."""
        if self._reserved == stream_id:
            self._reserved = None

    def takes(self, stream_id: int) -> bool:
        """Whether the request of `stream_id` can leave now."""
        return self._reserved == stream_id and self.state is not Reading.CLOSED

    def _handle_event(self, event: io.Event) -> Commands[None]:
        if self.state is Reading.CLOSED:
            return
        if isinstance(event, io.DataReceived):
            yield from self._received(event.data)
        elif isinstance(event, HttpEvent):
            if isinstance(event, Released) or event.stream_id == self.stream_id:
                yield from self._send(event)
        elif isinstance(event, io.ConnectionClosed):
            yield from self._closed()

    def _send(self, event: HttpEvent) -> Commands[None]:
        if isinstance(event, Released):
            self.stream_id, self._reserved = event.stream_id, None
            self.state = Reading.HEAD
            self._method, self._chunked, self._sent = event.method, event.chunked, False
            self._upgrade = any(name == b"Upgrade" for name, _ in event.headers)
            head = b"%s %s HTTP/1.1\r\n" % (event.method, event.target)
            yield commands.SendData(self.conn, head + lines(event.headers))
        elif isinstance(event, RequestData):
            if event.data:
                data = b"%x\r\n%s\r\n" % (len(event.data), event.data) if self._chunked else event.data
                yield commands.SendData(self.conn, data)
        elif isinstance(event, RequestEndOfMessage):
            self._sent = True
            if self._chunked:
                yield commands.SendData(self.conn, b"0\r\n\r\n")
        else:
            yield from self._close()

    def _received(self, data: bytes) -> Commands[None]:
        self.buffer += data
        try:
            yield from self._read()
        except UnreadableError as error:
            yield from self._fail(f"upstream's answer cannot be read: {error}")

    def _read(self) -> Commands[None]:
        while self.buffer and self.state is not Reading.CLOSED:
            if self.stream_id is None:
                # Nobody asked; whatever this answers, it is not the next request.
                yield from self._close()
                return
            if self.state is Reading.PIPE:
                data, self.buffer = bytes(self.buffer), bytearray()
                yield ReceiveHttp(ResponseData(self.stream_id, data))
            elif self.state is Reading.BODY:
                data = self._body.read(self.buffer)
                if not data and not self._body.done:
                    return
                yield from self._pass_on(data)
            elif not (yield from self._read_head()):
                return

    def _read_head(self) -> Commands[bool]:
        found = END_OF_HEAD.search(self.buffer)
        end = found.end() if found else len(self.buffer)
        if end > HEAD_LIMIT:
            raise UnreadableError("its head is over 64 KiB")
        if found is None or self.stream_id is None:
            return False
        raw = bytes(self.buffer[:end])
        del self.buffer[:end]
        head = read_answer(raw, self._method)
        if head.status < 200 and head.status != 101:
            # Interim answers go no further; the final one is still to come.
            return True
        if head.status == 101 and not self._upgrade:
            raise UnreadableError("it switches protocols unasked")
        self._body = body_of(head.length, strict=False)
        self._stays = head.keep_alive
        self.state = Reading.PIPE if head.status == 101 else Reading.BODY
        done = self._body.done and self.state is Reading.BODY
        yield ReceiveHttp(Answered(self.stream_id, head.status, head.reason, head.headers, done))
        if done:
            yield from self._pass_on(b"")
        return True

    def _pass_on(self, data: bytes) -> Commands[None]:
        stream_id = self.stream_id
        if stream_id is None:
            return
        if data:
            yield ReceiveHttp(ResponseData(stream_id, data))
        if self._body.done and self.stream_id is not None:
            self.stream_id = None
            self.state = Reading.WAIT
            if not (self._stays and self._sent):
                yield from self._close()
            yield ReceiveHttp(ResponseEndOfMessage(stream_id))

    def _closed(self) -> Commands[None]:
        if self.stream_id is not None and self.state is Reading.BODY and self._body.ends_with_connection:
            stream_id, self.stream_id = self.stream_id, None
            yield from self._close()
            yield ReceiveHttp(ResponseEndOfMessage(stream_id))
        else:
            yield from self._fail("upstream closed the connection")

    def _fail(self, why: str) -> Commands[None]:
        stream_id, self.stream_id = self.stream_id, None
        yield from self._close()
        if stream_id is not None:
            yield ReceiveHttp(ResponseProtocolError(stream_id, why, ErrorCode.KILL))

    def _close(self) -> Commands[None]:
        self.state = Reading.CLOSED
        self.buffer.clear()
        yield commands.CloseConnection(self.conn)
