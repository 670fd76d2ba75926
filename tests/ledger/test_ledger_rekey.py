"""A ledger gets another key, and whoever pinned any of them can follow."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from ledgers import NOW, Clock, codes, decided, fill, kinds, put_back, said, tamper, verified

from proxy import chain
from proxy.errors import SluiceError
from proxy.ledger.export import export_to
from proxy.ledger.keyline import fields_of
from proxy.ledger.opening import key_line
from proxy.ledger.prove import prove, verify_proof
from proxy.ledger.read import Filter, reading
from proxy.ledger.rekey import rotate
from proxy.ledger.retention import prune
from proxy.ledger.seal import read_key, seal
from proxy.ledger.sqlite import SqliteLedger
from proxy.merkle import Tree
from proxy.note import Key, Signer
from proxy.witness.files import FilePlace, FileWitness


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    await fill(tmp_path / "ledger.db", 12)
    return tmp_path / "ledger.db"


def first(path: Path) -> Key:
    return Key.parse(str(said(path)[0]["vkey"]))


async def rotated(path: Path, at: float = NOW + 60) -> Key:
    return await rotate(path, path.with_name("ledger.key"), clock=Clock(at))


async def test_whoever_pinned_any_of_the_keys_can_follow(path: Path) -> None:
    keys = [first(path), await rotated(path), await rotated(path, NOW + 120)]
    await fill(path, 3, clock=Clock(NOW + 180))

    for key in keys:
        report = verified(path, NOW + 3600, keys=[key])
        assert (report.level, report.vkey, report.findings) == ("signed", str(keys[-1]), ())
    assert len(set(keys)) == 3
    assert kinds(path).count("rekeyed") == 2
    other = Signer(keys[0].name, Ed25519PrivateKey.generate()).key
    assert codes(verified(path, NOW + 3600, keys=[other])) == {"key", "head_signature"}
    assert [entry["clean"] for entry in said(path) if entry["kind"] == "started"] == [True] * 4


async def test_the_old_key_is_gone_and_signs_no_more(path: Path, tmp_path: Path) -> None:
    old = read_key(path.with_name("ledger.key"))
    new = await rotated(path)

    assert read_key(path.with_name("ledger.key")).public_key().public_bytes_raw() == new.public
    assert sorted(file.name for file in tmp_path.glob("ledger.key*")) == ["ledger.key"]
    connection = tamper(path)
    tree = Tree()
    for (hashed,) in connection.execute("SELECT hash FROM entry ORDER BY seq"):
        tree.add(hashed)
    note, frontier = seal(Signer(new.name, old), tree).row
    connection.execute("UPDATE head SET note = ?, frontier = ?", (note, frontier))
    put_back(connection)
    assert codes(verified(path, NOW + 3600)) == {"head_signature"}


async def test_witnesses_and_exports_go_on(path: Path, tmp_path: Path) -> None:
    old = first(path)
    ledger, _ = await SqliteLedger.open(path, clock=Clock(NOW + 30))
    witness = FileWitness(tmp_path / "notes")
    witness.send([ledger.seal])
    await ledger.close()
    new = await rotated(path)
    place = FilePlace(tmp_path / "notes")
    assert verified(path, NOW + 3600, keys=[old], against=[place]).level == "anchored"

    ledger, _ = await SqliteLedger.open(path, clock=Clock(NOW + 90), against=[place])
    await ledger.queue(decided("later"))
    witness.send([ledger.seal])
    await ledger.close()

    for key in (old, new):
        report = verified(path, NOW + 3600, keys=[key], against=[place])
        assert (report.level, report.places[0].checkpoints) == ("anchored", 2)
    for at, wanted in enumerate((Filter(), Filter(decision="refused"))):
        out = tmp_path / f"{at}.jsonl"
        export_to(path, out, "jsonl", wanted)
        report = verified(out, NOW + 3600, keys=[new], against=[place])
        assert report.level == "anchored", report.findings
    proof = prove(path, 3)
    assert verify_proof(proof, [new]).signed


type Forge = Callable[[Signer, Signer, chain.Head], dict[str, object]]


def by_itself(old: Signer, new: Signer, head: chain.Head) -> dict[str, object]:
    return dict(fields_of(new, head, new.key))


def unsigned(old: Signer, new: Signer, head: chain.Head) -> dict[str, object]:
    return {"vkey": str(new.key)}


def of_another_place(old: Signer, new: Signer, head: chain.Head) -> dict[str, object]:
    return dict(fields_of(old, chain.Head(head.seq - 1, head.hash), new.key))


def for_another_key(old: Signer, new: Signer, head: chain.Head) -> dict[str, object]:
    other = Signer(new.key.name, Ed25519PrivateKey.generate())
    return {**fields_of(old, head, other.key), "vkey": str(new.key)}


def under_another_name(old: Signer, new: Signer, head: chain.Head) -> dict[str, object]:
    return dict(fields_of(old, head, Key("sluice/other", new.key.kind, new.key.public)))


@pytest.mark.parametrize(
    "forge", [by_itself, unsigned, of_another_place, for_another_key, under_another_name]
)
async def test_a_key_that_the_one_before_has_not_signed_is_found(path: Path, forge: Forge) -> None:
    old = Signer(first(path).name, read_key(path.with_name("ledger.key")))
    new = Signer(old.key.name, Ed25519PrivateKey.generate())
    forged(path, forge(old, new, last(path)), new)

    report = verified(path, NOW + 3600, keys=[old.key])

    assert {"key", "head_signature"} <= codes(report)
    with pytest.raises(SluiceError):
        await SqliteLedger.open(path, clock=Clock(NOW + 60))


def last(path: Path) -> chain.Head:
    connection = sqlite3.connect(path)
    seq, hashed = connection.execute("SELECT seq, hash FROM entry ORDER BY seq DESC LIMIT 1").fetchone()
    connection.close()
    return chain.Head(seq, hashed)


def forged(path: Path, fields: dict[str, object], signer: Signer) -> None:
    """The entry at the end, and a head that the new key signs."""
    at = said(path)[-1]["time"]
    connection = tamper(path)
    entry = chain.extend(last(path), "rekeyed", fields, time=str(at), nonce="0" * 32)
    connection.execute("INSERT INTO entry VALUES (?, ?, ?)", entry)
    tree = Tree()
    for (hashed,) in connection.execute("SELECT hash FROM entry ORDER BY seq"):
        tree.add(hashed)
    connection.execute("UPDATE head SET note = ?, frontier = ?", seal(signer, tree).row)
    put_back(connection)


async def test_a_change_that_was_cut_short_is_finished_by_the_next_start(path: Path) -> None:
    key = path.with_name("ledger.key")
    old = key.read_bytes()
    new = await rotated(path)
    key.rename(path.with_name("ledger.key.next"))  # as if the entry had just been written
    key.write_bytes(old)
    key.chmod(0o600)

    await fill(path, 1, clock=Clock(NOW + 120))

    assert read_key(key).public_key().public_bytes_raw() == new.public
    assert verified(path, NOW + 3600, keys=[new]).level == "signed"


async def test_a_change_of_the_key_is_not_pruned(path: Path, tmp_path: Path) -> None:
    await rotated(path)
    at = kinds(path).index("rekeyed")
    await fill(path, 3, clock=Clock(NOW + 120))
    key = path.with_name("ledger.key")

    with pytest.raises(SluiceError, match=f"at entry {at} the ledger got another key"):
        await prune(path, at + 1, tmp_path / "no", key=key, clock=Clock(NOW + 180))
    await prune(path, at, tmp_path / "yes", key=key, clock=Clock(NOW + 180))

    assert verified(path, NOW + 3600).ok
    with reading(path) as connection:
        assert len(key_line(connection).keys) == 2


async def test_a_running_gate_keeps_its_key(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock(NOW + 60))
    with pytest.raises(SluiceError, match="open"):
        await rotated(path)
    await ledger.close()
