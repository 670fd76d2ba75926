"""
SSHSIG envelopes (OpenSSH's PROTOCOL.sshsig): what ``ssh-keygen -Y sign`` makes and ``-Y verify`` checks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final, NamedTuple

from proxy.signing import ProofError
from proxy.signing.blob import Blob, string
from proxy.signing.publickey import PublicKey

NAMESPACE: Final = "review@sluice"
"""What reviewers' signatures are for: one made for anything else does not count, nor this one there."""
LIMIT: Final = 8_192
"""Characters of an envelope at most."""

_MAGIC: Final = b"SSHSIG"
_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----\n"
_END: Final = "\n-----END SSH SIGNATURE-----\n"
_WIDTH: Final = 70
_HASHES: Final = (b"sha512", b"sha256")


class Envelope(NamedTuple):
    """An envelope, opened and not yet believed."""

    key: PublicKey
    namespace: bytes
    hash: bytes
    signature: bytes


def to_sign(message: bytes, namespace: str = NAMESPACE, hash: bytes = b"sha512") -> bytes:
    """The bytes that a key signs for a message."""
    hashed = hashlib.new(hash.decode(), message).digest()
    return _MAGIC + string(namespace.encode()) + string(b"") + string(hash) + string(hashed)


def seal(key: PublicKey, signature: bytes, namespace: str = NAMESPACE) -> str:
    """The envelope around a key's signature over `to_sign`, as text that ends with a line feed."""
    blob = _MAGIC + (1).to_bytes(4)
    for part in (key.blob, namespace.encode(), b"", b"sha512", signature):
        blob += string(part)
    text = base64.b64encode(blob).decode()
    lines = [text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)]
    return _BEGIN + "\n".join(lines) + _END


def unseal(text: str) -> Envelope:
    """Open an envelope; ProofError where it is none."""
    if len(text) > LIMIT:
        raise ProofError("form", f"a signature of more than {LIMIT} characters")
    if not (text.startswith(_BEGIN) and text.endswith(_END) and len(text) > len(_BEGIN + _END)):
        raise ProofError("form", "this is no SSH signature: it does not begin and end as one")
    inner = text[len(_BEGIN) : -len(_END)].replace("\n", "")
    try:
        blob = base64.b64decode(inner, validate=True)
    except (binascii.Error, ValueError):
        raise ProofError("form", "the signature's base64 is broken") from None
    if base64.b64encode(blob).decode() != inner:
        raise ProofError("form", "the signature's base64 is not written in the one way")
    return _opened(Blob(blob, "the signature"))


def _opened(data: Blob) -> Envelope:
    if data.take(len(_MAGIC)) != _MAGIC or data.uint32() != 1:
        raise ProofError("form", "this is no SSH signature of version 1")
    key, namespace, reserved, hash, signature = (data.string() for _ in range(5))
    data.end()
    if reserved or hash not in _HASHES:
        raise ProofError("form", "the signature is made in a way that nobody here knows")
    return Envelope(PublicKey.of_blob(key), namespace, hash, signature)


def check(text: str, message: bytes, namespace: str = NAMESPACE) -> PublicKey:
    """The key that has signed this message for this namespace; ProofError where none has."""
    envelope = unseal(text)
    if envelope.namespace != namespace.encode():
        given = envelope.namespace.decode("ascii", "replace")
        raise ProofError("namespace", f"a signature for '{given[:60]}', not for '{namespace}'")
    envelope.key.check(envelope.signature, to_sign(message, namespace, envelope.hash))
    return envelope.key
