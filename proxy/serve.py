"""
A gate from start to stop: builds the parts, runs them, stops them in order.

The order is the point. Nothing is accepted before everything that could refuse is there, and
at the end everyone who waits is answered before the ledger closes.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import grp
import json
import logging
import os
import pwd
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy import __version__, editor
from proxy.admission import Admission, Rules
from proxy.approvals import Approvals
from proxy.awsmodels import models
from proxy.config import Config, Resolve
from proxy.control import ControlServer, Guard
from proxy.decode import Facts
from proxy.desk import Board, LocalDesk
from proxy.enrolment import Enrolment
from proxy.errors import fail
from proxy.evidence import Evidence
from proxy.gate.embedding import Gate, GateConfig
from proxy.gate.reading import Address
from proxy.hold import Hold
from proxy.known import Known, known
from proxy.ledger import Ledger
from proxy.ledger.enrolled import roll_of
from proxy.ledger.opening import Recovered
from proxy.linux.tree import refuse_tracing
from proxy.policy import Policy, load
from proxy.policy.files import load_document
from proxy.reload import Reload
from proxy.reviewers import Reviewers, parse
from proxy.state import config_folder, prepare, secret_key

__all__ = ["Config", "Resolve", "Running", "run_console_or_wait", "running"]

CONTROL: Final = "control.sock"
CREDENTIALS: Final = "credentials.key"
_ANSWERED_WITHIN: Final = 4.0

log = logging.getLogger("sluice")

type Console = Callable[[LocalDesk], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Running:
    """A gate that accepts traffic and decisions."""

    proxy: str
    control: Path
    ca: Path
    board: Board
    guard: Guard
    vkey: str

    def ready_line(self) -> str:
        """What `up --no-console` prints once."""
        line = {
            "event": "ready",
            "proxy": self.proxy,
            "control": str(self.control),
            "ca": str(self.ca),
            "pid": os.getpid(),
        }
        return json.dumps(line)

    def console_desk(self) -> LocalDesk:
        """The desk for this process's own terminal, which alone may lift a lock."""
        uid = os.getuid()
        return LocalDesk(self.board, self.board.enrolment.who(uid, account(uid)), lift=self.guard.unlock)


class Ids:
    """
    Names for holds and decisions: each call gives 130 random bits as 26 lower-case letters and digits.

    They are drawn many at a time: asking the system for each would let go of the interpreter once
    for each, just when the ledger's thread wants it.
    """

    def __init__(self, draw: Callable[[int], bytes] = os.urandom) -> None:
        self._draw = draw
        self._drawn: list[str] = []

    def __call__(self) -> str:
        """The next one; no other call has given it or will."""
        if not self._drawn:
            # 65 bytes are 4 times 26 digits of 5 bits.
            digits = base64.b32hexencode(self._draw(65 * 16)).decode().lower()
            self._drawn = [digits[at : at + 26] for at in range(0, len(digits), 26)]
        return self._drawn.pop()


