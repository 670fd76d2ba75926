"""Loading: every mistake of every file at once, each with its place, and a fix where one is known."""

from __future__ import annotations

import pytest
from making_actions import policy, rule

from proxy.action import Request
from proxy.decode import decode
from proxy.errors import Problem, SluiceError
from proxy.policy import load_texts
from proxy.policy.verdict import Effect, Keepalive, Nobody, Patience, Tier

EXAMPLE = """\
version: 1

default: {read: allow, write: hold, new_host: watch}

rules:
  - name: refunds-wait                  # unique over all files
    why: A refund moves money and cannot be taken back.
    match:
      host: api.stripe.com
      method: POST
      path: [/v1/refunds, /v1/charges/*/refund]
      where:
        form.amount: {above: 5000}
    unless:
      - where: {header.authorization: {like: "Bearer sk_test_*"}}
    then: hold
    risk: {tier: high, reversible: false}
    says: "Refund {form.amount} of charge {form.charge}"
    show: [form.amount, form.charge, form.reason]
    hold: {reviewers: [finance], approvals: 1, timeout: 15m, always_ask: true}
"""


def problems(*texts: str) -> list[Problem]:
    with pytest.raises(SluiceError) as caught:
        load_texts({f"{chr(97 + at)}.yaml": text for at, text in enumerate(texts)})
    return list(caught.value.problems)


def one_rule(**lines: str) -> str:
    """A file with one rule, some of its lines replaced; None leaves a line out."""
    given = {"name": "a-rule", "why": "because", "match": "{host: api.example.com}", "then": "hold"} | lines
    body = "".join(f"    {key}: {value}\n" for key, value in given.items() if value is not None)
    return f"version: 1\nrules:\n  - {body.lstrip()}"


def test_the_example_of_the_reference_loads_as_it_reads():
    loaded = load_texts({"a.yaml": EXAMPLE})
    (found,) = loaded.rules
    assert (found.name, found.then) == ("refunds-wait", Effect.HOLD)
    assert (found.tier, found.reversible) == (Tier.HIGH, False)
    assert (found.reviewers, found.approvals, found.timeout, found.always_ask) == (
        ("finance",),
        1,
        900.0,
        True,
    )
    assert found.show == (("form", "amount"), ("form", "charge"), ("form", "reason"))
    assert loaded.default.effects["read"] is Effect.ALLOW
    assert loaded.default.effects["delete"] is Effect.HOLD
    assert loaded.default.new_host is Effect.WATCH


