"""Messages become lines and come back the same; whatever else a line holds is an error."""

import contextlib
import json
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_desk import hold_view

from proxy.errors import Exit, Problem, SluiceError
from proxy.wire import (
    Call,
    Change,
    Failure,
    GrantView,
    HoldView,
    Listing,
    Offer,
    ReviewView,
    Snapshot,
    Standing,
    Status,
    Verb,
    decode,
    encode,
    hold_json,
    rfc3339,
    snapshot_lines,
    whole_json,
)

# Microseconds are what the wire keeps.
times = st.integers(-62135596800 * 10**6, 253402300799 * 10**6).map(lambda micro: micro / 1e6)
near = st.integers(0, 2**32 * 10**6).map(lambda micro: micro / 1e6)
texts = st.text(max_size=20)
several = st.lists(texts, max_size=3).map(tuple)
counts = st.integers(0, 2**53)
reviews = st.builds(ReviewView, texts, st.booleans(), near, texts)
holds = st.builds(
    HoldView,
    id=texts, rule=texts, rules=several, why=texts, agent=texts, method=texts, url=texts, operation=texts,
    says=texts, show=st.dictionaries(texts, several, max_size=3), digest=texts, opened=near, deadline=near,
    approvals_needed=counts, reviews=st.lists(reviews, max_size=2).map(tuple), attempts=counts,
    agent_waiting=st.booleans(), state=texts, cause=texts, by=several, tier=texts,
    reversible=st.none() | st.booleans(), unknown=several, reviewers=several,
    headers=st.lists(st.tuples(texts, texts), max_size=3).map(tuple), body=texts, body_note=texts,
)  # fmt: skip
statuses = st.builds(Status, texts, texts, paused=several, locked=texts, allowed=counts)
problems = st.builds(Problem, texts, texts, texts, texts)
messages = st.one_of(
    holds,
    statuses,
    st.builds(Listing, statuses, counts),
    st.builds(Change, st.sampled_from(["opened", "reviewed", "settled", "status"]), st.none() | holds),
    st.builds(Failure, st.integers(1, 3), st.lists(problems, max_size=2).map(tuple)),
    st.builds(Call, st.just(Verb.REVIEW), st.none() | texts, texts, st.booleans(), texts, st.none() | texts),
    st.builds(
        Call,
        st.just(Verb.GRANT),
        prefix=texts,
        digest=st.none() | texts,
        seconds=st.integers(),
        uses=st.integers(),
        fields=st.lists(texts).map(tuple),
        rule=st.none() | texts,
    ),
    st.builds(Offer, texts, texts, texts, texts),
    st.builds(
        Standing,
        st.lists(
            st.builds(
                GrantView, *[texts] * 6, st.integers(), st.integers(), until=st.integers(0, 4_000_000_000)
            ),
            max_size=3,
        ).map(tuple),
    ),
)


@settings(max_examples=150, deadline=None)
@given(messages)
def test_a_message_comes_back_the_same(message):
    line = encode(message)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert decode(line) == message


@given(messages)
@settings(max_examples=50, deadline=None)
def test_a_line_is_printable_ascii_whatever_the_agent_wrote(message):
    assert encode(message)[:-1].decode("ascii").isprintable()


@pytest.mark.parametrize("verb", Verb)
def test_every_verb_has_a_line(verb):
    assert decode(encode(Call(verb))) == Call(verb)


@settings(max_examples=200)
@given(times)
def test_times_are_rfc_3339_in_utc(time):
    text = rfc3339(time)
    assert len(text) == 27 and text[10] == "T" and text.endswith("Z")


def test_a_known_moment_is_written_as_rfc_3339():
    assert rfc3339(0.25) == "1970-01-01T00:00:00.250000Z"
    assert rfc3339(1_795_335_909) == "2026-11-22T08:25:09.000000Z"


@pytest.mark.parametrize("time", [float("inf"), float("nan"), 1e30, -1e30])
def test_what_is_no_moment_is_an_error(time):
    with pytest.raises(SluiceError):
        rfc3339(time)


def broken(**changes):
    return json.dumps({**json.loads(encode(hold_view())), **changes}).encode()


def review_line(**changes):
    return json.dumps({**json.loads(encode(Call(Verb.REVIEW, prefix="a"))), **changes}).encode()


BAD = {
    "empty": b"",
    "no JSON": b"{",
    "not an object": b"[1]",
    "a number": b"17",
    "not UTF-8": b'{"message": "\xff"}',
    "no message": b"{}",
    "unknown message": b'{"message": "shell"}',
    "message of another type": b'{"message": ["call"]}',
    "unknown verb": b'{"message": "call", "verb": "rm", "name": null}',
    "verb missing": b'{"message": "call", "name": null}',
    "a field of another verb": b'{"message": "call", "verb": "status", "name": null, "prefix": "a"}',
    "field missing": b'{"message": "call", "verb": "show", "name": null}',
    "a name twice": b'{"message": "call", "verb": "status", "verb": "unlock", "name": null}',
    "text for a bool": review_line(approves="yes"),
    "a number for a bool": review_line(approves=1),
    "a bool for a number": broken(attempts=True),
    "a float for a number": broken(attempts=1.5),
    "NaN": broken(attempts=float("nan")),
    "an unknown field": broken(more="x"),
    "a time without zone": broken(opened="2026-11-22T08:25:09"),
    "a time that is none": broken(opened="2026-13-22T08:25:09Z"),
    "a time as a number": broken(opened=1),
    "a list for a mapping": broken(show=[]),
    "a pair of three": broken(headers=[["a", "b", "c"]]),
    "an unknown change": b'{"message": "change", "kind": "exploded", "hold": null, "status": null}',
    "deep": b'{"message":' + b"[" * 100_000,
    "a long number": broken(attempts=1).replace(b'"attempts": 1', b'"attempts": ' + b"9" * 5000),
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD.keys())
def test_a_line_that_is_not_exactly_ours_is_an_error(line):
    with pytest.raises(SluiceError) as caught:
        decode(line)
    assert caught.value.exit is Exit.WRONG


@settings(max_examples=300)
@given(
    st.binary(max_size=60)
    | st.from_regex(rb'\{"message": "[a-z]*"(, "[a-z]*": (null|1|"a"|\[\]))*\}', fullmatch=True)
)
def test_no_line_breaks_the_reader(line):
    with contextlib.suppress(SluiceError):
        decode(line)


def test_holds_json_has_exactly_the_names_of_the_contract():
    assert set(hold_json(hold_view())) == {
        "id", "rule", "rules", "why", "agent", "method", "url", "operation", "show", "digest", "opened",
        "deadline", "approvals_needed", "reviews", "attempts", "agent_waiting",
    }  # fmt: skip


def test_show_json_has_everything():
    assert set(whole_json(hold_view())) == {spec.name for spec in fields(HoldView)}


def test_a_snapshot_is_one_line_a_hold():
    snapshot = Snapshot(Status("p", "q"), (hold_view(1), hold_view(2)))
    head, *rest = map(decode, snapshot_lines(snapshot))
    assert head == Listing(snapshot.status, 2)
    assert tuple(rest) == snapshot.holds


def test_a_failure_carries_the_error_across():
    error = Failure(1, (Problem("gone", "too late", "look again"),)).error()
    assert (error.exit, error.problems[0].fix) == (Exit.NO, "look again")
