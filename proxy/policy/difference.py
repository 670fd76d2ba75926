"""
How two policies differ, in words: what became looser, what stricter, and what is only said otherwise.

By the rules alone, whatever requests there are. A rule that applies takes the place of the
default, so a new one that is milder than the default may loosen too: such a step is said as both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Final

from proxy.policy.evaluate import Policy
from proxy.policy.fields import spell
from proxy.policy.limits import span
from proxy.policy.rule import Budget, Default, Line, Operand, Operator, Rule, Whose
from proxy.policy.says import spelled
from proxy.policy.verdict import Effect, Patience

MOST_LINES: Final = 40
_MOST_OPERANDS: Final = 8


class Way(StrEnum):
    """Which way a step goes; in the order in which somebody should read them."""

    LOOSER = "looser"
    BOTH = "looser or stricter"
    STRICTER = "stricter"
    OTHER = "other"


_OPPOSITE: Final = {
    Way.LOOSER: Way.STRICTER,
    Way.STRICTER: Way.LOOSER,
    Way.BOTH: Way.BOTH,
    Way.OTHER: Way.OTHER,
}
_ORDER: Final = tuple(Way)


@dataclass(frozen=True, slots=True)
class Step:
    """One difference; `rule` is its name, ``default`` for the default."""

    way: Way
    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.way}: {self.rule}: {self.what}"


def difference(old: Policy, new: Policy) -> str:
    """A line for each step, those that loosen first; empty where the two mean the same."""
    lines = list(map(str, steps(old, new)))
    rest = len(lines) - MOST_LINES
    return "\n".join(lines if rest <= 0 else [*lines[:MOST_LINES], f"and {rest} more: sluice policy diff"])


def steps(old: Policy, new: Policy) -> list[Step]:
    """Every difference, those that loosen first, then by rule."""
    kept = _retention(old.retention, new.retention)
    found = [*_default(old.default, new.default), *kept, *_rules(old, new)]
    return sorted(found, key=lambda step: _ORDER.index(step.way))


def _default(old: Default, new: Default) -> Iterator[Step]:
    before, after = old.content(), new.content()
    words: dict[tuple[str, str], list[str]] = {}
    for word in dict.fromkeys([*before, *after]):
        pair = before.get(word, "off"), after.get(word, "off")
        if pair[0] != pair[1]:
            words.setdefault(pair, []).append(word)
    for (was, now), changed in words.items():
        way = Way.STRICTER if _strictness(now) > _strictness(was) else Way.LOOSER
        yield Step(way, "default", f"{', '.join(changed)}: {was} -> {now}")


def _retention(old: float | None, new: float | None) -> Iterator[Step]:
    """Less of what was asked is left to be looked at: that is looser."""
    if old != new:
        was, now = ("for ever" if kept is None else span(int(kept)) for kept in (old, new))
        way = Way.LOOSER if (new or math.inf) < (old or math.inf) else Way.STRICTER
        yield Step(way, "retention", f"payloads: {was} -> {now}")


def _strictness(word: str) -> int:
    """Where a new host is not looked at, the rest of the default stands."""
    return -1 if word == "off" else Effect[word.upper()]


def _rules(old: Policy, new: Policy) -> Iterator[Step]:
    before = {rule.name: rule for rule in old.rules}
    after = {rule.name: rule for rule in new.rules}
    for name in sorted({*before, *after}):
        if name not in after:
            rule = before[name]
            yield Step(_OPPOSITE[_adding(rule, old.default)], name, f"removed, said {rule.then}: {rule.why}")
        elif name not in before:
            rule = after[name]
            yield Step(_adding(rule, new.default), name, f"added, says {rule.then}: {rule.why}")
        else:
            yield from _changes(before[name], after[name], new.default)


def _adding(rule: Rule, default: Default) -> Way:
    """What it is to say the rule's effect where the default spoke."""
    if rule.then is Effect.ALLOW:
        return Way.LOOSER
    return Way.STRICTER if rule.then >= max(default.effects.values()) else Way.BOTH


