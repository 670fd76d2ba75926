"""
What an action would do: read, write, payment, message, delete or permission.

A format that promises a read is believed, unless something else could make the request more.
Everything else is read as people read the documentation of an API that they do not know: by
its method, the verb, what it is done to and what that belongs to (`proxy.decode.deeds`, in the
words of `proxy.decode.words`), and by what query and body add (`proxy.decode.hints`). Where
it cannot tell harmless from risky, it says risky. The rules are `outcome` and what it calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.decode import hints
from proxy.decode.decoded import Body, Decoded, Head, told
from proxy.decode.deeds import ERASING, SAFE, Deed, call_deed, ground, name_deed, path_deed
from proxy.decode.hints import Hint, Naming
from proxy.decode.message import has_fields, is_text
from proxy.decode.words.lexicon import LEXICON
from proxy.decode.words.marks import (
    ASKED,
    CALM,
    DECIDE,
    DOOR,
    END,
    ERASE,
    FEATHER,
    FORM,
    GRANT,
    GUARD,
    LETTER,
    LOSS,
    MAILING,
    MAKE,
    MONEY,
    PAPER,
    PAY,
    PLEDGE,
    PRETEND,
    READ,
    ROBOT,
    SEND,
    STEP,
    TRIFLE,
)
from proxy.decode.words.phrases import Path, path_phrases

CONSEQUENCES: Final = ("read", "write", "message", "payment", "permission", "delete")
"""From the mildest to the gravest, for a person to see; rules are asked for each of them."""

MAX_NAMES: Final = 100

_MEANS: Final = {
    "read": "nothing changes",
    "write": "something changes",
    "message": "it reaches a person",
    "payment": "money moves or is committed",
    "permission": "who may do what changes, or what guards it",
    "delete": "data is gone, or something in force ends",
}
_MILD: Final = frozenset({"read", "write"})
_ON_ITEMS: Final = frozenset({"PUT", "PATCH", *ERASING})
# Formats whose names a body alone tells: a server that does not speak them goes by the path.
_IN_BODY: Final = frozenset({"rpc", "mcp", "graphql"})
_ENDPOINTS: Final = frozenset({"mcp", "rpc", "jsonrpc", "graphql", "gql"})
_HIDDEN: Final = ":unknown"  # how a format names an operation that it cannot make out
_TYPES: Final = frozenset({"type"})
_READ: Final = ("read",)
_WRITE: Final = ("write",)
_MAX_SHOWN: Final = 20  # characters of a word that nobody knows: what is longer may be a secret


@dataclass(frozen=True, slots=True)
class Likely:
    """
    What a request would do: `words`, the gravest first.

    `deed` says in words what is done to what, `added` what query and body add to it. `certain`
    is False where a format hides what is done: then the words are but the gravest that it may be.
    """

    words: tuple[str, ...]
    deed: str = ""
    added: tuple[str, ...] = ()
    certain: bool = True

    @property
    def why(self) -> str:
        """For a person: ``DELETE of 'customers': data is gone, or something in force ends``."""
        said = "; ".join(part for part in (self.deed, *self.added) if part)
        means = "; ".join(_MEANS[word] for word in self.words)
        return f"{said}: {means}" if said else means


def likely(head: Head, body: Body, decoded: tuple[Decoded, ...], methods: Sequence[str | None]) -> Likely:
    """
    What a single request would do; `methods` are the request's own and those that override it.

    While the body is unread, what the head alone says (see `body_matters`).
    """
    more = len(methods) > 1 or "upgrade" in head.headers or ":protocol" in head.headers
    promised = told(decoded)
    if promised == "read" and not more:
        return Likely(("read",), "its format promises that")
    if any(one.operation.endswith(_HIDDEN) for one in decoded):
        return Likely(("delete",), "nobody can say which operation this is", certain=False)
    path = path_phrases(head.path)
    if path is None:
        return Likely(
            ("read",) if _only_reads(head, body) else ("delete",), "the path is too long to be read"
        )
    deeds = _deeds(head, path, decoded, methods)
    found = {word for deed in deeds for word in outcome(deed)}
    added = [hint for hint in _hints(head, body, path) if hint.consequence not in found]
    found.update(hint.consequence for hint in added)
    if not found <= _MILD:
        found -= _MILD
    elif more or promised == "write" or _unseen(head, body):
        found = {"write"}
    elif head.method in SAFE:  # what nobody minds is no more than the method promises
        found = {"read"}
    elif len(found) > 1:
        found = {"write"}
    words = tuple(sorted(found, key=CONSEQUENCES.index, reverse=True))
    return Likely(words, _sentence(head, deeds[0]), tuple(dict.fromkeys(hint.why for hint in added)))


def body_matters(head: Head, body: Body) -> bool:
    """Whether an unread body could make a request graver: one with fields, or text, could."""
    return body.raw is None and (has_fields(head.kind) or is_text(head))


def gravest(consequences: Iterable[str]) -> str:
    """The one of several that a person should see first."""
    return max(consequences, key=CONSEQUENCES.index)


def _only_reads(head: Head, body: Body) -> bool:
    return head.method in SAFE and len(head.methods) == 1 and body.empty


def _unseen(head: Head, body: Body) -> bool:
    """Whether there is, or may be, a body that nobody looked into: then nothing promises a read."""
    if body.raw is None or head.method in SAFE:
        return not body.empty
    return bool(body.raw) and not (body.is_json or body.form is not None or body.parts is not None)


# -- what is done to what ----------------------------------------------------------------------


def _deeds(head: Head, path: Path, decoded: tuple[Decoded, ...], methods: Sequence[str | None]) -> list[Deed]:
    """What the names of operations say, and what the path says where they do not stand for it."""
    around = ground(head.host)
    found: list[Deed] = []
    by_path = True
    for one in decoded:
        if one.format == "grpc" and one.names:
            found.append(call_deed(one.names[0], one.names[-1], around))
        elif one.format == "aws" and one.names == (head.method,):
            continue  # a service whose actions are the methods themselves
        elif one.format == "aws" or one.format in _IN_BODY:
            found += [name_deed(name, around) for name in one.names[:MAX_NAMES]]
        if one.names and (one.format in ("grpc", "aws") or (one.format in _IN_BODY and _is_endpoint(path))):
            by_path = False
    if by_path:
        # A method that cannot be read may be any.
        found += [path_deed(method or "DELETE", path, around) for method in dict.fromkeys(methods)]
    return found


def _is_endpoint(path: Path) -> bool:
    """Whether a path ends where a whole API is served, as ``/mcp`` does."""
    return bool(path.phrases) and path.phrases[-1].words[-1] in _ENDPOINTS


def _hints(head: Head, body: Body, path: Path) -> Iterator[Hint]:
    """What query, headers and body add."""
    yield from _meant(hints.in_headers(head.headers), path)
    if head.query:
        yield from _meant(hints.in_query(head.query, bare=head.method not in SAFE), path)
    if head.method in SAFE or not body.raw:
        return
    last = path.phrases[-1].words[-1] if path.phrases else ""
    chooses = _TYPES if last in ("action", "actions") else frozenset()
    yield from _meant(hints.in_body(body, chooses), path)


def _meant(found: Iterable[Naming | Hint], path: Path) -> Iterator[Hint]:
    """Hints, and the outcomes of the operations that parameters name."""
    names: set[str] = set()
    for one in found:
        if isinstance(one, Hint):
            yield one
        elif len(names) == MAX_NAMES:
            yield Hint("delete", "it names more operations than can be read")
            return
        elif one.name not in names:
            names.add(one.name)
            for word in outcome(name_deed(one.name, above=path.phrases)):
                if word not in _MILD:
                    yield Hint(word, f"{one.parameter} names it")


def _sentence(head: Head, deed: Deed) -> str:
    """A deed in words: ``'capture' of 'payment intents' at api.example.com``."""
    words = [word for word in deed.object if word in LEXICON or len(word) <= _MAX_SHOWN]
    what = f"'{deed.word}'" if deed.word else (deed.method or head.method)
    of = f" of '{' '.join(words)}'" if words else ""
    return f"{what}{of} at {head.host}"


# -- the rules -----------------------------------------------------------------------------------


def outcome(deed: Deed) -> Sequence[str]:
    """What a deed comes to: each consequence that a rule below finds, else read or write."""
    verb = deed.verb
    if verb & READ and deed.method not in _ON_ITEMS and not (verb & (ERASE | GRANT) or _is_trial(deed)):
        return _READ
    erases = bool(verb & ERASE) or deed.method in ERASING
    if _is_trifling(deed, erases=erases):
        return _WRITE
    makes = bool(verb & MAKE) or (not verb and _creates(deed))
    found = []
    if erases or verb & END or (makes and deed.every & LOSS):
        found.append("delete")
    if _guards(deed):
        found.append("permission")
    if _pays(deed, makes=makes):
        found.append("payment")
    if _tells(deed, makes=makes):
        found.append("message")
    if not found:
        return _READ if makes and deed.head & ASKED else _WRITE
    return found


def _creates(deed: Deed) -> bool:
    """Whether the method alone makes something: POST and PUT, but not on one of many."""
    return deed.method == "" or (deed.method in ("POST", "PUT") and not deed.item)


def _is_trial(deed: Deed) -> bool:
    """A test of what is sent is sent: to the tester, but sent. So is one of a webhook."""
    return deed.word == "test" and deed.item and bool((deed.every | deed.near) & (MAILING | LETTER | GUARD))


def _is_trifling(deed: Deed, *, erases: bool) -> bool:
    """Whether nobody minds: a calm verb, a trifle's change, a feather's loss, a model of the world."""
    verb, head = deed.verb, deed.head
    if (deed.top & PRETEND and not erases) or (verb & CALM and not verb & ~CALM):
        return True
    if verb & (SEND | PAY | GRANT | DECIDE) or (deed.near & GUARD and not deed.apart):
        return False
    if head & FEATHER:
        return True
    return bool(head & TRIFLE) and not erases and not deed.every & (GUARD | MONEY | PAPER | LETTER)


def _guards(deed: Deed) -> bool:
    """Access: a verb of it, a thing that is it, a place that is about it."""
    return bool(deed.verb & (GRANT | DECIDE) or (deed.every | deed.above) & GUARD or deed.head & DOOR)


def _pays(deed: Deed, *, makes: bool) -> bool:
    """Money: a verb of it, making what moves it, a step in its way, a change of what was pledged."""
    if deed.verb & PAY or deed.every & PLEDGE:
        return True
    if makes and deed.every & MONEY and not deed.head & (FORM | TRIFLE):
        return True
    if makes and deed.every & PAPER and deed.near & MONEY:
        return True
    if deed.verb & (STEP | DECIDE | END) and (deed.every | deed.near) & (MONEY | PAPER):
        return True
    return bool(deed.near & PLEDGE) and deed.method == "POST" and not deed.head & (TRIFLE | FEATHER)


def _tells(deed: Deed, *, makes: bool) -> bool:
    """People: a verb of telling, making what they read, a step that sets a mailing going."""
    if deed.verb & SEND:
        return not deed.head & ROBOT
    if (deed.every | deed.near) & (LETTER | MAILING) and _is_trial(deed):
        return True
    if makes and deed.head & LETTER and not deed.near & ROBOT:
        return True
    return bool(deed.verb & (STEP | DECIDE) and (deed.every | deed.near) & (MAILING | LETTER))
