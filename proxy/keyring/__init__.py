"""
A reviewer's own keys: where they lie, how they are opened, and how they sign.

A key of ours, or an SSH key with a passphrase, is opened here and stays in this process. An
ssh-agent is asked for nothing but security keys: what it signs with other keys, any process of
the account can have signed unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxy.signing.publickey import PublicKey

type Ask = Callable[[str], str]
"""Asks a person for something secret, by its prompt."""


class Signer(Protocol):
    """A key that can sign, and whose it is."""

    @property
    def name(self) -> str:
        """The reviewer's name."""
        ...

    @property
    def key(self) -> PublicKey:
        """The public half."""
        ...

    def sign(self, message: bytes) -> str:
        """An SSHSIG envelope over the message; may wait for a person. SluiceError where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Named:
    """A signer under a reviewer's name."""

    name: str
    key: PublicKey
    signs: Callable[[bytes], str]

    def sign(self, message: bytes) -> str:
        """As `Signer.sign`."""
        return self.signs(message)
