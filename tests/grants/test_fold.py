"""The grants that stand are what the entries say, and no more."""

from dataclasses import replace
from itertools import count

import pytest
from asking import KEY, RULES, covered, form, granted, order, policy, spent, standing
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.chain import canonical, check, stamp
from proxy.errors import SluiceError
from proxy.grant import DAY, Grants, Limits, mark_of
from proxy.grant.fold import MAX_OPEN, MAX_USES

REFUND = form({"amount": "50", "charge": "ch_1"})
LESS = form({"amount": "40", "charge": "ch_1"})
THEN = 1_900_000_000.0


def entry(kind, time=THEN, **fields):
    return {"kind": kind, "time": stamp(int(time * 1_000_000)), **fields}


def opened(time=THEN, **changes):
    return entry("granted", time, **granted(REFUND, **{"until": time + 600, **changes}).fields())


def folded(*entries):
    grants = Grants()
    for fields in entries:
        grants.take(fields)
    return grants


def test_a_grant_is_used_as_often_as_it_says_and_then_never_again():
    grants = standing(granted(REFUND, uses=3))
    assert [spent(grants, LESS) is not None for _ in range(5)] == [True, True, True, False, False]
    assert grants.standing(THEN) == ()


def test_two_hundred_uses_at_once_are_never_more_than_the_grants_allow():
    grants = standing(granted(REFUND, uses=5), granted(REFUND, id="g2", uses=7))
    assert sum(spent(grants, LESS) is not None for _ in range(200)) == 12


def test_the_grant_that_ends_first_is_used_first():
    grants = standing(granted(REFUND, id="late"), granted(REFUND, id="soon", until=THEN + 1))
    found = spent(grants, LESS)
    assert found is not None and found.id == "soon"


def test_a_grant_ends_at_its_time_and_a_clock_that_is_set_back_does_not_bring_it_back():
    grants = standing(granted(REFUND, until=THEN + 600))
    assert covered(grants, LESS, THEN + 599.9)
    assert not covered(grants, LESS, THEN + 600)
    assert not covered(grants, LESS, THEN)


@pytest.mark.parametrize("kind", ["rotated_key", "revoked_key", "regrouped"])
def test_a_grant_ends_when_whoever_gave_it_has_another_key_or_other_groups(kind):
    by = granted(REFUND).by
    assert folded(opened(), entry(kind, reviewer=by)).standing(THEN) == ()
    assert len(folded(opened(), entry(kind, reviewer="somebody-else")).standing(THEN)) == 1


def test_the_time_of_entries_counts_as_the_clock_does():
    grants = folded(opened(), entry("started", THEN + 601))
    assert not covered(grants, LESS, THEN)


def test_a_fold_over_the_entries_gives_the_grants_that_stood():
    before = standing(granted(REFUND, until=THEN + 600))
    spent(before, LESS, THEN)
    after = folded(opened(), entry("decided", grant="g1", decision="approved"), entry("decided", hold="x"))
    assert after.standing(THEN) == before.standing(THEN)
    assert after.standing(THEN)[0].left == 4


def test_a_revoked_grant_lets_nothing_go():
    grants = folded(opened(), entry("revoked", grant="g1"))
    assert not covered(grants, LESS) and grants.standing(THEN) == ()


def test_what_is_used_up_is_not_opened_again_by_an_entry_that_comes_twice():
    uses = [entry("decided", grant="g1")] * 4
    grants = folded(opened(), *uses, opened(), entry("decided", grant="g1"))
    assert grants.standing(THEN) == ()


def test_no_entry_makes_a_grant_stand_for_more_than_a_day():
    grants = folded(opened(until=THEN + 100 * DAY))
    assert covered(grants, LESS, THEN + DAY - 1) and not covered(grants, LESS, THEN + DAY)


@pytest.mark.parametrize(
    "harm",
    [
        {"grants": "version: 1\nrules: []"},
        {"grants": "no policy"},
        {"grants": ""},
        {"grants": 5},
        {"uses": 0},
        {"uses": MAX_USES + 1},
        {"uses": "5"},
        {"uses": True},
        {"until": "tomorrow"},
        {"until": None},
        {"rules": None},
        {"contents": []},
        {"grant": ""},
        {"agent": None},
        {"agent": "uid:other"},
        {"rules": ["other-rule"]},
        {"same": "0" * 32},
    ],
)
def test_an_entry_that_is_not_understood_covers_nothing(harm):
    assert covered(folded(opened()), LESS)
    assert not covered(folded({**opened(), **harm}), LESS)


