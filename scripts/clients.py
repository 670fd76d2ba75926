"""
Hold real HTTP clients for long, release them, and write docs/clients.md.

    .venv/bin/python scripts/clients.py [--seconds 90] [--only NAME]... [--no-fetch] [--keep DIR] [--out FILE]

Every client makes one request through a gate that holds it, all at the same time; after so many seconds
a reviewer approves what still waits. What arrives upstream is counted there. Clients that the
machine lacks are fetched from the package registries into a folder that is thrown away (`--keep`
keeps it for the next time). Exit 1 where a client was answered other than once, took an interim
answer for the answer, was sent other than once, or did not wait although it can.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
import tempfile
from pathlib import Path
from typing import Final

from clients.catalogue import ROWS, Row
from clients.result import Result, broken, table
from clients.running import ran
from clients.tools import Missing, Tools

OUT: Final = Path(__file__).resolve().parent.parent / "docs" / "clients.md"

PAGE: Final = """\
# Which clients wait

Written by `make clients` ({when}); do not edit. {many} clients, all at once, each with one request through a
gate that held it for {seconds:g} s; then a reviewer approved those that still waited. Python {python} and
{system}.

*Interim* is the answer under 200 with which the gate kept it waiting, every 2 s: see
[keeping clients waiting](running.md#keeping-clients-waiting). *Answered* counts the answers that the
client's own program got, *sent* the requests that arrived upstream. A client that gave up was never sent:
an approval that came later had nobody to act for. One that gave up and asked again for the same by itself
has joined its own hold again.

{table}

A timeout of 5 s is a read timeout, as the client has it: `timeout=` of requests, httpx, urllib and the SDKs,
`sock_read` of aiohttp, `headersTimeout` of undici, `timeout` of Node's http and of axios,
`ResponseHeaderTimeout` of Go, `timeout()` and `setReadTimeout()` of Java, `--speed-time` of curl,
`--read-timeout` of wget.
"""


def page(results: list[Result], seconds: float) -> str:
    """docs/clients.md."""
    return PAGE.format(
        when=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        many=sum(not result.missing for result in results),
        seconds=seconds,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
        table=table(results),
    )


def chosen(names: list[str]) -> list[Row]:
    """The rows of these tools or kinds; all of them where none is named."""
    return [row for row in ROWS if not names or row.tool in names or row.kind in names]


def main() -> int:
    """See the module's words."""
    parser = argparse.ArgumentParser(description="Hold real HTTP clients, release them, say what they saw.")
    parser.add_argument("--seconds", type=float, default=90.0, help="how long they wait (default: 90)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a tool or a kind")
    parser.add_argument("--no-fetch", action="store_true", help="only what this environment has")
    parser.add_argument("--keep", type=Path, help="where clients are kept for the next time")
    parser.add_argument("--out", type=Path, help=f"the page to write (default: {OUT.name}, of a full run)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-clients-") as scratch:
        kept = asked.keep or Path(scratch, "tools")
        kept.mkdir(parents=True, exist_ok=True)
        try:
            tools = Tools(kept.resolve(), fetches=not asked.no_fetch)
            results = ran(chosen(asked.only), tools, asked.seconds, Path(scratch))
        except Missing as why:
            print(f"clients: error: {why}", file=sys.stderr)
            return 1
    print(table(results))
    out = asked.out or (OUT if asked.seconds >= 90 and not asked.only and not asked.no_fetch else None)
    if out is not None:
        out.write_text(page(results, asked.seconds))
    wrong = [(result, why) for result in results for why in broken(result, asked.seconds)]
    for result, why in wrong:
        row = result.row
        print(f"clients: error: {row.tool} {row.kind}, {row.setting}: {why}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
