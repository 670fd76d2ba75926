"""A gate's desks without its sockets: a real admission, ledger, board, and reviewers with keys."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.action import Request
from proxy.admission import Admission, Rules
from proxy.approvals import Approvals
from proxy.decision import Decision
from proxy.decode import Facts
from proxy.desk import Board, LocalDesk
from proxy.enrolment import Enrolment
from proxy.hold import Reviewer
from proxy.keyring import Named
from proxy.keyring.desk import SigningDesk
from proxy.ledger import Draft, read
from proxy.ledger.enrolled import roll_of
from proxy.ledger.seen import Seen
from proxy.ledger.sqlite import SqliteLedger
from proxy.policy import load_texts
from proxy.reviewers import Reviewers, parse
from proxy.wire import Answer, Call, HoldView, Verb

from .making_keys import Key, envelope

POLICY = """
version: 1
default: {read: allow, write: hold, new_host: watch}
rules:
  - name: refunds-wait
    why: A refund moves money.
    match: {host: api.example.com, method: POST, path: /v1/refunds}
    then: hold
    says: "Refund {form.amount}"
    show: [form.amount]
    hold: {timeout: 30s}
  - name: payouts-need-two
    why: A payout is a matter for two.
    match: {host: api.example.com, method: POST, path: /v1/payouts}
    then: hold
    hold: {reviewers: [finance], approvals: 2, timeout: 30s}
"""
ADA, BOB = 1000, 1001


def request(target: str = "/v1/refunds", body: bytes = b"amount=5") -> Request:
    pairs = ((b"content-type", b"application/x-www-form-urlencoded"),)
    return Request("uid:me", b"POST", "https", "api.example.com", 443, target.encode(), pairs, body)


class Office:
    """A desk for everyone who has an account here, and what the ledger has."""

    def __init__(self, path: Path, ledger: SqliteLedger, board: Board) -> None:
        self.path = path
        self.ledger = ledger
        self.board = board
        self.busy = ""
        self.late = 0.0
        board.enrolment.busy = lambda: self.busy

    def desk(self, uid: int, key: Key | None = None, name: str = "") -> Office.Desk:
        return Office.Desk(self, uid, key, name)

    async def asked(self, target: str = "/v1/refunds", body: bytes = b"amount=5") -> asyncio.Task[Decision]:
        """An agent that asks, and waits."""
        count = len(self.board.snapshot().holds)

        async def ask() -> Decision:
            sent = request(target, body)
            hearing = await self.board.admission.receive(sent)
            return await hearing.judge(sent)

        task = asyncio.ensure_future(ask())
        async with asyncio.timeout(5):
            while len(self.board.snapshot().holds) == count:
                await asyncio.sleep(0.001)
        return task

    @property
    def hold(self) -> HoldView:
        return self.board.snapshot().holds[-1]

    async def settled(self) -> None:
        """Wait until all that was queued is on disk."""
        await self.ledger.queue(Draft("probe", {}))

    def entries(self, *kinds: str) -> list[dict[str, object]]:
        with read.reading(self.path) as connection:
            found = [fields for _, fields in read.entries(connection)]
        return [fields for fields in found if not kinds or fields["kind"] in kinds]

    class Desk(SigningDesk):
        """The desk of one account, signing with one key, or not at all."""

        def __init__(self, office: Office, uid: int, key: Key | None, name: str) -> None:
            account = f"account{uid}"
            reviewer = office.board.enrolment.who(uid, account)
            signer = None if key is None else Named(name, key.public, lambda data: envelope(key, data))
            self.plain = LocalDesk(office.board, reviewer)
            self.sent: list[Call] = []
            super().__init__(
                _Kept(self.plain, self.sent), lambda roll: signer, clock=lambda: time.time() + office.late
            )


class _Kept(LocalDesk):
    """Keeps what goes by, as somebody could who listens."""

    def __init__(self, inner: LocalDesk, sent: list[Call]) -> None:
        super().__init__(inner._board, inner._reviewer)
        self._sent = sent

    async def take(self, call: Call) -> Answer:
        if call.proof is not None:
            self._sent.append(call)
        return await super().take(call)


@asynccontextmanager
async def office(
    folder: Path, file: object = None, policy: str = POLICY, draw: Callable[[], str] | None = None
) -> AsyncIterator[Office]:
    """A gate's desks over the ledger in this folder; `file` is what reviewers.yaml says."""
    folder.chmod(0o700)
    path = folder / "ledger.db"
    ledger, _ = await SqliteLedger.open(path)
    numbers = itertools.count()
    try:
        admission = Admission(
            load_texts({"policy.yaml": policy}),
            Approvals(time.time),
            ledger,
            facts=Facts(Seen(), b"k" * 32),
            clock=time.time,
            new_id=draw or (lambda: f"id{time.time_ns():x}{next(numbers):08}"),
            rules=Rules(),
        )
        enrolment = Enrolment(
            roll_of(path),
            ledger,
            clock=time.time,
            file=Reviewers() if file is None else parse(file, "reviewers.yaml"),
        )
        yield Office(path, ledger, Board(admission, proxy="http://127.0.0.1:1", enrolment=enrolment))
        await admission.close(1.0)
    finally:
        await ledger.close("stopped")


async def enrol(
    desk: SigningDesk, key: Key, name: str = "ada", uid: int = ADA, groups: tuple[str, ...] = ("finance",)
) -> Answer:
    """Have a desk enrol somebody."""
    call = Call(Verb.ENROL, reviewer=name, uid=uid, groups=groups, key=key.line)
    return await desk.take(call)


__all__ = ["ADA", "BOB", "Office", "Reviewer", "enrol", "office", "request"]
