"""Budgets in rules: how they are written, what an action claims, and what settles too early."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "policy"))
from making_actions import HOST, action, policy

from proxy.action import UNKNOWN, Request, Values
from proxy.decode import Facts, decode
from proxy.errors import SluiceError
from proxy.policy import difference, explain, keys, lint, load_texts, request, run_cases
from proxy.policy.budgets import MOST
from proxy.policy.cases import load_cases
from proxy.policy.limits import limited, unused
from proxy.policy.verdict import Account, Effect
from proxy.replay import again, recorded

MONEY = "{field: form.amount, unit: form.currency, limit: 200, per: 24h, by: agent, over: hold}"
COUNT = "{count: 2, per: 1h}"
AMOUNT, CURRENCY = ("form", "amount"), ("form", "currency")


def budgeted(budget: str, then: str = "allow", more: str = "", name: str = "small", match: str = "") -> str:
    return f"name: {name}\nmatch: {{host: {HOST}{match}}}\nthen: {then}\nbudget: {budget}{more}"


def claims(rules, asked):
    return policy(*([rules] if isinstance(rules, str) else rules)).judge(asked).budgets


def paid(amount: str | None = "90.00", currency: str | None = "eur", **more):
    readings = {}
    if amount is not None:
        readings[AMOUNT] = Values((amount,))
    if currency is not None:
        readings[CURRENCY] = Values((currency,))
    return action(readings, **more)


def posted(body: bytes, *, kind: bytes = b"application/json", agent: str | None = "uid:ada", **more):
    headers = ((b"content-type", kind), *more.pop("headers", ()))
    target = more.pop("target", b"/v1/items")
    return decode(Request(agent, b"POST", "https", HOST, 443, target, headers, body), Facts(key=b"k" * 32))


# -- as it is written ----------------------------------------------------------------------


def test_a_budget_of_an_amount_is_read_whole():
    (rule,) = policy(budgeted(MONEY)).rules
    assert rule.budget is not None
    assert str(rule.budget) == "form.amount in form.currency 200 per 24h by agent, then hold"
    assert rule.content()["budget"] == {
        "limit": "number 200", "per": 86_400, "field": ["form", "amount"], "unit": ["form", "currency"],
        "counts": None, "by": "agent", "over": "hold",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{count: 20, per: 1h}", "requests 20 per 1h by rule, then hold"),
        ("{requests: 20 per 1h}", "requests 20 per 1h by rule, then hold"),
        ("{deletes: 20 per 1h, over: deny}", "deletes 20 per 1h by rule, then deny"),
        ("{payments: 5 per 31d, by: credential}", "payments 5 per 31d by credential, then hold"),
        (
            "{field: json.max_tokens, limit: 1000.5, per: 60s}",
            "json.max_tokens 1000.5 per 1m by rule, then hold",
        ),
    ],
)
def test_a_budget_may_be_written_in_three_ways(written, words):
    (rule,) = policy(budgeted(written)).rules
    assert str(rule.budget) == words


def test_a_rule_without_a_budget_keeps_its_digest():
    plain = policy(budgeted(COUNT).partition("\nbudget")[0])
    assert "budget" not in plain.rules[0].content()
    assert plain.digest != policy(budgeted(COUNT)).digest
    assert (
        policy(budgeted("{requests: 2 per 60m, by: rule, over: hold}")).digest
        == policy(budgeted(COUNT)).digest
    )


@pytest.mark.parametrize(
    ("rule", "what", "fix"),
    [
        (budgeted(COUNT, "deny"), "budget: in a rule that says deny", "then: allow"),
        (budgeted(COUNT, "hold"), "budget: in a rule that says hold", "then: allow"),
        (budgeted("{per: 1h}"), "budget does not say what it limits", "{count: 20, per: 1h}"),
        (budgeted("{}"), "budget does not say what it limits", "{deletes: 20 per 1h}"),
        (budgeted("20"), "budget is '20'", "write a table"),
        (budgeted("{count: 2, deletes: 1 per 1h}"), "budget has both count and deletes", "write {field"),
        (budgeted("{count: 2, field: form.a, limit: 1, per: 1h}"), "budget has both field and count", ""),
        (budgeted("{count: 2}"), "budget does not say within how long", "per: 24h"),
        (budgeted("{field: form.amount, per: 1h}"), "budget has no limit", "limit: 200"),
        (budgeted("{count: 0, per: 1h}"), "count is '0'", "from 1 to 1000000"),
        (budgeted("{count: 2.5, per: 1h}"), "count is '2.5'", ""),
        (budgeted("{count: 1000001, per: 1h}"), "count is '1000001'", ""),
        (budgeted("{count: 2, per: 32d}"), "per is '32d'", "at most 31d"),
        (budgeted("{count: 2, per: 0s}"), "per is '0s'", ""),
        (budgeted("{count: 2, per: 1w}"), "per is '1w'", ""),
        (budgeted("{count: 2, limit: 5, per: 1h}"), "limit beside count", "leave it out"),
        (budgeted("{count: 2, unit: form.currency, per: 1h}"), "unit beside count", ""),
        (budgeted("{deletes: 2 per 1h, per: 1h}"), "per beside deletes", ""),
        (budgeted("{deletes: 2}"), "deletes is no count within a time", "deletes: 20 per 1h"),
        (budgeted("{deletes: 2/1h}"), "deletes is no count within a time", ""),
        (budgeted("{deletes: [2 per 1h]}"), "deletes is no count within a time", ""),
        (budgeted("{deletes: 2000000 per 1h}"), "deletes is no count within a time", ""),
        (budgeted("{deletes: 2 per 40d}"), "deletes is '40d'", "at most 31d"),
        (budgeted("{delets: 2 per 1h}"), "unknown field 'delets' in budget", "did you mean 'deletes'?"),
        (budgeted("{count: 2, per: 1h, by: key}"), "by is 'key'", ""),
        (budgeted("{count: 2, per: 1h, over: watch}"), "over is 'watch'", ""),
        (budgeted("{field: form.amount, limit: 0, per: 1h}"), "limit is no number above 0", ""),
        (budgeted("{field: form.amount, limit: -5, per: 1h}"), "limit is no number above 0", ""),
        (budgeted('{field: form.amount, limit: "200", per: 1h}'), "limit is no number above 0", "unquoted"),
        (budgeted("{field: form.amount, limit: 1e3, per: 1h}"), "limit: '1e3'", "write it so"),
        (budgeted("{field: form.amount, limit: [1], per: 1h}"), "limit is no number above 0", ""),
        (budgeted("{field: amount, limit: 1, per: 1h}"), "field: unknown field 'amount'", ""),
        (
            budgeted("{field: form.amount, unit: EUR, limit: 1, per: 1h}"),
            "unit: unknown field 'EUR'",
            "where",
        ),
        (budgeted("{field: form.card.cvc, limit: 1, per: 1h}"), "form.card.cvc is secret", "another field"),
        (
            budgeted("{field: form.a, unit: header.authorization, limit: 1, per: 1h}"),
            "header.authorization",
            "",
        ),
        (
            budgeted("{count: 2, per: 1h, over: deny}", more="\nhold: {approvals: 2}"),
            "hold: in a rule that says",
            "",
        ),
        (budgeted("{count: 2, per: 1h}", "watch", "\nhold: {approvals: 99}"), "approvals is '99'", ""),
    ],
)
def test_a_budget_that_cannot_be_meant_is_refused_with_its_place(rule, what, fix):
    with pytest.raises(SluiceError) as caught:
        policy(rule)
    [problem] = [one for one in caught.value.problems if one.what.startswith(what)]
    assert problem.where.startswith("policy.yaml:")
    assert fix in problem.fix


def test_who_may_release_what_is_over_stands_in_the_rule_itself():
    more = "\nhold: {reviewers: [finance], approvals: 2, timeout: 5m}"
    verdict = policy(budgeted(MONEY, more=more)).judge(paid("500"))
    held = limited(verdict, unused)
    assert (held.effect, held.rules, held.timeout, held.always_ask) == (Effect.HOLD, ("small",), 300, True)
    [demand] = held.demands
    assert (demand.reviewers, demand.approvals) == (("finance",), 2)
    assert held.why == "0 of 200 EUR in 24h are used, and this takes 500"
    assert held.policy == verdict.policy


# -- what an action claims -----------------------------------------------------------------


def test_an_amount_is_claimed_in_its_unit_for_its_agent():
    [claim] = claims(budgeted(MONEY), action({AMOUNT: Values(("90.00",)), CURRENCY: Values(("eur",)),
                                              ("agent",): Values(("uid:ada",))}))  # fmt: skip
    assert (claim.account, claim.amount) == (Account("small", "uid:ada", "EUR"), Decimal("90.00"))
    assert (claim.limit, claim.per) == (200, 86_400)


@pytest.mark.parametrize(
    ("amounts", "currencies", "why"),
    [
        (UNKNOWN, ("eur",), "form.amount cannot be read"),
        ((), ("eur",), "form.amount is absent"),
        (("-1",), ("eur",), "form.amount is negative"),
        (("5", "-1"), ("eur",), "form.amount is negative"),
        (("1e3",), ("eur",), "form.amount is no number"),
        (("1,50",), ("eur",), "form.amount is no number"),
        (("5", None), ("eur",), "form.amount is no number"),
        (("9" * 18, "9" * 18), ("eur",), "form.amount is too large"),
        (("1",) * 10_001, ("eur",), "form.amount cannot be read"),
        (("5",), (), "form.currency is absent"),
        (("5",), UNKNOWN, "form.currency cannot be read"),
        (("5", "6"), ("eur", "usd"), "form.currency names several units"),
        (("5",), ("eur", None), "form.currency names several units"),
        (("5",), (None,), "form.currency is no unit"),
        (("5",), ("",), "form.currency is no unit"),
        (("5",), ("eur ",), "form.currency is no unit"),
        (("5",), ("€",), "form.currency is no unit"),
        (("5",), ("e" * 17,), "form.currency is no unit"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_over_the_budget(amounts, currencies, why):
    readings = {
        name: items if items is UNKNOWN else Values(items)
        for name, items in ((AMOUNT, amounts), (CURRENCY, currencies))
    }
    verdict = policy(budgeted(MONEY)).judge(action(readings))
    assert [(claim.amount, claim.why) for claim in verdict.budgets] == [(None, why)]
    assert limited(verdict, unused).effect is Effect.HOLD


def test_many_values_are_added_up_in_one_unit():
    asked = action({AMOUNT: Values(("0.1",) * 10), CURRENCY: Values(("eur", "EUR"))})
    [claim] = claims(budgeted(MONEY), asked)
    assert (claim.account.unit, claim.amount) == ("EUR", Decimal(1))


def test_nothing_at_all_is_an_amount():
    [claim] = claims(budgeted(MONEY), paid("0.00"))
    assert claim.amount == 0


@pytest.mark.parametrize(
    ("words", "consequence", "counted"),
    [
        ("deletes", "delete", True),
        ("deletes", "write", False),
        ("writes", "delete", True),
        ("writes", "read", False),
        ("reads", "read", True),
        ("payments", "payment", True),
        ("requests", "read", True),
    ],
)
def test_a_count_counts_what_it_names(words, consequence, counted):
    found = claims(budgeted(f"{{{words}: 2 per 1h}}"), action(consequence=consequence))
    assert [claim.amount for claim in found] == ([1] if counted else [])


def test_a_consequence_that_nobody_knows_is_counted():
    assert claims(budgeted("{deletes: 2 per 1h}"), action({("consequence",): UNKNOWN}))


def test_whom_nobody_can_name_share_one_account():
    by_agent, by_key = (
        budgeted("{count: 2, per: 1h, by: agent}"),
        budgeted("{count: 2, per: 1h, by: credential}"),
    )
    assert [one.account.owner for one in claims(by_agent, posted(b"{}", agent=None))] == ["unknown"]
    assert [one.account.owner for one in claims(by_agent, posted(b"{}"))] == ["uid:ada"]
    assert [one.account.owner for one in claims(by_key, posted(b"{}"))] == ["unknown"]
    assert [one.account.owner for one in claims(budgeted(COUNT), posted(b"{}"))] == [""]


def test_a_request_with_two_credentials_draws_on_both_accounts():
    rule = budgeted("{count: 2, per: 1h, by: credential}")
    one = posted(b"{}", headers=((b"authorization", b"Bearer a"),))
    both = posted(b"{}", headers=((b"authorization", b"Bearer a"), (b"x-api-key", b"another")))
    [first] = claims(rule, one)
    assert first.account in {claim.account for claim in claims(rule, both)}
    assert len(claims(rule, both)) == 2


def test_a_request_that_draws_on_too_many_accounts_cannot_be_released():
    rule = budgeted("{count: 9, per: 1h, by: credential}")
    many = posted(b"{}", headers=tuple((b"x-api-key", b"key %d" % at) for at in range(MOST + 1)))
    verdict = policy(rule).judge(many)
    assert len(verdict.budgets) == MOST
    assert limited(verdict, unused).effect is Effect.DENY
    assert "more than 32 accounts" in limited(verdict, unused).why


def test_a_rule_that_may_apply_counts_too_and_a_rule_that_does_not_never():
    tail = ", where: {form.kind: {is: small}}"
    wide = f"name: all\nmatch: {{host: {HOST}}}\nthen: allow"
    rule = budgeted(COUNT, "allow", match=tail)
    unknown = policy(rule, wide).judge(action({("form", "kind"): UNKNOWN}))
    assert (unknown.effect, len(unknown.budgets)) == (Effect.ALLOW, 1)
    over = limited(unknown, lambda _: Decimal(2))
    assert (over.effect, over.unknown) == (Effect.HOLD, ("small",))
    assert claims([rule, wide], action({("form", "kind"): Values(("large",))})) == ()


def test_each_rule_that_applies_has_a_budget_of_its_own():
    rules = [budgeted(COUNT, name="an-hour"), budgeted("{count: 9, per: 24h}", "watch", name="a-day")]
    verdict = policy(*rules).judge(action())
    assert verdict.effect is Effect.WATCH
    assert {claim.account.rule for claim in verdict.budgets} == {"an-hour", "a-day"}
    assert limited(verdict, lambda one: Decimal(9) if one.account.rule == "a-day" else Decimal(0)).rules == (
        "a-day",
    )


def test_what_another_rule_holds_draws_on_the_budget_too_when_it_is_released():
    hold = f"name: held\nmatch: {{host: {HOST}}}\nthen: hold"
    verdict = policy(budgeted(COUNT), hold).judge(action())
    assert (verdict.effect, verdict.rules) == (Effect.HOLD, ("held",))
    assert [claim.account.rule for claim in verdict.budgets] == ["small"]
    deny = f"name: denied\nmatch: {{host: {HOST}}}\nthen: deny"
    assert policy(budgeted(COUNT), deny).judge(action()).budgets == ()


# -- batches -------------------------------------------------------------------------------

CALL = (
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call",'
    b' "params": {"name": "pay", "arguments": {"amount": 40}}}'
)


def test_the_members_of_a_batch_are_counted_one_by_one():
    [claim] = claims(budgeted(COUNT, "watch"), posted(b"[" + b",".join([CALL] * 3) + b"]"))
    assert claim.amount == 3
    [claim] = claims(budgeted(COUNT, "watch"), posted(CALL))
    assert claim.amount == 1


def test_the_amounts_of_a_batch_are_added_up_once():
    rule = budgeted("{field: mcp.argument.amount, limit: 100, per: 1h}", "watch")
    verdict = policy(rule).judge(posted(b"[" + b",".join([CALL] * 3) + b"]"))
    assert [claim.amount for claim in verdict.budgets] == [120]
    assert limited(verdict, unused).effect is Effect.HOLD


def test_a_member_that_cannot_be_read_makes_the_whole_batch_over():
    rule = budgeted("{field: mcp.argument.amount, limit: 100, per: 1h}", "watch")
    other = CALL.replace(b"40", b'"lots"')
    [claim] = claims(rule, posted(b"[" + CALL + b"," + other + b"]"))
    assert claim.amount is None


def test_a_batch_that_cannot_be_opened_is_over():
    found = claims(budgeted(COUNT), posted(b"x", kind=b"text/plain", target=b"/items/_bulk"))
    assert [(claim.amount, claim.why) for claim in found] == [
        (None, "what this batch carries cannot be opened")
    ]


# -- on the headers alone ------------------------------------------------------------------


def unread(kind: bytes, length: bytes = b"20"):
    headers = ((b"content-type", kind), (b"content-length", length))
    return decode(Request("uid:ada", b"POST", "https", HOST, 443, b"/v1/items?amount=5", headers, None))


@pytest.mark.parametrize(
    "budget", [COUNT, MONEY, "{field: query.amount, limit: 5, per: 1h}", "{deletes: 1 per 1h}"]
)
@pytest.mark.parametrize("then", ["allow", "watch"])
@pytest.mark.parametrize(
    "kind", [b"application/json", b"application/x-www-form-urlencoded", b"application/x-ndjson"]
)
def test_a_budget_settles_nothing_while_a_body_is_unread_that_may_hold_more(budget, then, kind):
    assert not policy(budgeted(budget, then)).judge(unread(kind)).settled


@pytest.mark.parametrize(
    ("budget", "over"),
    [(COUNT, Effect.ALLOW), ("{field: query.amount, limit: 5, per: 1h}", Effect.ALLOW), (MONEY, Effect.HOLD)],
)
def test_a_body_without_fields_leaves_nothing_open(budget, over):
    verdict = policy(budgeted(budget)).judge(unread(b"application/octet-stream"))
    assert verdict.settled
    assert limited(verdict, unused).effect is over


def test_a_rule_that_an_unread_body_may_fulfil_settles_nothing_either():
    wide = f"name: all\nmatch: {{host: {HOST}}}\nthen: allow"
    rule = budgeted(COUNT, match=", where: {json.kind: {is: small}}")
    assert policy(wide).judge(unread(b"application/json")).settled
    assert not policy(rule, wide).judge(unread(b"application/json")).settled


def test_a_denial_is_settled_whatever_the_budget():
    deny = f"name: denied\nmatch: {{host: {HOST}}}\nthen: deny"
    assert policy(budgeted(MONEY), deny).judge(unread(b"application/json")).settled


# -- cases, explain, lint, difference ------------------------------------------------------

FILE = f"""\
version: 1
default: {{write: hold}}
rules:
  - name: small
    why: small ones are routine
    match: {{host: {HOST}, method: POST, path: /pay}}
    then: allow
    budget: {{field: form.amount, unit: form.currency, limit: 200, per: 24h, by: agent, over: deny}}
