"""The page that the bench writes: tables in Markdown, and each aim beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.decide import FEW_RULES, MANY_HOSTS, MANY_RULES, Decided
from bench.holds import Kept
from bench.load import Loaded
from bench.table import markdown, median, number, ratio, steady

DIRECT: Final = "no proxy"
STOCK: Final = "mitmdump -q"
SLUICE: Final = "sluice"
STRICT: Final = "sluice --record strict"
SIDES: Final = (DIRECT, STOCK, SLUICE, STRICT)
SCHEMES: Final = ("HTTP", "HTTPS")
MANY: Final = 32

type Traffic = Mapping[tuple[str, int, str], Sequence[Loaded]]
"""Every round of each (scheme, connections, side)."""


type Rounds = Sequence[Sequence[float]]
"""Milliseconds of each approval, round by round."""


@dataclass(frozen=True, slots=True)
class Held:
    """
    Holds over one scheme: what many cost, and approvals with nobody else waiting, `among` so many
    others, and while `MANY` connections keep the proxy `busy` without a pause.
    """

    alone: Rounds
    among: Rounds
    busy: Rounds
    kept: Kept


@dataclass(frozen=True, slots=True)
class Found:
    """All that was measured. `entries` is how many the ledgers hold, once they were verified."""

    machine: Sequence[str]
    when: str
    traffic: Traffic
    held: Mapping[str, Held]
    entries: int
    decided: Decided


_INTRO: Final = """\
# Measured

Written by `make bench` ({when}); do not edit. All in one run on one machine:

{machine}

