"""Numbers and tables: pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed (nearest rank); nan of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two; nan of none."""
    if not values:
        return math.nan
    ranked, middle = sorted(values), len(values) // 2
    return ranked[middle] if len(values) % 2 else (ranked[middle - 1] + ranked[middle]) / 2


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios of each round: what a busy moment does to both, it does to neither."""
    return median([one / other for one, other in zip(ours, theirs, strict=True) if other])


def steady(rounds: Sequence[Sequence[float]], percent: float) -> float:
    """The percentile of each round, and of these the median: a busy moment is one round's alone."""
    return median([percentile(values, percent) for values in rounds])


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is words, the others are numbers."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float, digits: int = 0) -> str:
    """A number as people read it, ``–`` where there is none."""
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"