def account(uid: int) -> str:
    """What the system calls an account."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Running]:
    """
    Everything that a gate is, for as long as the block runs.

    Raises SluiceError where it cannot start: a policy that does not load, a port in use, a
    state folder that others can write, a ledger that is broken or newer, a CA that does not
    match its key.
    """
    group = _group(config.review_group)
    prepare(config.state, group=group)
    editor.sweep(config.state)
    policy = load(config.policy)
    reviewers = load_reviewers(config_folder(os.environ) / "reviewers.yaml")
    async with AsyncExitStack() as stack:
        evidence = Evidence(config)
        stack.push_async_callback(evidence.close)
        ledger, recovered = await evidence.open(_started(config, policy.digest))
        why = ["an error"]
        stack.push_async_callback(lambda: ledger.close(why[0]))
        _say_what_was_left(recovered)
        before = await asyncio.to_thread(known, config.ledger, time.time())
        admission = _admission(config, policy, ledger, before)
        _say_what_is_paused(before.paused)
        stack.push_async_callback(admission.counting.close)
        gate = Gate(_gate_config(config), admission)
        url = _url(await gate.start())
        stack.push_async_callback(gate.stop)
        stack.push_async_callback(admission.close, _ANSWERED_WITHIN)
        roll = await asyncio.to_thread(roll_of, config.ledger)
        enrolment = Enrolment(roll, ledger, clock=time.time, file=reviewers)
        board = Board(admission, proxy=url, enrolment=enrolment)
        board.ledger_error = lambda: ledger.trouble
        board.witness_error = lambda: evidence.trouble
        board.erase = evidence.erase
        evidence.start(board.status_changed, lambda: admission.policy.retention)
        guard = Guard(board.status_changed)
        board.locked = lambda: guard.locked
        enrolment.busy = lambda: _busy(gate, guard, admission)
        await _watch_policy(stack, config, board)
        control = ControlServer(
            config.state / CONTROL, lambda who: LocalDesk(board, who), reviewers=enrolment, guard=guard
        )
        await control.open(group)
        stack.push_async_callback(control.close)
        yield Running(url, control.path, gate.ca_pem, board, guard, ledger.vkey)
        why[0] = "stopped"


def _busy(gate: Gate, guard: Guard, admission: Admission) -> str:
    """Why an agent may be there, which could enrol itself; empty where none is."""
    if guard.roots:
        return "an agent runs (sluice run)"
    if gate.connections:
        return "an agent is connected"
    if admission.approvals.open_holds:
        return "a request of an agent waits"
    return guard.locked


def _url(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"http://{host}:{address.port}"


def _admission(config: Config, policy: Policy, ledger: Ledger, before: Known) -> Admission:
    admission = Admission(
        policy,
        Approvals(time.time),
        ledger,
        facts=Facts(before.seen, secret_key(config.state, CREDENTIALS), models()),
        clock=time.time,
        new_id=Ids(),
        rules=Rules(config.shadow, config.strict, config.body_limit, config.record_reads == "counts"),
        released=before.seen.add,
        budgets=before.budgets,
        grants=before.grants,
        past=before.past,
    )
    admission.paused.update(before.paused)
    return admission


async def run_console_or_wait(config: Config, console: Console | None) -> None:
    """
    Run a gate until its console ends, or until it is told to stop (SIGTERM, SIGINT).

    Without a console one JSON line is printed on stdout once it is ready, and nothing after.
    """
    refuse_tracing()  # or an agent of this account could decide through us
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    async with running(config) as gate:
        print(
            f"sluice: the ledger is signed by {gate.vkey}; to verify it against that: --key", file=sys.stderr
        )
        if console is None:
            gate.board.admission.approvals.watch(_remind)
            print(gate.ready_line(), flush=True)
            await stop.wait()
            return
        shown = asyncio.ensure_future(console(gate.console_desk()))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({shown, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        shown.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await shown


def _remind(what: str, hold: Hold) -> None:
    """Where no console shows it: half of a hold's time has gone, and nobody has answered."""
    if what == "reminder":
        log.warning("hold %s waits, and half of its time has gone: sluice review", hold.id[:6])


def _say_what_was_left(recovered: Recovered) -> None:
    """What the run before left open, and what became of it; the ledger has it in full."""
    if recovered.cut_off:
        ids = ", ".join(id[:6] for id in recovered.cut_off[:20])
        more = ", …" if len(recovered.cut_off) > 20 else ""
        log.warning(
            "the last run ended while %d holds waited; they were cut off, nothing of them was sent: %s%s",
            len(recovered.cut_off),
            ids,
            more,
        )
    if recovered.unfinished:
        log.warning(
            "%d requests had been let through when the last run ended; what became of them is unknown",
            len(recovered.unfinished),
        )
    if not recovered.clean and not recovered.new:
        log.warning("the last run did not stop in order: entries that were queued then may be lost")
    if recovered.uncounted:
        log.warning("reads that it let through since %s may not be counted", recovered.uncounted)


def _say_what_is_paused(agents: frozenset[str]) -> None:
    """What was paused before this start, and still is."""
    if agents:
        log.warning(
            "paused since before this start: %s; all of it is refused until: sluice resume",
            ", ".join(sorted(agents)[:20]),
        )


async def _watch_policy(stack: AsyncExitStack, config: Config, board: Board) -> None:
    reload = Reload(
        config.policy,
        board.admission.policy,
        automatic=config.reload == "auto",
        take=board.admission.change_policy,
        changed=board.status_changed,
    )
    board.reload = reload
    watching = asyncio.create_task(reload.watch(), name="policy")

    async def end() -> None:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching

    stack.push_async_callback(end)


def load_reviewers(path: Path) -> Reviewers:
    """The people who may review; everyone who reaches the socket where there is no file."""
    if not path.exists():
        return Reviewers()
    return parse(load_document(path), str(path))


def _group(name: str | None) -> int | None:
    if name is None:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise fail(f"there is no group '{name}'", fix="getent group lists them") from None


def _gate_config(config: Config) -> GateConfig:
    return GateConfig(
        host=config.host,
        port=config.port,
        state=config.state,
        resolve={(one.host, one.port): (one.address, one.to) for one in config.resolve},
        upstream_ca=config.upstream_ca,
        body_limit=config.body_limit,
        hold_memory=config.hold_memory,
    )


def _started(config: Config, policy: str) -> dict[str, object]:
    """What the `started` entry names, so that an auditor sees how the gate was set up."""
    return {
        "version": __version__,
        "policy": policy,
        "listen": f"{config.host}:{config.port}",
        "shadow": config.shadow,
        "strict": config.strict,
        "record_reads": config.record_reads,
        "encrypt_payloads": config.encrypt_payloads,
        "resolve": [str(one) for one in config.resolve],
        "upstream_ca": None if config.upstream_ca is None else str(config.upstream_ca),
        "python": sys.version.split()[0],
    }
