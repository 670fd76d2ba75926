"""An answer of the gate's own, as it goes to the agent. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.decision import Answer
from proxy.gate.account import Stage
from proxy.gate.events import Answered, HttpEvent, ResponseData, ResponseEndOfMessage
from proxy.gate.framing import Head


def own(stream_id: int, answer: Answer, head: Head | None, stage: Stage) -> Iterator[HttpEvent]:
    """The events of an answer to `head` (None where none could be read), given at `stage` of its exchange."""
    waits = head is not None and head.expects and stage is Stage.HEAD
    # RFC 9110, 9.3.2: over HTTP/2 a body in answer to HEAD would end the whole connection.
    silent = head is not None and head.method == b"HEAD"
    yield Answered(stream_id, answer.status, b"", list(answer.headers), silent, last=True, waits=waits)
    if not silent:
        yield ResponseData(stream_id, answer.body)
    yield ResponseEndOfMessage(stream_id)
