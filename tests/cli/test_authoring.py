"""The tools for people who write rules, as commands on real files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import sluice
from recording import post, record

GOOD = """version: 1
rules:
  - name: refunds
    why: A refund moves money.
    match: {host: api.example.com, method: POST, path: /v1/refunds}
    then: hold
"""
CASES = """cases:
  - name: a refund waits
    request: POST https://api.example.com/v1/refunds
    expect: hold
    rule: refunds
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "a.yaml").write_text(GOOD)
    (tmp_path / "policies" / "a_cases.yaml").write_text(CASES)
    return tmp_path


# -- lint --------------------------------------------------------------------------------


def test_lint_is_silent_and_zero_where_there_is_nothing_to_find(here):
    done = sluice("policy", "lint", at=here)
    assert (done.status, done.out) == (0, "")
    assert "0 findings in 1 rules" in done.err


def test_lint_says_place_what_why_and_fix_and_ends_with_one(here):
    wide = GOOD + "    unless: [{where: {json.test: {is: true}}}]\n"
    (here / "policies" / "a.yaml").write_text(wide)
    done = sluice("policy", "lint", at=here)
    assert done.status == 1
    what, why, fix = done.out.splitlines()
    assert what.startswith("policies/a.yaml:7:39: rule 'refunds' lets go of")
    assert why.startswith("    why: ")
    assert fix.startswith("    fix: ")


def test_lint_gives_json_lines(here):
    (here / "policies" / "a_cases.yaml").unlink()
    done = sluice("policy", "lint", "--json", at=here)
    assert done.status == 1
    assert [one["finding"] for one in done.lines] == ["untested"]


def test_lint_of_a_policy_that_does_not_load_tells_the_mistakes(here):
    (here / "policies" / "a.yaml").write_text(GOOD.replace("then", "than"))
    done = sluice("policy", "lint", at=here)
    assert done.status == 2
    assert "unknown field 'than'" in done.err


def test_cases_in_a_policy_file_are_tested_and_count_for_lint(here):
    (here / "policies" / "a_cases.yaml").unlink()
    (here / "policies" / "a.yaml").write_text(GOOD + CASES)
    assert sluice("policy", "lint", at=here).status == 0
    done = sluice("policy", "test", at=here)
    assert (done.status, done.out) == (0, "1 of 1 cases passed\n")


# -- diff --------------------------------------------------------------------------------

OLD = """version: 1
default: {read: allow, write: hold}
rules:
  - name: refunds
    why: A refund moves money.
    match: {host: api.example.com, method: POST, path: /v1/refunds}
    unless: [{where: {header.authorization: {like: "Bearer sk_test_*"}}}]
    then: hold
  - name: notes
    why: A note is harmless.
    match: {host: api.example.com, method: POST, path: /v1/notes, where: {form.text: {exists: true}}}
    then: allow
  - name: test-mode
    why: A test key moves nothing.
    match: {host: api.example.com, where: {header.authorization: {like: "Bearer sk_test_*"}}}
    then: allow
"""
NEW = (
    OLD.replace("path: /v1/refunds", "path: /v1/refunds, where: {form.amount: {above: 5000}}")
    + """
  - name: exports
    why: An export is big.
    match: {host: api.example.com, method: GET, path: /v1/export}
    then: hold
  - name: no-drops
    why: Nobody drops tables by a note.
    match: {host: api.example.com, path: /v1/notes, where: {form.text: {like: "*drop*"}}}
    then: deny
  - name: small-refunds
    why: Small ones are fine.
    match: {host: api.example.com, method: POST, path: /v1/refunds, where: {form.amount: {below: 5000}}}
    then: allow
"""
)
KEY = "Bearer sk_live_0123456789abcdef"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    (tmp_path / "old.yaml").write_text(OLD)
    (tmp_path / "new.yaml").write_text(NEW)
    return tmp_path


