# ruff: noqa: E501  (tables read better unbroken)
"""An editor decides what is sent, not where it goes, how it is framed, or what a secret is."""

from __future__ import annotations

import contextlib
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.action import Header, Request
from proxy.edit import LIMIT, difference, edited, form, signed
from proxy.errors import SluiceError

from .test_round_trip import KEY, as_json, change, request

BEARER = (b"authorization", b"Bearer " + KEY.encode())


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("https://api.example.com/", "https://evil.example/", "where the request goes"),
        ("https://api.example.com/", "http://api.example.com/", "where the request goes"),
        ("https://api.example.com/", "https://api.example.com:444/", "path is malformed"),
        ("https://api.example.com/", "https://api.example.com.evil.example/", "path is malformed"),
        ("https://api.example.com/", "https://u@api.example.com/", "where the request goes"),
        ("https://api.example.com/v1/refunds", "/v1/refunds", "where the request goes"),
        ("/v1/refunds", "/v1/re funds", "path is malformed"),
        ("/v1/refunds", "/v1/refünds", "path is malformed"),
        ("/v1/refunds", "/v1/refunds#x", "path is malformed"),
        ("POST https", "HEAD https", "POST cannot become HEAD"),
        ("POST https", "CONNECT https", "cannot become"),
        ("POST https", "post https", "request line is malformed"),
        ("POST https", "https", "request line is malformed"),
        ("POST https", f"{'A' * 33} https", "request line is malformed"),
        ("x-a: 1", "x-a", "is no header"),
        ("x-a: 1", " folded: 1", "is no header"),
        ("x-a: 1", "x a: 1", "is no header"),
        ("x-a: 1", ": 1", "is no header"),
        ("x-a: 1", "x-a: 1\rx-b: 2", "U+000D"),
        ("x-a: 1", "x-a: 1\0", "U+0000"),
        ("x-a: 1", "x-a: \u202e1", "U+202E"),
        ("x-a: 1", "x-a: \ud800", "U+D800"),
        *(
            ("x-a: 1", f"{name}: x", f"the header {name} cannot be edited")
            for name in ("Content-Length", "transfer-encoding", "connection", "Host", "Proxy-Authorization", "upgrade",
                         "te", "expect", "content-encoding", "trailer", "Idempotency-Key", "content-md5", "keep-alive",
                         "sec-websocket-key", "x-sluice-confidence", "User-Agent", "Date", "x-request-id", "traceparent",
                         "x-stainless-os")
        ),
        ("x-a: 1", "\n".join(f"x-{at}: 1" for at in range(301)), "over 300 headers"),
        ("x-a: 1", "\n".join(f"x-{at}: {'a' * 1000}" for at in range(66)), "over 64 KiB"),
        ("{", "{" + "a" * LIMIT, "over 163840 characters"),
        ("5000", "[" + "5, " * 25_000 + "5]", "over 65536 bytes"),
        ("5000", "", "no longer JSON"),
        ("5000", "50 00", "no longer JSON"),
        ('"amount": 5000', '"amount": 5000,', "no longer JSON"),
        ("# ---- the request ends", "# ---- the re", "last lines"),
        ("leave it and what is below as it is ----\n", "leave it and what is below as it is ----\nmore\n", "last lines"),
        ("application/json", "application/json; charset=utf-16", "character set"),
        ("x-a: 1", "x-hub-signature-256: sha256=00", "would be signed"),
    ],
)  # fmt: skip
def test_what_cannot_be_edited_is_refused_and_says_why(old: str, new: str, why: str) -> None:
    asked = as_json({"amount": 5000}, (b"x-a", b"1"))
    with pytest.raises(SluiceError) as caught:
        change(asked, (old, new))
    assert why in str(caught.value)
    assert caught.value.exit == 1


@pytest.mark.parametrize("text", ["", "\n", "# only comments\n", "GET", "\0", "x" * 200_000])
def test_a_text_that_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(SluiceError):
        edited(as_json({"a": 1}), text)


