"""
Attacks on who decided: with plain SQL, the chain computed anew and the head signed with the stolen key.

Whoever can do all that can write any entry, and still cannot write a review.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.chain import Entry, Head, canonical, digest
from proxy.errors import SluiceError
from proxy.ledger.bundle import export_reviews
from proxy.ledger.enrolled import roll_of
from proxy.ledger.export import export_to
from proxy.ledger.files import TABLES
from proxy.ledger.read import Filter
from proxy.ledger.retention import erase, erase_in, prune
from proxy.ledger.seal import KEY, WRITE, origin, read_key, seal
from proxy.ledger.verify import Report, verify
from proxy.ledger.workers import Cores
from proxy.merkle import Tree
from proxy.note import Signer
from proxy.wire import Call, Verb

from .desks import ADA, BOB, enrol, office
from .making_keys import Key, ed25519, envelope, sk_ed25519, statement

type Entries = list[dict[str, Any]]


@pytest.fixture(scope="module")
def ada() -> Key:
    return ed25519()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, ada: Key) -> Path:
    """A ledger: ada and bob enrolled, one approval, one denial, one resume, then bob's key revoked."""
    folder = tmp_path_factory.mktemp("kept")

    async def write() -> None:
        bob = sk_ed25519()
        async with office(folder) as made:
            unsigned = await made.asked()
            await made.desk(ADA).review(made.hold.id, approves=False)
            await unsigned
            desk = made.desk(ADA, ada, "ada")
            await enrol(desk, ada)
            await enrol(desk, bob, "bob", BOB)
            for approves, body in ((True, b"amount=6"), (False, b"amount=7")):
                asked = await made.asked(body=body)
                await desk.review(made.hold.id, approves=approves, reason="because")
                await asked
            asked = await made.asked(body=b"amount=8")
            await made.desk(BOB, bob, "bob").review(made.hold.id, approves=True)
            await asked
            asked = await made.asked(body=b"amount=9")
            await desk.grant(await desk.offer(made.hold.id), seconds=60, uses=2)
            await asked
            await desk.pause()
            await desk.resume()
            await desk.take(Call(Verb.REVOKE_KEY, reviewer="bob", key=bob.line, reason="left"))

    asyncio.run(write())
    return folder


def bodies(ledger: Path) -> Entries:
    with sqlite3.connect(ledger) as connection:
        return [json.loads(body) for (body,) in connection.execute("SELECT body FROM entry ORDER BY seq")]


def rewritten(ledger: Path, entries: Entries) -> Report:
    """All of it written anew, every hash and the signed head too, as whoever holds the key can."""
    connection = sqlite3.connect(ledger, isolation_level=None)
    triggers = [text for text in TABLES if text.startswith("CREATE TRIGGER")]
    for trigger in triggers:
        connection.execute(f"DROP TRIGGER {trigger.split()[2]}")
    salts = {seq: rest for seq, *rest in connection.execute("SELECT seq, salt, data FROM payload")}
    connection.execute("DELETE FROM payload")
    connection.execute("DELETE FROM entry")
    tree, head, last = Tree(), Head(-1, bytes(32)), ""
    for seq, fields in enumerate(entries):
        was = fields.pop("was", fields["seq"])
        last = max(last, fields["time"])
        body = canonical({**fields, "seq": seq, "prev": head.hash.hex(), "time": last})
        entry = Entry(seq, body, digest(body))
        connection.execute("INSERT INTO entry VALUES (?, ?, ?)", entry)
        if was in salts and ("request" in fields or "payload" in fields):
            connection.execute("INSERT INTO payload VALUES (?, ?, ?)", (seq, *salts[was]))
        tree.add(entry.hash)
        head = Head(seq, entry.hash)
    for trigger in triggers:
        connection.execute(trigger)
    signer = Signer(origin(entries[0]["ledger"]), read_key(ledger.with_name(KEY)))
    connection.execute(WRITE, seal(signer, tree).row)
    connection.close()
    return verify(ledger, time.time())