# -- one rule --------------------------------------------------------------------------


def _changes(old: Rule, new: Rule, default: Default) -> Iterator[Step]:
    if old.content() == new.content():
        return
    if old.then is not new.then:
        way = Way.STRICTER if new.then > old.then else Way.LOOSER
        yield Step(way, new.name, f"then {old.then} -> {new.then}")
    widened = _adding(new, default)
    for wider, what in (*_match(old.match, new.match), *_unless(old, new)):
        yield Step(widened if wider else Way.OTHER if wider is None else _OPPOSITE[widened], new.name, what)
    yield from _demands(old, new)
    yield from _said(old, new)


type _Key = tuple[tuple[str, ...], Operator]


def _match(old: Sequence[Line], new: Sequence[Line]) -> Iterator[tuple[bool | None, str]]:
    """Whether the rule applies to more (None: nobody can say), and in which words."""
    before, after = _by_key(old), _by_key(new)
    if before is None or after is None:
        if sorted(map(str, old)) != sorted(map(str, new)):
            yield None, "another match"
        return
    for key in dict.fromkeys([*before, *after]):
        if key not in after:
            yield True, f"no longer only where {before[key]}"
        elif key not in before:
            yield False, f"only where {after[key]}"
        elif before[key].content() != after[key].content():
            yield from _operands(before[key], after[key])


def _by_key(lines: Sequence[Line]) -> Mapping[_Key, Line] | None:
    """Lines by field and operator, None where two have the same."""
    one_of = {Operator.IS: Operator.IN}
    found = {(line.field, one_of.get(line.operator, line.operator)): line for line in lines}
    return found if len(found) == len(lines) else None


def _operands(old: Line, new: Line) -> Iterator[tuple[bool | None, str]]:
    name = f"{spell(new.field)} {new.operator}"
    match new.operator:
        case Operator.ABOVE | Operator.BELOW | Operator.COUNT_ABOVE:
            was, now = old.operands[0], new.operands[0]
            assert isinstance(was, Decimal) and isinstance(now, Decimal)
            yield (now > was) is (new.operator is Operator.BELOW), f"{name} {was} -> {now}"
        case Operator.EXISTS:
            yield None, f"{name} {old.operands[0]} -> {new.operands[0]}"
        case Operator.OUTSIDE:
            yield from _listed(old, new, name, more_is_wider=False)
        case Operator.IS | Operator.IN | Operator.LIKE | Operator.MATCHES:
            yield from _listed(old, new, spell(new.field), more_is_wider=True)


def _listed(old: Line, new: Line, name: str, *, more_is_wider: bool) -> Iterator[tuple[bool, str]]:
    gone = [one for one in old.operands if one not in new.operands]
    come = [one for one in new.operands if one not in old.operands]
    if gone:
        yield not more_is_wider, f"no longer {name} {_some(gone)}"
    if come:
        yield more_is_wider, f"also {name} {_some(come)}"


def _some(operands: Sequence[Operand]) -> str:
    rest = len(operands) - _MOST_OPERANDS
    more = f" and {rest} more" if rest > 0 else ""
    return f"{', '.join(map(str, operands[:_MOST_OPERANDS]))}{more}"


def _unless(old: Rule, new: Rule) -> Iterator[tuple[bool, str]]:
    before = {_item(item): item for item in old.unless}
    after = {_item(item): item for item in new.unless}
    for key, item in before.items():
        if key not in after:
            yield True, f"no longer except where {_words(item)}"
    for key, item in after.items():
        if key not in before:
            yield False, f"except where {_words(item)}"


def _item(item: Sequence[Line]) -> str:
    return repr(sorted(repr(line.content()) for line in item))


def _words(item: Sequence[Line]) -> str:
    return " and ".join(str(line) for line in item if not line.implied)


