"""
A policy in force: what it says of an action.

    verdict = the strictest of   the rules that apply for certain,
                                 the deny, hold and watch rules that are unknown,
                                 and the default wherever no rule applies for certain.

An unknown allow does not count, so nothing that cannot be read ever helps. There is no
order between rules. Rules that name a host are found by it: a verdict costs what the rules
for its host cost, however many others there are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from proxy.action import UNKNOWN, Action, Field, Reading, Values
from proxy.policy.budgets import bounded, claims, joined
from proxy.policy.fields import CONSEQUENCES, is_confidence
from proxy.policy.rule import DEFAULT, HOLD_ALL, NO_RULE, TIMEOUT, Default, Line, Operator, Rule
from proxy.policy.says import fields_of, fill
from proxy.policy.truth import Look, Says, line_says, rule_says
from proxy.policy.values import Truth
from proxy.policy.verdict import Claim, Demand, Effect, Verdict, shortest, strictest

_HOST: Final = ("host",)
_METHOD: Final = ("method",)
_FIRST_HOST: Final = ("first_seen", "host")
_LIKELY: Final = ("consequence_why",)
_MILD: Final = frozenset({"read", "write"})

# The default as a voice among the rules that speak: it names no tier, so it comes last.
_DEFAULT_RULE: Final = Rule(DEFAULT, NO_RULE, Effect.HOLD, ())


class _Ready(NamedTuple):
    """
    A rule, ready to be judged; with another method than these it certainly says no.

    `of_method` is what it says where the only method of a request is one of these.
    """

    rule: Rule
    says: Says
    methods: frozenset[str] | None
    of_method: Says


@dataclass(frozen=True, slots=True)
class Weighing:
    """
    What each rule that might concern an action says of it, before they are weighed.

    `certain` apply, `unknown` might. `default` is None where a rule applies for certain that is
    not the agent's own confidence alone, else the least and the most that the default may say.
    """

    certain: Sequence[Rule]
    unknown: Sequence[Rule]
    default: tuple[Effect, Effect] | None

    @property
    def effect(self) -> Effect:
        """The strictest that counts (an unknown allow does not)."""
        found = max((rule.then for rule in (*self.certain, *self.unknown)), default=Effect.ALLOW)
        return found if self.default is None else max(found, self.default[1])

    @property
    def settled(self) -> bool:
        """Whether the effect stays the same whichever way the unknown rules turn out."""
        if self.certain:
            floor = max(rule.then for rule in self.certain)
            highest = max((rule.then for rule in self.unknown), default=floor)
            if highest <= floor and (self.default is None or self.default[1] <= floor):
                return True
        if self.default is None:
            return False
        least, most = self.default
        return least is most and all(rule.then is most for rule in self.unknown)


class Policy:
    """
    Rules and a default; never changes once made.

    `digest` is the hex SHA-256 of its content: the same for policies that mean the same,
    whatever their comments, layout and order.
    """

    def __init__(
        self, rules: Iterable[Rule], default: Default = HOLD_ALL, retention: float | None = None
    ) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: rule.name))
        self.default = default
        self.retention = retention
        self.digest = _digest(self)
        # What rests on the agent's own confidence may tighten the default, and never takes its place.
        self._only_tightens = frozenset(
            rule.name for rule in self.rules if any(is_confidence(line.field) for line in rule.match)
        )
        self._exact: dict[str, list[_Ready]] = {}
        self._below: dict[str, list[_Ready]] = {}
        self._anywhere: list[_Ready] = []
        self._host_lines = tuple(
            line_says(line, tightens=True)
            for rule in self.rules
            for line in rule.match
            if line.field == _HOST and not _indexed(line)
        )
        for rule in sorted(self.rules, key=lambda rule: rule.rank):
            self._place(rule)
        # Most verdicts are one rule's alone: made once, where the sentence names no field.
        self._alone = {
            rule.name: _verdict(self.digest, rule.then, [rule], (), True, _nothing)
            for rule in self.rules
            if not fields_of(rule.says)
        }
        self._budgets = any(rule.budget is not None for rule in self.rules)
        self._by_default = {
            effect: _verdict(self.digest, effect, [_DEFAULT_RULE], (), True, _nothing) for effect in Effect
        }

    def __repr__(self) -> str:
        return f"<Policy {self.digest[:12]}, {len(self.rules)} rules>"

    def _place(self, rule: Rule) -> None:
        line = next((line for line in rule.match if _indexed(line)), None)
        ready = _ready(rule, tuple(other for other in rule.match if other is not line))
        if line is None:
            self._anywhere.append(ready)
            return
        for host in dict.fromkeys(map(str, line.operands)):
            index = self._below if host.startswith("*.") else self._exact
            index.setdefault(host.removeprefix("*"), []).append(ready)

    # -- judging -----------------------------------------------------------------------

    def judge(self, action: Action) -> Verdict:
        """
        What the policy says of an action; its body may be unread.

        A container gets the strictest of what is said of itself and of each of its members. An
        unreadable action is denied: the caller should have refused it already.
        """
        if action.members:
            own, inside = self._judge(action), [self.judge(member) for member in action.members]
            drawn = joined(own.budgets, [one.budgets for one in inside])
            return replace(strictest([own, *inside]), budgets=drawn)
        return self._judge(action)

    def _judge(self, action: Action) -> Verdict:
        if action.unreadable is not None:
            return Verdict(Effect.DENY, DEFAULT, (DEFAULT,), action.unreadable, self.digest)
        look = Look(action)
        weighed = self._weigh(look)
        verdict = self._speak(weighed, look)
        return self._claiming(verdict, weighed, look) if self._budgets else verdict

    def _speak(self, weighed: Weighing, look: Look) -> Verdict:
        effect = weighed.effect
        speakers = [rule for rule in weighed.certain if rule.then is effect]
        if not weighed.certain and not weighed.unknown and weighed.settled:
            return self._default_alone(effect, look)
        alone = len(speakers) == 1 and not weighed.unknown and weighed.default is None
        if alone and weighed.settled and speakers[0].name in self._alone:
            return self._alone[speakers[0].name]
        unknown = [rule for rule in weighed.unknown if rule.then is effect and effect is not Effect.ALLOW]
        speakers = sorted((*speakers, *unknown), key=lambda rule: rule.rank)
        if weighed.default is not None and weighed.default[1] is effect:
            speakers.append(_DEFAULT_RULE)
        names = tuple(sorted(rule.name for rule in unknown))
        return _verdict(self.digest, effect, speakers, names, weighed.settled, look.read)

    def _claiming(self, verdict: Verdict, weighed: Weighing, look: Look) -> Verdict:
        """
        The same with what a release would draw on: of every rule that applies, or might.

        While a body is unread that might hold an amount, or more requests, nothing milder than
        what the budget says is settled.
        """
        if verdict.effect is Effect.DENY:
            return verdict
        found: list[Claim] = []
        for rules, unknown in ((weighed.certain, False), (weighed.unknown, True)):
            for rule in rules:
                found += claims(rule, look, partial(_over, rule, look.read, unknown=unknown))
        unread = not look.action.complete and not isinstance(look.read(("consequence",)), Values)
        stricter = any(claim.over.effect > verdict.effect for claim in found)
        settled = verdict.settled and not (unread and stricter)
        return replace(verdict, budgets=bounded(tuple(found)), settled=settled)

    def _default_alone(self, effect: Effect, look: Look) -> Verdict:
        """The default's verdict; a hold says what the request is taken for, where that is risky."""
        verdict = self._by_default[effect]
        if effect is not Effect.HOLD:
            return verdict
        words, why = look.read(("consequence",)), look.read(_LIKELY)
        if isinstance(words, Values) and isinstance(why, Values) and not _MILD.issuperset(words.items):
            return replace(verdict, says="".join(map(str, why.items)))
        return verdict

    def read(self, action: Action) -> Weighing:
        """What each rule says, before they are weighed."""
        return self._weigh(Look(action))

    def _weigh(self, look: Look) -> Weighing:
        named = self._naming(look.action.host)
        certain: list[Rule] = []
        unknown: list[Rule] = []
        methods = look.read(_METHOD)
        method = methods.items[0] if isinstance(methods, Values) and len(methods.items) == 1 else None
        for rule, says, wanted, of_method in (*named, *self._anywhere):
            if method is None or wanted is None:
                truth = says(look)
            elif method in wanted:
                truth = of_method(look)
            else:
                continue
            if truth:
                certain.append(rule)
            elif truth is None:
                unknown.append(rule)
        covered = any(rule.name not in self._only_tightens for rule in certain)
        default = None if covered else self._default(look, named=bool(named))
        return Weighing(certain, unknown, default)

    def _naming(self, host: str) -> Sequence[_Ready]:
        found = self._exact.get(host, ())
        if not self._below:
            return found
        sources = [found] if found else []
        at = host.find(".")
        while at >= 0:
            if below := self._below.get(host[at:]):
                sources.append(below)
            at = host.find(".", at + 1)
        if len(sources) <= 1:
            return sources[0] if sources else ()
        return list({ready.rule.name: ready for source in sources for ready in source}.values())

    def naming(self, host: str) -> tuple[Rule, ...]:
        """The rules that may concern a host: those that name it, and those that name none."""
        return tuple(ready.rule for ready in (*self._naming(host), *self._anywhere))

    def _default(self, look: Look, *, named: bool) -> tuple[Effect, Effect]:
        """The least and the most that the default may say, over what is not known yet."""
        possible = self._consequences(look)
        least = min(self.default.effects[word] for word in possible)
        most = max(self.default.effects[word] for word in possible)
        extra = self.default.new_host
        if extra is None or named:
            return least, most
        first = self._is_first(look)
        if first is False or any(says(look) is not False for says in self._host_lines):
            return least, most
        return (least if first is None else max(least, extra)), max(most, extra)

    def _consequences(self, look: Look) -> Iterable[str]:
        reading = look.read(("consequence",))
        if (
            isinstance(reading, Values)
            and reading.items
            and all(word in CONSEQUENCES for word in reading.items)
        ):
            return [word for word in reading.items if word is not None]
        return CONSEQUENCES

    def _is_first(self, look: Look) -> Truth:
        reading = look.read(_FIRST_HOST)
        if not isinstance(reading, Values) or None in reading.items:
            return None
        return "true" in reading.items


