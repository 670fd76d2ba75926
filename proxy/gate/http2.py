"""
HTTP/2 on both sides of the gate, on mitmproxy's own connections (and so on hyper-h2).

What differs: heads are read by `proxy.gate.framing` and travel as read; a malformed one is
answered on its own stream; windows are given back only for bytes that have moved on, so that
neither a paused upload nor a slow reader fills the memory.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import h2.errors
import h2.events
import h2.exceptions
import h2.stream
from hyperframe.frame import Frame, GoAwayFrame
from mitmproxy.proxy import commands
from mitmproxy.proxy import events as io
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import _http2

from proxy.action import Header
from proxy.gate.events import (
    Answered,
    Asked,
    Commands,
    ErrorCode,
    HttpEvent,
    Interim,
    Knock,
    Malformed,
    ReceiveHttp,
    Released,
    RequestEndOfMessage,
    RequestProtocolError,
    ResponseProtocolError,
)
from proxy.gate.framing import UnreadableError, answered, read_h2_head, sound

_STATUS: Final = re.compile(rb"[2-9][0-9][0-9]")
_WINDOW: Final = 128 * 1024
"""Bytes of one stream that may be on their way to us unread."""
_STREAMS: Final = 256
"""Requests of one agent connection at once."""
_UNREAD_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a refused request that are taken, and thrown away, before it is reset."""
_PATIENCE: Final = 2.0
"""Seconds without a byte of it after which its refusal is told all the same."""


@dataclass
class Acknowledge(HttpEvent):
    """Give windows back for these streams."""

    streams: dict[int, int]


@dataclass(slots=True)
class _Late:
    """A refusal that waits for its request to end."""

    answer: list[HttpEvent]
    wakeup: commands.RequestWakeup
    heard: bool = False
    unread: int = 0


class _Windows(_http2.Http2Connection):
    """What both sides share: bytes are acknowledged when they have moved on."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        settings = self.h2_conn.local_settings
        settings.initial_window_size = _WINDOW
        settings.max_concurrent_streams = _STREAMS
        settings.acknowledge()
        self.owed: dict[int, int] = {}

    def backlog(self, stream_id: int) -> int:
        """Bytes of a stream that wait for the peer's window."""
        waiting = self.h2_conn.stream_buffers.get(stream_id)
        return sum(len(part.data) for part in waiting) if waiting else 0

    def acknowledgement(self, waits: set[int]) -> Acknowledge:
        """Streams (all but `waits`) that may send on; hand it to this connection."""
        moved = {stream_id: size for stream_id, size in self.owed.items() if stream_id not in waits}
        self.owed = {stream_id: size for stream_id, size in self.owed.items() if stream_id in waits}
        return Acknowledge(0, moved)

    def _acknowledge(self, streams: dict[int, int]) -> Commands[None]:
        for stream_id, size in streams.items():
            try:
                self.h2_conn.acknowledge_received_data(size, stream_id)
            except h2.exceptions.ProtocolError:
                continue  # the connection has ended
        if data := self.h2_conn.data_to_send():
            yield commands.SendData(self.conn, data)

    def _data(self, event: h2.events.DataReceived) -> Commands[None]:
        if event.flow_controlled_length:
            owed = self.owed.get(event.stream_id, 0)
            self.owed[event.stream_id] = owed + event.flow_controlled_length
        state = self.streams.get(event.stream_id)
        if state is _http2.StreamState.EXPECTING_HEADERS:
            yield from self.protocol_error("data before headers")
        elif state is not None and event.data:
            yield ReceiveHttp(self.ReceiveData(event.stream_id, bytes(event.data)))


