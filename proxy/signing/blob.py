"""SSH's way of writing values (RFC 4251, section 5): read strictly, or written."""

from __future__ import annotations

import struct

from proxy.signing import ProofError


class Blob:
    """Bytes to be read value by value; ProofError where they end too soon or go on."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    def take(self, count: int) -> bytes:
        """The next so many bytes."""
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise ProofError("form", f"{self._what} ends too soon")
        self._at += count
        return piece

    def uint32(self) -> int:
        """A number of four bytes."""
        return int.from_bytes(self.take(4))

    def string(self) -> bytes:
        """A length, and so many bytes."""
        return self.take(self.uint32())

    def mpint(self) -> int:
        """A number of any length in its one shortest spelling, not negative."""
        data = self.string()
        if data[:1] >= b"\x80" or (data[:1] == b"\0" and data[1:2] < b"\x80"):
            raise ProofError("form", f"{self._what} has a number that is not written in the one way")
        return int.from_bytes(data)

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._data):
            raise ProofError("form", f"{self._what} has more bytes than it should")


def string(data: bytes) -> bytes:
    """A length, and the bytes."""
    return struct.pack(">I", len(data)) + data


def mpint(number: int) -> bytes:
    """A number that is not negative, in its shortest spelling."""
    return string(number.to_bytes(number.bit_length() // 8 + 1) if number else b"")
