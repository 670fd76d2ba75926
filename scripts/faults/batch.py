"""One batch: a gate is started, its runs live, it ends and is started again, and the books are closed."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

from faults.batches import Batch
from faults.errand import Walking
from faults.gate import Gate
from faults.journal import Found
from faults.run import Run
from faults.scene import Scene, arrivals, history


async def played(batch: Batch, folder: Path, ports: dict[str, int], plant: str) -> Found:
    """All that is known of a batch once it is over."""
    began = time.monotonic()
    gate = Gate(folder, batch, ports, plant)
    gate.prepare()
    try:
        runs, paused = await _lived(batch, gate)
        # What a run left open is settled by the next start; so it is with whoever uses it.
        await _revived(runs, batch, gate)
    finally:
        with suppress(ProcessLookupError):
            await gate.stop(signal.SIGKILL)
    found = Found(batch, [run.journal for run in runs if isinstance(run, Run)])
    found.walks = [run.journal for run in runs if isinstance(run, Walking)]
    found.arrivals = arrivals(gate.folder)
    found.paused = paused
    found.entries, found.verified = history(gate.ledger, gate.now)
    found.seconds = time.monotonic() - began
    shutil.rmtree(gate.folder)
    return found


async def _revived(runs: list[Run | Walking], batch: Batch, gate: Gate) -> None:
    """The gate's next start, and its end: some agents come with what they had asked for before."""
    scene = Scene(batch, gate, await gate.start())
    coming = [run for run in runs if run.case.revived]
    following = asyncio.create_task(scene.board.follow())
    try:
        await asyncio.gather(*(run.come_to(scene) for run in coming))
        scene.end()
        await gate.stop()
        scene.over.set()
        await asyncio.gather(*(run.end() for run in coming))
    finally:
        following.cancel()
        await asyncio.wait({following})


async def _lived(batch: Batch, gate: Gate) -> tuple[list[Run | Walking], tuple[float, float] | None]:
    scene = Scene(batch, gate, await gate.start())
    if batch.enrolled:
        await scene.people.enrol()
    runs = [*(Run(case, scene) for case in batch.cases), *(Walking(one, scene) for one in batch.errands)]
    following = asyncio.create_task(scene.board.follow())
    try:
        async with asyncio.TaskGroup() as tasks:
            for run in runs:
                tasks.create_task(run.run())
            tasks.create_task(scene.conduct())
    finally:
        following.cancel()
        await asyncio.wait({following})
    return runs, scene.paused
