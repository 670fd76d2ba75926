"""
Verifying who decided: every review against the keys that were enrolled when it was written.

Pure: a fold over entries, beside `proxy.ledger.story`. From the first enrolment on, a review is
signed, is for the hold and the request that the ledger knows under this id, and names its
reviewer; an approval rests on such a review; an order that opened something was signed.
Whoever holds the log's key can write entries, and still cannot write these.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.chain import Findings, cut, moment
from proxy.ledger import Fields
from proxy.ledger.roll import KINDS, Roll, proof_of
from proxy.ledger.story import CAP
from proxy.signing import ProofError
from proxy.signing.statement import APPROVE, FRESH, Statement

_ORDERED: Final[Mapping[str, str]] = {
    "resumed": "resume",
    "policy_changed": "accept",
    "extended": "extend",
    "edited": "edit",
    "erased": "erase",
}
"""What an order makes happen: entries that follow one, where reviewers are enrolled."""
REASON: Final = 2_000
"""Characters of the reason for an erasure that are kept."""
_OPEN: Final = 1_000
"""How many orders are remembered until they are carried out; one that came to nothing never is."""
_EARLY: Final = 3_600 * 1_000_000
"""A statement is no older than this (microseconds). The gate asks for less (`statement.FRESH`), before
its entry waits for the disk, and by a clock that may be a little behind the entries."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What somebody has signed that shall happen."""

    act: str
    by: str
    about: Mapping[str, object]

    def covers(self, kind: str, fields: Fields) -> bool:
        """Whether an entry says that just this happened, in this name."""
        if _ORDERED[kind] != self.act or fields.get("by") != self.by:
            return False
        match self.act:
            case "resume":
                return fields.get("agent") == (self.about.get("agent") or "*")
            case "accept":
                return self.about.get("policy") in (None, fields.get("policy"))
        if self.act == "erase" and not self._gives_reason(fields):
            return False
        return str(fields.get("hold")).startswith(str(self.about.get("prefix")))

    def _gives_reason(self, fields: Fields) -> bool:
        """An erasure says why, as far as that was signed in its own words and not by its hash."""
        reason = str(self.about.get("reason"))
        return reason.startswith("sha256:") or fields.get("reason") == cut(reason, REASON)