def _demands(old: Rule, new: Rule) -> Iterator[Step]:
    if old.approvals != new.approvals:
        way = Way.STRICTER if new.approvals > old.approvals else Way.LOOSER
        yield Step(way, new.name, f"approvals {old.approvals} -> {new.approvals}")
    if old.denials != new.denials:
        way = Way.STRICTER if new.denials < old.denials else Way.LOOSER
        yield Step(way, new.name, f"denials {old.denials} -> {new.denials}")
    if old.excluded != new.excluded:
        lost, won = set(old.excluded) - set(new.excluded), set(new.excluded) - set(old.excluded)
        way = Way.BOTH if lost and won else Way.LOOSER if lost else Way.STRICTER
        was, now = (_some(sorted(rule.excluded)) or "nobody" for rule in (old, new))
        yield Step(way, new.name, f"not {was} -> {now}")
    if old.window != new.window:
        way = Way.STRICTER if new.window > old.window else Way.LOOSER
        yield Step(way, new.name, f"window {old.window:.0f} s -> {new.window:.0f} s")
    before, after = set(old.reviewers), set(new.reviewers)
    if before != after:
        if not before or not after:
            way = Way.LOOSER if before else Way.STRICTER
        else:
            way = Way.LOOSER if after > before else Way.STRICTER if after < before else Way.BOTH
        yield Step(way, new.name, f"reviewers {_people(old)} -> {_people(new)}")
    yield from _budget(old, new)
    if old.always_ask != new.always_ask:
        yield Step(
            Way.STRICTER if new.always_ask else Way.LOOSER,
            new.name,
            "always asks" if new.always_ask else "no longer always asks",
        )


def _budget(old: Rule, new: Rule) -> Iterator[Step]:
    was, now = old.budget, new.budget
    if was is None and now is None:
        return
    if now is None:
        yield Step(Way.LOOSER, new.name, f"no longer limited to {was}")
    elif was is None:
        yield Step(Way.STRICTER, new.name, f"limited to {now}")
    elif was.content() != now.content():
        yield Step(_tightened(was, now), new.name, f"limited to {was} -> {now}")


def _tightened(was: Budget, now: Budget) -> Way:
    """Which way a budget went; one of something else is neither looser nor stricter than another."""
    if (was.field, was.unit, was.counts) != (now.field, now.unit, now.counts):
        return Way.BOTH
    steps = {
        (now.limit < was.limit) - (now.limit > was.limit),
        (now.per > was.per) - (now.per < was.per),
        (now.over > was.over) - (now.over < was.over),
        0 if now.by is was.by else 1 if now.by is Whose.RULE else -1 if was.by is Whose.RULE else 2,
    } - {0}
    if steps == {1}:
        return Way.STRICTER
    return Way.LOOSER if steps == {-1} else Way.BOTH


def _people(rule: Rule) -> str:
    return ", ".join(rule.reviewers) or "anyone"


def _said(old: Rule, new: Rule) -> Iterator[Step]:
    """What changes no decision: time, risk, and words."""
    for name, was, now in (
        ("timeout", f"{old.timeout:.0f} s", f"{new.timeout:.0f} s"),
        *_patience(old, new),
        ("tier", str(old.tier), str(new.tier)),
        ("reversible", _truth(old.reversible), _truth(new.reversible)),
        ("why", old.why, new.why),
        ("says", spelled(old.says), spelled(new.says)),
        ("show", _some(list(map(spell, old.show))), _some(list(map(spell, new.show)))),
    ):
        if was != now:
            short = f"{name} {was or 'nothing'} -> {now or 'nothing'}"
            yield Step(Way.OTHER, new.name, short if len(short) <= 120 else f"another {name}")


def _patience(old: Rule, new: Rule) -> Iterator[tuple[str, str, str]]:
    for spec in fields(Patience):
        yield spec.name, str(getattr(old.patience, spec.name)), str(getattr(new.patience, spec.name))
    yield "idempotency", _some(list(old.idempotency)), _some(list(new.idempotency))


def _truth(value: bool | None) -> str:
    return {None: "unsaid", True: "yes", False: "no"}[value]
