"""What a policy says of an action: the strictest voice, and who speaks."""

from __future__ import annotations

import pytest
from making_actions import HOST, action, policy, rule

from proxy.action import ABSENT, UNKNOWN, Values
from proxy.decode import Facts, decode
from proxy.policy import request
from proxy.policy.verdict import Demand, Effect, Tier

A = ("json", "a")
HOLD_ALL = "{write: hold}"


@pytest.mark.parametrize(
    ("operators", "reading", "tightening", "loosening"),
    [
        # Many values: one is enough to tighten, all must match to loosen.
        ("{is: x}", Values(("x",)), True, True),
        ("{is: x}", Values(("x", "y")), True, False),
        ("{is: x}", Values(("x", None)), True, None),
        ("{is: x}", Values(("y", None)), None, False),
        ("{in: [x, 'y']}", Values(("x", "y")), True, True),
        # Two operators are two lines: each may find a value of its own.
        ("{above: 5, below: 10}", Values(("3", "12")), True, False),
        ("{above: 5, below: 10}", Values(("7",)), True, True),
        # Absent.
        ("{is: x}", ABSENT, False, False),
        ("{in: [x]}", ABSENT, False, False),
        ("{like: '*'}", ABSENT, False, False),
        ("{matches: '.*'}", ABSENT, False, False),
        ("{exists: false}", ABSENT, True, True),
        ("{exists: true}", ABSENT, False, False),
        ("{above: 5}", ABSENT, None, None),
        ("{below: 5}", ABSENT, None, None),
        ("{count_above: 0}", ABSENT, None, None),
        ("{outside: [corp.com]}", ABSENT, None, None),
        # Unreadable.
        ("{is: x}", UNKNOWN, None, None),
        ("{exists: true}", UNKNOWN, None, None),
        ("{exists: false}", UNKNOWN, None, None),
        ("{exists: true}", Values((None,)), True, True),
        ("{count_above: 1}", UNKNOWN, None, None),
        ("{count_above: 1}", Values(("x", None)), True, True),
        ("{count_above: 2}", Values(("x", None)), False, False),
        ("{like: '*'}", Values((None,)), None, None),
        # Numbers.
        ("{above: 5000}", Values(("5000.01",)), True, True),
        ("{above: 5000}", Values(("lots",)), None, None),
        ("{above: 5000}", Values(("lots", "9000")), True, None),
        ("{above: 5000}", Values(("lots", "1")), None, False),
        ("{is: 5}", Values(("five",)), None, None),
    ],
)  # fmt: skip
def test_many_absent_and_unreadable_values_count_as_the_language_says(
    operators, reading, tightening, loosening
):
    found = action({A: reading})
    holds = policy(rule("r", "hold", f"{{json.a: {operators}}}")).judge(found)
    allows = policy(rule("r", "allow", f"{{json.a: {operators}}}"), default=HOLD_ALL).judge(found)
    excepts = policy(rule("r", "hold", unless=f"[{{where: {{json.a: {operators}}}}}]")).judge(found)
    refuses = policy(
        rule("r", "allow", unless=f"[{{where: {{json.a: {operators}}}}}]"), default=HOLD_ALL
    ).judge(found)

    assert (holds.effect is Effect.HOLD, holds.unknown) == (
        tightening is not False,
        ("r",) * (tightening is None),
    )
    assert (allows.effect is Effect.ALLOW) is (loosening is True)
    assert (excepts.effect is Effect.HOLD) is (loosening is not True)
    assert (refuses.effect is Effect.ALLOW) is (tightening is False)


def test_more_values_than_anyone_looks_at_are_unknown_but_counted():
    many = action({A: Values(("x",) * 10_001)})
    assert policy(rule("r", "hold", "{json.a: {is: z}}")).judge(many).unknown == ("r",)
    assert policy(rule("r", "allow", "{json.a: {is: x}}"), default=HOLD_ALL).judge(many).effect is Effect.HOLD
    assert policy(rule("r", "hold", "{json.a: {count_above: 10000}}")).judge(many).unknown == ()


