"""
Values compared with operands: numbers, words, patterns, addresses. Yes, no, or None: nobody can say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

import re2

from proxy.action import Field
from proxy.policy import globs
from proxy.policy.rule import Line, Operand, Operator

type Truth = bool | None
type Test = Callable[[str], Truth]

MAX_PATTERN: Final = 1_000
MAX_MATCHED: Final = 1024 * 1024
_MAX_MEMORY: Final = 1024 * 1024

_NUMBER: Final = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?")


def number(text: str) -> Decimal | None:
    """A decimal of the one form that is read as a number, else None. Never a float."""
    return Decimal(text) if len(text) <= 38 and _NUMBER.fullmatch(text) else None


class PatternError(ValueError):
    """A regular expression that RE2 refuses, or that is too large."""


def regex(pattern: str, *, wide: bool, folded: bool = False) -> Test:
    """
    A regular expression (RE2) that must match the whole value.

    On a side that tightens (`wide`) a dot is also a line feed, so that none can hide a word.
    A value over `MAX_MATCHED` bytes is unknown. Raises PatternError.
    """
    if len(pattern) > MAX_PATTERN:
        raise PatternError(f"over {MAX_PATTERN} characters")
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    options.never_capture = True
    options.dot_nl = wide
    options.case_sensitive = not folded
    try:
        compiled = re2.compile(pattern.encode("utf-8"), options)
    except (re2.error, UnicodeEncodeError) as error:
        raise PatternError(_reason(error)) from None

    def matches(value: str) -> Truth:
        raw = value.encode("utf-8", "surrogatepass")
        return None if len(raw) > MAX_MATCHED else compiled.fullmatch(raw) is not None

    return matches


def _reason(error: Exception) -> str:
    first = error.args[0] if error.args else "it cannot be read"
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)


# -- folding: what is compared without regard to case ------------------------------------

type Fold = Callable[[str], str]

_HOST_FIELD: Final = ("host",)
_HOSTS: Final = frozenset({_HOST_FIELD, ("header", "host")})
_MEDIA_TYPES: Final = frozenset({("body", "type"), ("header", "content-type")})
_ADDRESSES: Final = frozenset({("email", "to"), ("email", "from")})
_CURRENCY: Final = ("blast", "currency")


def _media_type(value: str) -> str:
    kind, semicolon, parameters = value.partition(";")
    return f"{kind.lower()}{semicolon}{parameters}"


def mail_domain(value: str) -> str:
    """An address with its domain in lower case."""
    local, at, domain = value.rpartition("@")
    return f"{local}{at}{domain.lower()}"


def fold(line: Line, *, wide: bool) -> Fold | None:
    """How value and operand are brought to one case, None where case counts."""
    if line.field in _HOSTS:
        return str.lower
    if line.field in _MEDIA_TYPES:
        return _media_type
    if line.field in _ADDRESSES:
        return mail_domain
    if line.field == _CURRENCY:
        return str.upper
    if wide and any(isinstance(one, str) and "@" in one for one in line.operands):
        return mail_domain
    return None


# -- one value -----------------------------------------------------------------------------


def test(line: Line, *, wide: bool) -> Test:
    """What a line says of one value; `wide` on a side that tightens."""
    operands = line.operands
    match line.operator:
        case Operator.ABOVE:
            return _compared(operands, lambda value, bound: value > bound)
        case Operator.BELOW:
            return _compared(operands, lambda value, bound: value < bound)
        case Operator.OUTSIDE:
            return outside([str(one) for one in operands])
        case Operator.EXISTS | Operator.COUNT_ABOVE:
            raise AssertionError("these are about all values, not about one")
        case Operator.IS | Operator.IN | Operator.LIKE | Operator.MATCHES:
            if line.field == ("path",):
                return _path(line, wide=wide)
            return _folded(line, fold(line, wide=wide), wide=wide)


def _folded(line: Line, folding: Fold | None, *, wide: bool) -> Test:
    if line.operator is Operator.MATCHES:
        insensitive = folding is not None and (wide or line.field in _HOSTS or line.field == _CURRENCY)
        plain = _any([regex(str(one), wide=wide, folded=insensitive) for one in line.operands])
    elif folding is None:
        plain = _plain(line.field, line.operator, line.operands)
    else:
        folded = tuple(folding(one) if isinstance(one, str) else one for one in line.operands)
        plain = _plain(line.field, line.operator, folded)
    return plain if folding is None else lambda value: plain(folding(value))


def _plain(field: Field, operator: Operator, operands: Sequence[Operand]) -> Test:
    if operator is Operator.LIKE:
        glob = globs.host if field == _HOST_FIELD else globs.text
        return _any([glob(str(one)) for one in operands])
    texts = frozenset(one if isinstance(one, str) else format(one, "f") for one in operands)
    numbers = frozenset(one for one in operands if isinstance(one, Decimal))
    if not numbers or field == ("port",):
        return texts.__contains__
    return lambda value: value in texts or _among(value, numbers)


def _among(value: str, numbers: frozenset[Decimal]) -> Truth:
    read = number(value)
    return None if read is None else read in numbers


def _path(line: Line, *, wide: bool) -> Test:
    """Paths as in `globs`; a side that tightens asks for each way in which a path may be meant."""
    texts = [str(one) for one in line.operands]
    if line.operator is Operator.MATCHES:
        return _any([regex(one, wide=wide, folded=wide) for one in texts])
    globbed = [one for one in texts if line.operator is Operator.LIKE and "*" in one]
    exact = frozenset(
        way for one in texts if one not in globbed for way in (globs.wide_paths(one) if wide else (one,))
    )
    tests: list[Test] = [exact.__contains__] if exact else []
    return _any([*tests, *(globs.path(one, wide=wide) for one in globbed)])


def _any(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def any_says(value: str) -> Truth:
        found: Truth = False
        for one in tests:
            truth = one(value)
            if truth:
                return True
            if truth is None:
                found = None
        return found

    return any_says


def _compared(operands: Sequence[Operand], holds: Callable[[Decimal, Decimal], bool]) -> Test:
    bound = operands[0]
    assert isinstance(bound, Decimal)

    def compared(value: str) -> Truth:
        read = number(value)
        return None if read is None else holds(read, bound)

    return compared


# -- outside: addresses and hosts that are not listed ----------------------------------------

_NAME: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST: Final = rf"(?:{_NAME}\.)*{_NAME}\.?"
_BARE_HOST: Final = re.compile(_HOST)
_ADDRESS: Final = re.compile(rf"(?:[^<>@,;:\"\\()\[\]]*<)?([^\s<>@,;:\"\\()\[\]]+@({_HOST}))(>)?")
_URL: Final = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*://({_HOST})(?::[0-9]+)?(?:[/?#][^\s\\@]*)?")


def outside(listed: Sequence[str]) -> Test:
    """
    Yes for a value that is not listed and whose address or host is not in or below a listed domain.

    A value is an address (``a@b.org`` or ``Name <a@b.org>``), a URL or a host; of anything else
    nobody can say.
    """
    known = frozenset(_domain(mail_domain(one)) for one in listed)

    def judge(value: str) -> Truth:
        found = _whose(value)
        if found is None:
            return None
        address, host = found
        if mail_domain(address) in known:
            return False
        labels = host.split(".")
        return not any(".".join(labels[at:]) in known for at in range(len(labels)))

    return judge


def _domain(text: str) -> str:
    return text if "@" in text else text.lower()


def _whose(value: str) -> tuple[str, str] | None:
    """The address (or the host itself) and the host in lower case; None where there is not exactly one."""
    if len(value) > 2_000:
        return None
    if found := _ADDRESS.fullmatch(value):
        closes = found[3] is not None
        return (found[1].removesuffix("."), _host(found[2])) if closes == ("<" in value) else None
    if found := _URL.fullmatch(value) or _BARE_HOST.fullmatch(value):
        host = _host(found[1] if found.re is _URL else found[0])
        return host, host
    return None


def _host(text: str) -> str:
    return text.lower().removesuffix(".")
