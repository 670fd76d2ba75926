"""The editors' schema knows what the loader knows, and no more than it can say."""

from __future__ import annotations

import jsonschema
import pytest
import yaml
from test_policy_loading import EXAMPLE, one_rule

from proxy.errors import SluiceError
from proxy.policy import keys, load_texts, schema
from proxy.policy.rule import Operator

VALIDATOR = jsonschema.Draft7Validator(schema())


def accepts(text: str) -> bool:
    return VALIDATOR.is_valid(yaml.safe_load(text))


def loads(text: str) -> bool:
    try:
        load_texts({"a.yaml": text})
    except SluiceError:
        return False
    return True


def test_the_schema_is_one():
    jsonschema.Draft7Validator.check_schema(schema())


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE,
        "version: 1\n",
        "version: 1\nretention: {payloads: 30d}\n",
        "version: 1\ndefault: {read: allow, payment: deny, new_host: hold}\n",
        one_rule(
            match="{host: [a.example, '*.b.example'], port: 8443, scheme: http, method: [GET], path: /**}"
        ),
        one_rule(
            match="{where: {json.a.b: {is: x, exists: true}, header.x: {in: [a, 5]}, query.q: {like: [a*]}}}"
        ),
        one_rule(match="{where: {email.to: {outside: [corp.com]}, blast.records: {above: 5, below: 9}}}"),
        one_rule(match="{where: {'json.a\\.b': {matches: a+}, mcp.argument.x: {count_above: 3}}}"),
        one_rule(
            says="x", show="path", risk="{tier: low}", hold="{reviewers: a, approvals: 2, timeout: 90s}"
        ),
    ],
)
def test_the_schema_accepts_what_the_loader_accepts(text):
    assert loads(text)
    assert accepts(text)


@pytest.mark.parametrize(
    "text",
    [
        "version: 2\n",
        "rules: []\n",
        "version: 1\ndefault: {raed: allow}\n",
        "version: 1\ndefault: {new_host: deny}\n",
        one_rule(why=None),
        one_rule(name="default"),
        one_rule(name="Not_Kebab"),
        one_rule(then="hodl"),
        one_rule(match="{}"),
        one_rule(match="{hots: x}"),
        one_rule(match="{method: post}"),
        one_rule(match="{scheme: ftp}"),
        one_rule(match="{port: 0}"),
        one_rule(match="{path: v1}"),
        one_rule(match="{where: {}}"),
        one_rule(match="{where: {jsn.a: {is: x}}}"),
        one_rule(match="{where: {json: {is: x}}}"),
        one_rule(match="{where: {json.a: {abov: 5}}}"),
        one_rule(match="{where: {json.a: {above: x}}}"),
        one_rule(match="{where: {json.a: x}}"),
        one_rule(unless="[]"),
        one_rule(risk="{tier: huge}"),
        one_rule(hold="{timeout: 10}"),
        one_rule(hold="{approvals: 0}"),
        one_rule(show="[nothing]"),
    ],
)
def test_the_schema_rejects_typical_mistakes_that_the_loader_rejects(text):
    assert not loads(text)
    assert not accepts(text)


def test_every_operator_and_key_is_described():
    assert set(keys.OPERATORS) == set(Operator)
    (described,) = schema()["properties"]["rules"]["items"]["properties"]["match"]["properties"]["where"][
        "patternProperties"
    ].values()
    assert set(described["properties"]) == set(map(str, Operator))