def test_a_text_that_was_saved_in_part_is_refused_wherever_it_was_cut() -> None:
    asked = as_json({"amount": 5000}, BEARER)
    text = form(asked).text
    whole = text.index("\n# ---- the request ends") + len("\n# ---- the request ends above this line")
    for cut in range(whole):
        with pytest.raises(SluiceError):
            edited(asked, text[:cut])


# -- secrets ------------------------------------------------------------------------

SECRETS = as_json(
    {"token": "tok-1", "pin": 1234, "note": f"use {KEY} now", "cards": [{"cvc": "111"}, {"cvc": "222"}], "open": "o"},
    (b"x-api-key", b"first-key"),
    (b"x-a", b"1"),
)  # fmt: skip
QUERY = request(
    b"", (b"x-a", b"1"), target=b"/bot123456789:AAF-abcdefghijklmnopqrstuvwxyz012345/send?api_key=qq1&chat=5"
)


def test_a_secret_stands_in_no_text_and_comes_back_where_it_was() -> None:
    for asked, secrets in (
        (SECRETS, ("tok-1", "1234", KEY, "111", "222", "first-key")),
        (QUERY, ("AAF-", "qq1")),
    ):
        text = form(asked).text
        assert [secret for secret in secrets if secret in text] == []
        after = change(asked, ("x-a: 1", "x-a: 2"))
        assert after.body == asked.body
        assert after.target == asked.target
        assert after.header(b"x-api-key") == asked.header(b"x-api-key")


def _mark(asked: Request, before: str) -> str:
    """The mark that stands right after some text."""
    text = form(asked).text
    at = text.index(before) + len(before)
    return text[at : text.index("›", at) + 1]


@pytest.mark.parametrize(
    ("asked", "of", "old", "new"),
    [
        (SECRETS, "x-api-key: ", "x-a: 1", "x-a: {}"),
        (SECRETS, "x-api-key: ", '"open": "o"', '"open": "{}"'),
        (SECRETS, "x-api-key: ", "/v1/refunds", "/v1/{}"),
        (SECRETS, "x-api-key: ", "/v1/refunds", "/v1/refunds?api_key={}"),
        (SECRETS, "x-api-key: ", "x-api-key:", "x-other-key:"),
        (SECRETS, "x-api-key: ", "x-api-key: {}", "x-api-key: {} {}"),
        (SECRETS, "x-api-key: ", "x-api-key: {}", "x-api-key: {}\nx-api-key: {}"),
        (SECRETS, '"token": "', '"open": "o"', '"open": "{}"'),
        (SECRETS, '"token": "', '"token"', '"text"'),
        (SECRETS, '"token": "', '"token": "{}"', '"in": {{"token": "{}"}}'),
        (SECRETS, '"token": "', '"token": "{}"', '"token": {{"{}": 1}}'),
        (SECRETS, '"pin": ', '"open": "o"', '"open": {}'),
        (SECRETS, '"note": "use ', '"open": "o"', '"open": "{}"'),
        (SECRETS, '"note": "use ', "{} now", "{} {} now"),
        (SECRETS, '"note": "use ', "POST ", "{} "),
        (QUERY, "api_key=", "chat=5", "chat={}"),
        (QUERY, "api_key=", "api_key=", "api_kee="),
        (QUERY, "api_key=", "api_key={}", "api_key={}&api_key={}"),
        (QUERY, "/bot", "/send", "/{}"),
        (QUERY, "/bot", "/bot", "/log/bot"),
        (QUERY, "/bot", "chat=5", "chat={}"),
        (QUERY, "/bot", "x-a: 1", "x-a: {}"),
    ],
)
def test_a_secret_that_is_moved_or_doubled_is_refused(asked: Request, of: str, old: str, new: str) -> None:
    mark = _mark(asked, of)
    text = form(asked).text
    swapped = text.replace(old.format(mark), new.format(*[mark] * 3))
    assert swapped != text
    with pytest.raises(SluiceError, match=r"‹secret \d+›|request line|mark for a secret"):
        edited(asked, swapped)


