"""
A git repository: one commit a checkpoint on a branch of its own, pushed where there is a remote.

The commit is made by ``git fast-import``, so neither the work tree nor the index of the
repository is touched, and a bare one will do. The hooks of the repository do not run.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from proxy.errors import Problem, fail
from proxy.ledger.anchors import Kept, Place
from proxy.ledger.seal import Seal
from proxy.note import LIMIT
from proxy.witness import RefusedError

BRANCH: Final = "refs/heads/sluice-checkpoints"
FILE: Final = "checkpoint"
_TIMEOUT: Final = 30.0
_SETTINGS: Final = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsync=all", "-c", "gc.auto=0")


def _git(repository: Path, *words: str) -> list[str]:
    return ["git", *_SETTINGS, "-C", str(repository), *words]


def _environment() -> dict[str, str]:
    """What git needs of ours; none of the variables that point it at another repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


class GitPlace:
    """Checkpoints in the history of a branch; their time is the commit's."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self.name = f"git:{repository}"

    def read(self) -> Iterator[Kept]:
        """See `Place.read`."""
        listing = self._run("rev-parse", "--verify", "--quiet", BRANCH)
        if listing.returncode:
            if self._run("rev-parse", "--git-dir").returncode:
                why = listing.stderr.strip() or "it is no git repository"
                raise fail(f"the checkpoints in '{self.repository}' cannot be read", why)
            return
        words = _git(self.repository, "log", "--reverse", "--format=%H %ct", BRANCH)
        reader = _git(self.repository, "cat-file", "--batch")
        pipe, environment = subprocess.PIPE, _environment()
        with (
            subprocess.Popen(words, stdout=pipe, env=environment) as log,
            subprocess.Popen(reader, stdin=pipe, stdout=pipe, env=environment) as contents,
        ):
            assert log.stdout is not None
            assert contents.stdin is not None
            assert contents.stdout is not None
            for line in log.stdout:
                commit, _, time = line.decode("ascii").strip().partition(" ")
                contents.stdin.write(f"{commit}:{FILE}\n".encode())
                contents.stdin.flush()
                yield Kept(_content(contents.stdout), int(time))
            contents.stdin.close()
        if log.returncode or contents.returncode:
            raise fail(f"the checkpoints in '{self.repository}' cannot be read to their end")

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            _git(self.repository, *words),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            env=_environment(),
            check=False,
        )


def _content(file: IO[bytes]) -> bytes | None:
    """What ``cat-file --batch`` answers; None where it is no note."""
    words = file.readline().split()
    if len(words) != 3 or words[1] != b"blob":
        return None
    size = int(words[2])
    kept = file.read(size)
    file.read(1)
    return kept if size <= LIMIT else None


class GitWitness:
    """Commits each head, and pushes the branch where the repository has a remote named origin."""

    every: float = 60.0
    renew: float = 0.0

    def __init__(self, repository: Path, clock: Callable[[], float] = time.time) -> None:
        self.repository = repository
        self.name = f"git:{repository}"
        self._clock = clock
        self.place: Place = GitPlace(repository)

    def send(self, seals: Sequence[Seal]) -> None:
        """See `Witness.send`."""
        now, begun = int(self._clock()), not self._fails("rev-parse", "--verify", "--quiet", BRANCH)
        first, *more = (seal.note for seal in seals)
        # Within one stream each commit goes on from the one before by itself.
        commits = [_commit(first, now, begun), *(_commit(note, now, False) for note in more)]
        self._must(b"".join(commits), "fast-import", "--quiet")
        if not self._fails("remote", "get-url", "origin"):
            self._must(b"", "push", "--quiet", "origin", BRANCH)

    def _fails(self, *words: str) -> bool:
        return self._run(b"", *words).returncode != 0

    def _must(self, given: bytes, *words: str) -> None:
        done = self._run(given, *words)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise RefusedError(Problem(f"git {words[0]}: {said[-1] if said else 'failed'}"))

    def _run(self, given: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                _git(self.repository, *words),
                input=given,
                capture_output=True,
                timeout=_TIMEOUT,
                env=_environment(),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RefusedError(Problem(f"git {words[0]} did not end within {_TIMEOUT:.0f} s")) from None


def _commit(note: bytes, now: int, begun: bool) -> bytes:
    """One commit in the language of ``git fast-import``."""
    message = b"checkpoint of " + note.split(b"\n")[1] + b" entries\n"
    lines = [
        f"commit {BRANCH}\ncommitter sluice <sluice> {now} +0000\ndata {len(message)}\n".encode(),
        message,
        f"from {BRANCH}^0\n".encode() if begun else b"",
        f"M 100644 inline {FILE}\ndata {len(note)}\n".encode(),
        note,
        b"\n",
    ]
    return b"".join(lines)
