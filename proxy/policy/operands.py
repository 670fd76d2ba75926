"""
Operands as they stand in a file, checked: what could never match is a mistake.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from proxy.action import Field
from proxy.policy import keys
from proxy.policy.fields import WORDS, did_you_mean
from proxy.policy.rule import Operand, Operator
from proxy.policy.source import Scalar
from proxy.policy.values import PatternError, number, regex


class OperandError(ValueError):
    """An operand that cannot be meant; why and fix are for whoever wrote it."""

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.why = why
        self.fix = fix


_CORE_NUMBER: Final = re.compile(
    r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_LEADING_ZERO: Final = re.compile(r"-?0[0-9]+")
_WORDS: Final = ("true", "false", "null")


def literal(scalar: Scalar) -> Operand:
    """
    The text or number that a scalar means (YAML 1.2 core schema).

    Plain true, false and null are those texts; ``0123`` is text.
    """
    text = scalar.text
    if not scalar.plain or text in _WORDS or _LEADING_ZERO.fullmatch(text):
        return text
    if not text or text == "~":
        raise OperandError("nothing stands here", fix='write a value; the empty text is ""')
    if text.lower() in _WORDS:
        raise OperandError(
            f"'{text}' is a truth value or null in YAML",
            fix=f'write {text.lower()}, or quote the text: "{text}"',
        )
    if not _CORE_NUMBER.fullmatch(text):
        return text
    found = number(text)
    if found is None:
        raise OperandError(
            f"'{text}' is a number in a form that is not compared",
            "numbers are decimals like 5000 or -0.25, with at most 18 digits on each side",
            f'write it so, or quote it to compare its text: "{text}"',
        )
    return found


def operand(field: Field, operator: Operator, scalar: Scalar) -> Operand:
    """One operand in the form in which it is compared. Raises OperandError."""
    match operator:
        case Operator.ABOVE | Operator.BELOW:
            return _number(scalar)
        case Operator.COUNT_ABOVE:
            return _count(scalar)
        case Operator.EXISTS:
            return _truth(scalar)
        case Operator.MATCHES:
            return _regex(scalar)
        case Operator.OUTSIDE:
            return _listed(_text(scalar))
        case Operator.IS | Operator.IN | Operator.LIKE:
            found = literal(scalar)
    if (words := WORDS.get(field)) and operator is not Operator.LIKE:
        return _word(str(found), words)
    check = _CHECKS.get(field)
    return found if check is None else check(found, operator)


def _number(scalar: Scalar) -> Decimal:
    found = literal(scalar)
    if isinstance(found, Decimal):
        return found
    raise OperandError(f"'{found}' is no number", fix="write it unquoted, as a decimal: 5000 or 0.25")


def _count(scalar: Scalar) -> Decimal:
    found = _number(scalar)
    if found < 0 or found != found.to_integral_value():
        raise OperandError(f"'{scalar.text}' is no count", fix="write a whole number, 0 or above")
    return found


def _truth(scalar: Scalar) -> str:
    if scalar.plain and scalar.text in ("true", "false"):
        return scalar.text
    raise OperandError(f"'{scalar.text}' is neither true nor false", fix="write true or false, unquoted")


def _text(scalar: Scalar) -> str:
    found = literal(scalar)
    if isinstance(found, str) and found:
        return found
    raise OperandError(f"'{scalar.text}' is no text", fix=f'quote it: "{scalar.text}"')


def _regex(scalar: Scalar) -> str:
    text = _text(scalar)
    try:
        regex(text, wide=True)
    except PatternError as error:
        raise OperandError(
            f"the regular expression '{text[:80]}' is refused: {error}",
            "only expressions that cannot run away are taken (RE2: no look-around, no back-references)",
            "write it without these, or use like",
        ) from None
    return text


def _word(text: str, words: tuple[str, ...]) -> str:
    if text in words:
        return text
    raise OperandError(
        f"'{text}' would never match", f"it is one of {', '.join(words)}", did_you_mean(text, words)
    )


# -- hosts -----------------------------------------------------------------------------

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_ENDS_IN_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


def _host(found: Operand, operator: Operator) -> str:
    text = str(found)
    wild = operator is Operator.LIKE and text.startswith("*.")
    name = host_name(text[2:] if wild else text)
    if wild and (":" in name or name[-1].isdigit()):
        raise OperandError(f"'{text}' would never match", "an address has nothing below it", f"write {name}")
    return f"*.{name}" if wild else name


def host_name(text: str) -> str:
    """A host as requests are compared: lower case, A-labels, no trailing dot, addresses canonical."""
    if "://" in text or "/" in text:
        bare = text.rpartition("://")[2].partition("/")[0]
        raise OperandError(f"'{text}' is a URL, not a host", fix=f"write the host alone: {bare}")
    if "*" in text:
        raise OperandError(
            f"'{text}' would never match",
            "a star stands only as the whole first label: *.example.com",
            "for any host leave the line out"
            if text == "*"
            else "name the hosts, or match with a regular expression",
        )
    name = _a_labels(text).lower().removesuffix(".")
    if name.startswith("[") or name.count(":") > 1:
        return _ipv6(text)
    if ":" in name:
        host, _, port = name.partition(":")
        raise OperandError(f"'{text}' has a port", fix=f"write host: {host} and port: {port}")
    labels = name.split(".")
    if _ENDS_IN_NUMBER.fullmatch(labels[-1]):
        return _ipv4(name)
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise OperandError(
            f"'{text}' is no host", "such a host is refused as unreadable", "write it as in api.example.com"
        )
    return name


def _a_labels(text: str) -> str:
    if text.isascii():
        return text
    lower = unicodedata.normalize("NFC", text.lower())
    try:
        encoded = lower.encode("idna").decode("ascii")
    except UnicodeError:
        raise OperandError(f"'{text}' is no host", fix="write it as A-labels (xn--…)") from None
    if encoded.encode("ascii").decode("idna") != lower:
        raise OperandError(
            f"'{text}' is read in two ways",
            "two versions of IDNA disagree about its letters",
            "write it as A-labels (xn--…)",
        )
    return encoded


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise OperandError(
            f"'{text}' would never match",
            "an address is only read in its canonical spelling",
            "write it as in 192.0.2.1",
        ) from None


def _ipv6(text: str) -> str:
    bare = text.removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.IPv6Address(bare)
    except ValueError:
        raise OperandError(f"'{text}' is no IPv6 address", fix="write it as in 2001:db8::1") from None
    if address.scope_id is not None or address.ipv4_mapped is not None:
        raise OperandError(
            f"'{text}' would never match", "zones and mapped IPv4 addresses are refused as unreadable"
        )
    return str(address)


# -- paths -----------------------------------------------------------------------------

_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})?")
_NOT_IN_PATH: Final = re.compile(r"[^\x21-\x7e]|[\\?#]")


def _path(found: Operand, operator: Operator) -> str:
    text = str(found)
    if bad := _NOT_IN_PATH.search(text):
        raise OperandError(f"'{text}' would never match: it has '{bad[0]}'", _NORMAL, _path_fix(bad[0]))
    if not text.startswith("/"):
        raise OperandError(f"'{text}' would never match", "a path begins with a slash", f"write /{text}")
    normal = _ESCAPE.sub(_normal_escape, text)
    if normal != text:
        raise OperandError(f"'{text}' would never match", _NORMAL, f"write {normal}")
    segments = text.split("/")[1:]
    if "" in segments[:-1] or any(one.partition(";")[0] in (".", "..") for one in segments):
        raise OperandError(
            f"'{text}' would never match", "empty segments and dot segments are refused as unreadable"
        )
    if operator is Operator.LIKE and any("**" in one and one != "**" for one in segments):
        raise OperandError(
            f"'{text}': ** stands beside other characters",
            "** is any number of whole segments",
            "write * for text within a segment",
        )
    return text


_NORMAL: Final = (
    "paths are compared once normalised: unreserved characters as they are, other escapes in upper case"
)


def _path_fix(bad: str) -> str:
    if bad == "?":
        return "match parameters with query.NAME"
    return "escape it as UTF-8: " + "".join(f"%{byte:02X}" for byte in bad.encode("utf-8", "replace"))


def _normal_escape(found: re.Match[str]) -> str:
    if found[1] is None:
        return "%25"
    char = chr(int(found[1], 16))
    return char if _UNRESERVED.fullmatch(char) else f"%{found[1].upper()}"


# -- other fields with a form of their own ---------------------------------------------


def _method(found: Operand, operator: Operator) -> str:
    text = str(found)
    if re.fullmatch(r"[A-Z*][A-Z0-9_*-]{0,31}" if operator is Operator.LIKE else keys.METHOD, text):
        return text
    raise OperandError(
        f"'{text}' would never match", "a method is an upper-case word",
        "for any method leave the line out" if text == "*" else f"write {text.upper()}",
    )  # fmt: skip


def _port(found: Operand, operator: Operator) -> Operand:
    text = str(found)
    if operator is Operator.LIKE or (re.fullmatch(r"[1-9][0-9]{0,4}", text) and int(text) <= 65_535):
        return found
    raise OperandError(f"'{found}' is no port", fix="write a number from 1 to 65535")


_CHECKS: Final[dict[Field, Callable[[Operand, Operator], Operand]]] = {
    ("host",): _host,
    ("path",): _path,
    ("method",): _method,
    ("port",): _port,
}


_DOMAIN_OR_ADDRESS: Final = re.compile(r"(?:[^\s<>@,;:]+@)?([^\s<>@,;:]+)")


def _listed(text: str) -> str:
    found = _DOMAIN_OR_ADDRESS.fullmatch(text)
    if found is None:
        raise OperandError(f"'{text}' is neither a domain nor an address", fix="write corp.com or x@corp.com")
    if text.startswith("*."):
        raise OperandError(f"'{text}' has a star", "a domain covers everything below it", f"write {text[2:]}")
    host = host_name(found[1])
    return f"{text[: found.start(1)]}{host}"