@pytest.mark.parametrize(
    ("lines", "what", "fix"),
    [
        ({"metod": "POST"}, "unknown field 'metod' in rule 'a-rule'", ""),
        ({"match": "{pot: 1}"}, "unknown field 'pot' in match of rule 'a-rule'", "did you mean 'port'?"),
        ({"name": "Not_Kebab"}, "the name 'Not_Kebab' is not kebab-case (as in refunds-wait)", ""),
        ({"name": "default"}, "a rule named 'default'", ""),
        ({"why": None}, "rule 'a-rule' has no why", "add: why:"),
        ({"why": '""'}, "why is empty", ""),
        ({"why": None, "then": None}, "rule 'a-rule' has no then", "add: then:"),
        ({"then": "hodl"}, "then is 'hodl'", "did you mean 'hold'?"),
        ({"match": "{}"}, "match of rule 'a-rule' is empty", ""),
        ({"unless": "[]"}, "unless is an empty list", ""),
        ({"unless": "[{}]"}, "unless of rule 'a-rule' is empty", ""),
        ({"unless": "{host: x.org}"}, "unless is a table", ""),
        ({"risk": "{tier: hihg}"}, "tier is 'hihg'", "did you mean 'high'?"),
        ({"risk": "{reversible: no}"}, "reversible is 'no'", "write true or false, unquoted"),
        ({"risk": "high"}, "risk is 'high'", ""),
        ({"says": '"{form.amuont"'}, "says has a lonely '{'", ""),
        ({"says": '"{from.amount}"'}, "says: unknown field 'from.amount'", "did you mean 'form.amount'?"),
        ({"says": '"{query.token}"'}, "query.token is secret, and says would put it on a screen", ""),
        ({"show": "[form.cvc]"}, "form.cvc is secret, and show would put it on a screen", ""),
        ({"show": "[credential]"}, "credential is secret, and show would put it on a screen", ""),
        ({"show": "[emial.to]"}, "unknown field 'emial.to'", "did you mean 'email.to'?"),
        ({"then": "watch", "hold": "{timeout: 5m}"}, "hold: in a rule that says watch", ""),
        ({"hold": "{timeout: 10}"}, "timeout is '10'", ""),
        ({"hold": "{timeout: 8d}"}, "timeout is '8d'", ""),
        ({"hold": "{approvals: 0}"}, "approvals is '0'", ""),
        ({"hold": "{approvals: 1.5}"}, "approvals is '1.5'", ""),
        ({"hold": "{reviewers: []}"}, "reviewers is an empty list", ""),
        ({"hold": "{always_ask: yes}"}, "always_ask is 'yes'", ""),
        ({"hold": "{forget: 10m}"}, "unknown field 'forget' in hold", ""),
        ({"hold": "{denials: 0}"}, "denials is '0'", ""),
        ({"hold": "{wait: 0s}"}, "wait is '0s'", ""),
        ({"hold": "{rejoin: soon}"}, "rejoin is 'soon'", ""),
        ({"hold": "{nobody: allow}"}, "nobody is 'allow'", ""),
        ({"hold": "{keepalive: 103}"}, "keepalive is '103'", ""),
        ({"hold": "{idempotency: host}"}, "idempotency cannot be host", ""),
        ({"hold": "{idempotency: 'a b'}"}, "idempotency 'a b' is not the name of a header", ""),
        ({"window": "30s"}, "window: in a rule that says hold", "write then: watch"),
        ({"then": "watch", "window": "2h"}, "window is longer than an hour", ""),
        ({"then": "watch", "window": "30s", "hold": "{timeout: 5m}"}, "hold: in a rule that says watch", ""),
    ],
)  # fmt: skip
def test_a_mistake_in_a_rule_is_told(lines, what, fix):
    found = problems(one_rule(**lines))
    assert what in [problem.what for problem in found]
    if fix:
        assert fix in [problem.fix for problem in found]


def test_how_a_hold_waits_is_read_and_a_silent_rule_means_the_same_as_before():
    text = (
        "{rejoin: 0, remember: 5m, wait: 30s, nobody: refuse, keepalive: 102, denials: 2, not: [agent-owner]}"
    )
    rule = load_texts({"a.yaml": one_rule(hold=text)}).rules[0]
    assert rule.patience == Patience(0.0, 300.0, 30.0, Nobody.REFUSE, Keepalive.PROCESSING)
    assert (rule.denials, rule.excluded) == (2, ("agent-owner",))
    silent = load_texts({"a.yaml": one_rule()}).rules[0]
    assert silent.patience == Patience() and "rejoin" not in silent.content()


def test_several_rules_that_speak_wait_as_the_strictest_of_them():
    texts = [one_rule(name=name, hold=hold) for name, hold in (("a", "{wait: 30s, rejoin: 5s}"), ("b", "{}"))]
    action = decode(Request("uid:a", b"POST", "https", "api.example.com", 443, b"/", (), b""))
    both = load_texts({"a.yaml": texts[0], "b.yaml": texts[1]}).judge(action)
    assert both.patience == Patience(rejoin=5.0) and both.waits
    alone = load_texts({"a.yaml": texts[0]}).judge(action)
    assert alone.patience.wait == 30.0
    keys = [one_rule(name=n, hold=f"{{idempotency: {h}, keepalive: {k}}}") for n, h, k in
            (("a", "Idempotency-Key", 100), ("b", "PayPal-Request-Id", 102))]  # fmt: skip
    both = load_texts({"a.yaml": keys[0], "b.yaml": keys[1]}).judge(action)
    assert both.idempotency == ("Idempotency-Key", "PayPal-Request-Id")
    assert both.patience.keepalive is Keepalive.NONE


