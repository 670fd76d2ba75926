# ruff: noqa: E501  (tables of URLs read better unbroken)
"""Secrets reach neither ledger nor screen: they are removed wherever they stand, and that is said."""

from __future__ import annotations

import json
import time
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.action import Request
from proxy.redact import WINDOW, is_secret_field, redact, redact_body, redact_url, redact_value


def request(
    target: str = "/", headers: dict[str, str] | None = None, body: bytes = b"", host: str = "api.example.com"
) -> Request:
    pairs = tuple((name.encode(), value.encode()) for name, value in (headers or {}).items())
    return Request("uid:alice", b"POST", "https", host, 443, target.encode(), pairs, body)


def everything(clean: object) -> str:
    return repr(clean)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.example.com/v1/items?page=2&limit=10", None),
        ("https://api.example.com/v1/refunds/re_3MmlLrLkdIwHu7ix0snN0B15", None),
        ("https://api.github.com/repos/a/b/git/commits/7fd1a60b01f91b314f59955a4e4d4e80d8edf11d", None),
        ("https://api.example.com/hooks/list-of-all-hooks-we-have", None),
        ("https://api.example.com/list?next_token=abcdefghijkl&max_tokens=5", None),
        ("https://api.example.com/?access_token=abc&x=1", "https://api.example.com/?access_token=‹secret 1›&x=1"),
        ("https://maps.example.com/j?key=abc&q=x", "https://maps.example.com/j?key=‹secret 1›&q=x"),
        ("https://h/?api_key=a&apikey=a&apiKey=b", "https://h/?api_key=‹secret 1›&apikey=‹secret 1›&apiKey=‹secret 2›"),
        ("https://h/?%74oken=abc", "https://h/?%74oken=‹secret 1›"),
        ("https://h/?TOKEN=abc;sig=def", "https://h/?TOKEN=‹secret 1›;sig=‹secret 2›"),
        ("https://u:pw@h/x", "https://‹secret 1›@h/x"),
        ("https://token@h/x", "https://‹secret 1›@h/x"),
        ("https://h/?next=https%3A%2F%2Fu%3Apw%40h%2F", "https://h/?next=https://‹secret 1›@h/"),
        ("https://h/?to=%2F%3Fpassword%3Dhunter2", "https://h/?to=/?password=‹secret 1›"),
        (
            "https://b.s3.amazonaws.com/o?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=2026&X-Amz-Signature=abc",
            "https://b.s3.amazonaws.com/o?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=2026&X-Amz-Signature=‹secret 1›",
        ),
        ("https://storage.googleapis.com/b/o?X-Goog-Signature=abc", "https://storage.googleapis.com/b/o?X-Goog-Signature=‹secret 1›"),
        ("https://a.blob.core.windows.net/c/b?sv=2022-11-02&sr=b&sig=Zm9v%3D", "https://a.blob.core.windows.net/c/b?sv=2022-11-02&sr=b&sig=‹secret 1›"),
        ("https://d.cloudfront.net/x?Policy=p&Signature=abc&Key-Pair-Id=K1", "https://d.cloudfront.net/x?Policy=p&Signature=‹secret 1›&Key-Pair-Id=K1"),
        (
            "https://api.telegram.org/bot123456789:AAF-abcdefghijklmnopqrstuvwxyz012345/sendMessage",
            "https://api.telegram.org/bot‹secret 1›/sendMessage",
        ),
        ("https://hooks.slack.com/services/T0/B0/XyZ", "https://hooks.slack.com/services/‹secret 1›"),
        (
            "https://discord.com/api/webhooks/123456789012345678/abcDEF_0123456789-abcdef",
            "https://discord.com/api/webhooks/123456789012345678/‹secret 1›",
        ),
        ("https://acme.webhook.office.com/webhookb2/a@b/IncomingWebhook/c/d", "https://acme.webhook.office.com/webhookb2/‹secret 1›"),
        ("https://hooks.zapier.com/hooks/catch/12/ab12cd/", "https://hooks.zapier.com/hooks/catch/‹secret 1›"),
        ("https://n8n.example.com/webhook/5f3b8a64-9d1c-4c2e-8b3a-1f2e3d4c5b6a", "https://n8n.example.com/webhook/‹secret 1›"),
        ("https://maker.ifttt.com/trigger/door/with/key/abcDEF", "https://maker.ifttt.com/trigger/door/with/key/‹secret 1›"),
        ("https://mainnet.infura.io/v3/0123456789abcdef0123456789abcdef", "https://mainnet.infura.io/v3/‹secret 1›"),
        ("https://h/x/sk_live_abcdefgh/y", "https://h/x/‹secret 1›/y"),
        ("https://h/x/sk%5Flive_abcdefgh/y", "https://h/x/‹secret 1›/y"),
        ("/relative?token=abc", "/relative?token=‹secret 1›"),
        ("https://h/?token=", None),
        ("https://h/?token", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_url_is_shown_without_its_secrets(url: str, shown: str | None) -> None:
    assert redact_url(url) == (url if shown is None else shown)


@pytest.mark.parametrize(
    "name",
    ["Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "api-key", "apikey", "X-Auth-Token",
     "X-Goog-Api-Key", "X-Amz-Security-Token", "DD-API-KEY", "DD-APPLICATION-KEY", "X-Shopify-Access-Token",
     "X-Vault-Token", "Private-Token", "JOB-TOKEN", "X-CSRF-Token", "X-Auth-Key", "Ocp-Apim-Subscription-Key",
     "X-Secret", "X-Functions-Key", "Stripe-Signature", "X-Hub-Signature-256", "xi-api-key", "X-Session-Id",
     "X-Postmark-Server-Token", "CF-Access-Client-Secret", "X-Parse-REST-API-Key", "X-Figma-Token", "Api-Token",
     "X-Amz-Server-Side-Encryption-Customer-Key", "X-MBX-APIKEY", "X-Client-Key"],
)  # fmt: skip
def test_a_secret_header_is_shown_as_its_name_alone(name: str) -> None:
    clean = redact(request(headers={name: "hunter2hunter2"}))
    assert clean.headers == ((name, "‹secret 1›"),)
    assert clean.removed == (f"header {name.lower()}",)
    assert is_secret_field(("header", name.lower()))


@pytest.mark.parametrize(
    "name", ["Accept", "Content-Type", "Idempotency-Key", "Sec-WebSocket-Key", "User-Agent", "X-Request-Id", "Host",
             "X-Amz-Date", "Surrogate-Key", "Accept-Language", "Stripe-Version", "X-Author"]
)  # fmt: skip
def test_a_header_that_is_no_secret_stays(name: str) -> None:
    clean = redact(request(headers={name: "text/plain; q=1"}))
    assert clean.headers == ((name, "text/plain; q=1"),)
    assert clean.removed == ()
    assert not is_secret_field(("header", name.lower()))


def test_the_scheme_of_an_authorization_stays() -> None:
    table = {
        "Bearer abc.def": "Bearer ‹secret 1›",
        "bearer abc": "bearer ‹secret 1›",
        "Basic dTpw": "Basic ‹secret 1›",
        "AWS4-HMAC-SHA256 Credential=AKIA/2026/us, Signature=ab": "AWS4-HMAC-SHA256 ‹secret 1›",
        "abc": "‹secret 1›",
    }
    for value, shown in table.items():
        assert redact(request(headers={"Authorization": value})).headers[0][1] == shown


SHAPES = [
    "sk_live_51abcDEF0123456789", "rk_test_abcdefgh12", "whsec_abcdefgh1234", "sk-ant-api03-abcdefghijklmnop",
    "sk-proj-abcdefghijklmnop", "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "github_pat_11ABCDEFG0abcdefghijkl_x",
    "glpat-abcdefghijklmnopqrst", "xoxb-123456789012-abcdefghij", "xapp-1-A012-345-abc", "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA-abcdefghijklmnopqrstuvwxyz01234", "ya29.a0AfH6SMBabcdef", "SG.abcdefghijklmnop.qrstuvwxyz0123456789",
    "key-0123456789abcdef0123456789abcdef", "hf_abcdefghijklmnopqrstuvwx", "npm_abcdefghijklmnopqrstuvwxyz0123456789",
    "shpat_0123456789abcdef0123456789abcdef", "123456789:AAF-abcdefghijklmnopqrstuvwxyz012345",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "4242424242424242", "4242 4242 4242 4242",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\n-----END RSA PRIVATE KEY-----", "Bearer abcdefghijklmnop0",
]  # fmt: skip


@pytest.mark.parametrize("secret", SHAPES, ids=lambda secret: secret[:12])
def test_what_looks_like_a_secret_is_removed_wherever_it_stands(secret: str) -> None:
    assert secret not in everything(
        redact(
            request(
                f"/x?note={quote(secret)}",
                {"X-Note": f"see {secret.splitlines()[0]}", "Content-Type": "application/json"},
                json.dumps({"note": f"use {secret} please", "list": [secret]}).encode(),
            )
        )
    ).replace("-----BEGIN RSA PRIVATE KEY-----", "")
    for media_type in ("text/plain", "application/xml", "application/graphql", ""):
        assert secret not in redact_body(media_type, f"a note: {secret}, and more".encode()).text
    assert (
        secret not in redact_body("application/x-www-form-urlencoded", urlencode({"n": secret}).encode()).text
    )
    assert secret not in redact_value(secret)


@pytest.mark.parametrize(
    "pair",
    [
        '{"name": "password", "value": "Tr0ub4dor"}',
        '{"value": "Tr0ub4dor", "name": "client_secret"}',
        '[{"key": "colour", "value": "blue"}, {"Key": "apiKey", "Value": {"S": "Tr0ub4dor"}}]',
        '{"ParameterKey": "DBPassword", "ParameterValue": "Tr0ub4dor"}',
        '{"value": ["Tr0ub4dor", {"x": "Tr0ub4dor"}], "a": {"name": "b"}, "name": "token"}',
    ],
)
def test_a_value_is_secret_by_the_name_that_stands_beside_it(pair: str) -> None:
    clean = redact_body("application/json", pair.encode())
    assert "Tr0ub4dor" not in clean.text and clean.removed


def test_a_value_beside_a_harmless_name_stays() -> None:
    text = '[{"name": "colour", "value": "blue"}, {"name": "x", "nested": {"name": "token"}, "value": "y"}]'
    assert redact_body("application/json", text.encode()).text == text


@pytest.mark.parametrize(
    "path",
    [("password",), ("Password",), ("user", "passwd"), ("client_secret",), ("clientSecret",), ("token",), ("apiKey",),
     ("access_token",), ("card", "number"), ("card_number",), ("card", "cvc"), ("payment", "cardNumber"),
     ("private_key",), ("SecretAccessKey",), ("auth", "anything"), ("credentials", "x", "y"), ("new_password",),
     ("password_confirmation",), ("password2",), ("ssn",), ("otp",), ("refreshToken",), ("db", "connectionString")],
    ids=".".join,
)  # fmt: skip
def test_a_secret_field_is_removed_from_every_kind_of_body(path: tuple[str, ...]) -> None:
    secret = "Tr0ub4dor"
    nested: object = secret
    for step in reversed(path):
        nested = {step: nested}
    bracketed = path[0] + "".join(f"[{step}]" for step in path[1:])
    bodies = {
        "application/json": json.dumps({"amount": 5, "data": [nested]}),
        "application/vnd.api+json": json.dumps(nested, indent=2),
        "text/plain": json.dumps(nested),
        "application/x-www-form-urlencoded": urlencode({"amount": "5", bracketed: secret}),
        "multipart/form-data; boundary=xx": f'--xx\r\nContent-Disposition: form-data; name="{bracketed}"\r\n\r\n{secret}\r\n--xx--\r\n',
    }
    for media_type, text in bodies.items():
        clean = redact_body(media_type, text.encode())
        assert secret not in clean.text, media_type
        assert clean.removed
        assert "‹secret 1›" in clean.text
    for root in ("json", "form", "multipart"):
        assert is_secret_field((root, *path))


@pytest.mark.parametrize(
    "name", ["amount", "max_tokens", "total_tokens", "next_token", "nextPageToken", "token_type", "author", "key", "Key",
             "number", "secret_id", "passport_country", "keyboard", "idempotency_key", "ClientRequestToken", "iban"]
)  # fmt: skip
def test_a_field_that_is_no_secret_stays(name: str) -> None:
    text = json.dumps({name: "abc", "b": 1.50, "c": [True, None]}, indent=1)
    clean = redact_body("application/json", text.encode())
    assert clean.text == text
    assert clean.removed == ()
    assert not is_secret_field(("json", name))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password=hunter2 and more", "password=‹secret 1› and more"),
        ("Authorization: Bearer abc", "Authorization: ‹secret 1›"),
        (
            '{"payload": "{\\"password\\": \\"hunter2\\"}"}',
            '{"payload": "{\\"password\\": \\"‹secret 1›\\"}"}',
        ),
        ("<a><password>hunter2</password></a>", "<a><password>‹secret 1›</password></a>"),
        ('<s:Password Type="x">hunter2</s:Password>', '<s:Password Type="x">‹secret 1›</s:Password>'),
        ("db: postgres://u:hunter2@h/d", "db: postgres://‹secret 1›@h/d"),
        ("{password: hunter2}", '{password: "‹secret 1›"}'),
        ('{"p\\u0061ssword": "hunter2"}', '{"p\\u0061ssword": "‹secret 1›"}'),
        ('{"password": 1234, "x": 1}', '{"password": "‹secret 1›", "x": 1}'),
        ('{"password": {"a": ["hunter2", null]}}', '{"password": {"a": ["‹secret 1›", null]}}'),
        ('{"password": "hunter2', '{"password": "‹secret 1›"'),
        ('{"a": 1}\n{"token": "b"}\n', '{"a": 1}\n{"token": "‹secret 1›"}\n'),
        ("nothing here = nothing: there", "nothing here = nothing: there"),
    ],
)
def test_text_of_any_form_is_searched(text: str, shown: str) -> None:
    assert redact_body("text/plain", text.encode()).text == shown


