"""Payloads that are encrypted at rest: nothing of them in the file, everything still verifies."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import DIGEST, NOW, Clock, codes, completed, decided, put_back, reviewed, said, tamper, verified
from test_ledger_commands import sluice, up

from proxy.chain import RESERVED, UnfitError, check
from proxy.errors import SluiceError
from proxy.ledger import Draft
from proxy.ledger.cipher import PAYLOADS_KEY, Cipher, CipherError, cipher_in
from proxy.ledger.export import export_to
from proxy.ledger.payload import opened
from proxy.ledger.read import Filter, reading, rows
from proxy.ledger.removal import pruned_in
from proxy.ledger.report import Report
from proxy.ledger.retention import erase, expire, prune
from proxy.ledger.seal import KEY
from proxy.ledger.sqlite import SqliteLedger
from proxy.ledger.verify import verify
from proxy.ledger.workers import Cores

CANARY = "the wish of a customer, 81c2"
PLAIN = json.dumps(
    {
        "url": "https://api.stripe.com/v1/refunds",
        "headers": [["content-type", "application/x-www-form-urlencoded"]],
        "body": f"note={CANARY}",
        "note": "",
        "removed": [],
    }
).encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "ledger.db"


def held(hold: str, payload: bytes = PLAIN) -> Draft:
    fields = {"hold": hold, "id": hold, "agent": "uid:alice", "method": "POST"}
    return Draft("held", {**fields, "url": "https://api.stripe.com/v1/refunds"}, DIGEST, payload)


async def holds(path: Path, *names: str, encrypt: bool = True) -> None:
    """One run: each hold is approved, sent and answered."""
    ledger, _ = await SqliteLedger.open(path, encrypt=encrypt, clock=Clock())
    for hold in names:
        await ledger.queue(held(hold))
        await ledger.queue(reviewed(hold))
        await ledger.queue(decided(hold, "approved", hold=hold, by="reviewer"))
        await ledger.queue(completed(hold))
    await ledger.close()


def report(path: Path) -> Report:
    return verified(path, NOW + 90 * 86_400)


def counts(path: Path) -> tuple[int, int]:
    found = report(path)
    assert found.ok, found.findings
    return found.encrypted, found.unopened


def payloads(path: Path) -> dict[int, bytes | None]:
    """What a reader with the key at hand makes of everything that is kept."""
    with reading(path) as connection:
        cipher = cipher_in(connection, path.with_name(PAYLOADS_KEY))
        fields = {int(str(one["seq"])): one for one in said(path)}
        return {
            seq: opened(cipher, seq, fields[seq], data)
            for seq, _, _, _, data in rows(connection)
            if data is not None
        }


def written(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob("ledger.db*")))


async def test_nothing_of_what_was_asked_is_in_the_file_nor_in_the_log_of_writes(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, encrypt=True, clock=Clock())
    await ledger.queue(held("one"))
    assert path.with_name("ledger.db-wal").stat().st_size > 0
    assert CANARY.encode() not in written(path)
    await ledger.close()
    assert CANARY.encode() not in written(path)

    await holds(path, "two", encrypt=False)
    assert CANARY.encode() in written(path)  # so the search would have found it


async def test_whoever_has_the_key_reads_and_verifies_everything(path: Path) -> None:
    await holds(path, "one", "two")

    assert counts(path) == (2, 0)
    assert list(payloads(path).values()) == [PLAIN, PLAIN]
    with reading(path) as connection:
        assert len({data for *_, data in rows(connection) if data is not None}) == 2


async def test_the_key_is_made_once_and_is_ours_alone(path: Path) -> None:
    await holds(path, "one")
    file = path.with_name(PAYLOADS_KEY)
    key = file.read_bytes()
    assert (len(key), file.stat().st_mode & 0o777) == (32, 0o600)

    await holds(path, "two")

    assert file.read_bytes() == key and counts(path) == (2, 0)


async def test_no_key_is_made_where_nothing_is_to_be_encrypted(path: Path) -> None:
    await holds(path, "one", encrypt=False)
    assert not path.with_name(PAYLOADS_KEY).exists() and counts(path) == (0, 0)


async def test_it_can_be_switched_on_and_off_within_one_ledger(path: Path) -> None:
    for hold, encrypt in (("plain", False), ("closed", True), ("again", False)):
        await holds(path, hold, encrypt=encrypt)

    assert counts(path) == (1, 0)
    assert list(payloads(path).values()) == [PLAIN] * 3


async def test_without_the_key_verify_says_how_many_it_could_not_open(path: Path) -> None:
    await holds(path, "plain", encrypt=False)
    await holds(path, "one", "two")
    path.with_name(PAYLOADS_KEY).unlink()

    found = report(path)

    assert found.ok and (found.encrypted, found.unopened, found.payloads_key) == (2, 2, None)
    assert "2 of 2 encrypted payloads were not opened, their key is not here" in found.limits
    assert list(payloads(path).values()) == [PLAIN, None, None]


async def test_with_another_key_what_the_first_has_closed_stays_closed(path: Path) -> None:
    await holds(path, "one")
    path.with_name(PAYLOADS_KEY).unlink()
    await holds(path, "two", "three")  # a key of its own: the gate starts

    found = report(path)

    assert found.ok and (found.encrypted, found.unopened) == (3, 1)
    assert "1 of 3 encrypted payloads were not opened, the key here is not theirs" in found.limits
    assert list(payloads(path).values()) == [None, PLAIN, PLAIN]


async def test_two_processes_count_what_one_counts(path: Path, tmp_path: Path) -> None:
    await holds(path, *(f"hold-{number}" for number in range(12)))
    two = Cores(2, run=16, least=0)
    assert verify(path, NOW + 3600, cores=two) == verify(path, NOW + 3600, cores=Cores(1))
    assert verify(path, NOW + 3600, cores=two).encrypted == 12

    elsewhere = tmp_path / "elsewhere.key"
    path.with_name(PAYLOADS_KEY).rename(elsewhere)
    assert verify(path, NOW + 3600, cores=two).unopened == 12
    assert verify(path, NOW + 3600, cores=two, payloads_key=elsewhere).unopened == 0


ATTACKS: dict[str, Callable[[bytes, bytes], bytes]] = {
    "exchanged with another row": lambda _, other: other,
    "cut": lambda data, _: data[:-1],
    "cut to nothing": lambda _, __: b"",
    "cut to its beginning": lambda data, _: data[:21],
    "changed in the ciphertext": lambda data, _: data[:30] + bytes([data[30] ^ 1]) + data[31:],
    "said to be under another key": lambda data, _: data[:1] + bytes(8) + data[9:],
    "of another version": lambda data, _: b"\x02" + data[1:],
    "put there in the clear": lambda _, __: PLAIN,
}


@pytest.mark.parametrize("with_key", [True, False], ids=["with the key", "without the key"])
@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_row_that_was_tampered_with_is_named_and_stops_the_start(
    path: Path, attack: str, with_key: bool
) -> None:
    await holds(path, "one", "two")
    connection = tamper(path)
    (first, data), (_, other) = connection.execute(
        "SELECT seq, data FROM payload WHERE data IS NOT NULL ORDER BY seq"
    ).fetchall()
    connection.execute("UPDATE payload SET data = ? WHERE seq = ?", (ATTACKS[attack](data, other), first))
    put_back(connection)
    if not with_key:
        path.with_name(PAYLOADS_KEY).unlink()

    found = report(path)

    assert [(one.seq, one.code) for one in found.findings] == [(first, "payload")]
    with pytest.raises(SluiceError, match=f"entry {first}"):
        await SqliteLedger.open(path, clock=Clock())


async def test_whole_rows_with_their_salts_are_not_exchanged_unseen(path: Path) -> None:
    await holds(path, "one", "two")
    connection = tamper(path)
    rows = connection.execute("SELECT seq, salt, data FROM payload WHERE data IS NOT NULL").fetchall()
    for (seq, *_), (_, salt, data) in zip(rows, reversed(rows), strict=True):
        connection.execute("UPDATE payload SET salt = ?, data = ? WHERE seq = ?", (salt, data, seq))
    put_back(connection)

    assert codes(report(path)) == {"payload"}


ENCRYPT = Cipher.encrypt
FORGED: dict[str, Callable[[Cipher, int, bytes], bytes]] = {
    "for another entry": lambda cipher, seq, plain: ENCRYPT(cipher, seq + 1, plain),
    "of something else": lambda cipher, seq, plain: ENCRYPT(cipher, seq, plain + b" "),
}


@pytest.mark.parametrize("forged", FORGED)
async def test_a_ciphertext_that_the_entry_names_but_that_is_not_its_own_is_found_with_the_key(
    path: Path, tmp_path: Path, forged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written by somebody who has the log's key: every hash agrees, and only opening it shows it."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    monkeypatch.setattr(Cipher, "encrypt", FORGED[forged])
    ledger, _ = await SqliteLedger.open(path, key=state / KEY, encrypt=True, clock=Clock())
    seq = await ledger.queue(held("one"))
    await ledger.close()

    found = verified(path, NOW + 3600, payloads_key=state / PAYLOADS_KEY)

    assert [(one.seq, one.code) for one in found.findings] == [(seq, "payload")]
    assert report(path).unopened == 1 and report(path).ok  # the key is elsewhere
    with pytest.raises(SluiceError, match="does not verify"):
        await prune(path, seq, tmp_path / "old.jsonl", key=state / KEY, clock=Clock())


def _cut(file: Path) -> None:
    file.write_bytes(bytes(31))


def _opened(file: Path) -> None:
    file.chmod(0o640)


def _linked(file: Path) -> None:
    file.rename(file.with_name("aside"))
    file.symlink_to("aside")


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir(mode=0o700)


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


@pytest.mark.parametrize("spoil", [_cut, _opened, _linked, _folder, _pipe])
async def test_a_key_that_cannot_be_used_stops_the_start_only_where_it_is_needed(
    path: Path, spoil: Callable[[Path], None]
) -> None:
    await holds(path, "one")
    spoil(path.with_name(PAYLOADS_KEY))

    with pytest.raises(SluiceError) as refused:
        await SqliteLedger.open(path, encrypt=True, clock=Clock())
    assert PAYLOADS_KEY in str(refused.value) and refused.value.problems[0].fix

    await holds(path, "two", encrypt=False)
    assert counts(path) == (1, 1)


async def test_what_was_encrypted_is_erased_and_expires_like_anything_else(path: Path) -> None:
    await holds(path, "one", "two")
    hold, _ = await erase(path, path.with_name(KEY), "one", "asked for", "ada", clock=Clock())
    assert hold == "one" and counts(path) == (1, 0)

    ledger, _ = await SqliteLedger.open(path, encrypt=True, clock=Clock(NOW + 100))
    expiring = asyncio.create_task(expire(path, ledger, lambda: 1.0, clock=lambda: NOW + 1_000, every=0.01))
    async with asyncio.timeout(10):
        while payloads(path):
            await asyncio.sleep(0.01)
    expiring.cancel()
    await ledger.close()
    assert counts(path) == (0, 0)


async def test_what_an_edit_kept_is_erased_with_its_hold(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    await ledger.queue(held("one"))
    await ledger.queue(Draft("edited", {"hold": "one"}, DIGEST, CANARY.encode()))
    await ledger.close()

    await erase(path, path.with_name(KEY), "one", "asked for", "ada", clock=Clock())

    assert CANARY.encode() not in written(path)


async def test_an_encrypted_ledger_is_pruned_and_exported(path: Path, tmp_path: Path) -> None:
    await holds(path, "one", "two")
    export_to(path, tmp_path / "all.jsonl", "jsonl", Filter())
    assert verify(tmp_path / "all.jsonl", NOW + 3600).ok
    export_to(path, tmp_path / "all.html", "html", Filter())

    await prune(path, 5, tmp_path / "old.jsonl", key=path.with_name(KEY), clock=Clock())

    with reading(path) as connection:
        assert pruned_in(connection) is not None
    assert verify(tmp_path / "old.jsonl", NOW + 3600).ok and counts(path) == (1, 0)


def test_a_draft_does_not_say_by_itself_that_it_is_encrypted() -> None:
    assert "encrypted" in RESERVED
    with pytest.raises(UnfitError):
        check("held", {"encrypted": "0" * 64})


@given(plain=st.binary(max_size=500), seq=st.integers(0, 2**53))
def test_a_cipher_opens_what_it_has_closed_and_only_for_this_entry_ledger_and_key(
    plain: bytes, seq: int
) -> None:
    cipher = Cipher(b"k" * 32, "sluice/a")
    data = cipher.encrypt(seq, plain)

    assert cipher.decrypt(seq, data) == plain and cipher.encrypt(seq, plain) != data
    for other, at in (
        (cipher, seq + 1),
        (Cipher(b"k" * 32, "sluice/b"), seq),
        (Cipher(b"l" * 32, "sluice/a"), seq),
    ):
        with pytest.raises(CipherError):
            other.decrypt(at, data)


@given(data=st.binary(max_size=80), prefix=st.integers(0, 60))
def test_bytes_that_it_has_not_closed_are_an_error_and_nothing_else(data: bytes, prefix: int) -> None:
    cipher = Cipher(b"k" * 32, "sluice/a")
    with pytest.raises(CipherError):
        cipher.decrypt(1, cipher.encrypt(2, b"else")[:prefix] + data)


def test_a_gate_is_told_to_encrypt_and_the_commands_say_what_they_cannot_open(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    status, talk = up(state, "--encrypt-payloads")
    assert status == 0, talk
    assert (state / PAYLOADS_KEY).stat().st_mode & 0o777 == 0o600
    ledger = state / "ledger.db"
    assert [one["encrypt_payloads"] for one in said(ledger) if one["kind"] == "started"] == [True]
    asyncio.run(holds(ledger, "feedbeef"))

    verified = json.loads(sluice(state, "ledger", "verify", "--json").stdout)
    assert (verified["encrypted"], verified["unopened"]) == (1, 0) and len(verified["payloads_key"]) == 16
    drafted = sluice(state, "policy", "new", "--ledger", ledger, "feed")
    assert drafted.returncode == 0 and "note" in drafted.stdout and "encrypted" not in drafted.stderr

    (state / PAYLOADS_KEY).unlink()
    verified = json.loads(sluice(state, "ledger", "verify", "--json").stdout)
    assert verified["ok"] and (verified["unopened"], verified["payloads_key"]) == (1, None)
    assert "1 of 1 encrypted payloads were not opened" in sluice(state, "ledger", "verify").stderr
    drafted = sluice(state, "policy", "new", "--ledger", ledger, "feed")
    assert drafted.returncode == 0
    assert "1 payloads are encrypted, and their key is not here" in drafted.stderr
    assert sluice(state, "ledger", "show").returncode == 0

    (state / PAYLOADS_KEY).write_bytes(b"short")
    (state / PAYLOADS_KEY).chmod(0o600)
    assert up(state)[0] == 0
    status, talk = up(state, "--encrypt-payloads")
    assert status != 0 and "is no key of 32 bytes" in talk
