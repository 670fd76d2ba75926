"""Mail: whom it reaches, whatever the service that sends it."""

import base64
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.action import UNKNOWN, Action
from proxy.decode.mime import addresses, from_base64
from proxy.decode.mime import read as read_message

from .asking import FORM, asked, read

MIME = b"""\
From: Ann <ann@x.org>
To: bob@y.org,
 "C, D" <c@z.org>
Bcc: =?utf-8?q?J=C3=BC?= <j@q.org>
Subject: =?utf-8?b?SMOk?=
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

hello
--b
Content-Type: application/pdf
Content-Disposition: attachment; filename="x.pdf"

xx
--b--
""".replace(b"\n", b"\r\n")
TO = ("bob@y.org", "c@z.org", "j@q.org")
URLSAFE = base64.urlsafe_b64encode(MIME).decode()
GMAIL = "https://gmail.googleapis.com/gmail/v1/users/me/messages/send"
GRAPH = "https://graph.microsoft.com/v1.0/me"


def people(*addresses: str) -> list[dict[str, Any]]:
    return [{"emailAddress": {"address": one}} for one in addresses]


def mail(action: Action) -> tuple[Any, ...]:
    return tuple(read(action, f"email.{name}") for name in ("to", "from", "subject"))


SENDGRID = {
    "personalizations": [
        {"to": [{"email": "a@x.org"}, {"email": "b@x.org"}], "bcc": [{"email": "c@x.org"}]},
        {"to": [{"email": "a@x.org"}]},
    ],
    "from": {"email": "me@x.org"},
    "subject": "Hi",
    "content": [{"type": "text/plain", "value": "v"}],
    "attachments": [{"filename": "f.txt", "content": "aGk="}],
}
SES_FORM = (
    "Action=SendEmail&Source=me%40x.org&Destination.ToAddresses.member.1=a%40x.org"
    "&Destination.CcAddresses.member.1=b%40x.org&Message.Subject.Data=Hi&Message.Body.Text.Data=v"
)
SES_V2 = {
    "Destination": {"ToAddresses": ["a@x.org"], "BccAddresses": ["b@x.org"]},
    "FromEmailAddress": "me@x.org",
    "Content": {"Simple": {"Subject": {"Data": "Hi"}, "Body": {"Text": {"Data": "v"}}}},
}


SES = "https://email.eu-west-1.amazonaws.com/"
SEND_MAIL = {
    "message": {
        "subject": "Hi",
        "from": people("me@x.org")[0],
        "toRecipients": people("a@x.org"),
        "ccRecipients": people("b@x.org"),
    }
}
MAILGUN = b"to=A+%3Ca%40x.org%3E,b%40x.org&from=me%40x.org&subject=Hi"
POSTMARK = {"To": "a@x.org", "Bcc": "b@x.org", "From": "me@x.org", "Subject": "Hi"}
RESEND = {"to": ["a@x.org"], "cc": "b@x.org", "from": "Me <me@x.org>", "subject": "Hi"}
RESEND_MANY = [{"to": "a@x.org", "from": "me@x.org", "subject": "Hi"}, {"to": "b@x.org"}]
BOTH = ("a@x.org", "b@x.org")


@pytest.mark.parametrize(
    ("url", "body", "kind", "to"),
    [
        ("https://api.sendgrid.com/v3/mail/send", SENDGRID, "", (*BOTH, "c@x.org")),
        (SES, SES_FORM.encode(), FORM, BOTH),
        (f"{SES}v2/email/outbound-emails", SES_V2, "", BOTH),
        (f"{GRAPH}/sendMail", SEND_MAIL, "", BOTH),
        ("https://api.eu.mailgun.net/v3/x.org/messages", MAILGUN, FORM, BOTH),
        ("https://api.postmarkapp.com/email", POSTMARK, "", BOTH),
        ("https://api.resend.com/emails", RESEND, "", BOTH),
        ("https://api.resend.com/emails/batch", RESEND_MANY, "", BOTH),
    ],
)
def test_everyone_whom_a_mail_reaches_is_read(url: str, body: Any, kind: str, to: tuple[str, ...]) -> None:
    got = asked("POST", url, body, kind)
    assert got.unreadable is None
    assert mail(got) == (to, ("me@x.org",), ("Hi",))
    assert read(got, "blast.recipients") == (str(len(to)),)


