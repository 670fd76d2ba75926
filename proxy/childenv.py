"""
The environment of an agent behind the gate: where the proxy is, and which CA to trust.

No variable is understood by every runtime, so a child gets all of them. Two files carry the
CA: `ca.pem` is the gate's alone, for runtimes that *add* it to what they trust already, and
the bundle holds the system's CAs and the gate's, for those that *replace* theirs by it.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import certifi

from proxy.about import URL
from proxy.errors import fail

BUNDLE: Final = "ca-bundle.pem"
"""Name of the bundle in the state folder."""

# Both spellings: curl and wget read `http_proxy` in lower case only, many others upper case only.
_PROXY: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

# Yarn 2 and later read their own settings instead (yarnpkg.com/configuration/yarnrc, httpProxy).
_PROXY_OF_ONE: Final = ("YARN_HTTP_PROXY", "YARN_HTTPS_PROXY")

# Variables that name the only CAs that are trusted.
_REPLACING: Final = (
    "SSL_CERT_FILE",  # OpenSSL (SSL_CTX_set_default_verify_paths), so Python's ssl, httpx, aiohttp, Ruby;
    #                   Go's crypto/x509 on Linux; rustls-native-certs, uv
    "REQUESTS_CA_BUNDLE",  # requests, "SSL Cert Verification"; gcloud and Azure CLI through it
    "CURL_CA_BUNDLE",  # curl(1), ENVIRONMENT
    "GIT_SSL_CAINFO",  # git-config(1), http.sslCAInfo
    "AWS_CA_BUNDLE",  # AWS CLI and SDKs, "Shared settings"
    "PIP_CERT",  # pip, --cert
    "CARGO_HTTP_CAINFO",  # The Cargo Book, http.cainfo
    "HTTPLIB2_CA_CERTS",  # httplib2.certs.where(), so the older Google API client
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",  # grpc/doc/environment_variables.md; grpc-js tls-helpers.ts
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",  # gcloud topic configurations, core/custom_ca_certs_file
    "BUNDLE_SSL_CA_CERT",  # bundle-config(1), ssl_ca_cert
    "NIX_SSL_CERT_FILE",  # Nix manual, "Common environment variables": read before SSL_CERT_FILE
    "JULIA_SSL_CA_ROOTS_PATH",  # Julia NetworkOptions.ca_roots: read before SSL_CERT_FILE
    "PERL_LWP_SSL_CA_FILE",  # LWP::UserAgent, ssl_opts
)

# Variables that name CAs trusted as well as those built in; the small file starts faster.
_ADDING: Final = (
    "NODE_EXTRA_CA_CERTS",  # Node CLI, also Bun
    "DENO_CERT",  # Deno CLI, --cert
)

# Where distributions keep their CAs, for a Python whose OpenSSL was built to look elsewhere
# (the same places as Go's crypto/x509/root_linux.go).
_SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL 7 and later
    "/etc/ssl/cert.pem",  # Alpine
)


def child_environment(base: Mapping[str, str], *, proxy: str, ca: Path, bundle: Path) -> dict[str, str]:
    """
    The variables of a process that is to send everything through the gate.

    `base` is kept but for the variables set here; `proxy` is the gate's URL, `ca` its
    certificate alone, `bundle` that and the system's CAs (`write_bundle`).
    """
    environment = dict(base)
    for name in _PROXY:
        environment[name] = environment[name.lower()] = proxy
    for name in _PROXY_OF_ONE:
        environment[name] = proxy
    # Set, but empty: some clients have exceptions of their own where it is missing.
    environment["NO_PROXY"] = environment["no_proxy"] = ""
    environment["SLUICE_ABOUT"] = URL
    environment["NODE_USE_ENV_PROXY"] = "1"  # Node 22.21, 24.5 and later: fetch, http and https
    for name in _REPLACING:
        environment[name] = str(bundle)
    for name in _ADDING:
        environment[name] = str(ca)
    return environment


def write_bundle(state: Path, ca: Path) -> Path:
    """
    Write the bundle into the state folder, whole or not at all, and return its path.

    Raises SluiceError where the gate's certificate cannot be read or the bundle not written.
    """
    bundle = state / BUNDLE
    try:
        ours = ca.read_bytes()
        _replace(bundle, _with(_system_cas(), ours))
    except OSError as error:
        raise fail(
            f"cannot write the certificates that the command is to trust: {error}",
            "without them its TLS connections through the gate fail",
            f"see that '{state}' is a folder of yours with space left",
        ) from error
    return bundle


def _replace(path: Path, content: bytes) -> None:
    # A child may be reading the old file: rename, never rewrite.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _system_cas() -> bytes:
    """What this machine trusts, PEM; certifi's where it has no such file."""
    for path in _candidates():
        content = _certificates(path)
        if content:
            return content
    return Path(certifi.where()).read_bytes()


def _candidates() -> Iterable[str]:
    found = ssl.get_default_verify_paths()  # SSL_CERT_FILE of this process first
    yield from (path for path in (found.cafile, found.openssl_cafile) if path)
    yield from _SYSTEM_BUNDLES


def _certificates(path: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError:
        return b""
    return content if b"-----BEGIN CERTIFICATE-----" in content else b""


def _with(cas: bytes, ours: bytes) -> bytes:
    # Inside another `sluice run` the system's CAs are already such a bundle.
    if ours in cas:
        return cas
    return cas.rstrip(b"\n") + b"\n" + ours
