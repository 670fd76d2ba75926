"""The machine of a hold: every state and event, and who may answer."""

from dataclasses import replace

import pytest

from proxy.action import Request, digest
from proxy.decode import decode
from proxy.errors import Exit, SluiceError
from proxy.hold import (
    OPEN,
    TRANSITIONS,
    Event,
    GoneError,
    Hold,
    Review,
    Reviewer,
    State,
    open_hold,
    unmet,
)
from proxy.people import present
from proxy.policy.verdict import Demand, Effect, Verdict

REQUEST = Request("uid:me", b"POST", "https", "api.example.com", 443, b"/v1/refunds", (), b"amount=1")
ADA = Reviewer("uid:1", "ada", ("finance",))
ADA_AGAIN = Reviewer("uid:1", "ada-on-call", ("finance", "security"))
BOB = Reviewer("uid:2", "bob", ("finance",))
EVE = Reviewer("uid:3", "eve", ())


def hold(*demands: Demand) -> Hold:
    verdict = Verdict(Effect.HOLD, "r", ("r",), "why", "0" * 64, demands=demands or (Demand("r"),))
    return Hold("a" * 26, decode(REQUEST), verdict, digest(REQUEST), opened=0.0, deadline=600.0)


def review(reviewer: Reviewer, approves: bool = True, seen: bytes = digest(REQUEST)) -> Review:
    return Review(reviewer, approves, "because", seen, 1.0)


@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("state", list(State))
def test_the_table_is_all_that_can_happen_and_nothing_leads_out_of_a_settled_hold(
    state: State, event: Event
) -> None:
    before = replace(hold(), state=state)
    if before.may(event):
        assert before.on(event, "cause").state is TRANSITIONS[state, event]
        assert not before.settled
    else:
        with pytest.raises(GoneError) as gone:
            before.on(event)
        assert gone.value.exit is Exit.NO


def test_what_lets_something_leave_is_reached_only_with_an_agent_there() -> None:
    opens = {State.APPROVED, State.PROCEEDED}
    assert {step for step, to in TRANSITIONS.items() if to in opens} == {
        (State.PENDING, Event.APPROVE),
        (State.PENDING, Event.PROCEED),
        (State.SPENDABLE, Event.SPEND),
    }


def test_every_open_hold_can_be_refused_and_cut_off_and_ends_by_itself() -> None:
    by_itself = {Event.EXPIRE, Event.PROCEED, Event.LAPSE}
    for state in OPEN:
        assert {Event.REFUSE, Event.CUT} <= {event for from_, event in TRANSITIONS if from_ is state}
        assert by_itself & {event for from_, event in TRANSITIONS if from_ is state}, state


@pytest.mark.parametrize("state", [state for state in State if state not in OPEN])
def test_an_answer_to_a_settled_hold_is_told_how_it_ended(state: State) -> None:
    ended = replace(hold(), state=state, cause="too late", by=("bob",))
    with pytest.raises(GoneError, match=f"{state} by bob: too late"):
        ended.reviewed(review(ADA))


@pytest.mark.parametrize("state", [State.UNATTENDED, State.SPENDABLE])
def test_a_hold_that_no_agent_waits_for_can_be_denied_and_not_approved(state: State) -> None:
    away = replace(hold(), state=state)
    with pytest.raises(GoneError, match="cannot be approved now"):
        away.reviewed(review(ADA))
    assert away.reviewed(review(ADA, approves=False)).state is State.DENIED


def test_a_deferred_hold_is_approved_to_be_spent() -> None:
    approved = replace(hold(), state=State.DEFERRED).reviewed(review(ADA))
    assert approved.state is State.SPENDABLE and not approved.settled
    assert approved.on(Event.SPEND).state is State.APPROVED


def test_a_denial_needs_as_many_people_as_its_rule_says() -> None:
    half = hold(Demand("r", denials=2)).reviewed(review(ADA, approves=False))
    assert half.state is State.PENDING
    with pytest.raises(SluiceError, match="already denied"):
        half.reviewed(review(ADA_AGAIN, approves=False))
    assert half.reviewed(review(BOB)).state is State.APPROVED
    denied = half.reviewed(review(BOB, approves=False))
    assert denied.state is State.DENIED and denied.by == ("ada", "bob")


def test_who_approved_may_still_deny_and_counts_once() -> None:
    half = hold(Demand("r", approvals=2)).reviewed(review(ADA))
    assert half.reviewed(review(ADA, approves=False)).state is State.DENIED


OWNER = Reviewer("uid:9", "olga", ("finance",), account="me")
OTHER = Reviewer("uid:8", "otto", ("finance",), account="otto")


def test_whoever_runs_the_agent_can_be_kept_from_approving_and_not_from_denying() -> None:
    asked = hold(Demand("r", excluded=("agent-owner",)))
    with pytest.raises(SluiceError, match="may not be approved by you"):
        asked.reviewed(review(OWNER))
    assert asked.reviewed(review(OWNER, approves=False)).state is State.DENIED
    assert asked.reviewed(review(OTHER)).state is State.APPROVED


