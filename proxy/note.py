"""
Signed notes and checkpoints: what the outside keeps of a ledger.

Pure. C2SP signed-note (c2sp.org/signed-note), tlog-checkpoint and tlog-cosignature, with
Ed25519 alone (RFC 8032). A checkpoint is a note of three lines, the origin of a ledger, the
number of its entries and the root of the tree over them::

    sluice/4f1c…
    35
    mTkwC9LxD1EcmK2SfLEeVpHGcpOmC2BvDZdbJYoS5Qw=

    — sluice/4f1c… Az3grlgtzPICa5OS8npVmf1Myq/5…

The text is signed as it stands. Nothing in a note is believed before a known key has verified it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from proxy.errors import Exit, Problem, SluiceError

SIGNED: Final = 0x01
"""Signature type of a log's own Ed25519 signatures (signed-note)."""
COSIGNED: Final = 0x04
"""Signature type of a witness's Ed25519 signatures, which name a time (tlog-cosignature, cosignature/v1)."""
LIMIT: Final = 64 * 1024
"""Bytes of a note at most."""
SIGNATURES: Final = 16

_SIZE: Final = re.compile(r"0|[1-9]\d{0,18}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DASH: Final = "\u2014 "
_DASH_BYTES: Final = _DASH.encode()


class NoteError(SluiceError):
    """A note, a key or a checkpoint that is not one, or that no known key has signed."""

    def __init__(self, what: str) -> None:
        super().__init__(Problem(what), exit=Exit.NO)


def decode64(text: str) -> bytes:
    """Base64 in its one canonical spelling (RFC 4648, section 4); NoteError for any other."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("what should be base64 is not") from None
    if base64.b64encode(data).decode() != text:
        raise NoteError("base64 that is not written in the one canonical way")
    return data


def encode64(data: bytes) -> str:
    """Base64 (RFC 4648, section 4)."""
    return base64.b64encode(data).decode()


def _check_name(name: str) -> None:
    if not name or "+" in name or any(one.isspace() or not one.isprintable() for one in name):
        raise NoteError("a key's name is not empty, and has neither spaces nor '+'")


@dataclass(frozen=True, slots=True)
class Key:
    """
    A public key under a name, as it is given to whoever verifies (a *vkey*).

    `kind` is the type of the signatures that it verifies: `SIGNED` or `COSIGNED`.
    """

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """Four bytes that name the key beside its name."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        """``name+id+base64``, as `parse` reads it."""
        return f"{self.name}+{self.id.hex()}+{encode64(bytes([self.kind]) + self.public)}"

    @classmethod
    def parse(cls, text: str) -> Key:
        """A key from its text; NoteError where anything of it is wrong."""
        name, _, rest = text.partition("+")
        id, _, data = rest.partition("+")
        _check_name(name)
        raw = decode64(data)
        if len(raw) != 33 or raw[0] not in (SIGNED, COSIGNED):
            raise NoteError(f"'{text[:200]}' is no Ed25519 key: name+id+base64 is one")
        key = cls(name, raw[0], raw[1:])
        if key.id.hex() != id:
            raise NoteError(f"the key '{text[:200]}' was mistyped: its id does not belong to it")
        return key

    def check(self, text: bytes, signature: bytes) -> int | None:
        """
        Raise NoteError unless this key has signed the text; the time that a witness names, else None.

        Unix time in seconds.
        """
        if self.kind == SIGNED:
            self._verify(signature, text)
            return None
        if len(signature) != 72:
            raise NoteError(f"a cosignature by '{self.name}' that is none")
        (time,) = struct.unpack(">Q", signature[:8])
        self._verify(signature[8:], b"cosignature/v1\ntime %d\n%b" % (time, text))
        return int(time)

    def _verify(self, signature: bytes, message: bytes) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise NoteError(f"the signature by '{self.name}' does not belong to this text") from None


class Signer:
    """A private key that signs notes under a name."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        _check_name(name)
        self.key = Key(name, SIGNED, private.public_key().public_bytes_raw())
        self._private = private
        self._prefix = f"{_DASH}{name} "
        self._id = self.key.id

    def sign(self, text: str) -> bytes:
        """The whole note over a text that ends with a line feed."""
        data = text.encode()
        line = encode64(self._id + self._private.sign(data))
        return b"%b\n%b%b\n" % (data, self._prefix.encode(), line.encode())


class Signature(NamedTuple):
    """A signature that holds: whose, and the time that a witness names (Unix seconds)."""

    key: Key
    time: int | None


class Opened(NamedTuple):
    """A note that a known key has signed: its text, and every known signature."""

    text: str
    signatures: tuple[Signature, ...]

    @property
    def time(self) -> int | None:
        """The latest time at which a witness saw it, None where no witness says so."""
        return max((one.time for one in self.signatures if one.time is not None), default=None)


def text_of(note: bytes) -> str:
    """The text of a note, its signatures not looked at; NoteError where it is no note."""
    return _parts(note)[0]


def open_note(note: bytes, keys: Sequence[Key]) -> Opened:
    """
    Verify a note.

    Signatures of unknown keys are ignored; one of a known key that does not hold rejects the
    whole note, as does the want of any. Raises NoteError.
    """
    text, lines = _parts(note)
    known = {(key.name, key.id): key for key in keys}
    found: dict[Key, Signature] = {}
    for name, data in map(_signature, lines):
        key = known.get((name, data[:4]))
        if key is not None and key not in found:
            found[key] = Signature(key, key.check(text.encode(), data[4:]))
    if not found:
        raise NoteError("no known key has signed this note")
    return Opened(text, tuple(found.values()))


def _parts(note: bytes) -> tuple[str, list[str]]:
    if len(note) > LIMIT:
        raise NoteError(f"a note of more than {LIMIT} bytes")
    try:
        whole = note.decode()
    except UnicodeDecodeError:
        raise NoteError("a note that is not UTF-8") from None
    text, gap, signed = whole.rpartition("\n\n")
    if not gap or not signed.endswith("\n") or _CONTROL.search(whole):
        raise NoteError("this is no signed note: text, an empty line and signatures are one")
    lines = signed[:-1].split("\n")
    if len(lines) > SIGNATURES:
        raise NoteError(f"a note with more than {SIGNATURES} signatures")
    for line in lines:
        _signature(line)
    return text + "\n", lines


def _signature(line: str) -> tuple[str, bytes]:
    name, gap, data = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not gap:
        raise NoteError("a line that should be a signature is none")
    _check_name(name)
    raw = decode64(data)
    if len(raw) < 5:
        raise NoteError("a signature that is too short to be one")
    return name, raw


class Checkpoint(NamedTuple):
    """The head of a log: whose, how many entries, and the root over them (32 bytes)."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """As it is signed."""
        return f"{self.origin}\n{self.size}\n{encode64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """
        A checkpoint from the text of a note; NoteError for any other text.

        Extension lines are not taken: no ledger writes them, and nobody knows what they mean.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0]:
            raise NoteError("this is no checkpoint: origin, size and root are one")
        if not _SIZE.fullmatch(lines[1]):
            raise NoteError("a checkpoint whose size is no number")
        root = decode64(lines[2])
        if len(root) != 32:
            raise NoteError("a checkpoint whose root is no SHA-256")
        return cls(lines[0], int(lines[1]), root)


