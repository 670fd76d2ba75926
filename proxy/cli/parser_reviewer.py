"""Flags and verbs about reviewers, with their help texts."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

type Verb = Callable[[str, str, bool], argparse.ArgumentParser]
"""Makes a verb of `sluice reviewer`: its name, its help, and whether it prints JSON."""


def add(verb: Verb) -> None:
    """Every verb of `sluice reviewer`."""
    verb("list", "who is enrolled, with which keys, and what reviewers.yaml proposes", True)
    enrol = verb("add", "enrol a reviewer; the first one only while no agent is there", False)
    enrol.add_argument("reviewer", metavar="NAME")
    _key(enrol)
    enrol.add_argument(
        "--uid", type=_uid, metavar="UID", help="the account that reviews under it (default: yours)"
    )
    _groups(enrol, required=False)
    regroup = verb("regroup", "give a reviewer other groups", False)
    regroup.add_argument("reviewer", metavar="NAME")
    _groups(regroup, required=True)
    rotate = verb("rotate", "another key in the place of one", False)
    rotate.add_argument("reviewer", metavar="NAME", nargs="?", help="default: you")
    _key(rotate)
    rotate.add_argument("--old", metavar="SHA256:…", help="which key goes, where there are several")
    revoke = verb("revoke", "a key counts no more, or none of a reviewer's", False)
    revoke.add_argument("reviewer", metavar="NAME")
    revoke.add_argument("--key", dest="old", metavar="SHA256:…", help="only this key (default: all)")
    revoke.add_argument("--reason", default="", metavar="TEXT", help="goes into the ledger")
    for one in (enrol, regroup, rotate, revoke):
        one.add_argument("--as", dest="name", metavar="NAME", help="which of your names signs this")


def _key(verb: argparse.ArgumentParser) -> None:
    which = verb.add_mutually_exclusive_group(required=True)
    which.add_argument("--new", action="store_true", help="make an Ed25519 key, under a passphrase")
    which.add_argument(
        "--key", type=Path, metavar="FILE.pub", help="an SSH key that is there: under a passphrase, or sk-…"
    )


def _groups(verb: argparse.ArgumentParser, *, required: bool) -> None:
    verb.add_argument(
        "--groups",
        type=_names,
        default=(),
        required=required,
        metavar="A,B",
        help="what rules ask for under reviewers",
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _uid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 11):
        raise argparse.ArgumentTypeError(f"'{text}' is no account number; id -u prints one")
    return int(text)
