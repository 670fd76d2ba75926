"""
No agent answers for itself: what a process below a `sluice run` may not ask.

`sluice run` says hello before it starts its agent: its process becomes a *guarded root*. From
then on whoever has a guarded root at or above it is refused everything. A process can leave
that tree only by the death of the root, which is the subreaper of all below it; the kernel
closes the root's connection before it hands its children on, and a connection that ends
without goodbye locks the desk until a person at the gate's own console lifts that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy.errors import Exit, SluiceError, fail
from proxy.linux import peer as kernel
from proxy.linux.peer import Connected, Peer
from proxy.linux.tree import Process
from proxy.wire import Call, Verb

_ROOTS: Final = 256
_OWN: Final = frozenset({Verb.RUN_HELLO, Verb.RUN_GOODBYE, Verb.STATUS})


@dataclass(frozen=True, slots=True)
class Root:
    """A `sluice run`: its process, named by id and start, and the connection that it keeps open."""

    pid: int
    started: int
    connection: Connected


class Guard:
    """
    The guarded roots and the lock. For the event loop alone.

    `locked` says why no decision is taken from the socket, empty where one is; `notice` is
    called whenever that changes.
    """

    def __init__(self, notice: Callable[[], None] = lambda: None) -> None:
        self.locked = ""
        self._notice = notice
        self._roots: list[Root] = []

    def hello(self, peer: Peer, connection: Connected) -> Root:
        """Guard the tree below this process from now on."""
        line = self._line(peer)
        if len(self._roots) >= _ROOTS:
            raise _no(f"{_ROOTS} agents run already", "no more can be told apart safely", "end some of them")
        if any(self._is_root(process) for process in line):
            raise _no("this process runs behind the gate already", "", "start the agent without sluice run")
        root = Root(peer.pid, line[0].started, connection)
        self._roots.append(root)
        return root

    def goodbye(self, root: Root) -> None:
        """Nothing below this root lives any more, it says."""
        self._roots.remove(root)

    def lose(self, root: Root) -> None:
        """The root's connection ended, and it had not said goodbye: lock the desk."""
        if root not in self._roots:
            return
        self._roots.remove(root)
        self.locked = (
            f"sluice run (process {root.pid}) ended without goodbye; "
            "an agent that it started may still be there and could approve its own requests"
        )
        self._notice()

    def unlock(self) -> None:
        """A person at the gate's own console says that decisions may be taken again."""
        if self.locked:
            self.locked = ""
            self._notice()

    @property
    def roots(self) -> int:
        """How many agents are guarded."""
        return len(self._roots)

    def screen(self, peer: Peer) -> None:
        """Raise SluiceError with exit 1 where this process may not ask anything, before it asks."""
        if self._roots:
            self._check_tree(peer, Verb.STATUS)

    def check(self, peer: Peer, call: Call) -> None:
        """Raise SluiceError with exit 1 where this process may not ask this now."""
        if self._roots:
            self._check_tree(peer, call.verb)
        if call.verb is Verb.UNLOCK:
            raise _no("the desk is unlocked at the gate's own console alone", self.locked, _UNLOCK)
        if self.locked and opens(call):
            raise _no("the desk is locked: nothing is approved over the socket", self.locked, _UNLOCK)

    def _check_tree(self, peer: Peer, verb: Verb) -> None:
        line = self._line(peer)
        if any(self._is_root(process) for process in line) and not (self._is_root(line[0]) and verb in _OWN):
            raise _no("an agent may not ask this", "this process was started by sluice run", _ELSEWHERE)
        # Only now: whoever was reparented while we looked finds its root's connection closed.
        if any(kernel.hung_up(root.connection) for root in self._roots):
            raise _no("a sluice run is just ending", "what it started may still be there", "ask again")

    def _line(self, peer: Peer) -> tuple[Process, ...]:
        line = kernel.ancestors(peer)
        if line is None:
            why = "while agents run, only a process that is known not to be one of theirs is heard"
            raise _no("nobody can say which process asks", why, _ELSEWHERE)
        return line

    def _is_root(self, process: Process) -> bool:
        return any((root.pid, root.started) == (process.pid, process.started) for root in self._roots)


_ELSEWHERE: Final = "ask from a terminal of your own, in the same place as the gate"
_UNLOCK: Final = "press u in the console of sluice up; without a console: stop and start the gate"


def opens(call: Call) -> bool:
    """Whether a call could let something through that waits or is refused now."""
    match call.verb:
        case Verb.REVIEW:
            return call.approves
        case Verb.ACCEPT | Verb.RESUME | Verb.UNLOCK | Verb.ERASE:
            return True  # an erasure lets nothing through, and is as little an agent's to ask for
        case Verb.EXTEND | Verb.GRANT:
            return True  # silence would have refused
        case Verb.ENROL | Verb.REGROUP | Verb.ROTATE_KEY | Verb.REVOKE_KEY:
            return True  # whoever is on the roll decides
        case Verb.EDIT:
            return True  # it is an approval too
        case Verb.OFFER | Verb.GRANTS | Verb.REVOKE | Verb.ROLL | Verb.SHEET | Verb.PREVIEW:
            return False
        case Verb.CHANGES | Verb.SNAPSHOT | Verb.STATUS | Verb.SHOW | Verb.PAUSE:
            return False
        case Verb.RUN_HELLO | Verb.RUN_GOODBYE:
            return False


def _no(what: str, why: str, fix: str) -> SluiceError:
    return fail(what, why, fix, exit=Exit.NO)
