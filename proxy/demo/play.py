"""
`sluice demo`: the whole main job on this machine, with nothing real at the other end.

The gate is `sluice up`, the agent runs under `sluice run`, and the reviewer is the console in
this terminal. With `--yes` the reviewer is this program, and the end is checked: what the
APIs saw is exactly what was approved, and the ledger says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from proxy.childgate import start_gate
from proxy.console import run_console
from proxy.control.client import ControlDesk
from proxy.correct import at_editor
from proxy.decision import Word
from proxy.demo.authority import Authority
from proxy.demo.fakes import BANK, FILES, MAIL, fakes
from proxy.demo.upstream import Upstream
from proxy.errors import Exit
from proxy.ledger.read import Filter, entries, reading
from proxy.ledger.verify import verify
from proxy.paths import packaged
from proxy.render.text import visible
from proxy.wire import Change, HoldView, Snapshot

_INTRO: Final = """\
A fake bank, mail and file API run on this machine, and an agent that uses
them. What it sends goes through the gate, under the starter policies: reading
flows, what is risky waits for you.

  a  approve   d  deny, with a reason   enter  look at it   ?  help   q  quit
"""

_INTRO_YES: Final = """\
A fake bank, mail and file API run on this machine, and an agent that uses
them. What it sends goes through the gate, under the starter policies.
"""

# What `sluice run` says to whoever starts an agent; here that is us.
_SAID_BY_RUN: Final = ("sluice: held requests wait", "sluice: the agent can read")

_REASON: Final = "500 people is a campaign: ask marketing first"

# In `--yes` one request is left unanswered, to show that silence refuses: not for ten minutes.
_NOBODY_ANSWERS: Final = f"""\
version: 1
rules:
  - name: demo-nobody-answers
    why: Silence refuses.
    match: {{host: {FILES}, method: DELETE}}
    then: hold
    hold: {{timeout: 2s}}
"""

_ENDS_WITHIN: Final = 60.0  # seconds, with --yes; something is broken after that
_LAST_LOOK: Final = 2.0  # seconds that the console stays after the agent has ended


@dataclass(frozen=True, slots=True)
class Wish:
    """Something that the agent wants and that waits; `yes` is what `--yes` has come of it."""

    what: str
    host: str
    method: str
    yes: Word


_WISHES: Final = (
    Wish("a refund of 4,200.00 USD", BANK, "POST", Word.APPROVED),
    Wish("a mail to 500 people", MAIL, "POST", Word.DENIED),
    Wish("a bucket deleted", FILES, "DELETE", Word.EXPIRED),
)


@dataclass(frozen=True, slots=True)
class Fulfilled:
    """What came of a wish: the ledger's word (None: nothing is written), and how often it arrived."""

    wish: Wish
    decision: Word | None
    arrived: int

    @property
    def kept(self) -> bool:
        """Whether exactly what was let through has arrived."""
        return self.arrived == (1 if self.decision is not None and self.decision.opens else 0)


@dataclass(slots=True)
class Stage:
    """Where the demo plays: the state folder, the APIs, and what was said."""

    state: Path
    apis: Upstream
    yes: bool
    said: list[str] = field(default_factory=list)

    @property
    def desk(self) -> ControlDesk:
        """The reviewer's end."""
        return ControlDesk(self.state / "control.sock")

    def say(self, who: str, line: str) -> None:
        """A line of the transcript; at once where no console has the terminal."""
        text = f"  {who:<9} {visible(line)}"
        self.said.append(text)
        if self.yes:
            _print(text)


def demo(*, yes: bool) -> int:
    """
    Play it; 0 where the APIs saw exactly what was approved and the ledger verifies, else 1.

    Without a terminal it decides by itself, as with `yes`. The state folder stays, so that
    the ledger can be read, but for a `yes` that went well.
    """
    if not yes and not (sys.stdin.isatty() and sys.stdout.isatty()):
        _print("There is no terminal here, so the demo decides by itself, as with --yes.\n")
        yes = True
    state = Path(tempfile.mkdtemp(prefix="sluice-demo-"))
    if not yes and not _begin():
        shutil.rmtree(state)
        return Exit.YES
    if yes:
        _print(_INTRO_YES)
    authority = Authority.make()
    with fakes(authority) as apis:
        stage = Stage(state, apis, yes)
        with start_gate(state, _flags(stage, authority), environment=os.environ):
            apis.serve()
            asyncio.run(_play(stage))
        good = _report(stage)
    if yes and good:
        shutil.rmtree(state)
    return Exit.YES if good else Exit.NO


def _begin() -> bool:
    _print(_INTRO)
    try:
        input("Press Enter to start. ")
    except (EOFError, KeyboardInterrupt):
        _print("")
        return False
    return True


def _flags(stage: Stage, authority: Authority) -> list[str]:
    ca = stage.state / "demo-upstream-ca.pem"
    ca.write_bytes(authority.certificate)
    flags = ["--listen=127.0.0.1:0", f"--upstream-ca={ca}", f"--policy={packaged()}"]
    if stage.yes:
        extra = stage.state / "demo-policy.yaml"
        extra.write_text(_NOBODY_ANSWERS)
        flags.append(f"--policy={extra}")
    return flags + stage.apis.resolve_flags()


