"""
Other processes that read runs of entries, one on each core.

Each is a Python of its own, started from nothing but where our packages lie (neither the folder
one is in nor the environment's paths count), and is told and tells in lines of JSON. It reads as
every reader does and writes nothing.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from proxy.ledger.cipher import cipher_in
from proxy.ledger.read import Source, connect
from proxy.ledger.span import Span, Task, read_span
from proxy.ledger.walk import Reader

_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from proxy.ledger.workers import work; work(*sys.argv[2:])"
)

_AHEAD: Final = 3
"""Runs for each process that are read or wait, so that none waits for one that is slower."""


@dataclass(frozen=True, slots=True)
class Cores:
    """
    How a ledger is split: `count` processes read runs of `run` entries each, from `least` entries on.

    `run` is a power of two. With one process this one reads the runs.
    """

    count: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    run: int = 16_384
    least: int = 50_000

    @contextmanager
    def readers(self, source: Source, payloads: Path) -> Iterator[Reader]:
        """
        What reads the runs of one ledger, for as long as the block runs.

        `payloads` is the file of the key of its payloads, which each process reads for itself.
        """
        if self.count > 1:
            with _processes(source, payloads, self.count) as processes:
                yield Workers(processes)
        else:
            with closing(connect(source)) as connection:
                cipher = cipher_in(connection, payloads)
                yield lambda tasks: ((task, read_span(connection, task, cipher)) for task in tasks)


def work(path: str, how: str, payloads: str) -> None:
    """What such a process does: a line for each line, ``null`` for a run that is no span."""
    gc.disable()  # nothing that it makes refers to itself, and a run is let go of when it is told
    with closing(connect(Source(Path(path), how))) as connection:
        cipher = cipher_in(connection, Path(payloads))
        for line in sys.stdin.buffer:
            span = read_span(connection, Task.decode(line), cipher)
            sys.stdout.buffer.write(b"null\n" if span is None else span.encode())
            sys.stdout.buffer.flush()


@contextmanager
def _processes(source: Source, payloads: Path, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    told = [json.dumps(sys.path), str(source.path), source.how, str(payloads)]
    with ExitStack() as stack:
        started = []
        for _ in range(count):
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START, *told],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,  # what is typed at a terminal ends this process, and that one the others
            )
            stack.callback(_end, process)
            started.append(process)
        yield started


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(BrokenPipeError):  # a task that it was told after it had ended
            if pipe is not None:
                pipe.close()


class Workers:
    """Processes that each read one run at a time: whichever is free reads the next one."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        self._count = len(processes)
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in processes:
            self._free.put(process)

    def __call__(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Span | None]]:
        """
        What each task gave, in order, None where it is no span.

        None too for what a process did not tell because it has ended: that is read by whoever asked.
        """
        under_way: deque[tuple[Task, Future[Span | None]]] = deque()
        pool = ThreadPoolExecutor(self._count)
        try:
            for task in tasks:
                under_way.append((task, pool.submit(self._ask, task)))
                if len(under_way) >= _AHEAD * self._count:
                    task, told = under_way.popleft()
                    yield task, told.result()
            for task, told in under_way:
                yield task, told.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _ask(self, task: Task) -> Span | None:
        process = self._free.get()
        try:
            return _told(process) if _tell(process, task) else None
        finally:
            self._free.put(process)


def _tell(process: subprocess.Popen[bytes], task: Task) -> bool:
    assert process.stdin is not None
    try:
        process.stdin.write(task.encode())
        process.stdin.flush()
    except BrokenPipeError:
        return False
    return True


def _told(process: subprocess.Popen[bytes]) -> Span | None:
    assert process.stdout is not None
    line = process.stdout.readline()
    return Span.decode(line) if line.endswith(b"\n") else None