def test_one_secret_has_one_number_and_is_removed_wherever_it_stands_again() -> None:
    clean = redact(
        request(
            "/?token=correcthorse&q=correcthorse",
            {"X-Api-Key": "correcthorse", "X-Other": "a correcthorse b", "Content-Type": "text/plain"},
            b"my correcthorse, and password=battery99",
        )
    )
    assert clean.url == "https://api.example.com/?token=‹secret 1›&q=‹secret 1›"
    assert clean.headers[:2] == (("X-Api-Key", "‹secret 1›"), ("X-Other", "a ‹secret 1› b"))
    assert clean.body_text == "my ‹secret 1›, and password=‹secret 2›"
    assert clean.removed == ("query token", "header x-api-key", "body: password")


@pytest.mark.parametrize(
    ("media_type", "data", "note"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n\0\0", "10 bytes of image/png, not shown"),
        ("", b"\xff\xfe\x00", "3 bytes of no declared type, not shown"),
        ("application/json", '{"password": "x"}'.encode("utf-16"), "36 bytes of application/json, not shown"),
        ("text/plain", b"", ""),
        ("text/plain", b"plain", ""),
    ],
)
def test_a_body_that_is_no_text_is_shown_as_size_and_type(media_type: str, data: bytes, note: str) -> None:
    clean = redact_body(media_type, data)
    assert clean.note == note
    assert clean.text == (data.decode() if data == b"plain" else "")


