"""What is said at every beat while something else is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from mitmproxy.proxy.events import Event


class Pulse:
    """
    Hands the next of `words` to `say` every `seconds`, the first one after `seconds`.

    None is a beat at which nothing is said. It ends with the words, or when it is stopped: after
    that nothing is said any more.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        words: Iterator[Event | None],
        say: Callable[[Event], None],
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._words = words
        self._say = say
        self._timer = loop.call_later(seconds, self._beat)

    def _beat(self) -> None:
        try:
            word = next(self._words)
        except StopIteration:
            return
        self._timer = self._loop.call_later(self._seconds, self._beat)
        if word is not None:
            self._say(word)

    def stop(self) -> None:
        """No word after this one."""
        self._timer.cancel()
