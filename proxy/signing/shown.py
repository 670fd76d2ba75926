"""
What a reviewer was shown of a hold, as it is signed.

The request and the view are named by commitments, SHA-256(tag ‖ salt ‖ …), with the salt of the
hold: the one for the request is the very one that the ledger's entries of this hold have. Once
the salt is erased nobody can guess what was asked from what was signed, and both still verify.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proxy.chain import REQUEST_TAG, canonical, commitment, cut

VIEW_TAG: Final = b"sluice.review.view.v1\0"
REASON: Final = 2_000
"""Bytes of a reason at most; what is longer is cut, and says so."""
_RULES: Final = 100

PASSING: Final = frozenset(
    # How far the hold has come.
    {"state", "cause", "by", "reviews", "approvals_needed", "attempts", "agent_waiting", "deadline"}
    # What only the whole view has: the digest of the request covers it.
    | {"headers", "body", "body_note"}
    # What the commitments are made with.
    | {"salt"}
)
"""Fields of a view that may change while a hold waits; all others are part of what is signed."""


def about(view: Mapping[str, object], reason: str) -> dict[str, object]:
    """
    What a review is about: `view` is the hold as JSON values (`proxy.wire.whole_json`).

    The same view gives the same fields, at the gate and where it was looked at.
    """
    salt = bytes.fromhex(str(view["salt"]))
    rules = view["rules"] if isinstance(view["rules"], list) else []
    return {
        "hold": view["id"],
        "request": commitment(REQUEST_TAG, salt, bytes.fromhex(str(view["digest"]))),
        "view": commitment(VIEW_TAG, salt, as_shown(view)),
        "rule": view["rule"],
        "rules": rules[:_RULES],
        "policy": view["policy"],
        "reason": cut(reason, REASON),
    }


def as_shown(view: Mapping[str, object]) -> bytes:
    """The canonical bytes of what is shown, whatever an agent has put into it."""
    return canonical({name: _plain(value) for name, value in view.items() if name not in PASSING})


def _plain(value: object) -> object:
    """Within the profile: names that an agent chose stand in pairs, halves of surrogates are escaped."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case list() | tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return [[_plain(name), _plain(item)] for name, item in value.items()]
        case _:
            return value
