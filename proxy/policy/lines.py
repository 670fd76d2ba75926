"""
Requests as JSON lines: ``{"id", "method", "url", "headers": [[name, value], …], "body" | "body_base64"}``.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

from proxy.action import Request
from proxy.errors import SluiceError
from proxy.policy.asked import request

MAX_LINE: Final = 16 * 1024 * 1024
MAX_ID: Final = 1_000


class Lines(Protocol):
    """Where lines come from: a file opened for reading bytes."""

    def readline(self, limit: int, /) -> bytes:
        """At most `limit` bytes of the next line; empty at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """One line: its request, or why there is none. `id` is what the line says it is."""

    id: object
    request: Request | None
    why: str = ""


def read_requests(lines: Lines) -> Iterator[Given]:
    """What each line holds, in their order; none is left out."""
    while line := lines.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = lines.readline(MAX_LINE)
            yield Given(None, None, f"the line is over {MAX_LINE} bytes")
        else:
            yield _given(line)


class _BadLineError(Exception):
    pass


def _given(line: bytes) -> Given:
    id: object = None
    try:
        given = _object(line)
        id = _id(given)
        return Given(id, _asked(given))
    except _BadLineError as error:
        return Given(id, None, str(error))
    except SluiceError as error:
        return Given(id, None, error.problems[0].what)


def _object(line: bytes) -> dict[str, object]:
    try:
        found = json.loads(line.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _BadLineError("the line is not JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise _BadLineError("the line is no JSON object")
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _BadLineError("the line has the same key twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise _BadLineError(f"{name} is not JSON")


def _id(given: dict[str, object]) -> object:
    id = given.get("id")
    if id is None or isinstance(id, int) or (isinstance(id, str) and len(id) <= MAX_ID):
        return id
    raise _BadLineError("the id is neither a short text nor a whole number")


def _asked(given: dict[str, object]) -> Request:
    return request(_text(given, "method"), _text(given, "url"), _headers(given), _body(given))


def _text(given: dict[str, object], key: str) -> str:
    found = given.get(key)
    if not isinstance(found, str):
        raise _BadLineError(f"the line has no {key}")
    return found


def _headers(given: dict[str, object]) -> list[tuple[str, str]]:
    found = given.get("headers") or []
    if isinstance(found, list):
        pairs = [pair for pair in found if isinstance(pair, list) and len(pair) == 2]
        texts = [(name, value) for name, value in pairs if isinstance(name, str) and isinstance(value, str)]
        if len(texts) == len(found):
            return texts
    raise _BadLineError("the headers are no list of [name, value]")


def _body(given: dict[str, object]) -> bytes:
    text, coded = given.get("body"), given.get("body_base64")
    if text is not None and coded is not None:
        raise _BadLineError("the line has both body and body_base64")
    try:
        if isinstance(text, str):
            return text.encode("utf-8")
        if isinstance(coded, str):
            return base64.b64decode(coded, validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise _BadLineError("the body cannot be read") from None
    if text is None and coded is None:
        return b""
    raise _BadLineError("the body is no text")