def test_the_strictest_rule_that_applies_wins_whatever_the_order():
    rules = [rule(f"r-{then}", then) for then in ("allow", "hold", "deny", "watch")]
    for order in (rules, rules[::-1]):
        verdict = policy(*order).judge(action())
        assert (verdict.effect, verdict.rules) == (Effect.DENY, ("r-deny",))


def test_an_unknown_rule_counts_unless_it_allows():
    unknown = action({A: UNKNOWN})
    for then in ("watch", "hold", "deny"):
        verdict = policy(rule("maybe", then, "{json.a: {is: x}}"), default="{write: allow}").judge(unknown)
        assert (str(verdict.effect), verdict.rule, verdict.unknown, verdict.settled) == (
            then,
            "maybe",
            ("maybe",),
            False,
        )
    verdict = policy(rule("maybe", "allow", "{json.a: {is: x}}"), default=HOLD_ALL).judge(unknown)
    assert (verdict.effect, verdict.rule, verdict.settled) == (Effect.HOLD, "default", False)


def test_the_default_counts_wherever_no_rule_applies_for_certain():
    unknown = action({A: UNKNOWN})
    watches = rule("maybe", "watch", "{json.a: {is: x}}")
    both = policy(watches, default=HOLD_ALL).judge(unknown)
    assert (both.effect, both.rules) == (Effect.HOLD, ("default",))
    assert policy(watches, rule("sure", "allow"), default=HOLD_ALL).judge(unknown).effect is Effect.WATCH


def test_all_rules_of_the_winning_effect_speak_the_first_by_tier_then_name():
    found = policy(
        rule("b", "hold") + "\nrisk: {tier: high, reversible: true}\nshow: [path, json.a]\n"
        "hold: {reviewers: [finance], timeout: 20m}\nsays: 'b {json.a}'",
        rule("a", "hold") + "\nrisk: {tier: high}\nshow: [host, path]\n"
        "hold: {approvals: 2, timeout: 5m, always_ask: true}\nsays: 'a {json.a}'",
        rule("c", "hold") + "\nrisk: {tier: critical, reversible: false}",
        rule("d", "watch") + "\nrisk: {tier: critical}\nshow: [method]",
    ).judge(action({A: Values(("1", "2"))}))
    assert (found.rule, found.rules, found.tier) == ("c", ("c", "a", "b"), Tier.CRITICAL)
    assert found.demands == (Demand("c"), Demand("a", (), 2), Demand("b", ("finance",), 1))
    assert (found.timeout, found.always_ask, found.reversible) == (300.0, True, False)
    assert found.show == (("host",), ("path",), ("json", "a"))
    assert found.says == ""


@pytest.mark.parametrize(
    ("reading", "says"),
    [
        (Values(("9000",)), "Refund 9000 {now}"),
        (Values(("1", "2")), "Refund 1, 2 {now}"),
        (UNKNOWN, "Refund ‹unknown› {now}"),
        (Values((None,)), "Refund ‹unknown› {now}"),
        (ABSENT, "Refund ‹none› {now}"),
        (Values(("‹none›",)), "Refund <none> {now}"),
        (Values(("x" * 300,)), f"Refund {'x' * 200}‹cut› {{now}}"),
        (Values(("x",) * 12), f"Refund {', '.join('x' * 10)} ‹and 2 more› {{now}}"),
    ],
)
def test_the_sentence_is_filled_from_the_fields(reading, says):
    found = policy(rule("r", "hold") + "\nsays: 'Refund {json.a} {{now}}'").judge(action({A: reading}))
    assert found.says == says


def test_no_secret_of_a_path_reaches_the_sentence():
    telegram = policy(rule("r", "hold") + "\nsays: 'POST {path}'")
    path = "/bot123456789:AAExampleExampleExampleExampleExample/sendMessage"
    assert telegram.judge(action(path=path)).says == "POST /bot‹secret 1›/sendMessage"