REQUESTS = [
    post("https://api.example.com/v1/refunds", "amount=100&charge=ch_1", authorization=KEY),
    post("https://api.example.com/v1/refunds", "amount=9000", authorization=KEY),
    post("https://api.example.com/v1/refunds", "amount=7", agent="uid:bob"),
    post("https://api.example.com/v1/refunds", "amount=7", authorization="Bearer sk_test_0123456789abcdef"),
    post("https://api.example.com/v1/notes", "text=hi"),
    post("https://api.example.com/v1/export", method="GET"),
    post("https://api.example.com/v1/list", method="GET"),
    post("https://api.example.com/v1//x", method="GET"),
]


def test_diff_says_in_words_what_became_looser_and_stricter(two):
    done = sluice("policy", "diff", "old.yaml", "new.yaml", at=two)
    assert done.status == 0
    assert done.out.splitlines() == [
        "looser    refunds: only where form.amount above 5000",
        "looser    small-refunds: added, says allow: Small ones are fine.",
        "stricter  exports: added, says hold: An export is big.",
        "stricter  no-drops: added, says deny: Nobody drops tables by a note.",
    ]


def test_diff_of_the_same_policy_in_other_words_is_empty(two):
    (two / "again.yaml").write_text("# words\n" + OLD)
    done = sluice("policy", "diff", "old.yaml", "again.yaml", at=two)
    assert (done.status, done.out) == (0, "")
    assert "mean the same" in done.err


