"""What is let go of is gone, an entry says so, and everything else still verifies."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from ledgers import (
    DIGEST,
    NOW,
    Clock,
    codes,
    completed,
    decided,
    fill,
    put_back,
    said,
    story,
    tamper,
    until,
    verified,
)

from proxy.chain import Findings, digest
from proxy.errors import Exit, SluiceError
from proxy.ledger import Draft
from proxy.ledger.export import export_to
from proxy.ledger.payload import Payloads
from proxy.ledger.read import Filter
from proxy.ledger.removal import erasures
from proxy.ledger.retention import erase, erase_in, expire, prune
from proxy.ledger.seal import KEY
from proxy.ledger.sqlite import SqliteLedger
from proxy.ledger.verify import verify
from proxy.ledger.workers import Cores
from proxy.note import Key

CANARY = b"the secret of a customer, 4f1c9a"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "ledger.db"


def held(hold: str, payload: bytes = CANARY * 20) -> Draft:
    return Draft("held", {"hold": hold, "id": hold, "agent": "a"}, DIGEST, payload)


def report(path: Path):  # type: ignore[no-untyped-def]
    return verified(path, NOW + 90 * 86_400, keys=[Key.parse(str(said(path)[0]["vkey"]))])


def found(path: Path) -> bool:
    return any(CANARY in file.read_bytes() for file in path.parent.glob("ledger.db*"))


async def holds(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    for hold in ("one", "two"):
        await ledger.queue(held(hold, CANARY * 400 if hold == "one" else b"other"))
        await ledger.queue(decided(hold, "approved", hold=hold, by="reviewer"))
        await ledger.queue(completed(hold))
    await ledger.close()


async def test_what_was_erased_is_gone_from_the_disk_and_the_chain_says_why(path: Path) -> None:
    await holds(path)
    assert found(path)
    before = report(path)
    assert await erase(path, path.with_name(KEY), "on", "art. 17", "bob", clock=Clock(NOW + 60)) == ("one", 2)
    assert not found(path)
    after = report(path)
    assert (after.findings, after.level) == ((), "signed")
    assert after.entries == before.entries + 3
    (entry,) = [line for line in said(path) if line["kind"] == "erased"]
    assert (entry["reason"], entry["by"], entry["hold"], entry["entries"]) == (
        "art. 17",
        "bob",
        "one",
        [2, 3],
    )
    with pytest.raises(SluiceError, match="nothing is kept any more") as caught:
        await erase(path, path.with_name(KEY), "one", "again", "bob", clock=Clock(NOW + 120))
    assert caught.value.exit is Exit.NO


@pytest.mark.parametrize("hold", ["", "three", "o' OR 1=1"])
async def test_a_hold_that_is_not_there_is_not_erased(path: Path, hold: str) -> None:
    await holds(path)
    with pytest.raises(SluiceError, match="no hold"):
        await erase(path, path.with_name(KEY), hold, "x", "bob", clock=Clock(NOW + 60))
    assert found(path)


async def test_a_prefix_of_two_holds_erases_neither(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    for hold in ("same-1", "same-2"):
        await ledger.queue(held(hold))
    await ledger.close()
    with pytest.raises(SluiceError, match="2 holds begin"):
        await erase(path, path.with_name(KEY), "same", "x", "bob", clock=Clock(NOW + 60))
    assert found(path)


async def test_a_gate_that_runs_keeps_its_ledger_to_itself(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    await ledger.queue(held("one"))
    with pytest.raises(SluiceError, match="another process"):
        await erase(path, path.with_name(KEY), "one", "x", "bob", clock=Clock(NOW + 60))
    await ledger.close()


async def test_a_gate_that_runs_erases_for_whoever_may_decide(path: Path) -> None:
    from proxy.ledger.retention import erase_in

    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    await ledger.queue(held("one"))
    await ledger.queue(held("two", b"kept"))
    with pytest.raises(SluiceError, match="still open"):
        await erase_in(path, ledger, "one", "asked for", "bob")
    ended = {"id": "one", "hold": "one", "decision": "denied", "by": "reviewer"}
    await ledger.queue(Draft("decided", ended))
    assert await erase_in(path, ledger, "one", "asked for", "bob") == ("one", 1)
    await ledger.queue(Draft("note", {}))
    assert not found(path)
    with pytest.raises(SluiceError, match="nothing is kept"):
        await erase_in(path, ledger, "one", "again", "bob")
    await ledger.close()
    assert (report(path).findings, report(path).level) == ((), "signed")


async def test_a_payload_that_vanished_without_an_erasure_is_missing(path: Path) -> None:
    await holds(path)
    await erase(path, path.with_name(KEY), "one", "x", "bob", clock=Clock(NOW + 60))
    connection = tamper(path)
    connection.execute("DELETE FROM payload WHERE seq = 5")
    put_back(connection)
    assert codes(report(path)) == {"payload_missing"}


async def test_a_payload_that_is_there_after_its_erasure_was_not_erased(path: Path) -> None:
    await holds(path)
    connection = tamper(path)
    row = connection.execute("SELECT * FROM payload WHERE seq = 2").fetchone()
    put_back(connection)
    await erase(path, path.with_name(KEY), "one", "x", "bob", clock=Clock(NOW + 60))
    connection = tamper(path)
    connection.execute("INSERT INTO payload VALUES (?, ?, ?)", row)
    put_back(connection)
    assert codes(report(path)) == {"payload_not_erased"}


@pytest.mark.parametrize(
    "fields",
    [{}, {"before": 0}, {"before": 10_000}, {"before": "x"}, {"entries": [9_999]}, {"entries": ["x"]}],
)
async def test_an_erasure_that_does_not_say_what_was_erased_is_found(path: Path, fields) -> None:  # type: ignore[no-untyped-def]
    from test_ledger_verify import append

    await holds(path)
    connection = tamper(path)
    append("erased", **fields)(connection)
    put_back(connection)
    assert "field" in codes(verified(path, NOW + 3600))


async def test_an_erasure_that_says_it_erased_itself_is_found(path: Path) -> None:
    from test_ledger_verify import append

    await holds(path)
    at = len(said(path))
    connection = tamper(path)
    append("erased", before=at + 1)(connection)
    put_back(connection)
    assert "field" in codes(verified(path, NOW + 3600))


@pytest.mark.parametrize("ends", [None, "pending"])
async def test_what_a_hold_keeps_is_not_erased_while_it_can_be_answered(path: Path, ends: str | None) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    await ledger.queue(held("one"))
    if ends is not None:
        await ledger.queue(decided("one", ends, hold="one"))
    with pytest.raises(SluiceError, match="still open"):
        await erase_in(path, ledger, "one", "x", "bob")
    await ledger.queue(decided("one", "denied", hold="one", by="reviewer"))
    assert (await erase_in(path, ledger, "one", "x", "bob"))[0] == "one"
    await ledger.close()
    assert not found(path)


async def test_payloads_expire_while_the_gate_runs_and_a_reader_is_not_in_the_way_for_long(
    path: Path,
) -> None:
    import asyncio

    ledger, _ = await SqliteLedger.open(path, clock=(clock := Clock()))
    for number in range(5):
        await ledger.queue(held(f"old-{number}"))
    clock.now += 31 * 86_400
    await ledger.queue(held("new", b"kept"))
    task = asyncio.create_task(expire(path, ledger, lambda: 30 * 86_400, clock=clock, every=0.01))
    await until(lambda: any(line["kind"] == "erased" for line in said(path)))
    task.cancel()
    await ledger.queue(Draft("note", {}))
    assert not found(path)
    await ledger.close()
    erased = [line for line in said(path) if line["kind"] == "erased"]
    assert [(line["before"], line["by"]) for line in erased] == [(7, "retention")]
    checked = report(path)
    assert (checked.findings, checked.level) == ((), "signed")
    with tamper(path) as connection:
        assert connection.execute("SELECT seq FROM payload").fetchall() == [(7,)]


async def test_an_erasure_reaches_up_to_the_entry_that_it_names_and_no_further(path: Path) -> None:
    """Of three holds at entries 2, 5 and 8 it erases the first two; whoever removes the third is found."""
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    for hold in ("one", "two", "three"):
        for draft in (held(hold), decided(hold, "approved", hold=hold, by="reviewer"), completed(hold)):
            await ledger.queue(draft)
    await ledger.queue(Draft("erased", {"before": 8, "reason": "x", "by": "retention"}))
    await ledger.close()
    assert report(path).ok
    connection = tamper(path)
    connection.execute("DELETE FROM payload WHERE seq = 8")
    put_back(connection)
    found = [(finding.seq, finding.code) for finding in report(path).findings]
    assert found == [(8, "payload_missing")]


@pytest.mark.parametrize("seq", [-(2**63), -1, 8, 1_000, 2**63 - 1])
async def test_what_lies_beside_no_entry_is_found_wherever_it_is(path: Path, seq: int) -> None:
    await holds(path)
    assert len(said(path)) == 9, "the last entry is number 8, beside which nothing lies"
    connection = tamper(path)
    connection.execute("INSERT INTO payload VALUES (?, zeroblob(16), x'00')", (seq,))
    put_back(connection)
    assert [finding.seq for finding in report(path).findings if "orphan" in finding.code] == [seq]


async def test_what_is_listed_where_another_erasure_ends_has_to_be_gone_too(path: Path) -> None:
    await holds(path)
    ledger, _ = await SqliteLedger.open(path, clock=Clock(NOW + 60))
    await ledger.queue(Draft("erased", {"before": 3, "reason": "x", "by": "retention"}))
    await ledger.queue(Draft("erased", {"entries": [3], "reason": "x", "by": "bob"}))
    await ledger.close()
    assert report(path).ok
    connection = tamper(path)
    connection.execute("INSERT INTO payload VALUES (3, zeroblob(16), NULL)")
    put_back(connection)
    found = [(finding.seq, finding.code) for finding in report(path).findings]
    assert found == [(3, "payload_not_erased")]


def test_all_that_expired_is_one_run_and_what_is_kept_ends_it() -> None:
    payloads = Payloads(findings := Findings(), None)
    for seq in range(1, 1_000):
        payloads.check(seq, {"request": "0" * 64} if seq % 3 else {}, None, None)
    payloads.check(1_000, {"request": "0" * 64}, bytes(16), None)
    payloads.check(1_001, {"request": "0" * 64}, None, None)
    assert payloads.gone == [(1, 998), (1_001, 1_001)]
    assert (payloads.last_gone, findings.count) == (1_001, 0)


@pytest.mark.parametrize("cores", [None, Cores(2, run=256, least=0)])
async def test_what_a_gate_erases_while_it_is_verified_is_not_missing(
    path: Path, cores: Cores | None
) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    await asyncio.gather(*(ledger.queue(draft) for draft in story(600)))
    loop, since = asyncio.get_running_loop(), ledger.head[0]

    async def erased() -> None:
        await ledger.queue(Draft("erased", {"before": 1_500, "reason": "x", "by": "retention"}))

    def erase_once(*_: int) -> None:
        if ledger.head[0] == since:
            asyncio.run_coroutine_threadsafe(erased(), loop).result(10)

    report = await asyncio.to_thread(verify, path, NOW + 3600, cores=cores, progress=erase_once)

    assert (report.findings, report.live, report.sealed) == ((), True, True)
    assert report.entries == ledger.head[0] + 1, "the erasure was read, too"
    connection = tamper(path)
    connection.execute("DELETE FROM payload WHERE seq = (SELECT max(seq) FROM payload)")
    put_back(connection)
    report = await asyncio.to_thread(verify, path, NOW + 3600, cores=cores)
    assert [finding.code for finding in report.findings] == ["payload_missing"]
    await ledger.close()


async def test_many_erasures_are_several_entries() -> None:
    drafts = erasures(range(1, 5_000), reason="r", by="b")
    assert [len(draft.fields["entries"]) for draft in drafts] == [2_000, 2_000, 999]  # type: ignore[arg-type]


async def test_what_was_pruned_is_in_its_archive_and_both_verify(path: Path, tmp_path: Path) -> None:
    await fill(path, 12)
    before = said(path)
    archived = tmp_path / "archive.jsonl"
    digest_ = await prune(path, 20, archived, key=path.with_name(KEY), clock=Clock(NOW + 60))
    assert hashlib.sha256(archived.read_bytes()).digest() == digest_
    kept = said(path)
    assert [line["seq"] for line in kept[:3]] == [0, 20, 21]
    assert kept[1 : len(before) - 19] == before[20:]
    (pruned,) = [line for line in kept if line["kind"] == "pruned"]
    assert (pruned["before"], pruned["archive"], pruned["name"]) == (20, digest_.hex(), "archive.jsonl")
    checked = report(path)
    assert (checked.findings, checked.level, checked.pruned) == ((), "signed", 19)
    assert "19 entries were pruned" in checked.limits
    archive = verified(archived, NOW + 3600)
    assert archive.ok
    assert archive.entries == 20
    await fill(path, 3, clock=Clock(NOW + 120))
    assert report(path).ok


async def test_a_pruned_ledger_is_pruned_again_exported_and_anchored(path: Path, tmp_path: Path) -> None:
    from proxy.witness.files import FilePlace, FileWitness

    witness = FileWitness(tmp_path / "notes")
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    for number in range(30):
        await ledger.queue(Draft("note", {"n": number}))
        witness.send([ledger.seal])
    await ledger.close()
    for at, before in enumerate((10, 25), 1):
        await prune(
            path, before, tmp_path / f"{at}.jsonl", key=path.with_name(KEY), clock=Clock(NOW + 60 * at)
        )
        assert verified(tmp_path / f"{at}.jsonl", NOW + 3600).findings == ()
    against = [FilePlace(witness.path)]
    checked = verified(path, NOW + 3600, against=against)
    assert (checked.findings, checked.level, checked.pruned) == ((), "anchored", 24)
    for wanted in (Filter(), Filter(kinds=frozenset({"note"}))):
        out = tmp_path / "out.jsonl"
        export_to(path, out, "jsonl", wanted)
        exported = verified(out, NOW + 3600, against=against)
        assert (exported.findings, exported.level, exported.pruned) == ((), "anchored", 24)
    ledger, _ = await SqliteLedger.open(path, against=against, clock=Clock(NOW + 600))
    await ledger.close()


@pytest.mark.parametrize("before", [-1, 0, 1, 10_000])
async def test_there_are_places_where_a_ledger_cannot_begin_again(
    path: Path, tmp_path: Path, before: int
) -> None:
    await fill(path, 12)
    with pytest.raises(SluiceError, match="no place"):
        await prune(path, before, tmp_path / "a.jsonl", key=path.with_name(KEY), clock=Clock(NOW + 60))
    assert not (tmp_path / "a.jsonl").exists()


async def test_a_broken_ledger_is_not_pruned_and_an_archive_is_not_written_over(
    path: Path, tmp_path: Path
) -> None:
    await fill(path, 12)
    (tmp_path / "there").write_text("x")
    with pytest.raises(SluiceError, match="is there already"):
        await prune(path, 20, tmp_path / "there", key=path.with_name(KEY), clock=Clock(NOW + 60))
    connection = tamper(path)
    connection.execute("DELETE FROM payload WHERE seq = 2")
    put_back(connection)
    with pytest.raises(SluiceError, match="does not verify"):
        await prune(path, 20, tmp_path / "a.jsonl", key=path.with_name(KEY), clock=Clock(NOW + 60))


async def test_entries_taken_off_the_beginning_are_not_passed_off_as_pruned(
    path: Path, tmp_path: Path
) -> None:
    await fill(path, 12)
    connection = tamper(path)
    connection.execute("DELETE FROM entry WHERE seq > 0 AND seq < 10")
    connection.execute("DELETE FROM payload WHERE seq < 10")
    put_back(connection)
    assert {"seq", "prev"} <= codes(verified(path, NOW + 3600))
    await fill(tmp_path / "whole.db", 12)
    out = tmp_path / "out.jsonl"
    export_to(tmp_path / "whole.db", out, "jsonl")
    lines = out.read_bytes().splitlines(keepends=True)
    from proxy.chain import Head, canonical
    from proxy.ledger.removal import Pruned
    from proxy.merkle import Tree

    tree = Tree()
    for line in lines[:10]:
        tree.add(digest(line.rstrip(b"\n")))
    gone = Pruned(
        10, Head(9, digest(lines[9].rstrip(b"\n"))), digest(lines[0].rstrip(b"\n")), tuple(tree.peaks)
    )
    forged = canonical({**gone.fields, "kind": "omitted"}) + b"\n"
    out.write_bytes(b"".join([lines[0], forged, *lines[10:]]))
    assert codes(verified(out, NOW + 3600)) == {"omitted"}