def test_an_entry_can_be_written_and_says_everything():
    fields = granted(order({"to": "é" * 1_000})).fields()
    check("granted", fields)
    assert canonical(fields)


def test_a_grant_for_one_request_alone_knows_it_by_a_keyed_hash():
    one, other = order({"to": ["a@b.org", "c@d.org"]}), order({"to": ["a@b.org", "c@d.org", "x@y.org"]})
    grants = standing(granted(one))
    assert covered(grants, one) and not covered(grants, other)
    assert mark_of(b"d" * 32, KEY) != mark_of(b"d" * 32, b"x" * 32)


def test_a_grant_lapses_where_one_of_its_rules_says_something_else():
    grants = standing(granted(REFUND))
    assert grants.changed(policy()) == []
    assert grants.changed(policy(RULES.replace("This account", "That account"))) == []
    for other in (RULES.replace("above: 10", "above: 9"), RULES.replace("refunds-wait", "refunds-hold")):
        assert [grant.id for grant in grants.changed(policy(other))] == ["g1"]


def test_a_grant_of_what_only_the_default_holds_lapses_with_the_default():
    rules = "version: 1\ndefault: {read: allow, write: hold}"
    grants = standing(granted(form({"a": "b"}, "/v1/else"), policy(rules)))
    assert grants.changed(policy(rules)) == []
    assert len(grants.changed(policy(rules.replace("read: allow", "read: watch")))) == 1


def test_there_is_a_limit_to_the_grants_that_stand():
    grants = Grants()
    one, lasting = granted(REFUND, until=THEN + 1), granted(REFUND)
    for number in range(MAX_OPEN):
        grants.open(replace(one if number else lasting, id=f"g{number}"))
    with pytest.raises(SluiceError, match="grants stand already"):
        grants.open(replace(one, id="more"))
    assert len(grants.standing(THEN + 2)) == 1
    grants.open(replace(one, id="more"))


@pytest.mark.parametrize(("seconds", "uses"), [(0, 5), (DAY + 1, 5), (-1, 5), (600, 0), (600, 1_001)])
def test_limits_beyond_a_day_or_a_thousand_uses_are_refused(seconds, uses):
    with pytest.raises(SluiceError, match="a grant"):
        Limits(seconds, uses)


def test_a_grant_is_found_by_a_unique_prefix_of_its_own_id_or_its_holds():
    one = replace(granted(REFUND, id="abc"), hold="f00d1")
    grants = standing(one, replace(granted(REFUND, id="abd"), hold="beef2"))
    assert grants.find("abc", THEN).id == grants.find("f00", THEN).id == "abc"
    assert grants.find("beef2", THEN).id == "abd"
    for wrong in ("ab", "x", ""):
        with pytest.raises(SluiceError):
            grants.find(wrong, THEN)


# -- the model: at no time more uses than granted, none after the end, none after a revocation ------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("grant"), st.integers(1, 3), st.integers(1, 20)),
        st.tuples(st.just("use"), st.integers(0, 10), st.integers(-5, 10)),
        st.tuples(st.just("revoke"), st.integers(0, 10), st.integers(0, 0)),
    ),
    max_size=25,
)


@settings(deadline=None)
@given(STEPS)
def test_whatever_happens_uses_stay_within_what_was_granted(steps):
    grants, log, ids, now, latest = Grants(), [], count(), THEN, THEN
    given_uses, used, until, gone = {}, {}, {}, set()
    for what, number, more in steps:
        if what == "grant":
            id = f"g{next(ids)}"
            grant = granted(REFUND, id=id, uses=number, until=latest + more)
            grants.open(grant)
            log.append(entry("granted", latest, **grant.fields()))
            given_uses[id], used[id], until[id] = number, 0, latest + more
        elif what == "use":
            now += more
            latest = max(latest, now)
            found = spent(grants, LESS, now)
            open_now = [id for id in given_uses if id not in gone and until[id] > latest]
            able = [id for id in open_now if used[id] < given_uses[id]]
            assert (found is not None) is bool(able)
            if found is not None:
                assert found.id in able
                used[found.id] += 1
                log.append(entry("decided", latest, grant=found.id))
        elif number < len(given_uses):
            grants.revoke(f"g{number}")
            gone.add(f"g{number}")
            log.append(entry("revoked", latest, grant=f"g{number}"))
    assert folded(*log).standing(latest) == grants.standing(latest)
