"""What an agent is told of its own hold at the status URL, from its opening to its end."""

import json
from typing import Any

from proxy.about import HOST, Standing
from proxy.action import Request
from proxy.decision import Answer, Word
from proxy.ledger import UnavailableError
from proxy.records import iso

from .test_waiting import DEFERRED, approve, attempt, deny


def look(h: Any, id: str, agent: str | None = "uid:me") -> Answer:
    asked = Request(agent, b"GET", "http", HOST, 80, f"/holds/{id}".encode(), (), b"")
    answer: Answer = h.admission.about(asked)
    return answer


def told(h: Any, id: str) -> dict[str, Any]:
    answer = look(h, id)
    assert answer.status == 200
    said: dict[str, Any] = json.loads(answer.body)
    assert (said.pop("hold"), said.pop("deadline")[-1]) == (id, "Z")
    return said


async def test_a_hold_is_pending_until_its_end_is_written_then_it_is_what_was_enforced(hall: Any) -> None:
    h = await hall()
    one = await attempt(h)
    hold = await h.pending()
    assert told(h, hold.id) == {"state": "pending"}
    await deny(h, hold, "too much")
    await one.ends()
    assert told(h, hold.id) == {"state": "denied", "decision": "denied", "detail": "too much"}
    ended = h.admission.approvals.get(hold.id)
    assert ended.settled
    assert Standing.of(ended, None).as_dict().keys() == {"hold", "state", "deadline"}
    assert Standing.of(ended, None).state == "pending"


async def test_a_hold_whose_agent_has_gone_waits_for_it_to_ask_again(hall: Any) -> None:
    h = await hall()
    one = await attempt(h)
    hold = await h.pending()
    await one.leave()
    assert told(h, hold.id) == {"state": "pending", "retry_after": 0}


async def test_a_deferred_hold_says_when_to_come_back_and_that_it_was_approved(hall: Any) -> None:
    h = await hall(DEFERRED)
    assert (await (await attempt(h)).ends()).word is Word.PENDING
    hold = await h.pending()
    assert told(h, hold.id) == {"state": "pending", "retry_after": 5}
    await approve(h, hold)
    said = told(h, hold.id)
    assert (said["state"], said["retry_after"], "decision" in said) == ("approved", 0, False)
    fetch_by = json.loads(look(h, hold.id).body)["deadline"]
    assert iso(hold.opened + 60) < fetch_by < iso(hold.opened + 70)  # `remember` from the approval on
    await (await attempt(h)).ends()
    assert told(h, hold.id) == {"state": "approved", "decision": "approved"}


async def test_a_yes_that_could_not_be_written_is_never_told_as_one(hall: Any) -> None:
    h = await hall()
    one = await attempt(h)
    hold = await h.pending()
    queue = h.ledger.queue

    def full(draft: Any, **_: Any) -> Any:
        if draft.kind == "decided":
            raise UnavailableError()
        return queue(draft, **_)

    h.ledger.queue = full
    waiting = one.waiting
    try:
        await approve(h, hold)
    except Exception as error:
        assert "could not be written down" in str(error)
    assert (await waiting).word is Word.UNAVAILABLE
    assert told(h, hold.id) == {"state": "unavailable", "decision": "unavailable"}


async def test_the_hold_of_another_agent_looks_like_one_that_never_was(hall: Any) -> None:
    h = await hall()
    one = await attempt(h)
    hold = await h.pending()
    never = look(h, "id9999")
    assert never.status == 404
    assert look(h, hold.id, "uid:eve") == look(h, hold.id, None) == look(h, hold.id[:8]) == never
    await one.leave()


async def test_reading_it_is_written_nowhere(hall: Any) -> None:
    h = await hall()
    before = await h.entries()
    look(h, "id9999")
    h.admission.about(Request("uid:me", b"GET", "http", HOST, 80, b"/", (), b""))
    assert len(await h.entries()) == len(before) + 1  # the probe's own
    assert (h.admission.counts.allowed, h.admission.counts.refused) == (0, 0)