Requests are GETs with an agent's usual headers, one after the other on each kept connection. Sluice judges
them by 200 rules (50 of them concern this host or every host) and writes two entries into its ledger for
each: the decision is queued before the request leaves, or on disk (`--record strict`). mitmdump is stock, in
the same environment, and does nothing but pass on. The sides take turns within each round; numbers are
medians over the rounds, ratios are medians of the ratios within each round. *Added* is over no proxy.
Connections never pause, so that with 32 of them latency is mostly waiting for one another.
"""


def written(found: Found) -> str:
    """The whole page."""
    parts = [_INTRO.format(when=found.when, machine="\n".join(found.machine))]
    for connections in (MANY, 1):
        word = f"{connections} connections" if connections > 1 else "One connection"
        parts.append(f"## {word}\n\n{_traffic_table(found.traffic, connections)}\n")
    parts.append(_CHECKED.format(busy=number(_busiest(found.traffic) * 100), entries=number(found.entries)))
    if refused := sum(run.refused for runs in found.traffic.values() for run in runs):
        parts.append(f"{number(refused)} requests were refused as `unavailable`: the disk was too slow.\n")
    parts.append(f"## From approval to upstream\n\n{_APPROVALS}\n\n{_approval_table(found.held)}\n")
    parts.append(f"## Many holds at once\n\n{_HOLDS}\n\n{_hold_table(found.held)}\n")
    parts.append(f"## The decision alone\n\n{_DECISIONS}\n\n{_decision_table(found.decided)}\n")
    parts.append(f"{_BOMBS}\n\n{_bomb_table(found.decided)}\n")
    parts.append(f"## Aims\n\n{_aim_table(found)}\n")
    return "\n".join(parts)


def _traffic_table(traffic: Traffic, connections: int) -> str:
    head = (
        "",
        "requests/s",
        "to mitmdump",
        "to no proxy",
        "p50 ms",
        "p99 ms",
        "added p50",
        "added p99",
        "CPU µs",
    )
    rows = []
    for scheme in SCHEMES:
        direct, stock = traffic[scheme, connections, DIRECT], traffic[scheme, connections, STOCK]
        for side in SIDES:
            runs = traffic[scheme, connections, side]
            rates = [run.rate for run in runs]
            added = side != DIRECT
            rows.append(
                (
                    f"{scheme}, {side}",
                    number(median(rates)),
                    f"{number(ratio(rates, [run.rate for run in stock]), 2)}×" if added else "",
                    f"{number(ratio(rates, [run.rate for run in direct]), 3)}×" if added else "",
                    number(median([run.p50 for run in runs]), 2),
                    number(median([run.p99 for run in runs]), 2),
                    number(median(_added(runs, direct, _p50)), 2) if added else "",
                    number(median(_added(runs, direct, _p99)), 2) if added else "",
                    number(median([run.cpu for run in runs])) if added else "",
                )
            )
    return markdown(head, rows)


def _p50(run: Loaded) -> float:
    return run.p50


def _p99(run: Loaded) -> float:
    return run.p99


def _added(runs: Sequence[Loaded], direct: Sequence[Loaded], of: Callable[[Loaded], float]) -> list[float]:
    """Milliseconds over no proxy, round by round."""
    return [of(run) - of(base) for run, base in zip(runs, direct, strict=True)]


def _busiest(traffic: Traffic) -> float:
    return max(run.busy for (_, _, side), runs in traffic.items() if side != DIRECT for run in runs)


_CHECKED: Final = """\
The generator took {busy} % of a core at most while it measured a proxy. The ledgers of these runs were
verified afterwards: {entries} entries, the chains hold.
"""
_APPROVALS: Final = """\
From just before the reviewer's call on the control socket (connection included) to the first byte of the
request at upstream, the decision on disk between the two; one after the other, on a kept connection. These
too are medians over rounds: those with nobody else waiting were measured after each round of traffic."""

_HOLDS: Final = """\
Each on a connection of its own, with a body of 1 kB. Memory is the growth of the process (RSS), CPU a share
of one core over some seconds."""


_DECISIONS: Final = """\
In one process, without network or ledger, at the median. *Decide* is on a request that is decoded; every
request is decoded anew, so that nothing that an earlier one asked for is known."""

_BOMBS: Final = """\
Each in a process of its own, decoded and judged; memory is beyond that of the request itself. RE2 matches
the regex in a time that grows with the text alone; the others are refused before a rule sees them."""


def _decision_table(found: Decided) -> str:
    here = number(MANY_RULES // MANY_HOSTS)
    rows = [
        (f"decide: {number(MANY_RULES)} rules over {MANY_HOSTS} hosts", number(found.many, 1)),
        (f"decide: the {here} rules that name this host, and no others", number(found.own, 1)),
        (f"decode and decide: {FEW_RULES} rules, {number(found.size)} bytes of JSON", number(found.body, 1)),
        (f"decode and decide: {FEW_RULES} rules, a GET without a body", number(found.bare, 1)),
    ]
    return markdown(("", "µs"), rows)


def _bomb_table(found: Decided) -> str:
    rows = [
        (name, number(one.milliseconds, 1), number(one.memory / 2**20, 1), one.answer)
        for name, one in found.bombs.items()
    ]
    return markdown(("", "ms", "MiB", "answer"), rows)


def _approval_table(held: Mapping[str, Held]) -> str:
    rows = []
    for scheme, each in held.items():
        for words, took in (
            ("nobody else waiting", each.alone),
            (f"{number(each.kept.count)} others waiting", each.among),
            (f"{MANY} connections at full load", each.busy),
        ):
            count, longest = sum(map(len, took)), max(map(max, took))
            times = (steady(took, 50), steady(took, 99), longest)
            rows.append((f"{scheme}, {words}", number(count), *(number(one, 2) for one in times)))
    return markdown(("", "approvals", "p50 ms", "p99 ms", "longest ms"), rows)


def _hold_table(held: Mapping[str, Held]) -> str:
    head = ("", "KiB each", "built up in s", "CPU ms each", "CPU before", "CPU while they wait")
    rows = [
        (
            f"{scheme}, {number(each.kept.count)} holds",
            number(each.kept.each / 1024, 1),
            number(each.kept.built, 1),
            number(each.kept.built_cpu / each.kept.count * 1e3, 2),
            f"{number(each.kept.idle * 100, 2)} %",
            f"{number(each.kept.waiting * 100, 2)} %",
        )
        for scheme, each in held.items()
    ]
    return markdown(head, rows)


def _aim_table(found: Found) -> str:
    rows = [(aim, measured, "yes" if met else "**no**") for aim, measured, met in _aims(found)]
    return markdown(("", "measured", "met"), rows)


def _aims(found: Found) -> Iterator[tuple[str, str, bool]]:
    """(the aim, what was measured, whether it is met)."""
    for scheme in SCHEMES:
        sides = {side: found.traffic[scheme, MANY, side] for side in SIDES}
        much = ratio([run.rate for run in sides[SLUICE]], [run.rate for run in sides[STOCK]])
        yield f"{scheme}: 1.5× the throughput of mitmdump", f"{number(much, 2)}×", much >= 1.5
        for name, of in (("p50", _p50), ("p99", _p99)):
            ours = median(_added(sides[SLUICE], sides[DIRECT], of))
            theirs = median(_added(sides[STOCK], sides[DIRECT], of))
            said = f"{number(ours, 2)} ms, mitmdump {number(theirs, 2)} ms"
            yield f"{scheme}: less added latency at {name}", said, ours < theirs
    for scheme, limit in zip(SCHEMES, (50, 220), strict=True):
        each = found.held[scheme]
        p99 = steady(each.alone, 99)
        yield f"{scheme}: 10 ms at p99 from approval to upstream", f"{number(p99, 2)} ms", p99 <= 10
        size = each.kept.each / 1024
        yield f"{scheme}: {limit} KiB a hold", f"{number(size, 1)} KiB", size <= limit
        more = max(0.0, each.kept.waiting - each.kept.idle) * 100
        yield (
            f"{scheme}: no CPU while {number(each.kept.count)} wait",
            f"{number(more, 2)} % more",
            more < 0.5,
        )
    yield from _aims_of_decisions(found.decided)


def _aims_of_decisions(found: Decided) -> Iterator[tuple[str, str, bool]]:
    yield f"{number(MANY_RULES)} rules: 25 µs to decide", f"{number(found.many, 1)} µs", found.many <= 25
    yield "a body of 2 kB: 60 µs to decode and decide", f"{number(found.body, 1)} µs", found.body <= 60
    longest = max(one.milliseconds for one in found.bombs.values())
    most = max(one.memory for one in found.bombs.values()) / 2**20
    said = f"{number(longest, 1)} ms, {number(most, 1)} MiB"
    yield "bombs: 50 ms and 64 MiB each", said, longest <= 50 and most <= 64
