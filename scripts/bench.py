"""
Measure Sluice beside stock mitmdump and no proxy at all, and write docs/bench.md.

    .venv/bin/python scripts/bench.py [--quick] [--only gate|ledger] [--out FILE]

Everything is measured in one run on one machine. The sides take turns, round after round; what
is compared is compared within a round, and the table has the medians. About eight minutes, a
minute with --quick. With --only the other half of the page stays as it was.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import sides
from bench.agent import BrokenError, Way
from bench.decide import decided
from bench.halves import page
from bench.holds import approvals, waiting
from bench.ledger import kept
from bench.ledger_report import section
from bench.load import Loaded
from bench.machine import described
from bench.report import DIRECT, MANY, SCHEMES, SIDES, SLUICE, STOCK, STRICT, Found, Held, written

OUT: Final = Path(__file__).resolve().parent.parent / "docs" / "bench.md"


@dataclass(frozen=True, slots=True)
class Plan:
    """
    How much is measured; times in seconds, `approvals` in each round, `decisions` of each kind.

    Each way of writing the ledger for `writing` seconds in each round, and one of so many `entries` is read.
    """

    rounds: int
    warm: float
    seconds: float
    alone: float
    approvals: int
    holds: int
    watched: float
    settled: float
    decisions: int
    writing: float
    entries: int


PLANS: Final = {
    "full": Plan(5, 0.5, 3.0, 1.0, 100, 2_000, 5.0, 2.0, 5_000, 5.0, 1_000_000),
    "quick": Plan(2, 0.2, 0.7, 0.4, 30, 300, 1.0, 0.5, 2_000, 0.7, 100_000),
    "smoke": Plan(1, 0.05, 0.15, 0.1, 3, 20, 0.2, 0.1, 50, 0.2, 3_000),
}


@dataclass(slots=True)
class Bench:
    """One run: what is measured, where it keeps its files, and what has been found so far."""

    plan: Plan
    folder: Path
    upstream: sides.Upstream
    traffic: defaultdict[tuple[str, int, str], list[Loaded]] = field(
        default_factory=lambda: defaultdict(list)
    )
    alone: defaultdict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    held: dict[str, Held] = field(default_factory=dict)

    def way(self, scheme: str, proxy: sides.Proxy | None) -> Way:
        """How an agent gets to upstream."""
        port = None if proxy is None else proxy.port
        if scheme == "HTTP":
            return Way(self.upstream.plain, port, None)
        return Way(self.upstream.tls, port, str(self.upstream.ca if proxy is None else proxy.ca))

    def measure_traffic(self) -> int:
        """Every side in every round; returns how many entries the ledgers hold afterwards."""
        with ExitStack() as stack:
            ours = stack.enter_context(sides.sluice("fast", self.folder, self.upstream))
            proxies: dict[str, sides.Proxy | None] = {
                DIRECT: None,
                STOCK: stack.enter_context(sides.mitmdump(self.folder, self.upstream)),
                SLUICE: ours,
                STRICT: stack.enter_context(
                    sides.sluice("strict", self.folder, self.upstream, "--record", "strict")
                ),
            }
            for at in range(self.plan.rounds):
                say(f"traffic, round {at + 1} of {self.plan.rounds}")
                for scheme, connections, side in self._turns(at):
                    self._run(scheme, connections, side, proxies[side])
                for scheme in SCHEMES:
                    self.alone[scheme].append(approvals(ours, self.way(scheme, ours), self.plan.approvals))
        return sum(sides.entries(self.folder / name) for name in ("fast", "strict"))

    def _turns(self, at: int) -> Iterator[tuple[str, int, str]]:
        """One round; every other one goes the other way round, so that nobody is always first."""
        order = SIDES if at % 2 == 0 else SIDES[::-1]
        return ((scheme, many, side) for scheme in SCHEMES for many in (MANY, 1) for side in order)

    def _run(self, scheme: str, connections: int, side: str, proxy: sides.Proxy | None) -> None:
        seconds = self.plan.seconds if connections > 1 else self.plan.alone
        warm = self.plan.warm if connections > 1 else self.plan.warm / 2
        pid = None if proxy is None else proxy.pid
        run = sides.load(self.way(scheme, proxy), connections, warm, seconds, pid)
        self.traffic[scheme, connections, side].append(run)

    def measure_holds(self, scheme: str) -> None:
        """Many holds and approvals among them; then approvals under full load; in fresh proxies."""
        plan = self.plan
        say(f"{plan.holds} holds, {scheme}")
        with (
            sides.sluice(f"holds-{scheme}", self.folder, self.upstream) as proxy,
            waiting(
                proxy, self.way(scheme, proxy), plan.holds, settled=plan.settled, watched=plan.watched
            ) as kept,
        ):
            way = self.way(scheme, proxy)
            among = [approvals(proxy, way, plan.approvals) for _ in range(plan.rounds)]
        with (
            sides.sluice(f"busy-{scheme}", self.folder, self.upstream) as proxy,
            sides.busy(self.folder, self.way(scheme, proxy), MANY),
        ):
            way, count = self.way(scheme, proxy), max(1, plan.approvals // 5)
            busy = [approvals(proxy, way, count) for _ in range(plan.rounds)]
        self.held[scheme] = Held(self.alone[scheme], among, busy, kept)


def measured(plan: Plan, only: str | None) -> tuple[str | None, str | None]:
    """Run the bench: what the page says of the gate, and of the ledger; None where it was not asked."""
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    gate = ledger = None
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name:
        folder = Path(name)
        machine = described(folder)
        if only != "ledger":
            gate = written(_gate(plan, folder, machine, when))
        if only != "gate":
            say("the ledger")
            ledger = section(kept(folder, plan.rounds, plan.writing, plan.entries), when, machine)
    return gate, ledger


def _gate(plan: Plan, folder: Path, machine: Sequence[str], when: str) -> Found:
    with sides.upstream(folder) as upstream:
        say("decisions, and bombs")
        alone = decided(plan.decisions)
        bench = Bench(plan, folder, upstream)
        entries = bench.measure_traffic()
        for scheme in SCHEMES:
            bench.measure_holds(scheme)
    return Found(machine, when, bench.traffic, bench.held, entries, alone)


def say(what: str) -> None:
    """Talk goes to stderr."""
    print(f"bench: {what}", file=sys.stderr, flush=True)


def main() -> int:
    """See the module's words."""
    parser = argparse.ArgumentParser(description="Measure Sluice beside mitmdump and no proxy.")
    parser.add_argument("--quick", action="store_const", dest="plan", const="quick", help="half a minute")
    parser.add_argument("--plan", choices=PLANS, help="how much is measured (default: full)")
    parser.add_argument("--out", type=Path, default=OUT, help="the file to write (default: docs/bench.md)")
    parser.add_argument("--only", choices=("gate", "ledger"), help="measure one half of the page")
    asked = parser.parse_args()
    try:
        gate, ledger = measured(PLANS[asked.plan or "full"], asked.only)
    except BrokenError as error:
        say(f"error: {error}")
        return 1
    before = asked.out.read_text() if asked.out.exists() else ""
    asked.out.write_text(page(before, gate, ledger))
    print("\n".join(part[part.index("## ") :] for part in (gate, ledger) if part))
    say(f"written to {asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
