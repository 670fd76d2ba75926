"""
Attacks by somebody who can write the file, and more: what a verifier sees at each of three levels.

``chain``: the file alone. ``signed``: with the log's key, known before. ``anchored``: with
checkpoints that lie where the attacker cannot write. An attack that a level does not see is
listed as unseen there, and the test fails if that changes.
"""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from ledgers import NOW, Clock, codes, decided, fill, put_back, said, story, tamper, verified
from test_ledger_verify import ATTACKS, append, field, rewrite

from proxy import chain
from proxy.ledger.anchors import Compared
from proxy.ledger.report import Report
from proxy.ledger.seal import WRITE, Seal, origin, read_key, seal
from proxy.ledger.sqlite import SqliteLedger
from proxy.merkle import Tree
from proxy.note import Key, Signer
from proxy.witness.files import FilePlace, FileWitness

AT = 40
"""Entries that the backup holds, and the first checkpoint covers."""


@dataclass
class Kit:
    """A ledger, what was kept of it elsewhere, and what an attacker may have."""

    path: Path
    notes: Path
    vkey: Key
    backup: Path
    first: Seal
    anchored: Seal

    @property
    def private(self) -> Ed25519PrivateKey:
        return read_key(self.path.with_name("ledger.key"))

    def report(self, level: str) -> Report:
        keys = [] if level == "chain" else [self.vkey]
        against = [FilePlace(self.notes)] if level == "anchored" else []
        return verified(self.path, NOW + 3600, keys=keys, against=against)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    import asyncio

    folder = tmp_path_factory.mktemp("whole")
    folder.chmod(0o700)
    (folder / "elsewhere").mkdir()
    return asyncio.run(_make(folder))


async def _make(folder: Path) -> Kit:
    path, witness = folder / "ledger.db", FileWitness(folder / "elsewhere" / "notes")
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    drafts = list(story(30))
    for draft in drafts[:38]:
        await ledger.queue(draft)
    assert ledger.seal.tree.size == AT
    first = ledger.seal
    witness.send([first])
    await ledger.close()
    backup = folder / "backup.db"
    shutil.copy(path, backup)
    ledger, _ = await SqliteLedger.open(path, clock=Clock(NOW + 60))
    for number in range(20):
        await ledger.queue(decided(f"later-{number}"))
        witness.send([ledger.seal])
    anchored = ledger.seal
    for number in range(5):
        await ledger.queue(decided(f"last-{number}"))
    await ledger.close()
    return Kit(path, witness.path, Key.parse(ledger.vkey), backup, first, anchored)


@pytest.fixture
def kit(whole: Kit, tmp_path: Path) -> Kit:
    tmp_path.chmod(0o700)
    for file in ("ledger.db", "ledger.key"):
        shutil.copy(whole.path.with_name(file), tmp_path / file)
    return Kit(tmp_path / "ledger.db", whole.notes, whole.vkey, whole.backup, whole.first, whole.anchored)


type Attack = Callable[[Kit], None]


def on_file(*harms: Callable[[sqlite3.Connection], object]) -> Attack:
    def attack(kit: Kit) -> None:
        connection = tamper(kit.path)
        for harm in harms:
            harm(connection)
        put_back(connection)

    return attack


