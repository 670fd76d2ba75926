"""
An edited text back to a request: read strictly, secrets put back, lengths and codings put right.

Whoever edits is trusted to decide, not to write bytes: what is not exactly one request to the
same address is an error that says where, and nothing is guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from proxy.action import Header, Request
from proxy.edit.body import Body, charset_of, check_json, open_body, unwritable
from proxy.edit.form import END, HEADERS, NAME, Form, fixed, write
from proxy.edit.layout import problem
from proxy.edit.places import Kind, Place, in_body, in_header, in_target
from proxy.edit.signed import signed
from proxy.errors import Exit, SluiceError, fail
from proxy.redact import MARK

LIMIT: Final = 160 * 1024
"""Characters of the longest edited text."""
HEAD_LIMIT: Final = 64 * 1024
"""Bytes of the head that leaves, as the gate allows an agent: names, values, 32 for each header."""

_METHOD: Final = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
_TARGET: Final = re.compile(r"/[\x21\x22\x24-\x7e]*")
_FRAMING: Final = frozenset({"HEAD", "CONNECT", "TRACE"})
_BROKEN: Final = re.compile(r"‹\s*secret|secret\s*\d+\s*›", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What an edited text says, marks still in it."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: str


def form(request: Request, kept: frozenset[bytes] = frozenset()) -> Form:
    """
    How a request is written down; SluiceError (exit 1) says why one cannot be edited.

    `kept` are names of headers, in lower case, that stay as they are.
    """
    if (why := signed(request)) is not None:
        raise _whole(f"this request is signed: {why}", "an edited one would not be what was signed")
    if request.header(b"upgrade") or request.method == b"CONNECT":
        raise _whole("this request opens a WebSocket", "what is sent on it is not held")
    if len(request.headers) > HEADERS:
        raise _whole(f"this request has over {HEADERS} headers", "")
    for body in (open_body(request), "it cannot be written down so that it comes back exactly"):
        made = write(request, body, kept)
        if _comes_back(made):
            return made
    raise _whole(
        "this request cannot be written down so that it comes back exactly", "nothing may change unseen"
    )


def _comes_back(made: Form) -> bool:
    """Whether the text, untouched, gives the same request."""
    try:
        return parsed(made, made.text) == made.request
    except SluiceError:
        return False


def edited(request: Request, text: str, kept: frozenset[bytes] = frozenset()) -> Request:
    """
    The request that an edited text says, made from the one that `form` has written down.

    An untouched text gives the same request, byte for byte. Raises SluiceError (exit 1) for all
    that cannot be edited: see the single checks.
    """
    made = form(request, kept)
    result = parsed(made, text)
    if result.body and charset_of(result) != charset_of(request):
        raise _no("the character set of the body cannot be edited", "", "leave charset in content-type")
    if (why := signed(result)) is not None:
        raise _no(f"the edited request would be signed: {why}", "nobody signs it again", "leave that out")
    _check_hidden(made, result, text)
    return result


def parsed(made: Form, text: str) -> Request:
    """The request of a text, by the form that was written down; see `edited`."""
    parts = _parts(made, text)
    _check_marks(made, parts)
    request = made.request
    headers = _headers(made, parts.headers)
    body = _body(made, parts.body)
    if body != request.body:
        headers = tuple(_measured(header, len(body or b"")) for header in headers)
    if sum(len(name) + len(value) + 32 for name, value in headers) > HEAD_LIMIT:
        raise _no("the headers are over 64 KiB", "no agent may send as much", "shorten them")
    target = made.masked.back(parts.target).encode("ascii", "backslashreplace")
    return replace(request, method=parts.method.encode("ascii"), target=target, headers=headers, body=body)


# -- from text to parts --------------------------------------------------------------


def _parts(made: Form, text: str) -> _Parts:
    lines = _lines(text)
    start = next((at for at, line in enumerate(lines) if line and not line.startswith("#")), None)
    if start is None:
        raise _no("there is no request in the text", "", "keep the request line, headers and body")
    method, target = _request_line(made, lines[start])
    blank = next((at for at in range(start, len(lines)) if not lines[at]), len(lines))
    headers = tuple(
        _header(made, line, number) for number, line in enumerate(lines[start + 1 : blank], start + 2)
    )
    if len(headers) > HEADERS:
        raise _no(f"there are over {HEADERS} headers", "", "leave some out")
    body = "\n".join(lines[blank + 1 :])
    if isinstance(made.body, str):
        if body.strip():
            raise _no(f"the body cannot be edited: {made.body}", "", "leave nothing below the headers")
        body = ""
    return _Parts(method, target, headers, body)


def _lines(text: str) -> list[str]:
    """The lines above the end mark."""
    if len(text) > LIMIT:
        raise _no(f"the text is over {LIMIT} characters", "all of it must be seen", "shorten it")
    above, mark, below = text.rpartition(f"\n{END}")
    if not mark or any(line and not line.startswith("#") for line in below.split("\n")):
        raise _no(
            "the last lines of the text are not as they were",
            "without them nobody can say whether the text was saved in full",
            "leave them as they are, and write nothing below",
        )
    if (found := unwritable(above)) is not None:
        raise _no(
            f"the text holds the character {found}", "a terminal may obey it, and no one sees it", "remove it"
        )
    if _BROKEN.search(MARK.sub("", above)):
        raise _no(
            "a mark for a secret is damaged", "its secret cannot be put back", "keep it or delete it whole"
        )
    return above.split("\n")


def _request_line(made: Form, line: str) -> tuple[str, str]:
    method, blank, url = line.partition(" ")
    before = made.request.method.decode("latin-1")
    if not blank or (method != before and not _METHOD.fullmatch(method)):
        raise _no("the request line is malformed", "", "write it as: METHOD URL")
    if method != before and not _FRAMING.isdisjoint((method, before)):
        raise _no(
            f"{before} cannot become {method}", "its answer would be framed in another way", "deny it instead"
        )
    if not url.startswith(made.origin):
        raise _no(
            f"where the request goes cannot be edited: it goes to {made.origin}",
            "its connection, its secrets and the rules that held it are for this address",
            "deny it, and say where it should go",
        )
    target = url.removeprefix(made.origin)
    if target != made.masked.url.removeprefix(made.origin) and not _TARGET.fullmatch(MARK.sub("", target)):
        raise _no("the path is malformed", "", "escape blanks and all that is not ASCII as %XX; no #")
    return method, target


def _header(made: Form, line: str, number: int) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not NAME.fullmatch(name):
        raise _no(f"line {number} is no header", "", "write it as: name: value")
    if fixed(name.encode("ascii"), made.kept):
        raise _no(
            f"the header {name} cannot be edited",
            "the gate sets it, or it is not of this request",
            "leave it out",
        )
    return (name.lower() if made.request.version == "HTTP/2" else name), value.strip(" \t")


# -- secrets -------------------------------------------------------------------------


def _check_marks(made: Form, parts: _Parts) -> None:
    """No mark is where it was not, none is there twice."""
    before, after = Counter(made.marks()), Counter(_marks(made, parts))
    for (number, _), _ in sorted((after - before).items(), key=lambda item: item[0][0]):
        raise _no(
            f"‹secret {number}› {_misplaced(number, before, after)}",
            "a secret goes nowhere but where the agent put it",
            "put it back in its place, or delete it",
        )


def _misplaced(number: int, before: Counter[tuple[int, Place]], after: Counter[tuple[int, Place]]) -> str:
    if not any(one == number for one, _ in before):
        return "is none of this request"
    had = sum(count for (one, _), count in before.items() if one == number)
    has = sum(count for (one, _), count in after.items() if one == number)
    return "stands there once more than it did" if has > had else "does not stand in its own place"


def _marks(made: Form, parts: _Parts) -> list[tuple[int, Place]]:
    marks = list(in_target(parts.target))
    for name, value in parts.headers:
        marks += in_header(name, value)
    if isinstance(made.body, Body):
        marks += in_body(made.kind, _masked(made, made.body, parts.body))
    return marks


def _masked(made: Form, body: Body, shown: str) -> str:
    """The edited body, marks in it; what was JSON is JSON, so that its places are certain."""
    masked = body.masked(shown)
    if made.kind is Kind.JSON and masked.strip():
        check_json(masked)
    return masked


def _check_hidden(made: Form, result: Request, text: str) -> None:
    """
    What was shown still can be, and a secret that stays is still one that is known.

    Its place is what most are known by, and an edit may change what stands around it: the edit
    would show it to everyone.
    """
    after = form(result, made.kept)
    if isinstance(made.body, Body) and isinstance(after.body, str):
        raise _no(f"the edited body could not be shown: {after.body}", "", "write it in another way")
    marks = _marks(made, _parts(made, text))
    stays = Counter((place, made.masked.secrets[number]) for number, place in marks)
    if stays - after.secrets():
        raise _no(
            "a secret of the edited request would no longer be known as one",
            "it would be shown, and written into the ledger",
            "leave what stands around it, and the content-type, as they were",
        )


# -- from parts to bytes --------------------------------------------------------------


def _headers(made: Form, written: Sequence[tuple[str, str]]) -> tuple[Header, ...]:
    """The headers as they leave: what was fixed goes where it was, between what is written."""
    lines = [(name.encode("ascii"), made.masked.back(value).encode("utf-8")) for name, value in written]
    shown = frozenset(made.shown)
    headers: list[Header] = []
    used = passed = 0
    for at, header in enumerate(made.request.headers):
        if at in shown:
            passed += 1
            continue
        headers += lines[used:passed]
        used = min(max(used, passed), len(lines))
        headers.append(header)
    return (*headers, *lines[used:])


def _body(made: Form, shown: str) -> bytes | None:
    """The body's bytes: the very same where the text is, coded and measured anew where it is not."""
    if isinstance(made.body, str):
        return made.request.body
    text = made.masked.back(_masked(made, made.body, shown))
    if text == made.body.text:
        return made.request.body
    if made.kind is Kind.JSON and text.strip() and problem(text) is not None:
        raise _no(
            "the body is no longer JSON", "a secret stands where it is no value", "keep it in its quotes"
        )
    return made.body.written(text)


def _measured(header: Header, length: int) -> Header:
    return (header[0], b"%d" % length) if header[0].lower() == b"content-length" else header


def _no(what: str, why: str, fix: str) -> SluiceError:
    return fail(what, why, fix, exit=Exit.NO)


def _whole(what: str, why: str) -> SluiceError:
    return _no(what, why, "approve it as it is, or deny it and say what is wrong")
