"""`sluice policy explain`: the answer, what it was taken for, and the first line that did not match."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from commands import SLUICE, sluice

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


def test_of_many_rules_that_do_not_apply_some_are_shown_and_the_others_counted(here):
    rule = "  - {{name: r{0}, why: W., match: {{host: api.example.com, path: [{1}]}}, then: hold}}\n"
    paths = ", ".join(f"/v1/{'x' * 20}{number}" for number in range(10))
    (here / "p.yaml").write_text(POLICY + "".join(rule.format(number, paths) for number in range(30)))
    asked = ("POST", "https://api.example.com/v1/refunds", *FORM, "amount=9000")
    steps = [line for line in explain(here, *asked).out.splitlines() if line.startswith(" ")]
    assert "hold refunds: applies" in steps[0]
    assert len(steps) == 11 and steps[-1].strip() == "21 more do not apply: --all"
    assert max(map(len, steps)) < 250
    whole = explain(here, *asked, "--all").out
    assert "r29: does not apply" in whole and "x9  (" in whole


def test_a_locale_without_a_character_loses_no_result(here):
    (here / "p.yaml").write_text(
        POLICY.replace("A refund moves money.", "Ein Rückruf kostet.").replace("5000", "1")
    )
    asked = ("POST", "https://api.example.com/v1/refunds", *FORM, "amount=9000")
    done = subprocess.run(
        [SLUICE, "policy", "explain", "--policy", "p.yaml", *asked],
        env={"PATH": os.environ["PATH"], "HOME": str(here), "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        cwd=here, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "why        Ein R\\xfcckruf kostet." in done.stdout


def test_what_a_request_is_taken_for_is_said_with_its_why(here):
    done = explain(here, "POST", "https://other.example/v1/payouts", *FORM, "amount=7")
    assert done.out.splitlines()[0] == "hold"
    (taken,) = [line for line in done.out.splitlines() if line.startswith("taken for")]
    assert "payment: " in taken
    (found,) = explain(here, "POST", "https://other.example/v1/payouts", *FORM, "amount=7", "--json").lines
    assert "payment" in found["consequence"]
    assert found["consequence_why"]
