"""
What moves between the parts of one agent connection: mitmproxy's events and commands, and ours.

A head travels as the bytes that were read (`Asked`, `Released`, `Answered`), never as an object
that someone on the way may change; bodies travel in mitmproxy's own data events.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mitmproxy.connection import Connection, Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import SendHttp
from mitmproxy.proxy.layers.http._base import HttpCommand, HttpConnection, HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseProtocolError,
    ResponseTrailers,
)

from proxy.action import Header
from proxy.gate.framing import Head
from proxy.gate.reading import Address

if TYPE_CHECKING:
    from proxy.gate.exchange import Exchange

__all__ = [
    "Answered",
    "Asked",
    "Await",
    "Awaited",
    "Commands",
    "Connect",
    "Connected",
    "Drop",
    "ErrorCode",
    "HttpConnection",
    "HttpEvent",
    "Interim",
    "Knock",
    "Malformed",
    "ReceiveHttp",
    "Registered",
    "Released",
    "Relieve",
    "RequestData",
    "RequestEndOfMessage",
    "RequestProtocolError",
    "Reset",
    "ResponseData",
    "ResponseEndOfMessage",
    "ResponseProtocolError",
    "ResponseTrailers",
    "SendHttp",
    "Switch",
    "Tunnelled",
]

type Commands[T] = layer.CommandGenerator[T]


@dataclass
class Asked(HttpEvent):
    """The agent has sent the head of a request; `end` where no body follows."""

    head: Head
    end: bool


@dataclass
class Malformed(HttpEvent):
    """The agent has sent what is no request; stream 0 is the whole connection."""

    what: str


@dataclass
class Released(HttpEvent):
    """The head of a request on its way out; `end` where no body follows."""

    method: bytes
    target: bytes
    authority: bytes
    scheme: str
    headers: list[Header]
    end: bool
    chunked: bool = False


@dataclass
class Interim(HttpEvent):
    """An interim answer to the agent (1xx)."""

    status: int


@dataclass
class Answered(HttpEvent):
    """
    The head of an answer, from upstream or from the gate itself.

    `last` where the agent need not send the rest of its request: nobody will read it; `waits`
    where it does not send it before it is told to.
    """

    status: int
    reason: bytes
    headers: list[Header]
    end: bool = False
    last: bool = False
    waits: bool = False


class Relieve(events.Event):
    """Something has moved on: whoever was held back for it may send again."""


@dataclass
class Knock(HttpEvent):
    """
    Ask an HTTP/2 agent for a sign of life; `heard` is called when it comes, or the connection ends.

    Of no stream: 0.
    """

    heard: Callable[[], None]


class Await(commands.Command):
    """
    Ask something that takes time; the layer waits, nothing else does. The reply is `Awaited`.

    `meanwhile` is what the agent is told until then, one event (or None) at every beat.
    """

    blocking = True

    def __init__(
        self, question: Coroutine[Any, Any, Any], meanwhile: Iterator[events.Event | None] | None = None
    ) -> None:
        self.question = question
        self.meanwhile = meanwhile


@dataclass(repr=False)
class Awaited(events.CommandCompleted):  # type: ignore[no-untyped-call]
    """What came of an `Await`: a value, or the exception that it ended in."""

    command: Await
    reply: tuple[Any, BaseException | None]


class Connect(HttpCommand):
    """Get a connection to an address: a new one, or one of this agent's that is free."""

    blocking = True

    def __init__(self, address: tuple[str, int], tls: bool) -> None:
        self.address = address
        self.tls = tls


@dataclass(repr=False)
class Connected(events.CommandCompleted):  # type: ignore[no-untyped-call]
    """The connection, or why there is none."""

    command: Connect
    reply: tuple[Server | None, str]


@dataclass
class Registered(HttpCommand):
    """A connection attempt has ended; `speaks` is the layer on it, None where it failed."""

    connection: Connection
    error: str | None
    speaks: HttpConnection | None


@dataclass
class Drop(HttpCommand):
    """This exchange is over."""

    exchange: Exchange


class Reset(commands.CloseConnection):
    """Close a connection so that its peer sees an end that is none (RST)."""


@dataclass
class Tunnelled(HttpEvent):
    """The CONNECT is granted: all that follows on this connection goes to `address`."""

    address: Address


@dataclass
class Switch(commands.Command):
    """From now on the agent's bytes, beginning with `data`, are those of a tunnel."""

    address: Address
    data: bytes
