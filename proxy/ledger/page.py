"""
Entries as a page for a person: one HTML file, printable, that loads nothing and runs nothing.

Pure. Whatever an agent wrote is escaped twice over: for HTML, and so that characters which
turn or hide text show themselves.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Mapping
from typing import Final

from proxy.chain import Entry, Head
from proxy.ledger.counted import counts
from proxy.ledger.siem import text

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

type Fields = Mapping[str, object]


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
        "<br>".join(filter(None, (shown(people), f'<span class="dim">{shown(rule)}</span>' if rule else ""))),
        shown(fields.get("why") or fields.get("reason")),
    )
    return ("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n").encode()


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
