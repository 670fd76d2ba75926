"""The table: runs and what was wrong with them, per fault and state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from faults.books import Finding, Wrong, brought_about
from faults.cases import Fault, Moment
from faults.journal import Found, Journal
from faults.ways import Way

type Cell = tuple[str, str]


class Tally:
    """What all batches so far have come to."""

    def __init__(self) -> None:
        self.runs = 0
        self.wrong: list[Finding] = []
        self._counts: Counter[Cell] = Counter()
        self._wrong: Counter[tuple[Cell, Wrong]] = Counter()
        self._reached: set[Way] = set()
        self.sends = 0
        self.entries = 0

    def add(self, found: Found, wrong: Sequence[Finding]) -> None:
        """Take in one batch."""
        cells = {journal.case.mark: cell(journal) for journal in found.journals}
        self.runs += len(found.journals)
        self.sends += len(found.arrivals)
        self.entries += len(found.entries)
        self.wrong += wrong
        self._counts.update(cells.values())
        self._wrong.update((cells.get(one.mark, (str(found.batch.fault), "–")), one.wrong) for one in wrong)
        self._reached |= brought_about(found)

    def missed(self, known: Sequence[Way]) -> list[Way]:
        """Ways that no run went to the end, though nothing went wrong on it."""
        return [way for way in known if way not in self._reached]

    def rows(self) -> list[list[str]]:
        """A row for each fault and state."""
        faults = [str(fault) for fault in Fault]
        cells = sorted(
            self._counts.keys() | {one for one, _ in self._wrong},
            key=lambda one: (faults.index(one[0]), one[1]),
        )
        return [
            [*one, f"{self._counts[one]:,}", *(str(self._wrong[one, wrong]) for wrong in Wrong)]
            for one in cells
        ]

    def totals(self) -> list[str]:
        """The last row."""
        counts = Counter(one.wrong for one in self.wrong)
        return ["all", "", f"{self.runs:,}", *(str(counts[wrong]) for wrong in Wrong)]


def cell(journal: Journal) -> Cell:
    """Where a run belongs: its fault, and the state of the hold that it struck."""
    case = journal.case
    state = case.way.target if case.moment is Moment.AFTER else case.way.state
    word = f"{case.way.state} → {case.way.target}" if case.moment is Moment.DURING else str(state)
    return str(case.fault), word


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; its first two columns are words, the others numbers."""
    lines = [head, ["---", "---", *["--:"] * (len(head) - 2)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written(tally: Tally, seconds: float, seed: int) -> str:
    """The page."""
    head = ["fault", "state", "runs", *(str(wrong) for wrong in Wrong)]
    return markdown(head, [*tally.rows(), tally.totals()])
