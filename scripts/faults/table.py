"""The page and the table that the suite writes: runs, and what was wrong with them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from faults.books import brought_about
from faults.cases import Fault, Moment
from faults.errands import STEPS, Leg
from faults.findings import Finding, Wrong
from faults.journal import Found, Journal
from faults.plants import PLANTS
from faults.settled import walked
from faults.ways import Way
from proxy.hold import State

BEGIN: Final = "<!-- written by make faults -->"
END: Final = "<!-- until here -->"


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A fault, and the state of the hold that it struck."""

    fault: int
    state: int

    @classmethod
    def of(cls, journal: Journal) -> Cell:
        """Where a run belongs: in the transition counts for the state that it leads out of."""
        case = journal.case
        state = case.way.target if case.moment is Moment.AFTER else case.way.state
        return cls(_FAULTS.index(case.fault), _STATES.index(state))


class Place(NamedTuple):
    """Where a fault struck an errand."""

    leg: Leg
    step: int
    moment: Moment


_FAULTS: Final = tuple(Fault)
_MOMENTS: Final = (Moment.BEFORE, Moment.DURING, Moment.AFTER)
_STATES: Final = tuple(State)
_STRUCK: Final = ("before it", "in it", "after it", "faults")


class Tally:
    """What all batches so far have come to."""

    def __init__(self) -> None:
        self.runs = 0
        self.wrong: list[Finding] = []
        self.arrivals = 0
        self.entries = 0
        self.gates = 0
        self._in: Counter[Cell] = Counter()
        self._leaving: Counter[Cell] = Counter()
        self._wrong: Counter[tuple[Cell, Wrong]] = Counter()
        self._batches: Counter[tuple[Fault, Wrong]] = Counter()
        self._runs: Counter[Fault] = Counter()
        self._seconds: Counter[Fault] = Counter()
        self._reached: set[Way] = set()
        self._tried: set[Leg] = set()
        self._walked: set[Leg] = set()
        self._steps: Counter[Place] = Counter()
        self._faults: defaultdict[tuple[Leg, int], set[Fault]] = defaultdict(set)
        self._wrong_at: Counter[tuple[Leg, int, Wrong]] = Counter()

    def add(self, found: Found, wrong: Sequence[Finding]) -> None:
        """Take in one batch."""
        cells = {journal.case.mark: Cell.of(journal) for journal in found.journals}
        for journal in found.journals:
            counts = self._leaving if journal.case.moment is Moment.DURING else self._in
            counts[cells[journal.case.mark]] += journal.placed
        self._add_walks(found, wrong)
        runs = len(found.journals) + len(found.walks)
        self._runs[found.batch.fault] += runs
        self.runs += runs
        self.arrivals += len(found.arrivals)
        self.entries += len(found.entries)
        self.gates += 1
        self.wrong += wrong
        self._wrong.update((cells[one.mark], one.wrong) for one in wrong if one.mark in cells)
        self._batches.update((found.batch.fault, one.wrong) for one in wrong)
        self._seconds[found.batch.fault] += round(found.seconds)
        self._reached |= brought_about(found)

    def _add_walks(self, found: Found, wrong: Sequence[Finding]) -> None:
        errands = {walk.case.mark: walk.case for walk in found.walks}
        for walk in found.walks:
            errand = errands[walk.case.mark]
            self._steps[Place(errand.leg, errand.step, errand.moment)] += walk.placed
            self._faults[errand.leg, errand.step].add(errand.fault)
        for one in wrong:
            if errand := errands.get(one.mark):
                self._wrong_at[errand.leg, errand.step, one.wrong] += 1
        if found.batch.fault is Fault.NONE:
            self._tried |= {walk.case.leg for walk in found.walks}
        self._walked |= walked(found)

    def missed(self, known: Sequence[Way]) -> list[Way | Leg]:
        """Ways and legs that no run went to the end, though nothing went wrong on it."""
        ways = [way for way in known if way not in self._reached] if self._runs[Fault.NONE] else []
        return [*ways, *sorted(self._tried - self._walked)]

    def by_fault(self) -> list[list[str]]:
        """A row for each fault, and one for all."""
        rows = [
            [
                str(fault),
                f"{self._runs[fault]:,}",
                *(str(self._batches[fault, wrong]) for wrong in Wrong),
                f"{self._seconds[fault]:,}",
            ]
            for fault in _FAULTS
            if self._runs[fault]
        ]
        total = Counter(one.wrong for one in self.wrong)
        seconds = f"{sum(self._seconds.values()):,}"
        return [*rows, ["all", f"{self.runs:,}", *(str(total[wrong]) for wrong in Wrong), seconds]]

    @property
    def placed(self) -> int:
        """How many holds were where the fault was to strike, when it struck."""
        return self._in.total() + self._leaving.total() + self._steps.total()

    def by_state(self) -> list[list[str]]:
        """A row for each fault and state."""
        return [
            [
                str(_FAULTS[cell.fault]),
                str(_STATES[cell.state]),
                f"{self._in[cell]:,}",
                f"{self._leaving[cell]:,}" if self._leaving[cell] else "",
                *(str(self._wrong[cell, wrong]) for wrong in Wrong),
            ]
            for cell in sorted(self._in.keys() | self._leaving.keys())
        ]

    def by_step(self) -> list[list[str]]:
        """A row for each step of each leg."""
        return [
            [
                str(leg),
                name,
                *(f"{self._steps[Place(leg, step, moment)] or ''}" for moment in _MOMENTS),
                str(len(self._faults[leg, step])),
                *(str(self._wrong_at[leg, step, wrong]) for wrong in Wrong),
            ]
            for leg, steps in STEPS.items()
            for step, name in enumerate(steps)
        ]


