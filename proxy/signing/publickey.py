"""
Reviewers' public keys: SSH keys as ``.pub`` files hold them, and their signatures.

Ed25519 (RFC 8709), ECDSA (RFC 5656), RSA with SHA-2 (RFC 8332), and the keys of security keys
(OpenSSH's PROTOCOL.u2f), whose signatures say whether a person touched the token: one that
nobody touched does not count.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from proxy.signing import ProofError
from proxy.signing.blob import Blob, string

ED25519: Final = "ssh-ed25519"
RSA: Final = "ssh-rsa"
SK_ED25519: Final = "sk-ssh-ed25519@openssh.com"
SK_ECDSA: Final = "sk-ecdsa-sha2-nistp256@openssh.com"
ECDSA: Final = ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
KINDS: Final = (ED25519, *ECDSA, RSA, SK_ED25519, SK_ECDSA)

LIMIT: Final = 4_096
"""Characters of a key on one line at most."""
PRESENT: Final = 0x01
"""The flag by which a security key says that a person touched it."""

_RSA_BITS: Final = range(2_048, 8_193)
_CURVES: Final[dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]]] = {
    "nistp256": (ec.SECP256R1(), hashes.SHA256()),
    "nistp384": (ec.SECP384R1(), hashes.SHA384()),
    "nistp521": (ec.SECP521R1(), hashes.SHA512()),
}
_RSA_HASHES: Final[dict[bytes, hashes.HashAlgorithm]] = {
    b"rsa-sha2-256": hashes.SHA256(),
    b"rsa-sha2-512": hashes.SHA512(),
}

type _Plain = Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """
    A public key, by the bytes that name it.

    `application` is what a security key was made for (``ssh:``), None for other keys.
    """

    kind: str
    blob: bytes
    application: bytes | None
    _key: _Plain = field(repr=False, compare=False)

    @classmethod
    def of_blob(cls, blob: bytes) -> PublicKey:
        """A key from its bytes; ProofError unless these are the one way to write it."""
        if len(blob) > LIMIT:
            raise ProofError("key", f"a key of more than {LIMIT} bytes")
        data = Blob(blob, "the key")
        kind = data.string().decode("ascii", "replace")
        try:
            key = _read(kind, data)
        except ValueError:
            raise ProofError("key", "the key is no key: its numbers are not possible ones") from None
        application = data.string() if kind in (SK_ED25519, SK_ECDSA) else None
        data.end()
        return cls(kind, blob, application, key)

    @classmethod
    def of_line(cls, line: str) -> PublicKey:
        """A key from a ``.pub`` file's line; what stands behind the key is left out."""
        kind, _, rest = line.strip().partition(" ")
        text = rest.strip().partition(" ")[0]
        if kind not in KINDS or len(line) > 2 * LIMIT:
            raise ProofError(
                "key", f"'{line[:60]}' is no key that may review", fix=f"known are: {', '.join(KINDS)}"
            )
        try:
            blob = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            blob = b""
        if not blob or base64.b64encode(blob).decode() != text:
            raise ProofError("key", f"'{line[:60]}' is no public key: its base64 is broken")
        key = cls.of_blob(blob)
        if key.kind != kind:
            raise ProofError("key", f"the key says that it is {key.kind[:60]!r}, its line says {kind}")
        return key

    @property
    def line(self) -> str:
        """The key on one line, without a comment."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @property
    def id(self) -> str:
        """Its fingerprint, as ``ssh-keygen -l`` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def is_touched(self) -> bool:
        """Whether it signs only where a person touches a security key."""
        return self.application is not None

    def check(self, signature: bytes, message: bytes) -> None:
        """Raise ProofError unless this key has signed the message, a person present where it can tell."""
        data = Blob(signature, "the signature")
        kind, made = data.string(), data.string()
        if self.application is not None:
            flags, counter = data.take(1), data.take(4)
            if not flags[0] & PRESENT:
                raise ProofError("presence", "nobody touched the security key for this signature")
            hashed = hashlib.sha256(self.application).digest() + flags + counter
            message = hashed + hashlib.sha256(message).digest()
        data.end()
        if kind not in (_RSA_HASHES if self.kind == RSA else {self.kind.encode(): None}):
            raise ProofError("signature", f"a signature of another kind than the key, {kind[:60]!r}")
        try:
            self._verify(kind, made, message)
        except (InvalidSignature, ValueError):
            raise ProofError("signature", "the signature does not belong to what was signed") from None

    def _verify(self, kind: bytes, made: bytes, message: bytes) -> None:
        match self._key:
            case Ed25519PublicKey() as ed25519:
                ed25519.verify(made, message)
            case rsa.RSAPublicKey() as modulus:
                modulus.verify(made, message, padding.PKCS1v15(), _RSA_HASHES[kind])
            case ec.EllipticCurvePublicKey() as point:
                pair = Blob(made, "the signature")
                der = encode_dss_signature(pair.mpint(), pair.mpint())
                pair.end()
                point.verify(der, message, ec.ECDSA(_curve(point.curve.key_size)[1]))


def _read(kind: str, data: Blob) -> _Plain:
    if kind in (ED25519, SK_ED25519):
        return Ed25519PublicKey.from_public_bytes(data.string())
    if kind == RSA:
        exponent, modulus = data.mpint(), data.mpint()
        if modulus.bit_length() not in _RSA_BITS:
            raise ProofError("key", f"an RSA key of {modulus.bit_length()} bits: 2,048 to 8,192 may review")
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    if kind in (*ECDSA, SK_ECDSA):
        name, point = data.string().decode("ascii", "replace"), data.string()
        if name not in kind or name not in _CURVES or point[:1] != b"\x04":
            raise ProofError("key", "the key's curve is not the one of its kind")
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[name][0], point)
    raise ProofError("key", f"{kind[:60]!r} is no kind of key that may review")


def _curve(size: int) -> tuple[ec.EllipticCurve, hashes.HashAlgorithm]:
    return next(one for one in _CURVES.values() if one[0].key_size == size)


def ed25519_blob(public: bytes) -> bytes:
    """The bytes of an Ed25519 key (32 bytes) as SSH writes them."""
    return string(ED25519.encode()) + string(public)
