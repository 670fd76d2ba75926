"""
How a request differs from an earlier one, in lines that a reviewer reads at a glance.

Pure, secrets removed, and bounded: a request is taken apart into at most so many named values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import parse_qsl

from proxy.action import Request
from proxy.chain import cut
from proxy.records import readable

type Facts = Mapping[str, str]
"""The named values of a request, as text: ``json.amount``, ``header.accept``, ``query.page`` …"""

MAX_FACTS: Final = 100
MAX_VALUE: Final = 100
MAX_LINES: Final = 12
_BODY_READ: Final = 256 * 1024
# What differs from one attempt to the next says nothing.
_PASSING: Final = frozenset({"content-length", "date", "user-agent", "idempotency-key", "x-request-id"})


def facts(request: Request) -> Facts:
    """A request as named values, the first `MAX_FACTS` of them."""
    found: dict[str, str] = {}
    for name, value in _values(request):
        if name in found:
            value = f"{found[name]}, {value}"
        found[name] = cut(value, MAX_VALUE)
        if len(found) >= MAX_FACTS:
            break
    return found


def differences(before: Facts, after: Facts) -> tuple[str, ...]:
    """What is another value, has gone or is new, in the order of the later request; none where equal."""
    lines = []
    for name in dict.fromkeys((*after, *before)):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if old is None:
            lines.append(f"{name}: new, {new}")
        elif new is None:
            lines.append(f"{name}: gone, was {old}")
        else:
            lines.append(f"{name}: {old} -> {new}")
    rest = len(lines) - MAX_LINES
    return (*lines[:MAX_LINES], *([f"and {rest} more"] if rest > 0 else []))


def _values(request: Request) -> Iterator[tuple[str, str]]:
    clean = readable(request)
    _, _, query = clean.url.partition("?")
    for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=None)[:MAX_FACTS]:
        yield f"query.{name}", value
    yield from _body(clean.body_text[:_BODY_READ], request)
    for name, value in clean.headers:
        if name.lower() not in _PASSING:
            yield f"header.{name.lower()}", value


def _body(text: str, request: Request) -> Iterator[tuple[str, str]]:
    kind = b"".join(request.header(b"content-type")).lower()
    if b"json" in kind:
        try:
            yield from _flat(json.loads(text), "json", 0)
            return
        except (ValueError, RecursionError):
            pass
    if kind.startswith(b"application/x-www-form-urlencoded"):
        for name, value in parse_qsl(text, keep_blank_values=True)[:MAX_FACTS]:
            yield f"form.{name}", value
    elif text:
        yield from ((f"body line {number}", line) for number, line in enumerate(text.splitlines(), 1))


def _flat(value: object, name: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and depth < 16:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{cut(key, 60)}", depth + 1)
    elif isinstance(value, list) and depth < 16:
        for item in value:
            yield from _flat(item, name, depth + 1)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)
