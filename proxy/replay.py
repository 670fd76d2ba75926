"""
Decisions out of a ledger, judged again by another policy.

A ledger keeps of every request its method, its address, who sent it, what it was taken for and
what the policy said; of a held one also headers and body. Secrets are gone from all of it. What
is not kept is unknown to the rules, as it would be in a request, and a request whose answer
depends on that is not guessed: nobody can say what it would have got.

Two things settle more. Where the policy of that time is known (`was`), what its rules said then
counts for the rules of now as far as these are the same. And where every rule that has changed
certainly does not concern a request, its answer has not changed.

Pure: whoever reads the ledger gives the entries.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from proxy.action import ABSENT, UNKNOWN, Action, Document, Field, Reading, Request, Values
from proxy.decode import Facts, decode
from proxy.errors import SluiceError
from proxy.ledger import Fields
from proxy.ledger.counted import KIND, total
from proxy.ledger.seen import Seen
from proxy.policy import Policy, request
from proxy.policy.asked import NO_FACTS
from proxy.policy.cover import rule_covers
from proxy.policy.evaluate import Weighing
from proxy.policy.rule import Rule
from proxy.policy.truth import Look, all_say, line_says, rule_says
from proxy.policy.values import Truth
from proxy.policy.verdict import Effect

_MARK: Final = "‹secret "
STAND_IN: Final = "removed-from-the-ledger"
"""What stands where a secret was."""

# What the head alone tells, as far as the address is all there is of it.
_TOLD: Final = frozenset({"query", "body", "first_seen"})


@dataclass(frozen=True, slots=True)
class Recorded:
    """
    One decision that a policy made, or as many as `requests` says that were only counted.

    `action` is None where nothing can be judged again, and `why` says why. `whole` is True
    where nothing of the request is missing.
    """

    method: str
    url: str
    agent: str
    effect: Effect | None
    rules: tuple[str, ...]
    policy: str
    action: Action | None = None
    whole: bool = False
    why: str = ""
    requests: int = 1

    @property
    def rule(self) -> str:
        """The first rule that spoke."""
        return self.rules[0] if self.rules else ""


@dataclass(frozen=True, slots=True)
class Again:
    """What another policy says of a recorded request; `effect` is None where nobody can say."""

    effect: Effect | None
    rules: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """The first rule that speaks."""
        return self.rules[0] if self.rules else ""


def recorded(entries: Iterable[tuple[Fields, bytes | None]], facts: Facts = NO_FACTS) -> Iterator[Recorded]:
    """
    The decisions among a ledger's entries, each with the payload beside it, oldest first.

    Judge each before taking the next: what was first seen then is first seen only until then. Of
    `facts` only what is known of services is taken.
    """
    seen, waiting = Seen(), dict[str, bytes]()
    for fields, payload in entries:
        match fields.get("kind"), fields.get("hold"):
            case "held", str(hold) if payload is not None:
                waiting[hold] = payload
            case str(kind), _ if kind == KIND:
                why = "of reads that were counted only the number is kept"
                yield Recorded("", "", "", None, (), "", why=why, requests=total(fields))
            case "decided", hold:
                yield _recorded(fields, waiting.pop(str(hold), None), seen, facts)
                seen.add(fields)


def _recorded(fields: Fields, payload: bytes | None, seen: Seen, facts: Facts) -> Recorded:
    word = _text(fields, "effect")
    rules = fields.get("rules")
    found = Recorded(
        method=_text(fields, "method"),
        url=_text(fields, "url"),
        agent=_text(fields, "agent"),
        effect=Effect[word.upper()] if word in map(str, Effect) else None,
        rules=tuple(map(str, rules)) if isinstance(rules, list) else (),
        policy=_text(fields, "policy"),
    )
    if found.effect is None:
        return replace(found, why="no policy was asked")
    try:
        asked, whole = kept(fields, payload) if payload else (addressed(fields), False)
        action = decode(asked, facts) if payload else _address(fields, asked, facts)
    except (SluiceError, ValueError, TypeError, KeyError, AttributeError):
        return replace(found, why="what is kept of it is no request")
    if action.unreadable is not None:
        return replace(found, why="what is kept of it cannot be read")
    if action.members and not whole:
        return replace(found, why="of what it carries, something was removed")
    return replace(found, action=_known(action, fields, seen, whole=whole), whole=whole)


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


# -- what is kept ------------------------------------------------------------------------


def kept(fields: Fields, payload: bytes) -> tuple[Request, bool]:
    """
    A held request out of its payload, and whether nothing of it is missing.

    Something stands in for each secret; the body is None where it is not kept whole. Raises
    SluiceError, ValueError, TypeError or KeyError for what is no payload of ours.
    """
    found = json.loads(payload)
    note, removed = str(found["note"]), bool(found["removed"])
    coding = next((value for name, value in found["headers"] if name.lower() == "content-encoding"), "")
    plain = note == f"shown without its {coding} coding; " if coding else not note
    headers = [
        (name, _without_marks(value))
        for name, value in found["headers"]
        if not (plain and name.lower() == "content-encoding")
    ]
    asked = request(
        _text(fields, "method"),
        _without_marks(found["url"]),
        headers,
        _without_marks(found["body"]).encode() if plain else b"",
        agent=_text(fields, "agent") or None,
    )
    return asked if plain else replace(asked, body=None), plain and not removed and not coding


def addressed(fields: Fields) -> Request:
    """A request of which only the address is kept; its body is known where there was none."""
    asked = request(
        _text(fields, "method"), _without_marks(_text(fields, "url")), agent=_text(fields, "agent") or None
    )
    return asked if fields.get("body") == 0 else replace(asked, body=None)


def _address(fields: Fields, asked: Request, facts: Facts) -> Action:
    """A request understood by its address alone: of its headers nothing is known but what is told."""
    action = decode(asked, facts)
    rest = _always(UNKNOWN if asked.body is None else ABSENT)
    documents = {name: read if name in _TOLD else rest for name, read in action.documents.items()}
    headers: dict[Field, Reading] = {("host",): action.read(("header", "host")), ("upgrade",): ABSENT}
    if fields.get("upgrade"):
        headers["upgrade",] = UNKNOWN
    documents["header"] = lambda name: headers.get(name, UNKNOWN)
    scalars = dict(action.scalars)
    if isinstance(methods := fields.get("methods"), list):
        scalars["method"] = Values(tuple(one if isinstance(one, str) else None for one in methods))
    return replace(action, documents=documents, scalars=scalars)


def _always(reading: Reading) -> Document:
    return lambda _: reading


def _without_marks(text: str) -> str:
    """Text in which something stands in for each secret that could stand in any address."""
    first, *pieces = text.split(_MARK)
    return first + "".join(STAND_IN + piece.partition("›")[2] for piece in pieces)


def _known(action: Action, fields: Fields, seen: Seen, *, whole: bool) -> Action:
    """With what the entry says of the request, and without what only stands for a secret."""
    documents = dict(action.documents)
    if not whole:
        documents = {name: _veiled(read) for name, read in documents.items()}
    documents["first_seen"] = _first_seen(fields, seen)
    credential, consequence = _text(fields, "credential"), fields.get("consequence")
    scalars = {
        **action.scalars,
        "operation": Values((_text(fields, "operation"),)),
        "credential": Values((credential,)) if credential else ABSENT,
    }
    if isinstance(consequence, list):
        scalars["consequence"] = Values(tuple(one if isinstance(one, str) else None for one in consequence))
    complete = action.complete or isinstance(consequence, list)
    return replace(action, documents=documents, scalars=scalars, complete=complete)


def _veiled(read: Document) -> Document:
    def veiled(name: Field) -> Reading:
        found = read(name)
        if not isinstance(found, Values):
            return found
        return Values(tuple(None if item is None or STAND_IN in item else item for item in found.items))

    return veiled


def _first_seen(fields: Fields, seen: Seen) -> Document:
    agent, host, credential = (_text(fields, name) for name in ("agent", "host", "credential"))
    operation = _text(fields, "operation")
    recipients = [] if fields.get("body") == 0 else fields.get("recipients")

    def read(name: Field) -> Reading:
        match name:
            case ("host",):
                first = seen.new_host(agent, host)
            case ("operation",):
                first = seen.new_operation(agent, host, operation)
            case ("credential",):
                first = bool(credential) and seen.other_credential(agent, host, credential)
            case ("recipient",) if isinstance(recipients, list):
                first = any(seen.new_recipient(agent, str(one)) for one in recipients)
            case _:
                return UNKNOWN
        return Values(("true" if first else "false",))

    return read


# -- judged again ------------------------------------------------------------------------


def again(policy: Policy, one: Recorded, was: Policy | None = None) -> Again:
    """What a policy says of a recorded request; `was` is what was in force then, if that is known."""
    if one.action is None:
        return Again(None)
    if policy.digest == one.policy:
        return Again(one.effect, one.rules)
    verdict = policy.judge(one.action)
    if any(claim.over.effect > verdict.effect for claim in verdict.budgets):
        return Again(None)  # what would have been used by then is another history
    if one.whole or verdict.settled:
        return Again(verdict.effect, verdict.rules)
    if was is None or was.digest != one.policy or one.action.members:
        return Again(None)
    weighed = _as_then(policy.read(one.action), one, was)
    if not weighed.settled:
        return Again(None)
    effect = weighed.effect
    speakers = [rule for rule in (*weighed.certain, *weighed.unknown) if rule.then is effect]
    names = [rule.name for rule in sorted(speakers, key=lambda rule: rule.rank)]
    return Again(effect, tuple(names) or ("default",))


def _as_then(weighed: Weighing, one: Recorded, was: Policy) -> Weighing:
    """With what the ledger says of the rules of then, as far as they are the rules of now."""
    before = {rule.name: rule for rule in was.rules}
    said = {
        rule.name: _said_then(rule, before[rule.name], one) for rule in weighed.unknown if rule.name in before
    }
    certain = [*weighed.certain, *(rule for rule in weighed.unknown if said.get(rule.name))]
    unknown = [rule for rule in weighed.unknown if said.get(rule.name) is None]
    return Weighing(certain, unknown, None if certain else weighed.default)


def _said_then(rule: Rule, old: Rule, one: Recorded) -> Truth:
    """
    What a rule says, by what the one of its name said then.

    All rules of the effect that won have spoken, and each that is stricter said no; of milder
    ones nobody has written down a word. Where one spoke, each of its lines held and none of its
    exceptions did.
    """
    assert one.effect is not None and one.action is not None
    if old.name not in one.rules:
        narrower = old.content() == rule.content() or (old.then is rule.then and rule_covers(old, rule))
        return False if old.then >= one.effect and narrower else None
    look, tightens = Look(one.action), rule.then is not Effect.ALLOW
    held = [line.content() for line in old.match]
    excepted = [[line.content() for line in item] for item in old.unless]
    truths: list[Truth] = []
    for line in rule.match:
        truth = line_says(line, tightens=tightens)(look)
        truths.append(True if truth is None and line.content() in held else truth)
    for item in rule.unless:
        truth = all_say(tuple(line_says(line, tightens=not tightens) for line in item))(look)
        known = truth is None and [line.content() for line in item] in excepted
        truths.append(True if known else None if truth is None else not truth)
    return False if False in truths else None if None in truths else True


def same(old: Policy, new: Policy, one: Recorded) -> bool:
    """Whether no difference between two policies concerns a recorded request."""
    if one.action is None or one.action.members:
        return False
    look = Look(one.action)
    before = {rule.name: rule for rule in old.naming(one.action.host)}
    after = {rule.name: rule for rule in new.naming(one.action.host)}
    for name in {*before, *after}:
        pair = [rules[name] for rules in (before, after) if name in rules]
        changed = len(pair) == 1 or pair[0].content() != pair[1].content()
        if changed and any(rule_says(rule)(look) is not False for rule in pair):
            return False
    return old.read(one.action).default == new.read(one.action).default


# -- counted -----------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """How many holds a change adds and removes; `unknown` are those that nobody can say."""

    added: int = 0
    removed: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Replay:
    """
    What a policy would have made of a ledger.

    `then` and `now` count holds among the `judged`; `unjudged` says of the others why not, and
    how many.
    """

    judged: int
    then: int
    now: int
    total: Tally
    by_rule: Mapping[str, Tally]
    by_agent: Mapping[str, Tally]
    unjudged: Mapping[str, int]


def replay(decisions: Iterable[Recorded], policy: Policy, was: Policy | None = None) -> Replay:
    """Count the holds that a policy would have added and removed."""
    judged = then = now = 0
    total, by_rule, by_agent, unjudged = Tally(), dict[str, Tally](), dict[str, Tally](), dict[str, int]()
    for one in decisions:
        if one.action is None:
            unjudged[one.why] = unjudged.get(one.why, 0) + one.requests
            continue
        judged += 1
        after = again(policy, one, was)
        held, holds = one.effect is Effect.HOLD, after.effect is Effect.HOLD
        then, now = then + held, now + holds
        rule = after.rule if holds else one.rule
        for tally in (total, by_rule.setdefault(rule, Tally()), by_agent.setdefault(one.agent, Tally())):
            if after.effect is None:
                tally.unknown += 1
            else:
                tally.added += holds and not held
                tally.removed += held and not holds
    return Replay(judged, then, now, total, _told(by_rule), _told(by_agent), unjudged)


def _told(tallies: Mapping[str, Tally]) -> dict[str, Tally]:
    """Those of which there is something to say, the most first."""
    counts = {name: (one.added + one.removed, one.unknown) for name, one in tallies.items()}
    names = sorted(tallies, key=lambda name: (-counts[name][0], -counts[name][1], name))
    return {name: tallies[name] for name in names if any(counts[name])}
