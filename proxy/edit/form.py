"""
A request as a text that a person edits: request line with the whole URL, headers, blank line, body.

What is fixed is not written down: the address, what frames the message and belongs to one
connection, what the gate sets itself. Secrets are marks. Every form has been read back once
before anyone sees it, and gave the same request byte for byte; a part for which that does not
hold is fixed as well, and the text says so.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from proxy.action import Header, Request, passing
from proxy.edit.body import Body, unwritable
from proxy.edit.places import Kind, Place, in_body, in_header, in_target, kind_of
from proxy.redact import MARK, Masked, mask

HEADERS: Final = 300
"""Headers that a request may have at most to be edited."""

END: Final = "# ---- the request ends above this line; leave it and what is below as it is ----"
# Editors look for settings of their own in the last five lines of a file: the agent's are not there.
_TAIL: Final = f"{END}\n" + "#\n" * 6

# Framing, coding, routing, digests of a body, and what the gate itself sets. With them all that
# is left out of a request's digest: what is sent must be what was reviewed.
_FIXED: Final = frozenset(
    b"keep-alive trailer transfer-encoding upgrade http2-settings content-encoding host content-md5 digest "
    b"content-digest repr-digest x-goog-hash x-sluice-confidence".split()
)
_FIXED_PREFIXES: Final = (b"sec-websocket-", b"x-amz-checksum-", b"sluice-", b":")
NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")


def fixed(name: bytes, kept: frozenset[bytes] = frozenset()) -> bool:
    """Whether a header cannot be edited; `kept` are more names of such, in lower case."""
    low = name.lower()
    return passing(low) or low in _FIXED or low in kept or low.startswith(_FIXED_PREFIXES)


@dataclass(frozen=True, slots=True)
class Form:
    """
    How one request is written down.

    `shown` are the positions of the headers that are; `body` is the body as text, or why it is
    not there. `kept` are header names that are fixed for this request.
    """

    request: Request
    masked: Masked
    shown: tuple[int, ...]
    body: Body | str
    kept: frozenset[bytes] = frozenset()

    @property
    def origin(self) -> str:
        """Where it goes, as the URL says it before its path."""
        url = self.request.url
        return url[: len(url) - len(self.target)]

    @property
    def target(self) -> str:
        """The target with its secrets."""
        return self.request.target.decode("ascii", "backslashreplace")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Names and masked values of the headers that are shown."""
        return [(self.request.headers[at][0].decode("latin-1"), self.masked.headers[at]) for at in self.shown]

    @property
    def kind(self) -> Kind:
        """The form of its body, which the places of its secrets are named by."""
        types = [value.decode("latin-1") for value in self.request.header(b"content-type")]
        return kind_of(", ".join(types), self.masked.body)

    @property
    def text(self) -> str:
        """All of it, as it goes into the editor."""
        lines = [*_comments(self), f"{self.request.method.decode('latin-1')} {self.masked.url}"]
        lines += [f"{name}: {value}".rstrip(" ") for name, value in self.headers]
        body = self.body.shown(self.masked.body) if isinstance(self.body, Body) else ""
        return "\n".join((*lines, "", body, _TAIL))

    def secrets(self) -> Counter[tuple[Place, str]]:
        """Where each secret stands, and which it is, in what is shown."""
        return Counter((place, self.masked.secrets[number]) for number, place in self.marks())

    def marks(self) -> list[tuple[int, Place]]:
        """Every mark that is shown: its number and its place."""
        marks = list(in_target(self.masked.url.removeprefix(self.origin)))
        for name, value in self.headers:
            marks += in_header(name, value)
        if isinstance(self.body, Body):
            marks += in_body(self.kind, self.masked.body)
        return marks


def write(request: Request, body: Body | str, kept: frozenset[bytes]) -> Form:
    """Write a request down; whether it comes back exactly is for the reader to try."""
    masked = mask(request, body.text if isinstance(body, Body) else "")
    shown = tuple(
        at
        for at, header in enumerate(request.headers)
        if not fixed(header[0], kept) and _writable(header, masked.headers[at])
    )
    return Form(request, masked, shown, body, kept)


def _writable(header: Header, masked: str) -> bool:
    """Whether a header is text that can be written on one line, and has no marks of its own."""
    try:
        name, value = header[0].decode("ascii"), header[1].decode("utf-8")
    except UnicodeDecodeError:
        return False
    sound = NAME.fullmatch(name) and value == value.strip(" \t") and "\n" not in value
    return bool(sound) and unwritable(value) is None and not MARK.search(value) and "\n" not in masked


def _comments(made: Form) -> list[str]:
    said = [
        "# Edit the request below, save and close. What has changed is shown before",
        "# anything is sent. To leave it as it is: close without a change.",
        f"# Where it goes is fixed: {made.origin}",
        "# ‹secret 1› stands for a secret that you cannot read. It stays in its place",
        "# or is deleted. Headers that are not shown stay as they are; the gate puts",
        "# the length of the body right.",
    ]
    hidden = [
        name.decode("ascii", "backslashreplace")[:60]
        for at, (name, _) in enumerate(made.request.headers)
        if at not in made.shown and not fixed(name)
    ]
    if hidden:
        said.append(f"# Not shown and kept as they are: {', '.join(hidden[:20])}")
    if isinstance(made.body, str):
        size = len(made.request.body or b"")
        said.append(f"# The body of {size} bytes is not shown and stays as it is: {made.body}")
    return said
