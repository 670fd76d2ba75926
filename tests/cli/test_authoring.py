"""The tools for people who write rules, as commands on real files."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import sluice

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