# -- hosts, ports, schemes, upgrades -----------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "where", "tightening", "loosening"),
    [
        ("host: api.example.com", {}, True, True),
        ("host: api.example.com", {"port": 8443}, True, False),
        ("host: api.example.com", {"scheme": "http", "port": 80}, True, False),
        ("host: api.example.com, port: 8443", {"port": 8443}, True, True),
        ("host: api.example.com, scheme: http", {"scheme": "http", "port": 80}, True, False),
        ("host: api.example.com, scheme: http, port: 80", {"scheme": "http", "port": 80}, True, True),
        ("host: api.example.com, where: {port: {above: 0}}", {"port": 8443}, True, True),
        ("method: POST", {"port": 8443}, True, False),
        ("host: '*.example.com'", {}, True, True),
        ("host: '*.example.com'", {"host": "example.com"}, False, False),
        ("where: {host: {is: API.example.com}}", {}, True, True),
        ("where: {host: {matches: 'api[.].*'}}", {}, True, True),
        ("host: [other.org, '*.com', api.example.com]", {}, True, True),
    ],
)
def test_a_rule_that_allows_means_https_and_443_unless_it_names_others(match, where, tightening, loosening):
    found = action(**where)
    assert (policy(rule("r", "hold", match=match)).judge(found).effect is Effect.HOLD) is tightening
    allows = policy(rule("r", "allow", match=match), default=HOLD_ALL)
    assert (allows.judge(found).effect is Effect.ALLOW) is loosening


def test_an_exception_that_names_a_host_means_its_https_port_too():
    excepts = policy(rule("r", "hold", match="method: POST", unless=f"[{{host: {HOST}}}]"))
    assert excepts.judge(action()).effect is Effect.ALLOW
    assert excepts.judge(action(port=8443)).effect is Effect.HOLD


def test_every_method_that_a_server_might_take_counts():
    both = action({("method",): Values(("GET", "DELETE"))}, method="GET")
    assert policy(rule("r", "hold", match="method: DELETE")).judge(both).effect is Effect.HOLD
    allows = rule("r", "allow", match="method: GET")
    assert policy(allows, default=HOLD_ALL).judge(both).effect is Effect.HOLD
    assert policy(allows, default=HOLD_ALL).judge(action(method="GET")).effect is Effect.ALLOW


UPGRADE = [("upgrade", "websocket"), ("connection", "upgrade")]


@pytest.mark.parametrize(
    ("match", "effect"),
    [
        ("method: GET", Effect.HOLD),
        ("method: GET, where: {header.upgrade: {is: websocket}}", Effect.ALLOW),
        ("method: GET, where: {header.upgrade: {is: h2c}}", Effect.HOLD),
        ("path: /live", Effect.ALLOW),
    ],
)
def test_an_upgrade_is_a_write_unless_the_rule_names_it(match, effect):
    found = decode(request("GET", f"https://{HOST}/live", UPGRADE))
    allows = policy(rule("r", "allow", match=match), default="{read: allow, write: hold}")
    assert allows.judge(found).effect is effect


# -- the default -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("consequence", "complete", "effect", "settled"),
    [
        ("read", True, Effect.ALLOW, True),
        ("write", True, Effect.HOLD, True),
        ("payment", True, Effect.DENY, True),
        ("message", True, Effect.HOLD, True),
        ("something new", True, Effect.DENY, True),
        ("write", False, Effect.DENY, False),
        ("read", False, Effect.DENY, False),
    ],
)
def test_the_default_goes_by_the_consequence_and_by_the_worst_while_it_is_unknown(
    consequence, complete, effect, settled
):
    found = policy(default="{read: allow, write: hold, payment: deny}")
    verdict = found.judge(action(consequence=consequence, complete=complete))
    assert (verdict.effect, verdict.rule, verdict.why) == (effect, "default", "no rule covers this")
    if consequence != "something new":
        assert verdict.settled is settled


