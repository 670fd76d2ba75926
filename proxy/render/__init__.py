"""Values as people see them; agent text is made safe here, at the last moment, in one place."""

from proxy.render.comparing import change_line, replay_lines, step_line
from proxy.render.entries import entry_line
from proxy.render.grants import grant_lines, offer_lines
from proxy.render.holds import (
    ended_text,
    hold_lines,
    holds_lines,
    in_full,
    in_short,
    plain_line,
    preview_lines,
    short_id,
    tier_text,
    time_left,
    waiting_text,
)
from proxy.render.reports import report_lines
from proxy.render.results import (
    CaseResult,
    Explanation,
    case_lines,
    emit,
    explain_lines,
    finding_lines,
    printer,
    problem_lines,
    standing_line,
)
from proxy.render.text import ascii_host, is_punycode, safe, url_text, visible

__all__ = [
    "CaseResult",
    "Explanation",
    "ascii_host",
    "case_lines",
    "change_line",
    "emit",
    "ended_text",
    "entry_line",
    "explain_lines",
    "finding_lines",
    "grant_lines",
    "hold_lines",
    "holds_lines",
    "in_full",
    "in_short",
    "is_punycode",
    "offer_lines",
    "plain_line",
    "preview_lines",
    "printer",
    "problem_lines",
    "replay_lines",
    "report_lines",
    "safe",
    "short_id",
    "standing_line",
    "step_line",
    "tier_text",
    "time_left",
    "url_text",
    "visible",
    "waiting_text",
]
