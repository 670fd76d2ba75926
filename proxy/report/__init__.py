"""
How people have decided, as a ledger tells it: a fold over its entries, for `sluice report`.

Pure. A hold counts where its opening falls into the time that is asked about, and takes the
end that the ledger gives it, whenever that came. What a reviewer could not have read is told
apart (`QUICK`), and so is what need not have been asked: by a grant, or by a threshold.

Memory grows with the names that are counted and the holds that are open at once, both limited,
and by eight bytes for each time to decide up to `KEPT`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from proxy.ledger import Fields
from proxy.ledger.counted import KIND, counts
from proxy.report.tally import KEPT, QUICK, Sample, Tally, Threshold

__all__ = ["KEPT", "QUICK", "Report", "Sample", "Tally", "Threshold", "Wanted", "amount_of", "ranked"]

KINDS: Final = frozenset({"held", "reviewed", "decided"})
"""The kinds of entries that say how people decided; of all others only `counted` is looked at."""

GRANT: Final = 600.0
"""Seconds for which the grant that is tried out would have held."""
MAX_NAMES: Final = 1_000
"""Rules, agents and reviewers that are told apart; what is beyond counts as `OTHERS`."""
MAX_OPEN: Final = 200_000
MAX_REVIEWS: Final = 100
OTHERS: Final = "(others)"

# A person's yes that nobody came back for is a yes all the same.
_ENDS: Final[Mapping[str, str]] = {
    **{word: word for word in ("approved", "denied", "expired", "abandoned")},
    "unspent": "approved",
}
_PEOPLES: Final = frozenset({"approved", "denied"})
_AMOUNT: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_CURRENCY: Final = re.compile(r"[A-Za-z]{2,10}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    Which holds are asked about: all conditions that are given hold; None is no condition.

    `since` is included, `until` is not; both are RFC 3339 in UTC, or the beginning of it.
    """

    since: str | None = None
    until: str | None = None
    agent: str | None = None
    reviewer: str | None = None
    rule: str | None = None


type Amount = tuple[str, str]
"""The field of an amount, and its currency (empty where nothing says which)."""


class _Review(NamedTuple):
    """One answer: whose, whether it was yes, when (Unix seconds), and how long after the opening."""

    name: str
    approves: bool
    time: float | None
    taken: float | None


@dataclass(slots=True)
class _Open:
    """A hold that has not ended."""

    rules: tuple[str, ...]
    agent: str
    time: str
    opened: float | None
    place: tuple[str, ...]
    amount: tuple[Amount, Decimal] | None
    spared: bool
    reviews: list[_Review] = field(default_factory=list)