@dataclass(slots=True)
class Reviews:
    """
    The fold. `signed` counts reviews by reviewer, `unsigned` those of before anybody was enrolled.

    `partial` is for chains of which entries are left out: then who was enrolled is not known
    for certain, and only what is there is judged.
    """

    findings: Findings
    partial: bool = False
    signed: Counter[str] = field(default_factory=Counter)
    unsigned: int = 0
    roll: Roll = field(default_factory=lambda: Roll(""))
    _held: dict[str, object] = field(default_factory=dict)
    _approved: dict[str, dict[str, object]] = field(default_factory=dict)
    _granting: dict[tuple[str, str], object] = field(default_factory=dict)
    _orders: deque[_Order] = field(default_factory=lambda: deque(maxlen=_OPEN))

    def take(self, seq: int, fields: Fields) -> None:
        """Go on by one entry."""
        kind = fields.get("kind")
        if kind == "genesis":
            self.roll.ledger = str(fields.get("ledger"))
        elif kind in KINDS:
            self._roll(seq, fields)
        elif kind in _TAKEN:
            _TAKEN[str(kind)](self, seq, fields)
        if kind in _ORDERED and self.roll.required:
            self._carried_out(seq, str(kind), fields)

    def _roll(self, seq: int, fields: Fields) -> None:
        try:
            self.roll.take(fields, _time(fields), early=_EARLY)
        except ProofError as error:
            self._found(seq, error, f"a change of who may review ({fields.get('kind')}) does not count")

    def _asked(self, seq: int, fields: Fields) -> None:
        """A hold is for one request, until that is edited."""
        if len(self._held) < CAP:
            self._held[str(fields.get("hold"))] = fields.get("request")

    def _edited(self, seq: int, fields: Fields) -> None:
        self._held.pop(str(fields.get("hold")), None)

    def _started(self, seq: int, fields: Fields) -> None:
        self._held.clear()
        self._approved.clear()
        self._granting.clear()

    def _reviewed(self, seq: int, fields: Fields) -> None:
        if not self.roll.required and "statement" not in fields:
            self.unsigned += 1
            return
        try:
            statement = self._judged(fields)
        except ProofError as error:
            self._found(seq, error, f"a review by {_quoted(fields.get('reviewer'))} does not count")
            return
        self.signed[statement.reviewer] += 1
        if statement.act == APPROVE:
            hold = str(fields.get("hold"))
            self._approved.setdefault(hold, {})[statement.reviewer] = fields.get("request")
            if "more" in statement.about:
                self._granting[hold, statement.reviewer] = statement.about["more"]

    def _judged(self, fields: Fields) -> Statement:
        proof = proof_of(fields)
        said, _ = proof.opened()
        hold = str(fields.get("hold"))
        wanted = {
            **said.about,
            "hold": hold,
            "request": fields.get("request"),
            "reason": fields.get("reason"),
        }
        act = str(fields.get("answer"))
        statement, who = self.roll.judge(proof, act, wanted, _time(fields), early=_EARLY)
        if (fields.get("reviewer"), fields.get("person")) != (who.name, who.person):
            raise ProofError("stranger", f"{who.name} has signed it")
        if self._held.get(hold, fields.get("request")) != fields.get("request"):
            raise ProofError("about", "it is for another request than the one that was held")
        self.roll.spend(statement)
        return statement

    def _ordered(self, seq: int, fields: Fields) -> None:
        try:
            proof = proof_of(fields)
            said, _ = proof.opened()
            act = str(fields.get("act"))
            statement, who = self.roll.judge(proof, act, said.about, _time(fields), early=_EARLY)
            if not fields.get("by") == fields.get("reviewer") == who.name:
                raise ProofError("stranger", f"{who.name} has signed it")
        except ProofError as error:
            self._found(seq, error, f"an order to {_quoted(fields.get('act'))} does not count")
            return
        self.roll.spend(statement)
        kept = {name: said.about.get(name) for name in ("agent", "policy", "prefix", "reason")}
        self._orders.append(_Order(act, who.name, kept))

    def _carried_out(self, seq: int, kind: str, fields: Fields) -> None:
        if str(fields.get("by")).startswith("--reload") or (kind == "erased" and "hold" not in fields):
            return  # how the gate was started, and nobody's order
        order = next((one for one in self._orders if one.covers(kind, fields)), None)
        if order is None:
            if not self.partial:
                what = f"'{kind}', and no enrolled reviewer has ordered it"
                self.findings.add(seq, "review_unsigned", what)
        elif kind != "erased":  # which may take several entries
            self._orders.remove(order)

    def _decided(self, seq: int, fields: Fields) -> None:
        word = fields.get("decision")
        if "hold" not in fields or word == "pending":
            return
        hold = str(fields.get("hold"))
        self._held.pop(hold, None)
        signed = self._approved.pop(hold, {})
        if not self.roll.required or self.partial or word != "approved" or fields.get("by") != "reviewer":
            return
        named = fields.get("reviewers")
        if not isinstance(named, list) or not named or not signed.keys() >= set(map(str, named)):
            what = f"hold {hold[:40]} was approved, and not every reviewer that it names has signed that"
            self.findings.add(seq, "review_unsigned", what)
        elif any(signed[str(name)] != fields.get("request") for name in named):
            what = f"hold {hold[:40]} let another request leave than its reviewers have signed"
            self.findings.add(seq, "review_about", what)

    def _granted(self, seq: int, fields: Fields) -> None:
        """Whoever grants has signed the approval, and what else it lets through: no more than that."""
        more = self._granting.pop((str(fields.get("hold")), str(fields.get("reviewer"))), None)
        if self.roll.required and not self.partial and not _covers(more, fields):
            self.findings.add(seq, "review_unsigned", "a grant of more than its reviewer has signed")

    def _found(self, seq: int, error: ProofError, what: str) -> None:
        if self.partial and error.code == "stranger":
            return
        self.findings.add(seq, f"review_{error.code}", f"{what}: {error}")

    def restore(self, said: object) -> None:
        """Go on behind entries that were pruned; `said` is what the pruning says of the roll."""
        try:
            self.roll.restore(said)
        except ProofError as error:
            self.findings.add(None, "review_form", str(error))

    @property
    def said(self) -> dict[str, object]:
        """As a report has it."""
        return {"signed": dict(sorted(self.signed.items())), "unsigned": self.unsigned}


_TAKEN: Final = {
    "started": Reviews._started,
    "held": Reviews._asked,
    "edited": Reviews._edited,
    "reviewed": Reviews._reviewed,
    "ordered": Reviews._ordered,
    "decided": Reviews._decided,
    "granted": Reviews._granted,
}


def _covers(more: object, granted: Fields) -> bool:
    """Whether this was signed: the rule, how often, and for how long."""
    if not isinstance(more, Mapping):
        return False
    seconds, until = more.get("seconds"), moment(granted.get("until"))
    if type(seconds) is not int or until is None:
        return False
    same = more.get("rule") in (None, granted.get("grants")) and more.get("uses") == granted.get("uses")
    return same and until <= _time(granted) + seconds * 1_000_000 + FRESH


def _time(fields: Fields) -> int:
    return moment(fields.get("time")) or 0


def _quoted(text: object) -> str:
    return repr(str(text)[:60])
