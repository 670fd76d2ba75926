"""Drafts of rules out of ledgers and OpenAPI descriptions: they load, and their cases pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Done, sluice
from recording import post, record

GET = {"operationId": "x"}
HOLD_ALL = "version: 1\n"
SPEC = {
    "openapi": "3.0.3",
    "servers": [{"url": "https://{region}.acme.example/api/", "variables": {"region": {"default": "eu"}}}],
    "paths": {
        "/v1/refunds/{refund}/cancel": {
            "post": {
                "operationId": "cancelRefund",
                "summary": "Cancel {a} refund\u202e [now]",
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refund"}}}
                },
            }
        },
        "/v1/users/{id}": {"get": {"operationId": "getUser"}, "delete": {"operationId": "deleteUser"}},
        "/v1/users": {"get": {"operationId": "listUsers"}},
        "/v1/files/{a}{b}.json": {"delete": {"operationId": "default"}},
    },
    "components": {
        "schemas": {
            "Refund": {
                "type": "object",
                "properties": {
                    "amount": {"type": "integer"},
                    "password": {"type": "string"},
                    "again": {"$ref": "#/components/schemas/Refund"},
                },
            }
        }
    },
}


def passes(at: Path, draft: Done) -> dict[str, object]:
    """The draft as a policy file of its own: it loads, and all its cases pass. What it says, as JSON."""
    folder = at / "drafted"
    folder.mkdir(exist_ok=True)
    (folder / "draft.yaml").write_text(draft.out)
    assert (draft.status, sluice("policy", "check", folder, at=at).status) == (0, 0), draft.err
    test = sluice("policy", "test", folder, "--json", at=at)
    assert test.status == 0, test.out
    return {one["rule"]: one for one in test.lines}


def new(at: Path, spec: object, *words: str) -> Done:
    (at / "api.json").write_text(spec if isinstance(spec, str) else json.dumps(spec))
    return sluice("policy", "new", "--openapi", "api.json", *words, at=at)


# -- out of a ledger ---------------------------------------------------------------------


def id_of(at: Path, url: str) -> str:
    shown = sluice("ledger", "show", "ledger.db", "--json", at=at)
    return next(one["id"] for one in shown.lines if one["kind"] == "decided" and one["url"] == url)


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        (post("https://api.example.com/v1/charges/ch_12345/refund", "amount=9&a=x y&password=hunter2hunter2"),
         "/v1/charges/*/refund"),
        (post("https://api.example.com/v1/things?page=2", '{"amount": 9, "note": "a: b # c\\u202e"}',
              content_type="application/json"), "/v1/things"),
        (post("https://api.example.com/v1/things/7", method="DELETE"), "/v1/things/*"),
        (post("http://api.example.com:8080/v1/raw", "\\ttext: [", content_type="text/plain"), "/v1/raw"),
        (post("https://hooks.slack.com/services/T000/B000/XXXXXXXXXXXXXXXXXXXX", "payload=x"), "/services/*"),
    ],
)  # fmt: skip
def test_a_held_request_becomes_a_rule_that_holds_it_and_a_case(tmp_path, asked, path):
    record(tmp_path / "ledger.db", HOLD_ALL, [post("https://other.example/x", method="GET"), asked])
    shown = sluice("ledger", "show", "ledger.db", "--json", at=tmp_path)
    id = [one["id"] for one in shown.lines if one["kind"] == "decided"][-1]
    draft = sluice("policy", "new", "--ledger", "ledger.db", id[:27], at=tmp_path)
    ((rule, case),) = passes(tmp_path, draft).items()
    assert case["got"] == "hold"
    assert rule
    assert f"path: {path}" in draft.out.replace('"', "")
    assert "hunter2" not in draft.out
    assert "XXXX" not in draft.out


def test_an_operation_that_a_format_names_is_named_in_the_rule(tmp_path):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "drop_table"}})
    asked = post("https://mcp.example/mcp", body, content_type="application/json")
    record(tmp_path / "ledger.db", HOLD_ALL, [asked])
    id = id_of(tmp_path, "https://mcp.example/mcp")
    draft = sluice("policy", "new", "--ledger", "ledger.db", id, at=tmp_path)
    passes(tmp_path, draft)
    assert "where: {operation: {is: " in draft.out
    assert "drop_table" in draft.out


def test_an_allowed_request_becomes_a_rule_by_its_address(tmp_path):
    record(
        tmp_path / "ledger.db",
        "version: 1\ndefault: {write: allow}\n",
        [post("https://a.example/v1/x", "a=1")],
    )
    draft = sluice(
        "policy", "new", "--ledger", "ledger.db", id_of(tmp_path, "https://a.example/v1/x"), at=tmp_path
    )
    passes(tmp_path, draft)


def test_an_id_has_to_name_one_request(tmp_path):
    record(tmp_path / "ledger.db", HOLD_ALL, [post("https://a.example/1"), post("https://a.example/2")])
    for id, said in (("nothing", "no request in"), ("id", "2 requests in")):
        done = sluice("policy", "new", "--ledger", "ledger.db", id, at=tmp_path)
        assert (done.status, said in done.err) == (1, True)
    assert sluice("policy", "new", "--ledger", "ledger.db", at=tmp_path).status == 2


# -- out of an OpenAPI description -------------------------------------------------------


def test_each_risky_operation_becomes_a_rule_and_no_other(tmp_path):
    draft = new(tmp_path, SPEC)
    assert set(passes(tmp_path, draft)) == {"cancel-refund", "delete-user", "rule-default"}
    assert "What is deleted may not come back." in draft.out
    assert "3 rules drafted" in draft.err


def test_a_description_without_anything_risky_drafts_nothing(tmp_path):
    done = new(tmp_path, SPEC | {"paths": {"/v1/users": {"get": GET}}})
    assert (done.status, done.out) == (2, "")
    assert "nothing risky" in done.err


def test_one_operation_becomes_a_rule_whatever_it_does(tmp_path):
    draft = new(tmp_path, SPEC, "--operation", "cancelRefund")
    assert set(passes(tmp_path, draft)) == {"cancel-refund"}
    assert 'path: "/api/v1/refunds/*/cancel"' in draft.out
    assert "host: eu.acme.example" in draft.out
    assert 'says: "Cancel {{a}} refund [[now]]: {path}[, amount {json.amount}]"' in draft.out
    assert "json.password" not in draft.out


def test_an_operation_without_an_id_is_named_by_method_and_path(tmp_path):
    spec = SPEC | {"paths": {"/v1/x y/{id}": {"put": {}, "post": {}}}}
    draft = new(tmp_path, spec, "--operation", "PUT /v1/x y/{id}")
    assert set(passes(tmp_path, draft)) == {"put-v1-x-y-id"}
    assert 'path: "/api/v1/x%20y/*"' in draft.out


def test_a_parameter_is_a_star_also_within_a_segment(tmp_path):
    draft = new(tmp_path, SPEC, "--operation", "default")
    assert set(passes(tmp_path, draft)) == {"rule-default"}
    assert 'path: "/api/v1/files/*.json"' in draft.out


def test_yaml_is_read_as_plain_texts(tmp_path):
    text = """openapi: 3.1.0
