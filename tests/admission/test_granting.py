"""The like of what a person approved goes without a prompt: counted, written down, and taken back."""

import asyncio
import time
from typing import Any

import pytest

from proxy.admission import Admission
from proxy.admission.recall import Recall
from proxy.approvals import Approvals
from proxy.decision import By, Happened, Outcome, Word
from proxy.decode import Facts
from proxy.errors import SluiceError
from proxy.grant import Grants, Limits
from proxy.hold import Hold
from proxy.ledger import UnavailableError, read
from proxy.ledger.past import recent
from proxy.people import Reviewer

from .conftest import POLICY, policy, request

ADA, BOB = Reviewer("uid:1", "ada", ("finance",)), Reviewer("uid:2", "bob")


async def decide(hall: Any, body: bytes = b"amount=5", **asked: Any) -> Any:
    hearing = await hall.admission.receive(request(body=None, **asked))
    return hearing.decision or await hearing.judge(request(body=body, **asked))


async def held(hall: Any, body: bytes = b"amount=5") -> tuple[asyncio.Task[Any], Hold]:
    waiting = asyncio.create_task(decide(hall, body))
    return waiting, await hall.pending()


async def grant(hall: Any, hold: Hold, who: Reviewer = ADA, uses: int = 5, **more: Any) -> Hold:
    return await hall.admission.granting.grant(
        hold.id, who, reason="fine", seen=hold.digest, limits=Limits(600, uses), **more
    )


async def test_what_was_sent_without_an_answer_is_not_sent_again_by_a_grant(hall: Any) -> None:
    h = await hall()
    await granted(h)
    hearing = await h.admission.receive(request(body=None))
    assert (await hearing.judge(request(body=b"amount=4"))).by is By.GRANT
    waiting, hold = await held(h, b"amount=4")
    assert "not yet answered" in hold.notices[0]
    hearing.conclude(Outcome(Happened.UNKNOWN))
    await h.entries()
    with read.reading(h.path) as connection:
        h.admission.recall = Recall(time.time, recent(connection, time.time()))
    after = asyncio.create_task(decide(h, b"amount=4"))
    while len(h.admission.approvals.pending) < 2:
        await asyncio.sleep(0)
    second = h.admission.approvals.pending[1]
    assert any("its answer was lost" in notice for notice in second.notices)
    await h.admission.close(5)
    assert {(await waiting).word, (await after).word} == {Word.UNAVAILABLE}


async def test_what_was_sent_and_answered_goes_again_under_its_grant(hall: Any) -> None:
    h = await hall()
    await granted(h)
    hearing = await h.admission.receive(request(body=None))
    assert (await hearing.judge(request(body=b"amount=4"))).by is By.GRANT
    hearing.conclude(Outcome(Happened.COMPLETED, 200))
    assert (await decide(h, b"amount=4")).by is By.GRANT


async def granted(hall: Any, uses: int = 5, who: Reviewer = ADA) -> None:
    waiting, hold = await held(hall)
    await grant(hall, hold, who, uses)
    assert (await waiting).word is Word.APPROVED


FORM = {"content_type": "application/x-www-form-urlencoded"}


async def asked(hall: Any, body: bytes) -> Any:
    """The decision on a form; a hold that it makes is denied at once."""
    waiting = asyncio.create_task(decide(hall, body))
    while not waiting.done():
        for hold in hall.admission.approvals.pending:
            await hall.admission.review(hold.id, BOB, approves=False, reason="asked", seen=None)
        await asyncio.sleep(0.001)
    return waiting.result()


async def test_the_like_of_an_approved_hold_goes_unasked_and_is_written_before(hall: Any) -> None:
    h = await hall()
    await granted(h)
    decision = await decide(h, b"amount=4")
    assert (decision.word, decision.by, decision.reviewers) == (Word.APPROVED, By.GRANT, ("ada",))
    entry = (await h.entries("decided"))[-1]
    assert entry["grant"] == (await h.entries("granted"))[0]["grant"] == decision.grant
    assert (entry["decision"], entry["by"], entry["reviewers"]) == ("approved", "grant", ["ada"])
    assert "hold" not in entry
    kinds = [one["kind"] for one in await h.entries("held", "reviewed", "decided", "granted")]
    assert kinds == ["held", "reviewed", "decided", "granted", "decided"]


async def test_what_is_not_like_it_waits(hall: Any) -> None:
    h = await hall()
    await granted(h)
    for body in (b"amount=6", b"amount=5&amount=1", b"total=5"):
        assert (await asked(h, body)).word is Word.DENIED


