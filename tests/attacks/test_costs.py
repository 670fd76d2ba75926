"""Attacks on the gate's time and memory: what one request may cost everybody else."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
import tracemalloc
from pathlib import Path

from proxy.action import ABSENT, Request
from proxy.admission import Admission
from proxy.approvals import Approvals
from proxy.decision import Decision, Word
from proxy.decode import Facts, decode
from proxy.decode.json import MAX_CONTAINERS
from proxy.desk import Board
from proxy.ledger import Draft
from proxy.ledger.sqlite import SqliteLedger
from proxy.policy import load_texts


def asked(body: bytes) -> Request:
    headers = ((b"content-type", b"application/json"),)
    return Request("uid:ada", b"POST", "https", "api.books.example", 443, b"/orders", headers, body)


def test_reading_many_fields_of_a_body_of_many_objects_stops_nobody() -> None:
    body = b"[" + b",".join([b'{"a":1}'] * (MAX_CONTAINERS - 1)) + b"]"
    action = decode(asked(body))
    begun = time.process_time()
    assert {action.read(("json", f"field{at}")) for at in range(200)} == {ABSENT}
    assert time.process_time() - begun < 3  # a walk for each took 15 s


async def test_a_waiting_body_takes_no_more_memory_for_being_understood(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    ledger, _ = await SqliteLedger.open(tmp_path / "ledger.db")
    numbers = itertools.count()
    admission = Admission(
        load_texts({"policy.yaml": "version: 1\n"}),
        Approvals(time.time),
        ledger,
        facts=Facts(),
        clock=time.time,
        new_id=lambda: f"id{next(numbers):024}",
    )
    board = Board(admission, proxy="http://127.0.0.1:8080")
    body = b"[" + b",".join([b'{"a":1}'] * 20_000) + b"]"

    async def held(at: int) -> asyncio.Task[Decision]:
        hearing = await admission.receive(asked(body))
        waiting = asyncio.ensure_future(hearing.judge(asked(body)))
        async with asyncio.timeout(10):
            while len(admission.approvals.pending) < at:
                await asyncio.sleep(0.001)
        return waiting

    first = await held(1)
    tracemalloc.start()
    try:
        second = await held(2)
        await ledger.queue(Draft("probe", {}))  # and so all before it is written
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 2 * len(body)  # what was parsed of it took 25 times as much
    assert len(board.snapshot().holds) == 2
    await admission.close(5)
    assert {(await first).word, (await second).word} == {Word.UNAVAILABLE}
    await ledger.close()
