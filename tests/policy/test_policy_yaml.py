"""The strict subset of YAML: what two readers could read differently is a mistake, at its place."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy import source
from proxy.policy.source import MAX_BYTES, MAX_LEVELS, Listing, Mistakes, Scalar, Table, read


def mistakes_in(raw: bytes | str) -> list[tuple[str, str]]:
    mistakes = Mistakes()
    read("f.yaml", raw, mistakes)
    return [(problem.where, problem.what) for problem in mistakes.in_order()]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: &x 1\n", "f.yaml:1:4", "an anchor (&x)"),
        ("a: *x\n", "f.yaml:1:4", "an alias (*x)"),
        ("a: 1\n<<: {b: 2}\n", "f.yaml:2:1", "a merge key (<<)"),
        ("a: !!str 1\n", "f.yaml:1:4", "a tag (tag:yaml.org,2002:str)"),
        ("a: ! x\n", "f.yaml:1:4", "a tag (!)"),
        ("a:\n  b: 1\n  b: 2\n", "f.yaml:3:3", "'b' a second time"),
        ('a: 1\n"a": 2\n', "f.yaml:2:1", "'a' a second time"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1", "a second document"),
        ("a: 1 \t# tab\n", "f.yaml:1:6", "a tab"),
        ("%YAML 1.2\n---\na: 1\n", "f.yaml:1:1", "a directive (%)"),
        ("? [a]\n: 1\n", "f.yaml:1:3", "a key that is no text"),
        ("", "f.yaml:1:1", "the file is empty"),
        ("# only a comment\n", "f.yaml:2:1", "the file is empty"),
        ("a: [1\n", "f.yaml:2:1", "this is not YAML: did not find expected ',' or ']'"),
        (b"a: \xff\n", "f.yaml:1:4", "the file is not UTF-8"),
        ("a: x\u202ey\n", "f.yaml:1:5", "the invisible character U+202E"),
        ("a: x\u2028y\n", "f.yaml:1:5", "the invisible character U+2028"),
        ("a: \x07\n", "f.yaml:1:4", "a character that YAML does not allow"),
        ("[" * (MAX_LEVELS + 1), f"f.yaml:1:{MAX_LEVELS + 1}", f"more than {MAX_LEVELS} levels"),
        (b"a" * (MAX_BYTES + 1), "f.yaml:1:1", f"the file is over {MAX_BYTES} bytes"),
    ],
)
def test_what_could_be_read_in_two_ways_is_a_mistake_with_its_place(text, where, what):
    assert (where, what) in mistakes_in(text)


def test_all_mistakes_of_a_file_are_told_at_once_and_in_order():
    found = mistakes_in("a: &x 1\nb: !t 2\nc: *x\na: 3\n")
    assert [where for where, _ in found] == ["f.yaml:1:4", "f.yaml:2:4", "f.yaml:3:4", "f.yaml:4:1"]


def test_scalars_keep_their_text_and_whether_they_were_quoted():
    node = read("f.yaml", "[no, 0123, 12:30, 1.50, 'no', \"1\", null, on]", Mistakes())
    assert isinstance(node, Listing)
    assert [(one.text, one.plain) for one in node.items if isinstance(one, Scalar)] == [
        ("no", True), ("0123", True), ("12:30", True), ("1.50", True),
        ("no", False), ("1", False), ("null", True), ("on", True),
    ]  # fmt: skip


def test_a_byte_order_mark_before_the_text_is_dropped():
    node = read("f.yaml", b"\xef\xbb\xbfversion: 1\n", Mistakes())
    assert isinstance(node, Table)
    assert node.entries[0][0].text == "version"


def test_a_megabyte_of_brackets_is_refused_at_once():
    assert mistakes_in(b"[" * MAX_BYTES) == [(f"f.yaml:1:{MAX_LEVELS + 1}", f"more than {MAX_LEVELS} levels")]


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_no_bytes_make_reading_fail_otherwise_than_by_a_mistake(raw):
    mistakes = Mistakes()
    node = read("f.yaml", raw, mistakes)
    assert node is not None or mistakes.problems
    assert all(problem.where.startswith("f.yaml:") for problem in mistakes.problems)


@given(st.text(alphabet="ab:- \n#'\"[]{},|>1?", max_size=60))
def test_both_parsers_of_the_library_read_the_same_or_refuse(text):
    def seen(loader: object) -> object:
        mistakes = Mistakes()
        before = source._LOADER
        source._LOADER = loader  # type: ignore[misc]
        try:
            return shown(read("f", text, mistakes)), bool(mistakes.problems)
        finally:
            source._LOADER = before  # type: ignore[misc]

    def shown(node: object) -> object:
        match node:
            case Scalar():
                return node.text, node.plain
            case Listing():
                return [shown(one) for one in node.items]
            case Table():
                return [(key.text, shown(value)) for key, value in node.entries]
            case _:
                return None

    fast, slow = seen(yaml.CSafeLoader), seen(yaml.SafeLoader)
    assert fast == slow or fast[1] or slow[1]
