"""
What has been on the screen, and for how long: what a key may decide about.

Things go by names that the frame gives them. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

ARMING: Final = 0.5
"""Seconds from the first sight of a thing until a key may decide it."""


@dataclass(slots=True)
class Sights:
    """
    The names of the last frame, and what is remembered of those before.

    `on_screen` is empty while a frame is on its way: until it is drawn, nothing can be said to be
    on the screen.
    """

    on_screen: frozenset[str] = frozenset()
    _first: dict[str, float] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)
    _read: set[str] = field(default_factory=set)

    def drawn(self, names: Collection[str], time: float, known: Collection[str] = ()) -> None:
        """
        A frame that shows these things is on the screen since now.

        What is `known` stays known while it is out of sight.
        """
        self._read.update(name for name, since in self._since.items() if time >= since + ARMING)
        self.on_screen = frozenset(names)
        self._since = {name: self._since.get(name, time) for name in names}
        kept = self._first.keys() & set(known)
        self._first = {name: self._first.get(name, time) for name in kept.union(names)}

    def blank(self) -> None:
        """A frame is on its way."""
        self.on_screen = frozenset()

    def forget(self) -> None:
        """What was read until now counts no more."""
        self._read.clear()

    def armed(self, name: str, time: float) -> bool:
        """Whether a thing is on the screen, and has been known for long enough to be meant."""
        return name in self.on_screen and time >= self._first.get(name, time) + ARMING

    def was_read(self, name: str, time: float) -> bool:
        """Whether a thing has stood on the screen for long enough, now or since `forget`."""
        return name in self._read or (name in self.on_screen and time >= self._since[name] + ARMING)
