"""What a ledger tells of how people decided."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.records import iso
from proxy.report import OTHERS, Report, Sample, Tally, Threshold, Wanted, amount_of
from proxy.report import tally as tallies

type Fields = dict[str, object]


@dataclass
class Told:
    """The entries of a ledger, told by what happened; times are seconds after the beginning."""

    entries: list[Fields] = field(default_factory=list)

    def held(self, id: str, at: float, *, rules: tuple[str, ...] = ("refunds",), **more: object) -> Told:
        fields = {"agent": "uid:ann", "method": "POST", "url": "https://api.example.com/v1/refunds", **more}
        return self._add("held", at, hold=id, rule=rules[0], rules=list(rules), **fields)

    def reviewed(self, id: str, at: float, answer: str = "approve", reviewer: str = "bob") -> Told:
        return self._add("reviewed", at, hold=id, reviewer=reviewer, person=reviewer, answer=answer)

    def decided(self, id: str, at: float, decision: str = "approved", by: str = "reviewer") -> Told:
        return self._add("decided", at, hold=id, id=id, decision=decision, by=by)

    def answered(self, id: str, at: float, after: float = 5, answer: str = "approve", **more: object) -> Told:
        """A hold that one person answered."""
        said = "approved" if answer == "approve" else "denied"
        self.held(id, at, **more).reviewed(id, at + after, answer)  # type: ignore[arg-type]
        return self.decided(id, at + after, said)

    def _add(self, kind: str, at: float, **fields: object) -> Told:
        self.entries.append({"kind": kind, "time": iso(1_700_000_000 + at), **fields})
        return self

    def report(self, **wanted: str) -> Report:
        report = Report(Wanted(**wanted))
        for entry in self.entries:
            report.take(entry)
        return report


def counts(tally: Tally) -> tuple[int, int, int, int, int, int]:
    return (tally.holds, tally.approved, tally.denied, tally.expired, tally.abandoned, tally.other)


def test_each_hold_counts_once_for_its_rules_its_agent_and_who_answered() -> None:
    told = Told().answered("a", 0, rules=("refunds", "large")).answered("b", 100, answer="deny")
    told.held("c", 200, agent="uid:ci").decided("c", 800, "expired", "deadline")
    told.held("d", 900).decided("d", 901, "abandoned", "agent")
    told.held("e", 950).decided("e", 951, "refused").held("f", 960).decided("f", 970, "cut_off", "fault")
    report = told.report()
    assert counts(report.total) == (6, 1, 1, 1, 1, 2)
    assert counts(report.rules["refunds"]) == (6, 1, 1, 1, 1, 2)
    assert counts(report.rules["large"]) == (1, 1, 0, 0, 0, 0)
    assert counts(report.agents["uid:ci"]) == (1, 0, 0, 1, 0, 0)
    assert counts(report.reviewers["bob"]) == (2, 1, 1, 0, 0, 0)


def test_the_time_to_decide_runs_from_the_opening_to_the_last_review() -> None:
    told = Told().held("a", 0).reviewed("a", 10, reviewer="ada").reviewed("a", 70).decided("a", 71)
    told.held("b", 100).decided("b", 700, "expired", "deadline")
    report = told.report()
    assert report.total.seconds.median == 70
    assert report.reviewers["ada"].seconds.median == 10
    assert report.reviewers["bob"].seconds.median == 70


def test_an_answer_in_less_than_two_seconds_is_told_apart() -> None:
    told = Told().answered("a", 0, after=1.999).answered("b", 10, after=2.0).answered("c", 20, 0.5, "deny")
    assert (told.report().total.quick, told.report().reviewers["bob"].quick) == (2, 2)


def test_a_clock_that_was_put_back_makes_nobody_quick() -> None:
    tally = Told().answered("a", 0, after=-3_600).report().total
    assert (tally.approved, tally.quick, tally.seconds.count) == (1, 0, 0)


def test_a_partial_approval_of_an_expired_hold_is_no_decision() -> None:
    told = Told().held("a", 0).reviewed("a", 5).decided("a", 600, "expired", "deadline")
    report = told.report()
    assert (report.total.seconds.median, report.reviewers["bob"].approved) == (None, 1)


def test_who_changes_their_mind_has_answered_once() -> None:
    told = Told().held("a", 0).reviewed("a", 5).reviewed("a", 9, "deny").decided("a", 9, "denied")
    assert counts(told.report().reviewers["bob"]) == (1, 0, 1, 0, 0, 0)
    assert told.report().total.seconds.median == 9


def test_an_approval_that_nobody_came_back_for_is_an_approval() -> None:
    told = Told().held("a", 0).reviewed("a", 5).decided("a", 605, "unspent", "deadline")
    assert counts(told.report().total) == (1, 1, 0, 0, 0, 0)


def test_a_hold_that_comes_and_goes_is_one_hold() -> None:
    told = Told().held("a", 0)
    for kind in ("unattended", "rejoined", "deferred", "extended", "edited", "granted"):
        told.entries.append({"kind": kind, "hold": "a", "time": iso(1_700_000_001)})
    told.decided("a", 3, "pending").reviewed("a", 50).decided("a", 51)
    assert counts(told.report().total) == (1, 1, 0, 0, 0, 0)
    assert told.report().total.seconds.median == 50


def test_a_remembered_denial_and_what_began_before_are_no_holds() -> None:
    told = (
        Told().answered("a", 0, answer="deny").decided("a", 30, "denied").decided("z", 40).reviewed("z", 41)
    )
    assert counts(told.report().total) == (1, 0, 1, 0, 0, 0)


def test_what_a_grant_let_through_nobody_was_asked() -> None:
    report = Told().held("a", 0).decided("a", 0, "approved", "grant").report()
    assert (report.total.other, report.rules["refunds"].only_approved) == (1, False)


def test_a_hold_without_an_end_waits() -> None:
    report = Told().held("a", 0).answered("b", 1).report()
    assert (report.waiting, report.total.holds) == (1, 1)


def test_only_what_was_asked_for_counts() -> None:
    told = Told().answered("a", 0, rules=("refunds", "large")).answered("b", 86_400 * 2, agent="uid:ci")
    told.held("c", 5).reviewed("c", 9, reviewer="ada").decided("c", 9)
    assert told.report(agent="uid:ci").total.holds == 1
    assert set(told.report(rule="large").rules) == {"large"}
    assert set(told.report(reviewer="ada").reviewers) == {"ada"}
    assert told.report(reviewer="ada").total.holds == 1
    assert told.report(since="2023-11-15").total.holds == 1
    assert told.report(until="2023-11-15").total.holds == 2
    begins = iso(1_700_000_000)
    assert told.report(since=begins).total.holds == 3
    assert told.report(until=begins).total.holds == 0


def test_a_hold_that_opened_in_time_keeps_its_end() -> None:
    told = Told().answered("a", 0, after=86_400 * 2)
    assert told.report(until="2023-11-15").total.approved == 1


def test_a_grant_spares_the_like_for_ten_minutes() -> None:
    told = Told().answered("a", 0, after=10)  # granted from 10 to 610
    told.answered("b", 100).answered("c", 610).answered("d", 611, after=1).answered("e", 1_211)
    assert told.report().total.spared == 3  # b, c, and e under the one of d


def test_what_a_grant_spares_begins_no_other() -> None:
    assert Told().answered("a", 0).answered("b", 500).answered("c", 700).report().total.spared == 1


@pytest.mark.parametrize(
    "other",
    [
        {"agent": "uid:ci"},
        {"method": "PUT"},
        {"url": "https://api.example.org/v1/refunds"},
        {"url": "http://api.example.com/v1/refunds"},
        {"url": "https://api.example.com/v1/refunds/re_1"},
    ],
)
def test_a_grant_spares_nothing_else(other: Fields) -> None:
    assert Told().answered("a", 0).answered("b", 60, **other).report().total.spared == 0


def test_a_query_is_no_part_of_what_a_grant_covers() -> None:
    told = Told().answered("a", 0).answered("b", 60, url="https://api.example.com/v1/refunds?b=1")
    assert told.report().total.spared == 1


def test_what_a_grant_would_have_let_through_amiss_is_said() -> None:
    tally = Told().answered("a", 0).answered("b", 60, answer="deny").report().rules["refunds"]
    assert (tally.spared, tally.amiss) == (1, 1)


def test_a_denial_begins_no_grant() -> None:
    assert Told().answered("a", 0, answer="deny").answered("b", 60).report().total.spared == 0


def of_amounts(*amounts: tuple[str, str], unit: str = "usd", rules: tuple[str, ...] = ("refunds",)) -> Told:
    told = Told()
    for number, (amount, answer) in enumerate(amounts):
        show = [["form.amount", [amount]], ["form.currency", [unit]], ["form.charge", ["ch_1"]]]
        told.answered(f"{unit}{number}", number * 1_000, answer=answer, show=show, rules=rules)
    return told


def test_the_lowest_limit_that_holds_all_that_was_denied_spares_what_lies_below() -> None:
    told = of_amounts(
        ("10", "approve"),
        ("900", "deny"),
        ("20.5", "approve"),
        ("500", "approve"),
        ("500", "deny"),
        ("500", "approve"),
    )
    [((name, unit), limit)] = told.report().limits("refunds")
    assert (name, unit, limit.least_denied, limit.spared) == ("form.amount", "USD", Decimal(500), 2)


def test_currencies_do_not_mix() -> None:
    told = of_amounts(("10", "approve"), ("5", "deny"))
    told.entries += of_amounts(("7", "approve"), ("9", "deny"), unit="jpy").entries
    assert [(unit, limit.spared) for (_, unit), limit in told.report().limits("refunds")] == [("JPY", 1)]


def test_a_limit_in_one_rule_spares_nothing_that_another_holds() -> None:
    told = of_amounts(("10", "approve"), ("50", "deny"), rules=("refunds", "large"))
    assert list(told.report().limits("refunds")) == []


def test_where_nothing_was_denied_no_limit_is_told() -> None:
    assert list(of_amounts(("10", "approve"), ("20", "approve")).report().limits("refunds")) == []


@pytest.mark.parametrize(
    ("show", "amount"),
    [
        ([["json.amount.value", ["12.50"]]], (("json.amount.value", ""), Decimal("12.50"))),
        ([["a", ["1"]], ["form.amount", ["5"]]], (("form.amount", ""), Decimal(5))),
        ([["form.amount", ["5", "6"]]], None),
        ([["form.amount", ["1e9"]]], None),
        ([["form.amount", ["‹unknown›"]]], None),
        ([["form.amount", ["9" * 19]]], None),
        ([["form.amount", [5]]], None),
        ([["form.amount"]], None),
        ({"form.amount": ["5"]}, None),
        (None, None),
    ],
)
def test_an_amount_is_one_decimal_under_a_name_that_says_so(show: object, amount: object) -> None:
    assert amount_of(show) == amount


def test_names_beyond_the_limit_are_counted_together() -> None:
    told = Told()
    for number in range(1_003):
        told.answered(str(number), number, rules=(f"r{number}",))
    report = told.report()
    assert (len(report.rules), report.rules[OTHERS].holds) == (1_001, 3)


def test_what_is_open_at_once_has_a_limit_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.report.MAX_OPEN", 2)
    report = Told().held("a", 0).held("b", 1).held("c", 2).decided("c", 3).decided("a", 4).report()
    assert (report.dropped, report.waiting, report.total.holds) == (1, 1, 1)


@given(st.lists(st.floats(0, 1e6), max_size=60))
def test_a_median_is_exact_while_all_numbers_are_kept(numbers: list[float]) -> None:
    sample = Sample(kept=60)
    for number in numbers:
        sample.add(number)
    assert sample.exact
    assert sample.median == (statistics.median(numbers) if numbers else None)


@given(st.integers(9, 2_000))
def test_beyond_that_every_second_or_fourth_is_kept_and_said(count: int) -> None:
    sample = Sample(kept=8)
    for number in range(count):
        sample.add(number)
    assert (sample.exact, sample.count) == (False, count)
    assert sample.median == pytest.approx(count / 2, abs=count / 4 + 1)


def test_amounts_beyond_what_is_kept_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "KEPT", 3)
    threshold = Threshold()
    for number in range(5):
        threshold.add(Decimal(number), "approved", alone=True)
    threshold.add(Decimal(9), "denied", alone=True)
    assert (threshold.spared, threshold.exact) == (3, False)


def strange() -> st.SearchStrategy[Fields]:
    texts = st.sampled_from(
        ["a", "b", "", "held", "2023-11-15T00:00:00.000000Z", "approve", "approved", "nan"]
    )
    shows = st.lists(st.lists(st.one_of(texts, st.lists(texts)), max_size=3), max_size=3)
    values = st.one_of(texts, st.none(), st.integers(), st.lists(texts, max_size=3), shows)
    names = ["hold", "time", "rule", "rules", "agent", "method", "url", "show", "reviewer", "answer", "by"]
    kinds = st.sampled_from(["held", "reviewed", "decided", "other"])
    return st.fixed_dictionaries({"kind": kinds}, optional=dict.fromkeys([*names, "decision"], values))


@given(st.lists(strange(), max_size=40))
def test_whatever_entries_say_every_hold_has_one_end(entries: list[Fields]) -> None:
    report = Report()
    for entry in entries:
        report.take(entry)
    everything: Iterator[Tally] = iter([report.total, *report.agents.values()])
    for tally in everything:
        assert tally.holds == sum(counts(tally)[1:])
        assert tally.quick <= tally.seconds.count <= tally.approved + tally.denied
    assert sum(tally.holds for tally in report.agents.values()) == report.total.holds
    assert next(report.as_dicts())["of"] == "all"
