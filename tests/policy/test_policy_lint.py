"""What lint finds, what it leaves alone, and that it says where and what to do."""

from __future__ import annotations

import pytest
from making_actions import policy, rule

from proxy.errors import SluiceError
from proxy.policy import lint, load_texts
from proxy.policy.cases import load_cases
from proxy.policy.lint import Kind, as_fields

POSTS = "host: a.example, method: POST, path: "
SECURE = "host: a.example, port: 443, scheme: https"
REFUNDS = rule("refunds", "hold", match="host: a.example, method: POST, path: /v1/refunds")


def kinds(*rules: str) -> list[tuple[str, str]]:
    """What is found in rules whose cases are no matter."""
    return [(str(one.kind), one.rule) for one in lint(policy(*rules), []) if one.kind is not Kind.UNTESTED]


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ([rule("r", "hold", match="host: a.example, where: {host: {is: b.example}}")], [("never", "r")]),
        ([rule("r", "hold", match="port: 80, where: {port: {above: 100}}")], [("never", "r")]),
        ([rule("r", "allow", match="scheme: http, where: {scheme: {is: https}}")], [("never", "r")]),
        ([rule("r", "allow", "{json.a: {above: 9, below: 5}}")], [("never", "r")]),
        ([rule("r", "hold", "{json.a: {above: 9, below: 5}}")], []),
        ([rule("r", "hold", "{json.a: {exists: false, is: x}}")], [("never", "r")]),
        ([rule("r", "hold", unless="[{port: 443, scheme: https, host: '*.example.com'}]")], []),
        (
            [rule("r", "hold", match=SECURE, unless="[{host: a.example}]")],
            [("never", "r")],
        ),
        ([REFUNDS, rule("none", "deny", match="host: a.example")], [("shadowed", "refunds")]),
        ([REFUNDS, rule("none", "deny", match="host: a.example", unless="[{path: /v1/refunds}]")], []),
        ([REFUNDS, rule("free", "allow", match=POSTS + "/v1/refunds")], [("shadowed", "free")]),
        ([REFUNDS, rule("free", "allow", match=POSTS + "/v1/**")], [("wider", "free")]),
        ([REFUNDS, rule("free", "allow", match=POSTS + "/v1/notes/**")], []),
        ([REFUNDS, rule("free", "allow", match="host: b.example")], []),
        ([rule("r", "hold", unless="[{where: {json.test: {is: true}}}]")], [("body-exception", "r")]),
        ([rule("r", "hold", unless="[{where: {json.test: {exists: false}}}]")], []),
        ([rule("r", "hold", unless="[{where: {header.x: {is: test}}}]")], []),
        ([rule("r", "allow", unless="[{where: {json.live: {is: true}}}]")], []),
        ([rule("r", "hold", "{path: {is: '/v1/*'}}")], [("literal-star", "r")]),
        ([rule("r", "hold", "{json.a: {in: ['*', x]}}")], []),
        ([rule("r", "hold", match="path: [/a, /b, /a]")], [("repeated", "r")]),
        ([REFUNDS, REFUNDS.replace("refunds", "again", 1)], [("duplicate", "again")]),
    ],
)  # fmt: skip
def test_what_looks_like_a_mistake_is_found_and_nothing_else(rules, found):
    assert kinds(*rules) == found


def test_a_rule_is_fired_by_a_case_in_which_it_applies_even_where_a_stricter_one_speaks():
    both = policy(
        rule("a", "watch"), rule("b", "hold", "{header.x: {is: y}}"), rule("c", "deny", "{header.x: {is: z}}")
    )
    case = "cases:\n  - {name: n, request: GET https://api.example.com/, headers: {x: y}, expect: hold}\n"
    cases = load_cases({"x_cases.yaml": case})
    assert [(str(one.kind), one.rule) for one in lint(both, cases)] == [("untested", "c")]
    (none,) = lint(both, None)
    assert (none.kind, none.problem.what) == (Kind.UNTESTED, "no case at all")


def test_a_rule_that_no_case_can_fire_is_not_asked_for_one():
    rules = (
        rule("first", "hold", "{first_seen.host: {is: true}}"),
        rule("who", "hold", "{agent: {is: 'uid:ann'}}"),
    )
    assert lint(policy(*rules), []) == []


def test_a_finding_names_place_why_and_fix():
    text = """version: 1
rules:
  - name: refunds
    why: because
    match: {host: a.example}
    unless:
      - where: {form.test: {is: true}}
    then: hold
"""
    case = "cases:\n  - {name: n, request: GET https://a.example/, expect: hold}\n"
    (found,) = lint(load_texts({"p.yaml": text}), load_cases({"p_cases.yaml": case}))
    fields = as_fields(found)
    assert (fields["where"], fields["finding"], fields["rule"]) == (
        "p.yaml:7:33",
        "body-exception",
        "refunds",
    )
    assert fields["what"] == "rule 'refunds' lets go of what says 'form.test is true' in its body"
    assert fields["why"]
    assert fields["fix"]


@pytest.mark.parametrize(
    ("match", "what"),
    [
        ("{where: {host: {like: 'api.*.com'}}}", "'api.*.com' would never match"),
        ("{where: {host: {is: '*.example.com'}}}", "'*.example.com' would never match"),
        ("{where: {path: {like: '*refund*'}}}", "'*refund*' would never match"),
        ("{where: {method: {like: 'post*'}}}", "'post*' would never match"),
    ],
)
def test_a_pattern_that_could_never_match_does_not_load(match, what):
    with pytest.raises(SluiceError) as caught:
        policy(f"name: r\nmatch: {match}\nthen: hold")
    assert what in caught.value.problems[0].what
    assert caught.value.problems[0].fix


def test_cases_may_stand_in_a_policy_file_and_their_mistakes_are_the_files():
    case = "{name: n, request: GET https://a.example/, expect: allow}"
    text = f"version: 1\ndefault: {{read: allow}}\ncases:\n  - {case}\n"
    assert len(load_cases({"p.yaml": text})) == 1
    load_texts({"p.yaml": text})
    with pytest.raises(SluiceError) as caught:
        load_texts({"p.yaml": text.replace("expect: allow", "expect: alow")})
    assert caught.value.problems[0].where == "p.yaml:4:56"
    with pytest.raises(SluiceError):
        load_cases({"p_cases.yaml": text})  # rules in a case file would restrict nothing
