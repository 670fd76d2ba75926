"""Attacks on what an agent is known by: hosts, credentials and recipients that count as seen."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy.action import Request
from proxy.admission import Admission, Rules
from proxy.approvals import Approvals
from proxy.decision import Word
from proxy.decode import Facts
from proxy.hold import Reviewer
from proxy.ledger.seen import Seen
from proxy.ledger.sqlite import SqliteLedger
from proxy.policy import load_texts

POLICY = """\
version: 1
default: {read: allow, write: allow, new_host: allow}
rules:
  - name: first-mails-wait
    why: Nobody has said yet that this person may be written to.
    match: {host: api.sendgrid.com, method: POST, where: {first_seen.recipient: {is: "true"}}}
    then: hold
  - name: other-keys-wait
    why: This is not the key that the agent began with.
    match: {host: api.books.example, where: {first_seen.credential: {is: "true"}}}
    then: hold
"""

type Open = Callable[..., Admission]


@pytest.fixture
async def admission(tmp_path: Path) -> AsyncIterator[Open]:
    tmp_path.chmod(0o700)
    ledger, _ = await SqliteLedger.open(tmp_path / "ledger.db")
    numbers, seen = itertools.count(), Seen()

    def start(**rules: bool) -> Admission:
        return Admission(
            load_texts({"policy.yaml": POLICY}),
            Approvals(time.time),
            ledger,
            facts=Facts(seen, b"k" * 32),
            clock=time.time,
            new_id=lambda: f"id{next(numbers):024}",
            rules=Rules(**rules),
            released=seen.add,
        )

    yield start
    await ledger.close()


def mail(to: str, subject: str = "hello") -> Request:
    body = b'{"personalizations":[{"to":[{"email":"%s"}]}],"subject":"%s"}' % (to.encode(), subject.encode())
    headers = ((b"content-type", b"application/json"),)
    return Request("uid:ada", b"POST", "https", "api.sendgrid.com", 443, b"/v3/mail/send", headers, body)


def read(key: str) -> Request:
    headers = ((b"authorization", b"Bearer " + key.encode()),)
    return Request("uid:ada", b"GET", "https", "api.books.example", 443, b"/orders", headers, b"")


async def decided(admission: Admission, request: Request, *, approves: bool | None = None) -> Word:
    """What becomes of a request; one that waits is answered, or else left."""
    hearing = await admission.receive(request)
    if hearing.decision is not None:
        return hearing.decision.word
    waiting = asyncio.ensure_future(hearing.judge(request))
    async with asyncio.timeout(10):
        while not waiting.done():
            for hold in admission.approvals.pending:
                if approves is None:
                    hearing.leave("the test has seen that it waits")
                else:
                    ada = Reviewer("uid:0", "ada")
                    await admission.review(hold.id, ada, approves=approves, reason="", seen=hold.digest)
            await asyncio.sleep(0.001)
    return (await waiting).word


async def test_whom_a_reviewer_let_an_agent_write_to_is_known_from_then_on(admission: Open) -> None:
    gate = admission()
    assert await decided(gate, mail("bob@example.org"), approves=True) is Word.APPROVED
    assert await decided(gate, mail("bob@example.org")) is Word.ALLOWED
    assert await decided(gate, mail("eve@example.org"), approves=False) is Word.DENIED
    assert await decided(gate, mail("eve@example.org", "hello again")) is Word.ABANDONED


async def test_what_flowed_in_shadow_teaches_nothing_that_a_rule_would_have_held(admission: Open) -> None:
    shadow, gate = admission(shadow=True), admission()
    assert await decided(shadow, read("k1")) is Word.WATCHED
    assert await decided(shadow, mail("eve@example.org")) is Word.WATCHED
    assert await decided(gate, read("k1")) is Word.ABANDONED
    assert await decided(gate, mail("eve@example.org")) is Word.ABANDONED