def test_diff_on_a_file_of_requests_shows_each_that_gets_another_answer(two):
    lines = [
        {"id": "a", "method": "GET", "url": "https://api.example.com/v1/export?token=abcdefabcdef0123"},
        {"id": "b", "method": "POST", "url": "https://api.example.com/v1/refunds", "body": "amount=7",
         "headers": [["content-type", "application/x-www-form-urlencoded"]]},
        {"id": "c", "method": "GET", "url": "https://api.example.com/v1/x"},
        {"id": "d"},
    ]  # fmt: skip
    (two / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = sluice("policy", "diff", "old.yaml", "new.yaml", "--requests", "requests.jsonl", at=two)
    shown = done.out.splitlines()[4:]
    assert shown[0].startswith(
        "stricter  allow -> hold  GET https://api.example.com/v1/export?token=‹secret 1›"
    )
    assert (
        shown[1]
        == "looser    hold -> allow  POST https://api.example.com/v1/refunds  (refunds -> small-refunds)"
    )
    assert shown[2] == "of 4 requests 1 looser, 1 stricter, 1 the same, 1 that nobody can say"
    cut = sluice(
        "policy", "diff", "old.yaml", "new.yaml", "--requests", "requests.jsonl", "--show", "1", at=two
    )
    assert "and 1 more: --show 2" in cut.out


def test_diff_on_a_ledger_judges_what_is_kept_and_says_what_nobody_can_say(two):
    record(two / "ledger.db", OLD, REQUESTS)
    done = sluice("policy", "diff", "old.yaml", "new.yaml", "--ledger", "ledger.db", "--json", at=two)
    assert done.status == 0
    *found, counts = [one for one in done.lines if "url" in one or "requests" in one]
    assert [(one["change"], one["before"], one["after"]["decision"]) for one in found] == [
        ("looser", {"decision": "hold", "rule": "refunds"}, "allow"),
        ("looser", {"decision": "hold", "rule": "refunds"}, "allow"),
        ("stricter", {"decision": "allow", "rule": "default"}, "hold"),
    ]
    # Of an allowed request no body is kept: nobody knows whether the note would be denied now.
    assert counts == {"requests": {"looser": 2, "stricter": 1, "same": 3, "unknown": 1}}


def test_diff_of_files_that_are_not_there_is_wrong_usage(two):
    assert sluice("policy", "diff", "old.yaml", "none.yaml", at=two).status == 2
    assert sluice("policy", "diff", "old.yaml", "new.yaml", "--ledger", "none.db", at=two).status == 2
    assert sluice("policy", "diff", "old.yaml", "new.yaml", "--requests", "none.jsonl", at=two).status == 2


# -- replay ------------------------------------------------------------------------------


def test_replay_counts_the_holds_that_a_change_adds_and_removes(two):
    record(two / "ledger.db", OLD, REQUESTS)
    done = sluice(
        "policy", "replay", "ledger.db", "--policy", "new.yaml", "--was", "old.yaml", "--json", at=two
    )
    assert done.status == 0
    total, *rest = done.lines
    assert total == {
        "requests": 7, "holds_then": 3, "holds_now": 2, "added": 1, "removed": 2, "unknown": 1,
        "unjudged": {"no policy was asked": 1},
    }  # fmt: skip
    assert {one["rule"]: (one["added"], one["removed"]) for one in rest if "rule" in one} == {
        "refunds": (0, 2), "exports": (1, 0), "notes": (0, 0),
    }  # fmt: skip
    assert {one["agent"]: (one["added"], one["removed"]) for one in rest if "agent" in one} == {
        "uid:ann": (1, 1), "uid:bob": (0, 1),
    }  # fmt: skip


def test_replay_of_the_same_policy_changes_nothing(two):
    record(two / "ledger.db", OLD, REQUESTS)
    done = sluice("policy", "replay", "ledger.db", "--policy", "old.yaml", at=two)
    assert done.out.splitlines()[0] == (
        "7 requests judged again: 3 holds then, 3 now for certain; 0 added, 0 removed, 0 that nobody can say"
    )


def test_what_was_in_force_settles_more_but_nothing_is_guessed_without_it(two):
    record(two / "ledger.db", OLD, REQUESTS)
    done = sluice("policy", "replay", "ledger.db", "--policy", "new.yaml", "--json", at=two)
    assert done.lines[0]["unknown"] > 1
    told = sluice("policy", "replay", "ledger.db", "--policy", "new.yaml", at=two)
    assert "--was" in told.err


def test_a_held_body_that_was_redacted_is_unknown_where_the_secret_stood(two):
    secret = "password=hunter2hunter2&amount=3"
    record(two / "ledger.db", OLD, [post("https://api.example.com/v1/refunds", secret)])
    asks = NEW.replace("form.amount: {above: 5000}", "form.password: {is: x}")
    (two / "asks.yaml").write_text(asks)
    done = sluice("policy", "replay", "ledger.db", "--policy", "asks.yaml", "--json", at=two)
    assert done.lines[0]["unknown"] == 1
    done = sluice("policy", "replay", "ledger.db", "--policy", "new.yaml", "--json", at=two)
    assert (done.lines[0]["unknown"], done.lines[0]["removed"]) == (0, 1)


def test_what_is_no_ledger_cannot_be_replayed(two):
    (two / "not.db").write_text("no ledger")
    assert sluice("policy", "replay", "not.db", "--policy", "new.yaml", at=two).status == 1
    assert sluice("policy", "replay", "none.db", "--policy", "new.yaml", at=two).status == 2


def test_a_rule_that_said_no_says_no_where_it_is_narrower_and_nobody_knows_where_it_is_wider(two):
    rules = """version: 1
default: {read: allow, write: allow}
rules:
  - name: big
    why: Big ones wait.
    match: {host: api.example.com, where: {form.amount: {above: 9000}}}
    then: hold
"""
    for name, bound in (("was", "9000"), ("narrower", "99999"), ("wider", "5")):
        (two / f"{name}.yaml").write_text(rules.replace("9000", bound))
    record(two / "ledger.db", rules, [post("https://api.example.com/v1/x", "amount=100")])
    for name, unknown in (("narrower", 0), ("wider", 1)):
        done = sluice(
            "policy", "replay", "ledger.db", "--policy", f"{name}.yaml", "--was", "was.yaml", "--json", at=two
        )
        assert (done.lines[0]["unknown"], done.lines[0]["added"]) == (unknown, 0), name
