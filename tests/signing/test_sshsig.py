"""Keys and signatures: what ssh-keygen makes we take, what we make it takes, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.signing import ProofError, sshsig
from proxy.signing.blob import mpint, string
from proxy.signing.publickey import PublicKey

from .making_keys import KINDS, Key, ecdsa, ed25519, envelope, rsa_key, sk_ecdsa, sk_ed25519

KEYGEN = shutil.which("ssh-keygen")
needs_keygen = pytest.mark.skipif(KEYGEN is None, reason="ssh-keygen is not there")
MESSAGE = b'{"act":"approve"}'


@pytest.fixture(scope="module")
def keys() -> dict[str, Key]:
    return {name: make() for name, make in KINDS.items()}


def refused(code: str, text: str, message: bytes = MESSAGE, namespace: str = sshsig.NAMESPACE) -> str:
    with pytest.raises(ProofError) as caught:
        sshsig.check(text, message, namespace)
    assert caught.value.code == code
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_names_the_key_that_made_it(keys: dict[str, Key], kind: str) -> None:
    key = keys[kind]
    assert sshsig.check(envelope(key, MESSAGE), MESSAGE) == key.public
    refused("signature", envelope(key, MESSAGE), MESSAGE + b" ")


@needs_keygen
@pytest.mark.parametrize("kind", KINDS)
def test_ssh_keygen_takes_what_we_make(keys: dict[str, Key], kind: str, tmp_path: Path) -> None:
    key = keys[kind]
    (tmp_path / "signature").write_text(envelope(key, MESSAGE))
    (tmp_path / "allowed_signers").write_text(f'ada namespaces="{sshsig.NAMESPACE}" {key.line}\n')
    words = ["-Y", "verify", "-f", "allowed_signers", "-I", "ada", "-n", "review@sluice", "-s", "signature"]
    done = subprocess.run([str(KEYGEN), *words], cwd=tmp_path, input=MESSAGE, capture_output=True)
    assert done.returncode == 0, done.stderr


@needs_keygen
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_we_take_what_ssh_keygen_makes_and_name_the_key_as_it_does(kind: str, tmp_path: Path) -> None:
    run = {"cwd": tmp_path, "check": True, "capture_output": True}
    subprocess.run([str(KEYGEN), "-q", "-t", kind, "-N", "", "-f", "key"], **run)  # type: ignore[call-overload]
    words = ["-Y", "sign", "-n", "review@sluice", "-f", "key"]
    made = subprocess.run([str(KEYGEN), *words], input=MESSAGE, **run).stdout.decode()  # type: ignore[call-overload]
    key = sshsig.check(made, MESSAGE)
    assert key == PublicKey.of_line((tmp_path / "key.pub").read_text())
    listed = subprocess.run([str(KEYGEN), "-lf", "key.pub"], **run).stdout.decode()  # type: ignore[call-overload]
    assert key.id in listed


@pytest.mark.parametrize("make", [sk_ed25519, sk_ecdsa])
def test_a_security_key_that_nobody_touched_does_not_count(make: type) -> None:
    # 0x04 says that a PIN was given: without a touch that is not presence.
    for flags in (0x00, 0x04, 0xFE):
        refused("presence", envelope(make(flags), MESSAGE))
    assert sshsig.check(envelope(make(0x05), MESSAGE), MESSAGE).is_touched


def test_the_flags_of_a_security_key_are_signed() -> None:
    key = sk_ed25519(0x00)
    signature = bytearray(key.sign(sshsig.to_sign(MESSAGE)))
    signature[-5] = 0x01
    refused("signature", sshsig.seal(key.public, bytes(signature)))


def test_a_signature_for_another_purpose_does_not_count() -> None:
    assert "'git'" in refused("namespace", envelope(ed25519(), MESSAGE, "git"))


def test_a_signature_under_another_key_does_not_count() -> None:
    one, other = ed25519(), ed25519()
    refused("signature", sshsig.seal(other.public, one.sign(sshsig.to_sign(MESSAGE))))


def test_a_kind_of_signature_that_the_key_does_not_make_does_not_count() -> None:
    key = ed25519()
    raw = key.sign(sshsig.to_sign(MESSAGE))[-64:]
    refused("signature", sshsig.seal(key.public, string(b"ssh-rsa") + string(raw)))
    old = rsa_key()
    made = old.sign(sshsig.to_sign(MESSAGE)).replace(string(b"rsa-sha2-512"), string(b"ssh-rsa"))
    refused("signature", sshsig.seal(old.public, made))


ENVELOPE = envelope(ed25519(), MESSAGE)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(ENVELOPE) - 1), st.integers(1, 127))
def test_no_character_of_a_signature_may_be_another(at: int, by: int) -> None:
    mangled = ENVELOPE[:at] + chr((ord(ENVELOPE[at]) + by) % 128) + ENVELOPE[at + 1 :]
    try:
        key = sshsig.check(mangled, MESSAGE)
    except ProofError:
        return
    # Where lines break says nothing: all else has to be the same.
    assert mangled.replace("\n", "") == ENVELOPE.replace("\n", ""), key


@given(st.binary(max_size=200))
def test_any_bytes_are_a_key_or_refused(data: bytes) -> None:
    with pytest.raises(ProofError):
        PublicKey.of_blob(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n",
        ENVELOPE.rstrip("\n"),
        "\n" + ENVELOPE,
        ENVELOPE + "\n",
        ENVELOPE.replace("\n", "\r\n"),
        ENVELOPE * 40,
    ],
)
def test_what_is_no_envelope_is_refused(text: str) -> None:
    refused("form", text)


LINES = {
    "a kind that may not review": "ssh-dss AAAAB3NzaC1kc3M=",
    "broken base64": "ssh-ed25519 AAAA!",
    "base64 in another spelling": ed25519().line + "=",
    "another kind inside": ed25519().line.replace("ssh-ed25519", "ssh-rsa"),
    "no key": "ssh-ed25519",
    "nothing": "",
    "a long line": ed25519().line + " " + "x" * 9_000,
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
def test_what_is_no_key_is_refused(line: str) -> None:
    with pytest.raises(ProofError) as caught:
        PublicKey.of_line(line)
    assert caught.value.code == "key"


def test_a_key_has_one_spelling() -> None:
    # Else one key under two names could be two people.
    key = rsa_key()
    padded = key.public.blob.replace(mpint(65537), string(b"\0\0" + (65537).to_bytes(3)))
    for blob in (padded, key.public.blob + b"\0", ed25519().public.blob + string(b"")):
        with pytest.raises(ProofError):
            PublicKey.of_blob(blob)


def test_a_short_rsa_key_may_not_review() -> None:
    modulus = (1 << 1023) + 1
    with pytest.raises(ProofError, match="1024 bits"):
        PublicKey.of_blob(string(b"ssh-rsa") + mpint(65537) + mpint(modulus))


def test_the_comment_of_a_key_is_no_part_of_it() -> None:
    key = ed25519()
    assert PublicKey.of_line(f"{key.line} ada@laptop\n") == key.public
    assert PublicKey.of_line(f"{key.line} ada@laptop").line == key.line


def test_keys_of_one_curve_do_not_pass_for_another() -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    blob = ecdsa(ec.SECP384R1(), hashes.SHA384()).public.blob
    with pytest.raises(ProofError):
        PublicKey.of_blob(blob.replace(b"ecdsa-sha2-nistp384", b"ecdsa-sha2-nistp256"))