def test_secrets_of_two_items_do_not_change_places() -> None:
    text = form(SECRETS).text
    first, second = [line.strip() for line in text.split("\n") if '"cvc"' in line]
    swapped = text.replace(first, "X").replace(second, first).replace("X", second)
    with pytest.raises(SluiceError, match="does not stand in its own place"):
        edited(SECRETS, swapped)


def test_a_secret_that_is_deleted_is_deleted() -> None:
    after = change(
        SECRETS,
        (f"x-api-key: {_mark(SECRETS, 'x-api-key: ')}\n", ""),
        (f'"pin": {_mark(SECRETS, chr(34) + "pin" + chr(34) + ": ")},', ""),
    )
    assert after.header(b"x-api-key") == []
    assert b"pin" not in (after.body or b"")
    assert b"tok-1" in (after.body or b"")


def test_what_stands_around_a_secret_in_its_field_may_change() -> None:
    after = change(SECRETS, ("use ‹", "take ‹"), ("› now", "› later"))
    assert f"take {KEY} later".encode() in (after.body or b"")


@pytest.mark.parametrize("number", ["99", "0", "999999999"])
def test_a_mark_of_no_secret_is_refused(number: str) -> None:
    with pytest.raises(SluiceError, match="none of this request"):
        change(SECRETS, ("x-a: 1", f"x-a: ‹secret {number}›"))


@pytest.mark.parametrize("broken", ["‹secret 1", "secret 1›", "‹secret x›", "‹ secret 1›"])
def test_a_damaged_mark_is_refused(broken: str) -> None:
    with pytest.raises(SluiceError, match="damaged"):
        change(SECRETS, ("x-a: 1", f"x-a: {broken}"))


def test_an_edit_that_would_uncover_a_secret_is_refused() -> None:
    form_body = request(b"pin=4711&a=1", (b"content-type", b"application/x-www-form-urlencoded"))
    assert "4711" not in form(form_body).text
    with pytest.raises(SluiceError, match="no longer be known"):
        change(form_body, ("application/x-www-form-urlencoded", "application/json"), ("pin=", "pin="))


def test_text_before_a_secret_in_a_body_of_no_known_form_stays() -> None:
    body = b"<a><b>1</b><password>hunter2</password><c>2</c></a>"
    asked = request(body, (b"content-type", b"application/xml"))
    assert change(asked, ("<c>2", "<c>3")).body == body.replace(b"<c>2", b"<c>3")
    with pytest.raises(SluiceError, match="own place"):
        change(asked, ("<b>1", "<b>2"))
    with pytest.raises(SluiceError, match="own place"):
        change(asked, ("password>", "note>"))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6), st.data())
@settings(deadline=None, max_examples=300)
def test_no_shuffling_of_lines_writes_a_secret_where_it_was_not(
    moves: list[tuple[int, int]], data: st.DataObject
) -> None:
    asked = data.draw(st.sampled_from([SECRETS, QUERY]))
    lines = form(asked).text.split("\n")
    for source, to in moves:
        line = lines[source % len(lines)]
        if data.draw(st.booleans()):
            lines.insert(to % len(lines), line)
        else:
            at = data.draw(st.integers(0, len(line)))
            lines[to % len(lines)] = lines[to % len(lines)] + line[at:]
    try:
        after = edited(asked, "\n".join(lines))
    except SluiceError:
        return
    for secret in (b"tok-1", b"1234", KEY.encode(), b"first-key", b"qq1", b"AAF-"):
        assert _where(after, secret) <= _where(asked, secret)


def _where(asked: Request, secret: bytes) -> Counter[bytes]:
    found = Counter({b"target": asked.target.count(secret), b"body": (asked.body or b"").count(secret)})
    for name, value in asked.headers:
        found[name.lower()] += value.count(secret)
    return found


@given(
    st.text(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                "POST ",
                "https://api.example.com",
                "/",
                "\n",
                "a: b",
                "{",
                "‹secret 1›",
                "# ---- the request ends above this line; leave it and what is below as it is ----",
            ]
        )
    ).map("".join)
)
@settings(deadline=None)
def test_hostile_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    tail = form(SECRETS).text[form(SECRETS).text.index("\n# ---- the") :]
    for whole in (text, text + tail):
        with contextlib.suppress(SluiceError):
            edited(SECRETS, whole)


