"""What entries mean together, and what an agent has done before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.chain import Findings
from proxy.ledger import story as stories
from proxy.ledger.seen import Seen, fold
from proxy.ledger.story import Story


def told(*lines: dict[str, object], partial: bool = False) -> tuple[Story, list[tuple[int | None, str]]]:
    story = Story(Findings(), partial)
    for seq, fields in enumerate(lines):
        story.take(seq, fields)
    return story, [(found.seq, found.code) for found in story.findings.kept]


def line(kind: str, **fields: object) -> dict[str, object]:
    return {"kind": kind, **fields}


def decided(decision: str, id: str = "r", **fields: object) -> dict[str, object]:
    return line("decided", decision=decision, by="rule", id=id, **fields)


HELD = line("held", hold="h", agent="uid:alice")
DONE = line("completed", id="r")
GRANTED = line("granted", grant="g", uses=2)


def used(id: str) -> dict[str, object]:
    return {**decided("approved", id, grant="g"), "by": "grant"}


TABLE: list[tuple[list[dict[str, object]], list[tuple[int, str]]]] = [
    ([HELD, line("reviewed", hold="h"), decided("approved", hold="h"), DONE], []),
    ([HELD, decided("pending", hold="h"), decided("pending", hold="h"), decided("denied", hold="h")], []),
    ([decided("allowed"), line("failed", id="r")], []),
    ([decided("watched"), line("unknown", id="r")], []),
    ([decided("refused"), DONE], [(1, "not_decided")]),
    ([decided("allowed"), DONE, DONE], [(2, "not_decided")]),
    ([DONE], [(0, "not_decided")]),
    ([decided("allowed"), decided("allowed")], [(1, "decided_twice")]),
    ([decided("allowed", id="")], [(0, "field")]),
    ([decided("allowed", id=7)], [(0, "field")]),  # type: ignore[arg-type]
    ([decided("perhaps")], [(0, "field")]),
    ([line("decided", decision="allowed", by="nobody", id="r")], [(0, "field")]),
    ([line("decided", decision=["allowed"], by="rule", id="r")], [(0, "field")]),
    ([decided("approved")], [(0, "field")]),
    ([GRANTED, used("a"), used("b")], []),
    ([GRANTED, used("a"), used("b"), used("c")], [(3, "not_granted")]),
    ([GRANTED, line("started"), used("a"), line("revoked", grant="g"), used("b")], [(4, "not_granted")]),
    ([used("a")], [(0, "not_granted")]),
    ([line("granted", grant="g", uses=True), used("a")], [(1, "not_granted")]),
    ([line("held")], [(0, "field")]),
    ([HELD, HELD], [(1, "held_twice")]),
    ([line("reviewed", hold="h")], [(0, "not_held")]),
    ([HELD, decided("denied", hold="h"), decided("approved", hold="h")], [(2, "not_held")]),
    ([HELD, decided("denied", hold="h"), line("reviewed", hold="h")], [(2, "not_held")]),
    ([HELD, decided("allowed"), line("started")], [(2, "left_open"), (2, "left_open")]),
    ([line("recovered", in_doubt=1), DONE, DONE], [(2, "not_decided")]),
    ([line("recovered", in_doubt=True), DONE], [(1, "not_decided")]),
    ([line("recovered", in_doubt=5), line("started"), DONE], [(2, "not_decided")]),
]


@pytest.mark.parametrize(("lines", "found"), TABLE, ids=range(len(TABLE)))
def test_an_entry_that_contradicts_those_before_it_is_found(
    lines: list[dict[str, object]], found: object
) -> None:
    assert told(*lines)[1] == found


def test_where_entries_are_left_out_nothing_is_a_contradiction() -> None:
    assert told(DONE, decided("denied", hold="h"), line("reviewed", hold="h"), partial=True)[1] == []


def test_what_is_left_open_is_settled_with_what_the_hold_was_about() -> None:
    story, _ = told(HELD, decided("allowed"))
    cut_off, unknown = story.settlement()
    assert (cut_off.kind, unknown.kind) == ("decided", "unknown")
    assert cut_off.fields["agent"] == "uid:alice"
    assert (cut_off.fields["decision"], cut_off.fields["by"], cut_off.fields["hold"]) == (
        "cut_off",
        "fault",
        "h",
    )
    assert (unknown.fields["id"], unknown.fields["decided"]) == ("r", 1)
    for seq, draft in enumerate((cut_off, unknown, line("started"))):
        story.take(9 + seq, draft if isinstance(draft, dict) else {"kind": draft.kind, **draft.fields})
    assert story.findings.count == 0


def test_a_story_without_end_is_given_up_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stories, "CAP", 3)
    story, found = told(*(decided("allowed", id=str(number)) for number in range(9)), DONE)
    assert found == [(3, "too_many")]
    assert len(story.running) == 3


simple = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(
            ["held", "decided", "reviewed", "completed", "started", "recovered", "note", None, 7]
        )
    },
    optional={
        "id": st.sampled_from(["a", "b", "", None, 7]),
        "hold": st.sampled_from(["a", "b", "", None, 7, []]),
        "decision": st.sampled_from(["allowed", "approved", "pending", "denied", None, [], {}]),
        "by": st.sampled_from(["rule", "reviewer", None, []]),
        "in_doubt": st.sampled_from([1, -1, None, "2"]),
    },
)


@given(st.lists(simple, max_size=12))
def test_whatever_entries_say_a_start_settles_it_all(lines: list[dict[str, object]]) -> None:
    story, _ = told(*lines)
    before = story.findings.count
    story.doubt = 0
    for draft in [*story.settlement()]:
        story.take(99, {"kind": draft.kind, **draft.fields})
    story.take(100, {"kind": "started"})
    assert story.findings.count == before
    assert not story.holds
    assert not story.running


# -- first seen ----------------------------------------------------------------------


def use(decision: str = "allowed", **fields: object) -> dict[str, object]:
    common = {"agent": "uid:alice", "host": "api.openai.com", "operation": "chat", "credential": "k1"}
    return {"decision": decision, **common, **fields}


def test_what_was_let_through_once_is_no_longer_new() -> None:
    seen = fold([use(), use("denied", host="evil.example", operation="steal", credential="k9")])
    assert not seen.new_host("uid:alice", "api.openai.com")
    assert not seen.new_operation("uid:alice", "api.openai.com", "chat")
    assert not seen.new_credential("uid:alice", "api.openai.com", "k1")
    assert seen.new_host("uid:alice", "evil.example")
    assert seen.new_host("uid:bob", "api.openai.com")
    assert seen.new_host(None, "api.openai.com")
    assert seen.new_operation("uid:alice", "evil.example", "steal")
    assert seen.new_operation("uid:alice", "other.example", "chat")
    assert seen.new_credential("uid:alice", "other.example", "k1")


def test_a_credential_other_than_the_first_is_another_for_ever() -> None:
    seen = Seen()
    assert seen.other_credential("uid:alice", "api.openai.com", "k1")  # nobody has released a first one
    seen.add(use())
    assert not seen.other_credential("uid:alice", "api.openai.com", "k1")
    assert seen.other_credential("uid:alice", "api.openai.com", "k2")
    seen.add(use("approved", credential="k2"))
    assert seen.other_credential("uid:alice", "api.openai.com", "k2")
    assert not seen.new_credential("uid:alice", "api.openai.com", "k2")


def test_beyond_its_limit_everything_that_is_not_known_is_new() -> None:
    seen = fold((use(host=f"h{number}.example") for number in range(100)), limit=20)
    assert len(seen) <= 20
    assert seen.full
    assert not seen.new_host("uid:alice", "h0.example")
    assert seen.new_host("uid:alice", "h99.example")
    assert seen.other_credential("uid:alice", "h99.example", "k1")


def test_entries_of_any_form_teach_nothing_and_break_nothing() -> None:
    seen = fold([{}, {"decision": "allowed"}, use(agent=7, host=None, operation=[], credential={})])
    assert len(seen) == 0
