"""
One rule out of a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from proxy.action import Field
from proxy.policy import keys, shape
from proxy.policy.budgets import read_budget
from proxy.policy.fields import UnknownFieldError, did_you_mean, is_confidence, parse, spell
from proxy.policy.operands import OperandError, operand
from proxy.policy.read_hold import read_hold
from proxy.policy.rule import DEFAULT, Line, Operand, Operator, Rule
from proxy.policy.says import Template, TemplateError, compile_sentence, fields_of
from proxy.policy.source import Mistakes, Node, Scalar, Table
from proxy.policy.verdict import Effect, Tier
from proxy.redact import is_secret_field

_LISTS: Final = (Operator.IN, Operator.LIKE, Operator.MATCHES, Operator.OUTSIDE)
_UPGRADE: Final = ("header", "upgrade")


def read_rule(node: Node, mistakes: Mistakes) -> Rule | None:
    """A rule, or None where a part that it needs is missing or wrong (which has been said)."""
    called = _called(node)
    found = shape.table(node, keys.RULE, called, mistakes)
    if found is None:
        return None
    for key in [key for key in keys.RULE_REQUIRED if key not in found]:
        mistakes.add(node.at, f"{called} has no {key}", _WHY_REQUIRED[key], f"add: {key}:")
    name = _name(found, mistakes)
    why = shape.text(found["why"], "why", mistakes) if "why" in found else None
    then = shape.one_of(found["then"], tuple(map(str, Effect)), "then", mistakes) if "then" in found else None
    match = _match(found["match"], f"match of {called}", mistakes) if "match" in found else ()
    items = (shape.items(found["unless"], "unless", mistakes) or ()) if "unless" in found else ()
    unless = tuple(_match(item, f"unless of {called}", mistakes) for item in items)
    tier, reversible = _risk(found, mistakes)
    says, show = _says(found, mistakes), _show(found, mistakes)
    budget = read_budget(found, then, mistakes)
    hold = read_hold(found, then, mistakes, over=budget is not None and budget.over is Effect.HOLD)
    if then is not None:
        _check_confidence(Effect[then.upper()], match, unless, mistakes)
    if name is None or why is None or then is None or not match or not all(unless):
        return None
    effect = Effect[then.upper()]
    allows = effect is Effect.ALLOW
    return Rule(
        name=name,
        why=why,
        then=effect,
        match=(*match, *_implied(match)) if allows else match,
        unless=unless if allows else tuple(map(_narrowed, unless)),
        tier=tier,
        reversible=reversible,
        says=says,
        show=show,
        reviewers=hold.reviewers,
        approvals=hold.approvals,
        timeout=hold.timeout,
        always_ask=hold.always_ask,
        denials=hold.denials,
        excluded=hold.excluded,
        patience=hold.patience,
        idempotency=hold.idempotency,
        window=hold.window,
        budget=budget,
        at=found["name"].at,
    )


def _called(node: Node) -> str:
    """The rule as messages name it, before anything else of it has been read."""
    names = [value for key, value in node.entries if key.text == "name"] if isinstance(node, Table) else []
    match names:
        case [Scalar(text=text)]:
            return f"rule '{text[:100]}'"
        case _:
            return "a rule"


_WHY_REQUIRED: Final = {
    "name": "a decision names its rule",
    "why": "the reviewer and the agent read it",
    "match": "a rule for everything is the default",
    "then": "a rule decides something",
}


def _name(found: Mapping[str, Node], mistakes: Mistakes) -> str | None:
    if "name" not in found:
        return None
    name = shape.name(found["name"], "the name", keys.NAME, "kebab-case (as in refunds-wait)", mistakes)
    if name == DEFAULT:
        mistakes.add(
            found["name"].at,
            "a rule named 'default'",
            "that is the name of what decides where no rule does",
            "rename it",
        )
        return None
    return name


# -- match and unless ------------------------------------------------------------------


def _match(node: Node, what: str, mistakes: Mistakes) -> tuple[Line, ...]:
    """The lines of a match; none where any of it is wrong."""
    found = shape.table(node, keys.MATCH, what, mistakes)
    if found is None:
        return ()
    if not found and isinstance(node, Table) and not node.entries:
        mistakes.add(
            node.at,
            f"{what} is empty",
            "it would hold for every request",
            "name what it is about, or set default",
        )
    lines: list[Line | None] = []
    for key, value in found.items():
        if key == "where":
            lines += _where(value, mistakes)
        else:
            field, operator = keys.MATCH_OPERATORS[key]
            lines.append(_line(field, operator, value, key, mistakes))
    return () if None in lines else tuple(line for line in lines if line is not None)


def _where(node: Node, mistakes: Mistakes) -> list[Line | None]:
    if not isinstance(node, Table) or not node.entries:
        shape.table(node, ("FIELD: {OPERATOR: VALUE}",), "where", mistakes)
        if isinstance(node, Table):
            mistakes.add(node.at, "where is empty", fix="leave it out, or name a field")
        return [None]
    lines: list[Line | None] = []
    for key, value in node.entries:
        field = _field(key, mistakes)
        if field is None or not isinstance(value, Table) or not value.entries:
            _explain_operators(key, value, field, mistakes)
            lines.append(None)
            continue
        for word, given in value.entries:
            operator = _operator(word, mistakes)
            what = f"{key.text} {word.text}"
            lines.append(None if operator is None else _line(field, operator, given, what, mistakes))
    return lines


def _explain_operators(key: Scalar, value: Node, field: Field | None, mistakes: Mistakes) -> None:
    if field is not None:
        given = f"{{is: {value.text}}}" if isinstance(value, Scalar) and value.text else "{exists: true}"
        mistakes.add(value.at, f"no operator for {key.text}", fix=f"write {key.text}: {given}")


def _operator(word: Scalar, mistakes: Mistakes) -> Operator | None:
    try:
        return Operator(word.text)
    except ValueError:
        near = did_you_mean(word.text, tuple(Operator))
        mistakes.add(
            word.at,
            f"unknown operator '{word.text}'",
            "what is not understood might have been meant to restrict",
            near,
        )
        return None


def _field(key: Scalar, mistakes: Mistakes) -> Field | None:
    try:
        return parse(key.text)
    except UnknownFieldError as error:
        mistakes.add(
            key.at, str(error), "a field that is not understood might have been meant to restrict", error.fix
        )
        return None


def _line(field: Field, operator: Operator, node: Node, what: str, mistakes: Mistakes) -> Line | None:
    lists = operator in _LISTS
    if not lists and not isinstance(node, Scalar):
        given = shape.one_or_more(node, what, mistakes)
        if given:
            mistakes.add(
                node.at,
                f"{what} takes one value",
                fix="use in for a list" if operator is Operator.IS else "write one value",
            )
        return None
    operands: list[Operand] = []
    given = shape.one_or_more(node, what, mistakes)
    for one in given:
        try:
            operands.append(operand(field, operator, one))
        except OperandError as error:
            mistakes.add(one.at, f"{what}: {error}", error.why, error.fix)
        else:
            if len(one.text) > keys.MAX_TEXT:
                mistakes.add(one.at, f"{what}: over {keys.MAX_TEXT} characters", fix="write it shorter")
    if not operands or len(operands) != len(given):
        return None
    return Line(field, operator, tuple(operands), node.at)


def _implied(lines: Sequence[Line]) -> tuple[Line, ...]:
    """What a side that loosens means unless it says otherwise: https, 443, and no upgrade."""
    named = {line.field for line in lines}
    implied: list[Line] = []
    if ("scheme",) not in named:
        implied.append(Line(("scheme",), Operator.IN, ("https",), implied=True))
    if ("port",) not in named:
        implied.append(Line(("port",), Operator.IN, (Decimal(443),), implied=True))
    if ("method",) in named and _UPGRADE not in named:
        implied.append(Line(_UPGRADE, Operator.EXISTS, ("false",), implied=True))
    return tuple(implied)


def _narrowed(item: tuple[Line, ...]) -> tuple[Line, ...]:
    """An exception that names a host means its https port, as a rule that allows does."""
    names_host = any(line.field == ("host",) for line in item)
    return (*item, *_implied(item)) if names_host else item


def _check_confidence(
    then: Effect, match: tuple[Line, ...], unless: tuple[tuple[Line, ...], ...], mistakes: Mistakes
) -> None:
    loosening = match if then is Effect.ALLOW else tuple(line for item in unless for line in item)
    for line in loosening:
        if is_confidence(line.field):
            mistakes.add(
                line.at,
                f"{spell(line.field)} would let a request through",
                "it is the agent's own confidence, which can only tighten",
                "use it in a rule that holds, as in {below: 0.8}",
            )


# -- what people see -------------------------------------------------------------------


def _says(found: Mapping[str, Node], mistakes: Mistakes) -> Template:
    if "says" not in found:
        return ()
    node = found["says"]
    words = shape.text(node, "says", mistakes)
    if words is None:
        return ()
    try:
        says = compile_sentence(words)
    except TemplateError as error:
        mistakes.add(node.at, f"says has {error}", "the reviewer would read something else", error.fix)
        return ()
    except UnknownFieldError as error:
        mistakes.add(node.at, f"says: {error}", "the reviewer would read nothing there", error.fix)
        return ()
    for field in fields_of(says):
        _check_secret(field, node.at, "says", mistakes)
    return says


def _show(found: Mapping[str, Node], mistakes: Mistakes) -> tuple[Field, ...]:
    if "show" not in found:
        return ()
    fields: list[Field] = []
    for one in shape.one_or_more(found["show"], "show", mistakes):
        field = _field(one, mistakes)
        if field is not None:
            _check_secret(field, one.at, "show", mistakes)
            fields.append(field)
    return tuple(dict.fromkeys(fields))


def _check_secret(field: Field, at: str, where: str, mistakes: Mistakes) -> None:
    if is_secret_field(field):
        mistakes.add(
            at,
            f"{spell(field)} is secret, and {where} would put it on a screen",
            "secrets reach neither ledger nor screen",
            "leave it out",
        )


# -- risk ---------------------------------------------------------------------


def _risk(found: Mapping[str, Node], mistakes: Mistakes) -> tuple[Tier, bool | None]:
    risk = shape.table(found["risk"], keys.RISK, "risk", mistakes) if "risk" in found else None
    risk = risk or {}
    tier = shape.one_of(risk["tier"], tuple(map(str, Tier)), "tier", mistakes) if "tier" in risk else None
    reversible = shape.truth(risk["reversible"], "reversible", mistakes) if "reversible" in risk else None
    return Tier[tier.upper()] if tier else Tier.MEDIUM, reversible