async def test_two_hundred_at_once_are_never_more_than_were_granted(hall: Any) -> None:
    h = await hall(POLICY.replace("timeout: 5s", "timeout: 1s"))
    await granted(h, uses=7)
    decisions = await asyncio.gather(*(decide(h, f"amount=4&n={n}".encode()) for n in range(200)))
    assert sum(one.by is By.GRANT for one in decisions) == 7
    assert {one.word for one in decisions if one.by is not By.GRANT} == {Word.EXPIRED}


async def test_grants_and_their_uses_survive_a_restart(hall: Any) -> None:
    h = await hall()
    await granted(h, uses=3)
    assert (await decide(h, b"amount=1")).by is By.GRANT
    again = Grants()
    for fields in await h.entries():
        again.take(fields)
    restarted = Admission(
        policy(), Approvals(time.time), h.ledger, facts=Facts(key=b"k" * 32), clock=time.time,
        new_id=h.admission.new_id, grants=again,
    )  # fmt: skip
    assert restarted.granting.standing == h.admission.granting.standing
    assert [one.left for one in restarted.granting.standing] == [2]


async def test_a_grant_whose_rule_has_changed_while_the_gate_was_stopped_lapses(hall: Any) -> None:
    h = await hall()
    await granted(h)
    again = Grants()
    for fields in await h.entries():
        again.take(fields)
    other = policy(POLICY.replace("A refund moves money.", "Refunds are looked at."))
    restarted = Admission(
        other, Approvals(time.time), h.ledger, facts=Facts(key=b"k" * 32), clock=time.time,
        new_id=h.admission.new_id, grants=again,
    )  # fmt: skip
    assert restarted.granting.standing == ()
    assert "has changed" in str((await h.entries("revoked"))[0]["why"])


async def test_a_changed_rule_ends_a_grant_and_another_rule_does_not(hall: Any) -> None:
    h = await hall()
    await granted(h)
    h.admission.change_policy(policy(POLICY.replace("Telemetry is", "Events are")), "ada", "")
    assert len(h.admission.granting.standing) == 1
    h.admission.change_policy(policy(POLICY.replace("tier: high", "tier: low")), "ada", "")
    assert h.admission.granting.standing == ()
    assert (await asked(h, b"amount=4")).word is Word.DENIED


async def test_a_revoked_grant_lets_nothing_go_and_that_is_written_down(hall: Any) -> None:
    h = await hall()
    await granted(h)
    (one,) = h.admission.granting.standing
    await h.admission.granting.revoke(one.id[:8], "bob")
    assert (await asked(h, b"amount=4")).word is Word.DENIED
    assert [entry["by"] for entry in await h.entries("revoked")] == ["bob"]
    with pytest.raises(SluiceError, match="no grant"):
        await h.admission.granting.revoke(one.id, "bob")


async def test_all_grants_are_revoked_at_once(hall: Any) -> None:
    h = await hall()
    for body in (b"amount=5", b"amount=9"):
        waiting, hold = await held(h, body)
        await grant(h, hold)
        await waiting
    assert len(h.admission.granting.standing) == 2
    await h.admission.granting.revoke("", "bob")
    assert h.admission.granting.standing == () and len(await h.entries("revoked")) == 2


async def test_a_later_no_to_the_like_ends_the_grant(hall: Any) -> None:
    h = await hall()
    first, hold = await held(h, b"amount=5")
    second = asyncio.create_task(decide(h, b"amount=3"))
    while len(h.admission.approvals.pending) < 2:
        await asyncio.sleep(0.001)
    other = h.admission.approvals.pending[1]
    await grant(h, hold)
    assert len(h.admission.granting.standing) == 1
    await h.admission.review(other.id, BOB, approves=False, reason="no more", seen=None)
    assert h.admission.granting.standing == ()
    assert (await first).word is Word.APPROVED and (await second).word is Word.DENIED


async def test_a_no_to_something_else_leaves_the_grant(hall: Any) -> None:
    h = await hall()
    await granted(h)
    assert (await asked(h, b"amount=6")).word is Word.DENIED
    assert len(h.admission.granting.standing) == 1


async def test_a_denied_request_stays_denied_whatever_is_granted_later(hall: Any) -> None:
    h = await hall()
    assert (await asked(h, b"amount=4")).word is Word.DENIED
    await granted(h)
    decision = await decide(h, b"amount=4")
    assert (decision.word, decision.by) == (Word.DENIED, By.REVIEWER)


async def test_a_grant_ends_whose_giver_loses_a_key_while_it_is_written(hall: Any) -> None:
    h = await hall()
    waiting, hold = await held(h)
    giving = asyncio.create_task(grant(h, hold))
    async with asyncio.timeout(5):
        while h.admission.approvals.pending:
            await asyncio.sleep(0)
    h.admission.reviewer_changed("ada", lambda review: None)
    await giving
    assert (h.admission.granting.standing, (await waiting).word) == ((), Word.APPROVED)
    (entry,) = await h.entries("revoked")
    assert "another key" in entry["why"]


