"""
How a rule's request waits: its `hold:` and its `window:`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxy.policy import keys, shape
from proxy.policy.rule import TIMEOUT
from proxy.policy.source import Mistakes, Node
from proxy.policy.verdict import UNSAID, Keepalive, Nobody, Patience

_IN_A_WINDOW: Final = frozenset({"rejoin", "keepalive"})
# A key in one of these would say how the message is framed, or who sends it.
_FRAMING: Final = """
    authorization connection content-encoding content-length content-type cookie expect host
    te trailer transfer-encoding upgrade via
"""
_NOT_A_KEY: Final = frozenset(_FRAMING.split())


@dataclass(frozen=True, slots=True)
class Held:
    """What `hold:` and `window:` say, with what they mean where they are silent."""

    reviewers: tuple[str, ...] = ()
    approvals: int = 1
    denials: int = 1
    excluded: tuple[str, ...] = ()
    timeout: float = TIMEOUT
    always_ask: bool = False
    patience: Patience = UNSAID
    idempotency: tuple[str, ...] = ()
    window: float = 0.0


def read_hold(found: Mapping[str, Node], then: str | None, mistakes: Mistakes, *, over: bool = False) -> Held:
    """
    The keys of a rule that say how it waits; what is wrong has been said.

    `over` says that what is over its budget waits, whatever it says else.
    """
    window = _window(found, then, mistakes)
    if "hold" not in found:
        return Held(window=window)
    node = found["hold"]
    parts = shape.table(node, keys.HOLD, "hold", mistakes) or {}
    if then not in (None, "hold") and not over and not (window and _IN_A_WINDOW.issuperset(parts)):
        fix = "write then: hold, or leave it out"
        mistakes.add(node.at, f"hold: in a rule that says {then}", "nothing would wait", fix)
    return Held(
        reviewers=_groups(parts, "reviewers", mistakes),
        approvals=_people(parts, "approvals", mistakes),
        denials=_people(parts, "denials", mistakes),
        excluded=_groups(parts, "not", mistakes),
        timeout=_time(parts, "timeout", TIMEOUT, mistakes),
        always_ask=bool("always_ask" in parts and shape.truth(parts["always_ask"], "always_ask", mistakes)),
        patience=_patience(parts, mistakes),
        idempotency=_idempotency(parts, mistakes),
        window=window,
    )


def _window(found: Mapping[str, Node], then: str | None, mistakes: Mistakes) -> float:
    if "window" not in found:
        return 0.0
    if then not in (None, "watch"):
        why = "only what is watched proceeds by itself"
        mistakes.add(found["window"].at, f"window: in a rule that says {then}", why, "write then: watch")
    window = shape.duration(found["window"], "window", mistakes, zero=True) or 0.0
    if window > keys.MAX_WAIT:
        mistakes.add(found["window"].at, "window is longer than an hour", fix="hold it instead: then: hold")
    return window


def _patience(parts: Mapping[str, Node], mistakes: Mistakes) -> Patience:
    plain = UNSAID
    wait = shape.duration(parts["wait"], "wait", mistakes) if "wait" in parts else None
    nobody = _word(parts, "nobody", tuple(map(str, Nobody)), mistakes)
    keepalive = _word(parts, "keepalive", tuple(map(str, Keepalive)), mistakes)
    return Patience(
        rejoin=_time(parts, "rejoin", plain.rejoin, mistakes, zero=True),
        remember=_time(parts, "remember", plain.remember, mistakes, zero=True),
        wait=wait,
        nobody=Nobody(nobody or plain.nobody),
        keepalive=Keepalive(keepalive or plain.keepalive),
    )


def _word(parts: Mapping[str, Node], key: str, words: tuple[str, ...], mistakes: Mistakes) -> str | None:
    return shape.one_of(parts[key], words, key, mistakes) if key in parts else None


def _time(
    parts: Mapping[str, Node], key: str, default: float, mistakes: Mistakes, *, zero: bool = False
) -> float:
    found = shape.duration(parts[key], key, mistakes, zero=zero) if key in parts else None
    return default if found is None else found


def _people(parts: Mapping[str, Node], key: str, mistakes: Mistakes) -> int:
    return (shape.whole(parts[key], keys.MAX_APPROVALS, key, mistakes) if key in parts else None) or 1


def _groups(parts: Mapping[str, Node], key: str, mistakes: Mistakes) -> tuple[str, ...]:
    if key not in parts:
        return ()
    names = shape.one_or_more(parts[key], key, mistakes)
    groups = [shape.name(one, "the group", keys.GROUP, "a group's name", mistakes) for one in names]
    return tuple(dict.fromkeys(one for one in groups if one))


def _idempotency(parts: Mapping[str, Node], mistakes: Mistakes) -> tuple[str, ...]:
    if "idempotency" not in parts:
        return ()
    node = parts["idempotency"]
    name = shape.name(node, "idempotency", keys.HEADER, "the name of a header", mistakes)
    if name is not None and (name.lower() in _NOT_A_KEY or name.lower().startswith("proxy-")):
        why = "it says how the message is framed or who sends it"
        mistakes.add(node.at, f"idempotency cannot be {name}", why, "name the provider's own header")
    return (name,) if name else ()
