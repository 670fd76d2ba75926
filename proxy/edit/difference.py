"""
What an edit changes, line by line, for people and for the ledger; secrets are marks in it.

In time linear in the text but for a short middle: an agent's text of ten thousand alike lines
must not keep the gate from its work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

from proxy.edit.form import END

_AROUND: Final = 2
_MIDDLE: Final = 300
"""Lines of each side up to which they are compared one with another."""


def difference(before: str, after: str) -> tuple[str, ...]:
    """
    Lines that begin with ``-`` (taken out), ``+`` (put in), a blank (as it was) or ``…`` (left out).

    Of two texts as they stand in the editor; comments are not compared. Empty where nothing has changed.
    """
    old, new = _request(before), _request(after)
    if old == new:
        return ()
    start = _alike(old, new)
    end = _alike(old[start:][::-1], new[start:][::-1])
    lines = [f" {line}" for line in old[max(0, start - _AROUND) : start]]
    if start > _AROUND:
        lines.insert(0, "…")
    lines += _changed(old[start : len(old) - end], new[start : len(new) - end])
    lines += [f" {line}" for line in old[len(old) - end :][:_AROUND]]
    if end > _AROUND:
        lines.append("…")
    return tuple(lines)


def _changed(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    if max(len(old), len(new)) > _MIDDLE:
        yield from (f"-{line}" for line in old)
        yield from (f"+{line}" for line in new)
        return
    for _, first, last, begin, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if old[first:last] == new[begin:end]:
            yield from _kept(old[first:last])
            continue
        yield from (f"-{line}" for line in old[first:last])
        yield from (f"+{line}" for line in new[begin:end])


def _kept(lines: Sequence[str]) -> Iterator[str]:
    """Lines between two changes; of many, those beside the changes."""
    short = len(lines) <= 2 * _AROUND
    shown = [*lines] if short else [*lines[:_AROUND], *lines[-_AROUND:]]
    for at, line in enumerate(shown):
        if not short and at == _AROUND:
            yield "…"
        yield f" {line}"


def _request(text: str) -> list[str]:
    """The request's own lines: what stands between the comments and the end mark."""
    above = text.rpartition(f"\n{END}")[0] or text
    lines = above.split("\n")
    start = next((at for at, line in enumerate(lines) if line and not line.startswith("#")), len(lines))
    return lines[start:]


def _alike(old: Sequence[str], new: Sequence[str]) -> int:
    """How many lines both begin with."""
    same = 0
    for mine, yours in zip(old, new, strict=False):
        if mine != yours:
            break
        same += 1
    return same
