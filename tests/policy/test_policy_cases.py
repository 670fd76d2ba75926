"""Cases beside the rules, and explanations of single requests and of many."""

from __future__ import annotations

import base64
import io
import json

import pytest
from making_actions import policy, rule

from proxy.action import UNKNOWN, Values
from proxy.decode import decode
from proxy.errors import SluiceError
from proxy.policy import explain, from_lines, request, run_cases
from proxy.policy.cases import load_cases
from proxy.policy.lines import MAX_LINE

POLICY = policy(
    rule("big", "hold", "{form.amount: {above: 5000}}", unless="[{where: {header.x-mode: {is: test}}}]"),
    rule("secret", "deny", match="host: api.example.com, path: /secret/**"),
    rule("elsewhere", "deny", match="host: other.example"),
    default="{read: allow, write: watch}",
)


def case(lines: str) -> str:
    body = "\n".join(f"    {line}" for line in lines.strip().split("\n"))
    return f"cases:\n  - {body.lstrip()}\n"


def result(lines: str, **more):
    (found,) = run_cases(POLICY, {"a_cases.yaml": case(lines)}, **more)
    return found


@pytest.mark.parametrize(
    ("lines", "got"),
    [
        ("form: {amount: 9000}", "hold"),
        ("form: {amount: 10}", "watch"),
        ("form: {amount: '9,000'}", "hold"),
        ("form: {amount: 9000}\nheaders: {X-Mode: test}", "watch"),
        ("form: {amount: 9000}\nheaders: {X-Mode: [test, live]}", "hold"),
        ("json: {amount: 9000}", "hold"),
        ("body: amount=9000\nheaders: {content-type: application/x-www-form-urlencoded}", "hold"),
        ("body_base64: YW1vdW50PTk=\nheaders: {content-type: application/x-www-form-urlencoded}", "watch"),
        ("body: 'amount=%'\nheaders: {content-type: application/x-www-form-urlencoded}", "unreadable"),
    ],
)
def test_a_case_is_answered_as_the_gate_would_answer_it(lines, got):
    found = result(f"name: x\nrequest: POST https://api.example.com/v1/refunds\n{lines}\nexpect: {got}")
    assert (found.got, found.passed) == (got, True)


def test_a_case_fails_on_another_answer_and_on_another_rule():
    wrong = result("name: x\nrequest: GET https://h.example/\nexpect: hold")
    assert (wrong.passed, wrong.expected, wrong.got, wrong.at) == (
        False,
        "hold",
        "allow",
        "a_cases.yaml:2:11",
    )
    other = "name: x\nrequest: GET https://api.example.com/secret/x\nexpect: deny\nrule: "
    assert result(other + "secret").passed
    assert not result(other + "elsewhere").passed


def test_a_body_that_no_rule_needs_is_not_read_and_one_that_is_needed_has_a_limit():
    lines = "name: x\nrequest: POST https://api.example.com/{}\njson: [1, 2, 3]\nexpect: {}"
    assert result(lines.format("secret/x", "deny"), body_limit=1).passed
    assert result(lines.format("v1", "too_large"), body_limit=1).passed


def test_forms_and_json_are_written_as_they_stand():
    text = "name: x\nrequest: POST https://h.example/\nexpect: allow\n"
    form = "form: {a: [1, 2], b: {c: x y, d: [{e: 1}]}, f: null, g: 007}"
    (found,) = load_cases({"a_cases.yaml": case(text + form)})
    assert found.request.body == b"a=1&a=2&b%5Bc%5D=x+y&b%5Bd%5D%5B0%5D%5Be%5D=1&f=null&g=007"
    (found,) = load_cases(
        {"a_cases.yaml": case(text + "json: {a: 1.50, b: '1', c: [true, null, no], é: {}}")}
    )
    assert found.request.body == rb'{"a": 1.50, "b": "1", "c": [true, null, "no"], "\u00e9": {}}'
    assert found.request.header(b"content-type") == [b"application/json"]
    assert found.request.header(b"host") == [b"h.example"]


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ("request: GET https://h.example/\nexpect: allow", "a case without name"),
        ("name: x\nexpect: allow", "a case without request"),
        ("name: x\nrequest: GET https://h.example/", "a case without expect"),
        ("name: x\nrequest: GET https://h.example/\nexpect: alow", "expect is 'alow'"),
        ("name: x\nrequest: GET /v1\nexpect: allow", "'/v1' is no URL of a request"),
        ("name: x\nrequest: GET https://u:p@h.example/\nexpect: allow", "'https://u:p@h.example/' is no URL"),
        ("name: x\nrequest: GET https://h.example:0443/\nexpect: allow", "the port is not a decimal"),
        ("name: x\nrequest: GET https://h.example/\nexpect: allow\nform: {}\njson: {}", "both form and json"),
        (
            "name: x\nrequest: GET https://h.example/\nexpect: allow\nbody_base64: '*'",
            "body_base64 cannot be read",
        ),
        (
            "name: x\nrequest: GET https://h.example/\nexpect: allow\nheaders: {'a b': x}",
            "'a b' is no header",
        ),
        (
            'name: x\nrequest: GET https://h.example/\nexpect: allow\nheaders: {a: "x\\r\\ny"}',
            "a header's value",
        ),
        ("name: x\nrequest: GET https://h.example/\nexpect: allow\njson: {a: 1e3}", "'1e3' is a number"),
        ("name: x\nrequest: GET https://h.example/\nexpects: allow", "unknown field 'expects' in a case"),
    ],
)
def test_a_mistake_in_a_case_is_told_with_its_place(lines, what):
    with pytest.raises(SluiceError) as caught:
        load_cases({"a_cases.yaml": case(lines)})
    assert any(problem.what.startswith(what) for problem in caught.value.problems)
    assert all(problem.where.startswith("a_cases.yaml:") for problem in caught.value.problems)


