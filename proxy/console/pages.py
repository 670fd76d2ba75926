"""
Screens on one thing: a whole request, a changed policy, the rule of a grant, holds that are alike.

Each gives its lines, and adds to `names` what of it can be decided about: what stands on the
screen in full, and nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Final

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from proxy.console.groups import Group
from proxy.console.rows import ASKING, item
from proxy.console.scene import Scene, sight, subject
from proxy.render import ended_text, in_full, plain_line, safe, short_id, tier_text, time_left, waiting_text
from proxy.wire import HoldView

_BODY: Final = 64 * 1024
_SHARED_LINES: Final = 2
_INDENT: Final = 6
_NOTICE: Final = 400


def row(view: HoldView, now: float, mark: str, style: str = "") -> Text:
    """A hold as one line: its id, how long it waits still, how bad it is, what it wants."""
    if view.state not in ASKING:
        return Text.assemble((mark, "bold"), (f"{short_id(view)}  ", style), ended_text(view))
    tier = tier_text(view)
    tier.pad_right(max(0, 8 - len(tier.plain)))
    left = f"{short_id(view)}  {time_left(view.deadline - now):>9}  "
    return Text.assemble((mark, "bold"), (left, style), tier, "  ", waiting_text(view), plain_line(view))


def whole(scene: Scene, now: float, room: int, width: int, names: set[str]) -> list[Text]:
    """A whole request, as it would leave."""
    view, found = scene.hold, scene.whole
    if view is None or found is None or found.digest != view.digest:
        return [Text(), Text("  reading the request …", "dim")]
    names.update((sight(view), subject(view)))
    why = Text.assemble(("  rule ", "dim"), safe(view.rule, "bold"), "  ", safe(view.why))
    body = _laid(scene, found, in_full(found, _BODY), width)
    return [row(view, now, "▸ ", "bold"), why, *_scrolled(scene, body, room - 2, width)[0]]


def policy(scene: Scene, room: int, width: int, names: set[str]) -> list[Text]:
    """A changed policy, by its difference from the one in force; or why it does not load."""
    if problems := scene.status.policy_error:
        head = Text("  the changed policy does not load; the one in force stays until it does")
        body = _laid(scene, problems, map(safe, problems.split("\n")), width)
        return [head, *_scrolled(scene, body, room - 1, width)[0]]
    if not scene.status.policy_next:
        return [Text(), Text("  no changed policy waits to be taken", "dim")]
    names.add(f"policy {scene.status.policy_next}")
    head = Text(f"  policy {scene.status.policy_next[:8]} would take the place of {scene.status.policy[:8]}")
    change = scene.status.policy_change
    body = _laid(scene, scene.status.policy_next, map(_changed, change.split("\n")), width)
    return [head, *_scrolled(scene, body, room - 1, width)[0]]


def _changed(line: str) -> Text:
    return safe(line, {"+": "green", "-": "red"}.get(line[:1], ""))


def like(scene: Scene, now: float, room: int, width: int, names: set[str]) -> list[Text]:
    """The rule that a grant would be, its limits, and what it leaves open."""
    asked = scene.like
    if asked is None or asked.offer is None:
        return [Text(), Text("  reading what would be like it …", "dim")]
    head = [
        row(scene.rows.get(asked.view.id, asked.view), now, "▸ ", "bold"),
        Text.assemble("  a approves it, and whatever this rule allows ", (asked.limits, "bold yellow")),
        Text.assemble(("  left open: ", "dim"), safe(asked.offer.free, "yellow")),
    ]
    lines = [(at, line) for at, text in enumerate(asked.lines) for line in _folded(safe(text), width)]
    shown, start, end = _scrolled(scene, [line for _, line in lines], room - len(head), width)
    if len(head) <= room:
        names.add(f"limits {asked.limits}")
    for at in {at for at, _ in lines[start:end]}:
        pieces = [number for number, (of, _) in enumerate(lines) if of == at]
        if start <= pieces[0] and pieces[-1] < end:
            names.add(asked.name(at))
    return [*head, *shown]


# Alike holds together


def group(scene: Scene, now: float, room: int, width: int, names: set[str]) -> list[Text]:
    """Alike holds, each with all in which it differs; as many as fit, the one under the cursor among them."""
    found = scene.group
    assert found is not None
    if not found.ready:
        return [Text(), Text(f"  reading {len(found.whole)} of {len(found.views)} requests …", "dim")]
    head = list(_head(found, width))
    space = room - len(head) - 1
    blocks = [_block(scene, found, at, now, width) for at in range(len(found.views))]
    start, end = _page([len(block) for block in blocks], found.at, space)
    found.page = end - start
    lines: list[Text] = []
    for view, block in zip(found.views[start:end], blocks[start:end], strict=True):
        lines += block
        if len(lines) <= space:
            names.add(item(view))
    where = f"── {start + 1}-{end} of {len(blocks)}, {len(found.chosen)} chosen "
    return [*head, Text(where.ljust(width, "─"), "dim"), *lines[: max(0, space)]]


def _head(found: Group, width: int) -> Iterator[Text]:
    first = found.views[0]
    yield Text.assemble(
        (f"  {len(found.views)} alike  ", "bold"), safe(first.rule, "bold"), "  ", safe(first.why)
    )
    yield Text.assemble(
        ("  agent ", "dim"), safe(first.agent[:60]), ("  does ", "dim"), safe(first.operation[:200])
    )
    shared = ", ".join(f"{name} {value}" for name, value in found.shared)
    if shared:
        lines = wrapped(Text.assemble(("  in all  ", "dim"), safe(shared[:400])), width)
        yield from lines[:_SHARED_LINES]


def _block(scene: Scene, found: Group, at: int, now: float, width: int) -> list[Text]:
    view = found.views[at]
    mark = ("▸" if at == found.at else " ") + ("[ ] " if view.id in found.out else "[x] ")
    live = scene.rows.get(view.id)
    alone = found.alone(view.id)
    lines = [row(live or _gone(view), now, mark, "bold" if at == found.at else "")]
    for notice in view.notices:
        told = safe(f"{notice[:_NOTICE]}", "bold magenta")
        lines += [Text.assemble(" " * _INDENT, line) for line in wrapped(told, width - _INDENT)]
    if alone:
        lines.append(Text.assemble(" " * _INDENT, (f"[{alone}]", "bold yellow")))
        return lines
    for name, value in found.rows(view.id):
        for line in wrapped(Text.assemble(safe(name, "cyan"), "  ", safe(value)), width - _INDENT):
            lines.append(Text.assemble(" " * _INDENT, line))
    return lines


def _gone(view: HoldView) -> HoldView:
    return replace(view, state="ended", cause="it waits no more")


def _page(heights: Sequence[int], at: int, room: int) -> tuple[int, int]:
    """The page of blocks that the cursor is on: pages are filled from the first block on."""
    start = used = 0
    for number, height in enumerate(heights):
        if number > start and used + height > room:
            if at < number:
                return start, number
            start, used = number, 0
        used += height
    return start, len(heights)


# Long texts


def _scrolled(scene: Scene, body: Sequence[Text], room: int, width: int) -> tuple[list[Text], int, int]:
    """A window on more lines than fit, under a line that says which they are; where it begins and ends."""
    size = max(1, room - 1)
    scene.scroll = min(scene.scroll, max(0, len(body) - size))
    start, end = scene.scroll, min(scene.scroll + size, len(body))
    label = f"── lines {start + 1}-{end} of {len(body)} "
    shown = end if room > 1 else start
    return [Text(label.ljust(width, "─"), "dim"), *body[start:end]], start, shown


def _laid(scene: Scene, of: object, texts: Iterable[Text], width: int) -> Sequence[Text]:
    """All lines of a long text at this width; worked out once, since an agent chose how long it is."""
    if scene.laid is None or scene.laid[0] is not of or scene.laid[1] != width:
        scene.laid = (of, width, [line for text in texts for line in _folded(text, width)])
    return scene.laid[2]


def _folded(text: Text, width: int) -> Sequence[Text]:
    """A line cut at the edge and nowhere else, so that it is seen as it was written."""
    ends = list(accumulate(map(len, chop_cells(text.plain, max(2, width)))))
    return list(text.divide(ends[:-1])) if len(ends) > 1 else [text]


def wrapped(text: Text, width: int) -> list[Text]:
    """A text in lines of at most so many cells, broken between words."""
    if len(text.plain) <= width and cell_len(text.plain) <= width:
        return [text]
    # Wrapping asks a console for its defaults only; this one writes nowhere.
    plain = Console(file=io.StringIO(), markup=False, emoji=False, highlight=False)
    return list(text.wrap(plain, max(1, width), overflow="fold"))
