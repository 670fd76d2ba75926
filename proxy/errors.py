"""
What went wrong, why that matters, and what to do about it.

Every message that a person reads has these three parts; an agent is told less
(`proxy.decision`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses of the command line (the contract names these four)."""

    YES = 0
    NO = 1
    WRONG = 2
    UNREACHABLE = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `where` is ``file:line:column`` or empty."""

    what: str
    why: str = ""
    fix: str = ""
    where: str = ""

    def __str__(self) -> str:
        """Three lines as the console prints them, without the program's prefix."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        lines = [f"error: {head}"]
        if self.why:
            lines.append(f"why: {self.why}")
        if self.fix:
            lines.append(f"fix: {self.fix}")
        return "\n".join(lines)


class SluiceError(Exception):
    """Problems that stop what was asked for; `exit` is the status that the command ends with."""

    def __init__(self, *problems: Problem, exit: Exit = Exit.WRONG) -> None:
        super().__init__("; ".join(problem.what for problem in problems))
        self.problems = problems
        self.exit = exit


def fail(what: str, why: str = "", fix: str = "", *, where: str = "", exit: Exit = Exit.WRONG) -> SluiceError:
    """One problem as an error to raise."""
    return SluiceError(Problem(what, why, fix, where), exit=exit)
