"""
Frames: a scene as exactly as many lines as the terminal has, and the names of what they show.

Every line is one `Text` that ends where the terminal does; what an agent wrote stands last on
its line, so that even a glyph of another width than ours moves nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from proxy.console import pages
from proxy.console.pages import row, wrapped
from proxy.console.rows import ASKING, AWAY
from proxy.console.scene import Mode, Scene, sight, subject
from proxy.render import in_short, safe, short_id
from proxy.wire import HoldView

_LABEL: Final = 11
_ROW_LINES: Final = 3
_GONE: Final = 5
# Those that are needed most come first: where not all fit, the others go, but never the last.
_KEYS: Final = {
    Mode.QUEUE: (
        "a approve", "d deny", "enter look", "e edit", "l like", "b batch", "x longer", "q quit", "↑↓ move",
        "? help",
    ),
    Mode.WHOLE: (
        "a approve", "d deny", "↑↓ scroll", "e edit", "l like", "b batch", "esc back", "x longer", "? help",
    ),
    Mode.REASON: ("enter denies with it", "esc cancels"),
    Mode.CONFIRM: ("enter approves it", "esc cancels"),
    Mode.GROUP: ("a approve the chosen", "d deny them", "space leave out", "↑↓ move", "esc back"),
    Mode.LIKE: ("a approve this and its like", "t time", "n number", "↑↓ scroll", "esc back"),
    Mode.POLICY: ("y take this policy", "↑↓ scroll", "esc back"),
    Mode.QUIT: ("q again quits", "any other key stays"),
    Mode.HELP: ("any key goes back",),
}  # fmt: skip
_HELP: Final = (
    "↑ ↓ k j          move; in a request: scroll (also page up and down)",
    "enter, space     look at the whole request, as it would leave",
    "a                approve the hold that is shown; what is critical is typed",
    "d                deny it: a reason for the agent, then enter (esc cancels)",
    "e                correct it in your editor; it goes once you have confirmed",
    "l                the rule for its like; there, a approves it and its like",
    "b                decide alike holds together, by what each differs in",
    "x                give it 10 minutes more",
    "p                pause: everything is refused, also what waits; again to resume",
    "y                look at a changed policy; there, y takes it",
    "u                unlock the desk after a sluice run ended without goodbye",
    "q                quit; what waits waits on, but sluice up stops its gate",
    "",
    "A key decides only what has been on the screen for half a second.",
    "Reversed \\x1b or \\u202e is a character that the agent wrote and that could",
    "act on a terminal or hide; it is shown as its code.",
)


@dataclass(frozen=True, slots=True)
class Frame:
    """Lines for the terminal, and the names of what can be decided about on them."""

    lines: tuple[Text, ...]
    names: frozenset[str]


def frame(scene: Scene, now: float, width: int, height: int) -> Frame:
    """The scene at a moment (`now` in Unix seconds), `height` lines of at most `width` cells."""
    names: set[str] = set()
    top = [_header(scene), *_banners(scene, names)][: max(1, height - 4)]
    room = max(0, height - len(top) - 2)
    match scene.mode:
        case Mode.HELP:
            middle = [line for text in _HELP for line in wrapped(Text(text), width)]
        case Mode.POLICY:
            middle = pages.policy(scene, room, width, names)
        case Mode.LIKE:
            middle = pages.like(scene, now, room, width, names)
        case Mode.GROUP | Mode.REASON if scene.group is not None:
            middle = pages.group(scene, now, room, width, names)
        case Mode.WHOLE:
            middle = pages.whole(scene, now, room, width, names)
        case _ if scene.origin is Mode.WHOLE and scene.mode is not Mode.QUEUE:
            middle = pages.whole(scene, now, room, width, names)
        case _:
            middle = _queue(scene, now, room, width, names)
    blank = [Text()] * (room - len(middle))
    lines = [*top, *middle[:room], *blank, _talk(scene, width), Text(_footer(scene.mode, width), "dim")]
    for at, line in enumerate(lines):
        lines[at] = line.copy()
        lines[at].truncate(width, overflow="ellipsis")
    return Frame(tuple(lines[:height]), frozenset(names))


def _header(scene: Scene) -> Text:
    status = scene.status
    counts = f"{scene.waiting} waiting  {status.allowed:,} allowed  {status.refused:,} refused"
    return Text.assemble(
        ("sluice", "bold"), "  ", (counts, "bold" if scene.waiting else ""), "  ",
        safe(f"{status.proxy}  policy {status.policy[:8]}", "dim"),
    )  # fmt: skip


def _banners(scene: Scene, names: set[str]) -> Iterator[Text]:
    status = scene.status
    if status.locked:
        names.add(f"lock {status.locked}")
        yield _banner("LOCKED, u unlocks", status.locked)
    if status.paused:
        names.add(f"paused {' '.join(status.paused)}")
        whom = "everything is refused" if "*" in status.paused else f"refused: {', '.join(status.paused)}"
        yield _banner("PAUSED, p resumes", whom)
    if status.ledger_error:
        yield _banner("LEDGER", status.ledger_error)
    if status.witness_error:
        yield _banner("WITNESS", status.witness_error)
    if status.policy_error and scene.mode is not Mode.POLICY:
        yield _banner("POLICY DOES NOT LOAD", "nothing changed; y shows why")
    if status.policy_next and scene.mode is not Mode.POLICY:
        yield _banner("POLICY CHANGED", "y shows the difference")
    if status.shadow:
        yield _banner("SHADOW", "nothing is held; what would have been is recorded")


def _banner(what: str, text: str) -> Text:
    return Text.assemble((f" {what} ", "bold reverse"), " ", safe(text))


def _talk(scene: Scene, width: int) -> Text:
    match scene.mode:
        case Mode.REASON | Mode.CONFIRM:
            return _prompt(scene, width)
        case Mode.QUIT:
            holds = "hold waits" if scene.waiting == 1 else "holds wait"
            then = ", and the gate stops with this console" if scene.stops else ""
            return Text(f"{scene.waiting} {holds}{then}: quit all the same?", "bold yellow")
        case _:
            answering = "your answer is on its way …" if scene.selected in scene.answering else ""
            return safe(scene.message or answering, "bold yellow")


def _footer(mode: Mode, width: int) -> str:
    keys = list(_KEYS[mode])
    while len(keys) > 1 and len("  ".join(keys)) > width:
        del keys[-2]
    return "  ".join(keys)


def _prompt(scene: Scene, width: int) -> Text:
    label = _asked(scene)
    line = Text.assemble((label, "bold red"))
    room = max(1, (width - len(label) - 1) // 2)
    line.append_text(safe(scene.draft[-room:]))
    return line.append("▏")


def _asked(scene: Scene) -> str:
    """What stands before the line that is being typed."""
    view = scene.hold
    if scene.group is not None:
        return f"deny {len(scene.group.chosen)} holds because: "
    if view is None:
        return ""
    if scene.mode is Mode.CONFIRM:
        ended = view.state not in ASKING
        return (
            "ended, nothing will be approved: "
            if ended
            else f"to approve type the {' '.join(view.confirm)}: "
        )
    open_still = view.state in ASKING | AWAY
    return f"deny {short_id(view)} because: " if open_still else "ended, nothing will be denied: "


# The queue and the selected hold below it


def _queue(scene: Scene, now: float, room: int, width: int, names: set[str]) -> list[Text]:
    away = list(_away(scene))
    if not scene.rows:
        return [Text(), Text("  nothing is waiting", "dim"), *away]
    size = max(1, min(len(scene.rows), max(3, room // 3), room - 1))
    order = list(scene.rows.values())
    at = next((at for at, view in enumerate(order) if view.id == scene.selected), 0)
    start = at // size * size
    page = order[start : start + size]
    lines = [_listed(view, now, selected=view.id == scene.selected) for view in page]
    names.update(map(sight, page))
    if len(order) > size:
        lines.append(Text(f"  {start + 1}-{start + len(page)} of {len(order)}", "dim"))
    lines += away
    if (view := scene.hold) is not None and room - len(lines) > _ROW_LINES:
        lines += [Text(f"── hold {view.id} ".ljust(width, "─"), "dim"), *_details(view, now, width)]
        names.add(subject(view))
    return _fitted(lines, room)


def _listed(view: HoldView, now: float, *, selected: bool) -> Text:
    return row(view, now, "▸ " if selected else "  ", "bold" if selected else "")


def _away(scene: Scene) -> Iterator[Text]:
    """Those that nobody waits for, in a line each way: they are no work as long as nobody comes back."""
    for state, one, several in (
        ("unattended", "its agent has gone", "their agents have gone"),
        (
            "spendable",
            "approved, sent when its agent asks again",
            "approved, sent when their agents ask again",
        ),
    ):
        away = [view for view in scene.away.values() if view.id not in scene.rows and view.state == state]
        ids = ", ".join(map(short_id, away[:_GONE])) + (", …" if len(away) > _GONE else "")
        if away:
            yield Text(f"  {len(away)} more, {one if len(away) == 1 else several}: {ids}", "dim")


def _details(view: HoldView, now: float, width: int) -> Iterator[Text]:
    for label, text in in_short(view, now):
        lines = wrapped(text, width - _LABEL)
        for at, line in enumerate(lines[:_ROW_LINES]):
            if at == _ROW_LINES - 1 and len(lines) > _ROW_LINES:
                line.truncate(width - _LABEL - 1)
                line.append("…", "bold yellow")
            yield Text.assemble((f"{'' if at else label:>{_LABEL - 2}}  ", "dim"), line)


def _fitted(lines: list[Text], room: int) -> list[Text]:
    if len(lines) <= room:
        return lines
    return [*lines[: max(0, room - 1)], Text("… enter shows the rest", "bold yellow")]
