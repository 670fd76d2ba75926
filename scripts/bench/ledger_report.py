"""What the page says of the ledger: its own tables and aims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bench.ledger import CALLERS, RATE, SLOWER, Kept
from bench.table import markdown, median, number, ratio
from bench.writing import PAYLOAD, Written

TITLE: Final = "## The ledger\n"
_MIB: Final = 2**20

_WRITING: Final = """\
Written by `make bench ARGS="--only ledger"` ({when}); the machine:

{machine}

Each entry is a decision or an outcome with {payload} bytes kept beside it, and every feature is on: salted
commitments, the signed head over the Merkle tree in each commit, a witness. A caller writes its next entry
once the last one is on disk; at {rate} a second entries come at random moments, done or not. *To the disk* is
over writing 4 KiB and waiting for the disk (fdatasync), alone, just before in the same process."""
_SLOW: Final = """\
With {slower} ms added to each flush, as on an ordinary disk:"""
_READING: Final = """\
A ledger of {entries} entries, verified and exported by the commands, start of Python included; memory is
that of all their processes (PSS). `openssl speed sha256` hashes {hashing} MB a second on one core, in blocks
of 1 KB."""


def section(found: Kept, when: str, machine: Sequence[str]) -> str:
    """The whole section."""
    words = {"payload": number(PAYLOAD), "rate": number(RATE), "when": when, "machine": "\n".join(machine)}
    parts = [TITLE, _WRITING.format(**words), "", _writing_table(found.writing), ""]
    if found.slow:
        parts += [_SLOW.format(slower=number(SLOWER / 1e3)), "", _writing_table(found.slow), ""]
    hashing = number(found.read.hashing / 1e6) if found.read.hashing else "–"
    parts += [_READING.format(entries=number(found.read.entries), hashing=hashing), "", _reading_table(found)]
    parts += ["", _aim_table(found), ""]
    return "\n".join(parts)


def _writing_table(found: Mapping[int, Sequence[Written]]) -> str:
    head = ("", "entries/s", "to the disk", "p50 ms", "p99 ms", "refused")
    rows = []
    for callers in (*CALLERS, 0):
        runs = found[callers]
        rows.append(
            (
                _who(callers),
                number(median([run.rate for run in runs])),
                f"{number(_to_disk(runs), 2)}×" if callers else "",
                number(median([run.p50 for run in runs]), 2),
                number(median([run.p99 for run in runs]), 2),
                number(sum(run.refused for run in runs)),
            )
        )
    return markdown(head, rows)


def _who(callers: int) -> str:
    if not callers:
        return f"{number(RATE)} a second"
    return f"{callers} callers" if callers > 1 else "1 caller"


def _to_disk(runs: Sequence[Written]) -> float:
    return ratio([run.rate for run in runs], [run.floor for run in runs])


def _reading_table(found: Kept) -> str:
    read = found.read
    rows = [
        ("verify", number(read.entries / read.verified), number(read.verified, 1), _mib(read.memory)),
        ("export as jsonl", number(read.entries / read.exported), number(read.exported, 1), ""),
    ]
    return markdown(("", "entries/s", "s", "MiB at most"), rows)


def _mib(size: float) -> str:
    return number(size / _MIB)


def _aim_table(found: Kept) -> str:
    rows = [(aim, measured, "yes" if met else "**no**") for aim, measured, met in _aims(found)]
    return markdown(("aim", "measured", "met"), rows)


def _aims(found: Kept) -> Iterator[tuple[str, str, bool]]:
    """(the aim, what was measured, whether it is met)."""
    share = _to_disk(found.writing[1])
    yield "1 caller: 30 % of the disk alone", f"{number(share * 100)} %", share >= 0.3
    rate = median([run.rate for run in found.writing[32]])
    yield "32 callers: 10,000 a second", number(rate), rate >= 10_000
    p99 = median([run.p99 for run in found.writing[0]])
    yield f"{number(RATE)} a second: 3 ms at p99", f"{number(p99, 2)} ms", p99 <= 3
    if found.slow:
        rate = median([run.rate for run in found.slow[32]])
        yield f"{number(SLOWER / 1e3)} ms slower, 32 callers: 5,000 a second", number(rate), rate >= 5_000
    read = found.read
    rate = read.entries / read.verified
    yield "verify: 150,000 a second", number(rate), rate >= 150_000
    flat = read.memory <= 200e6 and read.memory <= read.halfway * 1.2
    said = f"{_mib(read.memory)} MiB, {_mib(read.halfway)} MiB halfway"
    yield "verify: memory flat, under 200 MB", said, flat
    rate = read.entries / read.exported
    yield "export: 500,000 a second", number(rate), rate >= 500_000
    size = read.size / read.entries
    yield "an entry on disk: 2 KiB", f"{number(size)} bytes", size <= 2_048
