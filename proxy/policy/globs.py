"""
Patterns for text, hosts and paths, compiled to plain functions that cannot run away.

In text ``*`` is any text. In a path ``*`` is one segment, ``**`` is any number of them, and
a ``*`` beside other characters is any text within its segment. A host is exact, or
``*.example.com``: any depth below, but not itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

type Matcher = Callable[[str], bool]


def text(pattern: str) -> Matcher:
    """A pattern in which ``*`` is any text, also none."""
    if "*" not in pattern:
        return pattern.__eq__
    first, *middle, last = pattern.split("*")
    middle = [piece for piece in middle if piece]
    shortest = len(first) + len(last)
    if not middle:
        return lambda value: len(value) >= shortest and value.startswith(first) and value.endswith(last)

    def matches(value: str) -> bool:
        if len(value) < shortest or not value.startswith(first) or not value.endswith(last):
            return False
        at, end = len(first), len(value) - len(last)
        for piece in middle:
            found = value.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True

    return matches


def host(pattern: str) -> Matcher:
    """A host in lower case: exact, or with ``*.`` before it."""
    if not pattern.startswith("*."):
        return pattern.__eq__
    suffix = pattern[1:]
    return lambda value: len(value) > len(suffix) and value.endswith(suffix)


def path(pattern: str, *, wide: bool) -> Matcher:
    """
    A path pattern; `wide` is for a side that tightens: ``*`` may be an empty last segment.

    For a wide match give it each of `wide_paths`.
    """
    if wide:
        pattern = _bare(_without_parameters(pattern.lower()))
    if "*" not in pattern:
        return pattern.__eq__
    segments = pattern.split("/")[1:]
    if segments[-1] == "**" and not any("*" in segment for segment in segments[:-1]):
        root = "".join(f"/{segment}" for segment in segments[:-1])
        below = f"{root}/"
        return lambda value: value.startswith(below) or value == root
    steps = [None if segment == "**" else _segment(segment, wide=wide) for segment in segments]
    # Whatever matches holds every piece between the stars: most paths are ruled out by the longest.
    needed = max((piece.removesuffix("/") for piece in pattern.split("*")), key=len)
    return lambda value: needed in value and _walk(steps, value.split("/")[1:])


def _segment(segment: str, *, wide: bool) -> Matcher:
    if segment == "*":
        return (lambda value: True) if wide else bool
    return text(segment)


def _walk(steps: Sequence[Matcher | None], segments: Sequence[str]) -> bool:
    """Whether steps (None: any number of segments) cover all segments; at most their product of work."""
    step = at = 0
    star = resume = -1
    while at < len(segments):
        if step < len(steps):
            now = steps[step]
            if now is None:
                star, resume = step, at
                step += 1
                continue
            if now(segments[at]):
                step += 1
                at += 1
                continue
        if star < 0:
            return False
        resume += 1
        step, at = star + 1, resume
    return all(rest is None for rest in steps[step:])


_PARAMETERS: Final = re.compile(r";[^/]*")


def wide_paths(value: str) -> tuple[str, ...]:
    """
    Every way in which a normalised path may be meant, for a side that tightens.

    Lower case; with and without ``;params`` and one trailing slash; ``%2F`` also as a slash.
    """
    lower = value.lower()
    if "%2f" not in lower and ";" not in lower and not lower.endswith("/"):
        return (lower,)
    slashed = _resolve(lower.replace("%2f", "/"))
    found = [lower, slashed, _without_parameters(lower), _without_parameters(slashed)]
    return tuple(dict.fromkeys([*found, *map(_bare, found)]))


def _resolve(value: str) -> str:
    """What a server makes of a path in which escaped slashes have become slashes."""
    kept: list[str] = []
    segments = value.split("/")[1:]
    for segment in segments[:-1]:
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return f"/{'/'.join([*kept, segments[-1]])}"


def _without_parameters(value: str) -> str:
    return _PARAMETERS.sub("", value) if ";" in value else value


def _bare(value: str) -> str:
    return value[:-1] if value.endswith("/") and len(value) > 1 else value
