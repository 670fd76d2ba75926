"""
The operations of AWS's REST services, found by method, path and query.

What the routes are comes from AWS's own models, which somebody else reads (`Services`): this
room opens no files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from proxy.decode.aws_hosts import Endpoint


@dataclass(frozen=True, slots=True)
class Route:
    """
    Where an operation is found.

    `segments` are the path's, None for a label and ``...`` for the rest of the path; `query` are
    the parameters that select it, with their value or None for any.
    """

    action: str
    method: str
    segments: tuple[str | None, ...]
    query: tuple[tuple[str, str | None], ...] = ()


REST: Final = "..."


def route(action: str, method: str, uri: str) -> Route:
    """A route from its HTTP trait, as in ``/{Bucket}/{Key+}?tagging``."""
    path, _, query = uri.partition("?")
    segments = tuple(
        REST if part.endswith("+}") else None if part.startswith("{") else part
        for part in path.split("/")[1:]
        if part or path == "/"
    )
    selects = []
    for one in query.split("&") if query else ():
        name, equals, value = one.partition("=")
        selects.append((name, value if equals and value else None))
    return Route(action, method, segments, tuple(selects))


class _Key(NamedTuple):
    method: str
    first: str | None


class Service:
    """The routes of one endpoint, by method and first segment."""

    __slots__ = ("_routes",)

    def __init__(self, routes: Iterable[Route]) -> None:
        index: dict[_Key, list[Route]] = {}
        for one in routes:
            index.setdefault(_Key(one.method, one.segments[0] if one.segments else ""), []).append(one)
        self._routes: Mapping[_Key, Sequence[Route]] = index

    def actions(
        self, method: str, segments: Sequence[str], query: Mapping[str, Sequence[str | None]]
    ) -> tuple[str, ...]:
        """The operations that a request may be, the most closely selected; none where it is unknown."""
        found = [
            one
            for first in dict.fromkeys((segments[0], None, REST))
            for one in self._routes.get(_Key(method, first), ())
            if _leads(one.segments, segments) and _selected(one.query, query)
        ]
        if not found:
            return ()
        closest = max(len(one.query) for one in found)
        literal = max(_literals(one) for one in found if len(one.query) == closest)
        several = [one for one in found if len(one.query) == closest and _literals(one) == literal]
        return tuple(dict.fromkeys(one.action for one in several))


class Services(Protocol):
    """What AWS's models say of its services."""

    def find(self, endpoint: Endpoint) -> Service | None:
        """The routes at an endpoint; None where they are not known."""
        ...


class _NoServices:
    def find(self, endpoint: Endpoint) -> Service | None:
        return None


NO_SERVICES: Final[Services] = _NoServices()


def _leads(route: Sequence[str | None], segments: Sequence[str]) -> bool:
    if route and route[-1] == REST:
        if len(segments) < len(route) or not all(segments[: len(route)]):
            return False
        return all(_is(*pair) for pair in zip(route[:-1], segments, strict=False))
    return len(route) == len(segments) and all(map(_is, route, segments))


def _is(wanted: str | None, segment: str) -> bool:
    return bool(segment) if wanted is None else wanted == segment


def _selected(selects: Sequence[tuple[str, str | None]], query: Mapping[str, Sequence[str | None]]) -> bool:
    return all(name in query and (value is None or value in query[name]) for name, value in selects)


def _literals(route: Route) -> int:
    return sum(part is not None and part != REST for part in route.segments)