@pytest.mark.parametrize(
    ("match", "what"),
    [
        ("host: '*'", "host: '*' would never match"),
        ("host: api.*.com", "host: 'api.*.com' would never match"),
        ("host: https://api.example.com/v1", "host: 'https://api.example.com/v1' is a URL, not a host"),
        ("host: 'api.example.com:8443'", "host: 'api.example.com:8443' has a port"),
        ("host: 127.1", "host: '127.1' would never match"),
        ("host: 0x7f.0.0.1", "host: '0x7f.0.0.1' would never match"),
        ("host: 2130706433", "host: '2130706433' would never match"),
        ("host: '::ffff:127.0.0.1'", "host: '::ffff:127.0.0.1' would never match"),
        ("host: '*.127.0.0.1'", "host: '*.127.0.0.1' would never match"),
        ("host: a..b", "host: 'a..b' is no host"),
        ("host: straße.example", "host: 'straße.example' is read in two ways"),
        ("host: [api.example.com, {a: b}]", "host holds a table"),
        ("host: ~", "host: nothing stands here"),
        ("port: 0", "port: '0' is no port"),
        ("port: 70000", "port: '70000' is no port"),
        ("scheme: htps", "scheme: 'htps' would never match"),
        ("method: post", "method: 'post' would never match"),
        ("path: v1/x", "path: 'v1/x' would never match"),
        ("path: /v1//x", "path: '/v1//x' would never match"),
        ("path: /v1/../x", "path: '/v1/../x' would never match"),
        ("path: /v1/x?y=1", "path: '/v1/x?y=1' would never match: it has '?'"),
        ("path: /v1/%7Euser", "path: '/v1/%7Euser' would never match"),
        ("path: /v1/a%2fb", "path: '/v1/a%2fb' would never match"),
        ("path: /v1/é", "path: '/v1/é' would never match: it has 'é'"),
        ("path: /v1/**x", "path: '/v1/**x': ** stands beside other characters"),
        ("where: {}", "where is empty"),
        ("where: {jsn.a: {is: x}}", "unknown field 'jsn.a'"),
        ("where: {json: {is: x}}", "unknown field 'json'"),
        ("where: {'json.tools[*].url': {is: x}}", "'json.tools[*].url' has a star"),
        ("where: {'form.card[number]': {is: x}}", "'form.card[number]' has brackets"),
        ("where: {'header.a b': {is: x}}", "'a b' is no header's name"),
        ("where: {json.a: 5}", "no operator for json.a"),
        ("where: {json.a: {}}", "no operator for json.a"),
        ("where: {json.a: {abov: 5}}", "unknown operator 'abov'"),
        ("where: {json.a: {above: '5'}}", "json.a above: '5' is no number"),
        ("where: {json.a: {above: [5]}}", "json.a above takes one value"),
        ("where: {json.a: {is: [x]}}", "json.a is takes one value"),
        ("where: {json.a: {above: 1e3}}", "json.a above: '1e3' is a number in a form that is not compared"),
        (
            "where: {json.a: {is: +15551234}}",
            "json.a is: '+15551234' is a number in a form that is not compared",
        ),
        ("where: {json.a: {is: 0x1F}}", "json.a is: '0x1F' is a number in a form that is not compared"),
        ("where: {json.a: {is: True}}", "json.a is: 'True' is a truth value or null in YAML"),
        ("where: {json.a: {is: }}", "json.a is: nothing stands here"),
        ("where: {json.a: {count_above: 1.5}}", "json.a count_above: '1.5' is no count"),
        ("where: {json.a: {exists: yes}}", "json.a exists: 'yes' is neither true nor false"),
        (
            "where: {json.a: {matches: '(a'}}",
            "json.a matches: the regular expression '(a' is refused: missing ): (a",
        ),
        ("where: {json.a: {outside: ['*.corp.com']}}", "json.a outside: '*.corp.com' has a star"),
        ("where: {json.a: {outside: ['a b']}}", "json.a outside: 'a b' is neither a domain nor an address"),
        ("where: {consequence: {is: paymnt}}", "consequence is: 'paymnt' would never match"),
    ],
)
def test_an_operand_that_could_never_match_is_a_mistake(match, what):
    assert what in [problem.what for problem in problems(one_rule(match=f"{{{match}}}"))]


