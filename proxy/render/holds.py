"""
Holds as people read them: one plain line, everything in short, or the whole request.

Our own words come first and the agent's last, and what the agent wrote is cut to a length, so
that no text of its choosing pushes rule, why or time out of sight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from proxy.render.edits import difference_lines, edit_rows, whole_difference
from proxy.render.text import is_punycode, lines, safe, url_parts, url_text
from proxy.wire import HoldView, ReviewView

_FIELD: Final = 400
_SHOWN: Final = 5
_FIRSTS: Final = {
    "host": "uses this host",
    "operation": "does this here",
    "recipient": "reaches one of these recipients",
    "credential": "uses this credential here",
}
_ASKING: Final = frozenset({"pending", "deferred"})
_AWAY: Final = {
    "unattended": "its agent has gone; it can be approved when the same request comes again",
    "spendable": "approved; it is sent when its agent asks again",
}
_TIERS: Final = {"low": "green", "medium": "yellow", "high": "red", "critical": "bold red"}

type Row = tuple[str, Text]
"""A label of ours and what stands beside it; no label continues the row above."""


def short_id(view: HoldView) -> str:
    """Enough of a hold's id to name it."""
    return view.id[:6]


def time_left(seconds: float) -> str:
    """Seconds as a person says them: ``45 s``, ``4:05``, ``2 h 05 m``."""
    left = max(0, int(seconds))
    if left < 60:
        return f"{left} s"
    minutes, rest = divmod(left, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} m" if hours < 48 else f"{hours // 24} days"


def plain_line(view: HoldView) -> Text:
    """What the agent wants, in one line of plain words."""
    _, authority, rest = url_parts(view.url)
    mark = Text("[punycode host] ", "bold yellow") if is_punycode(authority) else Text()
    if view.says:
        return Text.assemble(mark, _cut(view.says))
    path, query, _ = rest.partition("?")
    return Text.assemble(mark, _cut(f"{view.method} to {authority}{path}{query and '?…'}"))


def tier_text(view: HoldView) -> Text:
    """How bad it is, as the rule's author sees it."""
    return Text(view.tier if view.tier in _TIERS else "?", _TIERS.get(view.tier, ""))


def ended_text(view: HoldView) -> Text:
    """How a hold ended: ``ended: abandoned: the agent left``; empty while it waits for an answer."""
    if view.state in _ASKING:
        return Text()
    if view.state in _AWAY:
        return Text(_AWAY[view.state], "yellow")
    who = f" by {', '.join(view.by)}" if view.by else ""
    why = f": {view.cause}" if view.cause else ""
    return Text.assemble(("ended: ", "bold"), _cut(f"{view.state}{who}{why}"))


def waiting_text(view: HoldView) -> Text:
    """What is special about how a hold waits, before what it wants; empty where nothing is."""
    marks = []
    if view.notices:
        marks.append(("! ", "bold magenta"))
    if view.window:
        marks.append(("goes unless stopped: ", "bold yellow"))
    if view.state == "deferred":
        marks.append(("will ask again: ", "yellow"))
    elif view.attempts > 1:
        marks.append((f"attempt {view.attempts}: ", "yellow"))
    return Text.assemble(*marks)


def holds_lines(views: Sequence[HoldView], now: float) -> Iterator[Text]:
    """`sluice holds`: a line for each, or one that says there are none."""
    if not views:
        yield Text("nothing is waiting")
    for view in views:
        left = time_left(view.deadline - now)
        yield Text.assemble(
            f"{short_id(view)}  {left:>8}  ",
            _padded(tier_text(view), 8),
            "  ",
            waiting_text(view),
            plain_line(view),
        )


def in_short(view: HoldView, now: float) -> Iterator[Row]:
    """What a reviewer needs to decide, row by row; first what could make the answer a wrong one."""
    for notice in view.notices:
        yield "notice", safe(notice[:_FIELD], "bold magenta")
    yield from edit_rows(view)
    yield "wants", plain_line(view)
    if view.state not in _ASKING:
        yield "", ended_text(view)
    yield "rule", Text.assemble(safe(view.rule, "bold"), safe(_others(view)), "  ", _risk(view))
    yield "why", _cut(view.why)
    if view.blast:
        yield "reach", _reach(view)
    if view.first_seen:
        yield "first", Text.assemble(("for the first time this agent ", "yellow"), _firsts(view))
    for name in view.unknown:
        yield (
            "note",
            Text.assemble(
                ("held because a field of rule ", "yellow"), safe(name), (" could not be read", "yellow")
            ),
        )
    yield "answers", _answers(view)
    if view.confirm and view.state in _ASKING:
        yield "", Text.assemble(("to approve it, its ", "yellow"), safe(" is typed: ".join(view.confirm)))
    yield "time left", _time(view, now)
    for name, values in view.show.items():
        yield (
            "",
            Text.assemble(safe(name[:80], "cyan"), "  ", _cut(", ".join(values) if values else "(absent)")),
        )
    for line in view.differs:
        yield "", safe(line[:_FIELD], "magenta")
    yield "request", Text.assemble(safe(view.method[:40]), " ", url_text(_cut_plain(view.url)))
    yield "agent", Text.assemble(_cut(view.agent or "nobody can say"), _attempts(view))
    yield "digest", Text(view.digest[:16], "dim")


def in_full(view: HoldView, limit: int | None = None) -> Iterator[Text]:
    """The request as it would leave: line, headers, `limit` characters of body; what is left out is said."""
    yield from whole_difference(view)
    yield Text.assemble(safe(view.method, "bold"), " ", url_text(view.url))
    for name, value in view.headers:
        yield Text.assemble(safe(name, "cyan"), ": ", safe(value))
    yield Text()
    shown = view.body[:limit]
    for line in lines(shown) if shown else ():
        yield safe(line)
    if len(shown) < len(view.body):
        rest = f"{len(view.body) - len(shown):,} characters more: sluice show {short_id(view)}"
        yield Text(f"[{rest}]", "bold yellow")
    if view.body_note:
        yield Text.assemble(("[", "bold yellow"), safe(view.body_note, "bold yellow"), ("]", "bold yellow"))


def preview_lines(view: HoldView) -> Iterator[Text]:
    """An edit before it is confirmed: the difference, what it amounts to, and what it needs."""
    yield Text()
    yield from difference_lines(view.difference)
    yield Text()
    yield Text.assemble(f"hold {short_id(view)}, edited: ", plain_line(view))
    if view.state != "pending":
        yield Text("it is sent once you confirm it")
        return
    of = f" of {' or '.join(view.reviewers)}" if view.reviewers else ""
    yield safe(f"rule '{view.rule}' then needs {view.approvals_needed} more{of}: {view.why}", "yellow")


def hold_lines(view: HoldView, now: float) -> Iterator[Text]:
    """`sluice show`: everything of one hold."""
    yield Text(f"hold {view.id}", "bold")
    for label, text in in_short(view, now):
        yield Text.assemble((f"{label:>10}  ", "dim"), text)
    for review in view.reviews:
        yield Text.assemble((f"{'answer':>10}  ", "dim"), _review(review))
    yield Text()
    yield from in_full(view)


def _review(review: ReviewView) -> Text:
    said = "approves" if review.approves else "denies"
    return Text.assemble(
        safe(review.reviewer), f" {said}", safe(f": {review.reason}" if review.reason else "")
    )


def _risk(view: HoldView) -> Text:
    undone = {None: "", True: ", can be undone", False: ", cannot be undone"}[view.reversible]
    return Text.assemble(tier_text(view), undone)


def _reach(view: HoldView) -> Text:
    """``500 recipients, 90.00 EUR``; counts are what the request says, and at least that."""
    counted = [
        f"{', '.join(view.blast[name][:_SHOWN])} {name}"
        for name in ("recipients", "records")
        if name in view.blast
    ]
    amounts = [", ".join(view.blast[name][:_SHOWN]) for name in ("amount", "currency") if name in view.blast]
    return _cut("; ".join([*counted, *(["amount " + " ".join(amounts)] if amounts else [])]))


def _firsts(view: HoldView) -> Text:
    return safe(", ".join(_FIRSTS.get(name, name) for name in view.first_seen))


def _answers(view: HoldView) -> Text:
    said = ", ".join(review.reviewer for review in view.reviews if review.approves)
    approved = f"approved by {said}" if said else ""
    if view.state not in _ASKING:
        against = ", ".join(review.reviewer for review in view.reviews if not review.approves)
        denied = f"denied by {against}" if against else ""
        return safe("; ".join(filter(None, (approved, denied))) or "none")
    if view.window:
        return Text("none needed")
    need = f"{view.approvals_needed} more needed" if said else f"{view.approvals_needed} needed"
    of = f" of {' or '.join(view.reviewers)}" if view.reviewers else ""
    return safe(f"{need}{of}{approved and '; '}{approved}")


def _attempts(view: HoldView) -> str:
    waiting = "" if view.agent_waiting else ", is not connected now"
    return f"{waiting}, attempt {view.attempts}" if view.attempts > 1 else waiting


def _time(view: HoldView, now: float) -> Text:
    left = time_left(view.deadline - now)
    if view.state not in _ASKING:
        return Text("over")
    if view.window:
        return Text.assemble(
            (f"goes in {left} unless it is stopped", "bold yellow"), ": d stops it, a lets it go"
        )
    asks = ("; its agent was told to ask again", "yellow")
    return Text.assemble(left, asks) if view.state == "deferred" else Text(left)


def _others(view: HoldView) -> str:
    others = [name for name in view.rules if name != view.rule]
    return f" and {', '.join(others)}" if others else ""


def _padded(text: Text, width: int) -> Text:
    padded = text.copy()
    padded.pad_right(max(0, width - len(text.plain)))
    return padded


def _cut(text: str) -> Text:
    """Agent text of a length that leaves room for ours; what is left out is counted."""
    shown = safe(text[:_FIELD])
    if len(text) > _FIELD:
        shown.append(f" [{len(text) - _FIELD:,} characters more]", "bold yellow")
    return shown


def _cut_plain(text: str) -> str:
    return text if len(text) <= _FIELD else f"{text[:_FIELD]}…"
