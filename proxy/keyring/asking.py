"""Asking a person for a passphrase: on the terminal, and nowhere else."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Final

from proxy.errors import Exit, fail
from proxy.keyring import Ask

LEAST: Final = 8
"""Characters of a new passphrase at the least."""


def ask(prompt: str) -> str:
    """What is typed on /dev/tty, unseen; SluiceError (exit 1) where there is no terminal, or no answer."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        raise fail(
            "a passphrase is asked for on a terminal, and there is none",
            "one in an argument or a variable could be read by any process of this account",
            "run this in a terminal",
            exit=Exit.NO,
        ) from None
    try:
        return getpass.getpass(f"sluice: {prompt}: ")
    except (EOFError, KeyboardInterrupt):
        print(file=sys.stderr)  # the cursor still stands behind the question
        raise fail("no passphrase was given", exit=Exit.NO) from None


class UntilTaken:
    """
    `ask`, until something else reads the terminal: two readers would share what is typed.

    From `take` on SluiceError (exit 1) instead, and nothing is read.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._taken = False

    def take(self) -> None:
        """The terminal is somebody else's from now on."""
        self._taken = True

    def __call__(self, prompt: str) -> str:
        """As `ask`."""
        if self._taken:
            raise fail(
                "your key is not open here; in another terminal sluice review asks for it",
                "what would be typed here as a passphrase are keys of the console",
                exit=Exit.NO,
            )
        return self._ask(prompt)


def new_passphrase(ask: Ask) -> str:
    """A passphrase for a new key, asked for twice."""
    first = ask(f"passphrase for the new key (at least {LEAST} characters)")
    if len(first) < LEAST:
        raise fail(
            f"a passphrase of fewer than {LEAST} characters",
            "whatever runs under this account can copy the key's file and try",
            exit=Exit.NO,
        )
    if ask("the passphrase once more") != first:
        raise fail("the two passphrases differ", fix="try again", exit=Exit.NO)
    return first
