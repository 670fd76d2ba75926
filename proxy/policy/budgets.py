"""
Budgets in rules: out of a file, and what an action claims of the accounts that they open.

What a rule says is read here; how much of an account is used is `proxy.budget`'s. What cannot
be read claims an amount that nobody knows, and for that there is no room.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from proxy.action import Field, Values
from proxy.policy import keys, shape
from proxy.policy.fields import UnknownFieldError, parse, spell
from proxy.policy.limits import LONGEST, total
from proxy.policy.operands import OperandError, literal
from proxy.policy.rule import Budget, Rule, Whose
from proxy.policy.source import Mistakes, Node, Scalar
from proxy.policy.truth import MAX_VALUES, Look
from proxy.policy.values import number
from proxy.policy.verdict import Account, Claim, Effect, Verdict
from proxy.redact import is_secret_field

MOST: Final = 32
"""Accounts that one request may draw on; with more it cannot be released."""

_OVER: Final = ("hold", "deny")
_UNIT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,15}")
_LARGEST: Final = Decimal(10) ** 18
NOBODY: Final = "unknown"
"""The owner of an account that all share of whom nobody can say who they are."""


# -- out of a file -------------------------------------------------------------------------


def read_budget(found: Mapping[str, Node], then: str | None, mistakes: Mistakes) -> Budget | None:
    """The budget of a rule; None where there is none, or any of it is wrong (which has been said)."""
    if "budget" not in found:
        return None
    node, before = found["budget"], len(mistakes.problems)
    if then not in (None, "allow", "watch"):
        why = "a budget is for what would leave by itself"
        mistakes.add(node.at, f"budget: in a rule that says {then}", why, "write then: allow, or then: watch")
    parts = shape.table(node, keys.BUDGET, "budget", mistakes)
    if parts is None:
        return None
    what = _what(node, parts, mistakes)
    whose = shape.one_of(parts["by"], tuple(map(str, Whose)), "by", mistakes) if "by" in parts else None
    over = shape.one_of(parts["over"], _OVER, "over", mistakes) if "over" in parts else None
    if what is None or len(mistakes.problems) > before:
        return None
    return replace(what, by=Whose(whose or Whose.RULE), over=Effect[(over or "hold").upper()])


def _what(node: Node, parts: Mapping[str, Node], mistakes: Mistakes) -> Budget | None:
    """What is limited, by which of the three ways to say so."""
    said = [key for key in ("field", "count", *keys.COUNTED) if key in parts]
    if len(said) != 1:
        what = f"budget has both {said[0]} and {said[1]}" if said else "budget does not say what it limits"
        fix = "write {field: form.amount, limit: 200, per: 24h}, {count: 20, per: 1h} or {deletes: 20 per 1h}"
        mistakes.add(parts[said[1]].at if said else node.at, what, "one budget limits one thing", fix)
        return None
    [key] = said
    if key == "field":
        return _amounts(node, parts, mistakes)
    for other in ("unit", "limit", *(() if key == "count" else ("per",))):
        if other in parts:
            what, why = f"{other} beside {key}", f"{key} says how many within how long"
            mistakes.add(parts[other].at, what, why, "leave it out")
    if key == "count":
        return _counted(node, parts, mistakes)
    return _sentence(key, parts[key], mistakes)


def _amounts(node: Node, parts: Mapping[str, Node], mistakes: Mistakes) -> Budget | None:
    field = _field(parts["field"], "field", mistakes)
    unit = _field(parts["unit"], "unit", mistakes) if "unit" in parts else None
    limit = _limit(node, parts, mistakes)
    per = _per(node, parts, mistakes)
    if field is None or limit is None or per is None:
        return None
    return Budget(limit, per, field=field, unit=unit)


def _counted(node: Node, parts: Mapping[str, Node], mistakes: Mistakes) -> Budget | None:
    count = shape.whole(parts["count"], keys.MAX_COUNT, "count", mistakes)
    per = _per(node, parts, mistakes)
    return None if count is None or per is None else Budget(Decimal(count), per)


def _sentence(key: str, node: Node, mistakes: Mistakes) -> Budget | None:
    """``20 per 1h``."""
    words = node.text.split() if isinstance(node, Scalar) and re.match(keys.COUNT_WITHIN, node.text) else []
    if not words or int(words[0]) > keys.MAX_COUNT:
        fix = f"write how many within how long: {key}: 20 per 1h"
        mistakes.add(node.at, f"{key} is no count within a time", fix=fix)
        return None
    per = shape.duration(Scalar(words[2], True, node.at), key, mistakes, most=LONGEST)
    return None if per is None else Budget(Decimal(words[0]), int(per), counts=key)


def _per(node: Node, parts: Mapping[str, Node], mistakes: Mistakes) -> int | None:
    if "per" not in parts:
        mistakes.add(node.at, "budget does not say within how long", fix="add, for instance, per: 24h")
        return None
    found = shape.duration(parts["per"], "per", mistakes, most=LONGEST)
    return None if found is None else int(found)


def _limit(node: Node, parts: Mapping[str, Node], mistakes: Mistakes) -> Decimal | None:
    if "limit" not in parts:
        mistakes.add(node.at, "budget has no limit", fix="add, for instance, limit: 200")
        return None
    given = parts["limit"]
    try:
        found = literal(given) if isinstance(given, Scalar) else ""
    except OperandError as error:
        mistakes.add(given.at, f"limit: {error}", error.why, error.fix)
        return None
    if isinstance(found, Decimal) and found > 0:
        return found
    why = "a limit of nothing is a rule that holds" if found == 0 else ""
    mistakes.add(given.at, "limit is no number above 0", why, "write it unquoted, as in 200 or 99.50")
    return None


def _field(node: Node, what: str, mistakes: Mistakes) -> Field | None:
    name = shape.text(node, what, mistakes)
    if name is None:
        return None
    try:
        field = parse(name)
    except UnknownFieldError as error:
        named = "name the field that says it, as in form.currency; to limit one unit, match it in where"
        fix = named if what == "unit" else error.fix
        mistakes.add(node.at, f"{what}: {error}", "what is limited must be read from the request", fix)
        return None
    if is_secret_field(field):
        why = "what a budget counts is written into the ledger"
        mistakes.add(node.at, f"{spell(field)} is secret", why, "name another field")
        return None
    return field


# -- what an action claims -----------------------------------------------------------------


def claims(rule: Rule, look: Look, over: Callable[[], Verdict]) -> list[Claim]:
    """What an action takes out of the accounts of a rule; `over` is what that says where there is no room."""
    budget = rule.budget
    if budget is None or not _concerns(budget, look):
        return []
    said = over()
    amount, unit, why = _amount(budget, look)
    return [
        Claim(Account(rule.name, owner, unit), amount, budget.limit, budget.per, said, why)
        for owner in _owners(budget.by, look)
    ]


def _concerns(budget: Budget, look: Look) -> bool:
    """Whether a count of some consequence counts this action: where nobody can say, it does."""
    if budget.field is not None or budget.counts == keys.EVERY:
        return True
    found = look.read(("consequence",))
    if not isinstance(found, Values) or not found.items or None in found.items:
        return True
    word = keys.COUNTED[budget.counts]
    # Every change writes: what is no read is among the writes, however it is called.
    return any(one != "read" for one in found.items) if word == "write" else word in found.items


def _owners(whose: Whose, look: Look) -> list[str]:
    match whose:
        case Whose.RULE:
            return [""]
        case Whose.AGENT:
            found = look.read(("agent",))
        case Whose.CREDENTIAL:
            found = look.read(("credential",))
    if not isinstance(found, Values):
        return [NOBODY]
    return list(dict.fromkeys(one or NOBODY for one in found.items)) or [NOBODY]


def _amount(budget: Budget, look: Look) -> tuple[Decimal | None, str, str]:
    """How much, in which unit; else why nobody can say."""
    if budget.field is None:
        word = "" if budget.counts == keys.EVERY else budget.counts
        if not isinstance(look.read(("method",)), Values):
            return None, word, "what this batch carries cannot be opened"
        return Decimal(1), word, ""
    unit, why = _one_unit(budget.unit, look) if budget.unit else ("", "")
    amount = None
    if not why:
        amount, why = _sum(budget.field, look)
    return amount, unit, why


def _sum(field: Field, look: Look) -> tuple[Decimal | None, str]:
    """All values of a field together."""
    found, name = look.read(field), spell(field)
    if not isinstance(found, Values) or len(found.items) > MAX_VALUES:
        return None, f"{name} cannot be read"
    if not found.items:
        return None, f"{name} is absent"
    amounts = [None if one is None else number(one) for one in found.items]
    known = [one for one in amounts if one is not None]
    if len(known) < len(amounts):
        return None, f"{name} is no number"
    if any(one < 0 for one in known):
        return None, f"{name} is negative"
    amount = total(known)
    return (amount, "") if amount < _LARGEST else (None, f"{name} is too large")


def _one_unit(field: Field, look: Look) -> tuple[str, str]:
    """The one unit that all values of a field name, in upper case."""
    found, name = look.read(field), spell(field)
    if not isinstance(found, Values):
        return "", f"{name} cannot be read"
    if not found.items:
        return "", f"{name} is absent"
    units = {one.upper() if one and _UNIT.fullmatch(one) else None for one in found.items}
    if len(units) > 1:
        return "", f"{name} names several units"
    return (unit, "") if (unit := units.pop()) else ("", f"{name} is no unit")


def joined(own: Iterable[Claim], members: Iterable[Sequence[Claim]]) -> tuple[Claim, ...]:
    """
    The claims on a container: of each account the sum of its members', or its own where that is more.

    What draws on more than `MOST` accounts cannot be released: it could not be written down.
    """
    found: dict[Account, Claim] = {}
    for claim in (claim for one in members for claim in one):
        before = found.get(claim.account)
        found[claim.account] = claim if before is None else _together(before, claim)
    for claim in own:
        before = found.get(claim.account)
        found[claim.account] = claim if before is None else _greater(before, claim)
    return bounded(tuple(found.values()))


def _together(one: Claim, other: Claim) -> Claim:
    if one.amount is None or other.amount is None:
        return one if one.amount is None else other
    return replace(one, amount=total((one.amount, other.amount)))


def _greater(one: Claim, other: Claim) -> Claim:
    if one.amount is None or other.amount is None:
        return one if one.amount is None else other
    return one if one.amount >= other.amount else other


def bounded(found: tuple[Claim, ...]) -> tuple[Claim, ...]:
    """At most `MOST` claims, the last of which denies where there were more."""
    if len(found) <= MOST:
        return found
    last = found[MOST - 1]
    denies = replace(last.over, effect=Effect.DENY, demands=())
    why = f"it draws on more than {MOST} accounts"
    return (*found[: MOST - 1], replace(last, amount=None, over=denies, why=why))
