"""The command line as users have it: a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SLUICE = str(Path(sys.executable).with_name("sluice"))


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
    """Nothing of whoever runs the tests but where commands are and how text is written."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {**kept, "HOME": str(home)}


def sluice(*words: str | Path, at: Path) -> Done:
    """Run the command to its end in the folder `at`, which is its home too."""
    done = subprocess.run(
        [SLUICE, *map(str, words)],
        env=environment(at),
        cwd=at,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())