@pytest.mark.parametrize(
    "pattern", [r"(a)\1", "(?=a)b", "(?<!x)y", "(?>a+)", "a{2000}", "((a{100}){100}){100}", "x" * 1001]
)
def test_a_regular_expression_that_could_run_away_is_refused(pattern):
    (found,) = problems(one_rule(match=f"{{where: {{json.a: {{matches: '{pattern}'}}}}}}"))
    assert "is refused" in found.what


@pytest.mark.parametrize("then", ["allow", "watch", "hold", "deny"])
def test_the_agents_own_confidence_may_only_tighten(then):
    confidence = "{where: {header.x-sluice-confidence: {below: 0.8}}}"
    tightens, loosens = ("unless", "match") if then == "allow" else ("match", "unless")
    host = "{host: api.example.com}"
    fine = {"match": host, "then": then} | {
        tightens: confidence if tightens == "match" else f"[{confidence}]"
    }
    wrong = {"match": host, "then": then} | {loosens: confidence if loosens == "match" else f"[{confidence}]"}

    load_texts({"a.yaml": one_rule(**fine)})
    assert "would let a request through" in problems(one_rule(**wrong))[0].what


def test_every_mistake_of_every_file_is_told_at_once_in_order():
    first = "version: 2\nrules:\n  - name: a\n    match: {hots: x}\n    then: hold\n"
    second = "version: 1\ndefault: {raed: allow}\nrulez: []\n"
    third = "version: 1\nrules: [\n"
    assert [(problem.where, problem.what) for problem in problems(first, second, third)] == [
        ("a.yaml:1:10", "a version other than 1"),
        ("a.yaml:3:5", "rule 'a' has no why"),
        ("a.yaml:4:13", "unknown field 'hots' in match of rule 'a'"),
        ("b.yaml:2:11", "unknown field 'raed' in default"),
        ("b.yaml:3:1", "unknown field 'rulez' in a policy file"),
        ("c.yaml:3:1", "this is not YAML: did not find expected node content"),
    ]


def test_names_are_unique_and_the_default_stands_once_over_all_files():
    text = "default: {read: allow}\n" + one_rule()
    assert [(problem.where, problem.what) for problem in problems(text, text)] == [
        ("b.yaml:1:10", "a second default; the first stands at a.yaml:1:10"),
        ("b.yaml:4:11", "a second rule named 'a-rule'"),
    ]


def test_how_long_payloads_are_kept_is_said_once_over_all_files():
    kept = "retention: {payloads: 30d}\n" + one_rule()
    assert load_texts({"a.yaml": kept}).retention == 30 * 86_400
    assert load_texts({"a.yaml": one_rule()}).retention is None
    other = kept.replace("a-rule", "b-rule")
    assert [problem.what for problem in problems(kept, other)] == [
        "a second retention; the first stands at a.yaml:1:12"
    ]


