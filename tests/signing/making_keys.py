"""Reviewers' keys for tests: of every kind, and a security key whose token is software."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.chain import stamp
from proxy.signing import sshsig
from proxy.signing.blob import mpint, string
from proxy.signing.publickey import PRESENT, PublicKey
from proxy.signing.statement import Proof, Statement

LEDGER = "4f" * 16
NOW = 1_700_000_000_000_000
APPLICATION = b"ssh:"
SK_ED25519 = b"sk-ssh-ed25519@openssh.com"
SK_ECDSA = b"sk-ecdsa-sha2-nistp256@openssh.com"


@dataclass(frozen=True)
class Key:
    """A key pair: the public half as the product knows it, and how it signs."""

    public: PublicKey
    sign: Callable[[bytes], bytes]

    @property
    def line(self) -> str:
        return self.public.line

    @property
    def id(self) -> str:
        return self.public.id


def of_openssh(private: Any) -> PublicKey:
    line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return PublicKey.of_line(line.decode())


def ed25519() -> Key:
    private = Ed25519PrivateKey.generate()
    public = of_openssh(private)
    return Key(public, lambda data: string(b"ssh-ed25519") + string(private.sign(data)))


def rsa_key(bits: int = 2048) -> Key:
    private = rsa.generate_private_key(65537, bits)

    def sign(data: bytes) -> bytes:
        return string(b"rsa-sha2-512") + string(private.sign(data, padding.PKCS1v15(), hashes.SHA512()))

    return Key(of_openssh(private), sign)


def ecdsa(curve: ec.EllipticCurve, hashed: hashes.HashAlgorithm) -> Key:
    private = ec.generate_private_key(curve)
    public = of_openssh(private)
    return Key(public, lambda data: string(public.kind.encode()) + string(_pair(private, data, hashed)))


def _pair(private: ec.EllipticCurvePrivateKey, data: bytes, hashed: hashes.HashAlgorithm) -> bytes:
    r, s = decode_dss_signature(private.sign(data, ec.ECDSA(hashed)))
    return mpint(r) + mpint(s)


def _token(kind: bytes, flags: int, sign: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """What a token signs (OpenSSH's PROTOCOL.u2f), with these flags."""
    after = bytes([flags]) + (7).to_bytes(4)

    def signed(data: bytes) -> bytes:
        message = hashlib.sha256(APPLICATION).digest() + after + hashlib.sha256(data).digest()
        return string(kind) + string(sign(message)) + after

    return signed


def sk_ed25519(flags: int = PRESENT) -> Key:
    private = Ed25519PrivateKey.generate()
    blob = string(SK_ED25519) + string(private.public_key().public_bytes_raw()) + string(APPLICATION)
    return Key(PublicKey.of_blob(blob), _token(SK_ED25519, flags, private.sign))


def sk_ecdsa(flags: int = PRESENT) -> Key:
    private = ec.generate_private_key(ec.SECP256R1())
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    blob = string(SK_ECDSA) + string(b"nistp256") + string(point) + string(APPLICATION)
    sign = _token(SK_ECDSA, flags, lambda data: _pair(private, data, hashes.SHA256()))
    return Key(PublicKey.of_blob(blob), sign)


KINDS: dict[str, Callable[[], Key]] = {
    "ed25519": ed25519,
    "rsa": rsa_key,
    "p256": lambda: ecdsa(ec.SECP256R1(), hashes.SHA256()),
    "p384": lambda: ecdsa(ec.SECP384R1(), hashes.SHA384()),
    "p521": lambda: ecdsa(ec.SECP521R1(), hashes.SHA512()),
    "sk-ed25519": sk_ed25519,
    "sk-p256": sk_ecdsa,
}


def envelope(key: Key, message: bytes, namespace: str = sshsig.NAMESPACE) -> str:
    return sshsig.seal(key.public, key.sign(sshsig.to_sign(message, namespace)), namespace)


def proof(key: Key, statement: Statement) -> Proof:
    """The statement, signed; it names this key whatever it said before."""
    named = replace(statement, key=key.id)
    return Proof(named.data.decode(), envelope(key, named.data))


def statement(act: str = "resume", at: int = NOW, **more: Any) -> Statement:
    fields: dict[str, Any] = {"ledger": LEDGER, "reviewer": "ada", "key": "SHA256:" + "A" * 43, "about": {}}
    return Statement(act=act, time=stamp(at), **(fields | more))
