"""
The roll: which reviewers are enrolled, with which keys, as far as the ledger says.

Pure: a fold over the entries below. The gate goes by it, and a verifier folds the same. The
first reviewer signs its own enrolment; every later change is signed by one who is enrolled.

    enrolled      `reviewer` with `uid`, `groups` and a `key`, or one key more
    regrouped     `reviewer` has other `groups`
    rotated_key   `reviewer` has `key` in the place of `old`
    revoked_key   `reviewer` has `key` no more
    pruned        `roll` is what the entries that are gone had come to (see `Roll.restore`)

A key is enrolled once and never again, a name is of one account for ever, and the last key of all
cannot be revoked. So whoever has counted once counts as the same person ever after: a person is an
account (uid), under all its names and keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from proxy.ledger import Draft, Fields
from proxy.signing import ProofError
from proxy.signing.publickey import PublicKey
from proxy.signing.statement import ANSWERS, FRESH, Proof, Statement

ACTS: Final[Mapping[str, str]] = {
    "enrol": "enrolled",
    "regroup": "regrouped",
    "rotate-key": "rotated_key",
    "revoke-key": "revoked_key",
}
"""What changes the roll, and the kind of the entry that says so."""
KINDS: Final = frozenset(ACTS.values())
SIGNED: Final = frozenset({"reviewed", "ordered", *KINDS})
"""Kinds of entries that carry a proof where reviewers are enrolled; each has a field `reviewer`."""
PEOPLE: Final = 100
KEYS: Final = 5
GROUPS: Final = 20

_ACT_OF: Final = {kind: act for act, kind in ACTS.items()}
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_UIDS: Final = range(2**32 - 1)
_WORDS: Final = {
    "hold": "another hold",
    "request": "another request",
    "view": "something else than is shown now",
    "policy": "another policy",
    "reason": "another reason",
}


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A reviewer on the roll; `keys` are those in force, `person` is what is counted."""

    name: str
    uid: int
    groups: tuple[str, ...]
    keys: tuple[PublicKey, ...]

    @property
    def person(self) -> str:
        """The account, under whatever name or key."""
        return f"uid:{self.uid}"


