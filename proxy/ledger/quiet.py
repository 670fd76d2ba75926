"""
Which entries of a run say nothing to whoever follows the story: pure.

Most of a ledger is requests that a rule let through and whose outcome stands a few entries
later. Both within one run leave the story (`proxy.ledger.story`) as it was, unless that very
request was running before: so `ids` are given too, and whoever goes on looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.decision import By, Word
from proxy.ledger import Fields
from proxy.ledger.story import OUTCOMES

_OPEN = frozenset(str(word) for word in Word if word.opens and word is not Word.APPROVED)
_OVER = frozenset(str(word) for word in Word if not word.opens)
_RULE = str(By.RULE)


@dataclass(slots=True)
class Quiet:
    """`loose` are the numbers of the entries that do say something; in order once `end` was called."""

    loose: list[int] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    _open: dict[str, int] = field(default_factory=dict)
    _odd: set[str] = field(default_factory=set)

    def take(self, seq: int, fields: Fields) -> None:
        """Go on by one entry."""
        kind, id = fields.get("kind"), fields.get("id")
        if type(id) is not str or not id or "hold" in fields:
            self._loud(seq, id)
        elif kind == "decided" and fields.get("by") == _RULE:
            self._decided(seq, id, fields.get("decision"))
        elif kind in OUTCOMES and id in self._open:
            del self._open[id]
            self.ids.add(id)
        else:
            self._loud(seq, id)
        if kind == "started":
            self._give_back()  # what was running then is what it complains of

    def _decided(self, seq: int, id: str, word: object) -> None:
        if word in _OPEN and id not in self._open:
            self._open[id] = seq
        elif word not in _OVER:
            self._loud(seq, id)

    def _loud(self, seq: int, id: object) -> None:
        self.loose.append(seq)
        if type(id) is str:
            self._odd.add(id)

    def _give_back(self) -> None:
        self.loose += self._open.values()
        self._odd.update(self._open)
        self._open.clear()

    def end(self) -> bool:
        """Whether the loose entries are all that there is to say of any request."""
        self._give_back()
        self.loose.sort()
        return self.ids.isdisjoint(self._odd)
