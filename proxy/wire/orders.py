"""
What a call is when a reviewer signs it: the act, and everything that it is about.

The same at both ends, so that what was signed is compared with what is asked, field by field.
"""

from __future__ import annotations

import hashlib
from typing import Final

from proxy.signing import shown
from proxy.signing.statement import APPROVE, DENY
from proxy.wire.calls import Call, Verb
from proxy.wire.lines import taken, whole_json
from proxy.wire.views import HoldView

ANSWERING: Final = frozenset({Verb.REVIEW, Verb.GRANT})
"""Verbs that answer a hold: what is signed of them says what was shown of it."""

_OF_ANY_REVIEW: Final = frozenset({"prefix", "approves", "reason", "digest"})
_LONGEST: Final = 4_096


def act(call: Call) -> str:
    """The word for what a call does."""
    if call.verb is Verb.REVIEW:
        return APPROVE if call.approves else DENY
    return APPROVE if call.verb is Verb.GRANT else str(call.verb)


def about(call: Call, view: HoldView | None = None) -> dict[str, object]:
    """
    What a call is about; `view` is the hold as it was shown, for a verb of `ANSWERING`.

    Long text is named by its hash. What an answer does besides stands under ``more``.
    """
    order = {name: _short(value) for name, value in taken(call).items()}
    if call.verb not in ANSWERING or view is None:
        return order
    more = {name: value for name, value in order.items() if name not in _OF_ANY_REVIEW}
    review = shown.about(whole_json(view), call.reason)
    return {**review, "more": more} if more else review


def _short(value: object) -> object:
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"sha256:{hashlib.sha256(value.encode('utf-8', 'backslashreplace')).hexdigest()}"
    return [_short(item) for item in value] if isinstance(value, list) else value
