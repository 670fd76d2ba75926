"""
The shapes of a file's parts: tables with known keys, lists, words, numbers. Each complaint names its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from proxy.policy import keys
from proxy.policy.fields import did_you_mean
from proxy.policy.operands import OperandError, literal
from proxy.policy.source import Broken, Listing, Mistakes, Node, Scalar, Table

_NOT_UNDERSTOOD = "a field that is not understood might have been meant to restrict"


def _called(node: Node) -> str:
    match node:
        case Scalar():
            return f"'{node.text[:80]}'"
        case Listing():
            return "a list"
        case _:
            return "a table"


def table(node: Node, known: Iterable[str], what: str, mistakes: Mistakes) -> dict[str, Node] | None:
    """The values of a table by key; unknown keys are mistakes."""
    if not isinstance(node, Table):
        if not isinstance(node, Broken):
            mistakes.add(node.at, f"{what} is {_called(node)}", fix=f"write a table of {', '.join(known)}")
        return None
    known = list(known)
    found: dict[str, Node] = {}
    for key, value in node.entries:
        if key.text in known:
            found[key.text] = value
        else:
            mistakes.add(
                key.at,
                f"unknown field '{key.text[:100]}' in {what}",
                _NOT_UNDERSTOOD,
                _meant(key.text, known),
            )
    return found


def _meant(word: str, known: Sequence[str]) -> str:
    """The key that was meant, also where it belongs into another part of the file."""
    here = did_you_mean(word, known)
    if here.startswith("did you mean"):
        return here
    for place, others in (
        ("match", keys.MATCH),
        ("the rule", keys.RULE),
        ("hold", keys.HOLD),
        ("budget", keys.BUDGET),
        ("risk", keys.RISK),
    ):
        there = did_you_mean(word, others)
        if there.startswith("did you mean"):
            return f"{there} It stands in {place}"
    return here


def items(node: Node, what: str, mistakes: Mistakes, *, limit: int = keys.MAX_LIST) -> Sequence[Node] | None:
    """The items of a list that holds at least one."""
    if isinstance(node, Broken):
        return None
    if not isinstance(node, Listing):
        mistakes.add(
            node.at, f"{what} is {_called(node)}", fix="write a list, each item on a line after '- '"
        )
        return None
    if not node.items:
        mistakes.add(
            node.at, f"{what} is an empty list", "an empty list matches nothing", "leave it out, or fill it"
        )
        return None
    if len(node.items) > limit:
        mistakes.add(node.at, f"{what} has more than {limit} items", fix="split it")
        return None
    return node.items


def one_or_more(node: Node, what: str, mistakes: Mistakes) -> list[Scalar]:
    """One value, or a list of values."""
    nodes = items(node, what, mistakes) or () if isinstance(node, Listing) else (node,)
    found = []
    for one in nodes:
        if isinstance(one, Scalar):
            found.append(one)
        elif not isinstance(one, Broken):
            mistakes.add(one.at, f"{what} holds {_called(one)}", fix="write one value, or a list of values")
    return found


def text(node: Node, what: str, mistakes: Mistakes) -> str | None:
    """A sentence or a word: text that is not empty and on one line once trimmed."""
    if isinstance(node, Broken):
        return None
    if not isinstance(node, Scalar):
        mistakes.add(node.at, f"{what} is {_called(node)}", fix="write text")
        return None
    try:
        found = literal(node)
    except OperandError as error:
        mistakes.add(node.at, f"{what}: {error}", error.why, error.fix)
        return None
    words = str(found).strip() if isinstance(found, str) else node.text
    if not words:
        mistakes.add(node.at, f"{what} is empty", fix="write a sentence")
    elif len(words) > keys.MAX_TEXT:
        mistakes.add(node.at, f"{what} is over {keys.MAX_TEXT} characters", fix="write it shorter")
    elif any(not char.isprintable() and char != "\n" for char in words):
        mistakes.add(node.at, f"{what} has a character that cannot be shown", fix="leave it out")
    else:
        return words
    return None


def name(node: Node, what: str, pattern: str, form: str, mistakes: Mistakes) -> str | None:
    """A name of a form that is given as a regular expression and in words."""
    found = text(node, what, mistakes)
    if found is None or (re.fullmatch(pattern, found) and len(found) <= 100):
        return found
    mistakes.add(node.at, f"{what} '{found[:100]}' is not {form}", fix="use letters, digits and hyphens")
    return None


def one_of(node: Node, words: Sequence[str], what: str, mistakes: Mistakes) -> str | None:
    """One of a few words."""
    if isinstance(node, Broken):
        return None
    if isinstance(node, Scalar) and node.text in words:
        return node.text
    given = node.text if isinstance(node, Scalar) else ""
    mistakes.add(
        node.at,
        f"{what} is {_called(node)}",
        f"it is one of {', '.join(words)}",
        did_you_mean(given, words) if given else "",
    )
    return None


def truth(node: Node, what: str, mistakes: Mistakes) -> bool | None:
    """true or false, unquoted."""
    if isinstance(node, Scalar) and node.plain and node.text in ("true", "false"):
        return node.text == "true"
    if not isinstance(node, Broken):
        mistakes.add(node.at, f"{what} is {_called(node)}", fix="write true or false, unquoted")
    return None


def whole(node: Node, most: int, what: str, mistakes: Mistakes) -> int | None:
    """A whole number from 1 to `most`."""
    if isinstance(node, Scalar) and node.plain and re.fullmatch(r"[1-9][0-9]{0,8}", node.text):
        found = int(node.text)
        if found <= most:
            return found
    if not isinstance(node, Broken):
        mistakes.add(node.at, f"{what} is {_called(node)}", fix=f"write a whole number from 1 to {most}")
    return None


def duration(
    node: Node, what: str, mistakes: Mistakes, *, zero: bool = False, most: int = keys.MAX_TIMEOUT
) -> float | None:
    """A duration such as ``15m``, in seconds; with `zero` also none at all."""
    if isinstance(node, Scalar) and re.fullmatch(keys.DURATION_OR_NONE if zero else keys.DURATION, node.text):
        seconds = int(node.text.rstrip("smhd")) * keys.UNITS.get(node.text[-1], 1)
        if seconds <= most:
            return float(seconds)
    if not isinstance(node, Broken):
        fix = f"write a number and s, m, h or d, at most {most // 86_400}d: 90s, 15m, 2h"
        mistakes.add(node.at, f"{what} is {_called(node)}", fix=fix)
    return None
