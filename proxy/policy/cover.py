"""
What follows from what: which lines and rules cover others, and which exclude each other.

Only what can be shown for every request is a yes; a no means that nobody has shown it. `wide`
says with which eyes both lines are read (see `proxy.policy.truth`): True on a side that
tightens, False on one that loosens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import combinations, product
from typing import Final

from proxy.action import Field
from proxy.policy import globs
from proxy.policy.rule import Line, Operand, Operator, Rule
from proxy.policy.values import fold, test
from proxy.policy.verdict import Effect

ADDRESS: Final = frozenset({("host",), ("port",), ("scheme",), ("method",), ("path",)})
"""What of a request says where it goes, and how."""

_PATH: Final = ("path",)
_PORT: Final = ("port",)
# Each request has exactly one of these, and it is always known.
_ALWAYS_ONE: Final[frozenset[Field]] = frozenset({("host",), _PORT, ("scheme",)})
_VALUED: Final = (Operator.IS, Operator.IN, Operator.LIKE, Operator.MATCHES)
_BOUNDS: Final = (Operator.ABOVE, Operator.BELOW)
_MOST_GAPS: Final = 2


def line_covers(outer: Line, inner: Line, *, wide: bool) -> bool:
    """Whether `outer` holds wherever `inner` holds, and is not a no wherever that is unknown."""
    if outer.field != inner.field:
        return False
    match outer.operator:
        case Operator.EXISTS:
            if inner.operator is Operator.EXISTS:
                return outer.operands == inner.operands
            return outer.operands == ("true",) and inner.operator in _VALUED
        case Operator.ABOVE | Operator.BELOW | Operator.COUNT_ABOVE:
            return _bound_covers(outer, inner)
        case Operator.OUTSIDE:
            return inner.operator is Operator.OUTSIDE and set(outer.operands) <= set(inner.operands)
        case Operator.IS | Operator.IN | Operator.LIKE | Operator.MATCHES:
            if inner.operator not in _VALUED or not _same_case(outer, inner, wide=wide):
                return False
            return all(_value_covered(outer, inner.operator, one, wide=wide) for one in inner.operands)


def _bound_covers(outer: Line, inner: Line) -> bool:
    bound = outer.operands[0]
    assert isinstance(bound, Decimal)
    numbers = _numbers(inner)
    if numbers is None:
        return False
    if inner.operator is outer.operator:
        return numbers[0] <= bound if outer.operator is Operator.BELOW else numbers[0] >= bound
    if inner.operator not in (Operator.IS, Operator.IN) or outer.operator is Operator.COUNT_ABOVE:
        return False
    return all(one < bound if outer.operator is Operator.BELOW else one > bound for one in numbers)


def _numbers(line: Line) -> Sequence[Decimal] | None:
    found = [one for one in line.operands if isinstance(one, Decimal)]
    return found if len(found) == len(line.operands) else None


def _same_case(one: Line, other: Line, *, wide: bool) -> bool:
    return one.field == _PATH or fold(one, wide=wide) is fold(other, wide=wide)


def _value_covered(outer: Line, operator: Operator, one: Operand, *, wide: bool) -> bool:
    """Whether `outer` takes every value that this operand takes."""
    if operator is Operator.MATCHES:
        return outer.operator is Operator.MATCHES and one in outer.operands
    if isinstance(one, Decimal) and operator is not Operator.LIKE and outer.field != _PORT:
        return outer.operator in (Operator.IS, Operator.IN) and one in outer.operands
    text = format(one, "f") if isinstance(one, Decimal) else one
    if operator is not Operator.LIKE or "*" not in text:
        ways = globs.wide_paths(text) if wide and outer.field == _PATH else (text,)
        takes = test(outer, wide=wide)
        return all(takes(way) is True for way in ways)
    if outer.operator is not Operator.LIKE:
        return False
    if outer.field == _PATH:
        return any(_path_covers(str(pattern), text, wide=wide) for pattern in outer.operands)
    # No piece between stars holds a star: what matches the pattern's own text matches all that it stands for.
    return test(outer, wide=wide)(text) is True


def _path_covers(outer: str, inner: str, *, wide: bool) -> bool:
    """
    Whether a path pattern takes every path that another one takes.

    A star stands for itself: nothing but a star takes it. Each ``**`` is tried with every number
    of segments up to one more than `outer` has, beyond which only a ``**`` can take them.
    """
    takes = globs.path(outer, wide=wide)
    for way in globs.wide_paths(inner) if wide else (inner,):
        pieces = way.split("/")[1:]
        gaps = [at for at, piece in enumerate(pieces) if piece == "**"]
        if len(gaps) > _MOST_GAPS:
            return outer == inner
        for counts in product(range(outer.count("/") + 2), repeat=len(gaps)):
            filled = dict(zip(gaps, counts, strict=True))
            tried = [
                one for at, piece in enumerate(pieces) for one in ["*"] * filled.get(at, 0) or _own(piece)
            ]
            if not takes(f"/{'/'.join(tried)}"):
                return False
    return True


def _own(piece: str) -> list[str]:
    return [] if piece == "**" else [piece]


def match_covers(outer: Iterable[Line], inner: Sequence[Line], *, wide: bool) -> bool:
    """Whether all lines of `outer` hold wherever all lines of `inner` do."""
    return all(any(line_covers(line, other, wide=wide) for other in inner) for line in outer)


def rule_covers(outer: Rule, inner: Rule) -> bool:
    """Whether `outer`, which denies, holds or watches, speaks wherever `inner` does."""
    if outer.then is Effect.ALLOW or not match_covers(outer.match, inner.match, wide=True):
        return False
    return all(any(match_covers(other, item, wide=False) for other in inner.unless) for item in outer.unless)


# -- lines that exclude each other ------------------------------------------------------


def contradiction(rule: Rule) -> tuple[Line, Line] | None:
    """Two lines of a match that no request can meet both."""
    allows = rule.then is Effect.ALLOW
    for one, other in combinations(rule.match, 2):
        if one.field == other.field and _exclude(one, other, one_value=allows or one.field in _ALWAYS_ONE):
            return one, other
    return None


def _exclude(one: Line, other: Line, *, one_value: bool) -> bool:
    """Where values may be several, each line may find one of its own: then only presence excludes."""
    for here, there in ((one, other), (other, one)):
        if here.operator is Operator.EXISTS and here.operands == ("false",):
            return there.operator in _VALUED or (there.operator, there.operands) == (
                Operator.EXISTS,
                ("true",),
            )
    if not one_value:
        return False
    return _no_value_of(one, other) or _no_value_of(other, one) or _crossed(one, other)


def _no_value_of(one: Line, other: Line) -> bool:
    """Whether each value that `one` lists is refused by `other`."""
    if one.operator not in (Operator.IS, Operator.IN, Operator.LIKE) or not _same_case(one, other, wide=True):
        return False
    if other.operator not in (*_VALUED, *_BOUNDS) or any("*" in str(text) for text in one.operands):
        return False
    numbers = any(isinstance(operand, Decimal) for operand in one.operands) and one.field != _PORT
    if numbers and not (other.operator in _BOUNDS or _numbers(other)):
        return False  # text may spell a number in several ways
    refuses = test(other, wide=True)
    texts = [format(text, "f") if isinstance(text, Decimal) else text for text in one.operands]
    ways = [way for text in texts for way in (globs.wide_paths(text) if one.field == _PATH else (text,))]
    return all(refuses(way) is False for way in ways)


def _crossed(one: Line, other: Line) -> bool:
    if {one.operator, other.operator} != set(_BOUNDS):
        return False
    above, below = (one, other) if one.operator is Operator.ABOVE else (other, one)
    low, high = above.operands[0], below.operands[0]
    return isinstance(low, Decimal) and isinstance(high, Decimal) and low >= high


def excepted_whole(rule: Rule) -> tuple[Line, ...] | None:
    """An exception that holds wherever the rule's match does."""
    if rule.then is Effect.ALLOW:
        return next((item for item in rule.unless if match_covers(item, rule.match, wide=False)), None)
    sure = [line for line in rule.match if line.field in _ALWAYS_ONE]
    return next((item for item in rule.unless if match_covers(item, sure, wide=False)), None)


# -- addresses --------------------------------------------------------------------------


def address(lines: Iterable[Line]) -> tuple[Line, ...]:
    """The lines about where a request goes, as far as somebody wrote them."""
    return tuple(line for line in lines if line.field in ADDRESS and not line.implied)


def wider_than(allow: Rule, hold: Rule) -> bool:
    """
    Whether a rule that allows opens every address that `hold` closes, and more.

    Both by addresses alone; not where the one is the exception of the other: then somebody has
    thought of it.
    """
    opened, closed = address(allow.match), address(hold.match)
    written = sum(not line.implied for line in (*allow.match, *hold.match))
    if written != len(opened) + len(closed):
        return False
    if not match_covers(opened, closed, wide=True) or match_covers(closed, opened, wide=True):
        return False
    if any(match_covers(item, hold.match, wide=True) for item in allow.unless):
        return False
    return not any(match_covers(item, allow.match, wide=False) for item in hold.unless)
