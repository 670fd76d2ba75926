"""
Why a request gets the answer that it gets: each rule's yes, no or unknown, and the line that decided it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

from proxy.action import Action, Request
from proxy.decode import Facts
from proxy.errors import SluiceError
from proxy.policy.asked import BODY_LIMIT, NO_FACTS, Answer, answer, request
from proxy.policy.evaluate import Policy
from proxy.policy.rule import Line, Rule
from proxy.policy.truth import Look, line_says, rule_says
from proxy.policy.values import Truth
from proxy.policy.verdict import Effect

MAX_LINE: Final = 16 * 1024 * 1024
MAX_ID: Final = 1_000


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
    """The gate's answer, and what each rule says of what was judged."""

    answer: Answer
    readings: tuple[RuleReading, ...]


def explain(
    policy: Policy,
    asked: Request,
    facts: Facts = NO_FACTS,
    *,
    body_limit: int = BODY_LIMIT,
    every_rule: bool = False,
) -> Explanation:
    """One request explained, by the rules that may concern its host, or by every rule."""
    found = answer(policy, asked, facts, body_limit=body_limit)
    rules = policy.rules if every_rule else policy.naming(found.action.host)
    readings = () if found.decision == "unreadable" else tuple(reading(rule, found.action) for rule in rules)
    return Explanation(found, readings)


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


class Lines(Protocol):
    """Where lines come from: a file opened for reading bytes."""

    def readline(self, limit: int, /) -> bytes:
        """At most `limit` bytes of the next line; empty at the end."""
        ...


def from_lines(
    policy: Policy, lines: Lines, facts: Facts = NO_FACTS, *, body_limit: int = BODY_LIMIT
) -> Iterator[str]:
    """
    A decision for each line, as a JSON line without its line feed, in the same order.

    A line that is no request is answered as `unreadable`, with the reason as its why. Empty
    lines are answered too: answers and lines can be counted against each other.
    """
    while line := lines.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = lines.readline(MAX_LINE)
            yield _as_line(None, "unreadable", f"the line is over {MAX_LINE} bytes")
        else:
            yield _answer_line(policy, line, facts, body_limit)


class _BadLineError(Exception):
    pass


def _answer_line(policy: Policy, line: bytes, facts: Facts, body_limit: int) -> str:
    id: object = None
    try:
        given = _object(line)
        id = _id(given)
        found = answer(policy, _asked(given), facts, body_limit=body_limit)
    except _BadLineError as error:
        return _as_line(id, "unreadable", str(error))
    except SluiceError as error:
        return _as_line(id, "unreadable", error.problems[0].what)
    return _as_line(id, found.decision, found.why, found.rule, found.rules, found.action.operation)


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


def _object(line: bytes) -> dict[str, object]:
    try:
        found = json.loads(line.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _BadLineError("the line is not JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise _BadLineError("the line is no JSON object")
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _BadLineError("the line has the same key twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise _BadLineError(f"{name} is not JSON")


def _id(given: dict[str, object]) -> object:
    id = given.get("id")
    if id is None or isinstance(id, int) or (isinstance(id, str) and len(id) <= MAX_ID):
        return id
    raise _BadLineError("the id is neither a short text nor a whole number")


def _asked(given: dict[str, object]) -> Request:
    return request(_text(given, "method"), _text(given, "url"), _headers(given), _body(given))


def _text(given: dict[str, object], key: str) -> str:
    found = given.get(key)
    if not isinstance(found, str):
        raise _BadLineError(f"the line has no {key}")
    return found


def _headers(given: dict[str, object]) -> list[tuple[str, str]]:
    found = given.get("headers") or []
    if isinstance(found, list):
        pairs = [pair for pair in found if isinstance(pair, list) and len(pair) == 2]
        texts = [(name, value) for name, value in pairs if isinstance(name, str) and isinstance(value, str)]
        if len(texts) == len(found):
            return texts
    raise _BadLineError("the headers are no list of [name, value]")


def _body(given: dict[str, object]) -> bytes:
    text, coded = given.get("body"), given.get("body_base64")
    if text is not None and coded is not None:
        raise _BadLineError("the line has both body and body_base64")
    try:
        if isinstance(text, str):
            return text.encode("utf-8")
        if isinstance(coded, str):
            return base64.b64decode(coded, validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise _BadLineError("the body cannot be read") from None
    if text is None and coded is None:
        return b""
    raise _BadLineError("the body is no text")
