"""`sluice policy explain`: the answer, what it was taken for, and the first line that did not match."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import sluice

POLICY = """version: 1
default: {read: allow, write: watch, payment: hold}
rules:
  - name: refunds
    why: A refund moves money.
    match: {host: api.example.com, method: POST, path: /v1/refunds, where: {form.amount: {above: 5000}}}
    unless: [{where: {header.x-mode: {is: test}}}]
    then: hold
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "p.yaml").write_text(POLICY)
    return tmp_path


def explain(here: Path, *words: str):
    return sluice("policy", "explain", "--policy", "p.yaml", *words, at=here)


FORM = ("-H", "content-type: application/x-www-form-urlencoded", "-d")


def test_the_first_line_that_did_not_match_is_named_with_its_place(here):
    done = explain(here, "POST", "https://api.example.com/v1/refunds", *FORM, "amount=7")
    assert done.status == 0
    assert "hold refunds: does not apply: form.amount above 5000  (p.yaml:6:98)" in done.out
    done = explain(
        here, "POST", "https://api.example.com/v1/refunds", *FORM, "amount=9000", "-H", "x-mode: test"
    )
    assert "hold refunds: does not apply: unless header.x-mode is test" in done.out
    done = explain(here, "GET", "https://api.example.com/v1/refunds")
    assert "hold refunds: does not apply: method in POST" in done.out


def test_what_a_request_is_taken_for_is_said_with_its_why(here):
    done = explain(here, "POST", "https://other.example/v1/payouts", *FORM, "amount=7")
    assert done.out.splitlines()[0] == "hold"
    (taken,) = [line for line in done.out.splitlines() if line.startswith("taken for")]
    assert "payment: " in taken
    (found,) = explain(here, "POST", "https://other.example/v1/payouts", *FORM, "amount=7", "--json").lines
    assert "payment" in found["consequence"]
    assert found["consequence_why"]