LINES = request(
    b'{\n "token": "tok-1",\n "odd": "a\\u0022, \\"b\\": {}",\n "list": [1, 2]\n}\n',
    (b"content-type", b"text/plain"),
)


@pytest.mark.parametrize("new", ["}}", "]", "", "}{", '"', "} 1"])
def test_json_over_many_lines_stays_json_too(new: str) -> None:
    text = form(LINES).text
    at = text.rindex("}")
    with pytest.raises(SluiceError, match="no longer JSON"):
        edited(LINES, text[:at] + new + text[at + 1 :])


def test_a_secret_is_not_taken_out_of_its_quotes() -> None:
    odd = request(b'{"token": "1, \\"admin\\": true", "a": 1}', (b"content-type", b"text/plain"))
    mark = _mark(odd, '"token": "')
    for asked in (SECRETS, odd):
        with pytest.raises(SluiceError, match="no longer"):
            change(
                asked,
                (
                    f'"token": "{_mark(asked, chr(34) + "token" + chr(34) + ": " + chr(34))}"',
                    f'"token": {mark}',
                ),
            )


def test_a_body_may_be_emptied_whatever_it_was() -> None:
    for asked in (SECRETS, LINES):
        text = form(asked).text
        start, end = text.index("\n\n{") + 2, text.index("\n# ---- the request ends")
        assert edited(asked, text[:start] + text[end:]).body == b""


def test_an_edited_body_that_could_not_be_shown_again_is_refused() -> None:
    asked = request(b"one\ntwo", (b"content-type", b"text/plain"))
    with pytest.raises(SluiceError, match="none of this request"):
        change(asked, ("one", "‹secret 1›"))
    with pytest.raises(SluiceError, match="could not be shown: application/grpc is no text"):
        change(asked, ("text/plain", "application/grpc"), ("one", "three"))


# -- signatures ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        (b"Authorization", b"AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/s3/aws4_request, Signature=00"),
        (b"authorization", b"AWS4-ECDSA-P256-SHA256 Credential=x"),
        (b"authorization", b"AWS AKIA:sig="),
        (b"authorization", b"Signature keyId=\"a\",signature=\"b\""),
        (b"authorization", b"SharedKey account:sig"),
        (b"authorization", b"TC3-HMAC-SHA256 Credential=x"),
        (b"authorization", b"HMAC-SHA256 x"),
        (b"authorization", b"hmac id:sig"),
        (b"authorization", b"OAuth oauth_consumer_key=\"a\", oauth_signature=\"b\""),
        (b"authorization", b"Digest username=\"a\""),
        (b"authorization", b"Hawk id=\"a\""),
        (b"authorization", b"acme id=1,signature=abc"),
        (b"Signature", b"sig1=:AA==:"),
        (b"signature-input", b"sig1=(\"@method\")"),
        (b"X-Hub-Signature", b"sha1=0"),
        (b"X-Hub-Signature-256", b"sha256=0"),
        (b"Stripe-Signature", b"t=1,v1=0"),
        (b"x-shopify-hmac-sha256", b"0"),
        (b"x-acme-hmac", b"0"),
        (b"CB-ACCESS-SIGN", b"0"),
        (b"X-BAPI-SIGN", b"0"),
        (b"DPoP", b"e30.e30.0"),
        (b"x-jws-signature", b"0"),
    ],
)  # fmt: skip
def test_a_signed_request_is_not_edited_and_says_why(header: Header) -> None:
    with pytest.raises(SluiceError, match="this request is signed: "):
        form(request(b"", header))


