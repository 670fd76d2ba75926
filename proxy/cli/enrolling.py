"""Verbs about reviewers: reviewer add, list, regroup, rotate, revoke."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxy.cli.deciding import CONTROL, desk, keys
from proxy.cli.parser import folder
from proxy.control import ControlDesk
from proxy.errors import Exit, SluiceError, fail
from proxy.keyring import Ask, Signer
from proxy.keyring.asking import ask, new_passphrase
from proxy.keyring.desk import SigningDesk
from proxy.keyring.files import KeyFile, read_public
from proxy.keyring.finding import keys_of, own, terminal_as_it_was
from proxy.keyring.opening import check_plain, opened
from proxy.linux.tree import refuse_tracing
from proxy.render import visible
from proxy.signing.publickey import PublicKey
from proxy.wire import Answer, Call, Enrollee, RollView, Verb


def _say(text: str) -> None:
    print(f"sluice: {visible(text)}", file=sys.stderr)


def _list(arguments: argparse.Namespace) -> int:
    roll = asyncio.run(desk(arguments).roll())
    if arguments.json:
        for one in roll.reviewers:
            fields = {"name": one.name, "uid": one.uid, "groups": list(one.groups), "keys": list(one.keys)}
            print(json.dumps(fields))
        return int(Exit.YES)
    for one in roll.reviewers:
        print(visible(f"{one.name}  uid {one.uid}  groups {', '.join(one.groups) or 'none'}"))
        for key in keys_of(one):
            touched = ", signs when touched" if key.is_touched else ""
            print(visible(f"    {key.id} ({key.kind}{touched})"))
        if not one.keys:
            print("    no key: what it signs counts no more")
    if not roll.reviewers:
        _say("nobody is enrolled: whoever reaches the desk decides; sluice reviewer add NAME --new")
    for proposal in roll.proposals:
        _say(f"reviewers.yaml proposes: {proposal}")
    return int(Exit.YES)


def _add(arguments: argparse.Namespace) -> int:
    uid = os.getuid() if arguments.uid is None else arguments.uid
    roll = asyncio.run(desk(arguments).roll())
    with _new_key(arguments, arguments.reviewer, uid) as key:
        if roll.reviewers and own(roll, os.getuid(), arguments.name, keys()) is None:
            key.keep()
            raise _not_yours(arguments.reviewer, key, uid)
        at = desk(arguments) if roll.reviewers else _alone(arguments, key)
        call = Call(
            Verb.ENROL, reviewer=arguments.reviewer, uid=uid, groups=arguments.groups, key=key.public.line
        )
        _taken(at, call)
        key.keep()
    _say(f"'{arguments.reviewer}' is enrolled with {key.public.id}; decisions are signed from now on")
    return int(Exit.YES)


def _regroup(arguments: argparse.Namespace) -> int:
    _taken(desk(arguments), Call(Verb.REGROUP, reviewer=arguments.reviewer, groups=arguments.groups))
    _say(f"'{arguments.reviewer}' has the groups: {', '.join(arguments.groups) or 'none'}")
    return int(Exit.YES)


def _rotate(arguments: argparse.Namespace) -> int:
    at = desk(arguments)
    roll = asyncio.run(at.roll())
    name = arguments.reviewer or _me(roll, arguments.name)
    whose = _named(roll, name)
    [old] = _chosen(whose, arguments.old)[:1]
    if len(whose.keys) > 1 and arguments.old is None:
        raise fail(f"'{name}' has {len(whose.keys)} keys", fix="--old SHA256:…: sluice reviewer list")
    with _new_key(arguments, name, whose.uid) as key:
        _taken(at, Call(Verb.ROTATE_KEY, reviewer=name, old=old.line, key=key.public.line))
        key.keep()
    _say(f"'{name}' signs with {key.public.id} from now on; {old.id} counts no more")
    return int(Exit.YES)


def _revoke(arguments: argparse.Namespace) -> int:
    at = desk(arguments)
    roll = asyncio.run(at.roll())
    for key in _chosen(_named(roll, arguments.reviewer), arguments.old):
        call = Call(Verb.REVOKE_KEY, reviewer=arguments.reviewer, key=key.line, reason=arguments.reason)
        _taken(at, call)
        _say(f"{key.id} of '{arguments.reviewer}' counts no more")
    return int(Exit.YES)


def _taken(at: SigningDesk, call: Call) -> Answer:
    with terminal_as_it_was():
        return asyncio.run(at.take(call))


def _named(roll: RollView, name: str) -> Enrollee:
    for one in roll.reviewers:
        if one.name == name:
            return one
    raise fail(f"'{name}' is not enrolled", fix="sluice reviewer list", exit=Exit.NO)


def _me(roll: RollView, name: str | None) -> str:
    found = own(roll, os.getuid(), name, keys())
    if found is None:
        raise fail("none of your keys is enrolled here", fix="sluice reviewer list", exit=Exit.NO)
    return found[0].name


def _chosen(whose: Enrollee, fingerprint: str | None) -> list[PublicKey]:
    found = [key for key in keys_of(whose) if fingerprint in (None, key.id)]
    if not found:
        raise fail(f"'{whose.name}' has no such key in force", fix="sluice reviewer list", exit=Exit.NO)
    return found


class _NewKey:
    """A key that is to be enrolled; a new one that comes to nothing leaves nothing behind."""

    def __init__(self, public: PublicKey, file: KeyFile | None, ask: Ask, *, made: bool) -> None:
        self.public = public
        self.file = file
        self._ask = ask
        self._made = made

    def __enter__(self) -> _NewKey:
        return self

    def __exit__(self, *_: object) -> None:
        if self._made and self.file is not None:
            keys().remove(self.file)

    def keep(self) -> None:
        """It came to something."""
        self._made = False

    def signer(self, name: str) -> Signer:
        """The key itself, to sign its own enrolment."""
        if self.file is None:
            raise fail(
                f"the private half of {self.public.id} is not here",
                "the first reviewer signs for itself",
                "name a key of yours, or: --new",
                exit=Exit.NO,
            )
        refuse_tracing()
        return opened(name, self.file, self._ask, os.environ)


def _new_key(arguments: argparse.Namespace, name: str, uid: int) -> _NewKey:
    if arguments.new:
        if uid != os.getuid():
            raise fail("a key is made by whoever signs with it", fix="--key FILE.pub, of theirs")
        passphrase = new_passphrase(ask)
        file = keys().make(name, passphrase)
        return _NewKey(file.public, file, lambda _: passphrase, made=True)
    public = read_public(arguments.key)
    private: Path = arguments.key.with_suffix("")
    if uid != os.getuid() or not (public.is_touched or private.exists()):
        return _NewKey(public, None, ask, made=False)
    known = keys().find((public,))
    if not public.is_touched:
        check_plain(KeyFile(public, private), os.environ)
    return _NewKey(public, keys().adopt(name, public, private), ask, made=known is None)


def _alone(arguments: argparse.Namespace, key: _NewKey) -> SigningDesk:
    """The desk of the first reviewer, who signs with the key that is enrolled."""
    inner = ControlDesk(folder(arguments) / CONTROL)
    return SigningDesk(inner, lambda _: key.signer(arguments.reviewer), clock=time.time)


def _not_yours(name: str, key: _NewKey, uid: int) -> SluiceError:
    pub = key.file.pub if key.file is not None else "FILE.pub"
    return fail(
        f"the key {key.public.id} is ready, and '{name}' is not enrolled yet",
        "reviewers are enrolled by one who is",
        f"give them {pub} for: sluice reviewer add {name} --key FILE.pub --uid {uid} --groups …",
        exit=Exit.NO,
    )


VERBS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "list": _list,
    "add": _add,
    "regroup": _regroup,
    "rotate": _rotate,
    "revoke": _revoke,
}
