"""
One request and its answer, from its first byte to its last.

Closed first: nothing leaves but through `_send`, which sends the `permit` and nothing else; the
permit is given in one line, for exactly the `Request` that was judged. Whatever goes wrong, on
the way here or in here, leaves it None.

The story of an exchange is told by the coroutine-like generators below: they yield what is to
be done, and an `Await` or `Connect` makes this exchange wait while all others go on (`Waiting`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mitmproxy.connection import Server
from mitmproxy.proxy import events as io
from mitmproxy.proxy.context import Context

from proxy.about import HOST as OWN_NAME
from proxy.action import Request
from proxy.decision import Answer, By, Decision, Happened, Word
from proxy.gate.account import Account, Stage, place
from proxy.gate.answer import own
from proxy.gate.bodies import Collected, Lack
from proxy.gate.events import (
    Answered,
    Asked,
    Commands,
    Connect,
    Drop,
    ErrorCode,
    HttpEvent,
    Interim,
    Malformed,
    RequestData,
    RequestEndOfMessage,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseProtocolError,
    ResponseTrailers,
    SendHttp,
    Tunnelled,
)
from proxy.gate.framing import Head, UnreadableError, answered
from proxy.gate.guard import Guarded, foreign_protocol
from proxy.gate.keepalive import words
from proxy.gate.reading import Address, MisdirectedError, Tunnel, read_connect, read_request
from proxy.gate.release import release
from proxy.gate.waiting import Waiting

if TYPE_CHECKING:
    from proxy.gate.connection import AgentConnection

logger = logging.getLogger(__name__)

_TOO_LARGE: Final = "the body is larger than what can be judged"
_LEFT: Final = "the agent left before the request was sent"


class Exchange(Waiting):
    """One request of one agent: judged, sent at most once, answered, concluded."""

    def __init__(
        self, context: Context, stream_id: int, peer: AgentConnection, tunnel: Tunnel | None
    ) -> None:
        super().__init__(context)
        self.stream_id = stream_id
        self.peer = peer
        self.tunnel = tunnel
        self.stage = Stage.HEAD
        self.head: Head | None = None
        self.request: Request | None = None
        self.account = Account(peer.terms.clock)
        self.permit: Request | None = None
        self.upstream: Server | None = None
        self._body = Collected(peer.terms.memory, peer.terms.body_limit)

    @property
    def answered(self) -> bool:
        """Whether an answer has begun."""
        return self.account.status is not None

    def _left(self, why: str) -> None:
        if self.account.hearing is not None:
            self.account.hearing.leave(why)

    def _handle_event(self, event: io.Event) -> Commands[None]:
        if self.stage is Stage.OVER:
            return
        match event:
            case Asked():
                yield from self._asked(event.head)
            case RequestData():
                yield from self._data(event.data)
            case RequestEndOfMessage():
                yield from self._ended()
            case Malformed():
                yield from self._malformed(event.what)
            case RequestProtocolError():
                yield from self._hung_up(event.message)
            case Answered():
                yield from self._answered(event)
            case ResponseData():
                self.account.received += len(event.data)
                yield self._to_agent(event)
            case ResponseTrailers():
                yield self._to_agent(event)
            case ResponseEndOfMessage():
                yield from self._finished(event)
            case ResponseProtocolError():
                yield from self._lost(event.message)

    # What the agent sends

    def _asked(self, head: Head) -> Commands[None]:
        self.head = head
        try:
            if head.method == b"CONNECT" and self.tunnel is None:
                yield from self._connect(read_connect(head))
                return
            self.request = read_request(head, self.tunnel, self.peer.agent, self.context.client.sni)
        except MisdirectedError as error:
            self.request = error.request
            yield from self._malformed(str(error), status=421)
        except UnreadableError as error:
            yield from self._malformed(str(error))
        else:
            yield from self._receive(self.request)

    def _receive(self, request: Request) -> Commands[None]:
        if request.host == OWN_NAME:
            yield from self._say(self.peer.terms.door.about(request))
            yield from self._over()
            return
        hearing = yield from self._ask(self.peer.terms.door.receive(request))
        self.account.hearing = hearing
        if self.gone is not None:
            hearing.leave(self.gone)
        decision = hearing.decision
        if decision is None:
            yield from self._read_on()
        elif decision.word.opens:
            yield from self._open(decision, request, None)
        else:
            yield from self._refuse(decision)

    def _read_on(self) -> Commands[None]:
        """The body is needed: read it, within the limits."""
        self.stage = Stage.READING
        if self.head is not None and (self.head.length or 0) > self.peer.terms.body_limit:
            yield from self._give_up(Word.TOO_LARGE, _TOO_LARGE)
        else:
            yield from self._continue()

    def _data(self, data: bytes) -> Commands[None]:
        if self.stage is Stage.READING:
            yield from self._collect(data)
        elif self.stage in (Stage.SENDING, Stage.PIPE) and self.upstream is not None:
            self.account.sent += len(data)
            yield SendHttp(RequestData(self.stream_id, data), self.upstream)

    def _collect(self, data: bytes) -> Commands[None]:
        match self._body.add(data):
            case None:
                return
            case Lack.LIMIT:
                yield from self._give_up(Word.TOO_LARGE, _TOO_LARGE)
            case Lack.MEMORY:
                yield from self._give_up(Word.UNAVAILABLE, "too many requests are waiting")

    def _ended(self) -> Commands[None]:
        if self.stage is Stage.READING:
            yield from self._judge()
        elif self.stage is Stage.SENDING and self.upstream is not None:
            self.stage = Stage.SENT
            yield SendHttp(RequestEndOfMessage(self.stream_id), self.upstream)

    def _judge(self) -> Commands[None]:
        body = self._body.whole()
        hearing, head = self.account.hearing, self.request
        if hearing is None or head is None:
            raise RuntimeError("judged before it was heard")
        request = head.with_body(body)
        decision = yield from self._ask(hearing.judge(request), words(self.stream_id, request, hearing))
        if decision.word.opens:
            yield from self._open(decision, request, body)
        else:
            yield from self._refuse(decision)

    # What leaves

    def _open(self, decision: Decision, request: Request, body: bytes | None) -> Commands[None]:
        """Send a request that was let through; `body` is None where it has not been read."""
        self.account.decided(decision)
        if decision.sends is not None:
            request, body = decision.sends, decision.sends.body
        if decision.word.opens:
            self.permit = request  # the one line that opens the gate
        yield from self._send(body)

    def _send(self, body: bytes | None) -> Commands[None]:
        permit, head = self.permit, self.head
        if permit is None or head is None:
            raise RuntimeError("sent before it was allowed")
        upstream = yield from self._reach(permit)
        if upstream is None:
            return
        released = release(self.stream_id, permit, head, body, http2=upstream.alpn == b"h2")
        self.upstream = upstream
        yield SendHttp(released, upstream)
        if body is None and not released.end:
            self.stage = Stage.SENDING
            yield from self._continue()
            return
        self.stage = Stage.SENDING if body is None else Stage.SENT
        if body:
            self.account.sent = len(body)
            yield SendHttp(RequestData(self.stream_id, body), upstream)
        if body is not None:
            yield SendHttp(RequestEndOfMessage(self.stream_id), upstream)

    def _reach(self, permit: Request) -> Commands[Server | None]:
        """A connection to send on, to an agent that is still there; else all is said and done."""
        if self.gone is not None:
            yield from self._unsent(_LEFT)
            return None
        for _ in range(3):
            upstream, error = yield Connect((permit.host, permit.port), permit.scheme == "https")
            if upstream is None:
                yield from self._unreached(error)
                return None
            held = self.account.held and self.gone is None
            if held and not (yield from self._ask(self.peer.there())):
                self._leave("the agent does not answer")
            if self.gone is not None:
                yield from self._unsent(_LEFT)
                return None
            if self.peer.http is not None and self.peer.http.takes(upstream, self.stream_id):
                return upstream  # type: ignore[no-any-return]
        yield from self._unreached("upstream closes its connections at once")
        return None

    def _unreached(self, error: str) -> Commands[None]:
        if self.gone is not None:
            yield from self._unsent(_LEFT)
            return
        word = Word.REFUSED if isinstance(error, Guarded) else Word.FAILED
        self.account.conclude(Happened.FAILED, error, word)
        yield from self._tell(self.account.instead(word, error))

    def _unsent(self, why: str) -> Commands[None]:
        self.account.conclude(Happened.FAILED, why, None)
        yield from self._over()

    # What upstream sends

    def _answered(self, event: Answered) -> Commands[None]:
        self.account.status = event.status
        if event.status == 101:
            self.stage = Stage.PIPE
        headers = answered(event.headers)
        yield self._to_agent(Answered(self.stream_id, event.status, event.reason, headers, event.end))

    def _finished(self, event: ResponseEndOfMessage) -> Commands[None]:
        self.account.conclude(Happened.COMPLETED, "", None)
        if self.stage is Stage.SENDING and self.upstream is not None:
            yield SendHttp(self._cancel("answered before all was sent"), self.upstream)
        yield self._to_agent(event)
        yield from self._over()

    def _lost(self, why: str) -> Commands[None]:
        if self.stage is Stage.PIPE:
            self.account.conclude(Happened.COMPLETED, why, None)
            yield self._to_agent(ResponseEndOfMessage(self.stream_id))
            yield from self._over()
        elif self.account.status is None:
            self.account.conclude(Happened.UNKNOWN, why, Word.UNKNOWN)
            yield from self._tell(self.account.instead(Word.UNKNOWN, ""))
        else:
            self.account.conclude(Happened.UNKNOWN, why, None)
            yield self._to_agent(ResponseProtocolError(self.stream_id, why, ErrorCode.KILL))
            yield from self._over()

    # How it can end otherwise

    def _hung_up(self, why: str) -> Commands[None]:
        if self.upstream is not None:
            happened = Happened.COMPLETED if self.stage is Stage.PIPE else Happened.UNKNOWN
            self.account.conclude(happened, why, None)
            yield SendHttp(self._cancel(why), self.upstream)
        elif self.account.hearing is not None and self.account.hearing.decision is None:
            yield from self._ask(self.account.hearing.refuse(Word.ABANDONED, why, by=By.AGENT))
        yield from self._over()

    def _cancel(self, why: str) -> RequestProtocolError:
        return RequestProtocolError(self.stream_id, why, ErrorCode.CANCEL)

    def _give_up(self, word: Word, why: str) -> Commands[None]:
        """The gate's own refusal of a request whose headers did not settle it."""
        if self.account.hearing is None:
            raise RuntimeError("refused before it was heard")
        yield from self._refuse((yield from self._ask(self.account.hearing.refuse(word, why))))

    def _malformed(self, what: str, *, status: int | None = None) -> Commands[None]:
        hearing = self.account.hearing
        if self.upstream is not None:
            # Its beginning has left already: upstream must not take what there is for the whole.
            self.account.conclude(Happened.UNKNOWN, f"cut off: {what}", Word.UNREADABLE)
            yield SendHttp(self._cancel(what), self.upstream)
            yield from self._tell(self.account.instead(Word.UNREADABLE, what))
        elif hearing is not None and hearing.decision is None:
            yield from self._give_up(Word.UNREADABLE, what)
        else:
            agent, request = self.peer.agent, self.request
            question = self.peer.terms.door.malformed(agent, what, request=request, status=status)
            yield from self._refuse((yield from self._ask(question)))

    def _refuse(self, decision: Decision) -> Commands[None]:
        self.account.decided(decision)
        if decision.word.opens:
            raise RuntimeError("a refusal that opens")
        yield from self._tell(decision)

    def _tell(self, decision: Decision) -> Commands[None]:
        """Answer with a refusal, unless an answer has begun or nobody is there to read it."""
        if self.gone is None and self.account.status is None:
            yield from self._say(decision.answer())
        elif self.gone is None:
            yield self._to_agent(ResponseProtocolError(self.stream_id, "cut", ErrorCode.KILL))
        yield from self._over()

    def _say(self, answer: Answer) -> Commands[None]:
        self.account.status = answer.status
        for event in own(self.stream_id, answer, self.head, self.stage):
            yield self._to_agent(event)

    def _fault(self, bug: Exception) -> Commands[None]:
        """A bug of ours, or of the door's: refuse, write it down if that still goes, and say so."""
        logger.error("the gate failed on a request: %s", place(bug))
        self._paused = None
        self.permit = None
        if self.stage is Stage.OVER:
            return
        if self.upstream is not None:
            self.account.conclude(Happened.UNKNOWN, "the gate failed", Word.UNKNOWN)
            yield SendHttp(self._cancel("the gate failed"), self.upstream)
            yield from self._tell(self.account.instead(Word.UNKNOWN, ""))
            return
        self.account.conclude(Happened.FAILED, "the gate failed", Word.UNAVAILABLE)
        self.stage = Stage.OVER
        self.peer.terms.spawn(self._written_fault())
        yield from self._tell(self.account.instead(Word.UNAVAILABLE, ""))

    async def _written_fault(self) -> None:
        hearing, door = self.account.hearing, self.peer.terms.door
        if hearing is None:
            await door.malformed(
                self.peer.agent, "the gate failed", request=self.request, word=Word.UNAVAILABLE
            )
        elif hearing.decision is None:
            await hearing.refuse(Word.UNAVAILABLE, "the gate failed")

    def abort(self, why: str) -> None:
        """The connection is being given up: nothing more leaves, and that is written down."""
        if self.stage is not Stage.OVER:
            self._leave(why)
            self.account.conclude(Happened.FAILED if self.upstream is None else Happened.UNKNOWN, why, None)
            self.stage = Stage.OVER
            self.permit = None
            self._body.give_back()

    def _over(self) -> Commands[None]:
        self.stage = Stage.OVER
        self.permit = None
        self._body.give_back()
        yield Drop(self)

    # Small change

    def _connect(self, address: Address) -> Commands[None]:
        """A CONNECT dials nothing; it says where the requests to come are going."""
        why = foreign_protocol(address.port)
        if why is not None:
            agent = self.peer.agent
            request = Request(agent, b"CONNECT", "connect", address.host, address.port, b"", (), b"")
            question = self.peer.terms.door.malformed(agent, why, request=request, word=Word.REFUSED)
            yield from self._refuse((yield from self._ask(question)))
            return
        self.stage = Stage.OVER
        yield self._to_agent(Tunnelled(self.stream_id, address))

    def _continue(self) -> Commands[None]:
        if self.head is not None and self.head.expects:
            yield self._to_agent(Interim(self.stream_id, 100))

    def _to_agent(self, event: HttpEvent) -> SendHttp:
        return SendHttp(event, self.context.client)