def notes(lines: Iterable[bytes]) -> Iterator[bytes | None]:
    """
    The checkpoints among lines (with their line feeds), one after the other; None for what is none.

    Empty lines stand between them. A write that a crash has torn is one None, not an error:
    the notes after it still count.
    """
    taken: list[bytes] = []
    size = 0
    for line in lines:
        signed = line.startswith(_DASH_BYTES)
        if _complete(taken) and not signed:
            yield b"".join(taken)
            taken, size = [], 0
        if not taken and line == b"\n":
            continue
        taken.append(line)
        size += len(line)
        if size > LIMIT or not _may_go_on(taken, signed):
            yield None
            # A line out of its place may be the first of the next note.
            taken = [line] if 1 < len(line) <= LIMIT else []
            size = sum(map(len, taken))
    if taken:
        yield b"".join(taken) if _complete(taken) and taken[-1].endswith(b"\n") else None


def _complete(taken: list[bytes]) -> bool:
    return bool(taken) and taken[-1].startswith(_DASH_BYTES)


def _may_go_on(taken: list[bytes], signed: bool) -> bool:
    """Three lines of text, an empty one, and signatures: no line out of its place."""
    if len(taken) > 4:
        return signed
    return (taken[-1] == b"\n") == (len(taken) == 4)
