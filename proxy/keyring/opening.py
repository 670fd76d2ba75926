"""
From a key's file to something that signs.

A plain key is decrypted here, with the passphrase that a person types; a security key is asked
by ``ssh-keygen -Y sign``, and signs when a person touches it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from proxy.errors import Exit, SluiceError, fail
from proxy.keyring import Ask, Named, Signer
from proxy.keyring.agent import held
from proxy.keyring.files import KeyFile, is_encrypted, read_private
from proxy.signing import ProofError, sshsig
from proxy.signing.blob import mpint, string
from proxy.signing.publickey import ED25519, PublicKey

TRIES: Final = 3
"""How often a passphrase is asked for."""
TOUCH: Final = 60.0
"""Seconds that a person has to touch a security key."""

_HASHES: Final[Mapping[int, hashes.HashAlgorithm]] = {
    256: hashes.SHA256(),
    384: hashes.SHA384(),
    521: hashes.SHA512(),
}

type _Signs = Callable[[bytes], bytes]


def opened(name: str, file: KeyFile, ask: Ask, environment: Mapping[str, str]) -> Signer:
    """
    The key, ready to sign for a reviewer of this name.

    SluiceError (exit 1) where the passphrase is wrong, or the key would not count: one without
    a passphrase, or one that an ssh-agent holds.
    """
    if file.public.is_touched:
        return Named(name, file.public, lambda message: _by_touch(file, message, environment))
    check_plain(file, environment)
    data = read_private(file.path)
    for attempt in range(TRIES):
        wrong = "wrong; " if attempt else ""
        signs = _decrypted(file, data, ask(f"{wrong}passphrase of {name}'s key {file.public.id}"))
        if signs is not None:
            return Named(name, file.public, _sealing(file.public, signs))
    raise fail(f"that is not the passphrase of '{file.path}'", exit=Exit.NO)


def check_plain(file: KeyFile, environment: Mapping[str, str]) -> None:
    """Raise SluiceError where others of the account could sign with a key that no person has to touch."""
    if not is_encrypted(read_private(file.path)):
        raise fail(
            f"the key '{file.path}' has no passphrase",
            "any process of this account could sign with it",
            f"give it one: ssh-keygen -p -f '{file.path}'",
            exit=Exit.NO,
        )
    if file.public.blob in held(environment):
        raise fail(
            f"the key '{file.path}' is in the ssh-agent",
            "it signs there for any process of this account, unseen",
            f"ssh-add -d '{file.path}'; or review with a security key",
            exit=Exit.NO,
        )


def _decrypted(file: KeyFile, data: bytes, passphrase: str) -> _Signs | None:
    """How the key signs; None where the passphrase is another."""
    try:
        private = load_ssh_private_key(data, passphrase.encode("utf-8", "surrogateescape"))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    if PublicKey.of_line(line) != file.public:
        raise fail(f"'{file.path}' is another key than '{file.pub}'", exit=Exit.NO)
    return _signing(private)


def _signing(private: object) -> _Signs:
    match private:
        case Ed25519PrivateKey() as ed25519:
            return lambda data: string(ED25519.encode()) + string(ed25519.sign(data))
        case rsa.RSAPrivateKey() as modulus:
            return lambda data: (
                string(b"rsa-sha2-512") + string(modulus.sign(data, padding.PKCS1v15(), hashes.SHA512()))
            )
        case ec.EllipticCurvePrivateKey() as point:
            return lambda data: _ecdsa(point, data)
        case _:
            raise fail("a key of this kind may not review", exit=Exit.NO)


def _ecdsa(private: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    size = private.curve.key_size
    r, s = decode_dss_signature(private.sign(data, ec.ECDSA(_HASHES[size])))
    return string(b"ecdsa-sha2-nistp%d" % size) + string(mpint(r) + mpint(s))


def _sealing(key: PublicKey, signs: _Signs) -> Callable[[bytes], str]:
    return lambda message: sshsig.seal(key, signs(sshsig.to_sign(message)))


def _by_touch(file: KeyFile, message: bytes, environment: Mapping[str, str]) -> str:
    """A signature by a security key: ssh-keygen finds it, or the agent that has it."""
    path = file.path if file.path.exists() else file.pub
    words = ["ssh-keygen", "-Y", "sign", "-q", "-n", sshsig.NAMESPACE, "-f", str(path)]
    try:
        done = subprocess.run(
            words, input=message, capture_output=True, timeout=TOUCH, env=dict(environment), check=False
        )
    except subprocess.TimeoutExpired:
        raise _untouched(file, "nobody touched it in time") from None
    except OSError as error:
        raise _untouched(file, f"ssh-keygen cannot be run: {error.strerror}") from None
    if done.returncode:
        raise _untouched(file, done.stderr.decode("utf-8", "replace").strip()[:300])
    made = done.stdout.decode("ascii", "replace")
    try:
        if sshsig.check(made, message) != file.public:
            raise _untouched(file, "another key has signed")
    except ProofError as error:
        raise _untouched(file, str(error)) from None
    return made


def _untouched(file: KeyFile, why: str) -> SluiceError:
    return fail(f"the security key {file.public.id} has not signed", why, "touch it when asked", exit=Exit.NO)
