"""
What a line and a rule say of an action: yes, no, or None for unknown (Kleene's three values).

Each line is judged on one of two sides. Where it *tightens* (the match of deny, hold and
watch; the unless of allow) one value is enough. Where it *loosens* (the match of allow; the
unless of the others) every value must match, and there must be at least one. What cannot be
read is unknown on both, and the policy sees to it that unknown never helps.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from proxy.action import UNKNOWN, Action, Field, Reading, Values
from proxy.policy import globs
from proxy.policy.rule import Line, Operator, Rule
from proxy.policy.values import Test, Truth, test
from proxy.policy.verdict import Effect

MAX_VALUES: Final = 10_000
"""Of more values under one name than this, nobody can say more than how many there are."""

_PATH: Final = ("path",)
_WIDE_PATH: Final = ("path", "wide")


class Look:
    """One action while it is judged; each field is read once, however many rules ask for it."""

    __slots__ = ("_readings", "action")

    def __init__(self, action: Action) -> None:
        self.action = action
        self._readings: dict[Field, Reading] = {}

    def read(self, field: Field) -> Reading:
        """What stands under a field."""
        found = self._readings.get(field)
        if found is None:
            found = self._readings[field] = self._ask(field)
        return found

    def _ask(self, field: Field) -> Reading:
        if field != _WIDE_PATH:
            return self.action.read(field)
        paths = self.read(_PATH)
        if not isinstance(paths, Values):
            return UNKNOWN
        return Values(
            tuple(way for path in paths.items for way in (globs.wide_paths(path) if path else (None,)))
        )


type Says = Callable[[Look], Truth]


def line_says(line: Line, *, tightens: bool) -> Says:
    """A line as a function."""
    match line.operator:
        case Operator.EXISTS:
            return _exists(line.field, line.operands == ("true",))
        case Operator.COUNT_ABOVE:
            assert isinstance(line.operands[0], Decimal)
            return _counted(line.field, line.operands[0])
        case Operator.ABOVE | Operator.BELOW | Operator.OUTSIDE:
            absent: Truth = None
        case Operator.IS | Operator.IN | Operator.LIKE | Operator.MATCHES:
            absent = False
    one = test(line, wide=tightens)
    wide = tightens and line.field == _PATH and absent is False
    return _each_value(_WIDE_PATH if wide else line.field, one, absent, ends=tightens)


def _exists(field: Field, wanted: bool) -> Says:
    def says(look: Look) -> Truth:
        reading = look.read(field)
        return bool(reading.items) is wanted if isinstance(reading, Values) else None

    return says


def _counted(field: Field, bound: Decimal) -> Says:
    def says(look: Look) -> Truth:
        reading = look.read(field)
        if not isinstance(reading, Values) or not reading.items:
            return None
        return len(reading.items) > bound

    return says


def _each_value(field: Field, one: Test, absent: Truth, *, ends: bool) -> Says:
    """
    A line over every value of a field; `ends` is the answer of one value that settles it.

    A yes where some value is enough, a no where every one must match.
    """

    def says(look: Look) -> Truth:
        reading = look.read(field)
        if not isinstance(reading, Values):
            return None
        if not reading.items:
            return absent
        if len(reading.items) == 1:
            return None if reading.items[0] is None else one(reading.items[0])
        found: Truth = not ends
        for value in reading.items[:MAX_VALUES]:
            truth = None if value is None else one(value)
            if truth is ends:
                return ends
            if truth is None:
                found = None
        return None if len(reading.items) > MAX_VALUES else found

    return says


# Cheap lines first: one certain no ends a conjunction, in whatever order.
_CHEAP: Final[dict[Field, int]] = {("method",): 0, ("port",): 1, ("scheme",): 2, ("path",): 3}


def rule_says(rule: Rule, match: tuple[Line, ...] | None = None) -> Says:
    """A rule as a function: match AND NOT unless. `match` leaves out lines that are known to hold."""
    allows = rule.then is Effect.ALLOW
    lines = rule.match if match is None else match
    parts = [(_CHEAP.get(line.field, 9), line_says(line, tightens=not allows)) for line in lines]
    wanted = tuple(says for _, says in sorted(parts, key=lambda part: part[0]))
    unless = tuple(all_say(tuple(line_says(line, tightens=allows) for line in item)) for item in rule.unless)
    if not unless:
        return all_say(wanted)

    def says(look: Look) -> Truth:
        found: Truth = True
        for one in wanted:
            truth = one(look)
            if truth is False:
                return False
            if truth is None:
                found = None
        for item in unless:
            truth = item(look)
            if truth:
                return False
            if truth is None:
                found = None
        return found

    return says


def all_say(parts: tuple[Says, ...]) -> Says:
    """AND."""
    if len(parts) == 1:
        return parts[0]

    def says(look: Look) -> Truth:
        found: Truth = True
        for one in parts:
            truth = one(look)
            if truth is False:
                return False
            if truth is None:
                found = None
        return found

    return says
