"""
What must not be stored or shown, and the fact that it was removed.

Pure, and linear in what an agent sends: every pattern here starts where a word starts or is
bounded, and no more than `WINDOW` bytes of a body are looked at.

A secret is known by its place (a header, a parameter, a field with such a name), by its shape
(a vendor's prefix, a JWT, a PEM block), or by having been found elsewhere in the same request.
Each is replaced by ``‹secret N›``, the same N for the same secret of one request. What stays is
verbatim: a reviewer must see what would be sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxy.action import Field, Request
from proxy.redact.forms import WINDOW, body_without, text_without, url_without
from proxy.redact.names import secret_header, secret_name, secret_parameter
from proxy.redact.shapes import MARK, Found, Kept, scrub, scrub_path

__all__ = (
    "MARK",
    "WINDOW",
    "Masked",
    "Redacted",
    "RedactedBody",
    "is_secret_field",
    "mask",
    "redact",
    "redact_body",
    "redact_url",
    "redact_value",
)


@dataclass(frozen=True, slots=True)
class Redacted:
    """
    A request that may be stored and shown.

    `removed` says of every secret where it stood, `body_note` what of the body is not shown.
    """

    url: str
    headers: tuple[tuple[str, str], ...]
    body_text: str
    body_note: str
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RedactedBody:
    """A body that may be stored and shown; see `Redacted`."""

    text: str
    note: str
    removed: tuple[str, ...]


def redact(request: Request) -> Redacted:
    """The request without its secrets; never raises, whatever the bytes."""
    found = Found()
    url = url_without(request.url, found)
    headers = [_header(name, value, found) for name, value in request.headers]
    coding = b", ".join(request.header(b"content-encoding")).decode("latin-1").strip().lower()
    media_type = b", ".join(request.header(b"content-type")).decode("latin-1")
    text, note = body_without(media_type, request.body or b"", found, "" if coding == "identity" else coding)
    return Redacted(
        found.everywhere(url),
        tuple((name, found.everywhere(value)) for name, value in headers),
        found.everywhere(text),
        note,
        tuple(found.removed),
    )


@dataclass(frozen=True, slots=True)
class Masked:
    """
    The texts of a request with a mark in the place of each secret, and what each mark stands for.

    `headers` are the values, in the request's order. Putting every mark back gives each text as
    it was, so long as the agent wrote no marks of its own.
    """

    url: str
    headers: tuple[str, ...]
    body: str
    secrets: Mapping[int, str]

    def back(self, text: str) -> str:
        """A text with its secrets in the place of their marks."""
        return MARK.sub(lambda found: self.secrets.get(int(found[1]), found[0]), text)


def mask(request: Request, body: str) -> Masked:
    """
    The request without its secrets, so that they can be put back: see `Redacted` for what is one.

    `body` is the body's text, content codings undone; it is not cut. Never raises.
    """
    found = Kept()
    url = url_without(request.url, found)
    headers = [_header(name, value, found)[1] for name, value in request.headers]
    media_type = b", ".join(request.header(b"content-type")).decode("latin-1")
    text = text_without(media_type, body, found)
    url, headers, text = (
        found.everywhere(url),
        [found.everywhere(value) for value in headers],
        found.everywhere(text),
    )
    return Masked(url, tuple(headers), text, found.texts)


def redact_body(media_type: str, data: bytes) -> RedactedBody:
    """A body without its secrets; `data` is decoded already where it was compressed."""
    found = Found()
    text, note = body_without(media_type, data, found, "")
    return RedactedBody(found.everywhere(text), note, tuple(found.removed))


def redact_url(url: str) -> str:
    """A URL without userinfo, secret parameters and path segments, and secret shapes."""
    found = Found()
    return found.everywhere(url_without(url, found))


def redact_value(value: str, name: Field = ()) -> str:
    """One value to be shown, by itself; `name` is the field it was read from, where it is known."""
    found = Found()
    if name and is_secret_field(name):
        return found.mark(value, ".".join(name))
    return found.everywhere(scrub_path(scrub(value, found, "value"), found))


def is_secret_field(name: Field) -> bool:
    """Whether a policy's field holds a secret, so that it may be matched but not shown."""
    root, steps = name[0], name[1:]
    if root == "credential":
        return True
    if not steps:
        return False
    if root == "header":
        return secret_header(steps[0])
    return secret_name(steps) or (root == "query" and secret_parameter(steps[0]))


_SCHEME: Final = re.compile(r"(?i:bearer|basic|digest|token|apikey|bot|negotiate|dpop|aws4-hmac-sha256) +")


def _header(name: bytes, value: bytes, found: Found) -> tuple[str, str]:
    shown, text = name.decode("latin-1"), value.decode("utf-8", "backslashreplace")
    if not secret_header(shown):
        return shown, scrub_path(scrub(text, found, f"header {shown}"), found)
    scheme = _SCHEME.match(text) if "authorization" in shown.lower() else None
    start = scheme.end() if scheme else 0
    return shown, text[:start] + found.mark(text[start:], f"header {shown.lower()[:60]}")