def markdown(head: Sequence[str], words: int, rows: Iterable[Sequence[str]]) -> str:
    """A table; its first columns are `words`, the others numbers."""
    lines = [head, ["---"] * words + ["--:"] * (len(head) - words), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary(tally: Tally) -> str:
    """The table of README: a line for each fault."""
    head = ["fault", "runs", *(str(wrong) for wrong in Wrong), "seconds of gates"]
    return markdown(head, 1, tally.by_fault())


def page(tally: Tally, known: Sequence[Way], machine: str) -> str:
    """All of docs/faults.md."""
    ways = "\n".join(f"- {way}" for way in known)
    head = ["fault", "state", "in it", "on the way out", *(str(wrong) for wrong in Wrong)]
    return _PAGE.format(
        machine=machine,
        runs=f"{tally.runs:,}",
        gates=f"{tally.gates:,}",
        placed=f"{tally.placed:,}",
        arrivals=f"{tally.arrivals:,}",
        entries=f"{tally.entries:,}",
        summary=summary(tally),
        count=len(known),
        plants=len(PLANTS),
        bugs="\n".join(f"- `{name}`: {_does(plant)}" for name, plant in PLANTS.items()),
        ways=ways,
        states=markdown(head, 2, tally.by_state()),
        steps=markdown(["", "step", *_STRUCK, *(str(wrong) for wrong in Wrong)], 2, tally.by_step()),
    )


def _does(plant: Callable[[], None]) -> str:
    """What a planted bug does, in its own words."""
    said = " ".join((plant.__doc__ or "").split()).rstrip(".")
    return said[0].lower() + said[1:]


def put(text: str, table: str) -> str:
    """A text with the table between its two marks; ValueError where it has no such place."""
    place = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
    changed, count = place.subn(lambda _: f"\n{table}\n\n", text)
    if count != 1:
        raise ValueError(f"there are {count} places for the table, between '{BEGIN}' and '{END}'")
    return changed


_PAGE: Final = """\
# Faults

Written by `make faults`; do not edit. {machine}

The table of `proxy/hold.py` is the whole machine of a hold. The suite reads it and leads holds to each state,
brings about each event, and has something go wrong: in the state, in the transition, and after it. A
state or event that is added is tested by being there; one that the suite cannot bring about fails it.
A quarter of the runs settle more than one hold: grants, budgets, edits, and who may say what. Each is
walked step by step, and the fault strikes before a step, in it, or after the last one.

Gates are processes of their own (`sluice up`), agents speak HTTP/1.1, HTTP/1.1 in TLS and HTTP/2 over real
sockets, and come again on new connections; reviewers use the control socket. Two things are staged, by
the suite's own start of the gate and not by the product: a clock that jumps, and several people under one
account. Half of the gates that are killed or stopped are the product and nothing else. At a third of the
gates reviewers are enrolled, and sign all that they decide. A pause refuses everything for a while, or
until the gate's end and beyond. A full disk is a limit of zero on the size of files (RLIMIT_FSIZE), a
locked ledger is another program's transaction.
Upstream counts each request once it has read the whole of it, and looks at this very moment whether
an approval is in the ledger's file. When a batch is over, its gate is started once more, some agents
come with what they had asked for before, and what was done, what was seen and what is written are compared:

- **Ghost executions**: a request reached upstream without an approval on disk before it, without as many
  people as its rule wants, after a person had denied it, for an agent that had hung up before the last
  approval was sent, with an earlier attempt's bytes, or by an approval from before a restart; by a grant
  that was over, revoked, or for less; with other bytes than an edit made, or with those of an edit that
  was not approved; by an approval that is excluded, or not signed; while everything was paused.
- **Double sends**: more requests reached upstream than holds were approved.
- **Overspent**: more went by a grant than its uses, or out of a budget than its limit, at any start of the
  gate; or less than there was room for.
- **Lies**: an agent or a reviewer was told something else than what was done or is written: a denial that
  nobody gave, silence before the time was over, "send it again" of what had been sent, an answer
  that counts and is not in the ledger, or stands there twice; a denial by one where two are wanted;
  nobody there, and a person who decided; what a budget was given back that was sent, or the reverse.
- **Lost ends**: a hold without an end in the ledger, or with two; also one that only the next start has
  ended, where the gate had not been killed and could write.
- **No answer**: an agent waited and was hung up on by a gate that was not killed.
- **Broken chains**: `sluice ledger verify` is not content.

Times are drawn from the seed of a batch, real processes have times of their own: `--seed N --runs 1` does
what batch N did, but not to the millisecond. `--plant BUG` puts one of {plants} bugs in, and the suite must
fail: `make test` tries each.

{bugs}

```sh
make faults                                    # 10,000 runs
make faults ARGS="--short"                     # a few with each fault
make faults ARGS="--seed 17 --runs 1"          # batch 17 again
```

## In short

{runs} runs at {gates} gates; in {placed} the hold was where the fault was to strike. {arrivals} requests
reached upstream, {entries} entries were read back.

{summary}

## By state

*In it*: the hold was in this state when the fault struck. *On the way out*: it struck within 15 ms of an
event that leads out of this state (45 ms for what strikes a whole gate).

{states}

## By step

{steps}

## The {count} transitions

Each was also brought about with nothing going wrong, and ended where the table says.

{ways}
"""
