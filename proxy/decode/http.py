"""
The one reading of a request's head: host, path, query, headers, method.

Normalised here and nowhere else. Where two servers could read the same bytes differently,
nothing is guessed: `Unreadable` is raised and such a request never leaves. Follows RFC 3986
section 6.2 (escapes, case), RFC 9110 section 4 (authority) and the WHATWG URL standard for
hosts that end in a number.
"""

from __future__ import annotations

import binascii
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from proxy.action import ABSENT, UNKNOWN, Document, Field, Header, Reading, Values


class Unreadable(Exception):
    """Two servers could read these bytes differently; the message says which bytes and why."""


_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_METHOD: Final = re.compile(rb"[A-Z][A-Z0-9_-]{0,31}")
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*+")
_NUMERIC: Final = re.compile(r"\d+|0x[0-9a-f]*")
_BROKEN: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPE: Final = re.compile(rb"%(?:([0-9A-Fa-f]{2})|)")
_NOT_IN_PATH: Final = re.compile(rb"[\x00-\x20\x7f-\xff\\#]")
_ONCE: Final = frozenset(
    {
        "host", "content-type", "content-length", "transfer-encoding", "authorization", "content-encoding",
        "x-http-method-override", "x-http-method", "x-method-override", "expect", "upgrade",
    }
)  # fmt: skip
_OTHER_PATHS: Final = frozenset({"x-original-url", "x-rewrite-url"})
OVERRIDES: Final = (b"x-http-method-override", b"x-http-method", b"x-method-override")
MAX_PARAMETERS: Final = 10_000


def read_method(method: bytes) -> str:
    """The method as text; anything but an upper-case token is unreadable."""
    if not _METHOD.fullmatch(method):
        raise Unreadable("the method is not an upper-case token")
    return method.decode("ascii")


def read_host(host: str) -> str:
    """
    A host in the one spelling that rules and the address guard see.

    Lower case, A-labels, one trailing dot dropped, IP addresses canonical (IPv6 without
    brackets). Whatever another reader could take for another host is unreadable.
    """
    if not host.isascii():
        raise Unreadable("the host is not ASCII: write it as an A-label (xn--…)")
    text = host.lower()
    if ":" in text or text.startswith("["):
        return _read_ipv6(host)
    text = text.removesuffix(".")
    if _NUMERIC.fullmatch(text, text.rfind(".") + 1):
        return _read_ipv4(text)
    if len(text) > 253 or not _NAME.fullmatch(text):
        raise Unreadable("the host is not a well-formed name")
    return text


def _read_ipv4(text: str) -> str:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise Unreadable("the host is a number that is no canonical IPv4 address") from None
    if str(address) != text:
        raise Unreadable("the IPv4 address is not in its canonical spelling")
    return text


def _read_ipv6(text: str) -> str:
    bare = text.removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.IPv6Address(bare)
    except ValueError:
        raise Unreadable("the host is not a well-formed IPv6 address") from None
    if address.scope_id is not None or address.ipv4_mapped is not None:
        raise Unreadable("the IPv6 address has a zone, or is an IPv4 address in disguise")
    if str(address) != bare:
        raise Unreadable("the IPv6 address is not in its canonical spelling")
    return bare


def read_port(port: str) -> int:
    """A port in its only spelling: decimal, no leading zero, 1 to 65535."""
    if not re.fullmatch(r"[1-9]\d{0,4}", port, re.ASCII) or int(port) > 65_535:
        raise Unreadable("the port is not a decimal number from 1 to 65535 in canonical spelling")
    return int(port)


def read_path(raw: bytes) -> str:
    """
    A path, normalised: escapes of unreserved characters decoded once, others in upper case.

    Empty inner segments, dot segments (also escaped, also before ``;``), backslashes, control
    characters, raw non-ASCII, broken escapes and escapes that are not UTF-8 are unreadable.
    """
    if not raw.startswith(b"/"):
        raise Unreadable("the request target is not a path")
    if found := _NOT_IN_PATH.search(raw):
        raise Unreadable(f"the path has a raw byte 0x{found[0][0]:02x}")
    if b"%" not in raw:
        text = raw.decode("ascii")
    else:
        text = _normalise_escapes(raw).decode("ascii")
        _check_escaped(raw)
    if "//" in text:
        raise Unreadable("the path has an empty segment")
    if "/." in text:
        for segment in text.split("/"):
            if segment.startswith(".") and segment.partition(";")[0] in (".", ".."):
                raise Unreadable("the path has a dot segment")
    return text


def _normalise_escapes(raw: bytes) -> bytes:
    def one(match: re.Match[bytes]) -> bytes:
        if match[1] is None:
            raise Unreadable("the path has a % that begins no escape")
        byte = int(match[1], 16)
        if byte in _UNRESERVED:
            return bytes((byte,))
        return b"%%%02X" % byte

    return _ESCAPE.sub(one, raw)


def _check_escaped(raw: bytes) -> None:
    plain = unquote_to_bytes(raw)
    if any(byte < 0x20 or byte in b"\\\x7f" for byte in plain):
        raise Unreadable("the path has an escaped control character or backslash")
    try:
        plain.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("the path has escapes that are not UTF-8") from None


_ID: Final = re.compile(r"(?=.*\d).{4,}|\d+|.{25,}")
_VERSION: Final = re.compile(r"v\d+(?:\.\d+)*(?:[a-z]+\d*)?|\d{4}-\d{2}(?:-\d{2})?")


