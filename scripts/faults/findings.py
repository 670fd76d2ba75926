"""What can be wrong, and where it was."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Wrong(StrEnum):
    """What a finding is; the columns of the table."""

    GHOST = "ghost executions"
    DOUBLE = "double sends"
    OVER = "overspent"
    LIE = "lies"
    END = "lost ends"
    SILENT = "no answer"
    CHAIN = "broken chains"


class Finding(NamedTuple):
    """One thing that is wrong, and in which run."""

    wrong: Wrong
    mark: str
    what: str
