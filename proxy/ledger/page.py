"""
Entries as a page for a person: one HTML file, printable, that loads nothing and runs nothing.

Pure. Whatever an agent wrote is escaped twice over: for HTML, and so that characters which
turn or hide text show themselves.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.chain import Entry, Head
from proxy.ledger.counted import counts
from proxy.ledger.siem import text
from proxy.signing import ProofError
from proxy.signing.statement import Statement

_STYLE: Final = """
body{font:14px/1.45 system-ui,sans-serif;margin:2rem;color:#1a1a1a}
h1{font-size:1.3rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem .5rem;border-bottom:1px solid #ddd}
th{background:#f4f4f4}
td{overflow-wrap:anywhere}
.no{color:#a00}.yes{color:#060}.wait{color:#850}
.dim{color:#666}
code{font-size:12px}
dl{margin:.2rem 0 0;display:grid;grid-template-columns:max-content 1fr;gap:0 .7rem}
dd{margin:0}
@media print{body{margin:0;font-size:11px}thead{display:table-header-group}tr{break-inside:avoid}}
"""
_LOADS: Final = "default-src 'none'; style-src 'unsafe-inline'"
_OPENS: Final = frozenset({"allowed", "watched", "approved", "counted"})
_WAITS: Final = frozenset({"pending"})
_HEADINGS: Final = ("No.", "Time (UTC)", "What", "Agent", "Asked for", "Decided by", "Why")

_ASKED: Final = ("agent", "method", "url", "says", "show", "rule", "rules")
_OPEN: Final = 10_000
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)

type Fields = Mapping[str, object]


@dataclass(slots=True)
class Asked:
    """
    What open holds are about, for answers and decisions on a page that leaves the hold itself out.

    Of more than 10,000 at once the oldest are forgotten.
    """

    _holds: dict[str, Fields] = field(default_factory=dict)

    def told(self, fields: Fields, *, admitted: bool) -> Fields:
        """Go on by one entry; its fields, with what was asked where nothing else on the page says it."""
        kind, hold = fields.get("kind"), str(fields.get("hold"))
        if kind in ("held", "edited"):
            # An edit is of what was shown before: what a rule shows of it is in no entry.
            asked = {name: fields[name] for name in _ASKED if name in fields}
            self._holds[hold] = {} if admitted else asked
            if len(self._holds) > _OPEN:
                del self._holds[next(iter(self._holds))]
            return fields
        if kind == "reviewed":
            return {**self._holds.get(hold, {}), **fields}
        if kind == "decided" and fields.get("decision") != "pending":
            return {**self._holds.pop(hold, {}), **fields}
        return fields


def shown(value: object) -> str:
    """A value as HTML; characters without a shape of their own by their number."""
    out = []
    for one in text(value):
        if one == "\n":
            out.append("<br>")
        elif unicodedata.category(one) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp"):
            out.append(f'<span class="no">‹U+{ord(one):04X}›</span>')
        else:
            out.append(html.escape(one, quote=True))
    return "".join(out)


def begin(said: Mapping[str, object], ledger: str) -> bytes:
    """Everything before the first entry; `said` are the filters, `ledger` the id in the genesis."""
    filters = ", ".join(f"{shown(name)}: {shown(value)}" for name, value in said.items()) or "all entries"
    heads = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_LOADS}">\n'
        f"<title>Ledger {shown(ledger)}</title><style>{_STYLE}</style></head><body>\n"
        "<h1>What was asked, and what was decided</h1>\n"
        f"<p>Ledger <code>{shown(ledger)}</code>, {filters}.</p>\n"
        f"<table><thead><tr>{heads}</tr></thead><tbody>\n"
    ).encode()


def row(entry: Entry, fields: Fields) -> bytes:
    """One entry."""
    word = text(fields.get("decision")) or text(fields.get("answer")) or text(fields.get("kind"))
    style = "yes" if word in _OPENS else "wait" if word in _WAITS or "decision" not in fields else "no"
    people = text(fields.get("reviewers") or fields.get("reviewer") or fields.get("by"))
    rule = text(fields.get("rules") or fields.get("rule"))
    kind = "" if word == fields.get("kind") else f'<br><span class="dim">{shown(fields.get("kind"))}</span>'
    cells = (
        f'{entry.seq}<br><code class="dim" title="{entry.hash.hex()}">{entry.hash.hex()[:12]}</code>',
        shown(text(fields.get("time")).replace("T", " ").removesuffix("Z")[:19]),
        f'<b class="{style}">{shown(word)}</b>{kind}',
        shown(fields.get("agent")),
        _asked(fields),
        "<br>".join(
            filter(
                None,
                (shown(people), _signed(fields), f'<span class="dim">{shown(rule)}</span>' if rule else ""),
            )
        ),
        shown(fields.get("why") or fields.get("reason")),
    )
    return ("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n").encode()


def _signed(fields: Fields) -> str:
    """Whether an answer carries a signature, from which account it came, and over which view."""
    if fields.get("kind") != "reviewed":
        return ""
    whose = shown(fields.get("person"))
    if "signature" not in fields:
        return f"{whose} not signed"
    try:
        statement = Statement.parse(text(fields.get("statement")).encode("utf-8", "replace"))
    except ProofError:
        return f"{whose} signed, but the statement cannot be read"
    view = statement.about.get("view")
    if type(view) is not str or not _HASH.fullmatch(view):
        return f"{whose} signed, over no view"
    return f'{whose} signed,<br>view <code class="dim" title="{view}">{view[:12]}</code>'


def _asked(fields: Fields) -> str:
    """The request, and the view of it that a reviewer had."""
    parts = [shown(f"{text(fields.get('method'))} {text(fields.get('url'))}".strip())]
    if fields.get("says"):
        parts.append(f"<br><b>{shown(fields['says'])}</b>")
    if fields.get("status") is not None:
        parts.append(f"answered {shown(fields['status'])}")
    parts.append("<br>".join(shown(one.words()) for one in counts(fields)))
    show = fields.get("show")
    if isinstance(show, list) and show:
        pairs = [pair for pair in show if isinstance(pair, list) and len(pair) == 2]
        parts.append("<dl>" + "".join(f"<dt>{shown(n)}</dt><dd>{shown(v)}</dd>" for n, v in pairs) + "</dl>")
    if fields.get("hold"):
        parts.append(f'<br><span class="dim">hold {shown(fields["hold"])}</span>')
    return "".join(parts)


def end(count: int, head: Head) -> bytes:
    """Everything after the last entry."""
    return (
        f"</tbody></table>\n<p>{count} entries are shown; the ledger has {head.seq + 1}, its head is "
        f"<code>{head.hash.hex()}</code>. This page is for reading. What verifies is the ledger, and an "
        "export of it as jsonl: <code>sluice ledger verify</code>.</p></body></html>\n"
    ).encode()
