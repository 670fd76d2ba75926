"""Signed notes: what is signed opens, and nothing else does."""

from __future__ import annotations

import base64
import itertools
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from proxy.note import (
    COSIGNED,
    Checkpoint,
    Key,
    NoteError,
    Signer,
    decode64,
    encode64,
    notes,
    open_note,
    text_of,
)

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = Signer("sluice/test", PRIVATE)
CHECKPOINT = Checkpoint("sluice/test", 35, bytes(range(32)))
NOTE = SIGNER.sign(CHECKPOINT.text)
# The example of the documentation of Go's package note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

\u2014 PeterNeumann {}
"""
PETERS_SIGNATURE = (
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
)


def cosign(note: bytes, time: int, name: str = "witness.example/w1") -> tuple[bytes, Key]:
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    key = Key(name, COSIGNED, private.public_key().public_bytes_raw())
    text = text_of(note).encode()
    signature = private.sign(b"cosignature/v1\ntime %d\n%b" % (time, text))
    line = f"\u2014 {name} {encode64(key.id + struct.pack('>Q', time) + signature)}\n"
    return note + line.encode(), key


def test_a_note_that_others_have_signed_opens() -> None:
    key = Key.parse(PETER)
    assert str(key) == PETER
    opened = open_note(PETERS.format(PETERS_SIGNATURE).encode(), [key])
    assert opened.text == "".join(PETERS.splitlines(keepends=True)[:2])


def test_a_checkpoint_is_signed_and_opened() -> None:
    opened = open_note(NOTE, [SIGNER.key])
    assert Checkpoint.parse(opened.text) == CHECKPOINT
    assert (opened.signatures[0].key, opened.time) == (SIGNER.key, None)
    assert Key.parse(str(SIGNER.key)) == SIGNER.key


def test_openssl_agrees(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import subprocess

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    (tmp_path / "key.pem").write_bytes(
        PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "text").write_text(text_of(NOTE))
    (tmp_path / "signature").write_bytes(base64.b64decode(NOTE.split()[-1])[4:])
    command = "openssl pkeyutl -verify -rawin -pubin -inkey key.pem -in text -sigfile signature"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize("at", range(len(str(SIGNER.key))))
def test_a_key_that_was_mistyped_is_refused(at: int) -> None:
    text = str(SIGNER.key)
    for other in (text[:at], text[at + 1 :], text[:at] + chr(ord(text[at]) + 1) + text[at + 1 :]):
        with pytest.raises(NoteError):
            Key.parse(other)


@pytest.mark.parametrize("at", range(len(NOTE)))
def test_a_note_that_was_changed_in_any_byte_does_not_open(at: int) -> None:
    for other in (NOTE[:at], NOTE[:at] + NOTE[at + 1 :], NOTE[:at] + bytes([NOTE[at] ^ 1]) + NOTE[at + 1 :]):
        with pytest.raises(NoteError):
            open_note(other, [SIGNER.key])


def test_signatures_of_unknown_keys_are_ignored_and_bad_ones_of_known_keys_are_not() -> None:
    same_name = Signer("sluice/test", Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
    line = same_name.sign(CHECKPOINT.text).splitlines(keepends=True)[-1]
    assert open_note(NOTE + line, [SIGNER.key]).signatures == open_note(NOTE, [SIGNER.key]).signatures
    with pytest.raises(NoteError, match="no known key"):
        open_note(NOTE, [same_name.key])
    with pytest.raises(NoteError, match="no known key"):
        open_note(NOTE, [])
    forged = SIGNER.sign("something else\n").splitlines(keepends=True)[-1]
    with pytest.raises(NoteError, match="does not belong"):
        open_note(same_name.sign(CHECKPOINT.text) + forged, [SIGNER.key, same_name.key])


def test_a_witness_names_the_time_it_saw_a_checkpoint_and_signs_that_too() -> None:
    note, witness = cosign(NOTE, 1_785_000_000)
    assert open_note(note, [SIGNER.key, witness]).time == 1_785_000_000
    assert open_note(note, [SIGNER.key]).time is None
    line = note.splitlines(keepends=True)[-1]
    other = Signer("sluice/other", PRIVATE).sign("sluice/other\n35\n" + encode64(bytes(32)) + "\n")
    with pytest.raises(NoteError, match="does not belong"):  # a cosignature replayed on another log
        open_note(other + line, [witness])


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n",
        b"text\n",
        b"text\n\n",
        NOTE.replace(b"\n", b"\r\n"),
        NOTE.replace(b"35", b"3\x005"),
        NOTE.replace(b"35", b"3\xff"),
        NOTE[:-1],
        NOTE + b"\n",
        NOTE + b"no signature\n",
        NOTE + "\u2014 x \n".encode(),
        NOTE + "\u2014 x+y AAAAAAAA\n".encode(),
        NOTE + "\u2014 x AAAA\n".encode(),
        NOTE + NOTE.splitlines(keepends=True)[-1] * 16,
        b"x" * 70_000 + NOTE,
    ],
    ids=range(15),
)
def test_what_is_no_note_is_refused(note: bytes) -> None:
    with pytest.raises(NoteError):
        open_note(note, [SIGNER.key])


ROOT = encode64(bytes(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n",
        f"\n1\n{ROOT}\n",
        f"a\n01\n{ROOT}\n",
        f"a\n-1\n{ROOT}\n",
        f"a\n+1\n{ROOT}\n",
        f"a\n1.0\n{ROOT}\n",
        f"a\n\u0661\n{ROOT}\n",
        f"a\n{'9' * 20}\n{ROOT}\n",
        f"a\n1\n{ROOT}",
        f"a\n1\n{ROOT}\nmore\n",
        f"a\n1\n{ROOT}=\n",
        f"a\n1\n{encode64(bytes(31))}\n",
        f"a\n1\n{ROOT[:-2]}B=\n",
        f"a\n1\n{ROOT} \n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_base64_has_one_spelling() -> None:
    assert decode64("AAA=") == b"\0\0"
    for other in ("AAB=", "AAA", "AA A=", "AAA=\n", "AAA==", "AA_-"):
        with pytest.raises(NoteError):
            decode64(other)


def lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def test_notes_that_follow_each_other_are_told_apart() -> None:
    cosigned, _ = cosign(NOTE, 5)
    for between in (b"", b"\n", b"\n\n\n"):
        assert list(notes(lines(between + NOTE + between + cosigned + between + NOTE))) == [
            NOTE,
            cosigned,
            NOTE,
        ]
    assert list(notes([])) == []
    assert list(notes(lines(b"\n\n"))) == []


@pytest.mark.parametrize("at", range(1, len(NOTE)))
def test_a_torn_note_costs_no_other(at: int) -> None:
    found = list(notes(lines(NOTE + b"\n" + NOTE[:at] + b"\n\n" + NOTE)))
    assert found[0] == found[-1] == NOTE
    assert all(one is None or at > NOTE.index(b"\n\n") for one in found[1:-1])
    assert [one for one in notes(lines(NOTE[:at])) if one] == []


def test_lines_that_are_no_notes_are_counted_and_cost_no_memory() -> None:
    found = list(notes(itertools.repeat(b"x" * 100 + b"\n", 1_000)))
    assert set(found) == {None}
    assert list(notes([b"x" * 70_000, *lines(NOTE)]))[-1] == NOTE
