"""Verbs that start something: up, run, demo, doctor."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxy.cli.deciding import CONTROL, keys, say, unlock
from proxy.cli.parser import config, folder
from proxy.console import run_console
from proxy.control import ControlDesk
from proxy.correct import at_editor
from proxy.errors import Exit, SluiceError, fail
from proxy.keyring.asking import UntilTaken, ask
from proxy.keyring.desk import SigningDesk
from proxy.keyring.finding import finder, terminal_as_it_was
from proxy.paths import enforced_paths
from proxy.policy import load
from proxy.serve import run_console_or_wait
from proxy.wire import Desk

_SAME_ACCOUNT: Final = (
    "sluice: until reviewers have keys, anything of this account outside 'sluice run' can approve; "
    "start agents with: sluice run -- COMMAND"
)


def up(arguments: argparse.Namespace, _: list[str]) -> int:
    """`sluice up`."""
    settings = config(arguments, enforced_paths)
    _alone(settings.state)
    print(_SAME_ACCOUNT, file=sys.stderr)
    if not settings.console:
        asyncio.run(run_console_or_wait(settings, None))
        return int(Exit.YES)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise fail(
            "the console needs a terminal",
            "nobody could answer here",
            "sluice up --no-console, and answer with: sluice review, approve, deny",
        )

    async def console(desk: Desk) -> None:
        asking = UntilTaken(ask)
        find = finder(os.getuid(), None, keys(), asking, os.environ, say)
        at = SigningDesk(desk, find, clock=time.time)
        await unlock(at)
        asking.take()
        edit = at_editor(settings.state)
        await run_console(at, title="sluice up", clock=time.time, edit=edit, stops=True)

    with terminal_as_it_was():
        asyncio.run(run_console_or_wait(settings, console))
    return int(Exit.YES)


def _alone(state: Path) -> None:
    """SluiceError (exit 2) where a gate runs on the state folder already: that one is reviewed."""
    try:
        status = asyncio.run(ControlDesk(state / CONTROL).status())
    except SluiceError:
        return  # what is wrong there, and whether it matters, is found out where the parts are built
    raise fail(
        f"a gate runs on '{state}' already, at {status.proxy}",
        "a ledger has one gate",
        "sluice review; for another gate: sluice up --state DIR --listen 127.0.0.1:0",
    )


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """`sluice run -- COMMAND`."""
    from proxy.run import Launch, run

    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise fail("no command to run", fix="sluice run -- COMMAND")
    policy = load(arguments.policy).digest if arguments.policy else None
    return run(Launch(tuple(command), folder(arguments), _flags(words, arguments), policy))


def _flags(words: list[str], arguments: argparse.Namespace) -> tuple[str, ...]:
    """The flags of `up` among the words, as they were given, but for --state."""
    given = words[1 : len(words) - len(arguments.command)]
    kept: list[str] = []
    skip = False
    for word in given:
        if skip or word == "--state":
            skip = not skip
        elif not word.startswith("--state="):
            kept.append(word)
    return tuple(kept)


def demo(arguments: argparse.Namespace, _: list[str]) -> int:
    """`sluice demo`."""
    from proxy.demo import demo

    return demo(yes=arguments.yes)


def doctor(arguments: argparse.Namespace, _: list[str]) -> int:
    """`sluice doctor`."""
    from proxy.doctor import doctor

    return doctor(folder(arguments), arguments.listen, as_json=arguments.json, environment=os.environ)


VERBS: Final[dict[str, Callable[[argparse.Namespace, list[str]], int]]] = {
    "up": up,
    "run": run,
    "demo": demo,
    "doctor": doctor,
}
