"""The policy of a batch, and the people of a staged gate."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

from faults.batches import Batch
from faults.cases import Need
from faults.errands import COUNT, LIMIT, Errand, Leg

BRIEF: Final = 3.0
"""Seconds until a brief hold expires."""
FORGETS: Final = 2.0
"""Seconds until one lapses that was left, or approved and not fetched."""
WAIT: Final = 1.0
"""Seconds until an agent is told to ask again."""
WINDOW: Final = 2.0
"""Seconds until what is watched proceeds."""

SHUT: Final = 1.0
"""Seconds until what is watched and draws on a budget proceeds."""


class Person(NamedTuple):
    """One of the people; `uid` is what counts."""

    name: str
    uid: int
    groups: tuple[str, ...] = ()


ADA: Final = Person("ada", 4_000_000_001)
ADA_AT_NIGHT: Final = Person("ada-at-night", 4_000_000_001)
BOB: Final = Person("bob", 4_000_000_002)
EVE: Final = Person("eve", 4_000_000_003, ("interns",))
ZOE: Final = Person("zoe", os.getuid())
"""Has the account that the agents run as."""
PEOPLE: Final = (ADA, ADA_AT_NIGHT, BOB, EVE, ZOE)
EXCLUDED: Final = (EVE, ZOE)
_WATCHES: Final = 4_100_000_000


def watch(batch: Batch, mark: str) -> Person:
    """Who may release what waits for one errand, and is hardly ever there."""
    name = f"watch-{mark}"
    return Person(name, _WATCHES + batch.watches.index(mark), (name,))


def people(batch: Batch) -> tuple[Person, ...]:
    """Everyone whom a staged gate knows."""
    return (*PEOPLE, *(watch(batch, mark) for mark in batch.watches))


def reviewers(batch: Batch) -> str:
    """`reviewers.yaml` of a staged gate."""
    known = people(batch)
    lines = [f"  - {{name: {one.name}, uid: {one.uid}, groups: [{', '.join(one.groups)}]}}" for one in known]
    return "\n".join(("version: 1", "reviewers:", *lines, ""))


def policy(batch: Batch, barred: Iterable[str] = ()) -> str:
    """Rules for each set of needs and for each errand, and one that denies what is `barred`, by mark."""
    parts = ["version: 1", "default: {read: allow, write: hold}", "rules:"]
    for rule, needs in sorted({case.rule: case.needs for case in batch.cases}.items()):
        parts += _rule(rule, f"path: /*/{rule}/**", *_then(needs))
    for errand in batch.errands:
        parts += _of_errand(errand)
    if marks := ", ".join(f"/**/{mark}" for mark in barred):
        parts += _rule("barred", f"path: [{marks}]", "then: deny")
    return "\n".join((*parts, ""))


def _rule(name: str, match: str, *lines: str) -> list[str]:
    said = (f"- name: {name}", "  why: It is what the fault suite asks for.", f"  match: {{{match}}}")
    return [f"  {line}" for line in (*said, *(f"  {line}" for line in lines))]


def _of_errand(errand: Errand) -> list[str]:
    name, path = errand.rule, f"path: /*/{errand.slug}/*/{errand.mark}"
    hold = ["then: hold", f"hold: {{timeout: 10m, approvals: {errand.people}}}"]
    match errand.leg:
        case Leg.GRANT:
            return _rule(name, path, "then: hold", "show: [json.item, json.amount]")
        case Leg.BUDGET:
            what = f"count: {COUNT}" if errand.counts else f"field: json.amount, limit: {LIMIT}"
            budget = f"budget: {{{what}, per: 24h, over: {errand.over}}}"
            then = ("then: watch", f"window: {SHUT:.0f}s") if errand.window else ("then: allow",)
            return _rule(name, f"{path}, scheme: [http, https], port: [80, 443]", *then, budget)
        case Leg.EDIT:
            much, most = (f"{path}, where: {{json.amount: {{above: {amount}}}}}" for amount in (100, 1_000))
            return [
                *_rule(name, path, *hold),
                *_rule(f"{name}-much", much, "then: hold", "hold: {approvals: 2}"),
                *_rule(f"{name}-most", most, "then: deny"),
            ]
        case Leg.DENIALS:
            return _rule(name, path, "then: hold", "hold: {denials: 2}")
        case Leg.EXCLUDED:
            return _rule(name, path, hold[0], hold[1].replace("}", ", not: [agent-owner, interns]}"))
        case Leg.NOBODY:
            who = f"reviewers: [watch-{errand.mark}]"
            return _rule(name, path, "then: hold", f"hold: {{{who}, nobody: refuse}}")
        case Leg.SIGNED:
            return _rule(name, path, "then: hold")


def _then(needs: frozenset[Need]) -> list[str]:
    if Need.WINDOW in needs:
        return ["then: watch", f"window: {WINDOW:.0f}s"]
    says = {"timeout": f"{BRIEF:.0f}s" if Need.BRIEF in needs else "10m"}
    if Need.PAIR in needs:
        says["approvals"] = "2"
    if Need.WAIT in needs:
        says["wait"] = f"{WAIT:.0f}s"
    if Need.FORGETS in needs:
        says["rejoin"] = says["remember"] = f"{FORGETS:.0f}s"
    hold = ", ".join(f"{name}: {value}" for name, value in says.items())
    return ["then: hold", f"hold: {{{hold}}}"]
