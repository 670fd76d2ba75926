"""Verbs and flags about grants and time."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Final

_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

type Verb = Callable[[str, str, bool], argparse.ArgumentParser]


def add_to_approve(approve: argparse.ArgumentParser) -> None:
    """The flags by which the like of a hold is granted, and what was shown is named."""
    add = approve.add_argument
    add("--digest", metavar="DIGEST", help="only if the digest of its request begins so, as it was shown")
    add("--like", action="store_true", help="and its like, unasked, for a while: shows the rule that this is")
    add("--for", dest="seconds", type=duration, metavar="TIME", help="how long (default 10m, at most 24h)")
    add("--uses", type=int, metavar="N", help="how often (default 5, at most 1000)")
    add(
        "--field",
        action="append",
        default=[],
        metavar="FIELD",
        help="bind this field in place of those that the rules look at; repeatable",
    )


def add(verb: Verb) -> list[argparse.ArgumentParser]:
    """The verbs; those that a reviewer answers for."""
    verb("grants", "what goes unasked because its like was approved", True)
    revoke = verb("revoke", "end a grant before its time", False)
    revoke.add_argument("id", nargs="?", metavar="ID", help="any unique prefix of the grant's id")
    revoke.add_argument("--all", action="store_true", help="every grant")
    extend = verb("extend", "give a hold more time", False)
    extend.add_argument("id", metavar="ID", help="any unique prefix of the hold's id")
    extend.add_argument("seconds", type=duration, metavar="TIME", help="how much, as in 10m (at most 24h)")
    return [revoke, extend]


def duration(text: str) -> int:
    """A time such as ``10m``, in seconds."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no time; write 90s, 10m or 2h")
    return int(found[1]) * _SECONDS[found[2]]