def test_an_account_or_an_agent_that_nobody_can_name_may_be_the_owner() -> None:
    asked = hold(Demand("r", excluded=("agent-owner",)))
    with pytest.raises(SluiceError, match="may not be approved by you"):
        asked.reviewed(review(replace(OTHER, account="")))
    nobody = replace(asked, action=decode(replace(REQUEST, agent=None)))
    with pytest.raises(SluiceError, match="may not be approved by you"):
        nobody.reviewed(review(OTHER))


def test_a_group_can_be_excluded() -> None:
    asked = hold(Demand("r", ("finance",), excluded=("security",)))
    with pytest.raises(SluiceError, match="excludes security"):
        asked.reviewed(review(ADA_AGAIN))
    assert asked.reviewed(review(ADA)).state is State.APPROVED


def test_people_who_are_there_must_be_able_to_meet_every_demand() -> None:
    two = (Demand("r", ("finance",), 2),)
    assert present(two, (ADA, BOB), "uid:me")
    assert not present(two, (ADA, ADA_AGAIN), "uid:me")
    assert not present((), (), "uid:me") and present((), (EVE,), "uid:me")


def test_an_idempotency_key_is_the_same_for_every_attempt_and_part_of_what_is_reviewed() -> None:
    verdict = replace(hold().verdict, idempotency=("Idempotency-Key",))
    first, again = (open_hold("a" * 26, decode(REQUEST), verdict, time) for time in (0.0, 60.0))
    assert first.added == again.added and first.digest == again.digest
    assert first.asked == digest(REQUEST) != first.digest
    assert first.sends(REQUEST).headers == first.added
    assert open_hold("b" * 26, decode(REQUEST), verdict, 0.0).digest != first.digest
    own = replace(REQUEST, headers=((b"idempotency-key", b"mine"),))
    assert open_hold("a" * 26, decode(own), verdict, 0.0).added == ()


def test_one_approval_is_enough_where_nothing_else_is_demanded() -> None:
    settled = hold().reviewed(review(ADA))
    assert settled.state is State.APPROVED
    assert settled.by == ("ada",)


def test_one_denial_settles() -> None:
    assert hold(Demand("r", approvals=2)).reviewed(review(ADA, approves=False)).state is State.DENIED


def test_two_approvals_need_two_people_whatever_names_they_use() -> None:
    half = hold(Demand("r", ("finance",), 2)).reviewed(review(ADA))
    assert half.state is State.PENDING
    assert half.approvals_needed == 1
    with pytest.raises(SluiceError, match="already approved"):
        half.reviewed(review(ADA_AGAIN))
    assert half.reviewed(review(BOB)).state is State.APPROVED


def test_only_the_named_groups_may_answer() -> None:
    with pytest.raises(SluiceError, match="needs a reviewer of finance"):
        hold(Demand("r", ("finance",))).reviewed(review(EVE))
    with pytest.raises(SluiceError, match="needs a reviewer of finance"):
        hold(Demand("r", ("finance",))).reviewed(review(EVE, approves=False))


def test_every_rules_demand_must_be_met() -> None:
    both = hold(Demand("money", ("finance",)), Demand("safety", ("security",)))
    assert both.reviewed(review(BOB)).state is State.PENDING
    assert both.reviewed(review(BOB)).reviewed(review(ADA_AGAIN)).state is State.APPROVED
    assert both.reviewed(review(ADA_AGAIN)).state is State.APPROVED


def test_an_answer_counts_only_for_the_digest_that_was_seen() -> None:
    with pytest.raises(SluiceError, match="not for the request that you saw"):
        hold().reviewed(review(ADA, seen=b"\0" * 32))


def test_no_demand_at_all_still_needs_one_approval() -> None:
    assert unmet((), ()) == [(Demand("default"), 1)]


def test_the_digest_covers_what_leaves_and_not_what_passes() -> None:
    changes: list[dict[str, object]] = [
        {"agent": "uid:you"},
        {"method": b"PUT"},
        {"scheme": "http"},
        {"host": "api.example.org"},
        {"port": 444},
        {"target": b"/v1/refunds?x"},
        {"headers": ((b"x-a", b"1"),)},
        {"body": b"amount=2"},
    ]
    seen = {digest(REQUEST)}
    for change in changes:
        seen.add(digest(replace(REQUEST, **change)))  # type: ignore[arg-type]
    assert len(seen) == len(changes) + 1
    for name in (b"User-Agent", b"date", b"Idempotency-Key", b"X-Stainless-Retry-Count", b"Proxy-Connection"):
        assert digest(replace(REQUEST, headers=((name, b"1"),))) == digest(REQUEST)


def test_the_digest_leaves_out_an_aws_signature_and_not_its_scope() -> None:
    def signed(scope: bytes, signature: bytes) -> bytes:
        value = b"AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=host, Signature=%s" % (scope, signature)
        return digest(replace(REQUEST, headers=((b"Authorization", value),)))

    assert signed(b"K/1/us/s3", b"aa") == signed(b"K/1/us/s3", b"bb")
    assert signed(b"K/1/us/s3", b"aa") != signed(b"L/1/us/s3", b"aa")


def test_parts_of_a_request_cannot_be_shifted_into_each_other() -> None:
    one = replace(REQUEST, headers=((b"a", b"bc"),))
    two = replace(REQUEST, headers=((b"ab", b"c"),))
    three = replace(REQUEST, headers=(), body=b"abc" + (REQUEST.body or b""))
    assert len({digest(one), digest(two), digest(three)}) == 3
