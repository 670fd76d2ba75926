"""Reviewers' keys: drawn from a batch's seed, held in this process, and signing as the product's own do."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.keyring import Named
from proxy.signing import sshsig
from proxy.signing.blob import string
from proxy.signing.publickey import ED25519, PublicKey


def signer(seed: int, whose: str, name: str | None = None) -> Named:
    """The key of one person in one batch; it signs under `name`, or else as who it is."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{seed} {whose}".encode()).digest())
    line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    public = PublicKey.of_line(line)

    def sign(message: bytes) -> str:
        signed = string(ED25519.encode()) + string(private.sign(sshsig.to_sign(message)))
        return sshsig.seal(public, signed)

    return Named(name or whose, public, sign)
