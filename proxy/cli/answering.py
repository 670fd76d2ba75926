"""`sluice approve` and `sluice deny`: one hold or several, each by its own digest, and the like of one."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Final

from proxy.cli.deciding import LEAST, agrees, desk, names, say
from proxy.console.groups import Group
from proxy.errors import Exit, SluiceError, fail
from proxy.keyring.desk import SigningDesk
from proxy.keyring.finding import terminal_as_it_was
from proxy.render import emit, hold_lines, offer_lines, plain_line, printer, problem_lines, time_left, visible
from proxy.wire import HoldView, hold_json

MOST: Final = 50
"""Holds that one command answers at most."""

SECONDS: Final = 600
USES: Final = 5


def _approve(arguments: argparse.Namespace) -> int:
    if arguments.like:
        return _run(arguments, _approve_like)
    if arguments.field or arguments.seconds is not None or arguments.uses is not None:
        raise fail("--for, --uses and --field are about a grant", fix="add --like")
    return _run(arguments, _approve_each)


def _deny(arguments: argparse.Namespace) -> int:
    return _run(arguments, _deny_each)


type Answering = Callable[[SigningDesk, argparse.Namespace], Coroutine[None, None, Exit]]


def _run(arguments: argparse.Namespace, answer: Answering) -> int:
    if len(arguments.id) > MOST:
        raise fail(f"more than {MOST} holds at once", fix="answer them in parts")
    with terminal_as_it_was():
        return int(asyncio.run(answer(desk(arguments), arguments)))


async def _approve_each(at: SigningDesk, arguments: argparse.Namespace) -> Exit:
    if arguments.digest is not None and len(arguments.id) != 1:
        raise fail("--digest is of one hold", fix="sluice approve ID --digest DIGEST")
    return await _each(at, arguments, approves=True)


async def _deny_each(at: SigningDesk, arguments: argparse.Namespace) -> Exit:
    return await _each(at, arguments, approves=False)


async def _each(at: SigningDesk, arguments: argparse.Namespace, *, approves: bool) -> Exit:
    """Answer each; one that is gone keeps nobody from the others, and makes the answer no."""
    views = await _look(at, arguments.id)
    signed = bool((await at.roll()).reviewers)
    worst = Exit.YES
    for view in views:
        if signed or (approves and view.edited_by):
            # Signed is what was shown: so it is shown before it is signed.
            emit(printer(sys.stderr, os.environ), list(hold_lines(view, time.time())))
        try:
            if approves:
                _check_digest(view.id, view.digest, arguments.digest)
                _confirm(view)
            done = await at.review(view.id, approves=approves, reason=arguments.reason, digest=view.digest)
        except SluiceError as error:
            if len(views) == 1 or error.exit is Exit.UNREACHABLE:
                raise
            worst = Exit.NO
            for problem in error.problems:
                emit(printer(sys.stderr, os.environ), list(problem_lines(problem)))
        else:
            _tell(done, approves, arguments.json)
    return worst


async def _look(at: SigningDesk, ids: Sequence[str]) -> list[HoldView]:
    """The holds as they are now, each once; of several in what they differ is said."""
    found = {view.id: view for view in [await at.show(id) for id in ids]}
    views = list(found.values())
    if len(views) > 1:
        group = Group(tuple(views))
        for view in views:
            group.took(view)
        for line in _compared(group):
            say(line)
    return views


def _compared(group: Group) -> Iterator[str]:
    for view in group.views:
        yield f"{view.id[:6]}  {plain_line(view).plain}"
        if alone := group.alone(view.id):
            raise fail(
                f"hold {view.id[:6]} cannot be answered together with the others: {alone}",
                fix=f"sluice show {view.id[:6]}, then answer it by itself",
                exit=Exit.NO,
            )
        yield from (f"        {name}  {value}" for name, value in group.rows(view.id))


def _check_digest(id: str, digest: str, wanted: str | None) -> None:
    """SluiceError (exit 1) where another request would be approved than the one that is wanted."""
    if wanted is not None and not names(wanted, digest):
        raise fail(
            f"the digest of hold {id[:6]} is not '{wanted[:70]}'",
            "its request may have been edited since you saw it",
            f"look at it again: sluice show {id[:6]}; at least {LEAST} digits name it",
            exit=Exit.NO,
        )


def _confirm(view: HoldView) -> None:
    """
    At a terminal, what others have edited is agreed to, and what names a critical request is typed.

    SluiceError (exit 1) where it is not.
    """
    if not sys.stdin.isatty():
        return
    if view.edited_by and not agrees(f"{', '.join(view.edited_by)} edited it; approve what it has become"):
        raise fail(f"hold {view.id[:6]} is not approved", exit=Exit.NO)
    if not view.confirm:
        return
    what, text = view.confirm
    say(f"{view.id[:6]}  {plain_line(view).plain}")
    print(f"sluice: to approve it type its {what} ({visible(text)}): ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != text:
        raise fail(f"that is not the {what}; hold {view.id[:6]} is not approved", exit=Exit.NO)


async def _approve_like(at: SigningDesk, arguments: argparse.Namespace) -> Exit:
    if len(arguments.id) != 1:
        raise fail("the like of one hold is granted at a time", fix="sluice approve ID --like")
    seconds = SECONDS if arguments.seconds is None else arguments.seconds
    uses = USES if arguments.uses is None else arguments.uses
    if (await at.roll()).reviewers:
        emit(printer(sys.stderr, os.environ), list(hold_lines(await at.show(arguments.id[0]), time.time())))
    offer = await at.offer(arguments.id[0], tuple(arguments.field))
    _check_digest(offer.hold, offer.digest, arguments.digest)
    limits = f"{uses} times more within {time_left(seconds)}"
    emit(printer(sys.stderr, os.environ), list(offer_lines(offer, limits)))
    view = await at.grant(
        offer, seconds=seconds, uses=uses, reason=arguments.reason, fields=tuple(arguments.field)
    )
    _tell(view, True, arguments.json)
    say("its like goes unasked: sluice grants lists it, sluice revoke ends it")
    return Exit.YES


def _tell(view: HoldView, approves: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps(hold_json(view)))
        return
    say(plain_line(view).plain)
    say(_said(view, approves))


def _said(view: HoldView, approves: bool) -> str:
    if view.state in ("pending", "deferred"):
        word = "approved" if approves else "denied"
        more = (
            f"{view.approvals_needed} more needed before it is released"
            if approves
            else "others may say more"
        )
        return f"{word}; {more}"
    if view.state == "spendable":
        return "approved; it is sent when its agent asks again"
    return "approved and released" if approves else "denied; the agent is told so"


VERBS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {"approve": _approve, "deny": _deny}
