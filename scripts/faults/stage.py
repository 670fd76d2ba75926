"""
A gate as the product builds it, on a stage: `python -m faults.stage PLANT CLOCK COMMAND...`

What is set up before `sluice COMMAND` runs, all of it here and none of it in the product:

- the clock is as many seconds ahead as the file CLOCK says (a double, native; written at any time),
- a reviewer has the account of the name that is asked for (``--as``), whatever the kernel says, under
  a name of its own,
- PLANT names a bug of `faults.plants` to be put in, or ``-``.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.hold import Reviewer

OFFSET: Final = struct.Struct("d")


def shift_clock(file: Path) -> None:
    """From here on the time of day is so much ahead as the file says."""
    with file.open("rb") as opened:
        ahead = mmap.mmap(opened.fileno(), OFFSET.size, prot=mmap.PROT_READ)
    now = time.time
    time.time = lambda: now() + OFFSET.unpack_from(ahead)[0]


def trust_names() -> None:
    """Take a caller for the account that has the name it asks for: several people by one uid."""
    from proxy.enrolment import Enrolment

    who = Enrolment.who

    def by_name(self: Enrolment, uid: int, account: str, name: str | None = None) -> Reviewer:
        known = {one.name: number for number, many in (self._file.people or {}).items() for one in many}
        known |= {one.name: one.uid for one in self.roll.people.values()}
        named = known.get(name or "", uid)
        return who(self, named, account if named == uid else f"account-{named}", name)

    Enrolment.who = by_name  # type: ignore[method-assign]


def main(plant: str, clock: str, *command: str) -> int:
    """See the module's words."""
    shift_clock(Path(clock))
    trust_names()
    if plant != "-":
        from faults.plants import PLANTS

        PLANTS[plant]()
    from proxy.cli import main as sluice

    return sluice(list(command))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
