"""The machine of a hold: every state and event, and who may answer."""

from dataclasses import replace

import pytest

from proxy.action import Request, digest
from proxy.decode import decode
from proxy.errors import Exit, SluiceError
from proxy.hold import TRANSITIONS, Event, GoneError, Hold, Review, Reviewer, State, unmet
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
def test_a_settled_hold_never_changes_and_a_pending_one_ends_in_one_step(state: State, event: Event) -> None:
    before = replace(hold(), state=state)
    if state is State.PENDING:
        assert before.on(event, "cause").state is TRANSITIONS[state, event]
        assert before.on(event).settled
    else:
        with pytest.raises(GoneError) as gone:
            before.on(event)
        assert gone.value.exit is Exit.NO


@pytest.mark.parametrize("state", [state for state in State if state is not State.PENDING])
def test_an_answer_to_a_settled_hold_is_told_how_it_ended(state: State) -> None:
    ended = replace(hold(), state=state, cause="too late", by=("bob",))
    with pytest.raises(GoneError, match=f"{state} by bob: too late"):
        ended.reviewed(review(ADA))


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
