"""
What a request does to what, in marks: the verb, its object, and what that belongs to.

The verb is the method, unless the path or the name of the operation has one of its own where
verbs stand: at its end, first or last in a phrase, after a colon. A word that is a noun as
well (``transfer``) is a verb after an id or a kind (``/files/{id}/transfer``) and a noun in
the place of a collection (``/transfers``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from proxy.decode.words.lexicon import LEXICON, TELLING
from proxy.decode.words.marks import (
    ASKED,
    CHANGE,
    DOOR,
    ERASE,
    FORM,
    GRANT,
    GUARD,
    MAILING,
    MAKE,
    MANNER,
    MONEY,
    NOUNS,
    PAY,
    READ,
    SEND,
    STEP,
    THING,
    TURN,
    VERBS,
)
from proxy.decode.words.phrases import Path, Phrase, phrase

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "LIST", "SEARCH", "PROPFIND", "REPORT"})
"""Methods that promise to change nothing (RFC 9110 section 9.2.1, and their kin)."""

ERASING: Final = frozenset({"DELETE", "PURGE"})
_ON_ITEMS: Final = frozenset({"PUT", "PATCH", "DELETE", "PURGE"})
# Verbs that are risky enough to count wherever they stand in a phrase, and in a GET.
_LOUD: Final = ERASE | SEND | GRANT
# Verbs that stand before a noun as readily as they ask: test users, search indexes.
_ASKS: Final = frozenset(
    {
        "get", "list", "find", "describe", "lookup", "fetch", "search", "compare", "preview",
        "validate", "verify", "calculate", "estimate", "evaluate",
    }
)  # fmt: skip


MAX_NAME: Final = 200
# What is done stands below it: it is no object itself.
_EMPTY: Final = frozenset({"action", "actions"})
_SHORT: Final = 6


class Deed(NamedTuple):
    """
    `verb` is a mark, 0 where only the method speaks; `word` is its spelling.

    Of the object: `head` is the mark of its last word, `every` of all its words, `near` of the
    phrase above it, `above` the marks of access of everything above. `apart` says that an id
    stands between the object and what is above it, `item` that one of many is meant, `model`
    that everything happens below what only pretends.
    """

    method: str
    verb: int
    word: str
    object: tuple[str, ...]
    head: int
    every: int
    near: int
    above: int
    apart: bool
    item: bool
    top: int


class _Said(NamedTuple):
    """A verb, and the words that it is about."""

    verb: int
    word: str
    words: tuple[str, ...]
    marks: tuple[int, ...]


def ground(host: str) -> int:
    """The marks of access that a host's own labels have, as in ``iam.example.com``; not the domain's."""
    found = 0
    for label in host.split(".")[:-2]:
        for word in label.split("-"):
            mark = LEXICON.get(word)
            if mark is None and len(word) > _SHORT and (telling := TELLING.search(word)):
                mark = LEXICON[telling[0]]
            found |= mark or 0
    return found & GUARD


def name_deed(name: str, around: int = 0, above: Sequence[Phrase] = ()) -> Deed:
    """What an operation's name says: ``TerminateInstances``, ``issueDelete``, ``send_email``."""
    one = phrase(name[:MAX_NAME], spoken=True)
    if len(one.words) > 1:
        said = _said(one, named=True)
    elif one.all & VERBS:
        said = _Said(one.all & VERBS, one.words[0], (), ())
    else:
        said = _Said(0, "", one.words, one.marks)
    return _deed("", said, above, around, apart=bool(said.words), item=False)


def call_deed(name: str, service: str = "", around: int = 0) -> Deed:
    """What a procedure's name says, and its service's: ``CreateUser`` of ``iam.v1.Accounts``."""
    return name_deed(name, around, [phrase(part) for part in service[:MAX_NAME].split(".")])


def path_deed(method: str, path: Path, around: int = 0) -> Deed:
    """What a method and a path say."""
    at = len(path.phrases) - 1
    while at > 0 and _says_how(path.phrases[at]):
        at -= 1
    if at < 0:
        return _deed(
            method, _Said(READ if method in SAFE else 0, "", (), ()), (), around, apart=False, item=False
        )
    tail, above = path.phrases[at], path.phrases[:at]
    said = _single(method, tail, above, path.ends_in_id) if len(tail.words) == 1 else _several(method, tail)
    if method in SAFE:
        if not _acts(tail, said):
            return _deed(
                method, _Said(READ, "", tail.words, tail.marks), above, around, tail.follows_id, item=False
            )
        method = "POST"
    item, apart = path.ends_in_id, tail.follows_id
    if said.verb and len(above) > 1 and above[-1].words[-1] in _EMPTY:
        above = above[:-1]
    if said.verb and not any(said.marks) and above:
        said = said._replace(words=above[-1].words, marks=above[-1].marks)
        above, item, apart = above[:-1], True, above[-1].follows_id
    return _deed(method, said, above, around, apart, item)


