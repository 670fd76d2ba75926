"""
Frames: a scene as exactly as many lines as the terminal has, and the names of what they show.

Every line is one `Text` that ends where the terminal does; what an agent wrote stands last on
its line, so that even a glyph of another width than ours moves nothing of ours.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from proxy.console.scene import Mode, Scene, sight, subject
from proxy.render import ended_text, in_full, in_short, plain_line, safe, short_id, tier_text, time_left
from proxy.wire import HoldView

_LABEL: Final = 11
_ROW_LINES: Final = 3
_BODY: Final = 64 * 1024
_FOOTERS: Final = {
    Mode.QUEUE: "↑↓ move  enter look  a approve  d deny  p pause  y policy  u unlock  q quit  ?",
    Mode.WHOLE: "↑↓ scroll  a approve  d deny  esc back  ? help",
    Mode.REASON: "enter denies with this reason  esc cancels",
    Mode.POLICY: "↑↓ scroll  y take this policy  esc back",
    Mode.QUIT: "q again to quit  any other key to stay",
    Mode.HELP: "any key to go back",
}
_HELP: Final = (
    "↑ ↓ k j          move; in a request: scroll (also page up, page down, home, end)",
    "enter, space     look at the whole request, as it would leave",
    "a                approve the hold that is shown",
    "d                deny it; type a reason for the agent, then enter (esc cancels)",
    "e                correct it in your editor; what has changed is shown, and sent once confirmed",
    "p                pause: everything is refused, also what waits; again to resume",
    "y                look at a changed policy; there, y takes it",
    "u                unlock the desk after an agent's sluice run ended without goodbye",
    "q                quit; what waits goes on waiting until its time is over",
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
            middle = [Text(line) for line in _HELP]
        case Mode.POLICY:
            middle = _policy(scene, room, width, names)
        case Mode.WHOLE:
            middle = _whole(scene, now, room, width, names)
        case _ if scene.origin is Mode.WHOLE and scene.mode is not Mode.QUEUE:
            middle = _whole(scene, now, room, width, names)
        case _:
            middle = _queue(scene, now, room, width, names)
    blank = [Text()] * (room - len(middle))
    lines = [*top, *middle[:room], *blank, _talk(scene, width), Text(_FOOTERS[scene.mode], "dim")]
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
    if status.policy_error:
        yield _banner("POLICY DOES NOT LOAD", f"nothing changed: {status.policy_error}")
    if status.policy_next and scene.mode is not Mode.POLICY:
        yield _banner("POLICY CHANGED", "y shows the difference")
    if status.shadow:
        yield _banner("SHADOW", "nothing is held; what would have been is recorded")


def _banner(what: str, text: str) -> Text:
    return Text.assemble((f" {what} ", "bold reverse"), " ", safe(text))


def _talk(scene: Scene, width: int) -> Text:
    match scene.mode:
        case Mode.REASON:
            return _prompt(scene, width)
        case Mode.QUIT:
            holds = "hold waits" if scene.waiting == 1 else "holds wait"
            return Text(f"{scene.waiting} {holds}: quit all the same?", "bold yellow")
        case _:
            answering = "your answer is on its way …" if scene.selected in scene.answering else ""
            return safe(scene.message or answering, "bold yellow")


def _prompt(scene: Scene, width: int) -> Text:
    view = scene.hold
    ended = view is None or view.state != "pending"
    label = "ended, nothing will be denied: " if ended else f"deny {short_id(view)} because: " if view else ""
    line = Text.assemble((label, "bold red"))
    room = max(1, (width - len(label) - 1) // 2)
    line.append_text(safe(scene.draft[-room:]))
    return line.append("▏")


# The queue and the selected hold below it


def _queue(scene: Scene, now: float, room: int, width: int, names: set[str]) -> list[Text]:
    if not scene.rows:
        return [Text(), Text("  nothing is waiting", "dim")]
    size = max(1, min(len(scene.rows), max(3, room // 3), room - 1))
    order = list(scene.rows.values())
    at = next((at for at, view in enumerate(order) if view.id == scene.selected), 0)
    start = at // size * size
    page = order[start : start + size]
    lines = [_row(view, now, view.id == scene.selected) for view in page]
    names.update(map(sight, page))
    if len(order) > size:
        lines.append(Text(f"  {start + 1}-{start + len(page)} of {len(order)}", "dim"))
    if (view := scene.hold) is not None and room - len(lines) > _ROW_LINES:
        lines += [Text(f"── hold {view.id} ".ljust(width, "─"), "dim"), *_details(view, now, width)]
        names.add(subject(view))
    return _fitted(lines, room)


def _row(view: HoldView, now: float, selected: bool) -> Text:
    mark = ("▸ " if selected else "  ", "bold")
    style = "bold" if selected else ""
    if view.state != "pending":
        return Text.assemble(mark, (f"{short_id(view)}  ", style), ended_text(view))
    tier = tier_text(view)
    tier.pad_right(max(0, 8 - len(tier.plain)))
    left = f"{short_id(view)}  {time_left(view.deadline - now):>9}  "
    return Text.assemble(mark, (left, style), tier, "  ", plain_line(view))


def _details(view: HoldView, now: float, width: int) -> Iterator[Text]:
    for label, text in in_short(view, now):
        wrapped = _wrapped(text, width - _LABEL)
        for at, line in enumerate(wrapped[:_ROW_LINES]):
            if at == _ROW_LINES - 1 and len(wrapped) > _ROW_LINES:
                line.truncate(width - _LABEL - 1)
                line.append("…", "bold yellow")
            yield Text.assemble((f"{'' if at else label:>{_LABEL - 2}}  ", "dim"), line)


def _fitted(lines: list[Text], room: int) -> list[Text]:
    if len(lines) <= room:
        return lines
    return [*lines[: max(0, room - 1)], Text("… enter shows the rest", "bold yellow")]


# Whole screens


def _whole(scene: Scene, now: float, room: int, width: int, names: set[str]) -> list[Text]:
    view, whole = scene.hold, scene.whole
    if view is None or whole is None or whole.digest != view.digest:
        return [Text(), Text("  reading the request …", "dim")]
    names.update((sight(view), subject(view)))
    head = _row(view, now, True)
    why = Text.assemble(("  rule ", "dim"), safe(view.rule, "bold"), "  ", safe(view.why))
    body = _laid(scene, whole, in_full(whole, _BODY), width)
    return [head, why, *_scrolled(scene, body, room - 2, width)]


def _policy(scene: Scene, room: int, width: int, names: set[str]) -> list[Text]:
    if not scene.status.policy_next:
        return [Text(), Text("  no changed policy waits to be taken", "dim")]
    names.add(f"policy {scene.status.policy_next}")
    head = Text(f"  policy {scene.status.policy_next[:8]} would take the place of {scene.status.policy[:8]}")
    change = scene.status.policy_change
    body = _laid(scene, scene.status.policy_next, map(_changed, change.split("\n")), width)
    return [head, *_scrolled(scene, body, room - 1, width)]


def _changed(line: str) -> Text:
    return safe(line, {"+": "green", "-": "red"}.get(line[:1], ""))


def _scrolled(scene: Scene, body: Sequence[Text], room: int, width: int) -> list[Text]:
    """A window on more lines than fit, under a line that says which they are."""
    size = max(1, room - 1)
    scene.scroll = min(scene.scroll, max(0, len(body) - size))
    start = scene.scroll
    label = f"── lines {start + 1}-{min(start + size, len(body))} of {len(body)} "
    return [Text(label.ljust(width, "─"), "dim"), *body[start : start + size]]


def _laid(scene: Scene, of: object, texts: Iterable[Text], width: int) -> Sequence[Text]:
    """All lines of a long text at this width; worked out once, since an agent chose how long it is."""
    if scene.laid is None or scene.laid[0] is not of or scene.laid[1] != width:
        scene.laid = (of, width, [line for text in texts for line in _folded(text, width)])
    return scene.laid[2]


def _folded(text: Text, width: int) -> Sequence[Text]:
    """A line cut at the edge and nowhere else, so that it is seen as it was written."""
    ends = list(accumulate(map(len, chop_cells(text.plain, max(2, width)))))
    return list(text.divide(ends[:-1])) if len(ends) > 1 else [text]


def _wrapped(text: Text, width: int) -> list[Text]:
    if len(text.plain) <= width and cell_len(text.plain) <= width:
        return [text]
    # Wrapping asks a console for its defaults only; this one writes nowhere.
    plain = Console(file=io.StringIO(), markup=False, emoji=False, highlight=False)
    return list(text.wrap(plain, max(1, width), overflow="fold"))
