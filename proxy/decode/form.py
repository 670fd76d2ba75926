"""
Form bodies (application/x-www-form-urlencoded, WHATWG URL section 5), Stripe's brackets included.
"""

from __future__ import annotations

from proxy.action import Document
from proxy.decode.http import Pairs, Unreadable, parameters, read_pairs, unknown


def is_form(media_type: str) -> bool:
    """Whether a media type declares a urlencoded form."""
    return media_type == "application/x-www-form-urlencoded"


def parse(body: bytes) -> Pairs:
    """
    The pairs of a form; Unreadable where a value or a name breaks the format.

    A raw ``;`` is data here: see `document`.
    """
    if not body.isascii():
        raise Unreadable("the form has bytes that are not ASCII")
    pairs = read_pairs(body.replace(b";", b"%3B"))
    if any(value is None for _, value in pairs):
        raise Unreadable("the form has a broken escape, or one that is not UTF-8")
    return pairs


def document(pairs: Pairs, body: bytes) -> Document:
    """
    Reads a form's fields.

    A raw ``;`` is data for most servers and a separator for some: then no field can be read,
    but the request is no less well-formed for it.
    """
    return unknown if b";" in body else parameters(pairs)
