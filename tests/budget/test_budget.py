"""Accounts in sliding windows, against a model that looks at every entry each time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.budget import RETURNED, Budgets, Taking, entered, fold, gives_back, takings
from proxy.chain import check
from proxy.decision import Happened, Outcome
from proxy.policy.limits import LONGEST, limited, shortage, span, total, unused
from proxy.policy.verdict import Account, Claim, Effect, Verdict

SECOND = 1_000_000
HOUR = 3_600
ALLOW = Verdict(Effect.ALLOW, "small", ("small",), "small ones are routine", "p")
HOLD = Verdict(Effect.HOLD, "small", ("small",), "", "")
DENY = Verdict(Effect.DENY, "small", ("small",), "", "")
ADA = Account("small", "uid:ada", "EUR")
BOB = Account("small", "uid:bob", "EUR")


def claim(
    amount: str | None = "1",
    limit: str = "10",
    *,
    account: Account = ADA,
    per: int = HOUR,
    over: Verdict = HOLD,
    why: str = "",
) -> Claim:
    return Claim(account, None if amount is None else Decimal(amount), Decimal(limit), per, over, why)


def taking(amount: str, account: Account = ADA, per: int = HOUR) -> Taking:
    return Taking(account, Decimal(amount), Decimal(10), per)


# -- the model -----------------------------------------------------------------------------


@dataclass
class Model:
    """Every release with its time, and whether it was given back."""

    now: int = 0
    released: list[list[Any]] = field(default_factory=list)

    def at(self, now: int) -> None:
        self.now = max(self.now, now)

    def take(self, id: str, account: Account, amount: Decimal) -> None:
        self.released.append([id, account, amount, self.now, True])

    def give_back(self, id: str) -> None:
        for one in self.released:
            if one[0] == id:
                one[4] = False

    def used(self, account: Account, per: int) -> Decimal:
        return sum(
            (
                amount
                for _, whose, amount, at, stays in self.released
                if whose == account and stays and self.now - at < per * SECOND
            ),
            Decimal(0),
        )


AMOUNTS = st.decimals(min_value="0.01", max_value=50, places=2)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "back", "keep", "look", "restart"]),
        st.sampled_from([0, 1, SECOND, 30 * SECOND, 59 * SECOND, 60 * SECOND, 61 * SECOND, -45 * SECOND]),
        st.sampled_from([ADA, BOB, Account("small", "uid:ada", "USD"), Account("other")]),
        AMOUNTS,
        st.integers(0, 30),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_what_is_used_is_what_a_look_at_every_entry_says(steps):
    budgets, model = Budgets(), Model()
    entries: list[tuple[dict[str, Any], int]] = []
    now, ids = 10**15, []
    for what, forward, account, amount, which in steps:
        now += forward
        model.at(now)
        id = ids[which % len(ids)] if ids else "none"
        if what == "take":
            id = f"id{len(ids)}"
            ids.append(id)
            taken = [Taking(account, amount, Decimal(100), 60)]
            budgets.take(id, taken, now)
            model.take(id, account, amount)
            fields = {
                "id": id,
                "decision": "allowed",
                "budgets": entered([claim(str(amount), account=account)]),
            }
            entries.append((json.loads(json.dumps(fields)), now))
        elif what == "back" and ids:
            budgets.used(account, 60, now)
            if budgets.give_back(id):
                model.give_back(id)
                entries.append(({"id": id, "kind": "failed", "budgets": RETURNED}, now))
        elif what == "keep":
            budgets.keep(id)
            budgets.used(account, 60, now)
        elif what == "restart":
            budgets = fold([*entries, ({"kind": "started"}, now)])
        for one in {ADA, BOB, account}:
            assert budgets.used(one, 60, now) == model.used(one, 60)
        entries.append(({"kind": "look"}, now))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 3, 7, 20]), AMOUNTS, st.booleans()), min_size=60, max_size=120),
    st.integers(1, 8),
)
def test_releases_put_together_leave_late_by_a_little_and_never_early(steps, exact):
    budgets, model = Budgets(exact=exact, most=2 * exact), Model()
    now, per = 10**15, 300
    for number, (forward, amount, back) in enumerate(steps):
        now += forward * SECOND
        model.at(now)
        budgets.take(str(number), [Taking(ADA, amount, Decimal(1), per)], now)
        model.take(str(number), ADA, amount)
        if back:
            budgets.give_back(str(number // 2))
            model.give_back(str(number // 2))
        used = budgets.used(ADA, per, now)
        late = -(-per * 32 // 31)
        assert model.used(ADA, per) <= used <= model.used(ADA, late)


def test_a_month_of_releases_takes_little_room():
    budgets = Budgets()
    now = 10**15
    for number in range(60_000):
        now += 40 * SECOND
        budgets.take(str(number), [taking("1")], now)
        budgets.keep(str(number))
    kept = sum(len(spent.releases) for spent in budgets._rules["small"].values())
    assert kept <= 2_048
    assert not budgets._open
    assert budgets.used(ADA, HOUR, now) == 90, "the newest are counted one by one"
    assert 60_000 * 31 / 32 <= budgets.used(ADA, LONGEST, now) <= 60_000 + 1


# -- room ----------------------------------------------------------------------------------


def test_there_is_room_up_to_the_limit_and_not_beyond():
    assert shortage(claim("10"), Decimal(0)) == ""
    assert shortage(claim("0.01", "200"), Decimal("199.99")) == ""
    assert (
        shortage(claim("30", "200", per=86_400), Decimal("180.00"))
        == "180.00 of 200.00 EUR in 24h are used, and this takes 30"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1s"), (90, "90s"), (60, "1m"), (5400, "90m"), (3600, "1h"), (86_400, "24h"), (604_800, "7d")],
)
def test_a_window_is_named_as_rules_write_it(seconds, words):
    assert span(seconds) == words


def test_what_nobody_can_read_is_over_an_unused_budget():
    unread = claim(None, why="form.amount cannot be read")
    assert shortage(unread, Decimal(0)) == "form.amount cannot be read: it counts as over the budget"


def test_amounts_are_added_exactly_whatever_the_context_rounds_to():
    large, small = "9" * 18, "0." + "0" * 17 + "1"
    with localcontext() as context:
        context.prec = 5
        budgets = Budgets()
        budgets.take("a", [taking(large), taking(small)], 0)
        assert str(budgets.used(ADA, HOUR, 0)) == f"{large}.{'0' * 17}1"
        assert shortage(claim(small, large), Decimal(large)) != ""
        assert total([Decimal("0.1")] * 10) == Decimal(1)


def test_the_strictest_speaks_and_says_what_is_used():
    verdict = Verdict(Effect.WATCH, "w", ("w",), "told", "p", budgets=(claim("4"), claim("5", account=BOB)))
    assert limited(verdict, unused) is verdict
    held = limited(verdict, lambda one: Decimal(7) if one.account == ADA else Decimal(0))
    assert (held.effect, held.rules, held.policy) == (Effect.HOLD, ("small",), "p")
    assert held.why == "7 of 10 EUR in 1h are used, and this takes 4"
    assert held.budgets == verdict.budgets, "what a person releases is counted too"


def test_a_hold_that_is_over_its_budget_too_says_both():
    verdict = Verdict(Effect.HOLD, "h", ("h",), "large ones wait", "p", budgets=(claim("4"),))
    both = limited(verdict, lambda _: Decimal(7))
    assert both.rules == ("h", "small")
    assert both.why == "large ones wait; 7 of 10 EUR in 1h are used, and this takes 4"
    denied = limited(
        Verdict(Effect.HOLD, "h", ("h",), "", "p", budgets=(claim("4", over=DENY),)), lambda _: Decimal(7)
    )
    assert (denied.effect, denied.rules) == (Effect.DENY, ("small",))


def test_an_account_beyond_the_most_has_no_room_until_another_is_forgotten():
    budgets = Budgets(accounts=2)
    for number in range(3):
        budgets.take(str(number), [taking("1", Account("small", f"uid:{number}"))], 0)
    third = Account("small", "uid:2")
    assert budgets.used(third, HOUR, 0) is None
    assert "no place" in shortage(claim("1", account=third), None)
    assert budgets.used(Account("other", "uid:2"), HOUR, 0) == 0, "another rule has places of its own"
    assert budgets.used(third, HOUR, LONGEST * SECOND) == 0


# -- giving back ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("happened", "status", "back"),
    [
        (Happened.COMPLETED, 200, False),
        (Happened.COMPLETED, 302, False),
        (Happened.COMPLETED, 399, False),
        (Happened.COMPLETED, 400, True),
        (Happened.COMPLETED, 402, True),
        (Happened.COMPLETED, 499, True),
        (Happened.COMPLETED, 500, False),
        (Happened.COMPLETED, 101, False),
        (Happened.COMPLETED, None, False),
        (Happened.FAILED, None, True),
        (Happened.UNKNOWN, 402, False),
        (Happened.UNKNOWN, None, False),
    ],
)
def test_only_what_was_refused_or_never_sent_is_given_back(happened, status, back):
    assert gives_back(Outcome(happened, status)) is back


def test_what_is_given_back_is_given_back_once():
    budgets = Budgets()
    budgets.take("a", [taking("4")], 0)
    budgets.take("b", [taking("5")], SECOND)
    assert budgets.give_back("a")
    assert not budgets.give_back("a")
    assert budgets.used(ADA, HOUR, SECOND) == 5
    budgets.keep("b")
    assert not budgets.give_back("b")
    assert budgets.used(ADA, HOUR, SECOND) == 5


def test_a_clock_that_goes_back_frees_nothing_not_even_when_it_is_put_right():
    budgets, then = Budgets(), 10**15
    budgets.take("a", [taking("4")], then)
    for now in (then - SECOND, 0, HOUR * SECOND, then - 1, then + (HOUR * SECOND) - 1):
        assert budgets.used(ADA, HOUR, now) == 4
    budgets.take("b", [taking("5")], 0)
    assert budgets.used(ADA, HOUR, then + HOUR * SECOND) == 5
    assert budgets.used(ADA, HOUR, then + 2 * HOUR * SECOND - 1) == 0


# -- entries -------------------------------------------------------------------------------


def test_what_is_released_is_written_in_a_form_that_an_entry_takes():
    claims = [claim("30.50", "200"), claim("0"), claim(None), claim("1", account=Account("small"))]
    fields = {"id": "a", "decision": "approved", "budgets": entered(claims)}
    check("decided", fields)
    budgets = fold([(json.loads(json.dumps(fields)), 5)])
    again = Budgets()
    again.take("a", takings(claims), 5)
    assert budgets.standings(5) == again.standings(5)
    assert [(one.account, str(one.used)) for one in budgets.standings(5)] == [
        (Account("small"), "1"),
        (ADA, "30.50"),
    ]


@pytest.mark.parametrize("decision", ["refused", "denied", "unavailable", "abandoned", "pending", 7, None])
def test_what_did_not_leave_takes_nothing(decision):
    assert not fold([({"id": "a", "decision": decision, "budgets": entered([claim()])}, 0)]).standings(0)


TAKEN = {"rule": "r", "owner": "", "unit": "", "amount": "1", "limit": "1", "per": 60}


@pytest.mark.parametrize(
    "entry",
    [
        None, 1, "text", {}, [None], ["x"], [[]],
        *([TAKEN | {name: value}] for name, value in [
            ("rule", ""), ("amount", "-1"), ("amount", "1e9"), ("amount", "NaN"), ("amount", 1),
            ("amount", "0"),
            ("limit", None), ("per", 0), ("per", True), ("per", LONGEST + 1), ("per", "60"),
        ]),
    ],
)  # fmt: skip
def test_an_entry_that_is_none_of_ours_is_passed_over(entry):
    assert not fold([({"id": "a", "decision": "allowed", "budgets": entry}, 0)]).standings(0)


def test_after_a_start_what_had_no_outcome_is_kept():
    taken = {"id": "a", "decision": "allowed", "budgets": entered([claim("4")])}
    budgets = fold([(taken, 0)])
    assert not budgets.give_back("a")
    assert budgets.used(ADA, HOUR, 0) == 4
    assert fold([(taken, 0), ({"id": "a", "budgets": RETURNED}, 1)]).used(ADA, HOUR, 1) == 0


def test_an_account_says_when_it_has_room_again():
    budgets = Budgets()
    for number, amount in enumerate(("4", "5", "3")):
        budgets.take(str(number), [taking(amount)], number * SECOND)
    (standing,) = budgets.standings(10 * SECOND)
    assert (standing.used, standing.limit, standing.room_at) == (12, 10, HOUR * SECOND)
    budgets.give_back("2")
    (standing,) = budgets.standings(10 * SECOND)
    assert (standing.used, standing.room_at) == (9, None)
    budgets.take("3", [taking("1")], 10 * SECOND)
    (standing,) = budgets.standings(10 * SECOND)
    assert (standing.used, standing.room_at) == (10, HOUR * SECOND)
    assert budgets.standings((HOUR + 20) * SECOND) == []
