"""
What an action would do: read, write, payment, message, delete or permission.

A format that promises a read is believed, unless something else could make the request more.
"""

from __future__ import annotations

from typing import Final

from proxy.decode.decoded import Body, Decoded, Head, told

CONSEQUENCES: Final = ("read", "write", "message", "payment", "permission", "delete")
"""From the mildest to the gravest, for a person to see; rules are asked for each of them."""

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def consequence(head: Head, body: Body, decoded: tuple[Decoded, ...], methods: list[str | None]) -> str:
    """
    What a single request would do.

    Without a format that tells, a read is exactly GET, HEAD or OPTIONS that carry nothing which
    could make them more; `methods` are the request's and those that override it.
    """
    if len(methods) > 1 or "upgrade" in head.headers or ":protocol" in head.headers:
        return "write"
    said = told(decoded)
    if said is not None:
        return said
    return "read" if head.method in _READS and body.empty else "write"


def gravest(consequences: tuple[str, ...]) -> str:
    """The one of several that a person should see first."""
    return max(consequences, key=CONSEQUENCES.index)
