"""Verbs that speak to a running gate: holds, show, review, pause, resume."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Final

from proxy.cli.parser import folder
from proxy.control import ControlDesk
from proxy.correct import at_editor
from proxy.errors import Exit, SluiceError, fail
from proxy.keyring import Ask
from proxy.keyring.asking import UntilTaken, ask
from proxy.keyring.desk import SigningDesk
from proxy.keyring.files import Keys
from proxy.keyring.finding import FOLDER, finder, terminal_as_it_was
from proxy.render import emit, hold_lines, holds_lines, printer, problem_lines, visible
from proxy.state import config_folder
from proxy.wire import hold_json, whole_json

CONTROL: Final = "control.sock"
LEAST: Final = 8
"""Hex digits of a digest that name it."""


def desk(arguments: argparse.Namespace, ask: Ask = ask) -> SigningDesk:
    """The desk of the gate that runs on the state folder; what is decided is signed, where it must be."""
    name = getattr(arguments, "name", None)
    return SigningDesk(
        ControlDesk(folder(arguments) / CONTROL, name),
        finder(os.getuid(), name, keys(), ask, os.environ, say),
        clock=time.time,
    )


def keys() -> Keys:
    """The keys of this account."""
    return Keys(config_folder(os.environ) / FOLDER)


def say(text: str) -> None:
    """Talk, as text that acts on no terminal."""
    print(f"sluice: {visible(text)}", file=sys.stderr)


def agrees(question: str) -> bool:
    """Whether whoever sits at the terminal says yes."""
    print(f"sluice: {question} (y/N)? ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def names(given: str, digest: str) -> bool:
    """Whether somebody has given a digest (hex), or enough of its beginning."""
    return len(given) >= LEAST and digest.startswith(given.lower())


def _holds(arguments: argparse.Namespace) -> int:
    snapshot = asyncio.run(desk(arguments).snapshot())
    if arguments.json:
        for view in snapshot.holds:
            print(json.dumps(hold_json(view)))
        return int(Exit.YES)
    emit(printer(sys.stdout, os.environ), list(holds_lines(snapshot.holds, time.time())))
    return int(Exit.YES)


def _show(arguments: argparse.Namespace) -> int:
    view = asyncio.run(desk(arguments).show(arguments.id))
    if arguments.json:
        print(json.dumps(whole_json(view)))
    else:
        emit(printer(sys.stdout, os.environ), list(hold_lines(view, time.time())))
    return int(Exit.YES)


def _pause(arguments: argparse.Namespace) -> int:
    status = asyncio.run(desk(arguments).pause(arguments.agent))
    say(f"paused: {', '.join(status.paused)}; everything of it is refused until: sluice resume")
    return int(Exit.YES)


def _resume(arguments: argparse.Namespace) -> int:
    with terminal_as_it_was():
        status = asyncio.run(desk(arguments).resume(arguments.agent))
    say(f"still paused: {', '.join(status.paused)}" if status.paused else "nothing is paused")
    return int(Exit.YES)


def _review(arguments: argparse.Namespace) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise fail("the console needs a terminal", fix="sluice holds, show, approve and deny do without one")

    from proxy.console import run_console

    async def look() -> None:
        asking = UntilTaken(ask)
        at = desk(arguments, asking)
        await at.status()  # says at once that nobody is there, before the screen is taken
        await unlock(at)
        asking.take()
        await run_console(at, title="sluice review", clock=time.time, edit=at_editor(folder(arguments)))

    with terminal_as_it_was():
        asyncio.run(look())
    return int(Exit.YES)


async def unlock(at: SigningDesk) -> None:
    """Ask for the passphrase where decisions are signed, once; who has none can look all the same."""
    if not (await at.roll()).reviewers:
        return
    try:
        await at.ready()
    except SluiceError as error:
        talk = printer(sys.stderr, os.environ)
        for problem in error.problems:
            emit(talk, list(problem_lines(problem)))
        say("what you decide here will not count")


VERBS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "holds": _holds,
    "show": _show,
    "review": _review,
    "pause": _pause,
    "resume": _resume,
}
