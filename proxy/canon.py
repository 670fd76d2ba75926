"""
Canonical JSON: the one way in which an entry's bytes say what they say.

RFC 8785 over less of JSON (`PROFILE`): keys of ``[a-z0-9_.]+``, strings, integers of at most
2^53 - 1, booleans, null, lists and objects, 16 levels, no floats. Within that, and only within
it, sorted keys and no spaces are all of RFC 8785, so everything outside is refused by name
rather than written slightly differently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json import encoder
from typing import Final, NoReturn

from proxy.errors import Exit, Problem, SluiceError

PROFILE: Final = "jcs-restricted-1"
LIMIT: Final = 65_535
"""Bytes of a body at most (what a bundle of the tlog-tiles format can carry)."""
EXACT: Final = 2**53 - 1
DEPTH: Final = 16

_TEXT: Final = rb'"[^"\\\x00-\x1f]*+"'
_VALUE: Final = rb"(?:%b|0|-?[1-9][0-9]{0,14}+|true|false|null|\[(?:%b(?:,%b)*+)?+\])" % (_TEXT, _TEXT, _TEXT)
_MEMBER: Final = rb'"[a-z0-9_.]++":%b' % _VALUE
_PLAIN: Final = re.compile(rb"\{%b(?:,%b)*+\}" % (_MEMBER, _MEMBER))
_FORMS: Final = 100
_NAMES: Final = 64
"""Names of an object at most that a form is kept for: it takes some milliseconds to make."""
_KEYS: Final = re.compile(r"[a-z0-9_.]*", re.ASCII)


class UnfitError(SluiceError):
    """A value cannot stand in an entry; `code` is one word for machines."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(Problem(what), exit=Exit.NO)
        self.code = code


def canonical(value: object) -> bytes:
    """The one way to write a value of the profile; UnfitError for any other value."""
    weigh(value)
    return encode(value)


def encode(value: object) -> bytes:
    """As `canonical`, for a value that has been weighed: outside the profile the bytes are not canonical."""
    return _ENCODE(value).encode()


class Forms:
    """
    Tells of most lines that they are canonical, from their form alone: for a third of what writing
    them anew costs.

    That is so for an object whose values need no escape and no more than 15 digits, or are lists
    of such text. Most entries have the names of one before, of which one form is kept.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], re.Pattern[bytes]] = {}

    def fit(self, line: bytes, value: dict[str, object]) -> bool:
        """Whether the line that says this is canonical for sure; False says nothing."""
        names = tuple(value)
        form = self._known.get(names)
        if form is not None:
            return form.fullmatch(line) is not None
        if not _is_plain(line, value):
            return False
        if len(self._known) < _FORMS and len(names) <= _NAMES:
            members = b",".join(b'"%b":%b' % (re.escape(name.encode()), _VALUE) for name in names)
            self._known[names] = re.compile(rb"\{%b\}" % members)
        return True


def parse(body: bytes, forms: Forms | None = None) -> dict[str, object]:
    """
    What a body says; UnfitError unless these are the very bytes that `canonical` writes.

    That refuses, each by itself: keys given twice, spaces, other escapes, other forms of a
    number, other orders. Whoever parses many brings `forms`.
    """
    if len(body) > LIMIT:
        raise too_long(len(body), LIMIT)
    return parse_line(body, forms)


def parse_line(line: bytes, forms: Forms | None = None) -> dict[str, object]:
    """As `parse`, for a line of any length that is not an entry's."""
    value = read(line)
    plain = _is_plain(line, value) if forms is None else forms.fit(line, value)
    if not plain and canonical(value) != line:
        raise UnfitError("not_canonical", "it is not written in the canonical way")
    return value


def read(line: bytes) -> dict[str, object]:
    """
    What a line says, in half the time of `parse`: for showing, never for verifying.

    UnfitError where it is no JSON object, or has a number that is no integer.
    """
    try:
        value = _decoded(line.decode())
    except UnicodeDecodeError:
        raise UnfitError("not_utf8", "it is not UTF-8") from None
    except (ValueError, RecursionError):
        raise UnfitError("not_json", "it is not JSON") from None
    if type(value) is not dict:
        raise UnfitError("not_json", "it is not a JSON object")
    return value


def _decoded(text: str) -> object:
    """As `JSONDecoder.decode`, which looks for spaces around the value first: canonical lines have none."""
    try:
        value, end = _SCAN(text, 0)
    except StopIteration:
        end = -1
    return value if end == len(text) else _DECODER.decode(text)


def _is_plain(line: bytes, value: dict[str, object]) -> bool:
    """
    As `Forms.fit`, for names that did not come before.

    A quote is the end of a string or the beginning of one here, so that as many keys are written
    as quotes stand before a colon; one given twice is one less in `value`.
    """
    if _PLAIN.fullmatch(line) is None or line.count(b'":') != len(value):
        return False
    names = list(value)
    return names == sorted(names)


def weigh(value: object, depth: int = 0) -> int:
    """
    Bytes that a value takes at most; UnfitError outside the profile.

    One character is at most six. `depth` is how many levels are around it already.
    """
    if type(value) is str:
        return _weigh_text(value)
    if type(value) is int:
        if -EXACT <= value <= EXACT:
            return 18
        raise UnfitError("profile", "an integer beyond 2^53 - 1 is not exact everywhere")
    if value is None or type(value) is bool:
        return 6
    if depth >= DEPTH:
        raise UnfitError("profile", f"more than {DEPTH} levels")
    if type(value) is dict:
        return _weigh_object(value, depth + 1)
    if type(value) is list:
        return 2 + sum(weigh(item, depth + 1) + 1 for item in value)
    name = type(value).__name__
    raise UnfitError("profile", f"a {name} cannot be written: only str, int, bool, None, list and dict can")


def _weigh_text(text: str) -> int:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UnfitError("profile", "text with half a surrogate pair cannot be written") from None
    return 6 * len(text) + 2


def _weigh_object(value: dict[str, object], depth: int) -> int:
    weight = 2
    try:
        names = "".join(value)
    except TypeError:
        raise UnfitError("profile", "a key that is not text cannot be written") from None
    if "" in value or not _KEYS.fullmatch(names):
        odd = next(name for name in value if not name or not _KEYS.fullmatch(name))
        raise UnfitError("profile", f"{odd[:40]!r} is no name for a field: a-z, 0-9, _ and . are")
    for item in value.values():
        if type(item) is str and item.isascii():
            weight += 6 * len(item) + 4
        else:
            weight += weigh(item, depth) + 2
    return weight + len(names) + 2 * len(value)


def too_long(size: int, limit: int) -> UnfitError:
    """What is wrong with an entry of so many bytes."""
    return UnfitError("too_long", f"an entry of {size} bytes: at most {limit} can be written")


def _float(_: str) -> NoReturn:
    raise UnfitError("profile", "a number that is not a plain integer")


def _encoder() -> Callable[[object], str]:
    """
    What writes a value of the profile.

    `JSONEncoder.encode` makes its C encoder anew for every call; where there is one it is made once.
    """
    plain = json.JSONEncoder(
        sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
    )
    make = getattr(encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    pieces = make(None, plain.default, encoder.encode_basestring, None, ":", ",", True, False, False)
    return lambda value: "".join(pieces(value, 0))


_ENCODE: Final = _encoder()
_DECODER: Final = json.JSONDecoder(parse_float=_float, parse_constant=_float)
_SCAN: Final = _DECODER.scan_once  # type: ignore[attr-defined]
