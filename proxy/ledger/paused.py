"""
Who is paused: a fold over the entries of pauses and their ends. Pure.

A pause stands until it is ended, so no restart ends it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.ledger import Fields

EVERYONE: Final = "*"
"""Stands for every agent, known or not."""
KINDS: Final = frozenset({"paused", "resumed"})


def standing(entries: Iterable[Fields]) -> dict[str, int]:
    """Who is paused after these entries, each with the number of the entry that says so first."""
    found: dict[str, int] = {}
    for fields in entries:
        agent, seq = fields.get("agent"), fields.get("seq")
        if type(agent) is not str or type(seq) is not int:
            continue
        match fields.get("kind"):
            case "paused":
                found.setdefault(agent, seq)
            case "resumed" if agent == EVERYONE:
                found.clear()
            case "resumed":
                found.pop(agent, None)
    return found
