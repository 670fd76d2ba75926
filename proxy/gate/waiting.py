"""
A layer that can wait: for an answer from outside, while all others go on.

What happens meanwhile is queued, but for one thing: that the agent has gone is noticed at once.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Coroutine, Iterator
from typing import Any, Final

from mitmproxy.proxy import events as io
from mitmproxy.proxy import layer
from mitmproxy.proxy.context import Context

from proxy.gate.events import Await, Commands, RequestData, RequestProtocolError

_TURNS: Final = 5
"""Turns of the event loop in which a hang-up that the kernel already has is sure to be seen."""


class Waiting(layer.Layer):
    """
    A layer of one request.

    `gone` says why its agent has gone, None while it is there; `queued` is how many bytes of the
    request wait in here.
    """

    def __init__(self, context: Context) -> None:
        # Not Layer's own: a layer for each request would pile up in the context's list of layers.
        self.context = context
        self._paused = None
        self._paused_event_queue = deque()
        self.gone: str | None = None
        self.queued = 0

    def handle_event(self, event: io.Event) -> Commands[None]:
        """As any layer does; but a hang-up is told at once, and a bug refuses."""
        if isinstance(event, RequestProtocolError):
            self._leave(event.message)
        elif self._paused is None:
            self.queued = 0
        elif isinstance(event, RequestData):
            self.queued += len(event.data)
        try:
            yield from super().handle_event(event)
        except Exception as bug:
            yield from self._fault(bug)

    @property
    def paused(self) -> bool:
        """Whether it waits for something, and the agent's bytes with it."""
        return self._paused is not None

    def _leave(self, why: str) -> None:
        if self.gone is None:
            self.gone = why
            self._left(why)

    @abstractmethod
    def _left(self, why: str) -> None:
        """The agent has gone; told once, whatever this waits for."""

    @abstractmethod
    def _fault(self, bug: Exception) -> Commands[None]:
        """A bug on the way: refuse."""

    def _ask[T](
        self, question: Coroutine[Any, Any, T], meanwhile: Iterator[io.Event | None] | None = None
    ) -> Commands[T]:
        """Wait for an answer; an exception on the way is raised here. For `meanwhile` see `Await`."""
        value, error = yield Await(question, meanwhile)
        if error is not None:
            raise RuntimeError("a question failed") from error
        return value  # type: ignore[no-any-return]


async def turns() -> None:
    """Let the event loop turn until all that the kernel knew has been told."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
