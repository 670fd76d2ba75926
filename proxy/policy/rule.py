"""
A rule, a policy's default, and their canonical content.

Plain values: what they mean is `proxy.policy.truth` (a line) and `proxy.policy.evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from proxy.action import Field
from proxy.policy.fields import CONSEQUENCES, spell
from proxy.policy.limits import span
from proxy.policy.says import Template, spelled
from proxy.policy.verdict import UNSAID, Effect, Patience, Tier

type Operand = str | Decimal
"""What a value is compared with: text, or an unquoted number, which compares by value."""

DEFAULT: Final = "default"
NO_RULE: Final = "no rule covers this"
TIMEOUT: Final = 600.0


class Operator(StrEnum):
    """How a field is compared."""

    IS = "is"
    IN = "in"
    LIKE = "like"
    MATCHES = "matches"
    ABOVE = "above"
    BELOW = "below"
    COUNT_ABOVE = "count_above"
    EXISTS = "exists"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line of a match: a field, an operator, and operands of which any will do.

    `implied` says that nobody wrote it: a rule that allows means https and 443.
    """

    field: Field
    operator: Operator
    operands: tuple[Operand, ...]
    at: str = ""
    implied: bool = False

    def __str__(self) -> str:
        """As people read it: ``form.amount above 5000``."""
        return f"{spell(self.field)} {self.operator} {', '.join(map(str, self.operands))}"

    def content(self) -> list[object]:
        """The same for lines that mean the same, whatever their spelling."""
        return [list(self.field), str(self.operator), sorted(_canonical(one) for one in self.operands)]


def _canonical(operand: Operand) -> str:
    if isinstance(operand, str):
        return f"text {operand}"
    return f"number {format(operand.normalize() if operand else Decimal(0), 'f')}"


class Whose(StrEnum):
    """Who has an account of their own under a budget."""

    AGENT = "agent"
    CREDENTIAL = "credential"
    RULE = "rule"


@dataclass(frozen=True, slots=True)
class Budget:
    """
    How much a rule lets through by itself: `limit` within `per` seconds, on each account.

    Of `field` all values are added up, in the unit that the field `unit` names; without one the
    requests are counted, all of them or those with the consequence that `counts` is the plural
    of. `over` is what the rule says of what would be more.
    """

    limit: Decimal
    per: int
    field: Field | None = None
    unit: Field | None = None
    counts: str = "requests"
    by: Whose = Whose.RULE
    over: Effect = Effect.HOLD

    def __str__(self) -> str:
        """As people read it: ``form.amount 200 per 24h by agent, then hold``."""
        what = self.counts if self.field is None else spell(self.field)
        unit = f" in {spell(self.unit)}" if self.unit else ""
        return f"{what}{unit} {self.limit:f} per {span(self.per)} by {self.by}, then {self.over}"

    def content(self) -> dict[str, object]:
        """The same for budgets that mean the same."""
        return {
            "limit": _canonical(self.limit),
            "per": self.per,
            "field": None if self.field is None else list(self.field),
            "unit": None if self.unit is None else list(self.unit),
            "counts": None if self.field else self.counts,
            "by": str(self.by),
            "over": str(self.over),
        }


@dataclass(frozen=True, slots=True)
class Rule:
    """
    A rule: it applies where `match` (all lines) holds and `unless` (any item) does not.

    `timeout` is in seconds. `at` is where it stands, ``file:line:column``.
    """

    name: str
    why: str
    then: Effect
    match: tuple[Line, ...]
    unless: tuple[tuple[Line, ...], ...] = ()
    tier: Tier = Tier.MEDIUM
    reversible: bool | None = None
    says: Template = ()
    show: tuple[Field, ...] = ()
    reviewers: tuple[str, ...] = ()
    approvals: int = 1
    timeout: float = TIMEOUT
    always_ask: bool = False
    denials: int = 1
    excluded: tuple[str, ...] = ()
    patience: Patience = UNSAID
    idempotency: tuple[str, ...] = ()
    window: float = 0.0
    budget: Budget | None = None
    at: str = ""

    @property
    def rank(self) -> tuple[int, str]:
        """Rules speak in this order: the highest tier first, then by name."""
        return (-self.tier, self.name)

    def content(self) -> dict[str, object]:
        """Everything of a rule that has meaning, as JSON values; what came later only where it is said."""
        content: dict[str, object] = {
            "name": self.name,
            "why": self.why,
            "then": str(self.then),
            "match": _lines(self.match),
            "unless": sorted((_lines(item) for item in self.unless), key=repr),
            "tier": str(self.tier),
            "reversible": self.reversible,
            "says": spelled(self.says),
            "show": [list(field) for field in self.show],
            "reviewers": sorted(self.reviewers),
            "approvals": self.approvals,
            "timeout": format(Decimal(self.timeout), "f"),
            "always_ask": self.always_ask,
        }
        return content | self._later()

    def _later(self) -> dict[str, object]:
        plain, said = UNSAID, self.patience
        found: dict[str, tuple[object, object]] = {
            "denials": (self.denials, 1),
            "not": (sorted(self.excluded), []),
            "idempotency": (sorted(self.idempotency), []),
            "window": (_seconds(self.window), "0"),
            "rejoin": (_seconds(said.rejoin), _seconds(plain.rejoin)),
            "remember": (_seconds(said.remember), _seconds(plain.remember)),
            "wait": (_seconds(said.wait), None),
            "nobody": (str(said.nobody), str(plain.nobody)),
            "keepalive": (str(said.keepalive), str(plain.keepalive)),
            "budget": (None if self.budget is None else self.budget.content(), None),
        }
        return {key: value for key, (value, default) in found.items() if value != default}


def _seconds(time: float | None) -> str | None:
    return None if time is None else format(Decimal(time), "f")


def _lines(lines: tuple[Line, ...]) -> list[list[object]]:
    return sorted((line.content() for line in lines), key=repr)


@dataclass(frozen=True, slots=True)
class Default:
    """
    What happens where no rule applies for certain: an effect for each consequence.

    `new_host` is for a host that no rule names, at an agent's first use; None is off.
    """

    effects: Mapping[str, Effect]
    new_host: Effect | None = None

    def content(self) -> dict[str, str]:
        """One word for each consequence, and for a new host where that is on."""
        words = {word: str(self.effects[word]) for word in CONSEQUENCES}
        return words if self.new_host is None else {**words, "new_host": str(self.new_host)}


HOLD_ALL: Final = Default(dict.fromkeys(CONSEQUENCES, Effect.HOLD))
