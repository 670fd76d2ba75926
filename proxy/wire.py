"""
What a reviewer sees and does, as values: the same in the console, over the control socket,
and in `--json`.

Text in these values is what the agent wrote, secrets removed but not yet made safe for a
terminal: `proxy.render` escapes it at the last moment, in one place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ReviewView:
    """One answer so far: who, what, when (Unix seconds), why."""

    reviewer: str
    approves: bool
    time: float
    reason: str


@dataclass(frozen=True, slots=True)
class HoldView:
    """
    A hold as people see it (`sluice holds --json` has these names).

    `opened` and `deadline` are Unix time in seconds; over the wire and in JSON they are
    RFC 3339 in UTC. `digest` is hex. `show` maps a field's name to its values as text.
    `state` is a word of `proxy.hold.State`; `cause` and `by` say how a settled one ended.
    `headers` and `body` are empty but in the whole view (`Desk.show`); `body_note` says what
    of the body is not shown and why.
    """

    id: str
    rule: str
    rules: tuple[str, ...]
    why: str
    agent: str
    method: str
    url: str
    operation: str
    says: str
    show: Mapping[str, tuple[str, ...]]
    digest: str
    opened: float
    deadline: float
    approvals_needed: int
    reviews: tuple[ReviewView, ...] = ()
    attempts: int = 1
    agent_waiting: bool = True
    state: str = "pending"
    cause: str = ""
    by: tuple[str, ...] = ()
    tier: str = "medium"
    reversible: bool | None = None
    unknown: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    body_note: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """
    The gate at a glance.

    `locked` says why no decision is taken, empty where one is (a `sluice run` that ended
    without goodbye). `policy_change` is the difference of a changed policy that waits to be
    taken, `policy_error` the problems of one that does not load; both empty otherwise.
    `paused` names the agents that are paused, ``*`` for all.
    """

    proxy: str
    policy: str
    shadow: bool = False
    paused: tuple[str, ...] = ()
    locked: str = ""
    policy_change: str = ""
    policy_error: str = ""
    allowed: int = 0
    held: int = 0
    refused: int = 0
    ledger_error: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """
    Something happened at the desk.

    `kind` is ``opened``, ``reviewed``, ``settled`` (with `hold`) or ``status`` (with `status`).
    """

    kind: str
    hold: HoldView | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything on the desk at one moment: pending holds, oldest first, and the status."""

    status: Status
    holds: tuple[HoldView, ...] = field(default=())


class Desk(Protocol):
    """
    What a reviewer can do, whoever carries it: in-process for the console of `up`, over the
    control socket for `review`, `holds`, `approve` and the rest.

    Every verb raises SluiceError with exit 1 where the answer is no (the hold is gone, not
    yours to decide, the desk is locked), exit 3 where no proxy is there.
    """

    def changes(self) -> AsyncIterator[Snapshot | Change]:
        """A Snapshot first, then every Change from that moment on, none missed between."""
        ...

    async def snapshot(self) -> Snapshot:
        """The desk now."""
        ...

    async def show(self, prefix: str) -> HoldView:
        """One hold, whole; `prefix` is any unique prefix of its id, settled ones for a while too."""
        ...

    async def review(self, prefix: str, *, approves: bool, reason: str = "", digest: str | None = None) -> HoldView:
        """
        Answer a hold; returns it as it is once the answer is on disk.

        With `digest` (hex) the answer counts only for exactly that request.
        """
        ...

    async def pause(self, agent: str | None = None) -> Status:
        """Refuse everything (of one agent) until `resume`; open holds are refused too."""
        ...

    async def resume(self, agent: str | None = None) -> Status:
        """End a pause."""
        ...

    async def accept(self, policy: str | None = None) -> Status:
        """Take the changed policy; with `policy` (digest, hex) only exactly that one."""
        ...

    async def unlock(self) -> Status:
        """Take decisions again after an agent's `sluice run` ended without goodbye (console only)."""
        ...