def found(report: Report, *, about: str = "review_") -> list[str]:
    assert not report.ok
    codes = [finding.code for finding in report.findings]
    assert all(code.startswith(about) for code in codes), report.findings
    return codes


def of(entries: Entries, kind: str, number: int = 0, **wanted: Any) -> dict[str, Any]:
    return [
        one
        for one in entries
        if one["kind"] == kind and all(one.get(name) == value for name, value in wanted.items())
    ][number]


def test_a_ledger_with_signed_reviews_verifies_and_says_by_whom(ledger: Path) -> None:
    report = verify(ledger, time.time())
    assert report.ok, report.findings
    assert report.as_dict()["reviews"] == {"signed": {"ada": 3, "bob": 1}, "unsigned": 1}
    assert rewritten(ledger, bodies(ledger)).ok, "the attack alone changes nothing"


def test_many_cores_find_the_same(ledger: Path) -> None:
    entries = bodies(ledger)
    of(entries, "reviewed", 1)["answer"] = "deny"
    one = rewritten(ledger, entries)
    several = verify(ledger, time.time(), cores=Cores(count=2, least=1, run=4))
    assert several.findings == one.findings and several.reviews == one.reviews


def edited(kind: str, number: int, **changes: Any) -> Callable[[Entries], None]:
    def edit(entries: Entries) -> None:
        of(entries, kind, number).update(changes)

    return edit


def without(kind: str, number: int, *names: str) -> Callable[[Entries], None]:
    def edit(entries: Entries) -> None:
        for name in names:
            del of(entries, kind, number)[name]

    return edit


def exchanged(entries: Entries) -> None:
    """The proof of one review under another."""
    one, other = of(entries, "reviewed", 1), of(entries, "reviewed", 2)
    for name in ("statement", "signature"):
        one[name], other[name] = other[name], one[name]


def replayed(entries: Entries) -> None:
    """A genuine approval once more, for a hold that is made up around the same request."""
    for kind in ("held", "reviewed", "decided"):
        genuine = of(entries, kind, 1)
        entries.append({**genuine, "was": genuine["seq"], "time": entries[-1]["time"]})
    entries[-1]["id"] = "again"


def under_another_hold(entries: Entries) -> None:
    replayed(entries)
    for one in entries[-3:]:
        one["hold"] = "z" * 26


def by_an_unknown_key(entries: Entries) -> None:
    eve = ed25519()
    review = of(entries, "reviewed", 1)
    said = json.loads(review["statement"])
    data = canonical({**said, "key": eve.id})
    review.update(statement=data.decode(), signature=envelope(eve, data))


def for_another_purpose(entries: Entries) -> None:
    review = of(entries, "reviewed", 1)
    eve = ed25519()
    review["signature"] = envelope(eve, review["statement"].encode(), "file")


def enrolled_by_nobody(entries: Entries) -> None:
    eve = ed25519()
    about = {"reviewer": "eve", "uid": 0, "groups": ["finance"], "key": eve.line}
    said = statement("enrol", reviewer="eve", key=eve.id, ledger=entries[0]["ledger"], about=about)
    forged = {"statement": said.data.decode(), "signature": envelope(eve, said.data), "by": "eve"}
    entries.append({**of(entries, "enrolled"), **about, **forged, "time": entries[-1]["time"]})


def after_it_was_revoked(entries: Entries) -> None:
    """bob's genuine review, moved behind the revocation of his key."""
    review = of(entries, "reviewed", reviewer="bob")
    held = of(entries, "held", hold=review["hold"])
    decided = of(entries, "decided", hold=review["hold"])
    for one in (held, review, decided):
        entries.remove(one)
        entries.append(one)
    entries[:] = [one for one in entries if one.get("id") != decided["id"] or one is decided]


