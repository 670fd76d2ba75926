"""
The holds on the reviewer's screen: those that take an answer, those whose agents have gone.

The selection is a hold, not a line. It moves by keys alone: nothing that happens at the desk
moves it, and a hold that ends under it stays there and says how it ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from proxy.render import short_id
from proxy.wire import Change, HoldView, Snapshot, Status

ASKING: Final = frozenset({"pending", "deferred"})
"""The states in which a hold takes an answer."""

AWAY: Final = frozenset({"unattended", "spendable"})
"""The states in which a hold is open and nobody waits for an answer."""


def sight(view: HoldView) -> str:
    """The name under which a frame says that it lists a hold."""
    return f"row {view.id} {view.digest}"


def subject(view: HoldView) -> str:
    """The name under which a frame says that it shows a hold, for its keys to mean that one."""
    return f"hold {view.id} {view.digest}"


def item(view: HoldView) -> str:
    """The name under which a frame says that it shows, in full, in what a hold differs from its like."""
    return f"item {view.id} {view.digest}"


@dataclass(slots=True)
class Rows:
    """
    What is known of the desk.

    `rows` are the holds in the order of their coming: those that take an answer, and the selected
    one; `away` are those whose agents have gone. `message` is for the reviewer, `bell` for the ear.
    `stops` says that the gate stops with this console.
    """

    status: Status
    rows: dict[str, HoldView] = field(default_factory=dict)
    away: dict[str, HoldView] = field(default_factory=dict)
    selected: str = ""
    message: str = ""
    bell: bool = False
    stops: bool = False

    @property
    def hold(self) -> HoldView | None:
        """The selected hold, which may have ended."""
        return self.rows.get(self.selected)

    @property
    def waiting(self) -> int:
        """How many holds wait for an answer."""
        return sum(view.state in ASKING for view in self.rows.values())

    def apply(self, change: Snapshot | Change) -> None:
        """Take a change in; nothing here moves the selection off a hold."""
        if isinstance(change, Snapshot):
            self._start(change)
            return
        if change.status is not None:
            self.status = change.status
        view = change.hold
        if view is None:
            return
        self._put(view)
        if change.kind == "reminder":
            self.bell = True
            self.message = f"half of the time of {short_id(view)} is over and nobody has answered it"

    def _put(self, view: HoldView) -> None:
        self.away.pop(view.id, None)
        if view.state in ASKING:
            self.bell = self.bell or view.id not in self.rows
            self.rows[view.id] = view
            self.selected = self.selected or view.id
            return
        if view.state in AWAY:
            self.away[view.id] = view
        if view.id == self.selected:
            self.rows[view.id] = view
        else:
            self.rows.pop(view.id, None)

    def _start(self, snapshot: Snapshot) -> None:
        before, kept = self.rows, self.hold
        self.status = snapshot.status
        self.rows = {view.id: view for view in snapshot.holds if view.state in ASKING}
        self.away = {view.id: view for view in snapshot.holds if view.state in AWAY}
        self.bell = self.bell or not self.rows.keys() <= before.keys()
        if kept is not None and kept.id not in self.rows:
            gone = replace(kept, state="gone", cause="it ended unseen") if kept.state in ASKING else kept
            self.rows = {kept.id: self.away.get(kept.id, gone), **self.rows}
        self.selected = self.selected or next(iter(self.rows), "")

    def move(self, step: int) -> None:
        """Select another, so many lines below; an ended one that is left is gone."""
        order = list(self.rows)
        if not order:
            return
        at = order.index(self.selected) if self.selected in self.rows else 0
        to = order[min(max(at + step, 0), len(order) - 1)]
        left = self.hold
        if left is not None and left.state not in ASKING:
            to = to if to != left.id else next((id for id in reversed(order) if id != left.id), "")
            del self.rows[left.id]
        self.selected = to
