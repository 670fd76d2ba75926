"""
What is allowed in a policy and still looks like a mistake.

Only what can be shown is found: a rule that is not named here may be wrong all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from proxy.decode import Facts
from proxy.errors import Problem
from proxy.policy.asked import NO_FACTS, answer
from proxy.policy.cases import Case
from proxy.policy.cover import contradiction, excepted_whole, rule_covers, wider_than
from proxy.policy.evaluate import Policy
from proxy.policy.rule import Line, Operator, Rule
from proxy.policy.source import place
from proxy.policy.verdict import Effect

_BODY: Final = frozenset({"json", "form", "multipart", "graphql", "rpc", "mcp", "email", "blast"})
# Cases name no agent, and nothing in them is first seen.
_BEYOND_CASES: Final = frozenset({"agent", "first_seen", "credential"})


class Kind(StrEnum):
    """What is wrong, in a word for machines."""

    NEVER = "never"
    SHADOWED = "shadowed"
    WIDER = "wider"
    UNTESTED = "untested"
    BODY_EXCEPTION = "body-exception"
    LITERAL_STAR = "literal-star"
    DUPLICATE = "duplicate"
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that somebody should look at; `rule` is whose it is, empty where it is nobody's."""

    kind: Kind
    rule: str
    problem: Problem


def lint(policy: Policy, cases: Iterable[Case] | None, facts: Facts = NO_FACTS) -> list[Finding]:
    """
    Everything found, in the order of files and lines.

    `cases` are those beside the policy, None where there are none at all.
    """
    found = [one for rule in policy.rules for one in _of_rule(rule, policy)]
    found += _duplicates(policy.rules)
    found += _untested(policy, cases, facts)
    return sorted(found, key=lambda one: place(one.problem.where))


def _of_rule(rule: Rule, policy: Policy) -> Iterator[Finding]:
    never = next(_never(rule), None)
    if never is not None:
        yield never
    else:
        yield from _beside_others(rule, policy)
    yield from _body_exceptions(rule)
    for line in _lines(rule):
        yield from _literal_star(rule, line)
        yield from _repeated(rule, line)


def _finding(kind: Kind, rule: Rule, what: str, why: str, fix: str, at: str = "") -> Finding:
    return Finding(kind, rule.name, Problem(what, why, fix, at or rule.at))


def _lines(rule: Rule) -> Iterator[Line]:
    yield from (line for line in rule.match if not line.implied)
    for item in rule.unless:
        yield from (line for line in item if not line.implied)


# -- one rule by itself ------------------------------------------------------------------


def _never(rule: Rule) -> Iterator[Finding]:
    if two := contradiction(rule):
        one, other = sorted(two, key=lambda line: (line.implied, place(line.at)))
        said = " (not written, but meant)" if other.implied else ""
        yield _finding(
            Kind.NEVER,
            rule,
            f"rule '{rule.name}' never applies: '{one}' and '{other}'{said} exclude each other",
            "all lines of a match must hold",
            "make two rules of it, or name both values in one line",
            one.at,
        )
    if item := excepted_whole(rule):
        yield _finding(
            Kind.NEVER,
            rule,
            f"rule '{rule.name}' never applies: its unless holds wherever its match does",
            "what is excepted is all that it is about",
            "narrow the unless",
            item[0].at,
        )


def _body_exceptions(rule: Rule) -> Iterator[Finding]:
    if rule.then is Effect.ALLOW:
        return
    for line in (line for item in rule.unless for line in item if _claims(line)):
        yield _finding(
            Kind.BODY_EXCEPTION,
            rule,
            f"rule '{rule.name}' lets go of what says '{line}' in its body",
            "the agent writes the body: a server that does not read this field does what the rule is against",
            "decide by the key, the host or the path; or name the dangerous values in match",
            line.at,
        )


def _claims(line: Line) -> bool:
    """Whether a line believes what a body says; that something is absent is nobody's claim."""
    absent = line.operator is Operator.EXISTS and line.operands == ("false",)
    return line.field[0] in _BODY and not absent


def _literal_star(rule: Rule, line: Line) -> Iterator[Finding]:
    if line.operator not in (Operator.IS, Operator.IN):
        return
    for text in (one for one in line.operands if isinstance(one, str) and "*" in one and len(one) > 1):
        yield _finding(
            Kind.LITERAL_STAR,
            rule,
            f"'{text}' is compared as it is written, star and all",
            f"only like knows patterns, and this is {line.operator}",
            f"write like: {json.dumps(text, ensure_ascii=False)}",
            line.at,
        )


