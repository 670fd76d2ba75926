"""The counting upstream's HTTP/2: what it does with a request is done to its stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from faults.answers import ANSWER, SLOW, slam

type Arrived = Callable[[str, str, bytes], str]
"""Counts a request by its path, attempt and body; returns what is to be done with it."""

_STATUSES: Final = {"no": "402", "sick": "500"}


class Http2Upstream:
    """One connection."""

    def __init__(self, arrived: Arrived, writer: asyncio.StreamWriter) -> None:
        self._arrived = arrived
        self._writer = writer
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._asked: dict[int, tuple[str, str]] = {}
        self._bodies: dict[int, bytes] = {}
        self._timers: set[asyncio.TimerHandle] = set()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Until the gate hangs up."""
        self._h2.initiate_connection()
        try:
            self._flush()
            while data := await reader.read(65536):
                for event in self._h2.receive_data(data):
                    self._happened(event)
                self._flush()
        except (OSError, h2.exceptions.ProtocolError):
            return
        finally:
            for timer in self._timers:
                timer.cancel()
            self._writer.close()

    def _happened(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=int(stream), headers=headers):
                fields = {str(name): str(value) for name, value in headers or ()}
                self._asked[stream] = (fields[":path"], fields.get("x-request-id", "0"))
            case h2.events.DataReceived(stream_id=int(stream), data=data, flow_controlled_length=length):
                self._bodies[stream] = self._bodies.get(stream, b"") + (data or b"")
                self._h2.acknowledge_received_data(length or 0, stream)
            case h2.events.StreamReset(stream_id=int(stream)):
                self._asked.pop(stream, None)
            case h2.events.StreamEnded(stream_id=int(stream)) if stream in self._asked:
                body = self._bodies.pop(stream, b"")
                self._behave(self._arrived(*self._asked.pop(stream), body), stream)

    def _behave(self, how: str, stream: int) -> None:
        match how:
            case "reset":
                self._h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
            case "half-head":
                slam(self._writer)
            case "half-body":
                self._begin(stream)
                self._h2.send_data(stream, ANSWER[:-5])
                self._h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
            case "slow":
                self._timers.add(asyncio.get_running_loop().call_later(SLOW, self._answer, stream))
            case "stall":
                return
            case _:
                self._answer(stream, _STATUSES.get(how, "200"))

    def _begin(self, stream: int, status: str = "200") -> None:
        length = ("content-length", str(len(ANSWER)))
        self._h2.send_headers(stream, [(":status", status), ("content-type", "application/json"), length])

    def _answer(self, stream: int, status: str = "200") -> None:
        try:
            self._begin(stream, status)
            self._h2.send_data(stream, ANSWER, end_stream=True)
        except h2.exceptions.ProtocolError:
            return  # it was taken back meanwhile
        self._flush()

    def _flush(self) -> None:
        if not self._writer.is_closing() and (data := self._h2.data_to_send()):
            self._writer.write(data)
