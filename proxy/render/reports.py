"""What `sluice report` prints, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from rich.text import Text

from proxy.render.text import safe, visible
from proxy.report import Report, Tally, ranked

_NAME: Final = 28
_HEAD: Final = (
    f"{'':{_NAME}}{'holds':>7}{'median':>8}{'<2 s':>6}{'approved':>10}{'denied':>7}{'expired':>8}{'left':>6}"
)
_SHOWN: Final = 40


def report_lines(report: Report) -> Iterator[Text]:
    """All of it: how many holds and when, then by rule, agent and reviewer, then what need not be asked."""
    total = report.total
    if not total.holds:
        yield Text("no hold has ended" + (f"; {report.waiting} wait" if report.waiting else ""))
        yield from _reads(report)
        return
    yield Text.assemble(
        (f"{total.holds} hold{'s' if total.holds > 1 else ''}", "bold"),
        safe(f", {_day(report.first)} to {_day(report.last)}, UTC"),
    )
    yield from _remarks(report)
    yield from _reads(report)
    for title, tallies in (("rule", report.rules), ("agent", report.agents), ("reviewer", report.reviewers)):
        yield from _table(title, tallies)
    yield from _only_approved(report)
    yield from _spared(report)


def _remarks(report: Report) -> Iterator[Text]:
    total = report.total
    decided = total.approved + total.denied
    if total.quick:
        share = f"{total.quick} of {decided} decisions took less than 2 s: too quick to have been read"
        yield Text(share, "yellow")
    if report.waiting:
        yield Text(f"{report.waiting} more have not ended: they wait, or the gate was killed meanwhile")
    if not total.seconds.exact:
        yield Text("medians are of every second hold, or fewer: there are too many to keep them all")
    if report.dropped:
        yield Text(f"{report.dropped} were not followed: too many were open at once", "yellow")


def _reads(report: Report) -> Iterator[Text]:
    if report.counted:
        yield Text(f"{report.counted} reads beside were let through unasked and only counted")


def _table(title: str, tallies: Mapping[str, Tally]) -> Iterator[Text]:
    if not tallies:
        return
    yield Text()
    yield Text(title + _HEAD[len(title) :], "dim")
    rows = ranked(tallies)
    for name, tally in rows[:_SHOWN]:
        yield Text.assemble(safe(_fitting(name)), _counts(tally))
    if len(rows) > _SHOWN:
        yield Text(f"and {len(rows) - _SHOWN} more: --json has them all", "dim")


def _counts(tally: Tally) -> Text:
    line = Text(f"{tally.holds:>7}{_length(tally.seconds.median):>8}")
    line.append(f"{tally.quick or '-':>6}", "yellow" if tally.quick else "")
    for count, width in ((tally.approved, 10), (tally.denied, 7), (tally.expired, 8), (tally.abandoned, 6)):
        line.append(f"{_share(count, tally.holds):>{width}}")
    return line


def _only_approved(report: Report) -> Iterator[Text]:
    found = [(rule, tally) for rule, tally in ranked(report.rules) if tally.only_approved]
    if not found:
        return
    yield Text()
    yield Text("only ever approved: is the question worth asking?", "bold")
    for rule, tally in found[:_SHOWN]:
        yield Text.assemble("  ", safe(_fitting(rule)), f"{tally.approved} of {tally.holds}")


def _spared(report: Report) -> Iterator[Text]:
    granted = [(rule, tally) for rule, tally in ranked(report.rules) if tally.spared]
    if granted:
        yield Text()
        yield Text("prompts fewer with a grant for 10 minutes after each approval", "bold")
        yield Text("  (the same agent, method, host and path)", "dim")
    for rule, tally in granted[:_SHOWN]:
        amiss = f", of which {tally.amiss} were denied" if tally.amiss else ""
        yield Text.assemble("  ", safe(_fitting(rule)), f"{tally.spared} of {tally.holds}{amiss}")
    limits = [(rule, *limit) for rule, _ in ranked(report.rules) for limit in report.limits(rule)]
    if limits:
        yield Text()
        yield Text("prompts fewer with a limit: nothing below it was ever denied", "bold")
    for rule, (name, unit), one in limits[:_SHOWN]:
        least = f"{'at least ' if not one.exact else ''}{one.spared}"
        limit = f", held from {name} {one.least_denied}{f' {unit}' if unit else ''} on"
        yield Text.assemble("  ", safe(_fitting(rule)), f"{least} of {report.rules[rule].holds}", safe(limit))


def _share(count: int, holds: int) -> str:
    return f"{100 * count / holds:.0f} %" if count else "-"


def _length(seconds: float | None) -> str:
    """A time to decide in the unit that fits."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def _day(time: str) -> str:
    return time[:16].replace("T", " ")


def _fitting(name: str) -> str:
    shown = visible(name)
    return f"{shown:{_NAME}}" if len(shown) < _NAME else f"{shown[: _NAME - 2]}… "