def _repeated(rule: Rule, line: Line) -> Iterator[Finding]:
    twice = [one for at, one in enumerate(line.operands) if one in line.operands[:at]]
    if twice:
        yield _finding(
            Kind.REPEATED,
            rule,
            f"'{twice[0]}' stands twice in one list",
            "one of the two may have been meant to be another",
            "leave one out",
            line.at,
        )


# -- rules beside each other -------------------------------------------------------------


def _beside_others(rule: Rule, policy: Policy) -> Iterator[Finding]:
    """Against the rules for the same hosts: no other can cover this one."""
    others = [one for one in policy.naming(_some_host(rule)) if one is not rule]
    most = rule.then if rule.budget is None else rule.budget.over
    stronger = [one for one in others if one.then > most and rule_covers(one, rule)]
    if stronger:
        strongest = max(stronger, key=lambda one: one.then)
        yield _finding(
            Kind.SHADOWED,
            rule,
            f"rule '{rule.name}' never decides: '{strongest.name}' says {strongest.then}"
            f" wherever it says {rule.then}",
            "the strictest effect counts, whatever the order",
            f"give '{strongest.name}' an unless, or leave '{rule.name}' out",
        )
    elif rule.then is Effect.HOLD:
        for allow in (one for one in others if one.then is Effect.ALLOW and wider_than(one, rule)):
            yield _finding(
                Kind.WIDER,
                allow,
                f"rule '{allow.name}' opens more than rule '{rule.name}' holds",
                "what the hold misses, by an address that nobody thought of, is let through instead of judged"
                " by the default",
                f"name in '{allow.name}' what is harmless, instead of all around {rule.at}",
            )


def _some_host(rule: Rule) -> str:
    """A host that the rule names, empty where it names none: who covers the rule covers this one."""
    for line in rule.match:
        if line.field == ("host",) and line.operator in (Operator.LIKE, Operator.IS, Operator.IN):
            return str(line.operands[0]).replace("*", "any")
    return ""


def _duplicates(rules: Iterable[Rule]) -> Iterator[Finding]:
    first: dict[str, Rule] = {}
    for rule in sorted(rules, key=lambda rule: place(rule.at)):
        content = rule.content()
        same = json.dumps([content.get(key) for key in ("then", "match", "unless", "budget")])
        other = first.setdefault(same, rule)
        if other is not rule:
            yield _finding(
                Kind.DUPLICATE,
                rule,
                f"rule '{rule.name}' says the same as '{other.name}'",
                f"both match the same requests and say {rule.then}; the other stands at {other.at}",
                "keep one of them",
            )


# -- cases -------------------------------------------------------------------------------


def _untested(policy: Policy, cases: Iterable[Case] | None, facts: Facts) -> Iterator[Finding]:
    if cases is None:
        if policy.rules:
            yield Finding(
                Kind.UNTESTED,
                "",
                Problem(
                    "no case at all",
                    "a policy without cases is untested",
                    "write one into a file *_cases.yaml, or let sluice policy new write it",
                ),
            )
        return
    fired = _fired(policy, cases, facts)
    for rule in policy.rules:
        beyond = any(line.field[0] in _BEYOND_CASES for line in rule.match)
        if rule.name not in fired and not beyond:
            yield _finding(
                Kind.UNTESTED,
                rule,
                f"no case fires rule '{rule.name}'",
                "a rule that nobody has seen at work may be misspelled",
                f"add a case that expects {rule.then}, with rule: {rule.name}",
            )


def _fired(policy: Policy, cases: Iterable[Case], facts: Facts) -> set[str]:
    fired: set[str] = set()
    for case in cases:
        found = answer(policy, case.request, facts, used=case.spent)
        fired.update(found.rules)
        if found.verdict is not None:
            fired.update(rule.name for rule in policy.read(found.action).certain)
    return fired


def as_fields(finding: Finding) -> Mapping[str, str]:
    """A finding for `--json`."""
    problem = finding.problem
    return {
        "where": problem.where,
        "finding": str(finding.kind),
        "rule": finding.rule,
        "what": problem.what,
        "why": problem.why,
        "fix": problem.fix,
    }