class Report:
    """The fold: `take` every entry in order, then read what has been counted."""

    def __init__(self, wanted: Wanted = Wanted()) -> None:
        self.wanted = wanted
        self.total = Tally()
        self.rules: dict[str, Tally] = {}
        self.agents: dict[str, Tally] = {}
        self.reviewers: dict[str, Tally] = {}
        self.thresholds: dict[str, dict[Amount, Threshold]] = {}
        self.first = self.last = ""
        self.dropped = 0
        self.counted = 0
        self._open: dict[str, _Open] = {}
        self._approved: OrderedDict[tuple[str, ...], float] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Holds that have no end in the ledger: they wait, or the gate was killed meanwhile."""
        return sum(self._admits(hold) for hold in self._open.values())

    def take(self, fields: Fields) -> None:
        """Go on by one entry."""
        id = _text(fields, "hold")
        match fields.get("kind"):
            case str(kind) if kind == KIND:
                self._counted(fields)
            case "held" if id:
                self._held(id, fields)
            case "reviewed" if id in self._open:
                self._reviewed(self._open[id], fields)
            case "decided" if id in self._open:
                word = _text(fields, "decision")
                if word != "pending":
                    # What a grant let through nobody was asked.
                    end = "other" if fields.get("by") == "grant" else _ENDS.get(word, "other")
                    self._ended(self._open.pop(id), end)

    def _counted(self, fields: Fields) -> None:
        """Reads that nobody was asked about, and of which only the number is kept."""
        wanted = self.wanted
        if self._in_time(fields) and wanted.reviewer is None:
            self.counted += sum(
                one.requests
                for one in counts(fields)
                if wanted.agent in (None, one.agent) and (wanted.rule is None or wanted.rule in one.rules)
            )

    def _in_time(self, fields: Fields) -> bool:
        time, wanted = _text(fields, "time"), self.wanted
        return not ((wanted.since and time < wanted.since) or (wanted.until and time >= wanted.until))

    def _held(self, id: str, fields: Fields) -> None:
        time = _text(fields, "time")
        if not self._in_time(fields):
            return
        if len(self._open) >= MAX_OPEN:
            self.dropped += 1
            return
        agent, opened = _text(fields, "agent") or "?", _moment(time)
        place = (agent, _text(fields, "method"), *_address(_text(fields, "url")))
        spared = opened is not None and self._granted(place, opened)
        rules = _texts(fields.get("rules")) or (_text(fields, "rule") or "?",)
        self._open[id] = _Open(rules, agent, time, opened, place, amount_of(fields.get("show")), spared)

    def _granted(self, place: tuple[str, ...], now: float) -> bool:
        """Whether an approval of the like, not longer ago than a grant holds, would have let it pass."""
        while self._approved and now - next(iter(self._approved.values())) > GRANT:
            self._approved.popitem(last=False)
        since = self._approved.get(place)
        return since is not None and 0 <= now - since <= GRANT

    def _grant(self, hold: _Open) -> None:
        """Begin the grant that would have come with an approval; what one has spared begins no other."""
        since = hold.reviews[-1].time if hold.reviews else None
        if since is None or hold.spared:
            return
        if len(self._approved) >= MAX_OPEN:
            self._approved.popitem(last=False)
        self._approved[hold.place] = since
        self._approved.move_to_end(hold.place)

    def _reviewed(self, hold: _Open, fields: Fields) -> None:
        time = _moment(_text(fields, "time"))
        seconds = None if time is None or hold.opened is None else time - hold.opened
        # A clock that was put back says nothing of how long it took.
        taken = seconds if seconds is not None and seconds >= 0 else None
        name, approves = _text(fields, "reviewer") or "?", fields.get("answer") == "approve"
        # Who changes their mind has answered once.
        others = [one for one in hold.reviews if one.name != name]
        hold.reviews = [*others[-MAX_REVIEWS:], _Review(name, approves, time, taken)]

    def _admits(self, hold: _Open) -> bool:
        wanted = self.wanted
        if wanted.agent is not None and hold.agent != wanted.agent:
            return False
        if wanted.rule is not None and wanted.rule not in hold.rules:
            return False
        return wanted.reviewer is None or any(one.name == wanted.reviewer for one in hold.reviews)

    def _ended(self, hold: _Open, end: str) -> None:
        if end == "approved":
            self._grant(hold)
        if not self._admits(hold):
            return
        self.first, self.last = min(self.first or hold.time, hold.time), max(self.last, hold.time)
        seconds = hold.reviews[-1].taken if hold.reviews and end in _PEOPLES else None
        rules = [rule for rule in hold.rules if self.wanted.rule in (None, rule)]
        by_rule = [_named(self.rules, rule) for rule in rules]
        for tally in (self.total, _named(self.agents, hold.agent), *by_rule):
            tally.add(end, seconds)
            tally.spared += hold.spared
            tally.amiss += hold.spared and end == "denied"
        for one in hold.reviews:
            if self.wanted.reviewer in (None, one.name):
                _named(self.reviewers, one.name).add("approved" if one.approves else "denied", one.taken)
        self._weigh(hold, end, rules)

    def _weigh(self, hold: _Open, end: str, rules: Sequence[str]) -> None:
        if hold.amount is None:
            return
        which, amount = hold.amount
        for rule in rules:
            found = self.thresholds.setdefault(rule, {}) if rule in self.rules else {}
            if which in found or len(found) < MAX_NAMES:
                found.setdefault(which, Threshold()).add(amount, end, alone=len(hold.rules) == 1)

    # -- what it says ------------------------------------------------------------------

    def limits(self, rule: str) -> Iterator[tuple[Amount, Threshold]]:
        """The thresholds that would have spared prompts of a rule, the most first."""
        found = self.thresholds.get(rule, {}).items()
        useful = [(which, one) for which, one in found if one.spared]
        return iter(sorted(useful, key=lambda pair: (-pair[1].spared, pair[0])))

    def as_dicts(self) -> Iterator[dict[str, object]]:
        """The objects that `--json` prints: all together, then each rule, agent and reviewer."""
        span = {"first": self.first or None, "last": self.last or None}
        beside = {"waiting": self.waiting, "not_followed": self.dropped, "counted": self.counted}
        yield {"of": "all", **span, **self.total.as_dict(), **beside, "grant": _grant(self.total)}
        for rule, tally in ranked(self.rules):
            limits = [
                {
                    "field": name,
                    "currency": unit or None,
                    "from": str(one.least_denied),
                    "spared": one.spared,
                    "exact": one.exact,
                }
                for (name, unit), one in self.limits(rule)
            ]
            said = {"only_approved": tally.only_approved, "grant": _grant(tally), "thresholds": limits}
            yield {"of": "rule", "name": rule, **tally.as_dict(), **said}
        for of, tallies in (("agent", self.agents), ("reviewer", self.reviewers)):
            for name, tally in ranked(tallies):
                yield {"of": of, "name": name, **tally.as_dict()}


def ranked(tallies: Mapping[str, Tally]) -> list[tuple[str, Tally]]:
    """Names and their tallies, the most holds first."""
    return sorted(tallies.items(), key=lambda pair: (-pair[1].holds, pair[0]))


def amount_of(show: object) -> tuple[Amount, Decimal] | None:
    """The amount among the shown fields of a `held` entry; None where there is none, or several."""
    pairs = [one for one in show if isinstance(one, list) and len(one) == 2] if isinstance(show, list) else []
    single = [(str(name), values) for name, values in pairs if isinstance(values, list) and len(values) == 1]
    shown = [(name, values[0]) for name, values in single]
    unit = next((str(one).upper() for name, one in shown if _is_currency(name, one)), "")
    for name, value in shown:
        if "amount" in name.lower() and isinstance(value, str) and _AMOUNT.fullmatch(value):
            return (name[:200], unit), Decimal(value)
    return None


def _is_currency(name: str, value: object) -> bool:
    last = name.rpartition(".")[2].lower()
    return "currency" in last and isinstance(value, str) and _CURRENCY.fullmatch(value) is not None


def _grant(tally: Tally) -> dict[str, int]:
    return {"spared": tally.spared, "denied": tally.amiss}


def _named(tallies: dict[str, Tally], name: str) -> Tally:
    if name not in tallies and len(tallies) >= MAX_NAMES:
        name = OTHERS
    return tallies.setdefault(name, Tally())


def _address(url: str) -> tuple[str, str]:
    """Scheme and authority of a URL, and its path without the query."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority}", slash + re.split(r"[?#]", path, maxsplit=1)[0]


def _moment(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return value[:2_000] if type(value) is str else ""


def _texts(value: object) -> tuple[str, ...]:
    found = value if isinstance(value, list) else []
    return tuple(dict.fromkeys(one[:200] for one in found if isinstance(one, str)))
