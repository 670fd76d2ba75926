"""The hash chain: one way to write an entry, and every other way is found."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from proxy import chain

NONCE = "0" * 32
AT = chain.stamp(1_785_000_000_000_000)


def chained(*kinds: str, start: int = 1_785_000_000_000_000) -> list[chain.Entry]:
    head, entries = chain.NOTHING, []
    for number, kind in enumerate(kinds):
        entry = chain.extend(head, kind, {"n": number}, time=chain.stamp(start + number), nonce=NONCE)
        entries.append(entry)
        head = chain.Head(entry.seq, entry.hash)
    return entries


def codes(bodies: list[object], **options: int) -> list[tuple[int | None, str]]:
    findings = chain.Findings()
    links = chain.Links(findings, **options)
    for body in bodies:
        links.entry(body)
    return [(found.seq, found.code) for found in findings.kept]


keys = st.text("abcxyz019_.", min_size=1, max_size=8)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-chain.EXACT, chain.EXACT),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(keys, values, max_size=6))
def test_within_the_profile_canonical_is_rfc_8785(value: dict[str, object]) -> None:
    assert chain.canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]
    assert chain.parse(chain.canonical(value)) == value


class Kind(StrEnum):
    WORD = "word"


deep: object = "x"
for _ in range(17):
    deep = [deep]


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        -0.0,
        float("nan"),
        2**53,
        -(2**53),
        ("a",),
        {1: 2},
        {"": 1},
        {"Key": 1},
        {"k-y": 1},
        {"ké": 1},
        {"a": 1, 2: 3},
        Kind.WORD,
        [Kind.WORD],
        "\ud800",
        {"a": "\udfff"},
        b"bytes",
        {"a": {1, 2}},
        deep,
    ],
    ids=repr,
)
def test_what_is_outside_the_profile_is_refused_by_name(value: object) -> None:
    with pytest.raises(chain.UnfitError) as caught:
        chain.canonical(value)
    assert caught.value.code == "profile"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"a":1,"a":1}', "not_canonical"),
        (b'{"a":1,"a":2}', "not_canonical"),
        (b'{"b":1,"a":2}', "not_canonical"),
        (b'{"a": 1}', "not_canonical"),
        (b'{"a":1}\n', "not_canonical"),
        (b'\xef\xbb\xbf{"a":1}', "not_json"),
        (b'{"\\u0061":1}', "not_canonical"),
        (b'{"a":"\\u00e9"}', "not_canonical"),
        (b'{"a":"\\/"}', "not_canonical"),
        (b'{"a":-0}', "not_canonical"),
        (b'{"a":1.0}', "profile"),
        (b'{"a":1e0}', "profile"),
        (b'{"a":1E400}', "profile"),
        (b'{"a":NaN}', "profile"),
        (b'{"a":9007199254740993}', "profile"),
        (b'{"a":' + b"9" * 5000 + b"}", "not_json"),
        (b'{"a":"\\ud800"}', "profile"),
        (b'{"a":"\xff"}', "not_utf8"),
        (b'{"a":"\xed\xa0\x80"}', "not_utf8"),
        (b"[" * 60_000, "not_json"),
        (b"[]", "not_json"),
        (b"", "not_json"),
        (b'{"a":"' + b"x" * 65_535 + b'"}', "too_long"),
    ],
    ids=lambda part: repr(part)[:30],
)
def test_bytes_that_are_not_the_canonical_ones_are_refused(line: bytes, code: str) -> None:
    with pytest.raises(chain.UnfitError) as caught:
        chain.parse(line)
    assert caught.value.code == code


def test_an_entry_is_hashed_as_a_leaf_and_the_next_one_names_it() -> None:
    first, second = chained("genesis", "started")
    assert first.hash == hashlib.sha256(b"\0" + first.body).digest()
    assert first.fields["prev"] == "0" * 64
    assert second.fields["prev"] == first.hash.hex()
    assert [first.fields["seq"], second.fields["seq"]] == [0, 1]
    assert json.loads(second.body)["kind"] == "started"


def test_fields_that_the_ledger_writes_itself_are_refused() -> None:
    for name in ("seq", "time", "kind", "prev", "nonce", "request", "payload"):
        with pytest.raises(chain.UnfitError, match=name):
            chain.check("decided", {name: "x"})


@pytest.mark.parametrize("kind", ["", "Decided", "a b", "a" * 41, 'x"', "1"])
def test_a_kind_is_one_plain_word(kind: str) -> None:
    with pytest.raises(chain.UnfitError):
        chain.check(kind, {})


@given(st.text(st.characters(), min_size=1, max_size=40), st.integers(1, 20_000))
def test_what_passes_the_check_always_fits_into_an_entry(text: str, times: int) -> None:
    fields = {"text": chain.cut(text * times, 60_000)}
    try:
        chain.check("decided", fields)
    except chain.UnfitError as error:
        assert error.code == "too_long"
        return
    entry = chain.extend(chain.Head(chain.EXACT - 1, bytes(32)), "a" * 40, fields, time=AT, nonce=NONCE,
                         request="0" * 64, payload="0" * 64)  # fmt: skip
    assert len(entry.body) <= chain.LIMIT


def test_an_entry_that_is_too_large_is_refused_before_anybody_waits_for_it() -> None:
    chain.check("decided", {"why": "x" * 64_000})
    with pytest.raises(chain.UnfitError, match="at most"):
        chain.check("decided", {"why": "x" * 65_100})
    with pytest.raises(chain.UnfitError, match="at most"):
        chain.check("decided", {"why": "\x00" * 11_000})


@given(st.text(st.characters(), max_size=60), st.integers(0, 80))
def test_cut_text_is_storable_and_says_what_is_missing(text: str, limit: int) -> None:
    kept = chain.cut(text, limit)
    chain.canonical(kept)
    whole = text.encode("utf-8", "backslashreplace").decode()
    if len(whole.encode()) <= limit:
        assert kept == whole
    else:
        shown, _, rest = kept.rpartition("… [cut: ")
        assert whole.startswith(shown)
        assert len(shown.encode()) <= limit
        assert rest == f"{len(whole.encode()) - len(shown.encode())} bytes more]"


@given(st.integers(0, 4_000_000_000_000_000))
def test_a_stamp_reads_back_and_sorts_as_time_does(microseconds: int) -> None:
    text = chain.stamp(microseconds)
    assert chain.moment(text) == microseconds
    assert text < chain.stamp(microseconds + 1)


@pytest.mark.parametrize(
    "time", ["2026-13-01T00:00:00.000000Z", "2026-01-01T00:00:00Z", "2026-01-01 00:00:00.000000Z", 7, None,
             "2026-01-01T00:00:00.000000+00:00", "٢٠٢٦-01-01T00:00:00.000000Z"]
)  # fmt: skip
def test_another_spelling_of_time_is_none(time: object) -> None:
    assert chain.moment(time) is None


def test_an_honest_chain_has_no_findings() -> None:
    entries = chained("genesis", "started", "decided", "completed")
    assert codes([entry.body for entry in entries], latest=1_785_000_000_000_003) == []


def rewritten(body: bytes, **fields: object) -> bytes:
    return chain.canonical(json.loads(body) | fields)


def test_each_wrong_entry_is_named_and_the_others_are_still_read() -> None:
    good = [entry.body for entry in chained("genesis", "started", "decided", "completed", "stopped")]
    table: list[tuple[list[object], list[tuple[int | None, str]]]] = [
        ([], []),
        (good[1:], [(1, "seq"), (1, "prev")]),
        ([good[0], good[2], good[1], *good[3:]], [(2, "seq"), (2, "prev"), (1, "seq"), (1, "prev"),
                                                  (1, "time_backwards"), (3, "seq"), (3, "prev")]),
        ([*good[:2], *good[3:]], [(3, "seq"), (3, "prev")]),
        ([*good[:3], good[2], *good[3:]], [(2, "seq"), (2, "prev")]),
        ([*good[:2], rewritten(good[2], n=7), *good[3:]], [(3, "prev")]),
        ([*good[:2], good[2].replace(b'"n":2', b'"n": 2'), *good[3:]], [(2, "not_canonical"), (3, "prev")]),
        ([*good[:4], good[4].decode()], [(4, "not_bytes")]),
        ([rewritten(good[0], kind="started"), *good[1:]], [(0, "genesis"), (1, "prev")]),
        ([*good[:4], rewritten(good[4], kind="genesis")], [(4, "genesis")]),
        ([*good[:4], rewritten(good[4], time="2020-01-01T00:00:00.000000Z")], [(4, "time_backwards")]),
        ([*good[:4], rewritten(good[4], time="2020-01-01T00:00:00.000000Z", kind="clock")], []),
        ([*good[:4], rewritten(good[4], time="2099-01-01T00:00:00.000000Z")], [(4, "time_ahead")]),
        ([*good[:4], rewritten(good[4], time="today")], [(4, "time")]),
        ([*good[:4], rewritten(good[4], nonce="abc")], [(4, "nonce")]),
        ([*good[:4], rewritten(good[4], kind=None)], [(4, "kind")]),
        ([*good[:4], rewritten(good[4], request="ABC")], [(4, "commitment")]),
        ([*good[:4], rewritten(good[4], seq=9)], [(9, "seq")]),
        ([*good[:4], rewritten(good[4], seq="4")], [(4, "seq")]),
    ]  # fmt: skip
    for bodies, expected in table:
        assert codes(bodies, latest=1_785_000_100_000_000) == expected


def test_findings_are_counted_beyond_those_that_are_kept() -> None:
    findings = chain.Findings(cap=3)
    links = chain.Links(findings)
    for _ in range(10):
        links.entry(b"not json")
    assert len(findings.kept) == 3
    assert findings.count == 10


@given(st.integers(0, 4), st.data())
def test_no_flipped_bit_goes_unseen(number: int, data: st.DataObject) -> None:
    entries = chained("genesis", "started", "decided", "completed", "stopped")
    body = bytearray(entries[number].body)
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= 1 << data.draw(st.integers(0, 7))
    findings = chain.Findings()
    links = chain.Links(findings)
    for entry in entries:
        links.entry(bytes(body) if entry.seq == number else entry.body, seq=entry.seq, stored=entry.hash)
    assert "hash" in {found.code for found in findings.kept}
