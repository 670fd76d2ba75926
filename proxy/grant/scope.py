"""
What is like a request: the rule that a grant for its like is, written in the policy language.

The rule is made of the request under review and shown as it is; nothing else decides what a
grant covers. It names the agent, the address, the method, the path, what the request does, and
the fields by which the rules of the hold look at it, each with the very value under review:

- an amount may be lower, never higher, and never zero or below; so may the numbers of recipients
  and of records;
- a field that was absent stays absent, and none has more values than it had;
- the credential and the currency are part of it, said by a rule or not.

What a rule cannot say (a secret, several different values under one name, the whole of a body
that no rule looks into) is never left open: then only the very same request is like it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.action import Action, Field, Values
from proxy.decode.blast import is_amount
from proxy.errors import Exit, SluiceError, fail
from proxy.policy import Policy, Rule, load_texts
from proxy.policy.fields import UnknownFieldError, is_confidence, parse, spell
from proxy.policy.keys import MAX_TEXT
from proxy.policy.rule import Operator
from proxy.policy.values import number
from proxy.policy.verdict import Effect, Tier, Verdict
from proxy.redact import is_secret_field, redact_value

MAX_FIELDS: Final = 30
"""Fields that a rule binds at most; a request of which more are looked at is like itself alone."""
MAX_RULE: Final = 6_000
"""Characters of the longest rule; a request that needs a longer one is like itself alone."""

_ADDRESS: Final = (("host",), ("scheme",), ("port",), ("method",), ("path",))
_DOER: Final = (("agent",), ("operation",))
_COUNTS: Final = (("blast", "recipients"), ("blast", "records"))
_REACH: Final = (("blast", "amount"), *_COUNTS)
_SAME: Final = (("blast", "currency"), ("credential",))
# What says how or how much, and never what: such fields alone do not say what a request is like.
_VAGUE: Final = frozenset({"agent", "blast", "body", "consequence", "credential", "operation"})
# Bodies of which a request has one: what would stand in the others is not there to be bound.
_BODIES: Final = frozenset({"json", "form", "multipart"})
# The headers of which `credential` is the keyed hash.
_CREDENTIALS: Final = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key"})

_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@-]*")
_WORDS: Final = frozenset({"true", "false", "null"})


@dataclass(frozen=True, slots=True)
class Scope:
    """
    What a grant covers: `text` is a policy file with one rule that allows.

    Where `whole`, the digest of the request has to be equal too, because the rule leaves open
    what it cannot say.
    """

    text: str
    whole: bool


def free(whole: bool) -> str:
    """What a request may differ in and still be covered, for people."""
    if whole:
        return "nothing: only the very same request is covered"
    return "everything else in the body, the query and the headers"


class _WholeError(Exception):
    """A rule cannot say this: the whole request has to be the same."""


def refusal(action: Action, verdict: Verdict) -> str:
    """Why nothing like this request may be granted, in words; empty where it may."""
    if verdict.effect is not Effect.HOLD:
        return "no rule holds it any more"
    if action.members:
        return "it carries several requests"
    if not action.complete:
        return "its body was not read"
    if verdict.always_ask:
        return "a rule says that people are always asked"
    if verdict.tier is Tier.CRITICAL:
        return "it is of the critical tier"
    if any(demand.approvals > 1 for demand in verdict.demands):
        return "it needs more than one approval"
    if verdict.unknown:
        return "it is held because something in it could not be read"
    if not isinstance(action.read(("agent",)), Values):
        return "nobody can say which agent asks"
    return ""


def scope(action: Action, verdict: Verdict, policy: Policy, id: str, fields: Sequence[str] = ()) -> Scope:
    """
    What is like the request under review; `id` is its hold's, `fields` are bound in place of the rules'.

    Raises SluiceError (exit 1) where nothing may be granted, or a field that was chosen cannot be bound.
    """
    if why := refusal(action, verdict):
        raise not_offered(why)
    rules = [rule for rule in policy.rules if rule.name in verdict.rules]
    limits = _limited(rules)
    if fields:
        chosen = tuple(_chosen(name, action, limits) for name in fields)
        found = _rule(action, chosen, limits, id)
        if found is None:
            raise not_offered("these fields cannot be put into a rule")
        return Scope(found, whole=False)
    looked_at = tuple(dict.fromkeys(_looked_at(rules)))
    found = _rule(action, looked_at, limits, id) if _says_what(looked_at, action) else None
    if found is not None:
        return Scope(found, whole=False)
    lines = _Lines()
    lines.identify(action, strict=False)
    text = lines.text(id)
    if not allows(load(text), action):
        raise not_offered("it cannot be put into a rule")
    return Scope(text, whole=True)


def load(text: str) -> Policy:
    """The rule of a grant as a policy; raises SluiceError where it is none."""
    return load_texts({"grant": text})


def allows(rule: Policy, action: Action) -> bool:
    """Whether the rule of a grant says for certain that this is what it covers."""
    verdict = rule.judge(action)
    return verdict.effect is Effect.ALLOW and not action.members and action.complete


def not_offered(why: str) -> SluiceError:
    """The answer where its like cannot be granted."""
    return fail(
        f"the like of this request cannot be granted: {why}",
        "what a grant covers is not shown to anybody",
        "approve it by itself",
        exit=Exit.NO,
    )


# -- which fields --------------------------------------------------------------------------


def _looked_at(rules: Iterable[Rule]) -> Iterator[Field]:
    """The fields that these rules show or compare, but for those that every grant binds."""
    for rule in rules:
        yield from rule.show
        for line in (*rule.match, *(line for item in rule.unless for line in item)):
            if not line.implied and line.field not in _ADDRESS and line.field[0] != "first_seen":
                yield line.field


def _limited(rules: Iterable[Rule]) -> frozenset[Field]:
    """The fields of which more is worse, as far as the rules say."""
    lines = [line for rule in rules for line in rule.match]
    above = {line.field for line in lines if line.operator is Operator.ABOVE}
    return frozenset(above.difference(line.field for line in lines if line.operator is Operator.BELOW))


def _says_what(fields: Iterable[Field], action: Action) -> bool:
    """Whether one of these fields is there and says what the request is about."""
    telling = (one for one in fields if one[0] not in _VAGUE and not _is_credential(one))
    return any(isinstance(found := action.read(one), Values) and found.items for one in telling)


def _is_credential(name: Field) -> bool:
    return name == ("credential",) or (name[0] == "header" and name[1] in _CREDENTIALS)


def _chosen(name: str, action: Action, limits: frozenset[Field]) -> Field:
    """A field that a reviewer names; SluiceError (exit 1) where it cannot be bound by itself."""
    try:
        found = parse(name)
    except UnknownFieldError as error:
        raise fail(str(error), fix=error.fix, exit=Exit.NO) from None
    if found[0] == "first_seen" or is_confidence(found):
        raise not_offered(f"'{name}' says nothing of what the request asks for")
    try:
        there = bool(_values(found, action))
        _Lines().bind(found, action, limits)
    except _WholeError:
        raise not_offered(f"'{name}' is secret, cannot be read, or has several values") from None
    if not there:
        raise not_offered(f"'{name}' is not in it")
    return found


def _rule(action: Action, chosen: Sequence[Field], limits: frozenset[Field], id: str) -> str | None:
    """The rule that binds these fields and what every grant binds; None where it cannot be said."""
    lines = _Lines()
    try:
        lines.identify(action, strict=True)
        for name in dict.fromkeys((*_readable(chosen, action), *_SAME, *_REACH)):
            lines.bind(name, action, limits.union(_REACH))
        text = lines.text(id)
    except _WholeError:
        return None
    return text if len(text) <= MAX_RULE and allows(load(text), action) else None


def _readable(chosen: Sequence[Field], action: Action) -> list[Field]:
    """Without the fields of bodies that this request does not have, where one of the one it has is bound."""
    read = {name: isinstance(action.read(name), Values) for name in chosen}
    has_body = any(read[name] and name[0] in _BODIES for name in chosen)
    return [name for name in chosen if not (has_body and name[0] in _BODIES and not read[name])]


# -- the rule ------------------------------------------------------------------------------


@dataclass(slots=True)
class _Lines:
    """The lines of a rule that allows; it is written once all of them are there."""

    match: dict[str, str] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    unless: list[str] = field(default_factory=list)

    def identify(self, action: Action, *, strict: bool) -> None:
        """Who asks whom to do what; without `strict` what cannot be said is left out."""
        for name in (*_ADDRESS, *_DOER):
            try:
                (value,) = _values(name, action) or (None,)
                if value is None or (name == ("path",) and "*" in value):
                    raise _WholeError
            except (_WholeError, ValueError):
                if strict:
                    raise _WholeError from None
                continue
            if name in _ADDRESS:
                self.match[name[0]] = value if name == ("port",) else quoted(value)
            else:
                self.where[name[0]] = f"is: {quoted(value)}"

    def bind(self, name: Field, action: Action, limits: frozenset[Field]) -> None:
        """One field, with the value under review."""
        if _is_credential(name) and name != ("credential",):
            return  # bound by its keyed hash
        if is_confidence(name) or len(self.where) >= MAX_FIELDS:
            raise _WholeError
        values = _values(name, action)
        key = quoted(spell(name))
        if not values:
            self.where[key] = "exists: false"
            return
        if len(set(values)) > 1:
            raise _WholeError
        amount = number(values[0]) if name in limits or is_amount(name) else None
        if amount is not None and amount > 0:
            self.where[key] = "above: 0"
            self.unless.append(f"{key}: {{above: {amount:f}}}")
        else:
            self.where[key] = f"is: {quoted(values[0])}"
        if len(values) > 1:
            self.where[key] += f", count_above: {len(values) - 1}"
        if name not in _COUNTS:
            self.unless.append(f"{key}: {{count_above: {len(values)}}}")

    def text(self, id: str) -> str:
        """The rule as a policy file."""
        lines = [
            "version: 1",
            "rules:",
            f"  - name: like-{id[:6]}",
            f"    why: The like of hold {id[:6]} was approved.",
            "    match:",
            *(f"      {name}: {value}" for name, value in self.match.items()),
            "      where:",
            *(f"        {name}: {{{said}}}" for name, said in self.where.items()),
        ]
        if self.unless:
            lines += ["    unless:", *(f"      - where: {{{said}}}" for said in self.unless)]
        return "\n".join([*lines, "    then: allow", ""])


def _values(name: Field, action: Action) -> tuple[str, ...]:
    """The values under a name that a rule may show; `_WholeError` where there is one that it may not."""
    found = action.read(name)
    if not isinstance(found, Values):
        raise _WholeError
    return tuple(_shown(name, value) for value in found.items)


def _shown(name: Field, value: str | None) -> str:
    if value is None or len(value) > MAX_TEXT:
        raise _WholeError
    if name == ("credential",):
        return value
    if is_secret_field(name) or redact_value(value, name) != value:
        raise _WholeError
    return value


def quoted(text: str) -> str:
    """A text as YAML that is read back as this very text, in ASCII."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(char: str) -> str:
    code = ord(char)
    if char in '"\\':
        return f"\\{char}"
    if 0x20 <= code < 0x7F:
        return char
    if 0xD800 <= code < 0xE000:
        raise _WholeError
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
