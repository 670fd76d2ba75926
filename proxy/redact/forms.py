"""URLs, forms, multipart and JSON: in each, a value is known to be secret by the name it has there."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_plus

from proxy.redact.names import secret_name, secret_parameter, steps_of
from proxy.redact.shapes import Found, scrub, scrub_path, shapes

WINDOW: Final = 64 * 1024
"""Bytes of a body that are shown at most."""
DEPTH: Final = 100
PARTS: Final = 200
_LONGEST_WORD: Final = 4096


def url_without(url: str, found: Found) -> str:
    """A URL without its secrets."""
    before, mark, query = url.partition("?")
    scheme, slashes, rest = before.rpartition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    if at:
        host = found.mark(user, "userinfo", unquote_plus(user), user.partition(":")[2]) + at + host
    clean = f"{scheme}{slashes}{scrub_path(f'{host}{slash}{path}', found)}"
    return f"{clean}?{parameters(query, found, 'query', in_url=True)}" if mark else clean


def parameters(text: str, found: Found, where: str, *, in_url: bool = False) -> str:
    """``name=value&…`` of a URL or a form; what holds no secret stays as it is written."""
    return "".join(
        piece if at % 2 else _parameter(piece, found, where, in_url)
        for at, piece in enumerate(re.split(r"([&;#])", text))
    )


def _parameter(pair: str, found: Found, where: str, in_url: bool) -> str:
    name, equals, value = pair.partition("=")
    if not equals:
        return scrub(pair, found, where)
    plain = unquote_plus(name) if "%" in name or "+" in name else name
    if (secret_parameter(plain) if in_url else secret_name(steps_of(plain))) and value:
        return f"{name}={found.mark(value, f'{where} {plain[:60]}', unquote_plus(value))}"
    decoded = unquote_plus(value) if "%" in value or "+" in value else value
    place = f"{where} {plain[:60]}"
    clean = scrub(decoded, found, place)
    if clean == decoded:
        return pair
    kept = found.rewritten(value, decoded, clean, place)
    return f"{scrub(name, found, where)}={clean if kept is None else kept}"


def body_without(media_type: str, data: bytes, found: Found, coding: str) -> tuple[str, str]:
    """The text of a body, and what of it is not shown."""
    if not data:
        return "", ""
    kind = _kind(media_type)
    if coding:
        return "", f"{len(data)} bytes, coded as {coding[:40]}, not shown"
    if (boundary := _multipart_boundary(media_type)) is not None:
        text = _multipart(data[:WINDOW], boundary, found)
    else:
        plain = _plain(data)
        if plain is None:
            return "", f"{len(data)} bytes of {kind or 'no declared type'}, not shown"
        text = _by_kind(kind, plain, found)
    note = f"only the first {WINDOW} of {len(data)} bytes are shown" if len(data) > WINDOW else ""
    return text, note


def text_without(media_type: str, text: str, found: Found) -> str:
    """A whole body that is text."""
    if (boundary := _multipart_boundary(media_type)) is not None:
        return _multipart(text.encode(), boundary, found)
    return _by_kind(_kind(media_type), text, found)


def _kind(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()[:100]


def _multipart_boundary(media_type: str) -> bytes | None:
    return (_boundary(media_type) or None) if _kind(media_type) == "multipart/form-data" else None


def _plain(data: bytes) -> str | None:
    """The text of the window, None where it is not text; a cut word at its end is dropped."""
    window = data[:WINDOW]
    cut = len(data) > WINDOW
    try:
        text = window.decode("utf-8")
    except UnicodeDecodeError as error:
        if not cut or error.start < WINDOW - 4:
            return None
        text = window[: error.start].decode("utf-8")
    if "\0" in text:
        return None
    return text[: _word_end(text)] if cut else text


def _word_end(text: str) -> int:
    """Where the last whole word ends: half a secret has no shape by which it would be known."""
    earliest = max(len(text) - _LONGEST_WORD, 0)
    return next((at for at in range(len(text), earliest, -1) if text[at - 1] in " \t\r\n&,"), earliest)


def _by_kind(kind: str, text: str, found: Found) -> str:
    if kind == "application/x-www-form-urlencoded":
        return parameters(text, found, "form")
    if text.lstrip()[:1] in ("{", "[") or (kind.endswith("json") and text.lstrip()[:1] == '"'):
        return shapes(as_json(text, found), found, "body")
    return scrub(text, found, "body")


def _boundary(media_type: str) -> bytes:
    found = re.search(r"boundary=(?:\"([^\"]{1,200})\"|([^\s;\"]{1,200}))", media_type, re.IGNORECASE)
    return (found[1] or found[2]).encode("latin-1", "replace") if found else b""


def _multipart(data: bytes, boundary: bytes, found: Found) -> str:
    parts = data.split(b"--" + boundary)
    shown = [_part(part, found) for part in parts[:PARTS]]
    if len(parts) > PARTS:
        shown.append(f"… {len(parts) - PARTS} more parts")
    return f"--{boundary.decode('latin-1')}".join(shown)


def _part(part: bytes, found: Found) -> str:
    head, gap, body = part.partition(b"\r\n\r\n")
    names = scrub(head.decode("latin-1"), found, "part")
    if not gap:
        return names
    name = re.search(r"[; ]name=\"?([^\";\r\n]{1,200})", names, re.IGNORECASE)
    text = _plain(body)
    if text is None:
        return f"{names}\r\n\r\n‹{len(body)} bytes, not shown›\r\n"
    if name and secret_name(steps_of(name[1])):
        return f"{names}\r\n\r\n{found.mark(text.rstrip(), f'multipart {name[1][:60]}')}\r\n"
    kind = re.search(r"content-type:[ \t]{0,4}([^\s;]{1,100})", names, re.IGNORECASE)
    return f"{names}\r\n\r\n{_by_kind(kind[1].lower() if kind else '', text, found)}"


# -- JSON, token by token: what is no secret stays as it is written ---------------------

_TOKEN: Final = re.compile(r"\"(?:[^\"\\]++|\\[\s\S])*+\"|\"[\s\S]*+|[{}\[\],:]|\s++|[^\s\"{}\[\],:]++")


@dataclass(slots=True)
class _Level:
    """One object or list that is open: the key that its next value has, and whether that is secret."""

    is_object: bool
    path: tuple[str, ...]
    secret: bool
    key: str | None = None
    secret_key: bool = False
    named: bool = False


# {"name": "password", "value": "…"}: a value whose name stands beside it.
_NAMES: Final = frozenset({"name", "key", "parameterkey", "field", "variable", "header", "option_name"})
_VALUES: Final = frozenset({"value", "parametervalue", "val", "option_value"})
_MAY_BE_NAMED: Final = re.compile(r'"(?:parameter|option_)?val', re.IGNORECASE)


def as_json(text: str, found: Found) -> str:
    """JSON, or what looks like it, without its secrets."""
    named = _named_secret(text) if _MAY_BE_NAMED.search(text) else frozenset()
    levels = [_Level(False, (), False)]
    shown: list[str] = []
    for match in _TOKEN.finditer(text):
        piece, level = match[0], levels[-1]
        if piece in ("{", "["):
            if len(levels) > DEPTH:
                return "".join(shown) + "… nested too deeply to be shown"
            levels.append(_below(level, piece == "{"))
            levels[-1].named = match.start() in named
        elif piece in ("}", "]"):
            del levels[max(len(levels) - 1, 1) :]
            levels[-1].key = None
        elif piece == ",":
            level.key = None
        elif piece != ":" and not piece.isspace():
            piece = _json_value(piece, level, found)
        shown.append(piece)
    return "".join(shown)


def _named_secret(text: str) -> frozenset[int]:
    """Where the objects begin that name a secret beside their value, whichever comes first."""
    opened: list[int] = []
    keys: list[str | None] = []
    found = set()
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece in ("{", "["):
            if len(opened) > DEPTH:
                break
            opened.append(match.start() if piece == "{" else -1)
            keys.append(None)
        elif not opened:
            continue
        elif piece in ("}", "]"):
            opened.pop()
            keys.pop()
        elif piece == ",":
            keys[-1] = None
        elif piece != ":" and not piece.isspace():
            if keys[-1] is None:
                keys[-1] = _unquoted(piece)[:200].lower()
            elif keys[-1] in _NAMES and opened[-1] >= 0 and secret_name(steps_of(_unquoted(piece)[:200])):
                found.add(opened[-1])
    return frozenset(found)


def _below(level: _Level, is_object: bool) -> _Level:
    path = level.path if level.key is None else (*level.path, level.key)[-8:]
    return _Level(is_object, path, _is_secret(level))


def _is_secret(level: _Level) -> bool:
    return level.secret or (level.key is not None and level.secret_key)


def _json_value(piece: str, level: _Level, found: Found) -> str:
    """A string, number or word as it may be shown: a key that comes before its value, or a value."""
    plain, where = _unquoted(piece), f"body {_spelled(level)}"
    if level.is_object and level.key is None:
        level.key, where = plain[:200], "body: a key"
        told = level.named and level.key.lower() in _VALUES
        level.secret_key = told or secret_name((*level.path, level.key))
        clean = scrub(plain, found, where)
    elif _is_secret(level) and piece not in ("true", "false", "null"):
        clean = found.mark(plain, where, piece.strip('"'))
    else:
        clean = scrub(plain, found, where)
    return piece if clean == plain else _respelled(piece, plain, clean, where, found)


def _respelled(piece: str, plain: str, clean: str, where: str, found: Found) -> str:
    quote = '"' if piece[0] == '"' else ""
    closing = quote if len(piece) > 1 and piece.endswith('"') else ""
    raw = piece[len(quote) : len(piece) - len(closing)]
    kept = found.rewritten(raw, plain, clean, where)
    return json.dumps(clean, ensure_ascii=False) if kept is None else f"{quote}{kept}{closing}"


def _spelled(level: _Level) -> str:
    return ".".join((*level.path, level.key or ""))[:120].rstrip(".")


def _unquoted(piece: str) -> str:
    if piece[0] != '"':
        return piece
    if "\\" not in piece and len(piece) > 1 and piece[-1] == '"':
        return piece[1:-1]
    try:
        plain = json.loads(piece, strict=False)
    except ValueError:
        return piece[1:]
    return plain if isinstance(plain, str) else piece
