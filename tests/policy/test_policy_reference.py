"""The reference for users: what it shows is what happens."""

from __future__ import annotations

import json
import re
from pathlib import Path

from proxy.policy import load_texts, run_cases, schema
from proxy.policy.fields import FIXED, OPEN, SCALARS
from proxy.policy.rule import Operator

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "policy.md").read_text()
EXAMPLE, EXAMPLE_CASES, READINGS, READINGS_CASES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def test_the_example_loads_and_its_case_passes():
    results = run_cases(load_texts({"example.yaml": EXAMPLE}), {"example_cases.yaml": EXAMPLE_CASES})
    assert all(one.passed for one in results)


def test_each_reading_is_the_one_that_the_cases_show():
    results = run_cases(load_texts({"readings.yaml": READINGS}), {"readings_cases.yaml": READINGS_CASES})
    assert [(one.name, one.got, one.rules) for one in results if not one.passed] == []


def test_every_field_and_operator_is_in_the_reference():
    for name in (*SCALARS, *FIXED):
        assert f"`{name}`" in TEXT, name
    assert all(f"`{root}." in TEXT for root in OPEN)
    assert all(f"`{operator}: " in TEXT for operator in Operator)


def test_the_schema_beside_the_reference_is_the_one_that_is_generated():
    assert json.loads((DOCS / "policy.schema.json").read_text()) == schema()