def a_rotation_without_the_old_key(entries: Entries) -> None:
    eve, ada = ed25519(), of(entries, "enrolled")
    about = {"reviewer": "ada", "old": ada["key"], "key": eve.line}
    said = statement("rotate-key", reviewer="ada", key=eve.id, ledger=entries[0]["ledger"], about=about)
    fields = {"kind": "rotated_key", **about, "by": "ada", "statement": said.data.decode()}
    common = {name: ada[name] for name in ("nonce", "seq", "prev")}
    entries.append({**common, **fields, "signature": envelope(eve, said.data), "time": entries[-1]["time"]})


def no_enrolment_at_all(entries: Entries) -> None:
    """As if nobody had ever been enrolled, so that nothing would need a signature."""
    entries[:] = [one for one in entries if one["kind"] not in ("enrolled", "revoked_key")]


def an_approval_out_of_nothing(entries: Entries) -> None:
    """A denied hold that was approved."""
    denial = of(entries, "reviewed", 2)
    decided = of(entries, "decided", hold=denial["hold"])
    denial["answer"] = "approve"
    decided.update(decision="approved")


def an_approval_without_a_review(entries: Entries) -> None:
    review = of(entries, "reviewed", 1)
    entries.remove(review)


def another_request(entries: Entries) -> None:
    """What was held and decided was another request than the one that was signed."""
    review, other = of(entries, "reviewed", 1), of(entries, "reviewed", 2)
    for kind in ("held", "decided"):
        one, source = (of(entries, kind, hold=which["hold"]) for which in (review, other))
        one.update({name: source[name] for name in ("request", "payload") if name in source})
        one["was"] = source["seq"]


def another_request_held(entries: Entries) -> None:
    """The same, but that what was decided is left as it was."""
    review, other = of(entries, "reviewed", 1), of(entries, "reviewed", 2)
    one, source = (of(entries, "held", hold=which["hold"]) for which in (review, other))
    one.update(request=source["request"], payload=source["payload"], was=source["seq"])


def not_a_yes_to_what_left(entries: Entries) -> None:
    review, other = of(entries, "reviewed", 1), of(entries, "reviewed", 2)
    one = of(entries, "decided", hold=review["hold"])
    one.update(request=other["request"], was=of(entries, "decided", hold=other["hold"])["seq"])


def a_resume_that_nobody_ordered(entries: Entries) -> None:
    entries.remove(of(entries, "ordered"))


ATTACKS: dict[str, tuple[Callable[[Entries], None], str]] = {
    "the answer edited": (edited("reviewed", 1, answer="deny"), "review_act"),
    "the reason edited": (edited("reviewed", 1, reason="Because."), "review_about"),
    "the reviewer edited": (edited("reviewed", 1, reviewer="bob"), "review_stranger"),
    "the person edited": (edited("reviewed", 1, person="uid:0"), "review_stranger"),
    "the signature left out": (without("reviewed", 1, "statement", "signature"), "review_unsigned"),
    "the signature broken": (edited("reviewed", 1, signature="x"), "review_form"),
    "two reviews exchanged": (exchanged, "review_act"),
    "a review replayed": (replayed, "review_spent"),
    "a review under another hold": (under_another_hold, "review_about"),
    "a review by a key of nobody": (by_an_unknown_key, "review_stranger"),
    "a signature for another purpose": (for_another_purpose, "review_namespace"),
    "an enrolment by nobody": (enrolled_by_nobody, "review_"),
    "a review with a revoked key": (after_it_was_revoked, "review_revoked"),
    "a forged rotation": (a_rotation_without_the_old_key, "review_"),
    "every enrolment taken out": (no_enrolment_at_all, "review_stranger"),
    "a denial made an approval": (an_approval_out_of_nothing, "review_act"),
    "an approval without a review": (an_approval_without_a_review, "review_unsigned"),
    "another request held and decided": (another_request, "review_about"),
    "another request held": (another_request_held, "review_about"),
    "another request let through": (not_a_yes_to_what_left, "review_about"),
    "an order left out": (a_resume_that_nobody_ordered, "review_unsigned"),
    "a grant used more often": (edited("granted", 0, uses=2_000), "review_unsigned"),
    "a grant for longer": (edited("granted", 0, until="2099-01-01T00:00:00.000000Z"), "review_unsigned"),
    "a grant of something else": (edited("granted", 0, grants="{}"), "review_unsigned"),
    "a grant by another reviewer": (edited("granted", 0, reviewer="bob"), "review_unsigned"),
    "the groups edited": (edited("enrolled", 0, groups=["root"]), "review_about"),
    "the account edited": (edited("enrolled", 1, uid=0), "review_about"),
    "the time of a review two days later": (
        edited("reviewed", 1, time="2099-01-01T00:00:00.000000Z"),
        "review_stale",
    ),
}