def _deed(method: str, said: _Said, above: Sequence[Phrase], around: int, apart: bool, item: bool) -> Deed:
    words, marks = said.words, said.marks
    for at, mark in enumerate(marks):
        if at and mark & TURN:  # "tags from resource": the object ends before the preposition
            words, marks = words[:at], marks[:at]
            break
    every, near, guards = 0, 0, around
    for mark in marks:
        every |= mark
    for mark in said.marks[len(marks) :]:
        guards |= mark
    for one in above:
        near = one.all
        guards |= near
    head = marks[-1] if marks else 0
    if not every and above and not apart and method in ("", "POST"):  # /payments/stablecoin is a payment
        every, head = near, above[-1].marks[-1] & ~DOOR
    top = above[0].all if above else 0
    return Deed(method, said.verb, said.word, words, head, every, near, guards & GUARD, apart, item, top)


def _says_how(one: Phrase) -> bool:
    """Whether a phrase only says how the one before it is done: ``batch``, ``with templates``."""
    first = one.marks[0]
    if first & TURN:
        return len(one.marks) > 1
    if not first & MANNER or first & NOUNS:
        return False
    return len(one.marks) == 1 or bool(one.marks[1] & (TURN | MANNER))


def _single(method: str, tail: Phrase, above: Sequence[Phrase], ends_in_id: bool) -> _Said:
    """The verb of a path that ends in a single word."""
    mark, word = tail.all, tail.words[0]
    if mark & VERBS and (not mark & NOUNS or tail.spoken):
        return _Said(mark & VERBS, word, (), ())
    if method not in _ON_ITEMS:
        kind = bool(above) and (above[-1].words[-1].endswith("s") or bool(above[-1].all & (MONEY | MAILING)))
        after_kind = kind and not mark & NOUNS & ~(THING | ASKED)
        if mark & VERBS and not ends_in_id and (tail.follows_id or after_kind):
            return _Said(mark & VERBS, word, (), ())
        if above and not tail.follows_id and not mark & (FORM | STEP):
            before = above[-1].marks[0]
            if before & VERBS and not before & NOUNS & ~ASKED:  # /lookup/entity
                return _Said(before & VERBS, above[-1].words[0], tail.words, tail.marks)
    return _Said(0, "", tail.words, tail.marks)


def _several(method: str, tail: Phrase) -> _Said:
    """The verb of a path that ends in a phrase of several words, or in none."""
    said = _said(tail, named=tail.spoken)
    if said.verb and not said.verb & ~(READ | MAKE | CHANGE) and not tail.spoken:
        of_things = said.words and said.words[-1] == tail.words[-1] and tail.words[-1].endswith("s")
        if method in _ON_ITEMS or (said.verb & READ and of_things and said.word not in _ASKS):
            return _Said(0, "", tail.words, tail.marks)
    return said


def _acts(tail: Phrase, said: _Said) -> bool:
    """Whether a request that promises to change nothing names a deed all the same."""
    if not said.verb & ~READ:
        return False
    if tail.spoken:
        return True
    if len(tail.words) == 1:
        return bool(said.verb & (ERASE | SEND)) and not tail.all & NOUNS
    if tail.camel:
        return said.word == tail.words[0]
    return bool(said.verb & _LOUD) and said.word == tail.words[-1]


def _said(one: Phrase, *, named: bool) -> _Said:
    """
    The verb of several words and what it is about: the first word, else the last, else one inside.

    `named`: these words name an operation, so that one of them is a verb even if it could be a noun.
    """
    words, marks = one.words, one.marks
    first, last = 0, len(marks) - 1
    while first < last and marks[first] & MANNER:
        first += 1
    while last > first and marks[last] & MANNER:
        last -= 1
    if not marks:
        return _Said(0, "", (), ())
    if marks[first] & VERBS and not marks[first] & NOUNS:
        return _Said(marks[first] & VERBS, words[first], words[first + 1 :], marks[first + 1 :])
    if last > first and marks[last] & VERBS and not marks[last] & NOUNS:
        return _Said(marks[last] & VERBS, words[last], words[:last], marks[:last])
    if named and marks[first] & VERBS:
        return _Said(marks[first] & VERBS, words[first], words[first + 1 :], marks[first + 1 :])
    wanted = VERBS if named else _LOUD | PAY
    for at in range(last, first - 1, -1):
        if marks[at] & wanted and not marks[at] & NOUNS:
            after = slice(at + 1, None) if at < last else slice(at)
            return _Said(marks[at] & VERBS, words[at], words[after], marks[after])
    if named and marks[last] & VERBS:
        return _Said(marks[last] & VERBS, words[last], words[:last], marks[:last])
    return _Said(0, "", words, marks)
