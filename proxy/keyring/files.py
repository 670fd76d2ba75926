"""
The files of a reviewer's keys: ``~/.config/sluice/keys/NAME`` and ``NAME.pub``, as ssh-keygen has them.

A new key is Ed25519, encrypted with a passphrase (OpenSSH's format: bcrypt, AES-256-CTR). A key
that is somewhere else already stays there, and is a link here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from proxy.errors import Exit, SluiceError, fail
from proxy.signing import ProofError
from proxy.signing.publickey import LIMIT, PublicKey

ROUNDS: Final = 48
"""Rounds of bcrypt for a new key: about as long as a person does not notice."""
_PRIVATE: Final = 32 * 1024
_TRIES: Final = 100


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key of this account: its public half, and the file of the other one."""

    public: PublicKey
    path: Path

    @property
    def pub(self) -> Path:
        """The file of the public half."""
        return self.path.with_name(f"{self.path.name}.pub")


@dataclass(frozen=True, slots=True)
class Keys:
    """The folder of one account's keys."""

    folder: Path

    def __iter__(self) -> Iterator[KeyFile]:
        """Every key there, by name; what is none is passed over."""
        for path in sorted(self.folder.glob("*.pub")):
            try:
                yield KeyFile(read_public(path), path.with_suffix(""))
            except SluiceError:
                continue

    def find(self, known: tuple[PublicKey, ...]) -> KeyFile | None:
        """The first key here that is one of these."""
        return next((one for one in self if one.public in known), None)

    def make(self, name: str, passphrase: str) -> KeyFile:
        """A new key for a reviewer of this name; never in the place of another."""
        private = Ed25519PrivateKey.generate()
        how = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(ROUNDS).build(passphrase.encode())
        data = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, how)
        line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        path = self._free(name)
        _write(path, data)
        return self._with_public(path, PublicKey.of_line(line))

    def adopt(self, name: str, public: PublicKey, private: Path) -> KeyFile:
        """A key that lies elsewhere, linked from here."""
        known = self.find((public,))
        if known is not None:
            return known
        path = self._free(name)
        path.symlink_to(private.absolute())
        return self._with_public(path, public)

    def remove(self, key: KeyFile) -> None:
        """Forget a key of ours that came to nothing."""
        for path in (key.path, key.pub):
            path.unlink(missing_ok=True)

    def _with_public(self, path: Path, public: PublicKey) -> KeyFile:
        made = KeyFile(public, path)
        _write(made.pub, f"{public.line} {path.name}\n".encode())
        return made

    def _free(self, name: str) -> Path:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.folder.stat()
        except OSError as error:
            raise _unusable(self.folder, str(error.strerror)) from None
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise _unusable(self.folder, "others can write there")
        for number in range(1, _TRIES):
            path = self.folder / (name if number == 1 else f"{name}-{number}")
            if not path.is_symlink() and not path.exists():
                return path
        raise _unusable(self.folder, f"it has {_TRIES} keys of '{name}'")


def read_public(path: Path) -> PublicKey:
    """The key in a ``.pub`` file."""
    try:
        with path.open("rb") as file:
            line = file.read(2 * LIMIT).decode("utf-8", "replace")
    except OSError as error:
        raise fail(f"'{path}' cannot be opened: {error.strerror}") from None
    try:
        return PublicKey.of_line(line.partition("\n")[0])
    except ProofError as error:
        raise fail(
            f"'{path}' is no public key of SSH", str(error), "name the file that ends in .pub"
        ) from None


def read_private(path: Path) -> bytes:
    """The bytes of a private key's file, which is its owner's alone."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(_PRIVATE + 1)
    except OSError as error:
        raise fail(f"'{path}' cannot be opened: {error.strerror}", exit=Exit.NO) from None
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid != os.geteuid():
        raise fail(f"'{path}' can be read by others", "a key is its owner's alone", f"chmod 600 '{path}'")
    if len(data) > _PRIVATE:
        raise fail(f"'{path}' is no private key: it is longer than one", exit=Exit.NO)
    return data


def is_encrypted(data: bytes) -> bool:
    """Whether a private key's file asks for a passphrase; SluiceError where it is no such file."""
    try:
        load_ssh_private_key(data, None)
    except TypeError:
        return True
    except (ValueError, UnsupportedAlgorithm) as error:
        raise fail(
            "this is no private key of SSH that can be opened here", str(error), exit=Exit.NO
        ) from None
    return False


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unusable(path.parent, str(error.strerror)) from None


def _unusable(folder: Path, why: str) -> SluiceError:
    return fail(f"'{folder}' cannot be used for keys: {why}", "it must be this account's alone", exit=Exit.NO)