@pytest.mark.parametrize("files", [{}, {"a_cases.yaml": "cases: []\n"}, {"a_cases.yaml": "version: 1\n"}])
def test_no_case_is_a_failure(files):
    with pytest.raises(SluiceError):
        run_cases(POLICY, files)


# -- explain -----------------------------------------------------------------------------------


def explained(amount: str, path: str = "/v1", **more):
    headers = [("content-type", "application/x-www-form-urlencoded"), *more.pop("headers", [])]
    asked = request("POST", f"https://api.example.com{path}", headers, f"amount={amount}".encode())
    found = explain(POLICY, asked, **more)
    return found.answer, {one.rule: (one.applies, one.line) for one in found.readings}


def test_each_rule_for_the_host_says_yes_no_or_unknown_and_which_line_decided():
    answer, rules = explained("10")
    assert (answer.decision, answer.rules) == ("watch", ("default",))
    assert rules == {"big": (False, "form.amount above 5000"), "secret": (False, "path like /secret/**")}
    assert explained("9000")[1]["big"] == (True, "")
    assert explained("lots")[1]["big"] == (None, "form.amount above 5000 (unknown)")
    mode = [("x-mode", "test")]
    assert explained("9000", headers=mode)[1]["big"] == (False, "unless header.x-mode is test")


def test_every_rule_is_explained_where_that_is_asked():
    assert explained("10", every_rule=True)[1]["elsewhere"] == (False, "host like other.example")


def test_a_line_that_nobody_wrote_is_named_as_such():
    allows = policy(rule("r", "allow"), default="{write: hold}")
    found = explain(allows, request("POST", "https://api.example.com:8443/"))
    assert found.readings[0].line == "port in 443 (not written, but meant)"


def answers(*lines: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in from_lines(POLICY, io.BytesIO(b"\n".join(lines)))]


def test_lines_are_answered_one_by_one_in_the_same_order():
    form = [["Content-Type", "application/x-www-form-urlencoded"]]
    url = "https://api.example.com/v1"
    found = answers(
        json.dumps({"id": "a", "method": "GET", "url": "https://h.example/v1", "headers": []}).encode(),
        b"not json",
        json.dumps({"id": 2, "method": "POST", "url": url, "headers": form, "body": "amount=9000"}).encode(),
        json.dumps({"id": "c", "method": "post", "url": url}).encode(),
        json.dumps(
            {
                "id": "d",
                "method": "POST",
                "url": url,
                "headers": form,
                "body_base64": base64.b64encode(b"a=%").decode(),
            }
        ).encode(),
    )
    assert [(one["id"], one["decision"], one["rules"]) for one in found] == [
        ("a", "allow", ["default"]),
        (None, "unreadable", []),
        (2, "hold", ["big"]),
        ("c", "unreadable", []),
        ("d", "unreadable", []),
    ]
    assert found[0] == {
        "id": "a", "decision": "allow", "rule": "default", "rules": ["default"],
        "why": "no rule covers this", "operation": "GET /v1",
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"id": "a"}',
        b'{"method": "GET", "method": "POST", "url": "https://h.example/"}',
        b'{"method": "GET", "url": "ftp://h.example/"}',
        b'{"method": "GET", "url": "https://h.example/", "headers": {"a": "b"}}',
        b'{"method": "GET", "url": "https://h.example/", "headers": [["a"]]}',
        b'{"method": "GET", "url": "https://h.example/", "headers": [["a", "b\\r\\nc: d"]]}',
        b'{"method": "GET", "url": "https://h.example/", "body": "a", "body_base64": "YQ=="}',
        b'{"method": "GET", "url": "https://h.example/", "body": 1}',
        b'{"method": "GET", "url": "https://h.example/", "body": "\\ud800"}',
        b'{"method": "GET", "url": "https://h.example/", "body_base64": "*"}',
        b'{"id": {}, "method": "GET", "url": "https://h.example/"}',
        b'{"id": NaN, "method": "GET", "url": "https://h.example/"}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_request_is_answered_as_unreadable_with_the_reason(line):
    (found, after) = answers(line, b'{"id": "next", "method": "GET", "url": "https://h.example/"}')
    assert (found["decision"], bool(found["why"])) == ("unreadable", True)
    assert after["id"] == "next"


def test_an_endless_line_is_skipped_without_being_kept():
    endless = b'{"id": "' + b"x" * (MAX_LINE + 10)
    found = answers(endless, b'{"id": "next", "method": "GET", "url": "https://h.example/"}')
    assert [one["decision"] for one in found] == ["unreadable", "allow"]


def test_a_request_that_is_written_down_is_what_an_agent_would_send():
    found = request("POST", "HTTPS://[::1]:8443?a=b", [("X-A", "é")], b"{}")
    assert (found.scheme, found.host, found.port, found.target) == ("https", "::1", 8443, b"/?a=b")
    assert found.headers == ((b"host", b"[::1]:8443"), (b"X-A", "é".encode()), (b"content-length", b"2"))
    assert decode(found).read(("header", "x-a")) == Values(("é",))
    assert decode(found).read(("agent",)) is UNKNOWN