async def _play(stage: Stage) -> None:
    async with _agent(stage) as ended:
        if not stage.yes:
            await _watch(stage, ended)
            return
        deciding = asyncio.ensure_future(_decide(stage))
        try:
            await asyncio.wait({ended, deciding}, timeout=_ENDS_WITHIN, return_when=asyncio.FIRST_COMPLETED)
            if deciding.done():  # only an error ends it
                deciding.result()
        finally:
            deciding.cancel()
            await asyncio.wait({deciding})


@contextlib.asynccontextmanager
async def _agent(stage: Stage) -> AsyncIterator[asyncio.Future[None]]:
    """The agent under `sluice run`; gives what is done once it has ended, and ends it at last."""
    sluice = (sys.executable, "-P", "-m", "proxy", "run", "--state", str(stage.state))
    process = await asyncio.create_subprocess_exec(
        *(*sluice, "--", sys.executable, "-P", "-m", "proxy.demo.agent"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # the terminal is the console's
    )
    ended = asyncio.ensure_future(_listen(process, stage))
    try:
        yield ended
    finally:
        if not ended.done():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        await ended


async def _listen(process: asyncio.subprocess.Process, stage: Stage) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        text = line.decode(errors="replace").rstrip()
        if not text.startswith(_SAID_BY_RUN):
            stage.say("agent", text)
    if status := await process.wait():
        stage.say("agent", f"ended with status {status}")


async def _watch(stage: Stage, ended: asyncio.Future[None]) -> None:
    """The console, until the person quits or there is nothing more to see."""
    edit = at_editor(stage.state)
    console = asyncio.ensure_future(run_console(stage.desk, title="sluice demo", clock=time.time, edit=edit))
    both: set[asyncio.Future[Any]] = {ended, console}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if not console.done():
        await asyncio.wait({console}, timeout=_LAST_LOOK)
        console.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await console


async def _decide(stage: Stage) -> None:
    """The reviewer of `--yes`: yes to the refund, no to the mail, and silence."""
    async for change in stage.desk.changes():
        for hold in _opened(change):
            stage.say("gate", f"holds: {_short(hold.says or hold.operation)}  ({hold.rule})")
            if f"//{BANK}/" in hold.url:
                stage.say("reviewer", "approves the refund")
                await stage.desk.review(hold.id, approves=True, digest=hold.digest)
            elif f"//{MAIL}/" in hold.url:
                stage.say("reviewer", f"denies the mail: {_REASON}")
                await stage.desk.review(hold.id, approves=False, reason=_REASON, digest=hold.digest)
            else:
                stage.say("reviewer", "does not answer")


def _opened(change: Snapshot | Change) -> Iterable[HoldView]:
    if isinstance(change, Snapshot):
        return change.holds
    return (change.hold,) if change.kind == "opened" and change.hold else ()


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _report(stage: Stage) -> bool:
    """Say what came of it; whether everything is as it must be."""
    if not stage.yes:
        _print("\nWhat the agent said\n" + "\n".join(stage.said))
    ledger = stage.state / "ledger.db"
    outcome = [_fulfilled(wish, stage.apis, ledger) for wish in _WISHES]
    report = verify(ledger, time.time())
    reads = stage.apis.count(BANK, "GET") + stage.apis.count(FILES, "GET")
    _print("\nWhat really arrived at the APIs")
    _print(f"  {'three reads':<26} {'allowed':<11} {reads} times")
    for one in outcome:
        _print(f"  {one.wish.what:<26} {one.decision or 'not asked':<11} {_times(one.arrived)}")
    _print(
        f"\nThe ledger has {report.entries} entries, and its chain {'holds' if report.ok else 'is BROKEN'}."
    )
    good = report.ok and reads == 3 and all(one.kept for one in outcome)
    if stage.yes:
        good = good and all(one.decision is one.wish.yes for one in outcome)
    _print(_next_steps(stage.state, kept=not (stage.yes and good)))
    if not good:
        _print("\nThis is not as it must be: what arrived and what was decided differ.", sys.stderr)
    return good


def _fulfilled(wish: Wish, apis: Upstream, ledger: Path) -> Fulfilled:
    wanted = Filter(kinds=frozenset({"decided"}), host=wish.host)
    with reading(ledger) as connection:
        found = [fields for _, fields in entries(connection, wanted) if fields.get("method") == wish.method]
    decision = Word(str(found[-1]["decision"])) if found else None
    return Fulfilled(wish, decision, apis.count(wish.host, wish.method))


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def _next_steps(state: Path, *, kept: bool) -> str:
    sluice, folder = _sluice(), shlex.quote(str(state))
    own = f"  {sluice} up                 the gate, and its console\n"
    own += f"  {sluice} run -- COMMAND     your agent behind it"
    if not kept:
        return f"\nDecide yourself, in a terminal\n  {sluice} demo\nThen, with an agent of your own\n{own}"
    return f"""
Read the ledger of this demo, and remove it
  {sluice} ledger show --state {folder}
  {sluice} ledger verify --state {folder}
  rm -r {folder}
Then, with an agent of your own
{own}"""


def _sluice() -> str:
    """How this program is called from here."""
    if shutil.which("sluice"):
        return "sluice"
    script = Path(sys.executable).with_name("sluice")
    with contextlib.suppress(ValueError):
        script = script.relative_to(Path.cwd())
    return shlex.quote(str(script))


def _print(text: str, file: IO[str] | None = None) -> None:
    print(text, file=file, flush=True)