@pytest.mark.parametrize(("attack", "code"), ATTACKS.values(), ids=ATTACKS.keys())
def test_whoever_holds_the_logs_key_cannot_write_a_review(
    ledger: Path, attack: Callable[[Entries], None], code: str
) -> None:
    entries = bodies(ledger)
    attack(entries)
    report = rewritten(ledger, entries)
    codes = [finding.code for finding in report.findings]
    assert any(one.startswith(code) for one in codes), report.findings
    assert all(one.startswith(("review_", "time_ahead", "not_decided")) for one in codes), report.findings


def test_without_the_logs_key_the_chain_alone_shows_it(ledger: Path) -> None:
    with sqlite3.connect(ledger) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(
            "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), 'because', 'BECAUSE') AS BLOB)"
        )
    codes = {finding.code for finding in verify(ledger, time.time()).findings}
    assert {"hash", "prev"} <= codes


def test_a_forged_enrolment_starts_no_gate_and_is_no_signer(ledger: Path) -> None:
    entries = bodies(ledger)
    enrolled_by_nobody(entries)
    rewritten(ledger, entries)
    with pytest.raises(SluiceError, match="for certain"):
        roll_of(ledger)
    with pytest.raises(SluiceError, match="for certain"):
        export_reviews(ledger, of(entries, "reviewed", 1)["hold"], ledger.with_name("out"))


# Exports, erasing, pruning


def test_an_export_verifies_its_reviews_and_a_filtered_one_says_no_wrong(
    ledger: Path, tmp_path: Path
) -> None:
    whole, some = tmp_path / "whole.jsonl", tmp_path / "some.jsonl"
    export_to(ledger, whole, "jsonl", Filter())
    export_to(ledger, some, "jsonl", Filter(kinds=frozenset({"reviewed", "decided"})))
    report = verify(whole, time.time())
    assert report.ok and report.as_dict()["reviews"] == {"signed": {"ada": 3, "bob": 1}, "unsigned": 1}
    assert verify(some, time.time()).ok


def test_without_a_gate_nothing_is_erased_where_reviewers_are_enrolled(ledger: Path) -> None:
    review = of(bodies(ledger), "reviewed", 1)
    with pytest.raises(SluiceError, match="signed by one"):
        asyncio.run(erase(ledger, ledger.with_name(KEY), review["hold"], "asked", "me", clock=time.time))


def test_what_a_reviewer_has_erased_takes_the_salt_and_leaves_the_proof(ledger: Path, ada: Key) -> None:
    review = of(bodies(ledger), "reviewed", 1)

    async def asked() -> None:
        async with office(ledger.parent) as made:
            made.board.erase = lambda hold, reason, by: erase_in(ledger, made.ledger, hold, reason, by)
            await made.desk(ADA, ada, "ada").erase(review["hold"], "asked")

    asyncio.run(asked())
    report = verify(ledger, time.time())
    assert report.ok, report.findings
    with sqlite3.connect(ledger) as connection:
        assert not connection.execute("SELECT 1 FROM payload WHERE seq = ?", (review["seq"],)).fetchall()


