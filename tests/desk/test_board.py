"""What the desk remembers of holds."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.action import Request
from proxy.admission import Admission
from proxy.approvals import Approvals
from proxy.decode import Facts, decode
from proxy.desk import Board
from proxy.hold import Hold
from proxy.ledger.sqlite import SqliteLedger
from proxy.policy import load_texts
from proxy.policy.verdict import Effect, Verdict

REQUEST = Request("uid:me", b"POST", "https", "api.example.com", 443, b"/v1/refunds", (), b"amount=5")


@pytest.fixture
async def board(tmp_path: Path) -> AsyncIterator[Board]:
    tmp_path.chmod(0o700)
    ledger, _ = await SqliteLedger.open(tmp_path / "ledger.db")
    policy = load_texts({"policy.yaml": "version: 1\ndefault: {read: allow, write: hold}\n"})
    admission = Admission(
        policy, Approvals(time.time), ledger, facts=Facts(), clock=time.time, new_id=lambda: "0"
    )
    yield Board(admission, proxy="http://127.0.0.1:8080")
    for hold in admission.approvals.pending:
        admission.approvals.cut(hold.id, "the test is over")
    await ledger.close()


def opened(board: Board, id: str) -> Hold:
    verdict = Verdict(Effect.HOLD, "r", ("r",), "why", "0" * 64)
    return board.admission.approvals.open(id, decode(REQUEST), verdict)


async def test_views_of_waiting_holds_stay_however_many_others_end(board: Board) -> None:
    waiting = [opened(board, f"w{at:04}") for at in range(600)]
    views = [board.view(hold) for hold in waiting]

    for at in range(600):
        board.admission.approvals.leave(opened(board, f"e{at:04}").id, "gone")

    assert all(board.view(hold) is view for hold, view in zip(waiting, views, strict=True))
    assert [view.id for view in board.snapshot().holds] == [hold.id for hold in waiting]


async def test_ended_holds_are_shown_for_a_while_as_they_were_last_seen(board: Board) -> None:
    first = opened(board, "a")
    board.admission.approvals.cut(first.id, "gone")

    view = board.whole("a")

    assert (view.state, view.cause, view.agent_waiting) == ("cut_off", "gone", False)


async def test_what_is_remembered_of_ended_holds_is_bounded(board: Board) -> None:
    ended = [opened(board, f"e{at:04}") for at in range(600)]
    for hold in ended:
        board.admission.approvals.cut(hold.id, "gone")

    # A view that is kept is the same one each time; one that is not is drawn up anew.
    assert sum(board.view(hold) is board.view(hold) for hold in ended) == 500
