"""
From the table of `proxy.hold` to what has to be brought about: a way to each transition. Pure.

The table is read, never repeated: a state or an event that is added to it is tested by being
there, and one that nothing here brings about fails the suite (`NoWayError`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from proxy.hold import Event, State

type Table = Mapping[tuple[State, Event], State]


class NoWayError(Exception):
    """Transitions that the suite cannot bring about."""


@dataclass(frozen=True, slots=True)
class Way:
    """A transition, and the events that lead a new hold to where it begins."""

    path: tuple[Event, ...]
    state: State
    event: Event
    target: State

    def __str__(self) -> str:
        return f"{self.state} --{self.event}-> {self.target}"


def ways(table: Table, known: Collection[Event]) -> tuple[Way, ...]:
    """
    A shortest way to each transition, over the events that are `known` how to bring about.

    Raises NoWayError where there is none.
    """
    paths = _paths(table, known, State.PENDING)
    unreached = [
        f"{state} --{event}-> {target}"
        for (state, event), target in table.items()
        if state not in paths or event not in known
    ]
    if unreached:
        raise NoWayError("the suite has no way to bring about " + ", ".join(unreached))
    return tuple(Way(paths[state], state, event, target) for (state, event), target in table.items())


def onward(table: Table, known: Collection[Event], state: State) -> tuple[Event, ...]:
    """The shortest way on from a state to a release by people, empty where there is none."""
    return _paths(table, known, state).get(State.APPROVED, ())


def _paths(table: Table, known: Collection[Event], begin: State) -> dict[State, tuple[Event, ...]]:
    paths: dict[State, tuple[Event, ...]] = {begin: ()}
    waiting = deque(paths)
    while waiting:
        state = waiting.popleft()
        for (source, event), target in table.items():
            if source is state and event in known and target not in paths:
                paths[target] = (*paths[state], event)
                waiting.append(target)
    return paths
