"""The signed head: in the same commit as the entries it covers, by a key that is ours alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from ledgers import NOW, Clock, checked, codes, completed, decided, fill, said, tamper, verified
from test_ledger_faults import path as path

from proxy.errors import SluiceError
from proxy.ledger import Draft
from proxy.ledger.read import hashes, reading
from proxy.ledger.seal import kept, make_key, read_key, seal, unseal
from proxy.ledger.sqlite import SqliteLedger
from proxy.merkle import Tree
from proxy.note import Checkpoint, Key, NoteError, Signer, open_note


async def test_every_commit_signs_the_head_that_it_makes(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    key = Key.parse(ledger.vkey)
    for number in range(20):
        seq = await ledger.queue(decided(f"{number}"))
        ledger.note(completed(f"{number}"))
        with reading(path) as connection:
            connection.execute("BEGIN")
            (count,) = connection.execute("SELECT count(*) FROM entry").fetchone()
            note, frontier = kept(connection) or (None, None)
            tree = Tree()
            for one in hashes(connection, count):
                tree.add(one)
        checkpoint = Checkpoint.parse(open_note(bytes(note), [key]).text)  # type: ignore[call-overload]
        assert checkpoint == (key.name, count, tree.root())
        assert count > seq
        assert unseal(note, frontier, key).tree.encode() == tree.encode()
    assert ledger.seal.tree.size == ledger.head[0] + 1
    await ledger.close()


async def test_a_pinned_key_reaches_the_level_signed_and_the_key_in_the_file_does_not(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    await ledger.close()
    assert said(path)[0]["vkey"] == ledger.vkey
    assert (checked(path).level, checked(path).sealed) == ("chain", True)
    assert "pin the key" in checked(path).limits
    report = verified(path, NOW + 3600, keys=[Key.parse(ledger.vkey)])
    assert (report.level, report.findings) == ("signed", ())
    assert "an older copy" in report.limits


async def test_another_key_than_the_pinned_one_never_passes(path: Path) -> None:
    await fill(path, 3)
    ledger = str(said(path)[0]["ledger"])
    for name in (f"sluice/{ledger}", "sluice/other"):
        other = Signer(name, Ed25519PrivateKey.generate()).key
        assert codes(verified(path, NOW + 3600, keys=[other])) == {"key", "head_signature"}


async def test_the_log_key_is_made_once_and_is_ours_alone(path: Path) -> None:
    await fill(path, 1)
    file = path.with_name("ledger.key")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    await fill(path, 1, clock=Clock(NOW + 60))
    assert file.read_bytes() == before
    assert b"BEGIN PRIVATE KEY" in before


def _gone(file: Path) -> None:
    file.unlink()


def _other(file: Path) -> None:
    file.unlink()
    make_key(file)


def _open(file: Path) -> None:
    file.chmod(0o640)


def _link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def _text(file: Path) -> None:
    file.write_text("hello")


def _half(file: Path) -> None:
    os.truncate(file, 40)


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (_gone, "cannot be read"),
        (_other, "another key"),
        (_open, "open to others"),
        (_link, "open to others"),
        (_text, "no key"),
        (_half, "no key"),
    ],
)
async def test_without_its_key_a_ledger_is_not_written(path: Path, harm, what: str) -> None:  # type: ignore[no-untyped-def]
    await fill(path, 1)
    harm(path.with_name("ledger.key"))
    before = path.read_bytes()
    with pytest.raises(SluiceError, match=what):
        await SqliteLedger.open(path, clock=Clock(NOW + 60))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("DELETE FROM head", "not kept as bytes"),
        ("UPDATE head SET note = substr(note, 3)", "broken"),
        ("UPDATE head SET frontier = zeroblob(length(frontier))", "frontier"),
        ("UPDATE head SET frontier = x''", "frontier"),
        (
            "DELETE FROM entry WHERE seq = (SELECT max(seq) FROM entry)",
            "covers",
        ),
    ],
)
async def test_a_start_refuses_a_head_that_is_not_the_one_of_its_entries(
    path: Path, statement: str, what: str
) -> None:
    from ledgers import put_back

    await fill(path, 5)
    connection = tamper(path)
    connection.execute(statement)
    put_back(connection)
    with pytest.raises(SluiceError, match=what) as caught:
        await SqliteLedger.open(path, clock=Clock(NOW + 60))
    assert "accept-loss" in caught.value.problems[0].fix


async def test_a_start_refuses_entries_that_were_chained_anew(path: Path) -> None:
    from ledgers import put_back
    from test_ledger_verify import field, rewrite

    await fill(path, 5)
    connection = tamper(path)
    rewrite(4, field(agent="uid:mallory"), chained=True)(connection)
    put_back(connection)
    with pytest.raises(SluiceError, match="signed over"):
        await SqliteLedger.open(path, clock=Clock(NOW + 60))


async def test_a_writer_never_goes_on_from_a_head_that_is_not_its_own(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    await ledger.close()
    private = read_key(path.with_name("ledger.key"))
    key, tree = Key.parse(ledger.vkey), Tree(1, [bytes(32)])
    other = seal(Signer("sluice/other", private), tree)
    with pytest.raises(NoteError):
        unseal(*other.row, key)
    with pytest.raises(NoteError, match="another ledger"):
        unseal(Signer(key.name, private).sign(Checkpoint("sluice/x", 1, tree.root()).text), bytes(32), key)
    for row in ((None, b""), ("text", b""), (b"", None)):
        with pytest.raises(NoteError):
            unseal(*row, key)


async def test_what_an_error_left_in_doubt_is_covered_by_the_next_head(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    await ledger.queue(Draft("note", {}))
    size = ledger.seal.tree.size
    await ledger._disconnect()
    await ledger._connect()
    await ledger.queue(Draft("note", {}))
    assert ledger.seal.tree.size == size + 1
    await ledger.close()
    assert verified(path, NOW + 3600, keys=[Key.parse(ledger.vkey)]).level == "signed"
