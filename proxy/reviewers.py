"""
Who may review, and what each is called: the content of ``reviewers.yaml``.

    version: 1
    reviewers:
      - {name: ada, uid: 1000, groups: [finance], keys: [ssh-ed25519 AAAA…]}
      - {name: ada-on-call, uid: 1000, groups: [finance, security]}

The kernel says which account a reviewer has (the uid); this file says by which names that
account goes. All names of one uid are one person, and reviews are counted by person. Without
the file every account that can reach the control socket is a reviewer of its own name. Once
somebody is enrolled (`proxy.enrolment`) the ledger says who reviews, and the file only proposes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from proxy.errors import Exit, Problem, SluiceError, fail
from proxy.hold import Reviewer
from proxy.signing import ProofError
from proxy.signing.publickey import PublicKey

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_UID: Final = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
_FIELDS: Final = ("name", "uid", "groups", "keys")
_TOP: Final = ("version", "reviewers")
_PROPOSALS: Final = 100
_WHY: Final = "a review counts only for a person who is known for certain"


@dataclass(frozen=True, slots=True)
class Reviewers:
    """
    The people by uid, in the order of the file; None where there is no file.

    `keys` are the public keys that it proposes for each name, as lines of ``.pub`` files.
    """

    people: Mapping[int, tuple[Reviewer, ...]] | None = None
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def who(self, uid: int, account: str, name: str | None = None) -> Reviewer:
        """
        The reviewer that an account is, by the name it asks for or else by its first one.

        Raises SluiceError with exit 1 where the account has no such name. `account` is what
        the system calls the uid.
        """
        if self.people is None:
            known: tuple[Reviewer, ...] = (Reviewer(f"uid:{uid}", account),)
        else:
            known = self.people.get(uid, ())
        if not known:
            raise _no(f"account '{account}' (uid {uid}) is no reviewer", "add it to reviewers.yaml")
        for reviewer in known:
            if name in (None, reviewer.name):
                return replace(reviewer, account=account)
        names = ", ".join(reviewer.name for reviewer in known)
        raise _no(f"account '{account}' (uid {uid}) has no name '{name}'", f"its names are: {names}")


def proposals(file: Reviewers, enrolled: Iterable[tuple[str, int, tuple[str, ...]]]) -> tuple[str, ...]:
    """
    What the file would have otherwise than the roll, in words: where reviewers are enrolled it only proposes.

    `enrolled` are name, uid and groups of each.
    """
    if file.people is None:
        return ()
    proposed = {one.name: (one.person, one.groups) for many in file.people.values() for one in many}
    known = {name: (f"uid:{uid}", groups) for name, uid, groups in enrolled}
    said = []
    for name, (person, groups) in proposed.items():
        if name not in known:
            key = "".join(f", key {line}" for line in file.keys.get(name, ())[:1])
            said.append(f"enrol '{name}' ({person}, groups {_listed(groups)}{key})")
        elif known[name][0] != person:
            said.append(f"'{name}' is {person}; enrolled for {known[name][0]}, which stays")
        elif set(known[name][1]) != set(groups):
            said.append(
                f"give '{name}' the groups {_listed(groups)}; enrolled with {_listed(known[name][1])}"
            )
    said += [f"'{name}' is not in the file; enrolled all the same" for name in known if name not in proposed]
    return tuple(said[:_PROPOSALS])


def _listed(groups: tuple[str, ...]) -> str:
    return ", ".join(groups) or "none"


def parse(document: object, where: str) -> Reviewers:
    """
    The reviewers in a parsed file; `where` is its name for messages.

    Raises SluiceError with everything that is wrong, all at once.
    """
    problems = list(_top_problems(document))
    if problems or not isinstance(document, Mapping):
        raise SluiceError(*(_at(where, problem) for problem in problems))
    people: dict[int, tuple[Reviewer, ...]] = {}
    names: set[str] = set()
    for number, item in enumerate(document["reviewers"], 1):
        wrong = list(_entry_problems(item, number, names))
        problems += wrong
        if wrong:
            continue
        uid = int(item["uid"])
        names.add(item["name"])
        reviewer = Reviewer(f"uid:{uid}", item["name"], tuple(item.get("groups", ())))
        people[uid] = (*people.get(uid, ()), reviewer)
    if problems:
        raise SluiceError(*(_at(where, problem) for problem in problems))
    keys = {item["name"]: tuple(item.get("keys", ())) for item in document["reviewers"]}
    return Reviewers(people, keys)


def _top_problems(document: object) -> Iterator[Problem]:
    if not isinstance(document, Mapping):
        yield Problem("not a mapping", _WHY, "start with 'version: 1'")
        return
    yield from _strangers(document, _TOP, "at the top")
    if document.get("version") not in (1, "1") or isinstance(document.get("version"), bool):
        yield Problem("'version' is not 1", "another version may mean something else", "version: 1")
    if not isinstance(document.get("reviewers"), list):
        yield Problem("'reviewers' is not a list", _WHY, "reviewers: [{name: ada, uid: 1000, groups: []}]")


def _entry_problems(item: object, number: int, names: set[str]) -> Iterator[Problem]:
    place = f"in reviewer {number}"
    if not isinstance(item, Mapping):
        yield Problem(f"{place} is not a mapping", _WHY, "{name: ada, uid: 1000, groups: []}")
        return
    yield from _strangers(item, _FIELDS, place)
    name, uid, groups = item.get("name"), item.get("uid"), item.get("groups", [])
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield Problem(f"'name' {place} is no name", _WHY, "lower-case letters, digits and . _ - (at most 64)")
    elif name in names:
        yield Problem(f"the name '{name}' {place} stands twice", _WHY, "give each name once")
    if isinstance(uid, bool) or not isinstance(uid, int | str) or not _UID.fullmatch(str(uid)):
        yield Problem(f"'uid' {place} is no account number", _WHY, "the number that `id -u` prints")
    if not isinstance(groups, list) or not all(isinstance(g, str) and _NAME.fullmatch(g) for g in groups):
        yield Problem(f"'groups' {place} is no list of names", _WHY, "groups: [finance]")
    yield from _key_problems(item.get("keys", []), place)


def _key_problems(keys: object, place: str) -> Iterator[Problem]:
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        yield Problem(
            f"'keys' {place} is no list of keys", _WHY, "keys: [ssh-ed25519 AAAA…], as in a .pub file"
        )
        return
    for key in keys:
        try:
            PublicKey.of_line(key)
        except ProofError as error:
            yield Problem(f"a key {place} is none: {error}", _WHY, "the line of a .pub file")


def _strangers(item: Mapping[object, object], known: tuple[str, ...], place: str) -> Iterator[Problem]:
    for key in item:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, 1)
            fix = f"did you mean '{close[0]}'?" if close else f"known are: {', '.join(known)}"
            yield Problem(f"unknown field '{key}' {place}", _WHY, fix)


def _at(where: str, problem: Problem) -> Problem:
    return Problem(problem.what, problem.why, problem.fix, where)


def _no(what: str, fix: str) -> SluiceError:
    return fail(what, _WHY, fix, exit=Exit.NO)
