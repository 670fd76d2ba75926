"""
Mail: whom it reaches, from whom, about what, out of the requests of the services that send it.

Which service takes a request is told by host and path, so that no other server's body is taken
for a mail. `email.to` is everyone whom the mail reaches, copies and blind copies too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from proxy.action import ABSENT, UNKNOWN, Document, Field, Reading, Values
from proxy.decode import http, json, mime, multipart
from proxy.decode.decoded import Body, Decoded, Head
from proxy.decode.mime import addresses


class _Layout(NamedTuple):
    """Where a service's body says what; names of fields, dots as steps (``\\.`` is none)."""

    to: str
    sender: str
    subject: str = ""
    text: str = ""
    files: str = ""
    raw: str = ""


@dataclass(frozen=True, slots=True)
class _Sends:
    """A service's way to send: `raw` in the layout holds a MIME message in base64."""

    host: re.Pattern[str]
    path: re.Pattern[str]
    layout: _Layout


def _sends(host: str, path: str, layout: _Layout) -> _Sends:
    return _Sends(re.compile(host), re.compile(path, re.IGNORECASE), layout)


_SENDGRID: Final = _Layout(
    to="personalizations.to.email personalizations.cc.email personalizations.bcc.email",
    sender="from.email personalizations.from.email",
    subject="subject personalizations.subject",
    text="content.value",
    files="attachments.filename",
)
_SES_V2: Final = _Layout(
    to="Destination.ToAddresses Destination.CcAddresses Destination.BccAddresses "
    "BulkEmailEntries.Destination.ToAddresses BulkEmailEntries.Destination.CcAddresses "
    "BulkEmailEntries.Destination.BccAddresses",
    sender="FromEmailAddress",
    subject="Content.Simple.Subject.Data",
    text="Content.Simple.Body.Text.Data Content.Simple.Body.Html.Data",
    files="Content.Simple.Attachments.FileName",
    raw="Content.Raw.Data",
)
_GRAPH: Final = _Layout(
    to="message.toRecipients.emailAddress.address message.ccRecipients.emailAddress.address "
    "message.bccRecipients.emailAddress.address toRecipients.emailAddress.address",
    sender="message.from.emailAddress.address message.sender.emailAddress.address",
    subject="message.subject",
    text="message.body.content comment",
    files="message.attachments.name",
)
_MAILGUN: Final = _Layout("to cc bcc", "from", "subject", "text html", "attachment.filename")
_POSTMARK: Final = _Layout(
    to="To Cc Bcc Messages.To Messages.Cc Messages.Bcc",
    sender="From Messages.From",
    subject="Subject Messages.Subject",
    text="TextBody HtmlBody Messages.TextBody Messages.HtmlBody",
    files="Attachments.Name Messages.Attachments.Name",
)
_RESEND: Final = _Layout("to cc bcc", "from", "subject", "text html", "attachments.filename")
_SES_V1: Final = _Layout(
    to="",
    sender="Source",
    subject=r"Message\.Subject\.Data",
    text=r"Message\.Body\.Text\.Data Message\.Body\.Html\.Data",
    raw=r"RawMessage\.Data",
)
_GMAIL: Final = _Layout("", "", raw="raw message.raw")

_GOOGLE: Final = r"(?:gmail|www)\.googleapis\.com"
_SERVICES: Final = (
    _sends(r"api(?:\.eu)?\.sendgrid\.com", r"/v3/mail/send/?", _SENDGRID),
    _sends(r"email(?:-fips)?\..+", r"/v2/email/outbound-(?:bulk-)?emails/?", _SES_V2),
    _sends(
        _GOOGLE, r"(?:/upload)?/gmail/v1/users/[^/]+/(?:messages|messages/send|drafts|drafts/send)/?", _GMAIL
    ),
    _sends(
        r"(?:dod-)?(?:graph\.microsoft\.(?:com|us)|microsoftgraph\.chinacloudapi\.cn)",
        r"/[^/]+/(?:me|users/[^/]+)/(?:sendmail|messages/[^/]+/(?:forward|reply|replyall|send))/?",
        _GRAPH,
    ),
    _sends(r"api(?:\.eu)?\.mailgun\.net", r"/v\d/[^/]+/messages(?:\.mime)?/?", _MAILGUN),
    _sends(r"api\.postmarkapp\.com", r"/email(?:/(?:batch|batchwithtemplates|withtemplate))?/?", _POSTMARK),
    _sends(r"api\.resend\.com", r"/emails(?:/batch)?/?", _RESEND),
)
_HOSTS: Final = ("sendgrid.com", "amazonaws.com", "googleapis.com", "microsoft.com", "microsoft.us")
_MORE_HOSTS: Final = ("chinacloudapi.cn", "mailgun.net", "postmarkapp.com", "resend.com")
_ANSWERS: Final = re.compile(r"/reply(?:all)?/?\Z", re.IGNORECASE)
_SES_ACTIONS: Final = frozenset({"SendEmail", "SendRawEmail", "SendBulkTemplatedEmail", "SendTemplatedEmail"})
_SES_TO: Final = re.compile(
    r"(?:Destinations|(?:Destinations\.member\.\d+\.)?Destination\.(?:To|Cc|Bcc)Addresses)\.member\.\d+"
)


