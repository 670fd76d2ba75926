"""Heads reach every witness while a gate runs; one that fails is shown, written down and caught up with."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from heads import head
from ledgers import Clock, decided, kinds, said, until

from proxy.errors import Problem
from proxy.ledger import Draft
from proxy.ledger.anchors import Place
from proxy.ledger.seal import Seal
from proxy.ledger.sqlite import SqliteLedger
from proxy.witness import RefusedError
from proxy.witness.files import FilePlace, FileWitness
from proxy.witness.sending import BACKLOG, Sending


class Faulty:
    """A witness that keeps what it is sent, unless told otherwise."""

    every = 0.01
    renew = 0.0
    place: Place | None = None

    def __init__(self) -> None:
        self.name = "faulty"
        self.sizes: list[int] = []
        self.fault: Exception | None = None
        self.tries = 0
        self.hang: threading.Event | None = None

    def send(self, seals: Sequence[Seal]) -> None:
        self.tries += 1
        if self.hang is not None:
            self.hang.wait(10)
        if self.fault is not None:
            raise self.fault
        self.sizes += [seal.tree.size for seal in seals]


class Gate:
    """What `Sending` needs of a gate."""

    def __init__(self, *witnesses: Faulty | FileWitness, max_unanchored: float = 300.0) -> None:
        self.size = 1
        self.now = 0.0
        self.recorded: list[Draft] = []
        self.changes = 0
        self.sending = Sending(
            witnesses,
            lambda: head(self.size),
            self.recorded.append,
            ticks=lambda: self.now,
            max_unanchored=max_unanchored,
        )

    def changed(self) -> None:
        self.changes += 1

    def kinds(self) -> list[str]:
        return [draft.kind for draft in self.recorded]


async def reached(gate: Gate, witness: Faulty, size: int) -> None:
    gate.size = size
    await until(lambda: witness.sizes[-1:] == [size])


async def test_each_new_head_is_sent_once() -> None:
    witness = Faulty()
    gate = Gate(witness)
    gate.sending.start()
    for size in (1, 2, 7):
        await reached(gate, witness, size)
    await asyncio.sleep(0.05)
    assert witness.sizes == [1, 2, 7]
    gate.size = 9
    await gate.sending.close()
    assert witness.sizes == [1, 2, 7, 9]
    assert gate.recorded == []
    assert gate.sending.trouble == ""


@pytest.mark.parametrize(
    "fault",
    [OSError("no route"), RefusedError(Problem("it answered 503")), ValueError("a bug"), KeyError("x")],
)
async def test_a_witness_that_fails_is_shown_written_down_once_and_caught_up_with_in_order(
    fault: Exception,
) -> None:
    witness, well = Faulty(), Faulty()
    gate = Gate(witness, well)
    gate.sending.start(gate.changed)
    await reached(gate, witness, 1)
    witness.fault = fault
    for size in (2, 3):
        tries = witness.tries
        gate.size = size
        await until(lambda: witness.tries > tries)  # noqa: B023
    await until(lambda: well.sizes[-1:] == [3])
    assert "faulty does not keep checkpoints" in gate.sending.trouble
    assert gate.kinds() == ["unwitnessed"]
    witness.fault = None
    await until(lambda: witness.sizes[-1:] == [3])
    await until(lambda: not gate.sending.trouble)
    assert witness.sizes == [1, 2, 3]
    assert gate.kinds() == ["unwitnessed", "witnessed"]
    assert gate.changes == 2
    await gate.sending.close()


async def test_a_witness_that_says_when_is_asked_again_while_nothing_is_new() -> None:
    dated, other = Faulty(), Faulty()
    dated.renew = 600.0
    gate = Gate(dated, other)
    gate.sending.start()
    await until(lambda: dated.sizes == other.sizes == [1] and not gate.sending._lines[0].backlog)
    for now, size, sizes in ((600.0, 1, [1, 1]), (700.0, 2, [1, 1, 2]), (1_300.0, 2, [1, 1, 2, 2])):
        gate.now, gate.size = now, size
        await until(lambda sizes=sizes: dated.sizes == sizes and not gate.sending._lines[0].backlog)
    await until(lambda: other.sizes == [1, 2])
    await gate.sending.close()
    assert (dated.sizes, other.sizes) == ([1, 1, 2, 2], [1, 2])


async def test_a_witness_that_keeps_nothing_for_too_long_is_an_alarm() -> None:
    witness = Faulty()
    witness.fault = OSError("no route")
    gate = Gate(witness, max_unanchored=60.0)
    gate.sending.start(gate.changed)
    await until(lambda: bool(gate.sending.trouble))
    assert not gate.sending.trouble.startswith("ALARM")
    gate.now = 61.0
    await until(lambda: gate.sending.trouble.startswith("ALARM"))
    assert gate.kinds() == ["unwitnessed", "unanchored"]
    assert gate.recorded[1].fields["seconds"] == 60
    await gate.sending.close()


async def test_a_witness_that_hangs_holds_up_neither_the_others_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.witness.sending._LAST", 0.1)
    slow, well = Faulty(), Faulty()
    slow.hang = threading.Event()
    gate = Gate(slow, well)
    gate.sending.start()
    await reached(gate, well, 5)
    await asyncio.wait_for(gate.sending.close(), 2)
    assert slow.sizes == []
    slow.hang.set()


async def test_a_backlog_is_bounded_and_keeps_the_newest_and_the_order() -> None:
    from proxy.witness.sending import _Line

    line, seal = _Line(Faulty()), head(1)
    for size in range(1, 5 * BACKLOG):
        line.add(Seal(seal.note, _sized(size)), 0.0)
        assert len(line.backlog) <= BACKLOG
    sizes = [one.tree.size for one in line.backlog]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 5 * BACKLOG - 1


def _sized(size: int):  # type: ignore[no-untyped-def]
    from proxy.merkle import Tree

    return Tree(size, [bytes(32)] * size.bit_count())


async def test_a_ledger_and_its_witness_end_at_the_same_head(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    path, witness = tmp_path / "ledger.db", FileWitness(tmp_path / "notes")
    witness.every = 0.01
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    sending = Sending([witness], lambda: ledger.seal, ledger.note, ticks=lambda: 0.0, max_unanchored=300.0)
    sending.start()
    for number in range(5):
        await ledger.queue(decided(str(number)))
    await ledger.close()
    await sending.close()
    *_, last = FilePlace(witness.path).read()
    assert last.note == ledger.seal.note
    ledger, _ = await SqliteLedger.open(path, against=[witness.place], clock=Clock())
    await ledger.close()
    assert said(path)[-1]["kind"] == "stopped"
    assert "unwitnessed" not in kinds(path)
