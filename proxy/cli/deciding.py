"""Verbs that speak to a running gate: holds, show, approve, deny, review, pause, resume."""

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
from proxy.errors import Exit, fail
from proxy.render import emit, hold_lines, holds_lines, plain_line, printer, visible
from proxy.wire import HoldView, hold_json, whole_json

CONTROL: Final = "control.sock"


def desk(arguments: argparse.Namespace) -> ControlDesk:
    """The desk of the gate that runs on the state folder."""
    return ControlDesk(folder(arguments) / CONTROL, getattr(arguments, "name", None))


def _say(text: str) -> None:
    print(f"sluice: {visible(text)}", file=sys.stderr)


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


def _answer(arguments: argparse.Namespace, *, approves: bool) -> int:
    at = desk(arguments)
    view = asyncio.run(at.review(arguments.id, approves=approves, reason=arguments.reason))
    if arguments.json:
        print(json.dumps(hold_json(view)))
    else:
        print(f"sluice: {plain_line(view).plain}", file=sys.stderr)
        _say(_said(view, approves))
    return int(Exit.YES)


def _said(view: HoldView, approves: bool) -> str:
    if view.state == "pending":
        return f"approved; {view.approvals_needed} more needed before it is released"
    return "approved and released" if approves else "denied; the agent is told so"


def _pause(arguments: argparse.Namespace) -> int:
    status = asyncio.run(desk(arguments).pause(arguments.agent))
    _say(f"paused: {', '.join(status.paused)}; everything of it is refused until: sluice resume")
    return int(Exit.YES)


def _resume(arguments: argparse.Namespace) -> int:
    status = asyncio.run(desk(arguments).resume(arguments.agent))
    _say(f"still paused: {', '.join(status.paused)}" if status.paused else "nothing is paused")
    return int(Exit.YES)


def _review(arguments: argparse.Namespace) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise fail("the console needs a terminal", fix="sluice holds, show, approve and deny do without one")

    from proxy.console import run_console

    async def look() -> None:
        at = desk(arguments)
        await at.status()  # says at once that nobody is there, before the screen is taken
        await run_console(at, title="sluice review", clock=time.time)

    asyncio.run(look())
    return int(Exit.YES)


VERBS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "holds": _holds,
    "show": _show,
    "approve": lambda arguments: _answer(arguments, approves=True),
    "deny": lambda arguments: _answer(arguments, approves=False),
    "review": _review,
    "pause": _pause,
    "resume": _resume,
}