@pytest.mark.parametrize(
    "query",
    ["X-Amz-Signature=" + "0" * 64, "X-Goog-Signature=" + "0" * 64, "sv=2022&sig=" + "a%2B" * 10, "oauth_signature=" + "a" * 28,
     "timestamp=1&signature=" + "0" * 64],
)  # fmt: skip
def test_a_presigned_url_is_not_edited(query: str) -> None:
    with pytest.raises(SluiceError, match="of its URL signs it"):
        form(request(b"", target=b"/o?" + query.encode()))
    with pytest.raises(SluiceError, match="of its form signs it"):
        form(request(query.encode(), (b"content-type", b"application/x-www-form-urlencoded")))


@pytest.mark.parametrize(
    ("header", "target", "body"),
    [
        ((b"authorization", b"Bearer abc"), b"/", b""),
        ((b"authorization", b"Basic abc"), b"/", b""),
        ((b"authorization", b"token ghp_0"), b"/", b""),
        ((b"x-design", b"a"), b"/?sign=leo", b""),
        ((b"x-assigned-to", b"a"), b"/?signature=Bob", b"signature=Best,+Bob"),
        ((b"x-signal", b"a"), b"/signature=" + b"0" * 64, b""),
    ],
)
def test_what_only_sounds_like_a_signature_is_none(header: Header, target: bytes, body: bytes) -> None:
    assert (
        signed(request(body, header, (b"content-type", b"application/x-www-form-urlencoded"), target=target))
        is None
    )


def test_a_websocket_is_not_edited() -> None:
    with pytest.raises(SluiceError, match="WebSocket"):
        form(request(b"", (b"Upgrade", b"websocket"), method=b"GET"))


# -- difference ------------------------------------------------------------------------


def test_the_difference_says_what_is_taken_out_and_put_in_and_what_stands_around_it() -> None:
    asked = as_json({"a": 1, "b": 2, "c": 3, "amount": 5000, "d": 4, "e": 5, "f": 6})
    before = form(asked).text
    assert difference(before, before.replace("5000", "40")) == (
        "…", '   "b": 2,', '   "c": 3,', '-  "amount": 5000,', '+  "amount": 40,', '   "d": 4,', '   "e": 5,', "…",
    )  # fmt: skip


def test_the_difference_is_all_of_it_however_long() -> None:
    lines = [f"line {at}" for at in range(2000)]
    asked = request("\n".join(lines).encode(), (b"content-type", b"text/plain"))
    before = form(asked).text
    after = before.replace("line 1", "LINE 1")
    found = difference(before, after)
    assert [line[1:] for line in found if line.startswith("+")] >= [
        line for line in after.split("\n") if line.startswith("LINE")
    ]
    assert "-line 1999" in found or " line 1999" not in found


@given(
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=30),
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=30),
)
def test_each_line_that_differs_is_in_the_difference(old: list[str], new: list[str]) -> None:
    found = difference("\n".join(["POST x", *old]), "\n".join(["POST x", *new]))
    removed = Counter(line[1:] for line in found if line.startswith("-"))
    added = Counter(line[1:] for line in found if line.startswith("+"))
    assert Counter(new) - Counter(old) <= added
    assert Counter(new) - Counter(old) - added + (Counter(old) - Counter(new)) - removed == Counter()
    assert (found == ()) == (old == new)


@pytest.mark.parametrize(
    "unit", ["a\n", "‹", '{"a":[', '"', "token=", "password: ", "secret 1 ", "[", "[1,", '{"a":']
)
def test_a_hostile_body_takes_little_time(unit: str) -> None:
    asked = request((unit * 64_000).encode()[:65_000].decode("utf-8", "ignore").encode(), (b"x-a", b"1"))
    began = time.process_time()
    before = form(asked).text
    after = before.replace("x-a: 1", "x-a: 2").replace("aa", "bb")
    edited(asked, after)
    difference(before, after)
    assert time.process_time() - began < 5


def test_json_that_is_nested_deeply_is_not_blown_up() -> None:
    for depth, width in ((99, 15_000), (3_000, 1), (99, 1)):
        body = b"[" * depth + b",".join([b"1"] * width) + b"]" * depth
        assert len(form(request(body, (b"x-a", b"1"))).text) < 4 * 64 * 1024
