"""
Where the body of an HTTP/1 message ends, and how much memory all bodies may take.

A reader takes bytes off the front of a buffer and says when it is `done`; what it leaves belongs
to the next message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from proxy.gate.framing import HEAD_LIMIT, UnreadableError

_CHUNK: Final = re.compile(rb"[0-9A-Fa-f]{1,15}")
_CHUNK_LINE_LIMIT: Final = 4096


class Body(Protocol):
    """A body being read."""

    done: bool
    ends_with_connection: bool

    def read(self, buffer: bytearray) -> bytes:
        """The bytes of the body that `buffer` begins with; they are removed from it."""
        ...


class Counted:
    """A body of a known length."""

    ends_with_connection = False

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def read(self, buffer: bytearray) -> bytes:
        data = bytes(buffer[: self._left])
        del buffer[: len(data)]
        self._left -= len(data)
        self.done = self._left == 0
        return data


class UntilClose:
    """A body that ends with the connection (answers only)."""

    done = False
    ends_with_connection = True

    def read(self, buffer: bytearray) -> bytes:
        data = bytes(buffer)
        buffer.clear()
        return data


class Chunked:
    """
    A body in chunks (RFC 9112, 7.1).

    A request's (`strict`) has neither extensions nor trailers; an answer's are dropped.
    """

    ends_with_connection = False

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._left = 0
        self._first = True
        self._trailers = False
        self._seen = 0
        self.done = False

    def read(self, buffer: bytearray) -> bytes:
        parts: list[bytes] = []
        while not self.done and buffer:
            if self._left:
                part = bytes(buffer[: self._left])
                del buffer[: len(part)]
                self._left -= len(part)
                parts.append(part)
            elif (line := self._line(buffer)) is None:
                break
            elif self._trailers:
                self._trailer(line)
            else:
                self._size(line)
        return b"".join(parts)

    def _line(self, buffer: bytearray) -> bytes | None:
        if not self._first and not self._trailers:
            # The CRLF behind the chunk before.
            if len(buffer) < 2:
                if buffer != b"\r":
                    raise UnreadableError("a chunk is longer than its size")
                return None
            if buffer[:2] != b"\r\n":
                raise UnreadableError("a chunk is longer than its size")
            del buffer[:2]
            self._first = True
        end = buffer.find(b"\r\n", 0, _CHUNK_LINE_LIMIT)
        line = bytes(buffer[:end]) if end >= 0 else bytes(buffer[:_CHUNK_LINE_LIMIT])
        if b"\n" in line or b"\r" in (line if end >= 0 else line[:-1]) or len(line) == _CHUNK_LINE_LIMIT:
            raise UnreadableError("malformed chunk")
        if end < 0:
            return None
        del buffer[: end + 2]
        return line

    def _size(self, line: bytes) -> None:
        size, extension, _ = line.partition(b";")
        if extension and self._strict:
            raise UnreadableError("a chunk extension")
        size = size if self._strict else size.rstrip(b" \t")
        if not _CHUNK.fullmatch(size):
            raise UnreadableError("malformed chunk size")
        self._left = int(size, 16)
        self._first = False
        self._trailers = self._left == 0

    def _trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        if self._strict:
            raise UnreadableError("request trailers")
        self._seen += len(line)
        if self._seen > HEAD_LIMIT:
            raise UnreadableError("the answer's trailers are over 64 KiB")


def body_of(length: int | None, *, strict: bool) -> Body:
    """The reader for a length as `Head` and `AnswerHead` give it."""
    if length is None:
        return Chunked(strict=strict)
    return UntilClose() if length < 0 else Counted(length)


class Lack(Enum):
    """Why a body cannot be kept."""

    LIMIT = auto()
    MEMORY = auto()


@dataclass(slots=True)
class Memory:
    """The bytes that all bodies being read or held share; `taken` never exceeds `limit`."""

    limit: int
    taken: int = 0

    def take(self, size: int) -> bool:
        """Take `size` bytes; False (and nothing taken) where they are not there."""
        if self.taken + size > self.limit:
            return False
        self.taken += size
        return True

    def give(self, size: int) -> None:
        """Give back what was taken."""
        self.taken -= size


class Collected:
    """A body that is being kept, of at most `limit` bytes, out of a memory that others share."""

    def __init__(self, memory: Memory, limit: int) -> None:
        self._memory = memory
        self._limit = limit
        self._data = bytearray()
        self._taken = 0

    def add(self, data: bytes) -> Lack | None:
        """Keep more of it, or say what it lacks."""
        if len(self._data) + len(data) > self._limit:
            return Lack.LIMIT
        if not self._memory.take(len(data)):
            return Lack.MEMORY
        self._taken += len(data)
        self._data += data
        return None

    def whole(self) -> bytes:
        """All of it; its memory stays taken until it is given back."""
        data, self._data = bytes(self._data), bytearray()
        return data

    def give_back(self) -> None:
        """Nobody needs it any more."""
        self._data = bytearray()
        self._memory.give(self._taken)
        self._taken = 0
