"""
A policy that changes while the gate runs.

The files are looked at twice a second. A changed policy that loads waits, with its difference
in words, until a reviewer takes it (or is taken at once under `--reload auto`); one that does
not load changes nothing and is shown. The policy in force stays admission's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from proxy.errors import Exit, SluiceError, fail
from proxy.policy import Policy, load
from proxy.policy.difference import difference
from proxy.policy.files import stamp

_INTERVAL: Final = 0.5


class Reload:
    """
    Watches the policy's files.

    `take` puts a policy in force (policy, who took it, difference); `changed` is called
    whenever what a reviewer sees of this has changed.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        policy: Policy,
        *,
        automatic: bool,
        take: Callable[[Policy, str, str], None],
        changed: Callable[[], None],
    ) -> None:
        self._paths = paths
        self._policy = policy
        self._automatic = automatic
        self._take = take
        self._changed = changed
        self._stamp = stamp(paths)
        self._waiting: Policy | None = None
        self.difference = ""
        self.error = ""

    @property
    def waiting(self) -> str:
        """The digest of the policy that waits to be taken, empty for none."""
        return "" if self._waiting is None else self._waiting.digest

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            self.look()

    def look(self) -> None:
        """Load the files again if they have changed."""
        found = stamp(self._paths)
        if found == self._stamp:
            return
        self._stamp = found
        self._waiting, self.difference, self.error = None, "", ""
        try:
            policy = load(self._paths)
        except SluiceError as problems:
            self.error = "\n".join(str(problem) for problem in problems.problems)
        else:
            self._offer(policy)
        self._changed()

    def _offer(self, policy: Policy) -> None:
        if policy.digest == self._policy.digest:
            return
        self._waiting = policy
        self.difference = difference(self._policy, policy)
        if self._automatic:
            self.accept("--reload auto", policy.digest)

    def accept(self, by: str, digest: str) -> None:
        """Take the policy that waits, if it has this `digest`: whoever takes it was shown that one."""
        if self._waiting is None:
            why = "the changed file does not load" if self.error else "the files say what is in force"
            raise fail("no changed policy waits to be taken", why, "sluice policy check", exit=Exit.NO)
        if digest != self._waiting.digest:
            raise fail("the policy has changed again since you saw it", fix="look at it again", exit=Exit.NO)
        self._policy, self._waiting = self._waiting, None
        said, self.difference = self.difference, ""
        self._take(self._policy, by, said)
        self._changed()
