"""`sluice edit`: correct a request in an editor, and release what became of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable
from typing import Final

from proxy.cli.deciding import desk
from proxy.cli.parser import folder
from proxy.correct import Place, correct
from proxy.errors import Exit
from proxy.wire import HoldView, hold_json


def _edit(arguments: argparse.Namespace) -> int:
    try:
        view = asyncio.run(_edited(arguments))
    except asyncio.CancelledError:
        print("sluice: ended; nothing was edited", file=sys.stderr)
        return 128 + signal.SIGTERM
    if view is None:
        print("sluice: not edited", file=sys.stderr)
        return int(Exit.NO)
    if arguments.json:
        print(json.dumps(hold_json(view)))
    print(f"sluice: {_said(view)}", file=sys.stderr)
    return int(Exit.YES)


async def _edited(arguments: argparse.Namespace) -> HoldView | None:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel if task else loop.stop)
    at = desk(arguments)
    return await correct(at, arguments.id, Place.of(folder(arguments)), arguments.reason)


def _said(view: HoldView) -> str:
    if view.state == "pending":
        return f"edited; {view.approvals_needed} more needed before it is released"
    return "edited and released"


VERBS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {"edit": _edit}
