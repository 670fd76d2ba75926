"""What is signed: one spelling, nothing left out, nothing else taken for it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.chain import REQUEST_TAG, canonical, commitment
from proxy.signing import ProofError, shown
from proxy.signing.statement import LIMIT, Proof, Statement

from .making_keys import ed25519, envelope, proof, statement

TEXTS = st.text(max_size=40)


def refused(code: str, given: Proof) -> None:
    with pytest.raises(ProofError) as caught:
        given.opened()
    assert caught.value.code == code


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), TEXTS, max_size=5))
def test_a_statement_is_read_as_it_was_written(about: dict[str, str]) -> None:
    try:
        said = statement(about=about)
        assert Statement.parse(said.data) == said
    except ProofError as error:
        assert error.code == "form"


def test_a_proof_says_who_signed_what() -> None:
    key = ed25519()
    said, by = proof(key, statement("accept", about={"policy": "ab"})).opened()
    assert (said.act, said.about, by, said.key) == ("accept", {"policy": "ab"}, key.public, key.id)


def test_a_statement_that_names_another_key_does_not_count() -> None:
    key, other = ed25519(), ed25519()
    said = statement(key=other.id)
    refused("signature", Proof(said.data.decode(), proof(key, said).signature))
    refused("key", Proof(said.data.decode(), envelope(key, said.data)))


def whole(**changes: Any) -> bytes:
    return canonical({**json.loads(statement().data), **changes})


WRONG: dict[str, bytes] = {
    "a space": statement().data.replace(b",", b", ", 1),
    "a field twice": statement().data.replace(b'{"about"', b'{"about":{},"about"'),
    "a field more": whole(extra=1),
    "another version": whole(v=2),
    "a version that is no number": whole(v=True),
    "a name with a space": whole(reviewer="ada b"),
    "a name in capitals": whole(reviewer="Ada"),
    "no ledger": whole(ledger=""),
    "no time": whole(time="today"),
    "about nothing": whole(about=None),
    "no key": whole(key="SHA256:"),
    "an act that is none": whole(act="Approve!"),
    "too long": whole(about={"reason": "x" * LIMIT}),
    "no JSON": b"approve",
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG.keys())
def test_what_is_not_exactly_a_statement_is_refused(data: bytes) -> None:
    refused("form", Proof(data.decode(), envelope(ed25519(), data)))


def test_half_a_character_is_no_text() -> None:
    refused("form", replace(proof(ed25519(), statement()), statement="\ud800"))
    with pytest.raises(ProofError):
        assert statement(about={"reason": "\ud800"}).data


def test_what_is_too_long_is_not_signed() -> None:
    with pytest.raises(ProofError, match="at most"):
        assert statement(about={"reason": "x" * LIMIT}).data


VIEW: dict[str, Any] = {
    "id": "7f3k2q", "rule": "refunds", "rules": ["refunds", "writes"], "why": "Money.", "agent": "uid:a",
    "method": "POST", "url": "https://a/b", "operation": "POST /b", "says": "Refund 5",
    "show": {"Form.Amount": ["5"], "x": ["1", "2"]}, "digest": "ab" * 32, "policy": "cd" * 32,
    "opened": "2026-11-22T12:00:00.000000Z", "deadline": "2026-11-22T12:10:00.000000Z",
    "approvals_needed": 1, "reviews": [], "attempts": 1, "agent_waiting": True, "state": "pending",
    "cause": "", "by": [], "tier": "high", "reversible": None, "salt": "01" * 16, "body": "",
    "headers": [], "body_note": "",
}  # fmt: skip


def test_a_review_is_about_the_request_and_the_view_without_giving_them_away() -> None:
    about = shown.about(VIEW, "fine")
    assert about["request"] == commitment(REQUEST_TAG, bytes.fromhex("01" * 16), bytes.fromhex("ab" * 32))
    assert about["hold"] == "7f3k2q" and about["policy"] == "cd" * 32 and about["reason"] == "fine"
    assert "ab" * 32 not in canonical(about).decode()
    other = shown.about(VIEW | {"salt": "02" * 16}, "fine")
    assert other["view"] != about["view"] and other["request"] != about["request"]


@pytest.mark.parametrize("name", sorted(VIEW.keys() - shown.PASSING))
def test_everything_that_is_shown_is_part_of_the_view(name: str) -> None:
    changed = VIEW | {name: "ff" * 32 if name == "digest" else ["changed"]}
    assert shown.about(changed, "")["view"] != shown.about(VIEW, "")["view"]


@pytest.mark.parametrize("name", sorted(shown.PASSING - {"salt"}))
def test_what_changes_while_a_hold_waits_is_not(name: str) -> None:
    assert shown.about(VIEW | {name: "changed"}, "") == shown.about(VIEW, "")


def test_what_nobody_knew_of_yet_is_part_of_the_view() -> None:
    assert shown.about(VIEW | {"later": "more"}, "")["view"] != shown.about(VIEW, "")["view"]


@given(TEXTS, TEXTS)
def test_no_text_of_an_agent_keeps_a_review_from_being_signed(name: str, value: str) -> None:
    odd = VIEW | {"show": {name: [value, "\ud83d"]}, "url": value + "\udc00"}
    assert len(str(shown.about(odd, value)["view"])) == 64


def test_a_long_reason_is_cut_and_says_so() -> None:
    assert "cut" in str(shown.about(VIEW, "x" * 5_000)["reason"])
