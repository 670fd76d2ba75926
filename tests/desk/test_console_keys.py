"""Input becomes keys, however it is cut up; what is not certainly a key is none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.console.keys import Key, Keys

KEYS = {
    "letters": (b"ja", ["j", "a"]),
    "arrows": (b"\x1b[A\x1bOB", ["up", "down"]),
    "pages and ends": (b"\x1b[5~\x1b[6~\x1b[H\x1b[4~", ["page up", "page down", "home", "end"]),
    "enter and backspace": (b"\r\n\x7f\x08", ["enter", "enter", "backspace", "backspace"]),
    "control keys": (b"\x03\x0c\x15", ["interrupt", "redraw", "clear"]),
    "other control characters": (b"\x00\x01\x04\x1a", []),
    "beyond ASCII": ("éд".encode(), ["é", "д"]),
    "a key with Alt": (b"\x1ba\x1bd", []),
    "an unknown sequence": (b"\x1b[1;5Aj\x1b[?1;2c", ["j"]),
    "a mouse": (b"\x1b[<0;10;10Ma", ["a"]),
    "bytes that are no UTF-8": (b"\xff", ["\ufffd"]),
    "C1 controls": (b"\xc2\x9b", []),
    "a paste": (b"\x1b[200~aad\rq\x1b[201~j", ["paste", "j"]),
    "a sequence that breaks off": (b"\x1b[\x01", []),
}


@pytest.mark.parametrize(("typed", "names"), KEYS.values(), ids=KEYS.keys())
def test_input_becomes_keys(typed, names):
    assert [key.name for key in Keys().feed(typed)] == names


@settings(max_examples=200)
@given(st.lists(st.sampled_from([typed for typed, _ in KEYS.values()]), max_size=5), st.data())
def test_keys_are_the_same_however_input_is_cut_up(parts, data):
    typed = b"".join(parts)
    cut = data.draw(st.integers(0, len(typed)))
    keys = Keys()
    assert [*keys.feed(typed[:cut]), *keys.feed(typed[cut:])] == Keys().feed(typed)


def test_escape_is_a_key_once_nothing_follows():
    keys = Keys()
    assert keys.feed(b"\x1b") == [] and keys.open
    assert keys.settle() == [Key("escape")] and not keys.open


def test_half_a_sequence_is_no_key_even_if_nothing_follows():
    keys = Keys()
    assert keys.feed(b"\x1b[") == [] and keys.settle() == []
    assert keys.feed(b"a") == [Key("a", "a")]


def test_a_paste_is_text_and_never_commands():
    (key,) = Keys().feed(b"\x1b[200~a\ra\x1b[201~")
    assert key == Key("paste", "a\ra")


def test_a_paste_that_pauses_goes_on_being_one():
    keys = Keys()
    keys.feed(b"\x1b[200~aaa")
    assert keys.settle() == []
    assert keys.feed(b"a\x1b[201~") == [Key("paste", "aaaa")]


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_no_input_breaks_the_reader_or_stays_for_ever(typed):
    keys = Keys()
    for key in (*keys.feed(typed), *keys.settle()):
        assert key.name


def test_what_never_ends_is_forgotten():
    keys = Keys()
    keys.feed(b"\x1b[200~" + b"a" * 10_000)
    assert not keys.open
