"""
Verifying an exported jsonl: line by line, with flat memory, without the ledger it came from.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import BinaryIO, Final, NamedTuple

from proxy.chain import LIMIT, Findings, Links, UnfitError, canonical, parse_line
from proxy.ledger.anchors import Roots
from proxy.ledger.keyline import KeyLine
from proxy.ledger.removal import Pruned
from proxy.ledger.reviews import Reviews
from proxy.ledger.story import Story
from proxy.note import Key, NoteError

_LINE: Final = LIMIT + 1
_OMITTED: Final = b'{"hashes":["'
_OMITTED_END: Final = b'"],"kind":"omitted"}\n'
_HASHES: Final = re.compile(rb'(?:[0-9a-f]{64}",")+')
_HASH: Final = re.compile(rb"[0-9a-f]{64}")
_EXPORTED: Final = frozenset({"count", "filters", "head", "kind", "self"})


class _Run(NamedTuple):
    """A run of entries left out of an export."""

    length: int
    last: bytes


def vkey_of(file: BinaryIO) -> Key | None:
    """The key that the first lines name: the genesis, or the upgrade where that stands there."""
    try:
        vkey = parse_line(file.readline(_LINE).removesuffix(b"\n")).get("vkey")
        return Key.parse(vkey) if type(vkey) is str else None
    except (UnfitError, NoteError):
        return None


def read_export(file: BinaryIO, links: Links, roots: Roots, reviews: Reviews, keys: KeyLine) -> int:
    """Take all lines of an export; how many entries were pruned before it was made."""
    findings = links.findings
    story = Story(findings)
    end: Mapping[str, object] | None = None
    begun: Pruned | None = None
    said: list[Pruned] = []
    while (piece := _next(file, links, roots)) is not None:
        if end is not None:
            findings.add(None, "after_end", "there are lines after the one that says where the export ends")
            break
        if isinstance(piece, _Run):
            story.partial = reviews.partial = True
            links.skip(*piece)
        elif (pruned := _as_pruned(piece)) is not None:
            story.partial = reviews.partial = True
            _begin_again(pruned, links, roots)
            begun = pruned
        elif (end := _as_end(piece)) is not None:
            _check_end(end, piece, links, findings)
        else:
            fields = links.entry(piece)
            roots.add(links.head.hash, links.last)
            story.take(links.head.seq, fields)
            reviews.take(links.head.seq, fields)
            keys.follow(links.head.seq, fields, findings)
            if fields.get("kind") == "pruned" and (pruned := Pruned.parse(fields)) is not None:
                said.append(replace(pruned, roll=None))
    gone = 0 if begun is None else begun.before - 1
    if gone and begun not in said and not (end is not None and end.get("filters")):
        findings.add(1, "omitted", f"{gone} entries are missing, and no entry says that these were pruned")
    if end is None:
        findings.add(
            None, "cut", "the line that says where the export ends is missing: lines may have been cut off"
        )
    return gone


def _as_pruned(line: bytes) -> Pruned | None:
    """The line that stands where entries were pruned: as many as it says, under the tree it names."""
    if not line.startswith(b'{"before":') or b'"kind":"omitted"' not in line:
        return None
    try:
        fields = parse_line(line)
    except UnfitError:
        return None
    pruned = Pruned.parse(fields)
    return pruned if pruned is not None and fields == {**pruned.fields, "kind": "omitted"} else None


def _begin_again(pruned: Pruned, links: Links, roots: Roots) -> None:
    if links.head.seq or links.head.hash != pruned.genesis:
        links.findings.add(0, "genesis", "this is not the genesis of the ledger that was pruned")
    links.head = pruned.head
    roots.begin(pruned.tree)


def _next(file: BinaryIO, links: Links, roots: Roots) -> bytes | _Run | None:
    """The next line without its line feed, or the next run left out; None at the end."""
    line = file.readline(_LINE)
    if not line:
        return None
    if line.startswith(_OMITTED):
        return _run(line, file, links, roots)
    if not line.endswith(b"\n"):
        at = links.head.seq + 1
        if len(line) < _LINE:
            links.findings.add(at, "cut", "the last line has no end: some of it was cut off")
        else:
            links.findings.add(at, "too_long", f"a line of more than {LIMIT} bytes is no entry")
            _skip_line(file)
    return line.removesuffix(b"\n")


def _run(line: bytes, file: BinaryIO, links: Links, roots: Roots) -> _Run | bytes:
    """
    A run left out, whatever its length, with flat memory.

    It is canonical if it is hash after hash in exactly this form, so no parser is needed.
    """
    rest, count = line[len(_OMITTED) :], 0
    while True:
        if not rest.endswith(b"\n"):
            rest += file.readline(_LINE)
        hashes = _HASHES.match(rest)
        if hashes is None:
            break
        count += hashes.end() // 67
        for at in range(0, hashes.end(), 67):
            roots.add(bytes.fromhex(rest[at : at + 64].decode()))
        rest = rest[hashes.end() :]
    if rest[64:] == _OMITTED_END and _HASH.match(rest):
        last = bytes.fromhex(rest[:64].decode())
        roots.add(last)
        return _Run(count + 1, last)
    links.findings.add(
        links.head.seq + 1 + count, "omitted", "the list of what is left out is not as it was written"
    )
    if not rest.endswith(b"\n"):
        _skip_line(file)
    return _Run(count + 1, bytes(32))


def _skip_line(file: BinaryIO) -> None:
    while (more := file.readline(_LINE)) and not more.endswith(b"\n"):
        pass


def _as_end(line: bytes) -> Mapping[str, object] | None:
    if b'"kind":"exported"' not in line:
        return None
    try:
        fields = parse_line(line)
    except UnfitError:
        return None
    return fields if fields.get("kind") == "exported" else None


def _check_end(end: Mapping[str, object], line: bytes, links: Links, findings: Findings) -> None:
    if end.keys() != _EXPORTED:
        findings.add(None, "exported", "the last line does not have the fields that it should have")
        return
    if end["self"] != hashlib.sha256(canonical({**end, "self": ""})).hexdigest():
        findings.add(None, "exported", "the last line was changed: it does not have the hash that it names")
    if end["count"] != links.head.seq + 1:
        findings.add(
            None,
            "count",
            f"the last line speaks of {end['count']} entries, and {links.head.seq + 1} are there",
        )
    if end["head"] != links.head.hash.hex():
        findings.add(None, "head", "the last entry is not the one that the last line names")
    if links.omitted and not end["filters"]:
        findings.add(None, "filters", "entries are left out, and the last line names no filter")
