"""
A ledger whose disk fails at the Nth call, for each N: a program that `test_ledger_struck` starts.

    LD_PRELOAD=faulty.so python struck.py FOLDER ERRNO COUNT CALLS

Each N is a process of its own, forked from this one, with a ledger of its own in FOLDER/N. It
prints nothing; FOLDER/N/told has a line "SEQ ID" for each entry that was acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys
from pathlib import Path

from ledgers import Clock, completed, decided, held, reviewed

from proxy.ledger import UnavailableError
from proxy.ledger.sqlite import SqliteLedger

DISK = ctypes.CDLL(None)


async def write(folder: Path, strike: tuple[int, int, int]) -> None:
    ledger, _ = await SqliteLedger.open(folder / "ledger.db", clock=Clock())
    with (folder / "told").open("ab", buffering=0) as told:
        DISK.strike(*map(ctypes.c_long, strike))
        for number in range(6):
            with contextlib.suppress(UnavailableError):
                await story(ledger, f"n{number}", told)
            for _ in range(400):
                if not ledger.trouble:
                    break
                await asyncio.sleep(0.005)
    await ledger.close()


async def story(ledger: SqliteLedger, id: str, told) -> None:  # type: ignore[no-untyped-def]
    """One request that is held, approved and answered, and one that is allowed."""
    for draft in (held(id), reviewed(id), decided(id, "approved", hold=id, by="reviewer")):
        seq = await ledger.queue(draft)
        told.write(f"{seq} {id}\n".encode())
    ledger.note(completed(id))
    seq = await ledger.queue(decided(f"{id}-allowed"))
    told.write(f"{seq} {id}-allowed\n".encode())
    ledger.note(completed(f"{id}-allowed"))


def main() -> None:
    folder, error, count, calls = Path(sys.argv[1]), *map(int, sys.argv[2:])
    for number in range(calls):
        (folder / str(number)).mkdir(mode=0o700)
        child = os.fork()
        if not child:
            try:
                asyncio.run(write(folder / str(number), (number, error, count)))
            finally:
                os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
