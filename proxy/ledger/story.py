"""
What entries mean together: which holds are open, which requests have left without an outcome.

Pure. The same fold says what a start has to settle and what a verifier has to complain of:

    held       opens a hold                        decided (any word but pending) settles it, once
    decided    that opens lets request `id` leave  completed, failed or unknown ends it, once
    granted    lets requests leave unasked         decided with `grant` uses it, as often as it says
    counted    says how many requests were let through without a name; none of them is followed
    started    nothing of the run before is open any more
    recovered  up to `in_doubt` entries before it may be missing: so many complaints are spent
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.chain import Findings
from proxy.decision import By, Word
from proxy.ledger import Draft, Fields

OUTCOMES: Final = frozenset({"completed", "failed", "unknown"})
CAP: Final = 200_000
"""Open holds and requests that are followed at once; beyond it the story is given up, and says so."""

_OF_A_HOLD: Final = (
    "id",
    "hold",
    "agent",
    "host",
    "method",
    "url",
    "operation",
    "effect",
    "rule",
    "rules",
    "policy",
)


@dataclass(slots=True)
class Story:
    """
    The fold. `partial` is for chains of which entries are left out: what is not there is
    then no contradiction.
    """

    findings: Findings
    partial: bool = False
    holds: dict[str, Fields] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    grants: dict[str, int] = field(default_factory=dict)
    doubt: int = 0
    given_up: bool = False
    _at: int = -1
    _gap: bool = False

    def take(self, seq: int, fields: Fields) -> None:
        """Go on by one entry."""
        self._gap = self._gap or seq != self._at + 1
        self._at = seq
        kind = fields.get("kind")
        if kind == "decided":
            self._decided(seq, fields)
        elif kind in OUTCOMES:
            self._ended(seq, _text(fields, "id"))
        elif kind == "held":
            self._held(seq, fields)
        elif kind in ("reviewed", "edited"):
            self._reviewed(seq, _text(fields, "hold"))
        elif kind == "started":
            self._started(seq)
        elif kind == "granted":
            uses = fields.get("uses")
            self.grants[_text(fields, "grant")] = uses if type(uses) is int else 0
        elif kind == "revoked":
            self.grants.pop(_text(fields, "grant"), None)
        elif kind == "recovered":
            doubt = fields.get("in_doubt")
            self.doubt += doubt if type(doubt) is int and doubt > 0 else 0

    def passed(self, seq: int) -> None:
        """Up to this one entries are there that say nothing here (`proxy.ledger.quiet`): not left out."""
        self._at = seq

    def _held(self, seq: int, fields: Fields) -> None:
        hold = _text(fields, "hold")
        if not hold:
            self.findings.add(seq, "field", "a held entry names no hold")
        elif hold in self.holds:
            self._odd(seq, "held_twice", f"hold {hold[:40]} was already open")
        elif self._room(seq):
            self.holds[hold] = {name: fields[name] for name in _OF_A_HOLD if name in fields}

    def _reviewed(self, seq: int, hold: str) -> None:
        if hold not in self.holds:
            self._odd(seq, "not_held", f"a review of hold {hold[:40]}, which was not open")

    def _decided(self, seq: int, fields: Fields) -> None:
        word, by, hold = _text(fields, "decision"), _text(fields, "by"), _text(fields, "hold")
        if word not in _WORDS or by not in _DECIDERS:
            self.findings.add(seq, "field", "a decision that does not say what was decided, or by whom")
            return
        if hold and word != Word.PENDING:
            if hold not in self.holds:
                self._odd(seq, "not_held", f"hold {hold[:40]} is settled, and was not open")
            self.holds.pop(hold, None)
        if by == By.GRANT:
            self._used(seq, _text(fields, "grant"))
        elif word == Word.APPROVED and not hold:
            self.findings.add(seq, "field", "an approval that names no hold")
        if Word(word).opens:
            self._left(seq, _text(fields, "id"))

    def _used(self, seq: int, grant: str) -> None:
        left = self.grants.get(grant, 0)
        if left <= 0 and not self._gap:  # grants outlive a run: one may have been given in what is left out
            self._odd(seq, "not_granted", f"a request left under grant {grant[:40]}, which did not stand")
        self.grants[grant] = max(0, left - 1)

    def _left(self, seq: int, id: str) -> None:
        if not id:
            self.findings.add(seq, "field", "a decision that lets a request leave does not name it")
        elif id in self.running:
            self._odd(seq, "decided_twice", f"request {id[:40]} had already been let through")
        elif self._room(seq):
            self.running[id] = seq

    def _ended(self, seq: int, id: str) -> None:
        if self.running.pop(id, None) is None:
            self._odd(seq, "not_decided", f"request {id[:40]} has an outcome, and was not let through")

    def _started(self, seq: int) -> None:
        for hold in self.holds:
            self._odd(seq, "left_open", f"hold {hold[:40]} was never settled")
        for id, at in self.running.items():
            self._odd(seq, "left_open", f"request {id[:40]}, let through by entry {at}, has no outcome")
        self.holds.clear()
        self.running.clear()
        self.doubt = 0

    def _room(self, seq: int) -> bool:
        if len(self.holds) + len(self.running) < CAP:
            return True
        if not self.given_up:
            self.findings.add(
                seq, "too_many", f"more than {CAP} requests are open at once: not followed further"
            )
        self.given_up = True
        return False

    def _odd(self, seq: int, code: str, what: str) -> None:
        if self.partial or self.given_up:
            return
        if self.doubt > 0:
            self.doubt -= 1
            return
        self.findings.add(seq, code, what)

    def settlement(self) -> list[Draft]:
        """The entries that a start writes for what the run before left open."""
        why = "the gate stopped while this waited"
        settled = [
            Draft("decided", {**fields, "decision": str(Word.CUT_OFF), "by": str(By.FAULT), "why": why})
            for fields in self.holds.values()
        ]
        lost = "the gate stopped before the answer was known"
        settled += [
            Draft("unknown", {"id": id, "decided": seq, "why": lost}) for id, seq in self.running.items()
        ]
        return settled


_WORDS: Final = frozenset(str(word) for word in Word)
_DECIDERS: Final = frozenset(str(by) for by in By)


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return value if type(value) is str else ""