async def test_a_paused_agent_gets_nothing(hall: Any) -> None:
    h = await hall()
    await granted(h)
    h.admission.pause(None, "ada")
    assert (await decide(h, b"amount=4")).word is Word.REFUSED
    assert h.admission.granting.standing[0].left == 5


async def test_without_the_disk_nothing_goes(hall: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    h = await hall()
    await granted(h)

    def refuse(draft: Any, **_: Any) -> Any:
        raise UnavailableError

    monkeypatch.setattr(h.ledger, "queue", refuse)
    assert (await decide(h, b"amount=4")).word is Word.UNAVAILABLE


async def test_a_use_waits_for_the_disk(hall: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    h = await hall()
    await granted(h)
    queue, disk = h.ledger.queue, asyncio.Event()

    def slow(draft: Any, **how: Any) -> Any:
        async def written() -> int:
            await disk.wait()
            return int(await queue(draft, **how))

        return asyncio.ensure_future(written())

    monkeypatch.setattr(h.ledger, "queue", slow)
    waiting = asyncio.create_task(decide(h, b"amount=4"))
    while h.admission.granting.standing[0].left == 5:
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    disk.set()
    assert (await waiting).by is By.GRANT


async def test_a_grant_that_cannot_be_written_down_does_not_stand(
    hall: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    h = await hall()
    waiting, hold = await held(h)
    queue = h.ledger.queue

    def refuse(draft: Any, **_: Any) -> Any:
        if draft.kind == "granted":
            raise UnavailableError
        return queue(draft, **_)

    monkeypatch.setattr(h.ledger, "queue", refuse)
    with pytest.raises(SluiceError, match="approved, its like is not granted"):
        await grant(h, hold)
    assert (await waiting).word is Word.APPROVED and h.admission.granting.standing == ()


MORE = "    hold: {timeout: 5s}"


@pytest.mark.parametrize(
    ("replaced", "by", "why"),
    [
        (MORE, "    hold: {timeout: 5s, always_ask: true}", "always asked"),
        (MORE, "    hold: {timeout: 5s, approvals: 2}", "more than one approval"),
        ("tier: high", "tier: critical", "critical"),
        (MORE, "    hold: {timeout: 5s, reviewers: [security]}", "you alone"),
    ],
)
async def test_where_nothing_may_be_granted_nothing_is_approved_either(
    hall: Any, replaced: str, by: str, why: str
) -> None:
    h = await hall(POLICY.replace(replaced, by))
    waiting, hold = await held(h)
    with pytest.raises(SluiceError, match=why):
        await grant(h, hold)
    assert not waiting.done() and h.admission.approvals.pending
    h.admission.approvals.refuse(hold.id, "the test is over")
    await waiting


async def test_only_the_rule_that_was_seen_is_granted(hall: Any) -> None:
    h = await hall()
    waiting, hold = await held(h)
    _, offer = h.admission.granting.offer(hold.id)
    with pytest.raises(SluiceError, match="not the rule that you saw"):
        await grant(h, hold, rule=offer.text.replace("5", "9"))
    await grant(h, hold, rule=offer.text)
    assert (await waiting).word is Word.APPROVED
    with pytest.raises(SluiceError, match="gone"):
        h.admission.granting.offer(hold.id)


async def test_what_was_sent_under_a_grant_is_told_when_the_same_comes_again(hall: Any) -> None:
    h = await hall()
    await granted(h, uses=1)
    assert (await decide(h, b"amount=4")).by is By.GRANT
    waiting = asyncio.create_task(decide(h, b"amount=4"))
    hold = await h.pending()
    assert "already sent" in hold.notices[0]
    await h.admission.review(hold.id, BOB, approves=False, reason="", seen=None)
    await waiting


BUDGETED = (
    POLICY
    + """
  - name: refunds-are-limited
    why: There is so much a day.
    match: {host: api.example.com, method: POST, path: /v1/refunds}
    then: watch
    budget: {field: form.amount, limit: 12, per: 24h, by: agent, over: hold}
"""
)


async def test_a_grant_goes_past_no_budget(hall: Any) -> None:
    h = await hall(BUDGETED)
    await granted(h)
    assert (await decide(h, b"amount=4")).by is By.GRANT
    assert (await asked(h, b"amount=4")).word is Word.DENIED  # 5 and 4 are used, of 12
    assert (await decide(h, b"amount=3")).by is By.GRANT


async def test_what_is_over_a_budget_is_not_granted(hall: Any) -> None:
    h = await hall(BUDGETED)
    waiting, hold = await held(h, b"amount=13")
    with pytest.raises(SluiceError, match="over a budget"):
        await grant(h, hold)
    await h.admission.review(hold.id, BOB, approves=False, reason="", seen=None)
    await waiting