def test_a_policy_that_keeps_payloads_otherwise_is_another_and_one_that_says_nothing_is_as_it_was():
    digests = [
        load_texts({"a.yaml": f"{said}{one_rule()}"}).digest
        for said in (
            "",
            "retention: {payloads: 30d}\n",
            "retention: {payloads: 720h}\n",
            "retention: {payloads: 7d}\n",
        )
    ]
    assert digests[1] == digests[2] and len(set(digests)) == 3


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("{payloads: 59m}", "payloads are kept for less than an hour"),
        ("{payloads: 0}", "payloads is"),
        ("{payloads: 36501d}", "payloads is"),
        ("{payloads: [1d]}", "payloads is"),
        ("{}", "retention"),
        ("30d", "retention is"),
        ("{payload: 1d}", "unknown field 'payload' in retention"),
    ],
)
def test_a_retention_that_is_none_is_a_mistake(said, what):
    found = problems(f"retention: {said}\n{one_rule()}")
    assert any(one.what.startswith(what) and one.where.startswith("a.yaml:1:") for one in found)


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        ("{read: allow}", {"read": "allow", "write": "hold", "delete": "hold"}),
        ("{write: watch}", {"read": "hold", "write": "watch", "payment": "watch"}),
        ("{write: watch, payment: deny}", {"write": "watch", "payment": "deny", "message": "watch"}),
        ("{payment: allow}", {"read": "hold", "write": "hold", "payment": "allow", "delete": "hold"}),
    ],
)
def test_what_the_default_leaves_unsaid_is_held_and_write_stands_for_what_is_not_given(default, expected):
    found = policy(default=default).default.content()
    assert found | expected == found


def test_without_a_default_everything_is_held():
    assert set(load_texts({"a.yaml": "version: 1\n"}).default.content().values()) == {"hold"}


def test_a_new_host_cannot_be_denied_by_default():
    (found,) = problems("version: 1\ndefault: {new_host: deny}\n")
    assert found.what == "the default for new_host is 'deny'"


def test_hosts_are_brought_to_the_form_in_which_requests_are_compared():
    found = policy(
        rule("a", "hold", match="host: [API.Example.com., bücher.example, '[::1]', '*.EXAMPLE.org']")
    )
    assert found.rules[0].match[0].operands == (
        "api.example.com",
        "xn--bcher-kva.example",
        "::1",
        "*.example.org",
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("where: {json.a: {in: [x, 'y']}}", "where: {json.a: {in: ['y', \"x\"]}}  # comment", True),
        ("where: {json.a: {is: 5}}", "where: {json.a: {is: 5.0}}", True),
        ("where: {json.a: {is: 5}}", "where: {json.a: {is: '5'}}", False),
        ("host: EXAMPLE.com", "host: example.com", True),
        ("path: /A", "path: /a", False),
        ("where: {header.A: {is: x}}", "where: {header.a: {is: x}}", True),
    ],
)
def test_the_digest_is_the_same_exactly_for_what_means_the_same(one, other, same):
    digests = {load_texts({"a.yaml": one_rule(match="\n      " + match)}).digest for match in (one, other)}
    assert (len(digests) == 1) is same


def test_the_digest_covers_names_order_free_and_every_part_of_a_rule():
    a, b = rule("a", "hold"), rule("b", "deny")
    assert policy(a, b).digest == policy(b, a).digest
    base = {"says": "x", "risk": "{tier: low}", "hold": "{approvals: 1}", "show": "[path]"}
    before = load_texts({"a.yaml": one_rule(**base)}).digest
    changes = {
        "name": "another", "why": "other", "then": "deny", "says": "y", "risk": "{tier: high}",
        "show": "[host]",
        "hold": "{approvals: 2}", "match": "{host: other.example}", "unless": "[{method: GET}]",
    }  # fmt: skip
    for key, value in changes.items():
        lines = base | {key: value} | ({"hold": None} if key == "then" else {})
        assert load_texts({"a.yaml": one_rule(**lines)}).digest != before, key


def test_ten_thousand_rules_load():
    rules = "".join(
        f"  - {{name: r{at}, why: w, match: {{host: h{at}.example}}, then: hold}}\n" for at in range(10_000)
    )
    loaded = load_texts({"a.yaml": f"version: 1\nrules:\n{rules}"})
    assert len(loaded.rules) == 10_000
