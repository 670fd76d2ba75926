"""A command of the user's: it gets the note on stdin, and exit status 0 says that it is kept."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proxy.errors import Problem
from proxy.ledger.anchors import Place
from proxy.ledger.seal import Seal
from proxy.witness import RefusedError

_TIMEOUT: Final = 30.0


class CommandWitness:
    """Runs a command for each head; it is never given to a shell."""

    every: float = 10.0
    renew: float = 0.0
    place: Place | None = None

    def __init__(self, words: Sequence[str]) -> None:
        self._words = list(words)
        self.name = f"command:{Path(words[0]).name}"  # its arguments may hold a secret

    def send(self, seals: Sequence[Seal]) -> None:
        """See `Witness.send`."""
        for seal in seals:
            self._run(seal.note)

    def _run(self, note: bytes) -> None:
        try:
            done = subprocess.run(self._words, input=note, capture_output=True, timeout=_TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            raise RefusedError(Problem(f"it did not end within {_TIMEOUT:.0f} s")) from None
        if done.returncode:
            said = done.stderr[:500].decode("utf-8", "replace").strip().splitlines()
            raise RefusedError(
                Problem(f"it ended with {done.returncode}: {said[-1] if said else ''}".rstrip(": "))
            )
