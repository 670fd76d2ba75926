"""Canonical JSON: what is told from the form of a line is what writing it anew would tell."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy import canon

keys = st.text("abz09_.", min_size=1, max_size=3)
text = st.text(st.sampled_from(['"', "\\", ":", ",", "{", "a", "é", "\x1f", "\x7f", "😀", " "]), max_size=4)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**17), 10**17),
    text,
    st.lists(text, max_size=2),
    st.lists(st.integers(0, 9), max_size=2),
    st.dictionaries(keys, text, max_size=2),
)
members = st.lists(st.tuples(keys, values), max_size=5)


FORMS = canon.Forms()
"""Of all the lines of a test run: what came before must change nothing."""


def accepted(line: bytes) -> bool:
    """Whether it is read, without anything that came before, and with all that did."""
    (alone, *known) = [_is_read(line, forms) for forms in (None, canon.Forms(), FORMS, FORMS)]
    assert known == [alone] * 3
    return alone


def _is_read(line: bytes, forms: canon.Forms | None) -> bool:
    try:
        canon.parse(line, forms)
    except canon.UnfitError:
        return False
    return True


def written_anew(line: bytes) -> bool:
    """The definition: what it says, written canonically, is the same bytes."""
    try:
        value = json.loads(line)
        return isinstance(value, dict) and canon.canonical(value) == line
    except (ValueError, canon.UnfitError):
        return False


@given(members, st.booleans())
def test_a_line_in_any_order_is_read_only_as_it_would_be_written(
    members: list[tuple[str, object]], ascii: bool
) -> None:
    told = ",".join(
        f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'), ensure_ascii=ascii)}"
        for key, value in members
    )
    line = f"{{{told}}}".encode()
    assert accepted(line) == written_anew(line)


@given(members.map(dict), st.data())
def test_a_changed_byte_is_read_only_where_it_could_have_been_written(
    value: dict[str, object], data: st.DataObject
) -> None:
    line = bytearray(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    at = data.draw(st.integers(0, len(line) - 1))
    line[at : at + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=2))
    assert accepted(bytes(line)) == written_anew(bytes(line))


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2,"b":3}',
        b'{"b":1,"a":2}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":9007199254740992}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xff"}',
        b'{"a":"\x1f"}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        b'{"a" :1}',
        b'{"A":1}',
        b'{"":1}',
        b'{"a":1}\n',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":["x",]}',
    ],
)
def test_every_other_way_to_write_the_same_is_refused(line: bytes) -> None:
    assert not accepted(line)


@example(b"{}")
@example(b'{"a":":","b":[]}')
@example(b'{"a":9007199254740991,"b":["x","y"],"c":{"d":null}}')
@given(st.just(b'{"a":"\x7f"}'))
def test_what_is_written_canonically_is_read(line: bytes) -> None:
    assert accepted(line) and written_anew(line)


def test_lines_with_names_of_their_own_each_are_read_as_fast_as_they_come() -> None:
    """A form takes milliseconds to make: of what never comes again few are made."""
    forms = canon.Forms()
    for number in range(3_000):
        line = b'{"a%d":1,"b":{"a":1}}' % number if number % 2 else b'{"a%d":1}' % number
        assert canon.parse(line, forms) and not (forms.fit(line[:-1], {}))
    assert len(forms._known) == 100


def test_of_a_line_with_very_many_names_no_form_is_made() -> None:
    forms = canon.Forms()
    canon.parse(canon.canonical({f"n{number}": number for number in range(2_000)}), forms)
    assert not forms._known