class Roll:
    """The roll of one ledger (`ledger` is the id in its genesis), changed by `take` alone."""

    def __init__(self, ledger: str) -> None:
        self.ledger = ledger
        self.people: dict[str, Enrolled] = {}
        self._owners: dict[str, str] = {}  # every key that was ever enrolled, by its id
        self._spent: dict[tuple[str, str], int] = {}

    @property
    def required(self) -> bool:
        """Whether decisions have to be signed: from the first enrolment on, for ever."""
        return bool(self._owners)

    def copy(self) -> Roll:
        """Another one that says the same."""
        copied = Roll(self.ledger)
        copied.people = dict(self.people)
        copied._owners = dict(self._owners)
        copied._spent = dict(self._spent)
        return copied

    def named(self, uid: int) -> tuple[Enrolled, ...]:
        """The reviewers that an account may be, in the order of their enrolment."""
        return tuple(one for one in self.people.values() if one.uid == uid)

    # -- what a proof is worth -----------------------------------------------------

    def judge(
        self, proof: Proof, act: str, about: Mapping[str, object], at: int, *, early: int = FRESH
    ) -> tuple[Statement, Enrolled]:
        """
        Who has signed this act, about exactly this; ProofError where it does not count.

        `at` is the time in microseconds at which it is to count; a statement may be at most
        `early` older. It has not counted yet: see `spend`.
        """
        statement, key = proof.opened()
        if statement.ledger != self.ledger:
            raise ProofError("ledger", "the statement was signed for another ledger")
        if statement.act != act:
            raise ProofError("act", f"what was signed is to {statement.act}, not to {act}")
        if statement.about != about:
            raise ProofError("about", f"what was signed is for {_difference(statement.about, about)}")
        statement.check_fresh(at, early)
        who = self._signer(statement, key)
        if statement.moment <= self._spent.get(_subject(statement), -1):
            raise ProofError("spent", "this statement, or a later one, has counted already", fix="sign again")
        return statement, who

    def _signer(self, statement: Statement, key: PublicKey) -> Enrolled:
        name = statement.reviewer
        owner = self._owners.get(key.id)
        if owner is None and not self.required and statement.act == "enrol":
            return _first(statement, key)
        if owner is None:
            raise ProofError("stranger", f"the key {key.id} is not enrolled", fix="sluice reviewer list")
        who = self.people.get(name)
        if owner != name or who is None:
            raise ProofError("stranger", f"the key {key.id} is {owner}'s, not {name}'s")
        if key not in who.keys:
            raise ProofError("revoked", f"the key {key.id} of {name} is revoked", fix="sluice reviewer list")
        return who

    def spend(self, statement: Statement) -> None:
        """A statement has counted: neither it nor an earlier one like it will count again."""
        if len(self._spent) > 4_096:
            newest = max(self._spent.values())
            self._spent = {one: at for one, at in self._spent.items() if newest - at <= 4 * FRESH}
        self._spent[_subject(statement)] = statement.moment

    # -- what changes it -----------------------------------------------------------

    def apply(self, act: str, about: Mapping[str, object]) -> None:
        """Change the roll as an act says; ProofError, and nothing changed, where that cannot be."""
        name = about.get("reviewer")
        if type(name) is not str or not _NAME.fullmatch(name):
            raise ProofError("name", f"{name!r:.70} is no name", fix="a-z, 0-9 and . _ - (at most 64)")
        match act:
            case "enrol":
                self._enrol(name, about)
            case "regroup":
                self.people[name] = replace(self._person(name), groups=_groups(about))
            case "rotate-key":
                self._rotate(self._person(name), about)
            case "revoke-key":
                self._revoke(self._person(name), _key(about, "key"))
            case _:
                raise ProofError("act", f"'{act}' does not change the roll")

    def _person(self, name: str) -> Enrolled:
        if name not in self.people:
            raise ProofError("name", f"'{name}' is not enrolled", fix="sluice reviewer list")
        return self.people[name]

    def _enrol(self, name: str, about: Mapping[str, object]) -> None:
        uid, key, groups = about.get("uid"), _key(about, "key"), _groups(about)
        if type(uid) is not int or uid not in _UIDS:
            raise ProofError("uid", f"{uid!r:.40} is no account number", fix="the number that `id -u` prints")
        who = self.people.get(name)
        if who is not None and (who.uid, who.groups) != (uid, groups):
            what = f"'{name}' is enrolled already, for uid {who.uid} and the groups {', '.join(who.groups)}"
            raise ProofError("name", what, "a second key is the same person's", "sluice reviewer regroup")
        if who is None and len(self.people) >= PEOPLE:
            raise ProofError("full", f"{PEOPLE} reviewers are enrolled: no more can be")
        if who is not None and len(who.keys) >= KEYS:
            raise ProofError("full", f"'{name}' has {KEYS} keys already", fix="sluice reviewer rotate")
        self._own(key, name)
        self.people[name] = Enrolled(name, uid, groups, (*(who.keys if who else ()), key))

    def _rotate(self, who: Enrolled, about: Mapping[str, object]) -> None:
        old, key = _key(about, "old"), _key(about, "key")
        if old not in who.keys:
            raise ProofError("key", f"{old.id} is no key of {who.name} that is in force")
        self._own(key, who.name)
        kept = tuple(one for one in who.keys if one != old)
        self.people[who.name] = replace(who, keys=(*kept, key))

    def _revoke(self, who: Enrolled, key: PublicKey) -> None:
        if key not in who.keys:
            raise ProofError("key", f"{key.id} is no key of {who.name} that is in force")
        if sum(len(one.keys) for one in self.people.values()) == 1:
            raise ProofError(
                "last", "this is the last key: without it nobody could decide anything", fix="enrol another"
            )
        self.people[who.name] = replace(who, keys=tuple(one for one in who.keys if one != key))

    def _own(self, key: PublicKey, name: str) -> None:
        if key.id in self._owners:
            raise ProofError(
                "key", f"{key.id} was enrolled already, for {self._owners[key.id]}: a key is, once"
            )
        self._owners[key.id] = name

    # -- the fold ------------------------------------------------------------------

    def take(self, fields: Fields, at: int, *, early: int = FRESH) -> None:
        """
        Go on by one entry of `SIGNED`; `at` is its time in microseconds.

        ProofError where it does not count: whoever folds must not go on as if it did.
        """
        kind = str(fields.get("kind"))
        if kind in KINDS:
            act = _ACT_OF[kind]
            about = {name: fields.get(name) for name in _ABOUT[act]}
            statement, _ = self.judge(proof_of(fields), act, about, at, early=early)
            self.apply(act, about)
            self.spend(statement)
        elif kind in SIGNED and "statement" in fields:
            self.spend(Statement.parse(proof_of(fields).statement.encode("utf-8", "replace")))

    @property
    def said(self) -> dict[str, object]:
        """The whole of it, as a `pruned` entry keeps it."""
        people: list[object] = [
            [one.name, one.uid, list(one.groups), [key.line for key in one.keys]]
            for one in self.people.values()
        ]
        owners: list[object] = [[key, name] for key, name in self._owners.items()]
        return {"people": people, "owners": owners}

    def restore(self, said: object) -> None:
        """Begin with what a pruning has kept (`said`, or nothing); the archive has the proofs."""
        if not isinstance(said, dict) or self.required:
            return
        try:
            people = {
                name: Enrolled(name, uid, tuple(groups), tuple(PublicKey.of_line(key) for key in keys))
                for name, uid, groups, keys in said["people"]
            }
            owners = {str(key): str(name) for key, name in said["owners"]}
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ProofError("form", "a pruning that does not say who was enrolled") from None
        self.people, self._owners = people, owners