cases:
"""
CASE = f"""\
  - name: NAME
    request: POST https://{HOST}/pay
    form: {{amount: 20.00, currency: eur}}
    expect: EXPECT
    rule: small
"""


def case(used: str, expect: str) -> str:
    return CASE.replace("NAME", f"used {used}").replace("EXPECT", expect) + f"    used: {used}\n"


def test_a_case_says_what_is_used_already():
    text = FILE + case("180", "allow") + case("180.01", "deny") + case("0", "allow")
    results = run_cases(load_texts({"p.yaml": text}), {"p.yaml": text})
    assert [(one.name, one.passed, one.got) for one in results] == [
        ("used 180", True, "allow"), ("used 180.01", True, "deny"), ("used 0", True, "allow"),
    ]  # fmt: skip
    assert results[1].why == "180.01 of 200.00 EUR in 24h are used, and this takes 20.00"


@pytest.mark.parametrize("used", ["-1", '"5"', "lots", "[1]", "1e3", ""])
def test_a_case_with_something_else_used_is_a_mistake(used):
    text = "cases:\n" + case(used, "allow")
    with pytest.raises(SluiceError) as caught:
        load_cases({"a_cases.yaml": text})
    assert [one.what for one in caught.value.problems] == ["used is no number, 0 or above"]


def test_an_explanation_shows_what_is_drawn_on():
    form = [("content-type", "application/x-www-form-urlencoded")]
    asked = request("POST", f"https://{HOST}/pay", form, b"amount=201&currency=usd")
    found = explain(load_texts({"p.yaml": FILE.replace("cases:\n", "")}), asked)
    assert (found.answer.decision, found.answer.rules) == ("deny", ("small",))
    [(claim, used)] = found.budgets
    assert (claim.account.unit, claim.amount, used) == ("USD", 201, 0)


def test_two_rules_with_other_budgets_are_no_duplicates():
    rules = [budgeted(COUNT, name="an-hour"), budgeted("{count: 9, per: 24h}", name="a-day")]
    assert not [one for one in lint(policy(*rules), None) if one.kind in ("duplicate", "shadowed")]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("", COUNT, "stricter: small: limited to requests 2 per 1h by rule, then hold"),
        (COUNT, "", "looser: small: no longer limited to requests 2 per 1h by rule, then hold"),
        (COUNT, "{count: 3, per: 1h}", "looser: small: limited to requests 2"),
        (COUNT, "{count: 2, per: 30m}", "looser: small"),
        (COUNT, "{count: 2, per: 2h}", "stricter: small"),
        (COUNT, "{count: 2, per: 1h, over: deny}", "stricter: small"),
        (COUNT, "{count: 2, per: 1h, by: agent}", "looser: small"),
        (
            "{count: 2, per: 1h, by: agent}",
            "{count: 2, per: 1h, by: credential}",
            "looser or stricter: small",
        ),
        (COUNT, "{count: 3, per: 2h}", "looser or stricter: small"),
        (COUNT, "{deletes: 2 per 1h}", "looser or stricter: small"),
    ],
)
def test_a_change_of_a_budget_says_which_way_it_goes(old, new, line):
    before, after = (policy(budgeted(one).removesuffix("\nbudget: ")) for one in (old, new))
    assert difference(before, after).startswith(line)


def test_a_replay_guesses_nothing_about_what_was_left_of_a_budget():
    fields = {
        "kind": "decided", "decision": "allowed", "effect": "allow", "rules": ["default"], "policy": "old",
        "method": "POST", "url": f"https://{HOST}/v1/items", "agent": "uid:ada", "host": HOST,
    }  # fmt: skip
    [one] = recorded([(fields, None)])
    plain = budgeted(COUNT).partition("\nbudget")[0]
    assert again(policy(plain), one).effect is Effect.ALLOW
    assert again(policy(budgeted(COUNT)), one).effect is None
    held = f"name: held\nmatch: {{host: {HOST}}}\nthen: hold"
    assert again(policy(budgeted(COUNT), held), one).effect is Effect.HOLD


# -- unknown never helps -------------------------------------------------------------------

READ = st.sampled_from([(), ("5",), ("90",), ("500",), ("5", "90"), ("x",), (None,)])
UNITS = st.sampled_from([("eur",), ("usd",), (), ("eur", "usd")])
RULES = [
    budgeted(MONEY, name="money"),
    budgeted("{field: form.amount, limit: 100, per: 1h, over: deny}", "watch", name="sum",
             match=", where: {form.kind: {is: a}}"),
    budgeted("{deletes: 2 per 1h}", name="few"),
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(READ, UNITS, st.sampled_from([("a",), ("b",)]), st.sampled_from(["write", "delete"]),
       st.sets(st.sampled_from([AMOUNT, CURRENCY, ("form", "kind"), ("consequence",)])),
       st.sampled_from(["0", "1", "2", "60", "200"]), st.sampled_from(["allow", "hold"]))  # fmt: skip
def test_what_cannot_be_read_never_makes_room(amounts, units, kinds, consequence, hidden, used, default):
    full = {AMOUNT: Values(amounts), CURRENCY: Values(units), ("form", "kind"): Values(kinds),
            ("consequence",): Values((consequence,))}  # fmt: skip
    rules = policy(*RULES, default=f"{{read: allow, write: {default}}}")

    def effect(readings, complete=True):
        verdict = limited(rules.judge(action(readings, complete=complete)), lambda _: Decimal(used))
        return verdict, verdict.effect

    dark = full | dict.fromkeys(hidden, UNKNOWN)
    assert effect(dark)[1] >= effect(full)[1]
    early, before = effect(dict.fromkeys(full, UNKNOWN), complete=False)
    if early.settled:
        assert before == effect(full)[1]


# -- the reference -------------------------------------------------------------------------


def test_the_budgets_of_the_reference_load_and_count_what_it_says():
    page = (Path(__file__).parents[2] / "docs" / "policy.md").read_text().partition("### Budgets")[2]
    rules = page.split("```")[1].strip().replace("\n", "\n  ")
    found = load_texts({"p.yaml": f"version: 1\nrules:\n  {rules}\n"})
    assert [str(rule.budget) for rule in found.rules] == [
        "deletes 20 per 1h by rule, then deny",
        "form.amount in form.currency 20000 per 24h by agent, then hold",
    ]


def test_every_word_of_a_budget_is_in_the_reference():
    page = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
    for word in keys.BUDGET:
        assert f"`{word}`" in page or f"`{word}:" in page, word
