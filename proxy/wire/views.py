"""
What a reviewer sees, as values: the same in the console, over the control socket, and in `--json`.

Text in these values is what the agent wrote, secrets removed but not yet made safe for a
terminal: `proxy.render` escapes it at the last moment, in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    `blast` says how far it reaches: ``recipients``, ``records``, ``amount``, ``currency``, as far
    as anything says so; `first_seen` which of host, operation, recipient and credential this
    agent has not used before. Both are as they were when the hold opened.
    `notices` come first on a screen (that the same was sent before, or waits twice), `differs`
    says how it differs from an earlier one that was not sent. With `window` it goes at its
    deadline unless somebody stops it. `confirm` is what has to be typed to approve it at the
    critical tier: what it is (``amount``, ``recipient`` …), and the text.
    `edited_by` names who has edited it, and `difference` is what that changes: lines that begin
    with ``-``, ``+``, a blank or ``…``; all else in the view is of the edited request.
    `policy` is the digest of the policy that held it; `salt` (hex) is what the ledger's commitments
    to this hold are made with.
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
    blast: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    first_seen: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    window: bool = False
    confirm: tuple[str, ...] = ()
    edited_by: tuple[str, ...] = ()
    difference: tuple[str, ...] = ()
    policy: str = ""
    salt: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    body_note: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """
    The gate at a glance.

    `locked` says why no decision is taken, empty where one is (a `sluice run` that ended
    without goodbye). `policy_change` is the difference of a changed policy that waits to be
    taken and `policy_next` its digest (hex), `policy_error` the problems of one that does not
    load; all empty otherwise.
    `paused` names the agents that are paused, ``*`` for all. `witness_error` says which witnesses
    do not keep what they are sent.
    """

    proxy: str
    policy: str
    shadow: bool = False
    paused: tuple[str, ...] = ()
    locked: str = ""
    policy_change: str = ""
    policy_next: str = ""
    policy_error: str = ""
    allowed: int = 0
    held: int = 0
    refused: int = 0
    ledger_error: str = ""
    witness_error: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """
    What approving "the like" of a hold would let through.

    `rule` is the very rule, in the policy language; `free` says in words what it leaves open.
    `digest` (hex) is the request that it was made of.
    """

    hold: str
    digest: str
    rule: str
    free: str


@dataclass(frozen=True, slots=True)
class GrantView:
    """
    A grant that stands: what it lets through (`rule`, `free`), who gave it with which hold, how
    often it may be used and how often still, and until when (Unix seconds, RFC 3339 in JSON).
    """

    id: str
    hold: str
    agent: str
    by: str
    rule: str
    free: str
    uses: int
    left: int
    until: float


@dataclass(frozen=True, slots=True)
class Standing:
    """The grants that stand, oldest first."""

    grants: tuple[GrantView, ...] = ()


@dataclass(frozen=True, slots=True)
class Sheet:
    """A request as text to be edited, its secrets marks: `digest` (hex) is the one that it is of."""

    hold: str
    digest: str
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """
    Something happened at the desk.

    `kind` is ``opened``, ``reviewed``, ``moved`` (the agent went, came again, was told to
    ask again), ``reminder`` (half of its time), ``settled`` (with `hold`) or ``status`` (with `status`).
    """

    kind: str
    hold: HoldView | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything on the desk at one moment: pending holds, oldest first, and the status."""

    status: Status
    holds: tuple[HoldView, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Enrollee:
    """A reviewer on the roll: the account, the groups, and the keys in force as lines of ``.pub`` files."""

    name: str
    uid: int
    groups: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RollView:
    """
    Who is enrolled, nobody or several; then decisions are signed.

    `ledger` is the id of the ledger that statements are for; `proposals` say in words what
    `reviewers.yaml` would have otherwise.
    """

    ledger: str
    reviewers: tuple[Enrollee, ...] = ()
    proposals: tuple[str, ...] = ()
