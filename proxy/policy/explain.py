"""
Why a request gets the answer that it gets: each rule's yes, no or unknown, and the line that decided it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from proxy.action import Action, Request
from proxy.decode import Facts
from proxy.policy.asked import BODY_LIMIT, NO_FACTS, Answer, answer
from proxy.policy.evaluate import Policy
from proxy.policy.limits import Used, unused
from proxy.policy.lines import Lines, read_requests
from proxy.policy.rule import Line, Rule
from proxy.policy.truth import Look, line_says, rule_says
from proxy.policy.values import Truth
from proxy.policy.verdict import Claim, Effect


@dataclass(frozen=True, slots=True)
class RuleReading:
    """
    What one rule says of an action (`applies` is None for unknown), and why.

    `line` is the first line of the rule that did not hold, or the exception that did, as people
    read it; empty where the rule applies. `at` is where it stands.
    """

    rule: str
    then: Effect
    applies: Truth
    line: str
    at: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    The gate's answer, and what each rule says of what was judged.

    `budgets` are what a release would draw on, each with what is used of it (None: no place).
    """

    answer: Answer
    readings: tuple[RuleReading, ...]
    budgets: tuple[tuple[Claim, Decimal | None], ...] = ()


def explain(
    policy: Policy,
    asked: Request,
    facts: Facts = NO_FACTS,
    *,
    body_limit: int = BODY_LIMIT,
    every_rule: bool = False,
    used: Used = unused,
) -> Explanation:
    """One request explained, by the rules that may concern its host, or by every rule."""
    found = answer(policy, asked, facts, body_limit=body_limit, used=used)
    rules = policy.rules if every_rule else policy.naming(found.action.host)
    readings = () if found.decision == "unreadable" else tuple(reading(rule, found.action) for rule in rules)
    claims = () if found.verdict is None else found.verdict.budgets
    return Explanation(found, readings, tuple((claim, used(claim)) for claim in claims))


def reading(rule: Rule, action: Action) -> RuleReading:
    """What one rule says, line by line."""
    look = Look(action)
    applies = rule_says(rule)(look)
    line, at = ("", rule.at) if applies else _decisive(rule, look)
    return RuleReading(rule.name, rule.then, applies, line, at or rule.at)


def _decisive(rule: Rule, look: Look) -> tuple[str, str]:
    """The first line that says no; else the exception that says yes; else the first that is unknown."""
    allows = rule.then is Effect.ALLOW
    match = [(line, line_says(line, tightens=not allows)(look)) for line in rule.match]
    if line := next((line for line, truth in match if truth is False), None):
        return _words(line), line.at
    unless = [(item, _all(item, look, tightens=allows)) for item in rule.unless]
    for wanted in (True, None):
        if wanted is None and (line := next((line for line, truth in match if truth is None), None)):
            return f"{_words(line)} (unknown)", line.at
        if item := next((item for item, truth in unless if truth is wanted), None):
            mark = "" if wanted else " (unknown)"
            return f"unless {' and '.join(map(_words, item))}{mark}", item[0].at
    return "", ""


def _words(line: Line) -> str:
    return f"{line} (not written, but meant)" if line.implied else str(line)


def _all(lines: tuple[Line, ...], look: Look, *, tightens: bool) -> Truth:
    truths = [line_says(line, tightens=tightens)(look) for line in lines]
    if False in truths:
        return False
    return None if None in truths else True


# -- many requests, as JSON lines --------------------------------------------------------


def from_lines(
    policy: Policy,
    lines: Lines,
    facts: Facts = NO_FACTS,
    *,
    body_limit: int = BODY_LIMIT,
    used: Used = unused,
) -> Iterator[str]:
    """
    A decision for each line, as a JSON line without its line feed, in the same order.

    A line that is no request is answered as `unreadable`, with the reason as its why. Empty
    lines are answered too: answers and lines can be counted against each other.
    """
    for given in read_requests(lines):
        if given.request is None:
            yield _as_line(given.id, "unreadable", given.why)
        else:
            found = answer(policy, given.request, facts, body_limit=body_limit, used=used)
            yield _as_line(
                given.id, found.decision, found.why, found.rule, found.rules, found.action.operation
            )


def _as_line(
    id: object, decision: str, why: str, rule: str = "", rules: tuple[str, ...] = (), operation: str = ""
) -> str:
    fields = {
        "id": id,
        "decision": decision,
        "rule": rule,
        "rules": rules,
        "why": why,
        "operation": operation,
    }
    return json.dumps(fields, ensure_ascii=True)
