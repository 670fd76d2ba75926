"""Allowed reads as counts: what is counted, what is written each, and that nothing gets lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from proxy.admission import counting
from proxy.chain import check
from proxy.decision import Happened, Outcome, Word
from proxy.ledger import Draft, UnavailableError
from proxy.ledger.counted import Count, counts, drafts, total

from .conftest import POLICY, policy, request

OK = Outcome(Happened.COMPLETED, 200, sent=0, received=10)
MORE = """
  - name: listing-flows
    why: Whoever may list may page.
    match: {host: api.example.com, method: GET, path: /v1/pages}
    then: allow
    budget: {count: 20, per: 1h, over: hold}
"""


async def ask(
    h: Any, target: str = "/v1/books", method: str = "GET", outcome: Outcome | None = OK, **more: Any
) -> Any:
    """One request from its headers to its end; its decision."""
    body = more.pop("body", b"")
    whole = request(method, target, body=body, **more)
    hearing = await h.admission.receive(whole if not body else replace(whole, body=None))
    decision = hearing.decision or await hearing.judge(whole)
    if outcome is not None:
        hearing.conclude(outcome)
    return decision


async def written(h: Any) -> tuple[int, list[Count]]:
    """How many decisions are entries, and the counts."""
    h.admission.counting.write()
    found = await h.entries()
    return sum(one["kind"] == "decided" for one in found), [one for entry in found for one in counts(entry)]


async def test_the_first_of_its_like_is_written_and_the_others_are_counted(hall: Any) -> None:
    h = await hall(counts=True)
    for _ in range(50):
        assert (await ask(h)).word is Word.ALLOWED
    each, [count] = await written(h)
    assert each == 1
    assert count == Count("uid:me", "api.example.com", ("default",), 49, {"2xx": 49}, received=490)
    assert h.admission.counts.allowed == 50


async def test_each_is_written_unless_counts_are_asked_for(hall: Any) -> None:
    h = await hall()
    for _ in range(3):
        await ask(h)
    assert await written(h) == (3, [])


async def test_in_shadow_each_is_written(hall: Any) -> None:
    h = await hall(counts=True, shadow=True)
    for _ in range(3):
        await ask(h)
    assert await written(h) == (3, [])


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"target": "/v1/list"}, Word.WATCHED),
        ({"target": "/v1/events", "method": "POST", "body": b"a=1"}, Word.ALLOWED),
        ({"target": "/v1/books", "method": "DELETE"}, Word.REFUSED),
        ({"target": "/v1/pages"}, Word.ALLOWED),
        ({"target": "/v1/books", "x_http_method_override": "GET"}, None),
    ],
    ids=["watched", "a write", "refused", "a budget", "an override"],
)
async def test_what_is_no_plain_allowed_read_is_written_each(
    hall: Any, asked: Any, word: Word | None
) -> None:
    text = POLICY.replace("write: hold", "write: allow").replace("new_host: watch", "new_host: allow") + MORE
    h = await hall(text, counts=True)
    for _ in range(3):
        assert (await ask(h, **asked)).word is (word or Word.ALLOWED)
    assert await written(h) == (3, [])


async def test_a_query_in_a_body_is_counted_and_a_batch_of_them_is_not(hall: Any) -> None:
    h = await hall(counts=True)
    query = b'{"query":"query { viewer { login } }"}'
    for body in (query, b"[%s,%s]" % (query, query)):
        for _ in range(3):
            asked = await ask(h, "/graphql", "POST", body=body, content_type="application/json")
            assert asked.word is Word.ALLOWED
    each, [count] = await written(h)
    assert (each, count.requests) == (4, 2)


@pytest.mark.parametrize(
    "other",
    [{"target": "/v2/authors"}, {"authorization": "Bearer two"}],
    ids=["operation", "credential"],
)
async def test_a_first_use_is_written(hall: Any, other: Any) -> None:
    h = await hall(counts=True)
    plain = {"authorization": "Bearer one"}
    for _ in range(2):
        await ask(h, **plain)
    await ask(h, **{**plain, **other})
    each, [count] = await written(h)
    assert (each, count.requests) == (2, 1)


async def test_another_agent_begins_anew(hall: Any) -> None:
    h = await hall(counts=True)
    for agent in ("uid:me", "uid:you", None, "uid:me", "uid:you", None):
        whole = replace(request("GET", "/v1/books", body=b""), agent=agent)
        (await h.admission.receive(whole)).conclude(OK)
    each, found = await written(h)
    assert each == 3
    assert {one.agent: one.requests for one in found} == {"uid:me": 1, "uid:you": 1, "": 1}


async def test_a_count_says_how_the_requests_ended_also_a_minute_later(hall: Any) -> None:
    h = await hall(counts=True)
    await ask(h)
    ends = (
        Outcome(Happened.COMPLETED, 204),
        Outcome(Happened.COMPLETED, 404),
        Outcome(Happened.FAILED, sent=3),
        Outcome(Happened.UNKNOWN, sent=4),
    )
    for end in ends:
        await ask(h, outcome=end)
    late = await h.admission.receive(request("GET", "/v1/books", body=b""))
    h.admission.counting.write()
    late.conclude(OK)
    late.conclude(OK)  # does nothing: it is concluded
    _, [first, second] = await written(h)
    assert (first.requests, first.answered, first.failed, first.unknown) == (5, {"2xx": 1, "4xx": 1}, 1, 1)
    assert first.sent == 7
    assert (second.requests, second.answered) == (0, {"2xx": 1})


async def test_counts_are_written_by_themselves_after_their_time(hall: Any) -> None:
    h = await hall(counts=True)
    h.admission.counting = counting.Counting(h.admission, within=0.01)
    for _ in range(3):
        await ask(h)
    async with asyncio.timeout(5):
        while not (found := await h.entries("counted")):
            await asyncio.sleep(0.005)
    assert [total(entry) for entry in found] == [2]
    assert found[0]["since"] <= found[0]["until"]
    assert found[0]["policy"] == h.admission.policy.digest
    await written(h)
    assert len(await h.entries("counted")) == 1  # where nothing was counted, nothing is written


async def test_more_keys_than_there_is_room_for_are_written_early(hall: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(counting, "KEYS", 2)
    h = await hall(counts=True)
    for agent in ("uid:a", "uid:b", "uid:c") * 2:
        whole = replace(request("GET", "/v1/books", body=b""), agent=agent)
        (await h.admission.receive(whole)).conclude(OK)
    assert [total(entry) for entry in await h.entries("counted")] == [2]
    _, found = await written(h)
    assert sum(one.requests for one in found) == 3


async def test_counts_under_two_policies_are_two_entries(hall: Any) -> None:
    h = await hall(counts=True)
    await ask(h)
    await ask(h)
    before, after = h.admission.policy, policy(POLICY.replace("Telemetry", "This"))
    h.admission.change_policy(after, "me", "")
    await ask(h)
    await written(h)
    said = {entry["policy"]: total(entry) for entry in await h.entries("counted")}
    assert said == {before.digest: 1, after.digest: 1}


async def test_while_the_ledger_takes_nothing_a_read_is_refused_and_not_counted(hall: Any) -> None:
    h = await hall(counts=True)
    await ask(h)
    h.ledger.trouble = "the ledger cannot be written: no space left"
    assert (await ask(h)).word is Word.UNAVAILABLE
    h.ledger.trouble = ""
    assert (await written(h))[1] == []


async def test_what_is_left_is_written_at_the_end_and_nothing_is_counted_after(hall: Any) -> None:
    h = await hall(counts=True)
    await ask(h)
    await ask(h)
    await h.admission.counting.close()
    assert [total(entry) for entry in await h.entries("counted")] == [1]
    await ask(h)
    assert len(await h.entries("decided")) == 2


async def test_a_count_takes_part_in_no_story(hall: Any) -> None:
    """A ledger closed in the middle of counted requests has nothing unfinished in it."""
    h = await hall(counts=True)
    await ask(h)
    await ask(h, outcome=None)
    await h.admission.counting.close()
    await h.ledger.close("stopped")
    with pytest.raises(UnavailableError):
        h.ledger.queue(Draft("probe", {}))


def test_entries_of_counts_fit_whatever_is_counted() -> None:
    wide = [Count("uid:" + "a" * 400, "h" * 400, tuple("r" * 300 for _ in range(50)), 1) for _ in range(500)]
    made = list(drafts("2026-01-01T00:00:00.000000Z", "2026-01-01T00:01:00.000000Z", "0" * 64, wide))
    assert sum(total({"kind": draft.kind, **draft.fields}) for draft in made) == 500
    for draft in made:
        check(draft.kind, draft.fields)
    assert len(made) < 60


@pytest.mark.parametrize(
    "lines",
    [
        None,
        3,
        "x",
        [3],
        [{}],
        [{"requests": -1, "completed": 3, "agent": 4, "rules": {"a": 1}}],
        [{"requests": True}],
    ],
)
def test_what_is_no_count_counts_nothing(lines: object) -> None:
    fields = {"kind": "counted", "reads": lines}
    assert total(fields) == 0
    assert all(one.words() for one in counts(fields))
    assert counts({"kind": "decided", "reads": [{"requests": 1}]}) == ()