@pytest.mark.parametrize(
    ("new_host", "first", "host", "consequence", "effect"),
    [
        ("watch", "true", "new.org", "read", Effect.WATCH),
        ("watch", "false", "new.org", "read", Effect.ALLOW),
        ("watch", "true", "new.org", "write", Effect.HOLD),
        ("allow", "true", "new.org", "write", Effect.HOLD),
        ("hold", "true", "new.org", "read", Effect.HOLD),
        ("hold", "true", HOST, "read", Effect.ALLOW),
        ("hold", "true", "x.named.org", "read", Effect.ALLOW),
        ("hold", "true", "dev.test", "read", Effect.ALLOW),
    ],
)
def test_a_new_host_that_no_rule_names_counts_at_its_first_use(new_host, first, host, consequence, effect):
    found = policy(
        rule("a", "hold", "{json.a: {is: x}}"),
        rule("b", "hold", "{json.a: {is: x}}", match="host: '*.named.org'"),
        rule("c", "hold", "{json.a: {is: x}, host: {matches: 'dev.*'}}", match="method: POST"),
        default=f"{{read: allow, write: hold, new_host: {new_host}}}",
    )
    assert found.judge(action(host=host, first=first, consequence=consequence)).effect is effect


def test_a_first_use_that_nobody_can_know_counts_as_one():
    found = policy(default="{read: allow, new_host: hold}")
    verdict = found.judge(action({("first_seen", "host"): UNKNOWN}, consequence="read"))
    assert (verdict.effect, verdict.settled) == (Effect.HOLD, False)


# -- settled on the headers ----------------------------------------------------------------------


BODY = "{json.a: {is: x}}"


@pytest.mark.parametrize(
    ("rules", "default", "effect", "settled"),
    [
        ([("r", "allow", "")], HOLD_ALL, Effect.ALLOW, True),
        ([("r", "allow", BODY)], HOLD_ALL, Effect.HOLD, False),
        ([("r", "deny", "")], HOLD_ALL, Effect.DENY, True),
        ([("r", "deny", BODY)], HOLD_ALL, Effect.DENY, False),
        ([("r", "deny", BODY), ("s", "deny", "")], HOLD_ALL, Effect.DENY, True),
        ([("r", "hold", BODY), ("s", "deny", "")], HOLD_ALL, Effect.DENY, True),
        ([("r", "hold", BODY), ("s", "allow", "")], HOLD_ALL, Effect.HOLD, False),
        ([("r", "watch", BODY), ("s", "hold", "")], HOLD_ALL, Effect.HOLD, True),
        ([("r", "allow", BODY), ("s", "watch", "")], HOLD_ALL, Effect.WATCH, True),
        ([], "{read: allow, write: allow}", Effect.ALLOW, True),
        ([], "{read: allow, write: allow, delete: hold}", Effect.HOLD, False),
        ([("r", "hold", BODY)], "{write: hold}", Effect.HOLD, True),
    ],
)
def test_a_verdict_on_the_headers_is_settled_exactly_when_no_body_could_change_it(
    rules, default, effect, settled
):
    found = policy(*(rule(*one) for one in rules), default=default)
    verdict = found.judge(action({A: UNKNOWN}, complete=False))
    assert (verdict.effect, verdict.settled) == (effect, settled)


def test_an_unreadable_action_is_denied():
    found = decode(request("post", f"https://{HOST}/"))
    assert found.unreadable
    assert policy(rule("r", "allow", match="path: /**")).judge(found).effect is Effect.DENY


def test_a_consequence_that_the_body_could_change_is_unknown_on_the_headers():
    allows = policy(rule("r", "allow", "{consequence: {is: write}}"), default=HOLD_ALL)
    assert allows.judge(action(complete=False)).settled is False
    assert allows.judge(action()).effect is Effect.ALLOW


def test_rules_for_other_hosts_cost_nothing_and_say_nothing():
    many = policy(
        *(rule(f"r{at}", "deny", match=f"host: h{at}.example") for at in range(200)), rule("a", "watch")
    )
    assert many.judge(action()).rules == ("a",)
    assert [one.name for one in many.naming(HOST)] == ["a"]


def test_facts_about_first_use_come_from_the_ledger_alone():
    class NothingSeen:
        def new_host(self, agent: str | None, host: str) -> bool:
            return True

        def new_operation(self, agent: str | None, host: str, operation: str) -> bool:
            return True

        def other_credential(self, agent: str | None, host: str, credential: str) -> bool:
            return True

    found = policy(default="{read: allow, new_host: watch}")
    get = request("GET", "https://new.example/")
    assert found.judge(decode(get)).effect is Effect.ALLOW
    assert found.judge(decode(get, Facts(seen=NothingSeen()))).effect is Effect.WATCH
