"""Requests as an agent would send them, and what the decoders make of them."""

import json
from typing import Any
from urllib.parse import urlsplit

from proxy.action import UNKNOWN, Action, Request, Values
from proxy.decode import Facts, decode

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def sent(
    method: str, url: str, body: Any = b"", kind: str = "", *, headers: dict[str, str] | None = None
) -> Request:
    """A request; `body` is bytes, None (unread), or whatever JSON can be made of."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    kind = kind or (JSON if raw and not isinstance(body, bytes) else "")
    given = {"content-type": kind, **(headers or {})} if kind else headers or {}
    pairs = tuple((name.encode(), value.encode()) for name, value in given.items())
    assert parts.hostname
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Request(
        "uid:me", method.encode(), parts.scheme, parts.hostname, port, target.encode("latin-1"), pairs, raw
    )


def asked(method: str, url: str, body: Any = b"", kind: str = "", **more: Any) -> Action:
    """The request decoded; `facts` and `headers` may be named."""
    facts = more.pop("facts", Facts())
    return decode(sent(method, url, body, kind, **more), facts)


def read(action: Action, name: str) -> Any:
    """A field's values, or UNKNOWN."""
    found = action.read(tuple(name.split(".")))
    return found.items if isinstance(found, Values) else UNKNOWN
