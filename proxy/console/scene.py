"""
What stands on the reviewer's screen, and what each key means there.

Values only: changes and keys in, calls out. Four rules keep a key from meaning something
that the reviewer did not see:

- A key that decides counts for the hold (policy, lock, rule) that the *last drawn frame* showed,
  by digest, and only `ARMING` seconds after it was first drawn: what was typed ahead, or in the
  moment something appeared, decides nothing.
- The selection is a hold, not a line. It moves by keys alone; a hold that ends under it stays
  there, says how it ended, and takes no answer.
- What is typed stays typing until Enter or Esc, also if the hold ends meanwhile.
- What is decided together, or beforehand, has been on the screen, all of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from rich.text import Text

from proxy.console.groups import PAGE, Group, alike
from proxy.console.keys import Key, typed
from proxy.console.likes import SECONDS, USES, Like, next_of
from proxy.console.rows import ASKING, AWAY, Rows, item, sight, subject
from proxy.console.sights import ARMING, Sights
from proxy.render import short_id
from proxy.wire import Call, HoldView, Offer, Verb

__all__ = ["ARMING", "ASKING", "Mode", "Scene", "item", "sight", "subject"]

EXTENSION: Final = 600  # seconds that one key gives a hold
_REASON: Final = 500
_STEPS: Final = {
    "up": -1, "k": -1, "down": 1, "j": 1, "page up": -PAGE, "page down": PAGE,
    "home": -1_000_000, "g": -1_000_000, "end": 1_000_000, "G": 1_000_000,
}  # fmt: skip
_TOO_SOON: Final = "not decided: the key came before this was on the screen long enough to be read"
_ENDED: Final = "this hold has ended; nothing was answered"


class Mode(Enum):
    """What the keys are for at the moment."""

    QUEUE = "queue"
    WHOLE = "whole"
    REASON = "reason"
    CONFIRM = "confirm"
    GROUP = "group"
    LIKE = "like"
    POLICY = "policy"
    QUIT = "quit"
    HELP = "help"


@dataclass(slots=True)
class Scene(Rows):
    """
    The state of the console. Times are monotonic seconds.

    Whoever draws keeps `scroll` within what there is, and a long text's lines in `laid`.
    """

    mode: Mode = Mode.QUEUE
    origin: Mode = Mode.QUEUE
    whole: HoldView | None = None
    group: Group | None = None
    like: Like | None = None
    scroll: int = 0
    laid: tuple[object, int, Sequence[Text]] | None = None
    draft: str = ""
    over: bool = False
    answering: set[str] = field(default_factory=set)
    sights: Sights = field(default_factory=Sights)
    _confirming: str = ""

    def drawn(self, names: Collection[str], time: float) -> None:
        """A frame that shows these things is on the screen since now."""
        self.sights.drawn(names, time, {sight(view) for view in self.rows.values()})

    def blank(self) -> None:
        """A frame is on its way: until it is drawn, nothing can be said to be on the screen."""
        self.sights.blank()

    def took(self, view: HoldView) -> None:
        """The whole request has come that was asked for."""
        if self.group is not None:
            self.group.took(view)
        elif view.id == self.selected and self.mode is not Mode.QUEUE:
            self.whole = view

    def offered(self, offer: Offer) -> None:
        """The rule has come that was asked for; one of another request is not taken for it."""
        like = self.like
        if like is not None and (like.view.id, like.view.digest) == (offer.hold, offer.digest):
            self.like = replace(like, offer=offer)

    def answered(self, call: Call, said: str) -> None:
        """A call has ended; `said` is what to tell of it, before what is told already since the last key."""
        self.answering.discard(call.prefix)
        self.message = "; ".join(filter(None, (said, self.message)))
        if said and call.verb is Verb.SHOW and self.group is not None:
            self.group.drop(call.prefix)
        refused = call.verb is Verb.OFFER and self.like is not None and self.like.offer is None
        if refused and self.mode is Mode.LIKE:
            self._back()

    # Keys

    def press(self, key: Key, time: float) -> tuple[Call, ...]:
        """What a key asks of the desk, if anything; `time` is when it was read."""
        self.message = ""
        if self.mode is Mode.GROUP:
            return self._read_group(key, time)
        if self.mode is Mode.REASON:
            return self._type_reason(key)
        call = self._press(key, time)
        if key.name == "b" and call is None and self.mode in (Mode.QUEUE, Mode.WHOLE):
            return self._open_group()
        return () if call is None else (call,)

    def _press(self, key: Key, time: float) -> Call | None:
        match self.mode:
            case Mode.CONFIRM:
                return self._type_confirmation(key)
            case Mode.LIKE:
                return self._read_like(key, time)
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
            case Mode.QUEUE | Mode.GROUP | Mode.REASON:
                return self._choose(key, time)

    def _choose(self, key: Key, time: float) -> Call | None:
        if key.name in _STEPS:
            self.move(_STEPS[key.name])
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
        self._scroll(key)
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
        self._scroll(key)
        if key.name in ("escape", "q", "interrupt", "n"):
            self.mode = Mode.QUEUE
        if key.name != "y" or not self.status.policy_next:
            return None
        if not self.sights.armed(f"policy {self.status.policy_next}", time):
            self.message = _TOO_SOON
            return None
        self.mode = Mode.QUEUE
        return Call(Verb.ACCEPT, policy=self.status.policy_next)

    def _scroll(self, key: Key) -> None:
        if key.name in _STEPS:
            self.scroll = max(0, self.scroll + _STEPS[key.name])

    def _type_reason(self, key: Key) -> tuple[Call, ...]:
        match key.name:
            case "escape" | "interrupt":
                self.mode, self.message = self.origin, "not denied"
            case "enter":
                self.mode = self.origin
                return self._deny()
            case _:
                self.draft = typed(self.draft, key)[:_REASON]
        return ()

    def _type_confirmation(self, key: Key) -> Call | None:
        """What names the request has to be typed: a paste is not."""
        match key.name:
            case "escape" | "interrupt":
                self.mode, self.message = self.origin, "not approved"
            case "enter":
                self.mode = self.origin
                return self._confirmed()
            case "paste":
                self.message = "type it, it is not pasted"
            case _:
                self.draft = typed(self.draft, key)[:_REASON]
        return None

    # What keys decide

    def _decide(self, key: Key, time: float) -> Call | None:
        view = self.hold
        if key.name not in ("a", "d", "l", "x") or view is None:
            return None
        if view.state not in ASKING and (view.state not in AWAY or key.name != "d"):
            self.message = "its agent has gone; there is nothing to send" if view.state in AWAY else _ENDED
        elif view.id in self.answering:
            self.message = "your answer to this hold is on its way"
        elif subject(view) not in self.sights.on_screen or not self.sights.armed(sight(view), time):
            self.message = _TOO_SOON
        elif key.name == "d":
            self.mode, self.origin, self.draft = Mode.REASON, self.mode, ""
        elif key.name == "x":
            return Call(Verb.EXTEND, prefix=view.id, seconds=EXTENSION)
        elif key.name == "l":
            return self._open_like(view)
        elif view.confirm:
            self.mode, self.origin, self.draft = Mode.CONFIRM, self.mode, ""
            self._confirming = view.digest
        else:
            return self._answer(view, approves=True)
        return None

    def _answer(self, view: HoldView, *, approves: bool, reason: str = "") -> Call:
        self.answering.add(view.id)
        return Call(Verb.REVIEW, prefix=view.id, approves=approves, reason=reason, digest=view.digest)

    def _confirmed(self) -> Call | None:
        view = self.hold
        if view is None or view.state not in ASKING or view.digest != self._confirming:
            self.message = _ENDED
        elif self.draft.strip() != view.confirm[-1]:
            self.message = f"not approved: that is not {view.confirm[-1]}"
        else:
            return self._answer(view, approves=True)
        return None

    def _deny(self) -> tuple[Call, ...]:
        reason = self.draft.strip()
        if self.group is not None:
            return self._answer_group(approves=False, reason=reason)
        view = self.hold
        if view is None or view.state not in ASKING | AWAY:
            self.message = _ENDED
            return ()
        return (self._answer(view, approves=False, reason=reason),)

    # Alike holds together

    def _open_group(self) -> tuple[Call, ...]:
        view = self.hold
        views = alike(view, self.rows.values()) if view is not None and view.state in ASKING else []
        if view is not None and view.confirm:
            self.message = "at the critical tier each is decided by itself"
        elif len(views) < 2:
            self.message = "no other hold is like this one: same rules, agent, operation and host"
        else:
            self.mode, self.origin, self.group = Mode.GROUP, self.mode, Group(tuple(views))
            self.sights.forget()
            return tuple(Call(Verb.SHOW, prefix=one.id) for one in views)
        return ()

    def _read_group(self, key: Key, time: float) -> tuple[Call, ...]:
        group = self.group
        assert group is not None
        if key.name in _STEPS:
            group.move(_STEPS[key.name])
        match key.name:
            case "escape" | "q" | "interrupt" | "b":
                self.mode, self.group = Mode.QUEUE, None
            case " ":
                group.out ^= {group.views[group.at].id}
            case "a" | "d" if self._may_answer(group, time):
                if key.name == "a":
                    return self._answer_group(approves=True)
                self.mode, self.origin, self.draft = Mode.REASON, Mode.GROUP, ""
        return ()

    def _may_answer(self, group: Group, time: float) -> bool:
        """Whether every hold that was chosen can be decided here, and has been on the screen in full."""
        alone = [view for view in group.chosen if group.alone(view.id)]
        unread = [view for view in group.chosen if not self.sights.was_read(item(view), time)]
        if not group.ready:
            self.message = _TOO_SOON
        elif not self._open_in(group):
            self.message = "none of these is chosen and waits still"
        elif alone:
            self.message = (
                f"decide {short_id(alone[0])} by itself (space leaves it out): {group.alone(alone[0].id)}"
            )
        elif unread:
            self.message = (
                f"not decided: {len(unread)} of {len(group.chosen)} have not been on the screen yet"
            )
        return not self.message

    def _open_in(self, group: Group) -> list[HoldView]:
        """The chosen ones that still wait, for the very request that was shown."""
        waiting = {(row.id, row.digest) for row in self.rows.values() if row.state in ASKING}
        return [view for view in group.chosen if (view.id, view.digest) in waiting]

    def _answer_group(self, *, approves: bool, reason: str = "") -> tuple[Call, ...]:
        assert self.group is not None
        views = [view for view in self._open_in(self.group) if view.id not in self.answering]
        self.mode, self.group = Mode.QUEUE, None
        return tuple(self._answer(view, approves=approves, reason=reason) for view in views)

    # The like of a request

    def _open_like(self, view: HoldView) -> Call:
        self.mode, self.origin, self.scroll = Mode.LIKE, self.mode, 0
        self.like = Like(view)
        self.sights.forget()
        return Call(Verb.OFFER, prefix=view.id)

    def _read_like(self, key: Key, time: float) -> Call | None:
        like = self.like
        assert like is not None
        self._scroll(key)
        match key.name:
            case "escape" | "q" | "interrupt":
                self._back()
            case "t":
                self.like = replace(like, seconds=next_of(SECONDS, like.seconds))
            case "n":
                self.like = replace(like, uses=next_of(USES, like.uses))
            case "a":
                return self._grant(like, time)
        return None

    def _grant(self, like: Like, time: float) -> Call | None:
        view = self.rows.get(like.view.id)
        if view is None or view.state not in ASKING or view.digest != like.view.digest:
            self.message = _ENDED
        elif like.offer is None or not self.sights.armed(f"limits {like.limits}", time):
            self.message = _TOO_SOON
        elif not all(self.sights.was_read(name, time) for name in like.names()):
            self.message = "not granted: scroll until the whole rule has been on the screen"
        else:
            self.answering.add(view.id)
            self._back()
            return like.call()
        return None

    def _back(self) -> None:
        self.mode, self.like = self.origin, None

    # The gate

    def _pause(self, time: float) -> Call | None:
        if not self.status.paused:
            return Call(Verb.PAUSE)
        if not self.sights.armed(f"paused {' '.join(self.status.paused)}", time):
            self.message = _TOO_SOON
            return None
        everyone = "*" in self.status.paused
        return Call(Verb.RESUME, agent=None if everyone else self.status.paused[0])

    def _unlock(self, time: float) -> Call | None:
        if not self.status.locked:
            self.message = "nothing is locked"
        elif self.sights.armed(f"lock {self.status.locked}", time):
            return Call(Verb.UNLOCK)
        else:
            self.message = _TOO_SOON
        return None

    def _open_policy(self) -> None:
        if not (self.status.policy_next or self.status.policy_error):
            self.message = "no changed policy waits to be taken"
            return
        self.mode, self.scroll = Mode.POLICY, 0

    def _leave(self) -> None:
        if not self.waiting:
            self.over = True
            return
        self.mode, self.origin = Mode.QUIT, self.mode
