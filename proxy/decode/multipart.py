"""
Multipart bodies: form-data (RFC 7578) and the containers of batches (RFC 2046 section 5.1).

Form-data is read strictly, because parsers differ in all that is loose: one boundary, CRLF line
ends, nothing before the first or after the last delimiter, one plain name a part. A file is
known by its name, type and size, never by its content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.action import ABSENT, UNKNOWN, Document, Field, Reading, Values
from proxy.decode.http import Pairs, Unreadable, parameters, steps_of

MAX_PARTS: Final = 2_000
MAX_HEADERS: Final = 32
MAX_HEAD: Final = 8 * 1024

_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_HEADER: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\x00]*)")
_PARAMETER: Final = re.compile(
    r"[ \t]*;[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:\"([^\"]*)\"|([!#$%&'+\-.^_`|~0-9A-Za-z]+))"
)


@dataclass(frozen=True, slots=True)
class Part:
    """
    One part: its headers by lower-case name, and its content.

    `steps` is the name of a form's field, brackets as steps. `filename` is None for what is no
    file, and empty for a file whose name cannot be read.
    """

    headers: Mapping[str, str]
    content: bytes
    steps: tuple[str, ...] = ()
    filename: str | None = None

    @property
    def kind(self) -> str:
        """The media type in lower case, empty for none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def text(self) -> str | None:
        """A field's value; None for a file, and for what is not UTF-8."""
        if self.filename is not None:
            return None
        try:
            return self.content.decode("utf-8")
        except UnicodeDecodeError:
            return None


def split(body: bytes, boundary: str | None, *, line_feeds: bool = False) -> list[Part]:
    """
    The parts of a multipart body.

    `line_feeds` also takes a body whose lines all end in a bare line feed, as some clients
    write batches. Unreadable where the body breaks its format, or two parsers could differ.
    """
    if not boundary or not _BOUNDARY.fullmatch(boundary):
        raise Unreadable("the multipart body has no well-formed boundary")
    mark = b"--" + boundary.encode("ascii")
    end = b"\n" if line_feeds and b"\r\n" + mark not in body and body.startswith(mark + b"\n") else b"\r\n"
    pieces = (end + body).split(end + mark, MAX_PARTS + 2)
    if len(pieces) > MAX_PARTS + 2:
        raise Unreadable(f"the multipart body has more than {MAX_PARTS} parts")
    before, *inner, last = pieces if len(pieces) > 1 else (*pieces, b"")
    if before not in (b"", end):
        raise Unreadable("the multipart body has text before its first part")
    if last not in (b"--", b"--" + end):
        raise Unreadable("the multipart body does not end with its last delimiter, or goes on after it")
    parts = [_part(piece, end) for piece in inner]
    if body.count(b"\n" + mark) + body.startswith(mark) != len(pieces) - 1:
        raise Unreadable("the multipart body has a delimiter after a bare line feed")
    return parts


def _part(piece: bytes, end: bytes) -> Part:
    if not piece.startswith(end):
        raise Unreadable("the multipart body has a line that begins like a delimiter")
    if piece.startswith(end + end):
        return Part({}, piece[2 * len(end) :])
    head, gap, content = piece[len(end) : MAX_HEAD].partition(end + end)
    if not gap:
        raise Unreadable("a part's headers do not end, or are too long")
    content = piece[len(end) + len(head) + 2 * len(end) :]
    lines = head.split(end)
    if len(lines) > MAX_HEADERS:
        raise Unreadable(f"a part has more than {MAX_HEADERS} headers")
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise Unreadable("a part has a malformed header")
        name = found[1].decode("ascii").lower()
        if name in headers:
            raise Unreadable(f"a part has the header '{name[:40]}' twice")
        try:
            headers[name] = found[2].decode("utf-8").strip(" \t")
        except UnicodeDecodeError:
            raise Unreadable("a part has a header that is not UTF-8") from None
    return Part(headers, content)


def parse(body: bytes, boundary: str | None) -> tuple[Part, ...]:
    """The fields of a form (multipart/form-data)."""
    return tuple(_named(part) for part in split(body, boundary))


def _named(part: Part) -> Part:
    if part.headers.get("content-transfer-encoding", "binary").lower() not in ("7bit", "8bit", "binary"):
        raise Unreadable("a part has a transfer encoding, which some servers undo and others do not")
    given = _disposition(part.headers.get("content-disposition", ""))
    name = given.get("name", "")
    if not name or "name*" in given or any(char in name for char in '\\%"'):
        raise Unreadable("a part has no name, or one that servers read differently")
    if "filename" not in given and "filename*" not in given:
        return Part(part.headers, part.content, steps_of(name))
    filename = given.get("filename", "")
    plain = "filename*" not in given and not any(char in filename for char in "\\%")
    return Part(part.headers, part.content, steps_of(name), filename if plain else "")


def _disposition(value: str) -> dict[str, str]:
    kind, semicolon, rest = value.partition(";")
    if kind.strip().lower() != "form-data":
        raise Unreadable("a part is not declared as form-data")
    rest, at, found = semicolon + rest, 0, dict[str, str]()
    while at < len(rest):
        match = _PARAMETER.match(rest, at)
        if match is None or match[1].lower() in found:
            raise Unreadable("a part's Content-Disposition is malformed")
        found[match[1].lower()] = match[2] if match[2] is not None else match[3]
        at = match.end()
    return found


def document(parts: Sequence[Part]) -> Document:
    """
    Reads ``multipart.A``; a file's fields are ``A.filename``, ``A.type`` and ``A.size``.

    A file itself is a value that cannot be read. Where a part names the charset of the others
    (``_charset_``), nothing is known.
    """
    if any(part.steps == ("_charset_",) for part in parts):
        return lambda _: UNKNOWN
    read_fields = parameters(values(parts))
    files = [part for part in parts if part.filename is not None]

    def read(name: Field) -> Reading:
        found = read_fields(name)
        if len(name) > 1 and files and (about := _of_files(files, name)):
            return Values(((*found.items,) if isinstance(found, Values) else ()) + about)
        return found

    return read


def values(parts: Sequence[Part]) -> Pairs:
    """The parts as pairs of a name and a value; a file's value is None."""
    return [(part.steps, part.text) for part in parts]


def _of_files(files: Sequence[Part], name: Field) -> tuple[str | None, ...]:
    if name[-1] not in ("filename", "type", "size"):
        return ()
    meant = [part for part in files if parameters([(part.steps, "")])(name[:-1]) is not ABSENT]
    return tuple(_about(part, name[-1]) for part in meant)


def _about(part: Part, what: str) -> str | None:
    match what:
        case "filename":
            return part.filename or None
        case "type":
            return part.kind
        case _:
            return str(len(part.content))


def is_form_data(kind: str) -> bool:
    """Whether a media type declares a multipart form."""
    return kind == "multipart/form-data"
