"""
What stands on the reviewer's screen, and what each key means there.

Values only: changes and keys in, calls out. Three rules keep a key from meaning something
that the reviewer did not see:

- A key that decides counts for the hold (policy, lock) that the *last drawn frame* showed in
  full, by digest, and only `ARMING` seconds after it was first drawn: what was typed ahead, or
  in the moment something appeared, decides nothing.
- The selection is a hold, not a line. It moves by keys alone; a hold that ends under it stays
  there, says how it ended, and takes no answer.
- What is typed as a reason stays typing until Enter or Esc, also if the hold ends meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from rich.text import Text

from proxy.console.keys import Key
from proxy.wire import Call, Change, HoldView, Snapshot, Status, Verb

ARMING: Final = 0.5
"""Seconds from the first sight of a thing until a key may decide it."""

_REASON: Final = 500
_STEPS: Final = {
    "up": -1, "k": -1, "down": 1, "j": 1, "page up": -10, "page down": 10,
    "home": -1_000_000, "g": -1_000_000, "end": 1_000_000, "G": 1_000_000,
}  # fmt: skip
_TOO_SOON: Final = "not decided: the key came before this was on the screen long enough to be read"


class Mode(Enum):
    """What the keys are for at the moment."""

    QUEUE = "queue"
    WHOLE = "whole"
    REASON = "reason"
    POLICY = "policy"
    QUIT = "quit"
    HELP = "help"


def sight(view: HoldView) -> str:
    """The name under which a frame says that it lists a hold."""
    return f"row {view.id} {view.digest}"


def subject(view: HoldView) -> str:
    """The name under which a frame says that it shows a hold, for its keys to mean that one."""
    return f"hold {view.id} {view.digest}"


@dataclass(slots=True)
class Scene:
    """
    The state of the console. Times are monotonic seconds.

    `rows` are the holds in the order of their coming: those that wait, and the selected one.
    `on_screen` names what the last frame showed, `_first` when each was first shown. Whoever
    draws keeps `scroll` within what there is, and a long text's lines in `laid`.
    """

    status: Status
    rows: dict[str, HoldView] = field(default_factory=dict)
    selected: str = ""
    mode: Mode = Mode.QUEUE
    origin: Mode = Mode.QUEUE
    whole: HoldView | None = None
    scroll: int = 0
    laid: tuple[object, int, Sequence[Text]] | None = None
    draft: str = ""
    message: str = ""
    bell: bool = False
    over: bool = False
    answering: set[str] = field(default_factory=set)
    on_screen: frozenset[str] = frozenset()
    _first: dict[str, float] = field(default_factory=dict)

    @property
    def hold(self) -> HoldView | None:
        """The selected hold, which may have ended."""
        return self.rows.get(self.selected)

    @property
    def waiting(self) -> int:
        """How many holds wait for an answer."""
        return sum(view.state == "pending" for view in self.rows.values())

    def drawn(self, names: Collection[str], time: float) -> None:
        """A frame that shows these things is on the screen since now."""
        self.on_screen = frozenset(names)
        known = {sight(view) for view in self.rows.values()}.intersection(self._first)
        self._first = {name: self._first.get(name, time) for name in known.union(names)}

    def blank(self) -> None:
        """A frame is on its way: until it is drawn, nothing can be said to be on the screen."""
        self.on_screen = frozenset()

    # What happens at the desk

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
        if view.state == "pending":
            self._put(view)
        elif view.id == self.selected:
            self.rows[view.id] = view
        else:
            self.rows.pop(view.id, None)

    def _put(self, view: HoldView) -> None:
        self.bell = self.bell or view.id not in self.rows
        self.rows[view.id] = view
        self.selected = self.selected or view.id

    def _start(self, snapshot: Snapshot) -> None:
        before, kept = self.rows, self.hold
        self.status = snapshot.status
        self.rows = {view.id: view for view in snapshot.holds}
        self.bell = self.bell or not self.rows.keys() <= before.keys()
        if kept is not None and kept.id not in self.rows:
            gone = replace(kept, state="gone", cause="it ended unseen") if kept.state == "pending" else kept
            self.rows = {kept.id: gone, **self.rows}
        self.selected = self.selected or next(iter(self.rows), "")

    def took(self, view: HoldView) -> None:
        """The whole request has come that was asked for."""
        if view.id == self.selected and self.mode is not Mode.QUEUE:
            self.whole = view

    def answered(self, call: Call, said: str) -> None:
        """A call has ended; `said` is what to tell of it."""
        self.answering.discard(call.prefix)
        self.message = said

    # Keys

    def press(self, key: Key, time: float) -> Call | None:
        """What a key asks of the desk, if anything; `time` is when it was read."""
        self.message = ""
        match self.mode:
            case Mode.REASON:
                return self._type(key)
            case Mode.QUIT:
                self.over = key.name in ("q", "interrupt")
                self.mode = self.origin
                return None
            case Mode.HELP:
                self.mode = self.origin
                return None
            case Mode.POLICY:
                return self._read_policy(key, time)
            case Mode.WHOLE:
                return self._read_whole(key, time)
            case Mode.QUEUE:
                return self._choose(key, time)

    def _choose(self, key: Key, time: float) -> Call | None:
        if key.name in _STEPS:
            self._move(_STEPS[key.name])
        match key.name:
            case "enter" | " " if self.selected:
                self.mode, self.whole, self.scroll = Mode.WHOLE, None, 0
                return Call(Verb.SHOW, prefix=self.selected)
            case "p":
                return self._pause(time)
            case "y":
                self._open_policy()
            case "u":
                return self._unlock(time)
            case "q" | "interrupt":
                self._leave()
            case "?":
                self.mode, self.origin = Mode.HELP, Mode.QUEUE
            case _:
                return self._decide(key, time)
        return None

    def _read_whole(self, key: Key, time: float) -> Call | None:
        if key.name in _STEPS:
            self.scroll = max(0, self.scroll + _STEPS[key.name])
        match key.name:
            case "escape" | "q" | "enter" | " ":
                self.mode, self.whole = Mode.QUEUE, None
            case "interrupt":
                self._leave()
            case "?":
                self.mode, self.origin = Mode.HELP, Mode.WHOLE
            case _:
                return self._decide(key, time)
        return None

    def _read_policy(self, key: Key, time: float) -> Call | None:
        if key.name in _STEPS:
            self.scroll = max(0, self.scroll + _STEPS[key.name])
        if key.name in ("escape", "q", "interrupt", "n"):
            self.mode = Mode.QUEUE
        if key.name != "y":
            return None
        if not self._armed(f"policy {self.status.policy_next}", time):
            self.message = _TOO_SOON
            return None
        self.mode = Mode.QUEUE
        return Call(Verb.ACCEPT, policy=self.status.policy_next)

    def _type(self, key: Key) -> Call | None:
        match key.name:
            case "escape" | "interrupt":
                self.mode, self.message = self.origin, "not denied"
            case "backspace":
                self.draft = self.draft[:-1]
            case "clear":
                self.draft = ""
            case "enter":
                self.mode = self.origin
                return self._deny()
            case _:
                typed = "".join(char for char in key.text if char.isprintable())
                self.draft = (self.draft + typed)[:_REASON]
        return None

    # What keys decide

    def _armed(self, name: str, time: float) -> bool:
        return name in self.on_screen and time >= self._first.get(name, time) + ARMING

    def _decide(self, key: Key, time: float) -> Call | None:
        view = self.hold
        if key.name not in ("a", "d") or view is None:
            return None
        if view.state != "pending":
            self.message = "this hold has ended; nothing was answered"
        elif view.id in self.answering:
            self.message = "your answer to this hold is on its way"
        elif subject(view) not in self.on_screen or not self._armed(sight(view), time):
            self.message = _TOO_SOON
        elif key.name == "d":
            self.mode, self.origin, self.draft = Mode.REASON, self.mode, ""
        else:
            self.answering.add(view.id)
            return Call(Verb.REVIEW, prefix=view.id, approves=True, digest=view.digest)
        return None

    def _deny(self) -> Call | None:
        view = self.hold
        if view is None or view.state != "pending":
            self.message = "this hold has ended; nothing was answered"
            return None
        self.answering.add(view.id)
        return Call(
            Verb.REVIEW, prefix=view.id, approves=False, reason=self.draft.strip(), digest=view.digest
        )

    def _pause(self, time: float) -> Call | None:
        if not self.status.paused:
            return Call(Verb.PAUSE)
        if not self._armed(f"paused {' '.join(self.status.paused)}", time):
            self.message = _TOO_SOON
            return None
        everyone = "*" in self.status.paused
        return Call(Verb.RESUME, agent=None if everyone else self.status.paused[0])

    def _unlock(self, time: float) -> Call | None:
        if not self.status.locked:
            self.message = "nothing is locked"
        elif self._armed(f"lock {self.status.locked}", time):
            return Call(Verb.UNLOCK)
        else:
            self.message = _TOO_SOON
        return None

    def _open_policy(self) -> None:
        if not self.status.policy_next:
            self.message = "no changed policy waits to be taken"
            return
        self.mode, self.scroll = Mode.POLICY, 0

    def _leave(self) -> None:
        if not self.waiting:
            self.over = True
            return
        self.mode, self.origin = Mode.QUIT, self.mode

    def _move(self, step: int) -> None:
        order = list(self.rows)
        if not order:
            return
        at = order.index(self.selected) if self.selected in self.rows else 0
        to = order[min(max(at + step, 0), len(order) - 1)]
        left = self.hold
        if left is not None and left.state != "pending":
            to = to if to != left.id else next((id for id in reversed(order) if id != left.id), "")
            del self.rows[left.id]
        self.selected = to
