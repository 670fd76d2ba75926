"""The ledger's entries as `sluice ledger show` prints them: a line each, what matters first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.text import Text

from proxy.ledger.counted import counts
from proxy.render.text import safe, url_text

_OPENS: Final = frozenset({"allowed", "watched", "approved"})
_COUNTS: Final = 3

# Said elsewhere on the line, or of use to programs alone (`--json` has everything).
_UNSAID: Final = frozenset(
    {
        *(
            "seq",
            "time",
            "kind",
            "prev",
            "nonce",
            "id",
            "hold",
            "request",
            "payload",
            "encrypted",
            "microseconds",
            "status",
        ),
        *("decision", "effect", "by", "reviewers", "rule", "rules", "why", "policy", "deadline", "show"),
        *("method", "url", "host", "operation", "agent", "credential"),
        *("consequence", "body", "methods", "upgrade", "recipients"),
        *("grants", "same", "contents"),
        *("statement", "signature"),
        *("requests", "reads", "until"),
    }
)


def entry_line(entry: Mapping[str, object]) -> Text:
    """Number, time, which request or hold, what happened, to what, by which rule or person, why."""
    decision = entry.get("decision")
    word = str(decision or entry.get("kind", "?"))
    style = "" if decision is None else "green" if word in _OPENS else "red"
    time = str(entry.get("time", ""))[:19].replace("T", " ")
    id = str(entry.get("hold") or entry.get("id") or "")[:6]
    line = Text(f"{entry.get('seq', '?')!s:>6}  ", "dim")
    line.append_text(Text.assemble(safe(f"{time}  "), safe(f"{id:<6}  ", "dim"), safe(f"{word:<11}", style)))
    if url := entry.get("url"):
        line.append_text(Text.assemble(" ", safe(f"{entry.get('method', '')} "), url_text(str(url))))
    if entry.get("microseconds") is not None:
        line.append_text(_outcome(entry))
    for said in (_decider(entry), _counted(entry), _rest(entry)):
        if said:
            line.append_text(safe(f"  {said}", "dim"))
    if entry.get("signature"):
        line.append("  signed", "dim")
    return line


def _outcome(entry: Mapping[str, object]) -> Text:
    """What upstream answered, and how long it took."""
    status, micro = entry.get("status"), entry.get("microseconds")
    seconds = f"{micro / 1_000_000:.3f} s" if isinstance(micro, int) else "no time"
    return safe(f" {'' if status is None else f'{status} '}in {seconds}")


def _counted(entry: Mapping[str, object]) -> str:
    """How many reads, and whose most of them were."""
    found = sorted(counts(entry), key=lambda one: -one.requests)
    if not found:
        return ""
    most = "; ".join(one.words() for one in found[:_COUNTS])
    more = f"; and {len(found) - _COUNTS} more" if len(found) > _COUNTS else ""
    return f"{sum(one.requests for one in found)} reads: {most}{more}"


def _decider(entry: Mapping[str, object]) -> str:
    """Which rule, and where it was not the rule that decided, who."""
    people = entry.get("reviewers")
    names = ", ".join(map(str, people)) if isinstance(people, list | tuple) else ""
    rule, by = str(entry.get("rule") or ""), str(entry.get("by") or "")
    who = "" if by in ("", "rule") else f"by {by}{f' {names}' if names and by != 'deadline' else ''}"
    if names and by == "deadline":
        who += f", approved so far by {names}"
    why = "" if by == "rule" else str(entry.get("why") or "")
    return "; ".join(part for part in (rule, who, why) if part)


def _rest(entry: Mapping[str, object]) -> str:
    rest = {
        key: value for key, value in entry.items() if key not in _UNSAID and value not in (None, "", [], {})
    }
    return "  ".join(f"{key}={value}" for key, value in rest.items())
