"""
JSON bodies (RFC 8259), read strictly: what parsers disagree about is unreadable.

Duplicate keys, a byte order mark, NaN, lone surrogates, anything that is not UTF-8, anything
after the value, more than `MAX_DEPTH` levels or `MAX_VALUES` values. Numbers keep their text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NoReturn

from proxy.action import ABSENT, Document, Field, Reading, Values
from proxy.decode.http import Unreadable
from proxy.decode.once import Once

MAX_DEPTH: Final = 100
MAX_CONTAINERS: Final = 100_000
MAX_VALUES: Final = 500_000

type Tree = dict[str, Tree] | list[Tree] | str | bool | None

# A string, or what of one is left where a text was cut.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+\\?(?:"|\Z)', re.DOTALL)
_BEGINNING: Final = 64 * 1024
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def is_json(media_type: str) -> bool:
    """Whether a media type declares JSON (RFC 6839 section 3.1 for ``+json``; AWS's own)."""
    return (
        media_type in ("application/json", "text/json")
        or media_type.endswith("+json")
        or media_type in ("application/x-amz-json-1.0", "application/x-amz-json-1.1")
    )


def parse(body: bytes) -> Tree:
    """The value of a JSON text; Unreadable where a strict reader and a lax one would differ."""
    _check_size(body)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("the JSON body is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise Unreadable("the JSON body begins with a byte order mark")
    try:
        tree: Tree = _DECODER.decode(text)
    except RecursionError:
        raise Unreadable(f"the JSON body is more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError):
            raise Unreadable(f"the JSON body is malformed at character {error.pos}") from None
        raise
    if "\\" in text and ("\\ud" in text or "\\uD" in text):
        _check_surrogates(tree)
    return tree


def _check_size(body: bytes) -> None:
    opened = body.count(b"[") + body.count(b"{")
    if opened > MAX_DEPTH:
        if _is_deep(body[:_BEGINNING]):  # what is meant to hurt mostly begins at once
            raise Unreadable(f"the JSON body is more than {MAX_DEPTH} levels deep")
        if opened > MAX_CONTAINERS and _outside_strings(body, b"[{") > MAX_CONTAINERS:
            raise Unreadable(f"the JSON body has more than {MAX_CONTAINERS} arrays and objects")
        if len(body) > _BEGINNING and _is_deep(body):
            raise Unreadable(f"the JSON body is more than {MAX_DEPTH} levels deep")
    if len(body) > MAX_VALUES and body.count(b",") > MAX_VALUES and _outside_strings(body, b",") > MAX_VALUES:
        raise Unreadable(f"the JSON body has more than {MAX_VALUES} values")


def _outside_strings(body: bytes, marks: bytes) -> int:
    bare = _STRING.sub(b"", body)
    return sum(bare.count(mark) for mark in (marks[at : at + 1] for at in range(len(marks))))


def _is_deep(body: bytes) -> bool:
    """Whether so many brackets are open at once, told by taking the innermost pairs away, layer by layer."""
    brackets = _STRING.sub(b"", body).translate(None, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        inner = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(inner) == len(brackets):
            # What is left has no pairs: it is cut off, or malformed.
            return inner.count(b"[") + inner.count(b"{") > MAX_DEPTH
        brackets = inner
    return bool(brackets)


def _object(pairs: list[tuple[str, Tree]]) -> Tree:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("the JSON body has the same key twice in one object")
    return found


def _constant(_: str) -> NoReturn:
    raise Unreadable("the JSON body has a number that JSON does not know")


# Made once: it holds no state between two calls of decode().
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=str, parse_float=str, parse_constant=_constant
)


def _check_surrogates(tree: Tree) -> None:
    waiting = [tree]
    while waiting:
        match waiting.pop():
            case dict() as found:
                waiting += found.values()
                waiting += found.keys()
            case list() as items:
                waiting += items
            case str() as text if _SURROGATE.search(text):
                raise Unreadable("the JSON body has half a surrogate pair")


def document(tree: Tree) -> Document:
    """
    Reads a field: dots step into objects, arrays are walked, scalars are their text.

    An object where a value was expected, and a key that differs from the name only in its
    case (some servers take it for the same), are values that cannot be read.
    """
    spelled = Once(lambda: _by_lower_case(_keys(tree)))
    top = tree if isinstance(tree, dict) else None
    at_top = Once(lambda: _by_lower_case(top or ()))

    def read(name: Field) -> Reading:
        # Most names stand nowhere in a body, or once at its top: then nothing is walked, however large it is.
        if top is not None and name:
            step = name[0]
            spellings = at_top().get(step.lower())
            if spellings is None:
                return ABSENT
            if len(name) == 1 and spellings == [step] and not isinstance(value := top[step], list):
                return Values((_scalar(value),))
        return walk(name)

    def walk(name: Field) -> Reading:
        level, twisted = _values([tree]), 0
        for step in name:
            spellings = spelled().get(step.lower(), _NOWHERE)
            others = {key for key in spellings if key != step and len(key) == len(step)}
            objects = [value for value in level if isinstance(value, dict)] if spellings else []
            if others:
                twisted += sum(key in others for value in objects for key in value)
            level = _values([value[step] for value in objects if step in value])
        found = (*(None,) * twisted, *map(_scalar, level))
        return Values(found) if found else ABSENT

    return read


_NOWHERE: Final[Sequence[str]] = ()


def _keys(tree: Tree) -> set[str]:
    """Every key of a body."""
    keys: set[str] = set()
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            keys.update(value)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return keys


def _by_lower_case(keys: Iterable[str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(key.lower(), []).append(key)
    return found


def _values(level: list[Tree]) -> list[Tree]:
    """What stands there once arrays are walked, in order."""
    while any(isinstance(value, list) for value in level):
        level = [one for value in level for one in (value if isinstance(value, list) else (value,))]
    return level


def _scalar(value: Tree) -> str | None:
    match value:
        case True:
            return "true"
        case False:
            return "false"
        case None:
            return "null"
        case str():
            return value
        case _:
            return None