async def test_what_is_still_open_is_not_erased_because_its_salt_would_come_again(tmp_path: Path) -> None:
    async with office(tmp_path) as made:
        made.board.erase = lambda hold, reason, by: erase_in(made.path, made.ledger, hold, reason, by)
        desk, asked = made.desk(ADA), await made.asked()
        hold = made.hold.id
        await made.settled()
        with pytest.raises(SluiceError, match="still open"):
            await desk.erase(hold, "asked")
        await desk.review(hold, approves=False)
        await asked
        await made.settled()
        await desk.erase(hold, "asked")
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        assert connection.execute("SELECT count(*) FROM payload").fetchone() == (0,)
    assert verify(tmp_path / "ledger.db", time.time()).ok


def test_after_pruning_the_roll_is_still_known(ledger: Path, tmp_path: Path) -> None:
    entries = bodies(ledger)
    review = of(entries, "reviewed", 2)
    before = of(entries, "held", hold=review["hold"])["seq"]
    asyncio.run(prune(ledger, before, tmp_path / "archive.jsonl", key=ledger.with_name(KEY), clock=time.time))
    report = verify(ledger, time.time())
    assert report.ok, report.findings
    assert report.as_dict()["reviews"] == {"signed": {"ada": 2, "bob": 1}, "unsigned": 0}
    assert set(roll_of(ledger).people) == {"ada", "bob"} and roll_of(ledger).required
    for kind in ({"hold": review["hold"]}, {"reviewer": "bob"}):
        hold = of(entries, "reviewed", **kind)["hold"]
        [one] = export_reviews(ledger, hold, tmp_path / hold)
        assert shutil.which("ssh-keygen") is None or checked(one.command, tmp_path / hold)


def checked(command: str, folder: Path) -> bool:
    return subprocess.run(command, shell=True, cwd=folder, capture_output=True).returncode == 0


def test_only_signed_answers_are_exported_for_openssh(ledger: Path, tmp_path: Path) -> None:
    entries = bodies(ledger)
    with pytest.raises(SluiceError, match="nobody signed"):
        export_reviews(ledger, of(entries, "reviewed", 0)["hold"], tmp_path / "none")
    with pytest.raises(SluiceError, match="were answered"):
        export_reviews(ledger, "", tmp_path / "none")
    folder = tmp_path / "out"
    review = of(entries, "reviewed", reviewer="bob")
    [one] = export_reviews(ledger, review["hold"], folder)
    assert one.reviewer == "bob" and one.file.read_text() == review["statement"]
    if shutil.which("ssh-keygen") is not None:
        assert checked(one.command, folder)
        assert not checked(one.command.replace("-I bob", "-I ada"), folder)
        assert not checked(one.command.replace("review@sluice", "file"), folder)
        later = re.sub(r"verify-time=\d+Z", "verify-time=20990101000000Z", one.command)
        assert not checked(later, folder), "his key counts no more"
    allowed = (folder / "allowed_signers").read_text()
    assert allowed.count('namespaces="review@sluice"') == 2 and "valid-before" in allowed
    with pytest.raises(SluiceError, match="cannot be made"):
        export_reviews(ledger, review["hold"], folder)


@pytest.mark.skipif(
    shutil.which("jq") is None or shutil.which("ssh-keygen") is None, reason="jq or ssh-keygen is not there"
)
def test_a_line_of_an_export_has_the_two_files_for_openssh(ledger: Path, tmp_path: Path) -> None:
    """As docs/reviewers.md says, and nothing of Sluice but the keys that count."""
    out, folder = tmp_path / "out.jsonl", tmp_path / "review"
    export_to(ledger, out, "jsonl", Filter())
    review = of(bodies(ledger), "reviewed", 1)
    [one] = export_reviews(ledger, review["hold"], folder)
    line = next(line for line in out.read_text().splitlines() if json.loads(line) == review)
    for file in (one.file, one.file.with_name(f"{one.file.name}.sig")):
        file.unlink()
    (folder / "line").write_text(line)
    name = one.file.name
    assert checked(f"jq -j .statement line > {name} && jq -r .signature line > {name}.sig", folder)
    assert checked(one.command, folder)
    (folder / "line").write_text(line.replace("because", "BECAUSE"))
    assert checked(f"jq -j .statement line > {name}", folder)
    assert not checked(one.command, folder)