def operation(method: str, path: str) -> str:
    """What the action is called where no decoder knows better: segments like ids become ``*``."""
    segments = [
        "*" if _ID.fullmatch(part) and not _VERSION.fullmatch(part) else part for part in path.split("/")
    ]
    return f"{method} {'/'.join(segments)}"


# -- parameters: query strings and urlencoded forms ------------------------------------


type Steps = tuple[str, ...]
type Pairs = list[tuple[Steps, str | None]]

_BRACKETS: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def read_pairs(raw: bytes) -> Pairs:
    """
    The pairs of a query or a form (application/x-www-form-urlencoded), names split in steps.

    Brackets are steps (``card[number]``), empty and numeric ones walk an array. A value that
    cannot be read is None. Unreadable where a name cannot be read or a raw ``;`` might be a
    separator, because then any field might be meant.
    """
    if not raw:
        return []
    if b";" in raw:
        raise Unreadable("a raw ';' separates parameters for some servers and not for others")
    fields = raw.split(b"&")
    if len(fields) > MAX_PARAMETERS:
        raise Unreadable(f"more than {MAX_PARAMETERS} parameters")
    pairs: Pairs = []
    for one in fields:
        if not one:
            continue
        name, _, value = one.partition(b"=")
        key = unescape(name)
        if key is None:
            raise Unreadable("the name of a parameter cannot be read")
        pairs.append((steps_of(key), unescape(value)))
    return pairs


def unescape(raw: bytes) -> str | None:
    """One name or value: plus is a space, escapes are UTF-8; None where that does not hold."""
    if b"%" not in raw and b"+" not in raw:
        return raw.decode("ascii") if raw.isascii() else None
    if _BROKEN.search(raw):
        return None
    # The same escapes as in quoted-printable, but for their mark: undone without a step for each.
    quoted = raw.replace(b"+", b" ").replace(b"=", b"=3D").replace(b"%", b"=")
    try:
        return binascii.a2b_qp(quoted).decode("utf-8")
    except UnicodeDecodeError:
        return None


def steps_of(key: str) -> Steps:
    """``items[0][price]`` is ``("items", "0", "price")``; a broken bracket is unreadable."""
    if "[" not in key and "]" not in key:
        return (key,)
    match = _BRACKETS.fullmatch(key)
    if match is None:
        raise Unreadable("the name of a parameter has a broken bracket")
    return (match[1], *match[2][1:-1].split("][")) if match[2] else (match[1],)


def parameters(pairs: Pairs) -> Document:
    """Reads a field from pairs: every value of that name, ABSENT where there is none."""

    def read(name: Field) -> Reading:
        found: list[str | None] = []
        for steps, value in pairs:
            if steps[0] != name[0]:
                continue
            match _reaches(steps, name):
                case True:
                    found.append(value)
                case None:
                    found.append(None)  # an object stands where a value was expected
        return Values(tuple(found)) if found else ABSENT

    return read


def _reaches(steps: Steps, name: Field) -> bool | None:
    """True where the steps are the name, None where they lead below it, else False."""
    at = 0
    for step in steps:
        if at < len(name) and step == name[at]:
            at += 1
        elif at == len(name) and not _walks(step):
            return None
        elif not _walks(step):
            return False
    return at == len(name)


def _walks(step: str) -> bool:
    return not step or (step.isascii() and step.isdigit())


def unknown(_: Field) -> Reading:
    """The document of what cannot be read."""
    return UNKNOWN


def absent(_: Field) -> Reading:
    """The document of what is empty."""
    return ABSENT


# -- headers ---------------------------------------------------------------------------


CONFIDENCE: Final = "x-sluice-confidence"
"""The header in which an agent, or its model, says how sure it is; never forwarded."""

_CONFIDENCE: Final = re.compile(r"0(?:\.[0-9]{1,18})?|1(?:\.0{1,18})?")


def read_headers(headers: Iterable[Header]) -> Mapping[str, Values]:
    """
    Header values by lower-case name, in order; one that is not UTF-8 is a value of None.

    Unreadable where a header that decides how a message is read, or who asks, stands twice or
    with the underscore that some servers take for a hyphen; and where one names another path.
    """
    found: dict[str, Values] = {}
    again: dict[str, list[str | None]] = {}
    for name, value in headers:
        key = name.lower().decode("latin-1")
        if key in _OTHER_PATHS or ("_" in key and key.replace("_", "-") in _ONCE | _OTHER_PATHS):
            raise Unreadable(f"a header that some servers take for '{key.replace('_', '-')}'")
        try:
            text = value.decode("utf-8").strip(" \t")
        except UnicodeDecodeError:
            text = None
        if key not in found:
            found[key] = Values((text,))
        elif key in _ONCE:
            raise Unreadable(f"two headers '{key}'")
        else:
            again.setdefault(key, [*found[key].items]).append(text)
    found |= {key: Values(tuple(texts)) for key, texts in again.items()}
    if CONFIDENCE in found:
        found[CONFIDENCE] = Values((_confidence(found[CONFIDENCE].items),))
    return found


def _confidence(given: Sequence[str | None]) -> str | None:
    """One decimal from 0 to 1; anything else, or a second one, cannot be read."""
    return given[0] if len(given) == 1 and given[0] and _CONFIDENCE.fullmatch(given[0]) else None


def header_document(headers: Mapping[str, Values]) -> Document:
    """Reads ``header.NAME``; names are case-insensitive."""

    def read(name: Field) -> Reading:
        return headers.get(".".join(name).lower(), ABSENT)

    return read