def _indexed(line: Line) -> bool:
    """Whether a line names its hosts outright, so that rules can be found by them."""
    return line.field == _HOST and line.operator in (Operator.LIKE, Operator.IS, Operator.IN)


def _ready(rule: Rule, lines: tuple[Line, ...]) -> _Ready:
    """A rule of which these lines are not known to hold."""
    says = rule_says(rule, lines)
    for line in lines:
        if line.field == _METHOD and line.operator in (Operator.IN, Operator.IS):
            others = tuple(other for other in lines if other is not line)
            return _Ready(rule, says, frozenset(map(str, line.operands)), rule_says(rule, others))
    return _Ready(rule, says, None, says)


def _digest(policy: Policy) -> str:
    content = {
        "version": 1,
        "rules": [rule.content() for rule in policy.rules],
        "default": policy.default.content(),
    }
    if policy.retention is not None:
        content["retention"] = {"payloads": int(policy.retention)}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _nothing(_: Field) -> Reading:
    return UNKNOWN


def _verdict(
    policy: str,
    effect: Effect,
    speakers: Sequence[Rule],
    unknown: tuple[str, ...],
    settled: bool,
    read: Callable[[Field], Reading],
) -> Verdict:
    """All rules of the winning effect speak; the first of them gives the why and the sentence."""
    first = speakers[0]
    holds = effect is Effect.HOLD
    return Verdict(
        effect=effect,
        rule=first.name,
        rules=tuple(rule.name for rule in speakers),
        why=first.why,
        policy=policy,
        settled=settled,
        unknown=unknown,
        tier=max(rule.tier for rule in speakers),
        reversible=_reversible(speakers),
        says=fill(first.says, read),
        show=tuple(dict.fromkeys(field for rule in speakers for field in rule.show)),
        demands=tuple(_demand(rule) for rule in speakers) if holds else (),
        timeout=min(rule.timeout for rule in speakers) if holds else TIMEOUT,
        always_ask=any(rule.always_ask for rule in speakers),
        window=max(rule.window for rule in speakers),
        patience=shortest([rule.patience for rule in speakers]),
        idempotency=tuple(dict.fromkeys(name for rule in speakers for name in rule.idempotency)),
    )


def _over(rule: Rule, read: Callable[[Field], Reading], *, unknown: bool) -> Verdict:
    """What a rule says where its budget has no room; a grant is no answer to that."""
    assert rule.budget is not None
    said = _verdict("", rule.budget.over, [rule], (rule.name,) if unknown else (), True, read)
    return replace(said, why="", window=0.0, always_ask=True)


def _demand(rule: Rule) -> Demand:
    return Demand(rule.name, rule.reviewers, rule.approvals, rule.denials, rule.excluded)


def _reversible(rules: Sequence[Rule]) -> bool | None:
    """No, if any rule says so; yes, if all do."""
    if any(rule.reversible is False for rule in rules):
        return False
    return True if all(rule.reversible for rule in rules) else None