_ABOUT: Final[Mapping[str, tuple[str, ...]]] = {
    "enrol": ("reviewer", "uid", "groups", "key"),
    "regroup": ("reviewer", "groups"),
    "rotate-key": ("reviewer", "old", "key"),
    "revoke-key": ("reviewer", "key", "reason"),
}


def entry(act: str, about: Mapping[str, object], by: Statement, proof: Proof) -> Draft:
    """The entry that an act becomes: one of the roll's, or `ordered` for any other."""
    signed = {"by": by.reviewer, "statement": proof.statement, "signature": proof.signature}
    if act in ACTS:
        return Draft(ACTS[act], {**about, **signed})
    return Draft("ordered", {"act": act, "reviewer": by.reviewer, "key": by.key, **signed})


def proof_of(fields: Fields) -> Proof:
    """The proof that an entry carries; ProofError where it has none."""
    statement, signature = fields.get("statement"), fields.get("signature")
    if type(statement) is not str or type(signature) is not str:
        raise ProofError("unsigned", "it is not signed")
    return Proof(statement, signature)


def _first(statement: Statement, key: PublicKey) -> Enrolled:
    """The first of all signs for itself."""
    about = statement.about
    if about.get("reviewer") != statement.reviewer or about.get("key") != key.line:
        raise ProofError("stranger", "the first reviewer signs for itself, with the key that is enrolled")
    return Enrolled(statement.reviewer, -1, (), (key,))


def _subject(statement: Statement) -> tuple[str, str]:
    """What a statement may count for once: its hold, or anything else that its key orders."""
    hold = statement.about.get("hold") if statement.act in ANSWERS else None
    return statement.key, str(hold or "")


def _difference(signed: Mapping[str, object], wanted: Mapping[str, object]) -> str:
    for name in (*_WORDS, *wanted, *signed):
        if (name in signed or name in wanted) and signed.get(name) != wanted.get(name):
            return _WORDS.get(name, f"another '{name}'")
    return "something else"


def _key(about: Mapping[str, object], name: str) -> PublicKey:
    line = about.get(name)
    if type(line) is not str:
        raise ProofError("key", f"'{name}' is no key")
    key = PublicKey.of_line(line)
    if key.line != line:
        raise ProofError("key", f"'{name}' is not written as keys are here: kind and base64, no more")
    return key


def _groups(about: Mapping[str, object]) -> tuple[str, ...]:
    groups = about.get("groups")
    named = isinstance(groups, list) and all(type(one) is str and _NAME.fullmatch(one) for one in groups)
    if not isinstance(groups, list) or not named or len(groups) > GROUPS:
        raise ProofError(
            "groups", f"these are no names of groups: {groups!r:.100}", fix="--groups finance,it"
        )
    return tuple(groups)
