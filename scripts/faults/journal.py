"""What the suite did and saw, as values: the one side that the ledger and upstream are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field

from faults.cases import Batch, Case


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

    case: Case
    attempts: list[Attempt] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    barred: float | None = None
    placed: bool = False
    arrived: bool = False
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A whole request at upstream; `approved` is how many approvals of its mark were on disk then."""

    mark: str
    attempt: int
    time: float
    approved: int


@dataclass(slots=True)
class Found:
    """All that is known of a batch when it is over. `verified` is empty where the chain holds."""

    batch: Batch
    journals: list[Journal]
    arrivals: list[Arrival] = field(default_factory=list)
    entries: list[dict[str, object]] = field(default_factory=list)
    verified: str = ""
    seconds: float = 0.0