def test_a_body_that_is_still_compressed_is_not_shown() -> None:
    clean = redact(request(headers={"Content-Encoding": "gzip"}, body=b"abc"))
    assert (clean.body_text, clean.body_note) == ("", "3 bytes, coded as gzip, not shown")


def test_a_long_body_is_cut_and_says_so() -> None:
    clean = redact_body("text/plain", b"word " * 100_000)
    assert len(clean.text) <= WINDOW
    assert clean.note == "only the first 65536 of 500000 bytes are shown"


@given(
    st.integers(0, 60),
    st.sampled_from(["text/plain", "application/json", "application/x-www-form-urlencoded", ""]),
)
@settings(max_examples=30, deadline=None)
def test_a_secret_across_the_cut_is_not_shown_by_half(before: int, media_type: str) -> None:
    secret = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
    for lead in (b" ", b"&a=", b'","'):
        data = (
            b'{"a":"' + b"x" * (WINDOW - 6 - len(lead) - before) + lead + secret.encode() + b'"} and more' * 9
        )
        assert secret[:12] not in redact_body(media_type, data).text


words = st.text("abcdefgABCDEFG0123456789", min_size=10, max_size=24)
NAMES = ["password", "api_key", "client_secret", "accessToken", "x-auth-token"]


@given(secret=words, filler=st.text(max_size=40), name=st.sampled_from(NAMES), data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_planted_secret_is_in_no_output(secret: str, filler: str, name: str, data: st.DataObject) -> None:
    place = data.draw(
        st.sampled_from(["query", "userinfo", "header", "cookie", "json", "form", "multipart", "text", "xml"])
    )
    target, headers, body = "/v1/items", {"X-Filler": "x"}, b""
    safe = quote(filler, safe="")
    match place:
        case "query":
            target = f"/v1?a={safe}&{name}={secret}&b={safe}"
        case "userinfo":
            target = f"/v1?to=https://user:{secret}@host/{safe}"
        case "header":
            headers = {name: secret, "X-Again": f"again {secret}"}
        case "cookie":
            headers = {"Cookie": f"a={safe}; b={secret}"}
        case "json":
            body = json.dumps({filler or "f": filler, "deep": [{name: secret}, filler]}).encode()
            headers = {"Content-Type": "application/json"}
        case "form":
            body = urlencode({"a": filler.encode("utf-8", "replace"), f"x[{name}]": secret}).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
        case "multipart":
            body = (
                b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n' + filler.encode("utf-8", "replace")
                + f'\r\n--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{secret}\r\n--b--'.encode()
            )  # fmt: skip
            headers = {"Content-Type": 'multipart/form-data; boundary="b"'}
        case "text":
            body = f"{name}: {secret}\n".encode() + filler.encode("utf-8", "replace")
        case "xml":
            body = f"<x><{name}>{secret}</{name}></x>".encode() + filler.encode("utf-8", "replace")
    clean = redact(request(target, headers, body))
    assert secret not in everything(clean)
    assert clean.removed or "not shown" in clean.body_note
    assert secret not in redact_url(request(target).url) or place not in ("query", "userinfo")


@given(st.binary(max_size=300), st.sampled_from(["", "application/json", "multipart/form-data; boundary=b",
       "application/x-www-form-urlencoded", "text/xml", 'multipart/form-data; boundary="']))  # fmt: skip
@settings(deadline=None)
@example(b'{"a":[[{"', "application/json")
@example(b"--b--b\r\n\r\n--b", "multipart/form-data; boundary=b")
def test_hostile_bytes_never_raise(data: bytes, media_type: str) -> None:
    redact_body(media_type, data)
    hostile = Request(
        None, data[:9], "https", "h", 1, data, ((data[:30], data), (b"content-type", data)), data
    )
    redact(hostile)
    redact_url(data.decode("latin-1"))
    redact_value(data.decode("latin-1"), ("json", data.decode("latin-1")))
    is_secret_field(("header", data.decode("latin-1")))


UNITS = ['"', '\\"', "{", "[", '{"a":', "<a ", "<a>", "eyJ", "eyJ-", "://", "a:b@", "password=", "password", '"x":', "&",
         "hook/", "/hooks/a", "-----BEGIN PRIVATE KEY-----", "4242 ", "SG.a", "a.", "key/", "maker.ifttt.com/", "%25", "1:A",
         "Bearer ", " ", "x", "password:'", 'password:"\\', "/bot1", "A", "a_", "[", "a1"]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_hostile_repetition_takes_linear_time(unit: str) -> None:
    text = unit * (WINDOW // len(unit) + 1)
    before = time.process_time()
    for media_type in ("text/plain", "application/json", "application/x-www-form-urlencoded"):
        redact_body(media_type, text.encode())
    redact(request(f"/{text[:16_000]}?{text[:16_000]}", {"X-A": text[:30_000]}))
    assert time.process_time() - before < 2.0
