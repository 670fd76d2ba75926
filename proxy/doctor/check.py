"""What the doctor looked at, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

from proxy.errors import SluiceError


class Finding(StrEnum):
    """How a check ended; only WRONG makes the doctor's answer no."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: `what` was found, `why` it matters, and the `fix`."""

    name: str
    finding: Finding
    what: str
    why: str = ""
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """The object of one line of `sluice doctor --json`."""
        fields = asdict(self)
        return {"check": fields.pop("name"), **{name: str(value) for name, value in fields.items()}}


def ok(name: str, what: str) -> Check:
    """It is as it should be."""
    return Check(name, Finding.OK, what)


def note(name: str, what: str, why: str = "", fix: str = "") -> Check:
    """Worth knowing; nothing is wrong."""
    return Check(name, Finding.NOTE, what, why, fix)


def wrong(name: str, what: str, why: str = "", fix: str = "") -> Check:
    """It is not as it should be."""
    return Check(name, Finding.WRONG, what, why, fix)


def failed(name: str, error: SluiceError) -> Check:
    """What a part of the gate itself says is wrong."""
    problem = error.problems[0]
    return wrong(name, problem.what, problem.why, problem.fix)
