"""
Whom a request reaches, as marks by which the same recipient is known again and nobody is named.

Mail says its recipients itself; elsewhere the names that APIs use for them are looked for in the
body, whatever the API.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from proxy.action import UNKNOWN, Reading, Values
from proxy.decode.blast import RECIPIENTS, unread, walk
from proxy.decode.decoded import Body, Decoded
from proxy.decode.json import Tree

MAX_MARKED: Final = 100
"""Recipients of one request that are marked; who comes after them cannot be known again."""
_MAX_LOOKED_AT: Final = 1_000

_ALSO: Final = frozenset({"channel", "chat_id", "destination", "receiver", "payee", "beneficiary"})
_INSIDE: Final = frozenset({"email", "address", "emailaddress", "phone", "number", "id", "to"})
_ANGLE: Final = re.compile(r"<([^<>]+)>")

type IsNew = Callable[[str], bool]


def marks(body: Body, decoded: Sequence[Decoded], key: bytes) -> Reading:
    """
    A keyed hash (16 hex digits) for each recipient, in order, at most one more than `MAX_MARKED`.

    UNKNOWN where the body is unread or opaque; an item of None is a recipient that cannot be read.
    """
    mail = next((read for one in decoded if (read := one.documents.get("email"))), None)
    named = None if mail is None else mail(("to",))
    found: Iterator[str | None]
    if isinstance(named, Values):
        found = iter(named.items)
    elif named is not None:
        return UNKNOWN
    elif (known := unread(body)) is not None:
        return known
    else:
        wanted = RECIPIENTS | _ALSO
        found = (text for name, value in walk(body) if name in wanted for text in _texts(value, 0))
    marked: dict[str | None, None] = {}
    for _, text in zip(range(_MAX_LOOKED_AT), found, strict=False):
        marked[None if text is None else _mark(text, key)] = None
        if len(marked) > MAX_MARKED:
            break
    return Values(tuple(marked))


def any_new(marked: Reading, is_new: IsNew) -> bool | None:
    """Whether a recipient is one that the agent has not reached before; None where nobody can say."""
    if not isinstance(marked, Values):
        return None
    if len(marked.items) > MAX_MARKED or any(one is not None and is_new(one) for one in marked.items):
        return True
    return None if None in marked.items else False


def _texts(value: Tree, depth: int) -> Iterator[str | None]:
    """The recipients in a value: a text, a list, or a table that names one."""
    if isinstance(value, str):
        yield from (part for part in value.split(",") if part.strip())
    elif isinstance(value, list) and depth < 2:
        for one in value:
            yield from _texts(one, depth + 1)
    elif isinstance(value, dict) and depth < 2:
        for name, one in value.items():
            if name.lower() in _INSIDE:
                yield from _texts(one, depth + 1)


def _mark(text: str, key: bytes) -> str:
    """The same mark for ``Ann <ann@x.org>`` and ``ANN@X.ORG``."""
    address = found[1] if (found := _ANGLE.search(text)) else text
    plain = address.strip().lower().encode("utf-8", "surrogatepass")
    return hashlib.blake2b(plain, key=key, digest_size=8, person=b"recipient").hexdigest()
