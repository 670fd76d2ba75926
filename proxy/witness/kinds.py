"""
Witnesses and places by name: ``KIND:WHERE``, as ``--witness`` and ``--against`` take them.

    file:PATH           append to a file                        --witness, --against
    git:PATH            a commit in a repository                --witness, --against
    command:COMMAND     run it, the note on stdin               --witness
    syslog:[ADDRESS]    a socket's path or HOST:PORT            --witness
    http(s)://…         post to it                              --witness
    c2sp:URL VKEY       a witness of C2SP and its key           --witness
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.errors import SluiceError, fail
from proxy.ledger.anchors import Place
from proxy.ledger.prove import tree_of
from proxy.ledger.read import hashes, reading
from proxy.note import COSIGNED, Key, NoteError
from proxy.witness import Witness
from proxy.witness.c2sp import CosigningWitness
from proxy.witness.command import CommandWitness
from proxy.witness.files import FilePlace, FileWitness
from proxy.witness.git import GitPlace, GitWitness
from proxy.witness.http import HttpWitness
from proxy.witness.syslog import LOCAL, SyslogWitness

COSIGNED_NOTES: Final = "cosigned.notes"
"""The file in the state folder that keeps what C2SP witnesses have signed."""
_HOST_PORT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:/\[\]]+)):(\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Nearby:
    """What a witness may need of this machine: the ledger, and the folder that keeps its answers."""

    ledger: Path
    state: Path


def witness(text: str, nearby: Nearby) -> Witness:
    """A witness from its one line; SluiceError (exit 2) where it is none."""
    kind, gap, where = text.partition(":")
    if gap and kind in ("http", "https"):
        return HttpWitness(text)
    match kind if gap else "":
        case "file":
            return FileWitness(_path(where, text))
        case "git":
            return GitWitness(_path(where, text))
        case "command":
            return CommandWitness(_words(where, text))
        case "syslog":
            return SyslogWitness(_address(where, text))
        case "c2sp":
            return _cosigning(where, text, nearby)
    raise _unknown(text)


def place(text: str) -> Place:
    """Somewhere to compare with: a kind and a path, or a path alone; SluiceError (exit 2) for else."""
    kind, gap, where = text.partition(":")
    if gap and kind == "git":
        return GitPlace(_path(where, text))
    if gap and kind == "file":
        return FilePlace(_path(where, text))
    if gap and kind in ("http", "https", "command", "syslog", "c2sp"):
        raise fail(
            f"'{text}' cannot be read from here",
            "only a file or a git repository can be compared with",
            "fetch what it keeps into a file, and name that",
        )
    path = Path(text)
    return GitPlace(path) if path.is_dir() else FilePlace(path)


def local_places(witnesses: Iterable[Witness]) -> Iterator[Place]:
    """Those of their places that can be read on this machine."""
    for one in witnesses:
        if one.place is not None:
            yield one.place


def _path(where: str, text: str) -> Path:
    if not where:
        raise fail(f"'{text}' names no path")
    return Path(where).absolute()


def _words(where: str, text: str) -> list[str]:
    try:
        words = shlex.split(where)
    except ValueError as error:
        raise fail(f"'{text}' is no command: {error}") from None
    if not words:
        raise fail(f"'{text}' names no command")
    return words


def _address(where: str, text: str) -> str | tuple[str, int]:
    if not where or where.startswith("/"):
        return where or LOCAL
    match = _HOST_PORT.fullmatch(where)
    if match is None or not 0 < int(match[3]) < 65_536:
        raise fail(f"'{text}' is no address of a syslog", fix="syslog:/dev/log or syslog:HOST:PORT")
    return match[1] or match[2], int(match[3])


def _cosigning(where: str, text: str, nearby: Nearby) -> Witness:
    url, _, vkey = where.strip().partition(" ")
    try:
        key = Key.parse(vkey.strip())
    except NoteError as error:
        raise fail(f"'{url}' needs its key: {error}", fix="--witness 'c2sp:URL VKEY'") from None
    if key.kind != COSIGNED:
        raise fail(f"the key of '{key.name}' is a log's, not a witness's", fix="ask the witness for its vkey")
    kept = FileWitness(nearby.state / COSIGNED_NOTES)

    def leaves(start: int, end: int) -> Iterator[bytes]:
        with reading(nearby.ledger) as connection:
            yield from hashes(connection, end - 1, start - 1)

    return CosigningWitness(url, key, kept, lambda size: tree_of(nearby.ledger, size), leaves)


def _unknown(text: str) -> SluiceError:
    return fail(
        f"'{text}' is no witness",
        fix="file:PATH, git:PATH, command:COMMAND, syslog:, https://… and 'c2sp:URL VKEY' are",
    )