def cut(size: int) -> Callable[[sqlite3.Connection], object]:
    def harm(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM payload WHERE seq >= ?", (size,))
        connection.execute("DELETE FROM entry WHERE seq >= ?", (size,))

    return harm


def insert_in_the_middle(connection: sqlite3.Connection) -> None:
    """A forged entry at 20, everything after it numbered and chained anew."""
    rows = connection.execute("SELECT seq, body FROM entry WHERE seq >= 20 ORDER BY seq").fetchall()
    seq, _, hashed = connection.execute("SELECT * FROM entry WHERE seq = 19").fetchone()
    time = json.loads(rows[0][1])["time"]
    entry = chain.extend(chain.Head(seq, hashed), "note", {}, time=time, nonce="0" * 32)
    connection.execute("DELETE FROM entry WHERE seq >= 20")
    payloads = connection.execute("SELECT * FROM payload WHERE seq >= 20 ORDER BY seq").fetchall()
    connection.execute("DELETE FROM payload WHERE seq >= 20")
    connection.execute("INSERT INTO entry VALUES (?, ?, ?)", entry)
    for at, body in rows:
        fields = json.loads(body) | {"seq": at + 1, "prev": entry.hash.hex()}
        new = chain.canonical(fields)
        entry = chain.Entry(at + 1, new, chain.digest(new))
        connection.execute("INSERT INTO entry VALUES (?, ?, ?)", entry)
    for at, salt, data in payloads:
        connection.execute("INSERT INTO payload VALUES (?, ?, ?)", (at + 1, salt, data))


def resign(connection: sqlite3.Connection, signer: Signer) -> None:
    tree = Tree()
    for (hashed,) in connection.execute("SELECT hash FROM entry ORDER BY seq"):
        tree.add(hashed)
    connection.execute(WRITE, seal(signer, tree).row)


def signed_anew(*harms: Callable[[sqlite3.Connection], object]) -> Attack:
    """As `on_file`, by somebody who has stolen the log's key."""

    def attack(kit: Kit) -> None:
        signer = Signer(kit.vkey.name, kit.private)
        on_file(*harms, lambda connection: resign(connection, signer))(kit)

    return attack


def other_key_same_name(kit: Kit) -> None:
    signer = Signer(kit.vkey.name, Ed25519PrivateKey.generate())
    on_file(lambda connection: resign(connection, signer))(kit)


def note_of_another_size(kit: Kit) -> None:
    on_file(lambda connection: connection.execute(WRITE, kit.anchored.row))(kit)


def malleated_note(kit: Kit) -> None:
    """Base64 whose last bits, which no decoder needs, are others."""

    def harm(connection: sqlite3.Connection) -> None:
        (note,) = connection.execute("SELECT note FROM head").fetchone()
        text, _, signature = note.decode().rstrip("\n").rpartition(" ")
        digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        bare = signature.rstrip("=")
        other = bare[:-1] + digits[digits.index(bare[-1]) + 1]
        padded = other + "=" * (len(signature) - len(bare))
        assert base64.b64decode(padded) == base64.b64decode(signature)
        connection.execute("UPDATE head SET note = ?", (f"{text} {padded}\n".encode(),))

    on_file(harm)(kit)


def space_in_the_note(kit: Kit) -> None:
    spaced = "replace(CAST(note AS TEXT), char(10, 10), ' ' || char(10, 10))"
    change = f"UPDATE head SET note = CAST({spaced} AS BLOB)"
    on_file(lambda connection: connection.execute(change))(kit)


def new_ledger_own_key(kit: Kit) -> None:
    import asyncio

    for file in kit.path.parent.iterdir():
        file.unlink()
    asyncio.run(fill(kit.path, 30))


def new_ledger_stolen_key(kit: Kit) -> None:
    """As many entries, signed by the real key, under the real name."""
    import asyncio

    asyncio_ledger = str(said(kit.path)[0]["ledger"])
    for file in kit.path.parent.glob("ledger.db*"):
        file.unlink()
    asyncio.run(fill(kit.path, 30))

    def rename(connection: sqlite3.Connection) -> None:
        rewrite(0, field(ledger=asyncio_ledger, vkey=str(kit.vkey)), chained=True)(connection)
        resign(connection, Signer(origin(asyncio_ledger), kit.private))

    on_file(rename)(kit)


def roll_back(kit: Kit) -> None:
    shutil.copy(kit.backup, kit.path)


def fork(kit: Kit) -> None:
    """Put the backup back, and let an honest gate go on from it."""
    import asyncio

    roll_back(kit)
    kit.path.chmod(0o600)
    asyncio.run(fill(kit.path, 30, clock=Clock(NOW + 60)))


def planted_log(kit: Kit) -> None:
    """A log of writes that cuts the end off, for whoever opens the ledger next."""
    copy = kit.path.with_name("copy.db")
    shutil.copy(kit.path, copy)
    connection = tamper(copy)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    cut(50)(connection)
    from proxy.ledger.files import TABLES

    for statement in TABLES:
        if "TRIGGER" in statement:
            connection.execute(statement)
    wal = copy.with_name("copy.db-wal").read_bytes()
    base = copy.read_bytes()
    connection.close()
    copy.unlink()
    kit.path.write_bytes(base)
    kit.path.with_name("ledger.db-wal").write_bytes(wal)


def cut_to_the_newest_checkpoint(kit: Kit) -> None:
    """All that a place has seen is there, and what came after it is not: with the head signed then."""
    on_file(
        cut(kit.anchored.tree.size),
        lambda connection: connection.execute(WRITE, kit.anchored.row),
    )(kit)


MALLORY = field(agent="uid:mallory")
FORGED = append("decided", id="forged", decision="allowed", by="rule")

# name: (attack, a code for chain, for signed, for anchored; "" where the level cannot see it)
LEVELS: dict[str, tuple[Attack, str, str, str]] = {
    "append a forged entry": (on_file(FORGED), "head_size", "head_size", "head_size"),
    "insert one and chain all anew": (
        on_file(insert_in_the_middle), "head_size", "head_size", "anchor_root"),
    "cut the newest entries off": (on_file(cut(62)), "head_size", "head_size", "head_size"),
    "cut below the newest checkpoint": (on_file(cut(50)), "head_size", "head_size", "anchor_cut"),
    "cut everything but the genesis": (on_file(cut(1)), "head_size", "head_size", "anchor_cut"),
    "cut, and append forged entries": (
        on_file(cut(64), FORGED, append("note")), "head_size", "head_size", "head_size"),
    "cut, and append as many forged entries": (
        on_file(cut(65), *[append("note") for _ in range(3)]), "head_root", "head_root", "head_root"),
    "edit an entry and chain all anew": (
        on_file(rewrite(20, MALLORY, chained=True)), "head_root", "head_root", "anchor_root"),
    "edit one of the newest and chain anew": (
        on_file(rewrite(64, MALLORY, chained=True)), "head_root", "head_root", "head_root"),
    "the head taken away": (
        on_file(lambda connection: connection.execute("DELETE FROM head")),
        "head_missing", "head_missing", "head_missing"),
    "the head signed by another key of that name": (
        other_key_same_name, "head_signature", "head_signature", "head_signature"),
    "a head of another size": (note_of_another_size, "head_size", "head_size", "head_size"),
    "a note with other base64": (malleated_note, "head_signature", "head_signature", "head_signature"),
    "a space in the note": (space_in_the_note, "head_signature", "head_signature", "head_signature"),
    "a log of writes that was planted": (planted_log, "head_size", "head_size", "anchor_cut"),
    "another ledger with its own key": (new_ledger_own_key, "", "key", "anchor_root"),
    # From here on only a place outside shows it.
    "cut, and sign with the stolen key": (signed_anew(cut(50)), "", "", "anchor_cut"),
    "edit, chain anew and sign with the stolen key": (
        signed_anew(rewrite(20, MALLORY, chained=True)), "", "", "anchor_root"),
    "insert, chain anew and sign with the stolen key": (
        signed_anew(insert_in_the_middle), "", "", "anchor_root"),
    "another ledger signed with the stolen key": (new_ledger_stolen_key, "", "", "anchor_root"),
    "an older copy put back": (roll_back, "", "", "anchor_cut"),
    "a fork that goes on honestly": (fork, "", "", "anchor_root"),
    # What nothing shows but a newer checkpoint, and what the report therefore says.
    "cut to the newest checkpoint": (cut_to_the_newest_checkpoint, "", "", ""),
    "edit what no place has seen, with the stolen key": (
        signed_anew(rewrite(64, field(agent="uid:mallory"), chained=True)), "", "", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", LEVELS)
def test_each_level_sees_what_it_can_and_no_more(kit: Kit, name: str) -> None:
    attack, *wanted = LEVELS[name]
    attack(kit)
    for level, code in zip(("chain", "signed", "anchored"), wanted, strict=True):
        report = kit.report(level)
        if code:
            assert code in codes(report), (level, report.findings)
            assert report.level is None
        else:
            assert report.findings == (), level
            assert report.level == level


def test_the_honest_ledger_reaches_each_level_and_says_what_could_still_be_cut(kit: Kit) -> None:
    reports = {level: kit.report(level) for level in ("chain", "signed", "anchored")}
    for level, report in reports.items():
        assert (report.level, report.findings) == (level, ())
    size = kit.anchored.tree.size
    anchor = reports["anchored"].anchor
    assert isinstance(anchor, Compared)
    assert (anchor.size, anchor.checkpoints) == (size, 21)
    assert anchor.entry_time == said(kit.path)[size - 1]["time"]
    assert f"entries {size} to {reports['anchored'].entries - 1} are newer" in reports["anchored"].limits
    assert "an older copy" in reports["signed"].limits
    assert "cut off its newest entries" in reports["chain"].limits


@pytest.mark.parametrize("name", ATTACKS)
def test_what_the_chain_shows_is_shown_at_every_level(kit: Kit, name: str) -> None:
    harm, _ = ATTACKS[name]
    connection = tamper(kit.path)
    harm(connection)
    put_back(connection)
    for level in ("chain", "signed", "anchored"):
        assert not kit.report(level).ok


def test_checkpoints_alone_pin_the_key_too(kit: Kit) -> None:
    report = verified(kit.path, NOW + 3600, against=[FilePlace(kit.notes)])
    assert (report.level, report.pinned) == ("anchored", False)
    new_ledger_own_key(kit)
    assert codes(verified(kit.path, NOW + 3600, against=[FilePlace(kit.notes)])) == {"anchor_none"}


def test_a_finding_names_the_entries_that_are_affected(kit: Kit) -> None:
    signed_anew(rewrite(45, field(agent="uid:mallory"), chained=True))(kit)
    (finding,) = kit.report("anchored").findings
    assert (finding.seq, finding.code) == (45, "anchor_root")  # 45 entries still agree, 46 do not
    assert "entries 45 to 45 are not" in finding.what
    assert "signed both" in finding.what
    signed_anew(cut(50))(kit)
    cut_off = [one for one in kit.report("anchored").findings if one.code == "anchor_cut"]
    assert [one.seq for one in cut_off] == [50]
    assert f"entries 50 to {kit.anchored.tree.size - 1} are cut off" in cut_off[0].what


def test_after_a_fork_that_was_witnessed_too_the_older_checkpoints_still_tell(
    kit: Kit, tmp_path: Path
) -> None:
    """The newest checkpoints agree with the fork; comparing only them would show nothing."""
    notes = tmp_path / "both"
    fork(kit)
    shutil.copy(kit.notes, notes)
    connection = sqlite3.connect(kit.path)
    (note,) = connection.execute("SELECT note FROM head").fetchone()
    connection.close()
    FileWitness(notes).append([note])
    report = verified(kit.path, NOW + 3600, keys=[kit.vkey], against=[FilePlace(notes)])
    assert codes(report) == {"anchor_root"}


def test_an_export_is_anchored_as_its_ledger_is(kit: Kit, tmp_path: Path) -> None:
    from proxy.ledger.export import export_to
    from proxy.ledger.read import Filter

    for wanted in (Filter(), Filter(kinds=frozenset({"held"}))):
        out = tmp_path / "out.jsonl"
        export_to(kit.path, out, "jsonl", wanted)
        report = verified(out, NOW + 3600, keys=[kit.vkey], against=[FilePlace(kit.notes)])
        assert (report.level, report.findings) == ("anchored", ())
        assert report.root == kit.report("chain").root
    other = Signer("sluice/other", Ed25519PrivateKey.generate()).key
    assert "key" in codes(verified(out, NOW + 3600, keys=[other]))
    roll_back(kit)
    export_to(kit.path, out, "jsonl")
    assert verified(out, NOW + 3600, keys=[kit.vkey]).ok
    report = verified(out, NOW + 3600, keys=[kit.vkey], against=[FilePlace(kit.notes)])
    assert codes(report) == {"anchor_cut"}


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "anchor_none"), (b"nothing of the kind\n" * 10, "anchor_none")],
)
def test_a_place_that_keeps_nothing_of_this_ledger_is_no_reason_to_trust_it(
    kit: Kit, tmp_path: Path, content: bytes, code: str
) -> None:
    (tmp_path / "notes").write_bytes(content)
    report = verified(kit.path, NOW + 3600, keys=[kit.vkey], against=[FilePlace(tmp_path / "notes")])
    assert codes(report) == {code}


def test_a_checkpoint_without_a_signature_that_holds_anchors_nothing(kit: Kit, tmp_path: Path) -> None:
    """Somebody who can write there, and has no key, cannot raise the level."""
    note = kit.anchored.note
    forged = note[:-10] + b"AAAAAAAA=\n"
    (tmp_path / "notes").write_bytes(forged)
    report = verified(kit.path, NOW + 3600, keys=[kit.vkey], against=[FilePlace(tmp_path / "notes")])
    assert not report.ok
    (tmp_path / "notes").write_bytes(b"garbage\n" + note[:60] + b"\n\n" + note)
    report = verified(kit.path, NOW + 3600, keys=[kit.vkey], against=[FilePlace(tmp_path / "notes")])
    assert report.level == "anchored"
    assert report.places[0].unreadable >= 1
