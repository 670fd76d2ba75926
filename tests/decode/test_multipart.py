"""Multipart forms: read strictly, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.action import UNKNOWN

from .asking import asked, read

KIND = "multipart/form-data; boundary=b1"


def form(*parts: tuple[str, bytes], end: bytes = b"--b1--\r\n") -> bytes:
    lines = [
        b"--b1\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n"
        for head, content in parts
    ]
    return b"".join(lines) + end


def test_fields_are_read_by_name_and_files_by_what_is_said_of_them() -> None:
    body = form(
        ('name="amount"', b"5000"),
        ('name="card[number]"', b"42"),
        ('name="to"', b"a@b.org"),
        ('name="to"', b"c@d.org"),
        ('name="paper"; filename="x.pdf"\r\nContent-Type: Application/PDF', b"\xff" * 10),
    )
    got = asked("POST", "https://a.example/x", body, KIND)
    assert got.unreadable is None
    assert read(got, "multipart.amount") == ("5000",)
    assert read(got, "multipart.card.number") == ("42",)
    assert read(got, "multipart.to") == ("a@b.org", "c@d.org")
    assert read(got, "multipart.paper") == (None,)
    assert read(got, "multipart.paper.filename") == ("x.pdf",)
    assert read(got, "multipart.paper.type") == ("application/pdf",)
    assert read(got, "multipart.paper.size") == ("10",)
    assert read(got, "multipart.nothing") == ()
    assert read(got, "form.amount") is UNKNOWN
    assert read(got, "json.amount") is UNKNOWN


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (form(('name="a"', b"1")), "multipart/form-data"),
        (form(('name="a"', b"1")), "multipart/form-data; boundary=b2"),
        (form(('name="a"', b"1")), "multipart/form-data; boundary=b1; boundary=b2"),
        (form(('name="a"', b"1")), 'multipart/form-data; boundary=" "'),
        (form(('name="a"', b"1"), end=b""), KIND),
        (form(('name="a"', b"1"), end=b"--b1"), KIND),
        (form(('name="a"', b"1")) + b"more", KIND),
        (b"before\r\n" + form(('name="a"', b"1")), KIND),
        (form(('name="a"', b"1")).replace(b"\r\n", b"\n"), KIND),
        (form(('name="a"', b"1\n--b1\nx")), KIND),
        (form(('name="a"', b"1\r\n--b1x\r\n")), KIND),
        (form(('name="a"; name="b"', b"1")), KIND),
        (form(("name*=utf-8''a", b"1")), KIND),
        (form(("name=\"a\"; name*=utf-8''b", b"1")), KIND),
        (form(('name="a\\"b"', b"1")), KIND),
        (form(('name="a%22"', b"1")), KIND),
        (form(('name=""', b"1")), KIND),
        (form(('name="a[="', b"1")), KIND),
        (form(('name="a"\r\nContent-Disposition: form-data; name="b"', b"1")), KIND),
        (form(('name="a"\r\nContent-Transfer-Encoding: base64', b"MQ==")), KIND),
        (form(('name="a"\r\n folded', b"1")), KIND),
        (b'--b1\r\nContent-Disposition: attachment; name="a"\r\n\r\n1\r\n--b1--', KIND),
        (b"--b1\r\n\r\n1\r\n--b1--", KIND),
        (b"--b1\r\nX: " + b"y" * 9_000 + b"\r\n\r\n1\r\n--b1--", KIND),
        (form(*[('name="a"', b"1")] * 2_001), KIND),
        (b"amount=1", KIND),
    ],
    ids=range(26),
)
def test_what_two_parsers_could_read_differently_is_unreadable(body: bytes, kind: str) -> None:
    assert asked("POST", "https://a.example/x", body, kind).unreadable


def test_an_empty_form_has_no_fields() -> None:
    assert read(asked("POST", "https://a.example/x", b"--b1--\r\n", KIND), "multipart.a") == ()


def test_a_form_that_names_its_own_charset_is_unknown() -> None:
    body = form(('name="_charset_"', b"utf-16"), ('name="a"', b"1"))
    assert read(asked("POST", "https://a.example/x", body, KIND), "multipart.a") is UNKNOWN


def test_a_method_in_a_field_is_another_method() -> None:
    got = asked("POST", "https://a.example/x", form(('name="_method"', b"delete")), KIND)
    assert read(got, "method") == ("POST", "DELETE")
    assert read(asked("POST", "https://a.example/x", None, KIND), "method") == ("POST", None)


@given(st.lists(st.tuples(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.binary(max_size=40)), max_size=8))
def test_whatever_an_encoder_writes_is_read_back(fields: list[tuple[str, bytes]]) -> None:
    fields = [(name, value) for name, value in fields if b"\n--b1" not in b"\r\n" + value]
    body = form(*((f'name="{name}"', value) for name, value in fields))
    got = asked("POST", "https://a.example/x", body, KIND)
    assert got.unreadable is None
    for name, _ in fields:
        expected = []
        for other, value in fields:
            if other == name:
                try:
                    expected.append(value.decode())
                except UnicodeDecodeError:
                    expected.append(None)
        assert read(got, f"multipart.{name}") == tuple(expected)
