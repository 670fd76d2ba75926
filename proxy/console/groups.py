"""
Alike holds, to be decided together: what they share, and in what each differs from the others.

Whole requests are compared, not their summaries: address, headers and body, taken apart into
named values as far as they can be. A difference that does not fit beside the others cannot be
seen, so its hold is decided by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from proxy.render.text import url_parts
from proxy.wire import HoldView

LARGEST: Final = 50
"""How many holds are decided together at most."""

MAX_ROWS: Final = 8
"""Differing fields of one hold that are shown; one that has more is decided by itself."""
MAX_TEXT: Final = 200
PAGE: Final = 10
"""The step that stands for a page."""
_MAX_BODY: Final = 64 * 1024
_MAX_VALUES: Final = 1_000
_MAX_DEPTH: Final = 32

type Facts = Mapping[str, str]
type Row = tuple[str, str]


def kinship(view: HoldView) -> tuple[object, ...]:
    """Holds with the same are alike: rules, agent, operation and host."""
    return (view.rules, view.agent, view.operation, url_parts(view.url)[1], view.state, view.window)


def alike(view: HoldView, among: Iterable[HoldView]) -> list[HoldView]:
    """
    The holds that wait and are like this one, itself the first, at most `LARGEST`.

    What has to be typed to be approved is like no other.
    """
    others = [one for one in among if one.id != view.id and kinship(one) == kinship(view) and not one.confirm]
    return [view, *others][:LARGEST]


@dataclass(slots=True)
class Group:
    """
    Alike holds as they were when the reviewer began; `whole` are those that have been read since.

    `at` is the one that the cursor is on, `out` those that are left out; whoever draws says how
    many there are to a `page`.
    """

    views: tuple[HoldView, ...]
    whole: dict[str, HoldView] = field(default_factory=dict)
    out: set[str] = field(default_factory=set)
    at: int = 0
    page: int = 1
    _rows: dict[str, tuple[Row, ...]] = field(default_factory=dict)
    _shared: tuple[Row, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether every request has been read."""
        return bool(self.views) and all(view.id in self.whole for view in self.views)

    def move(self, step: int) -> None:
        """Move the cursor by so many, by a page for more than one."""
        by = step if abs(step) != PAGE else step // PAGE * self.page
        self.at = max(0, min(self.at + by, len(self.views) - 1))

    @property
    def chosen(self) -> list[HoldView]:
        """Those that are not left out."""
        return [view for view in self.views if view.id not in self.out]

    def took(self, view: HoldView) -> None:
        """One whole request has come; another one than was listed is not taken for it."""
        if any((one.id, one.digest) == (view.id, view.digest) for one in self.views):
            self.whole[view.id] = view
        if self.ready:
            self._compare()

    def drop(self, id: str) -> None:
        """One cannot be read any more: it has ended."""
        self.views = tuple(view for view in self.views if view.id != id)
        self.move(0)
        if self.ready:
            self._compare()

    def rows(self, id: str) -> tuple[Row, ...]:
        """In what a hold differs from the others, field by field."""
        return self._rows.get(id, ())

    @property
    def shared(self) -> tuple[Row, ...]:
        """The shown fields that are the same in all of them."""
        return self._shared

    def alone(self, id: str) -> str:
        """Why a hold has to be decided by itself; empty where it has not."""
        rows = self.rows(id)
        if len(rows) > MAX_ROWS:
            return "it differs in too many fields to be read here"
        if any(len(name) > MAX_TEXT or len(value) > MAX_TEXT for name, value in rows):
            return "it differs in a value that is too long to be read here"
        if not rows and len(self.views) > 1:
            return "it differs in what cannot be shown here"
        return ""

    def _compare(self) -> None:
        facts = {view.id: _facts(self.whole[view.id]) for view in self.views}
        names = dict.fromkeys(name for one in facts.values() for name in one)
        same = {name for name in names if len({one.get(name) for one in facts.values()}) == 1}
        for id, one in facts.items():
            differing = ((name, one.get(name, "(absent)")) for name in names if name not in same)
            self._rows[id] = (*differing, *self._twins(id))
        first = self.views[0]
        self._shared = tuple((name, ", ".join(values)) for name, values in first.show.items() if name in same)

    def _twins(self, id: str) -> Iterator[Row]:
        """That others are for the very same request: each that is approved is sent."""
        twins = [one.id[:6] for one in self.views if one.id != id and one.digest == self.whole[id].digest]
        if twins:
            yield "the same request as", ", ".join(twins[:3]) + (", …" if len(twins) > 3 else "")


def _facts(view: HoldView) -> Facts:
    """A whole request as named values; the shown fields first, then what of the rest they do not say."""
    found: dict[str, list[str]] = {}
    for name, value in _named(view):
        found.setdefault(name, []).append(value)
    shown = {name: list(values) for name, values in view.show.items()}
    return {name: ", ".join(values) for name, values in {**shown, **found}.items()}


def _named(view: HoldView) -> Iterator[Row]:
    address, _, query = view.url.partition("?")
    yield "method", view.method
    yield "address", address
    yield from ((f"query.{name}", value) for name, value in _pairs(query))
    yield from _body(view)
    for name, value in view.headers:
        if name.lower() != "content-length":
            yield f"header.{name.lower()}", value
    yield "first seen", ", ".join(view.first_seen)


def _body(view: HoldView) -> Iterator[Row]:
    text = view.body
    kind = "".join(value for name, value in view.headers if name.lower() == "content-type").lower()
    if len(text) > _MAX_BODY:
        yield "body", text
    elif "json" in kind and (tree := _json(text)) is not None:
        yield from tree
    elif kind.startswith("application/x-www-form-urlencoded"):
        yield from ((f"form.{name}", value) for name, value in _pairs(text))
    else:
        yield "body", text


def _pairs(text: str) -> Sequence[Row]:
    """The names and values of a form; all of it as one value where it cannot be taken apart."""
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_VALUES)
    except ValueError:
        return [("", text)]


def _json(text: str) -> list[Row] | None:
    try:
        tree = json.loads(text, parse_int=_Number, parse_float=_Number, object_pairs_hook=_once)
        found = list(_flat(tree, "json", 0))
    except (ValueError, RecursionError):
        return None
    return found if len(found) <= _MAX_VALUES else None


class _Number(str):
    """A number as it is written: 1.0 and 1.00 are two texts."""

    __slots__ = ()


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _flat(value: object, name: str, depth: int) -> Iterator[Row]:
    """Every value by the steps to it; an empty list or object is a value too."""
    if depth > _MAX_DEPTH:
        raise ValueError("too deep to be read")
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}", depth + 1)
    elif isinstance(value, list) and value:
        for at, item in enumerate(value):
            yield from _flat(item, f"{name}.{at}", depth + 1)
    else:
        yield name, str(value) if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)
