"""What somebody who can write the file may try, and what a verifier without keys sees of it."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from ledgers import NOW, Clock, checked, codes, decided, fill, held, put_back, said, tamper, verified

from proxy import chain
from proxy.errors import Exit, SluiceError
from proxy.ledger.export import export_to
from proxy.ledger.files import TABLES
from proxy.ledger.read import Filter
from proxy.ledger.sqlite import SqliteLedger

type Harm = Callable[[sqlite3.Connection], None]


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    await fill(tmp_path / "ledger.db", 12)
    return tmp_path / "ledger.db"


def sql(*statements: str) -> Harm:
    def harm(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return harm


def rewrite(
    seq: int, change: Callable[[bytes], bytes], *, hashed: bool = False, chained: bool = False
) -> Harm:
    """Change a body; with its own hash, or with every hash after it too, as a careful forger would."""

    def harm(connection: sqlite3.Connection) -> None:
        rows = connection.execute(
            "SELECT seq, body FROM entry WHERE seq >= ? ORDER BY seq", (seq,)
        ).fetchall()
        previous = None
        for at, body in rows:
            new = change(body) if at == seq else body
            if previous is not None:
                new = new.replace(json.loads(body)["prev"].encode(), previous.hex().encode())
            previous = chain.digest(new)
            if at == seq or chained:
                connection.execute("UPDATE entry SET body = ? WHERE seq = ?", (new, at))
            if (at == seq and hashed) or chained:
                connection.execute("UPDATE entry SET hash = ? WHERE seq = ?", (previous, at))
            if not chained:
                return

    return harm


def field(**new: object) -> Callable[[bytes], bytes]:
    return lambda body: chain.canonical(json.loads(body) | new)


def text(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(body: bytes) -> bytes:
        assert old in body
        return body.replace(old, new, 1)

    return change


def append(kind: str, time: str | None = None, **fields: object) -> Harm:
    """A forged entry at the end, properly chained."""

    def harm(connection: sqlite3.Connection) -> None:
        seq, body, hashed = connection.execute("SELECT * FROM entry ORDER BY seq DESC LIMIT 1").fetchone()
        at = time or json.loads(body)["time"]
        entry = chain.extend(chain.Head(seq, hashed), kind, fields, time=at, nonce="0" * 32)
        connection.execute("INSERT INTO entry VALUES (?, ?, ?)", entry)

    return harm


def flip(column: str) -> Harm:
    def harm(connection: sqlite3.Connection) -> None:
        table = "payload" if column in ("salt", "data") else "entry"
        (old,) = connection.execute(f"SELECT {column} FROM {table} WHERE seq = 2").fetchone()
        new = bytes([old[0], old[1] ^ 1, *old[2:]])
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE seq = 2", (new,))

    return harm


def swap(table: str, columns: str) -> Harm:
    def harm(connection: sqlite3.Connection) -> None:
        one, two = (
            connection.execute(f"SELECT {columns} FROM {table} WHERE seq=?", (at,)).fetchone()
            for at in (2, 6)
        )
        for at, row in ((2, two), (6, one)):
            for name, value in zip(columns.split(", "), row, strict=True):
                connection.execute(f"UPDATE {table} SET {name} = ? WHERE seq = ?", (value, at))

    return harm


def close_the_gap(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM entry WHERE seq = 9")
    for at in range(10, connection.execute("SELECT max(seq) FROM entry").fetchone()[0] + 1):
        connection.execute("UPDATE entry SET seq = ? WHERE seq = ?", (at - 1, at))


def forged_kind(connection: sqlite3.Connection) -> None:
    append("note")(connection)
    last = connection.execute("SELECT max(seq) FROM entry").fetchone()[0]
    rewrite(last, field(kind="exported"), hashed=True)(connection)


def hide_behind_a_view(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE entry RENAME TO real")
    connection.execute("CREATE VIEW entry AS SELECT * FROM real WHERE seq <> 9")


def strict_removed(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')') WHERE name = 'entry'")
    connection.execute("PRAGMA writable_schema=RESET")
    connection.execute("UPDATE entry SET body = CAST(body AS TEXT) WHERE seq = 9")


LAST = "(SELECT max(seq) FROM entry)"
EARLIER, LATER = "2020-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z"

# name: (what is done, one of the codes that must be found)
ATTACKS: dict[str, tuple[Harm, str]] = {
    "flip a bit in a body": (flip("body"), "hash"),
    "flip a bit in a hash": (flip("hash"), "hash"),
    "flip a bit of a payload": (flip("data"), "payload"),
    "flip a bit of a salt": (flip("salt"), "payload"),
    "empty a payload": (sql("UPDATE payload SET data = NULL WHERE seq = 2"), "payload_missing"),
    "delete a payload": (sql("DELETE FROM payload WHERE seq = 2"), "payload_missing"),
    "swap two payloads": (swap("payload", "salt, data"), "payload"),
    "a payload for an entry without one": (
        sql("INSERT INTO payload VALUES (0, zeroblob(16), x'00')"),
        "payload_orphan",
    ),
    "delete an entry, keep its payload": (sql("DELETE FROM entry WHERE seq = 8"), "payload_orphan"),
    "swap two entries": (swap("entry", "body, hash"), "row"),
    "delete an entry": (sql("DELETE FROM entry WHERE seq = 9"), "seq"),
    "delete an entry and its payload": (
        sql("DELETE FROM entry WHERE seq = 9", "DELETE FROM payload WHERE seq = 9"),
        "seq",
    ),
    "delete an entry and number the rest anew": (close_the_gap, "row"),
    "delete the genesis": (sql("DELETE FROM entry WHERE seq = 0"), "seq"),
    "delete everything": (sql("DELETE FROM entry", "DELETE FROM payload"), "genesis"),
    "a negative number": (sql("INSERT INTO entry VALUES (-1, x'7b7d', zeroblob(32))"), "seq"),
    "edit an entry": (rewrite(8, field(agent="uid:mallory")), "hash"),
    "edit an entry and its hash": (rewrite(8, field(agent="uid:mallory"), hashed=True), "prev"),
    "a key twice, another value": (
        rewrite(8, text(b'"id":', b'"id":"x","id":'), chained=True),
        "not_canonical",
    ),
    "a key twice, the same value": (
        rewrite(8, text(b'"host":', b'"host":"api.stripe.com","host":'), chained=True),
        "not_canonical",
    ),
    "a space": (rewrite(8, text(b'"seq":8', b'"seq": 8'), chained=True), "not_canonical"),
    "1 as 1.0": (rewrite(8, text(b'"seq":8', b'"seq":8.0'), chained=True), "profile"),
    "1E400": (rewrite(8, text(b'"seq":8', b'"seq":1E400'), chained=True), "profile"),
    "an escaped key": (rewrite(8, text(b'"agent"', b'"\\u0061gent"'), chained=True), "not_canonical"),
    "an integer beyond 2^53": (
        rewrite(8, text(b'"seq":8', b'"n":9007199254740993,"seq":8'), chained=True),
        "profile",
    ),
    "text that is not UTF-8": (rewrite(8, text(b"alice", b"al\xffce"), chained=True), "not_utf8"),
    "half a surrogate pair": (rewrite(8, text(b"alice", b"\\ud800"), chained=True), "profile"),
    "another normal form": (rewrite(8, text(b"alice", "alice\u0301".encode())), "hash"),
    "text in place of bytes": (strict_removed, "not_bytes"),
    "no longer strict": (strict_removed, "schema"),
    "an extra table": (sql("CREATE TABLE more (x)"), "schema"),
    "an extra column": (sql("ALTER TABLE entry ADD COLUMN x ANY"), "schema"),
    "an extra index": (sql("CREATE INDEX i ON entry (hash) WHERE seq > 5"), "schema"),
    "a view in front of the entries": (hide_behind_a_view, "schema"),
    "a trigger that deletes": (
        sql("CREATE TRIGGER t AFTER INSERT ON entry BEGIN DELETE FROM entry WHERE seq = 9; END"),
        "schema",
    ),
    "another version": (sql("PRAGMA user_version=0"), "version"),
    "another application": (sql("PRAGMA application_id=7"), "no_ledger"),
    "an entry dated earlier": (append("note", EARLIER), "time_backwards"),
    "an entry dated in the future": (append("note", LATER), "time_ahead"),
    "an outcome without a decision": (append("completed", id="f" * 32), "not_decided"),
    "an outcome twice": (append("completed", id=f"{1:032x}"), "not_decided"),
    "a hold settled twice": (
        append("decided", id="x", hold=f"{0:032x}", decision="approved", by="reviewer"),
        "not_held",
    ),
    "an approval of nothing": (append("decided", id="x", decision="approved", by="reviewer"), "field"),
    "a review of nothing": (append("reviewed", hold="x" * 32), "not_held"),
    "a decision of no known word": (append("decided", id="x", decision="waved", by="rule"), "field"),
    "a hold left open at a start": (
        lambda connection: (append("held", hold="x")(connection), append("started")(connection)),  # type: ignore[func-returns-value, return-value]
        "left_open",
    ),
    "a second genesis": (append("genesis"), "genesis"),
    "a kind of an export": (forged_kind, "kind"),
}


def rebuilt(encoding: str = "UTF-8", change: Callable[[str], str] = lambda text: text) -> Harm:
    """The same rows in a database that was made in another way, which takes the place of the first."""

    def harm(connection: sqlite3.Connection) -> None:
        (path,) = (row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main")
        new = sqlite3.connect(f"{path}.forged", isolation_level=None)
        new.execute(f"PRAGMA encoding='{encoding}'")
        for pragma in ("application_id", "user_version"):
            new.execute(f"PRAGMA {pragma}={connection.execute(f'PRAGMA {pragma}').fetchone()[0]}")
        tables = [text for text in TABLES if "TABLE" in text]
        for text in tables:
            new.execute(change(text))
        for table in ("entry", "payload", "head"):
            for row in connection.execute(f"SELECT * FROM {table}"):
                new.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        for text in TABLES:
            if text not in tables:
                new.execute(text)
        new.execute("PRAGMA journal_mode=WAL")
        new.close()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        Path(path).write_bytes(Path(f"{path}.forged").read_bytes())

    return harm


REBUILT: dict[str, tuple[Harm, str]] = {
    "text in UTF-16": (rebuilt("UTF-16le"), "encoding"),
    "no rowids": (rebuilt(change=lambda text: text.replace("STRICT", "STRICT, WITHOUT ROWID")), "schema"),
    "numbers that count by themselves": (
        rebuilt(
            change=lambda text: text.replace(
                "seq INTEGER PRIMARY KEY CHECK (seq >= 0)",
                "seq INTEGER PRIMARY KEY AUTOINCREMENT CHECK (seq >= 0)",
            )
        ),
        "schema",
    ),
    "the last of all numbers": (sql(f"INSERT INTO entry VALUES ({2**63 - 1}, x'7b7d', zeroblob(32))"), "seq"),
    "a salt that is longer, and data that is shorter": (
        sql(
            "UPDATE payload SET salt = CAST(salt || substr(data, 1, 1) AS BLOB), data = substr(data, 2) "
            "WHERE seq = (SELECT min(seq) FROM payload WHERE length(data) > 1)"
        ),
        "payload",
    ),
}


@pytest.mark.parametrize("name", REBUILT)
def test_a_database_that_was_made_in_another_way_is_found(path: Path, name: str) -> None:
    harm, code = REBUILT[name]
    connection = tamper(path)
    harm(connection)
    if code in ("encoding", "schema"):
        connection.close()
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    else:
        put_back(connection)
    report = checked(path)
    assert code in codes(report), report.findings


def test_a_table_of_another_file_is_not_looked_at(path: Path) -> None:
    """What is attached belongs to a connection, not to the file: nothing of it can be in the way."""
    other = sqlite3.connect(path.with_name("other.db"))
    other.execute("CREATE TABLE entry (seq, body, hash)")
    other.execute("INSERT INTO entry VALUES (0, x'00', x'00')")
    other.commit()
    other.close()
    connection = sqlite3.connect(path)
    connection.execute(f"ATTACH '{path.with_name('other.db')}' AS shadow")
    assert checked(path).ok
    connection.close()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_the_file_is_found(path: Path, name: str) -> None:
    harm, code = ATTACKS[name]
    connection = tamper(path)
    harm(connection)
    put_back(connection)
    before = path.read_bytes()
    report = checked(path)
    assert code in codes(report), report.findings
    assert report.exit is Exit.NO
    assert path.read_bytes() == before


def test_triggers_that_were_dropped_are_found(path: Path) -> None:
    tamper(path).close()
    assert codes(checked(path)) == {"schema"}


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (append("decided", id="forged", decision="allowed", by="rule"), "head_size"),
        (
            sql(f"DELETE FROM payload WHERE seq = {LAST}", f"DELETE FROM entry WHERE seq = {LAST}"),
            "head_size",
        ),
        (rewrite(8, field(agent="uid:mallory"), chained=True), "head_root"),
        (sql("DELETE FROM head"), "head_missing"),
        (sql("UPDATE head SET note = substr(note, 2)"), "head_signature"),
        (sql("UPDATE head SET frontier = zeroblob(length(frontier))"), "head_signature"),
    ],
    ids=[
        "a forged entry",
        "the last entry cut off",
        "everything chained anew",
        "no head",
        "note",
        "frontier",
    ],
)
def test_what_is_well_chained_and_not_signed_is_found(path: Path, harm: Harm, code: str) -> None:
    connection = tamper(path)
    harm(connection)
    put_back(connection)
    assert codes(checked(path)) == {code}


def test_bytes_of_the_file_that_were_harmed_are_found(path: Path) -> None:
    whole = path.read_bytes()
    at = whole.index(b'"agent":"uid:alice"')
    for bad in (
        whole[:at] + b"X" + whole[at + 1 :],
        whole + b"garbage",
        whole[: len(whole) // 2],
        whole[:4096],
    ):
        path.write_bytes(bad)
        report = checked(path)
        assert not report.ok
        assert report.exit is Exit.NO


def test_any_byte_that_was_changed_is_found_or_changes_no_entry(path: Path) -> None:
    whole, before = bytearray(path.read_bytes()), said(path)
    chance = random.Random(1)
    for _ in range(150):
        at = chance.randrange(len(whole))
        old, whole[at] = whole[at], whole[at] ^ (1 << chance.randrange(8))
        path.write_bytes(whole)
        try:
            report = checked(path)
        except SluiceError as error:
            assert error.exit is Exit.WRONG
        else:
            assert not report.ok or said(path) == before
        whole[at] = old


def test_a_planted_journal_is_not_played_back(path: Path) -> None:
    before = path.read_bytes()
    path.with_name("ledger.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    assert codes(checked(path)) == {"journal"}
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"hello", b"[]", b"SQLite format 3\0", b"\0" * 9000])
def test_something_else_is_no_ledger(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    report = checked(path)
    assert report.exit is Exit.NO
    assert report.as_dict()["level"] is None


def test_what_is_not_there_cannot_be_opened(path: Path) -> None:
    for missing in (path.with_name("none.db"), path.parent):
        with pytest.raises(SluiceError) as caught:
            checked(missing)
        assert caught.value.exit is Exit.WRONG


def test_a_newer_ledger_cannot_be_opened(path: Path) -> None:
    sqlite3.connect(path).execute("PRAGMA user_version=3").connection.close()
    with pytest.raises(SluiceError, match="version 3") as caught:
        checked(path)
    assert caught.value.exit is Exit.WRONG


def test_verifying_leaves_nothing_behind(path: Path) -> None:
    before = {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()}
    assert checked(path).ok
    assert {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()} == before


async def test_a_ledger_is_verified_while_it_is_written(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock(NOW + 60))
    await ledger.queue(decided("a"))
    report = checked(path)
    assert report.ok
    assert report.live
    assert report.entries == ledger.head[0] + 1
    assert report.head == ledger.head[1].hex()
    await ledger.queue(decided("b"))
    await ledger.close()
    assert not checked(path).live


async def test_what_a_crash_left_is_verified_in_a_copy(path: Path, tmp_path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock(NOW + 60))
    await ledger.queue(held("a"))
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for suffix in ("", "-wal"):
        (crashed / f"ledger.db{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    head = ledger.head
    await ledger.close()
    before = {file.name: file.read_bytes() for file in crashed.iterdir()}
    report = checked(crashed / "ledger.db")
    assert report.ok
    assert report.head == head[1].hex()
    assert {file.name: file.read_bytes() for file in crashed.iterdir()} == before


def test_the_report_says_what_it_proves_and_what_not(path: Path) -> None:
    said = checked(path).as_dict()
    assert json.loads(json.dumps(said)) == said
    assert (said["ok"], said["level"], said["findings"]) == (True, "chain", [])
    assert "cut off its newest entries" in str(said["limits"])
    os.truncate(path, path.stat().st_size - 1)
    said = checked(path).as_dict()
    assert (said["ok"], said["level"], said["proves"]) == (False, None, None)


# -- exports ------------------------------------------------------------------------


def lines_of(path: Path, wanted: Filter | None = None) -> list[bytes]:
    out = path.with_name("out.jsonl")
    export_to(path, out, "jsonl", wanted or Filter())
    return out.read_bytes().splitlines(keepends=True)


def codes_of(path: Path, lines: list[bytes]) -> set[str]:
    out = path.with_name("out.jsonl")
    out.write_bytes(b"".join(lines))
    return codes(verified(out, NOW + 3600))


def sealed(line: bytes, **new: object) -> bytes:
    fields = json.loads(line) | new | {"self": ""}
    return chain.canonical(fields | {"self": hashlib.sha256(chain.canonical(fields)).hexdigest()}) + b"\n"


def test_an_export_verifies_by_itself_and_by_the_rule_it_states(path: Path) -> None:
    lines = lines_of(path)
    assert codes_of(path, lines) == set()
    previous = "0" * 64
    for number, line in enumerate(lines[:-1]):
        fields = json.loads(line)
        assert (fields["seq"], fields["prev"]) == (number, previous)
        previous = hashlib.sha256(b"\0" + line.rstrip(b"\n")).hexdigest()
    last = json.loads(lines[-1])
    assert last["head"] == previous
    assert last["count"] == len(lines) - 1
    without = lines[-1].rstrip(b"\n").replace(last["self"].encode(), b"")
    assert last["self"] == hashlib.sha256(without).hexdigest()


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(kinds=frozenset({"decided"})),
        Filter(decision="approved"),
        Filter(agent="nobody"),
        Filter(since="2026-07-25T17:20:00.02"),
        Filter(until="2026-07-25T17:20:00.02"),
        Filter(kinds=frozenset({"genesis", "stopped"})),
    ],
    ids=lambda wanted: str(wanted.said),
)
def test_a_filtered_export_closes_the_chain_over_what_it_leaves_out(path: Path, wanted: Filter) -> None:
    lines = lines_of(path, wanted)
    assert codes_of(path, lines) == set()
    report = verified(path.with_name("out.jsonl"), NOW + 3600)
    whole = checked(path)
    assert (report.entries, report.head) == (whole.entries, whole.head)
    assert report.omitted == whole.entries - sum(b'"prev"' in line for line in lines)
    assert report.omitted
    assert "left out" in report.limits
    kept = [json.loads(line) for line in lines[1:-1] if b'"prev"' in line]
    assert all(wanted.admits(fields) for fields in kept)
    assert not any(
        a.startswith(b'{"hashes"') and b.startswith(b'{"hashes"') for a, b in itertools.pairwise(lines)
    )


EXPORT_ATTACKS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "edit a field": (lambda lines: [*lines[:6], lines[6].replace(b"alice", b"malic"), *lines[7:]], "prev"),
    "remove a line": (lambda lines: [*lines[:5], *lines[6:]], "prev"),
    "a line twice": (lambda lines: [*lines[:6], *lines[5:]], "seq"),
    "swap two lines": (lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]], "prev"),
    "cut the end": (lambda lines: lines[:-3], "cut"),
    "cut the end, keep the last line": (lambda lines: [*lines[:-3], lines[-1]], "count"),
    "cut the end, correct the count": (
        lambda lines: [*lines[:-2], sealed(lines[-1], count=len(lines) - 2)],
        "head",
    ),
    "change the count alone": (
        lambda lines: [*lines[:-1], lines[-1].replace(b'"count":', b'"count":1')],
        "exported",
    ),
    "claim a filter": (
        lambda lines: [*lines[:-1], lines[-1].replace(b'"filters":{}', b'"filters":{"agent":"x"}')],
        "exported",
    ),
    "cut the beginning": (lambda lines: lines[2:], "seq"),
    "CRLF": (lambda lines: [line.replace(b"\n", b"\r\n") for line in lines], "not_canonical"),
    "a byte order mark": (lambda lines: [b"\xef\xbb\xbf" + lines[0], *lines[1:]], "no_ledger"),
    "an escape": (
        lambda lines: [*lines[:6], lines[6].replace(b"alice", b"\\u0061lice"), *lines[7:]],
        "not_canonical",
    ),
    "spaces": (lambda lines: [*lines[:6], lines[6].replace(b'":', b'": '), *lines[7:]], "not_canonical"),
    "an empty line": (lambda lines: [*lines[:5], b"\n", *lines[5:]], "not_json"),
    "no last line feed": (lambda lines: [*lines[:-1], lines[-1].rstrip(b"\n")], "cut"),
    "lines after the end": (lambda lines: [*lines, lines[1]], "after_end"),
    "a line that is too long": (
        lambda lines: [*lines[:5], b'{"a":"' + b"x" * 500_000 + b'"}\n', *lines[5:]],
        "too_long",
    ),
    "a field more in the last line": (lambda lines: [*lines[:-1], sealed(lines[-1], more=1)], "exported"),
    "leave out without a filter": (
        lambda lines: [
            *lines[:5],
            b'{"hashes":["' + chain.digest(lines[5][:-1]).hex().encode() + b'"],"kind":"omitted"}\n',
            *lines[6:],
        ],
        "filters",
    ),
    "leave out the genesis": (
        lambda lines: [
            b'{"hashes":["' + chain.digest(lines[0][:-1]).hex().encode() + b'"],"kind":"omitted"}\n',
            *lines[1:],
        ],
        "genesis",
    ),
    "an invented hash": (
        lambda lines: [*lines[:5], b'{"hashes":["' + b"0" * 64 + b'"],"kind":"omitted"}\n', *lines[6:]],
        "prev",
    ),
}


@pytest.mark.parametrize("name", EXPORT_ATTACKS)
def test_an_attack_on_an_export_is_found(path: Path, name: str) -> None:
    attack, code = EXPORT_ATTACKS[name]
    assert code in codes_of(path, attack(lines_of(path)))


@pytest.mark.parametrize(
    "omitted",
    [
        b'{"hashes":[],"kind":"omitted"}',
        b'{"hashes":["' + b"0" * 63 + b'"],"kind":"omitted"}',
        b'{"hashes":["' + b"A" * 64 + b'"],"kind":"omitted"}',
        b'{"hashes":["' + b"0" * 64 + b'", "' + b"0" * 64 + b'"],"kind":"omitted"}',
        b'{"hashes":["' + b"0" * 64 + b'"],"kind":"omitted","more":1}',
        b'{"hashes":["' + b"x" * 300_000,
        b'{"hashes":["' + (b"0" * 64 + b'","') * 3_000,
    ],
    ids=range(7),
)
def test_a_run_left_out_is_written_in_one_way(path: Path, omitted: bytes) -> None:
    lines = lines_of(path)
    assert codes_of(path, [*lines[:5], omitted + b"\n", *lines[6:]]) & {
        "omitted",
        "not_canonical",
        "not_json",
        "kind",
    }
    assert codes_of(path, [*lines[:5], omitted]) & {"omitted", "not_canonical", "cut"}


def test_a_run_of_any_length_is_one_line_and_is_read_in_pieces(path: Path) -> None:
    hashes = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(5_000)]
    lines = lines_of(path, Filter(kinds=frozenset({"genesis"})))
    assert len(lines) == 3
    body = b'{"hashes":["' + '","'.join(hashes).encode() + b'"],"kind":"omitted"}\n'
    ended = sealed(lines[2], head=hashes[-1], count=5_001)
    assert codes_of(path, [lines[0], body, ended]) == set()
    assert codes_of(path, [lines[0], body, body, ended]) == {"count"}


def test_a_file_of_one_endless_line_is_read_with_bounds(path: Path) -> None:
    assert "too_long" in codes_of(path, [b"{" + b"x" * 3_000_000])