info: {title: x, version: 2020-01-01, on: !!python/object/apply:os.system [x]}
servers: [{url: https://a.example}]
paths:
  /v1/things/{id}:
    post:
      operationId: no
      requestBody:
        content:
          application/x-www-form-urlencoded:
            schema: {type: object, properties: {on: {example: 12:30}, when: {example: 2020-01-01}}}
"""
    draft = new(tmp_path, text, "--operation", "no")
    assert set(passes(tmp_path, draft)) == {"no"}
    assert 'form: {"on": "12:30", "when": "2020-01-01"}' in draft.out


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("openapi: 3.0.0\npaths: &a {x: *a}\n", "an alias"),
        ("openapi: 3.0.0\nx: " + "[" * 200 + "]" * 200, "levels"),
        ('{"openapi": "3.0.0", "x": ' + "[" * 100_000, "nested"),
        ("[]", "no OpenAPI description"),
        ("", "no OpenAPI description"),
        ("openapi: 3.0.0\n\t- x", "neither JSON nor YAML"),
        ("{", "neither JSON nor YAML"),
        ('{"swagger": "2.0"}', "no OpenAPI 3 description: Swagger 2"),
        ('{"openapi": "3.0.0", "paths": {}}', "no operation 'x'"),
        (json.dumps(SPEC | {"servers": [{"url": "/v1"}], "paths": {"/x": {"get": GET}}}), "no server"),
        (json.dumps(SPEC | {"paths": {"/x?a=b": {"get": GET}}}), "no operation 'x'"),
    ],
)  # fmt: skip
def test_what_is_no_description_is_said(tmp_path, spec, said):
    done = new(tmp_path, spec, "--operation", "x")
    assert done.status == 2
    assert said in done.err
    assert done.out == ""


def test_references_that_lead_in_circles_or_elsewhere_end(tmp_path):
    schema = {"allOf": [{"$ref": "#/components/schemas/A"}, {"$ref": "https://elsewhere.example/b"}]}
    circle = {"A": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/A"}}
    post = {"operationId": "x", "requestBody": {"content": {"application/json": {"schema": schema}}}}
    spec = SPEC | {"components": {"schemas": circle}, "paths": {"/x": {"post": post}}}
    passes(tmp_path, new(tmp_path, spec, "--operation", "x"))


def test_an_api_that_does_not_say_where_it_is_can_be_told(tmp_path):
    spec = SPEC | {"servers": []}
    draft = new(tmp_path, spec, "--operation", "deleteUser", "--server", "https://api.acme.example/v2/")
    passes(tmp_path, draft)
    assert 'path: "/v2/v1/users/*"' in draft.out