class Http2Server(_Windows, _http2.Http2Server):
    """The agent's side."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        # Refusals of requests that are still being sent. Clients that send all before they read
        # (and some that do not) lose or never see an answer that overtakes their request.
        self._late: dict[int, _Late] = {}
        self._knocks: dict[bytes, Knock] = {}
        self._knocked = 0

    def _handle_event(self, event: io.Event) -> Commands[None]:
        late = self._late.get(event.stream_id) if isinstance(event, HttpEvent) else None
        if late is not None and isinstance(event, HttpEvent):
            if not isinstance(event, Interim):
                late.answer.append(event)
            return
        match event:
            case Acknowledge():
                yield from self._acknowledge(event.streams)
            case Answered():
                yield from self._answer(event)
            case Interim():
                yield from self._interim(event)
            case Knock():
                yield from self._knock(event)
            case io.Wakeup():
                yield from self._wake(event.command)
            case _:
                yield from super()._handle_event(event)

    def _answer(self, event: Answered) -> Commands[None]:
        stream = self.h2_conn.streams.get(event.stream_id)
        if stream is None or not self.is_open_for_us(event.stream_id):
            return
        if event.last and not event.waits and stream.state_machine.state is h2.stream.StreamState.OPEN:
            wakeup = commands.RequestWakeup(_PATIENCE)
            self._late[event.stream_id] = _Late([replace(event, last=False)], wakeup)
            yield wakeup
            return
        headers = [(b":status", b"%d" % event.status), *_lower(event.headers)]
        self.h2_conn.send_headers(event.stream_id, headers, end_stream=event.end)
        yield commands.SendData(self.conn, self.h2_conn.data_to_send())

    def _wake(self, command: commands.RequestWakeup) -> Commands[None]:
        for stream_id, late in list(self._late.items()):
            if late.wakeup is command:
                if late.heard:
                    late.heard, late.wakeup = False, commands.RequestWakeup(_PATIENCE)
                    yield late.wakeup
                else:
                    yield from self._tell_late(stream_id)

    def _tell_late(self, stream_id: int) -> Commands[None]:
        late = self._late.pop(stream_id, None)
        for event in late.answer if late else ():
            yield from self._handle_event(event)

    def _interim(self, event: Interim) -> Commands[None]:
        stream = self.h2_conn.streams.get(event.stream_id)
        answered = stream is not None and stream.state_machine.headers_sent
        if self.is_open_for_us(event.stream_id) and not answered:
            self.h2_conn.send_headers(event.stream_id, [(b":status", b"%d" % event.status)])
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())

    def _knock(self, event: Knock) -> Commands[None]:
        name = b"%08d" % self._knocked
        self._knocked = (self._knocked + 1) % 10**8
        self._knocks[name] = event
        self.h2_conn.ping(name)
        yield commands.SendData(self.conn, self.h2_conn.data_to_send())

    def close_connection(self, msg: str) -> Commands[None]:
        """Also ends all knocking: that there is nobody is told by the end itself."""
        knocks, self._knocks = self._knocks, {}
        for knock in knocks.values():
            knock.heard()
        yield from super().close_connection(msg)

    def _data(self, event: h2.events.DataReceived) -> Commands[None]:
        yield from super()._data(event)
        late = self._late.get(event.stream_id)
        if late is None:
            return
        late.heard = True
        late.unread += len(event.data)
        if late.unread > _UNREAD_LIMIT:
            yield from self._tell_late(event.stream_id)
            if not self.is_closed(event.stream_id):
                # RFC 9113, 8.1: the answer is complete, the rest of the request is not wanted.
                self.h2_conn.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
            self.streams.pop(event.stream_id, None)

    def handle_h2_event(self, event: Any) -> Commands[bool]:
        if isinstance(event, h2.events.RequestReceived):
            yield from self._asked(event)
            return False
        if isinstance(event, h2.events.DataReceived):
            yield from self._data(event)
            return False
        if isinstance(event, h2.events.TrailersReceived):
            yield ReceiveHttp(Malformed(event.stream_id, "request trailers"))
            return False
        if isinstance(event, h2.events.StreamReset):
            self._late.pop(event.stream_id, None)
            if event.stream_id not in self.streams:
                # Taken back in the packet that ended it: by now the stream counts as forgotten.
                why = "stream reset by client"
                yield ReceiveHttp(RequestProtocolError(event.stream_id, why, ErrorCode.CANCEL))
        if isinstance(event, h2.events.PingAckReceived):
            knock = self._knocks.pop(bytes(event.ping_data or b""), None)
            if knock is not None:
                knock.heard()
        done = yield from super().handle_h2_event(event)
        if isinstance(event, h2.events.StreamEnded):
            yield from self._tell_late(event.stream_id)
        return done

    def _asked(self, event: h2.events.RequestReceived) -> Commands[None]:
        self.streams[event.stream_id] = _http2.StreamState.HEADERS_RECEIVED
        try:
            head = read_h2_head(event.headers, end=event.stream_ended is not None)
        except UnreadableError as error:
            yield ReceiveHttp(Malformed(event.stream_id, str(error)))
            return
        yield ReceiveHttp(Asked(event.stream_id, head, event.stream_ended is not None))

    def protocol_error(self, message: str, error_code: int = 1) -> Commands[None]:
        """The connection breaks HTTP/2 itself: every request on it ends, and that is written down."""
        yield ReceiveHttp(Malformed(0, message))
        yield from super().protocol_error(message, error_code)


class Http2Client(_Windows, _http2.Http2Client):
    """Upstream's side."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        # What still comes for a stream that was forgotten is for nobody: number 0.
        self.their_stream_id = defaultdict(int)
        self._reserved: set[int] = set()
        self._leaving = False
        # hyper-h2 takes any GOAWAY for the end of all streams: a graceful one does not reach it.
        self.h2_conn._frame_dispatch_table[GoAwayFrame] = self._goaway

    def _goaway(self, frame: GoAwayFrame) -> tuple[list[Frame], list[h2.events.Event]]:
        if frame.error_code:
            return self.h2_conn._receive_goaway_frame(frame)
        event = h2.events.ConnectionTerminated()
        event.error_code, event.last_stream_id = h2.errors.ErrorCodes.NO_ERROR, frame.last_stream_id
        return [], [event]

    def _leave(self, last: int) -> Commands[None]:
        """Upstream takes no more requests; those up to stream `last` go on (RFC 9113, 6.8)."""
        self._leaving = True
        for stream_id in [number for number in self.streams if number > last]:
            del self.streams[stream_id]
            yield ReceiveHttp(ResponseProtocolError(stream_id, "upstream closes", ErrorCode.KILL))
        if not self.streams:
            yield from self.close_connection("upstream closes")

    def forget(self, stream_id: int) -> None:
        """The exchange is over."""
        self.unreserve(stream_id)
        self.their_stream_id.pop(self.our_stream_id.pop(stream_id, 0), None)

    @property
    def _room(self) -> int:
        """How many more streams upstream takes now."""
        limit = self.provisional_max_concurrency or self.h2_conn.remote_settings.max_concurrent_streams
        return int(limit - self.h2_conn.open_outbound_streams)

    @property
    def free(self) -> bool:
        """Whether one more request fits beside those that are about to leave."""
        return not self._leaving and self._room > len(self._reserved)

    def reserve(self, stream_id: int) -> None:
        """Keep room for the request of `stream_id`, which is about to leave."""
        self._reserved.add(stream_id)

    def unreserve(self, stream_id: int) -> None:
        """The request of `stream_id` has left, or is not going to leave here after all."""
        self._reserved.discard(stream_id)

    def takes(self, stream_id: int) -> bool:
        """
        Whether the request of `stream_id` can leave now.

        One that cannot would wait in here unseen, and leave even for an agent that has gone:
        upstream may have lowered its limit since the room was kept.
        """
        return not self._leaving and stream_id in self._reserved and self._room > 0

    def asked_as(self, stream_id: int) -> int:
        """The agent's number for one of our streams."""
        return self.their_stream_id.get(stream_id, 0)

    def backlog(self, stream_id: int) -> int:
        return super().backlog(self.our_stream_id.get(stream_id, 0))

    def _handle_event(self, event: io.Event) -> Commands[None]:
        if isinstance(event, Acknowledge):
            yield from self._acknowledge(event.streams)
            return
        if isinstance(event, Released):
            self.unreserve(event.stream_id)
        yield from super()._handle_event(event)

    def _handle_event2(self, event: io.Event) -> Commands[None]:
        if isinstance(event, Released):
            headers: list[Header] = [
                (b":method", event.method),
                (b":scheme", event.scheme.encode()),
                (b":authority", event.authority),
                (b":path", event.target),
                *_lower(event.headers),
            ]
            self.h2_conn.send_headers(event.stream_id, headers, end_stream=event.end)
            self.streams[event.stream_id] = _http2.StreamState.EXPECTING_HEADERS
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())
        elif isinstance(event, RequestEndOfMessage) and not self.is_open_for_us(event.stream_id):
            return
        else:
            yield from super()._handle_event2(event)

    def handle_h2_event(self, event: Any) -> Commands[bool]:
        if isinstance(event, h2.events.ResponseReceived):
            yield from self._answered(event)
            return False
        if isinstance(event, h2.events.DataReceived):
            yield from self._data(event)
            return False
        if isinstance(event, h2.events.TrailersReceived):
            event.headers = answered([field for field in _plain(event.headers) if sound([field])])
        if isinstance(event, h2.events.ConnectionTerminated) and not event.error_code:
            yield from self._leave(event.last_stream_id or 0)
            return not self.streams
        return (yield from super().handle_h2_event(event))

    def _answered(self, event: h2.events.ResponseReceived) -> Commands[None]:
        status = [bytes(value) for name, value in event.headers if name == b":status"]
        headers = _plain(event.headers)
        if len(status) != 1 or not sound(headers) or not _STATUS.fullmatch(status[0]):
            self.streams.pop(event.stream_id, None)
            self.h2_conn.reset_stream(event.stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
            why = "upstream's answer cannot be read: malformed headers"
            yield ReceiveHttp(ResponseProtocolError(event.stream_id, why, ErrorCode.KILL))
            return
        self.streams[event.stream_id] = _http2.StreamState.HEADERS_RECEIVED
        ended = event.stream_ended is not None
        yield ReceiveHttp(Answered(event.stream_id, int(status[0]), b"", headers, ended))


def _plain(fields: Iterable[tuple[Any, Any]]) -> list[Header]:
    """Without pseudo-headers."""
    return [(bytes(name), bytes(value)) for name, value in fields if not name.startswith(b":")]


def _lower(headers: list[Header]) -> list[Header]:
    return [(name.lower(), value) for name, value in headers]
