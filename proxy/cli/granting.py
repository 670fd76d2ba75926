"""Verbs about time and grants: grants, revoke, extend; and approving the like of a hold."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Final

from proxy.cli.deciding import desk, say
from proxy.errors import Exit, fail
from proxy.keyring.finding import terminal_as_it_was
from proxy.render import emit, grant_lines, printer, time_left
from proxy.wire import Standing, grant_json


def _grants(arguments: argparse.Namespace) -> int:
    standing = asyncio.run(desk(arguments).grants())
    _print(standing, as_json=arguments.json)
    return int(Exit.YES)


def _print(standing: Standing, *, as_json: bool) -> None:
    if as_json:
        for view in standing.grants:
            print(json.dumps(grant_json(view)))
        return
    emit(printer(sys.stdout, os.environ), list(grant_lines(standing.grants, time.time())))


def _revoke(arguments: argparse.Namespace) -> int:
    if arguments.all == bool(arguments.id):
        raise fail("name one grant, or --all", fix="sluice grants lists them")
    with terminal_as_it_was():
        standing = asyncio.run(desk(arguments).revoke(arguments.id or ""))
    say(f"revoked; {len(standing.grants)} still stand" if standing.grants else "revoked; no grant stands")
    return int(Exit.YES)


def _extend(arguments: argparse.Namespace) -> int:
    with terminal_as_it_was():
        view = asyncio.run(desk(arguments).extend(arguments.id, arguments.seconds))
    say(f"hold {view.id[:6]} has {time_left(view.deadline - time.time())} left")
    return int(Exit.YES)


VERBS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "grants": _grants,
    "revoke": _revoke,
    "extend": _extend,
}
