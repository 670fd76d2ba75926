"""A real admission over a real ledger, heard without a gate."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy.action import Request
from proxy.admission import Admission, Rules
from proxy.approvals import Approvals
from proxy.decode import Facts
from proxy.hold import Hold
from proxy.ledger import read
from proxy.ledger.seen import Seen
from proxy.ledger.sqlite import SqliteLedger
from proxy.policy import Policy, load_texts

POLICY = """
version: 1
default: {read: allow, write: hold, new_host: watch}
rules:
  - name: refunds-wait
    why: A refund moves money.
    match: {host: api.example.com, method: POST, path: /v1/refunds}
    then: hold
    risk: {tier: high, reversible: false}
    says: "Refund {form.amount}"
    show: [form.amount]
    hold: {timeout: 5s}
  - name: events-flow
    why: Telemetry is harmless.
    match: {host: api.example.com, method: POST, path: /v1/events}
    then: allow
  - name: small-notes-flow
    why: Short notes are harmless.
    match: {host: api.example.com, method: POST, path: /v1/notes, where: {json.size: {below: 10}}}
    then: allow
  - name: never-delete
    why: Nothing is deleted here.
    match: {host: api.example.com, method: DELETE}
    then: deny
  - name: listing-is-watched
    why: Someone may want to know.
    match: {host: api.example.com, path: /v1/list}
    then: watch
"""


def policy(text: str = POLICY) -> Policy:
    return load_texts({"policy.yaml": text})


def request(
    method: str = "POST", target: str = "/v1/refunds", body: bytes | None = b"amount=5", **headers: str
) -> Request:
    kind = {"content_type": "application/x-www-form-urlencoded"} if body else {}
    pairs = tuple(
        (name.replace("_", "-").encode(), value.encode()) for name, value in {**kind, **headers}.items()
    )
    return Request("uid:me", method.encode(), "https", "api.example.com", 443, target.encode(), pairs, body)


class Hall:
    """An admission, its ledger, and what is in it."""

    def __init__(self, path: Path, ledger: SqliteLedger, admission: Admission) -> None:
        self.path = path
        self.ledger = ledger
        self.admission = admission

    async def pending(self) -> Hold:
        async with asyncio.timeout(5):
            while not self.admission.approvals.pending:
                await asyncio.sleep(0.001)
        return self.admission.approvals.pending[0]

    async def entries(self, *kinds: str) -> list[dict[str, object]]:
        ticket = self.ledger.queue(__import__("proxy.ledger", fromlist=["Draft"]).Draft("probe", {}))
        await ticket
        with read.reading(self.path) as connection:
            found = [fields for _, fields in read.entries(connection)]
        return [fields for fields in found if not kinds or fields["kind"] in kinds]


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Callable[..., "asyncio.Future[Hall]"]]:
    opened: list[SqliteLedger] = []
    tmp_path.chmod(0o700)

    async def make(text: str = POLICY, **rules: object) -> Hall:
        path = tmp_path / "ledger.db"
        ledger, _ = await SqliteLedger.open(path)
        opened.append(ledger)
        numbers = itertools.count()
        seen = Seen()
        admission = Admission(
            policy(text),
            Approvals(time.time),
            ledger,
            facts=Facts(seen, b"k" * 32),
            clock=time.time,
            new_id=lambda: f"id{next(numbers):024}",
            rules=Rules(**rules),  # type: ignore[arg-type]
            released=seen.add,
        )
        return Hall(path, ledger, admission)

    yield make  # type: ignore[misc]
    for ledger in opened:
        await ledger.close()
