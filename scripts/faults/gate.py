"""One gate of the suite: `sluice up --no-console` in a process of its own, its life and its faults."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sqlite3
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from faults.agent import Door
from faults.batches import Batch
from faults.rules import policy, reviewers
from faults.stage import OFFSET

SCRIPTS: Final = Path(__file__).resolve().parent.parent
READY: Final = 60.0
"""Seconds until a gate must accept traffic, on a machine that is busy."""
STOPPED: Final = 20.0
_UNLIMITED: Final = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class GateError(Exception):
    """A gate that did not start, or did not end."""


class Gate:
    """The gate of one batch; `process` runs from `start` to `stop` or `kill`."""

    def __init__(self, folder: Path, batch: Batch, ports: dict[str, int], plant: str) -> None:
        self.folder = folder / batch.name
        self.batch = batch
        self.control = self.folder / "state" / "control.sock"
        self.ledger = self.folder / "state" / "ledger.db"
        self._plant = plant
        self._clock = self.folder / "clock"
        self._policy = self.folder / "policy.yaml"
        self._barred: list[str] = []
        self._ca = folder / "upstream-ca.pem"
        self._ports = ports
        self._process: asyncio.subprocess.Process | None = None
        self._talk: asyncio.Task[bytes] | None = None
        self._locked: sqlite3.Connection | None = None

    def prepare(self) -> None:
        """Everything that it needs before its first start."""
        config = self.folder / "home" / ".config" / "sluice"
        config.mkdir(parents=True)
        self.folder.chmod(0o700)
        if self.staged:
            (config / "reviewers.yaml").write_text(reviewers(self.batch))
        self._policy.write_text(policy(self.batch))
        self._clock.write_bytes(OFFSET.pack(0.0))

    @property
    def staged(self) -> bool:
        """Whether it runs on the suite's stage, or is the product and nothing else."""
        return self.batch.staged or self._plant != "-"

    @property
    def clock(self) -> float:
        """Unix time in seconds, as it thinks it."""
        ahead: float = OFFSET.unpack(self._clock.read_bytes())[0]
        return time.time() + ahead

    @property
    def now(self) -> float:
        """Unix time in seconds, by its clock or ours, whichever is ahead."""
        return max(time.time(), self.clock)

    async def start(self) -> Door:
        """Start it, also again; returns once it takes requests."""
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.folder / "home"),
            "PYTHONPATH": f"{SCRIPTS.parent}:{SCRIPTS}",
        }
        self._process = await asyncio.create_subprocess_exec(
            *self._command(),
            env=environment,
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout and self._process.stderr
        self._talk = asyncio.create_task(self._process.stderr.read())
        try:
            async with asyncio.timeout(READY):
                line = await self._process.stdout.readline()
        except TimeoutError:
            self._process.kill()
            line = b""
        if not line:
            raise GateError(f"the gate did not start:\n{(await self._talk).decode()[-2000:]}")
        ready: dict[str, Any] = json.loads(line)
        return Door.of(int(ready["proxy"].rpartition(":")[2]), self.batch.name, ready["ca"])

    def _command(self) -> list[str]:
        up = ["up", "--no-console", "--listen", "127.0.0.1:0", "--state", str(self.folder / "state")]
        up += ["--policy", str(self._policy), "--reload", "auto", "--upstream-ca", str(self._ca)]
        for host, port in (("api", None), ("h2", "h2"), ("slam", "slam"), ("none", "none")):
            for number, to in ((80, port or "plain"), (443, port or "tls")):
                up.append(f"--resolve={host}.faults.test:{number}:127.0.0.1:{self._ports[to]}")
        if not self.staged:
            return [sys.executable, "-m", "proxy", *up]
        return [sys.executable, "-m", "faults.stage", self._plant, str(self._clock), *up]

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Send a signal and wait for the end; returns what it said on stderr."""
        process, talk = self._process, self._talk
        if process is None or talk is None:
            return ""
        with suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            async with asyncio.timeout(STOPPED):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise GateError(f"the gate did not stop in {STOPPED:.0f} s") from None
        finally:
            self._process = None
        return (await talk).decode(errors="replace")

    # -- what is done to it ----------------------------------------------------------

    def bar(self, mark: str) -> None:
        """Change the policy: requests with this mark are denied from the next look at it on."""
        self._barred.append(mark)
        changed = self._policy.with_suffix(".new")
        changed.write_text(policy(self.batch, self._barred))
        changed.replace(self._policy)

    def fill(self) -> None:
        """No file of the gate may grow, as on a disk that is full."""
        assert self._process is not None
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def lock(self) -> None:
        """Lock the ledger as another program would."""
        self._locked = sqlite3.connect(self.ledger, isolation_level=None, timeout=5)
        self._locked.execute("BEGIN EXCLUSIVE")

    def shift(self, seconds: float) -> None:
        """Set its clock so much ahead of the real one."""
        with self._clock.open("r+b") as file:
            file.write(OFFSET.pack(seconds))

    def heal(self) -> None:
        """End what `fill` and `lock` have begun; the clock stays where it is."""
        if self._locked is not None:
            self._locked.execute("ROLLBACK")
            self._locked.close()
            self._locked = None
        if self._process is not None:
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, _UNLIMITED)
