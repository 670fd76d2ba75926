"""The policy of a batch, and the people of a staged gate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from faults.cases import Case, Need

BRIEF: Final = 3.0
"""Seconds until a brief hold expires."""
FORGETS: Final = 2.0
"""Seconds until one lapses that was left, or approved and not fetched."""
WAIT: Final = 1.0
"""Seconds until an agent is told to ask again."""
WINDOW: Final = 2.0
"""Seconds until what is watched proceeds."""


class Person(NamedTuple):
    """One of the people; `uid` is what counts."""

    name: str
    uid: int


ADA: Final = Person("ada", 4_000_000_001)
ADA_AT_NIGHT: Final = Person("ada-at-night", 4_000_000_001)
BOB: Final = Person("bob", 4_000_000_002)
EVE: Final = Person("eve", 4_000_000_003)
PEOPLE: Final = (ADA, ADA_AT_NIGHT, BOB, EVE)


def reviewers() -> str:
    """`reviewers.yaml` of a staged gate."""
    lines = [f"  - {{name: {person.name}, uid: {person.uid}, groups: []}}" for person in PEOPLE]
    return "\n".join(("version: 1", "reviewers:", *lines, ""))


def policy(cases: Iterable[Case], barred: Iterable[str] = ()) -> str:
    """A rule for each set of needs, and one that denies what is `barred`, by mark."""
    parts = ["version: 1", "default: {read: allow, write: hold}", "rules:"]
    for rule, needs in sorted({case.rule: case.needs for case in cases}.items()):
        parts += [
            f"  - name: {rule}",
            "    why: It is what the fault suite asks for.",
            f"    match: {{path: /*/{rule}/**}}",
            *_then(needs),
        ]
    if marks := ", ".join(f"/**/{mark}" for mark in barred):
        parts += [
            "  - name: barred",
            "    why: The policy has changed meanwhile.",
            f"    match: {{path: [{marks}]}}",
            "    then: deny",
        ]
    return "\n".join((*parts, ""))


def _then(needs: frozenset[Need]) -> list[str]:
    if Need.WINDOW in needs:
        return ["    then: watch", f"    window: {WINDOW:.0f}s"]
    says = {"timeout": f"{BRIEF:.0f}s" if Need.BRIEF in needs else "10m"}
    if Need.PAIR in needs:
        says["approvals"] = "2"
    if Need.WAIT in needs:
        says["wait"] = f"{WAIT:.0f}s"
    if Need.FORGETS in needs:
        says["rejoin"] = says["remember"] = f"{FORGETS:.0f}s"
    hold = ", ".join(f"{name}: {value}" for name, value in says.items())
    return ["    then: hold", f"    hold: {{{hold}}}"]
