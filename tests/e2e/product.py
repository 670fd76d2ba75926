"""The product as its users have it: `sluice up` in a process of its own, and the command beside it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.control import ControlDesk
from proxy.ledger.read import EVERYTHING, entries, reading
from proxy.wire import HoldView, Snapshot, Status

SLUICE = str(Path(sys.executable).with_name("sluice"))
PATIENCE = 20.0
"""Seconds after which a test gives up waiting."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended: status, stdout, stderr."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """The JSON lines that it printed."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(home: Path) -> dict[str, str]:
    """An account's environment without its own policies, reviewers, proxies or colours."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "LC_ALL") if name in os.environ}
    return {**kept, "HOME": str(home), "PYTHONWARNINGS": "error::ResourceWarning"}


def sluice(*words: str | Path, home: Path, **more: str) -> Done:
    """Run the command to its end."""
    done = subprocess.run(
        [SLUICE, *map(str, words)],
        env=environment(home) | more,
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def until[T](ask: Callable[[], T], patience: float = PATIENCE) -> T:
    """Ask until the answer is something; for what sends no event by itself."""
    give_up = time.monotonic() + patience
    while not (found := ask()):
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)
    return found


@dataclass
class Gate:
    """A running `sluice up --no-console`."""

    state: Path
    home: Path
    process: subprocess.Popen[bytes]
    ready: dict[str, Any]
    ledger: Path
    said: list[str] = field(default_factory=list)

    @property
    def proxy(self) -> str:
        """Its URL."""
        return str(self.ready["proxy"])

    @property
    def port(self) -> int:
        return int(self.proxy.rpartition(":")[2])

    @property
    def ca(self) -> str:
        """The path of the CA that agents must trust."""
        return str(self.ready["ca"])

    @property
    def desk(self) -> ControlDesk:
        """The reviewer's end of its control socket."""
        return ControlDesk(self.state / "control.sock")

    def sluice(self, *words: str | Path, **more: str) -> Done:
        """Run a command beside it, on the same state folder."""
        return sluice(*words, home=self.home, SLUICE_STATE=str(self.state), **more)

    def holds(self) -> tuple[HoldView, ...]:
        """What waits now."""
        return asyncio.run(self.desk.snapshot()).holds

    def status(self) -> Status:
        return asyncio.run(self.desk.status())

    def held(self, part: str, count: int = 1) -> HoldView:
        """Wait until so many holds have this part in their URL; the first of them."""
        return asyncio.run(self._held(part, count))

    async def _held(self, part: str, count: int) -> HoldView:
        found: dict[str, HoldView] = {}
        async with asyncio.timeout(PATIENCE):
            async for change in self.desk.changes():
                seen = change.holds if isinstance(change, Snapshot) else (change.hold,)
                found |= {
                    hold.id: hold for hold in seen if hold and hold.state == "pending" and part in hold.url
                }
                if len(found) >= count:
                    return next(iter(found.values()))
        raise AssertionError("the gate has stopped")

    def whole(self, id: str) -> HoldView:
        """One hold with its headers and body."""
        return asyncio.run(self.desk.show(id))

    def answer(self, hold: HoldView, approves: bool, reason: str = "") -> HoldView:
        """A reviewer's answer over the control socket."""
        return asyncio.run(self.desk.review(hold.id, approves=approves, reason=reason, digest=hold.digest))

    def ended(self, id: str) -> HoldView:
        """Wait until a hold has ended."""
        open = ("pending", "unattended", "deferred", "spendable")
        return until(lambda: view if (view := asyncio.run(self.desk.show(id))).state not in open else None)

    def entries(self, **wanted: object) -> list[dict[str, Any]]:
        """The ledger's entries that have these values, oldest first."""
        with reading(self.ledger) as connection:
            lines = [json.loads(entry.body) for entry, _ in entries(connection, EVERYTHING)]
        return [line for line in lines if all(line.get(name) == value for name, value in wanted.items())]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    @property
    def talk(self) -> str:
        """What it wrote on stderr so far, and on stdout after the ready line."""
        return "".join(self.said)


@contextmanager
def up(home: Path, *flags: str | Path, ledger: Path | None = None) -> Iterator[Gate]:
    """A gate for as long as the block runs; on a free port, its state below `home`."""
    state = home / "state"
    if ledger is not None:
        flags = (*flags, "--ledger", ledger)
    process = subprocess.Popen(
        [SLUICE, "up", "--no-console", "--state", str(state), "--listen", "127.0.0.1:0", *map(str, flags)],
        env=environment(home),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout and process.stderr
    said: list[str] = []
    readers = [threading.Thread(target=_listen, args=(process.stderr, said))]
    try:
        readers[0].start()
        line = process.stdout.readline()
        assert line, f"it did not start: {''.join(said)}"
        readers.append(threading.Thread(target=_listen, args=(process.stdout, said)))
        readers[1].start()
        yield Gate(state, home, process, json.loads(line), ledger or state / "ledger.db", said)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for reader in readers:
            reader.join(PATIENCE)
        process.stdout.close()
        process.stderr.close()


def _listen(stream: Any, said: list[str]) -> None:
    for line in stream:
        said.append(line.decode(errors="replace"))


def policy(folder: Path, text: str, name: str = "policy.yaml") -> Path:
    """A policy file."""
    path = folder / name
    path.write_text(text)
    return path
