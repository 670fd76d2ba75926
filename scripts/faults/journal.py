"""What the suite did and saw, as values: the one side that the ledger and upstream are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field

from faults.batches import Batch
from faults.cases import Case
from faults.errands import Errand


@dataclass(slots=True)
class Answer:
    """
    What an agent got. `decision` is the gate's word, empty where upstream answered; `whole`
    is False where the connection ended in the middle of it.
    """

    status: int
    decision: str = ""
    retry: bool | None = None
    hold: str = ""
    detail: str = ""
    whole: bool = True
    interims: tuple[int, ...] = ()


@dataclass(slots=True)
class Attempt:
    """
    One time that an agent asked. Times are of the monotonic clock, which all processes share.

    `left` is when the agent had hung up, None while it had not; `lost` says that the gate did.
    `heard` says that the desk has shown it: it came before the gate was told to stop. `revived` says
    that it came to the gate's next start.
    """

    number: int
    asked: float = 0.0
    left: float | None = None
    lost: bool = False
    heard: bool = False
    revived: bool = False
    answer: Answer | None = None
    answered: float | None = None


@dataclass(slots=True)
class Call:
    """
    What a reviewer did, and was told: the hold's `state` then, or why not; neither where the gate
    was lost before it answered.
    """

    hold: str
    person: str
    name: str
    approves: bool
    reason: str
    sent: float
    state: str = ""
    refusal: str = ""

    @property
    def taken(self) -> bool:
        """Whether the gate may have taken it: a denial also where it could not be written down."""
        return not self.refusal or (not self.approves and "could not be written" in self.refusal)

    @property
    def counts(self) -> bool:
        """Whether it was an approval, and the gate may have taken it for one."""
        return self.approves and not self.refusal


@dataclass(slots=True)
class Journal:
    """
    One run, as the suite lived it.

    `placed` says that the hold was where the fault was to strike, `arrived` that the desk has shown
    the target of its way, `broken` why its agent could not ask.
    """

    case: Case | Errand
    attempts: list[Attempt] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    barred: float | None = None
    placed: bool = False
    arrived: bool = False
    broken: str = ""


@dataclass(slots=True)
class Walk(Journal):
    """
    An errand, as the suite lived it. `amounts` is what each attempt asked for, by its number.

    `ended` is when a grant had ended for certain. `rooms` says of attempts whether a budget had to
    let them through, as the ledger stood; `alone` are those for which nobody was there.
    """

    amounts: dict[int, int] = field(default_factory=dict)
    ended: float | None = None
    rooms: dict[int, bool] = field(default_factory=dict)
    alone: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Arrival:
    """
    A whole request at upstream; `approved` is how many approvals of its mark and number were on disk then.

    `body` is there where it is short.
    """

    mark: str
    attempt: int
    time: float
    approved: int
    number: int = 0
    body: str = ""


@dataclass(slots=True)
class Found:
    """
    All that is known of a batch when it is over. `verified` is empty where the chain holds.

    `paused` is from when everything was paused for certain, until it might not be any more.
    """

    batch: Batch
    journals: list[Journal]
    arrivals: list[Arrival] = field(default_factory=list)
    entries: list[dict[str, object]] = field(default_factory=list)
    verified: str = ""
    walks: list[Walk] = field(default_factory=list)
    paused: tuple[float, float] | None = None
    seconds: float = 0.0