@pytest.mark.parametrize(
    ("url", "body", "kind"),
    [
        (GMAIL, {"raw": URLSAFE.rstrip("=")}, ""),
        (GMAIL.replace("messages/send", "drafts"), {"message": {"raw": URLSAFE}}, ""),
        (GMAIL.replace("/gmail/", "/upload/gmail/", 1), MIME, "message/rfc822"),
        ("https://email.us-east-1.amazonaws.com/v2/email/outbound-emails",
         {"Content": {"Raw": {"Data": base64.b64encode(MIME).decode()}}}, ""),
        ("https://email.us-east-1.amazonaws.com/",
         f"Action=SendRawEmail&RawMessage.Data={quote(base64.b64encode(MIME).decode())}".encode(), FORM),
    ],
)  # fmt: skip
def test_a_message_inside_is_read(url: str, body: Any, kind: str) -> None:
    got = asked("POST", url, body, kind)
    assert mail(got) == (TO, ("ann@x.org",), ("Hä",))
    assert read(got, "email.text") == ("hello",)
    assert read(got, "email.attachment") == ("x.pdf",)
    assert read(got, "blast.recipients") == ("3",)


def test_recipients_beside_a_message_are_those_that_count() -> None:
    body = {"Destination": {"ToAddresses": ["a@x.org"]}, "Content": {"Raw": {"Data": URLSAFE}}}
    url = "https://email.us-east-1.amazonaws.com/v2/email/outbound-emails"
    assert read(asked("POST", url, body), "email.to") == ("a@x.org",)


@pytest.mark.parametrize(
    ("url", "body"),
    [
        (GMAIL, {"raw": "!!"}),
        (GMAIL, {"raw": ["a", "b"]}),
        (GMAIL.replace("messages/send", "drafts/send"), {"id": "r1"}),
        (f"{GRAPH}/messages/m1/send", {}),
        (GMAIL, None),
        ("https://api.example.com/send", {"to": "a@x.org", "subject": "Hi"}),
    ],
)
def test_whom_nobody_can_tell_is_unknown(url: str, body: Any) -> None:
    got = asked("POST", url, body, "application/json")
    assert read(got, "email.to") is UNKNOWN
    assert body is None or "example" in url or read(got, "blast.recipients") is UNKNOWN


def test_an_answer_reaches_whoever_wrote() -> None:
    got = asked("POST", f"{GRAPH}/messages/m1/replyAll", {"message": {"toRecipients": people("a@x.org")}})
    assert read(got, "email.to") == ("a@x.org", None)
    assert read(got, "blast.recipients") == (None,)


def test_an_address_that_cannot_be_read_is_a_value_of_none() -> None:
    got = asked(
        "POST", "https://api.resend.com/emails", {"to": ["a@x.org", "not an address"], "from": "b@x.org"}
    )
    assert read(got, "email.to") == ("a@x.org", None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a@b.org", ("a@b.org",)),
        ('"A, B" <a@b.org>, c@d.org;e@f.org', ("a@b.org", "c@d.org", "e@f.org")),
        ("A <a@b.org> <c@d.org>", (None,)),
        ("<a@b.org>x", (None,)),
        ("group: a@b.org", (None,)),
        ('"open <a@b.org>', (None,)),
        (", ,", ()),
    ],
)
def test_addresses_are_bare_or_not_read(text: str, found: tuple[str | None, ...]) -> None:
    assert addresses(text) == found


def test_base64_is_read_in_both_alphabets_and_refused_otherwise() -> None:
    assert from_base64("-_8=") == from_base64("+/8") == b"\xfb\xff"
    assert from_base64("a b\r\nc=") == from_base64("abc")
    assert from_base64("a$b") is None


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_none(raw: bytes) -> None:
    assert read_message(raw) == read_message(raw)
    assert read_message(b"To: a@b.org\r\n" + raw) == read_message(b"To: a@b.org\r\n" + raw)
