"""
The gate's certificate authority, in the state folder: made once, checked at each start.

``ca.key`` is the private key (0600), ``ca.pem`` the certificate that agents trust. Keys are
P-256: a leaf is made, and a handshake signed, in well under a millisecond.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.errors import fail

KEY: Final = "ca.key"
CERTIFICATE: Final = "ca.pem"

_CA_DAYS: Final = 3650
_LEAF_DAYS: Final = 199
_BACKDATED: Final = datetime.timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Authority:
    """A private key and the certificate of it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def leaf(self, host: str, public: ec.EllipticCurvePublicKey, now: datetime.datetime) -> x509.Certificate:
        """A certificate for one host name or address."""
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, host)] if len(host) <= 64 else []
        issuer = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (
            _builder(x509.Name(subject), self.certificate.subject, public, now, _LEAF_DAYS)
            .add_extension(x509.SubjectAlternativeName([name]), critical=not subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    begins = now - _BACKDATED
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=public,
        serial_number=x509.random_serial_number(),
        not_valid_before=begins,
        not_valid_after=begins + datetime.timedelta(days=days),
    )


def open_authority(state: Path, now: datetime.datetime) -> Authority:
    """The authority of this state folder, made where there is none yet; raises SluiceError."""
    key, certificate = state / KEY, state / CERTIFICATE
    if not key.exists() and not certificate.exists():
        _make(state, now)
    return _load(key, certificate, now)


def _make(state: Path, now: datetime.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sluice"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Sluice CA {x509.random_serial_number() % 16**8:08x}"),
        ]
    )
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key.public_key(), now, _CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(state / KEY, private, 0o600)
    _write(state / CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all: a crash leaves no half of a key."""
    draft = path.with_name(path.name + ".new")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise fail(
            f"cannot write '{path}': {error.strerror}",
            "the gate needs a certificate authority of its own",
            f"make '{path.parent}' writable for you alone: chmod 700 '{path.parent}'",
        ) from error


def _load(key: Path, certificate: Path, now: datetime.datetime) -> Authority:
    remake = f"remove '{key}' and '{certificate}'; new ones are made at the next start"
    try:
        mode = key.stat()
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        public = x509.load_pem_x509_certificate(certificate.read_bytes())
    except FileNotFoundError as error:
        why = "the key and the certificate of the CA belong together"
        raise fail(f"'{error.filename}' is missing", why, remake) from error
    except (OSError, ValueError, TypeError) as error:
        raise fail(f"the CA in '{key.parent}' cannot be read", str(error), remake) from error
    if mode.st_mode & 0o077 or mode.st_uid != os.getuid():
        raise fail(
            f"'{key}' can be read by others",
            "whoever has this key can pose as any server to your agents",
            f"{remake}; or, if nobody has read it: chmod 600 '{key}'",
        )
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != public.public_key():
        why = "no agent would accept what the gate shows it"
        raise fail(f"'{certificate}' does not belong to '{key}'", why, remake)
    if not public.not_valid_before_utc <= now <= public.not_valid_after_utc:
        why = f"it is valid from {public.not_valid_before_utc} to {public.not_valid_after_utc}"
        raise fail(f"'{certificate}' is not valid now", why, f"set the clock; or {remake}")
    return Authority(private, public)