class _Mail(NamedTuple):
    """A mail as it was understood; None in place of a value that cannot be read."""

    to: Reading
    sender: Reading
    subject: Reading
    text: Reading
    files: Reading


_OPAQUE: Final = _Mail(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)


def decode(head: Head, body: Body) -> Decoded | None:
    """The mail that a request sends; None where its service and path are none that sends."""
    if not head.host.endswith(_HOSTS + _MORE_HOSTS) or head.method == "GET":
        return None
    for service in _SERVICES:
        if service.host.fullmatch(head.host) and service.path.fullmatch(head.path):
            return Decoded("mail", documents={"email": _document(head, body, service.layout)})
    if body.form is not None and head.host.startswith("email") and _is_ses(body.form):
        return Decoded("mail", documents={"email": _document(head, body, _SES_V1)})
    return None


def _is_ses(form: http.Pairs) -> bool:
    return any(steps == ("Action",) and value in _SES_ACTIONS for steps, value in form)


def _document(head: Head, body: Body, layout: _Layout) -> Document:
    """Reads the mail when it is first asked for: most requests are judged without."""

    @cache
    def mail() -> _Mail:
        return _read(head, body, layout)

    def read(name: Field) -> Reading:
        match name:
            case ("to",):
                return mail().to
            case ("from",):
                return mail().sender
            case ("subject",):
                return mail().subject
            case ("text",):
                return mail().text
            case ("attachment",):
                return mail().files
            case _:
                return UNKNOWN

    return read


def _read(head: Head, body: Body, layout: _Layout) -> _Mail:
    if head.kind == "message/rfc822" and body.plain is not None:
        return _of_message(mime.read(body.plain))
    source = _source(body)
    if source is None:
        return _OPAQUE
    if layout is _SES_V1:
        to = _bare([value for steps, value in body.form or [] if _SES_TO.fullmatch(steps[0])])
    else:
        to = _bare(_texts(source, layout.to))
    if layout is _MAILGUN and head.path.lower().rstrip("/").endswith(".mime"):
        return _Mail(to, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
    found = _Mail(
        to,
        _bare(_texts(source, layout.sender)),
        Values(tuple(_texts(source, layout.subject))),
        Values(tuple(_texts(source, layout.text))),
        Values(tuple(_texts(source, layout.files))),
    )
    if _ANSWERS.search(head.path):
        found = found._replace(to=Values((*to.items, None)))  # and whoever wrote what is answered
    return _with_raw(found, _texts(source, layout.raw))


def _source(body: Body) -> Document | None:
    if body.is_json:
        return json.document(body.tree)
    if body.form is not None:
        return http.parameters(body.form)
    return None if body.parts is None else multipart.document(body.parts)


def _texts(source: Document, names: str) -> list[str | None]:
    found: list[str | None] = []
    for name in names.split():
        steps = tuple(step.replace("\0", ".") for step in name.replace(r"\.", "\0").split("."))
        reading = source(steps)
        found += reading.items if isinstance(reading, Values) else (None,)
    return found


def _bare(texts: Iterable[str | None]) -> Values:
    """The addresses in a list of texts, without names and without duplicates."""
    found: dict[str | None, None] = {}
    for text in texts:
        for address in (None,) if text is None else addresses(text):
            found[address] = None
    return Values(tuple(found))


def _with_raw(found: _Mail, raw: Sequence[str | None]) -> _Mail:
    """A mail and the message in it; recipients beside a message are those that count."""
    if not raw:
        return _reaching(found)
    if len(raw) > 1 or raw[0] is None:
        return _OPAQUE
    content = mime.from_base64(raw[0])
    if content is None:
        return _OPAQUE
    inside = _of_message(mime.read(content))
    given = isinstance(found.to, Values) and found.to.items
    sender = found.sender if isinstance(found.sender, Values) and found.sender.items else inside.sender
    return _reaching(inside._replace(to=found.to if given else inside.to, sender=sender))


def _reaching(found: _Mail) -> _Mail:
    """A mail reaches somebody: where the request names nobody, it is not known whom."""
    if found.to != ABSENT:
        return found
    return _Mail(*(UNKNOWN if reading == ABSENT else reading for reading in found))


def _of_message(message: mime.Message | None) -> _Mail:
    if message is None:
        return _OPAQUE
    subject = Values((message.subject,)) if message.subject is not None else ABSENT
    text = UNKNOWN if message.texts is None else Values(message.texts)
    files = UNKNOWN if message.files is None else Values(message.files)
    return _Mail(_bare(message.to), _bare(message.sender), subject, text, files)
