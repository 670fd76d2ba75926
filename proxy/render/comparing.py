"""What `sluice policy diff` and `replay` print, a line at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from rich.text import Text

from proxy.changes import Change
from proxy.policy.difference import Step, Way
from proxy.render.text import safe, url_text
from proxy.replay import Replay, Tally

_STYLES: Final = {Way.LOOSER: "red", Way.BOTH: "yellow", Way.STRICTER: "green", Way.OTHER: "dim"}
_WIDTH: Final = 10


def step_line(step: Step) -> Text:
    """``looser    refunds-wait: form.amount above 5000 -> 9000``."""
    word = f"{step.way:<{_WIDTH}}" if len(step.way) < _WIDTH else f"{step.way} "
    return Text.assemble((word, _STYLES[step.way]), safe(f"{step.rule}: {step.what}"))


def change_line(change: Change) -> Text:
    """``looser    hold -> allow  POST https://…  (refunds-wait -> default)``."""
    way = change.way or Way.OTHER
    rules = f"  ({change.before_rule or 'none'} -> {change.after_rule or 'none'})"
    return Text.assemble(
        (f"{way:<{_WIDTH}}", _STYLES[way]),
        f"{change.before} -> {change.after}  ",
        safe(f"{change.method} "),
        url_text(change.url),
        safe(rules, "dim"),
    )


def replay_lines(found: Replay) -> Iterator[Text]:
    """The holds of then and of now, then by rule and by agent, then what could not be judged again."""
    yield Text(
        f"{found.judged} requests judged again: {found.then} holds then, {found.now} now for certain;"
        f" {found.total.added} added, {found.total.removed} removed,"
        f" {found.total.unknown} that nobody can say"
    )
    yield from _table("by rule", found.by_rule)
    yield from _table("by agent", found.by_agent)
    for why, count in sorted(found.unjudged.items()):
        yield safe(f"{count} not judged again: {why}")


def _table(title: str, tallies: Mapping[str, Tally]) -> Iterator[Text]:
    if not tallies:
        return
    width = min(max(map(len, tallies)), 60)
    yield Text(f"{title:<{width + 2}}    added  removed  unknown", "dim")
    for name, tally in tallies.items():
        yield safe(
            f"  {name or 'nobody knows':<{width}}  {tally.added:>7}  {tally.removed:>7}  {tally.unknown:>7}"
        )
