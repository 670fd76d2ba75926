"""
Which keys sign the head of a ledger, one after the other: pure.

The genesis names the first. An entry `rekeyed` names the next one, in a note that the key before
has signed: over the ledger's origin, the number of that very entry, the hash that it follows, and
the new key. So whoever pinned any key of the line can follow it to its end, and a note of one
ledger or place is none for another.
"""

from __future__ import annotations

from typing import Final

from proxy.chain import Findings, Head
from proxy.ledger import Fields
from proxy.note import Key, NoteError, Signer, open_note

KIND: Final = "rekeyed"
_FIRST: Final = "sluice.ledger.rekeyed.v1"


def statement(before: Head, key: Key) -> str:
    """What the old key signs: the entry after `before` makes `key` the one that signs."""
    return f"{_FIRST}\n{key.name}\n{before.seq + 1}\n{before.hash.hex()}\n{key}\n"


def fields_of(old: Signer, before: Head, key: Key) -> Fields:
    """The fields of the entry after `before` that makes `key` the one that signs."""
    return {"before": str(old.key), "signed": old.sign(statement(before, key)).decode(), "vkey": str(key)}


class KeyLine:
    """The keys so far, as a fold over the entries."""

    def __init__(self, first: Key | None) -> None:
        self.keys = [] if first is None else [first]

    @property
    def current(self) -> Key | None:
        """The one that signs now."""
        return self.keys[-1] if self.keys else None

    def take(self, seq: int, fields: Fields) -> None:
        """Go on by one entry. NoteError where it changes the key, and the key before has not signed that."""
        if fields.get("kind") != KIND:
            return
        if self.current is None:
            raise NoteError("a key follows where none was named")
        prev, signed = str(fields.get("prev")), str(fields.get("signed"))
        key = Key.parse(str(fields.get("vkey")))
        try:
            expected = statement(Head(seq - 1, bytes.fromhex(prev)), key)
        except ValueError:
            raise NoteError("the entry does not say what it follows") from None
        opened = open_note(signed.encode("utf-8", "replace"), [self.current])
        if key.name != self.current.name or opened.text != expected:
            raise NoteError("what the key before has signed is not about this entry and this key")
        self.keys.append(key)

    def follow(self, seq: int, fields: Fields, findings: Findings) -> None:
        """As `take`; what is wrong is a finding."""
        try:
            self.take(seq, fields)
        except NoteError as error:
            findings.add(seq, "key", f"the key was changed by nobody who held the one before: {error}")
