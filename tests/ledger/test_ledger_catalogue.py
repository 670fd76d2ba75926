"""
Every attack on the record that we know of, and the test that performs it.

A name on the right is a test, or an attack in a table of them, in that file. What is here and
nowhere else is below the tables.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from ledgers import NOW, codes, fill, put_back, tamper, verified
from test_ledger_levels import Kit, kit, whole

from proxy import chain
from proxy.ledger.export import export_to
from proxy.ledger.prove import checkpoint
from proxy.ledger.sqlite import SqliteLedger
from proxy.ledger.verify import verify
from proxy.signing import ProofError
from proxy.signing.statement import Statement
from proxy.witness.files import FilePlace

__all__ = ["kit", "whole"]
TESTS = Path(__file__).parent.parent
FILE, LEVEL = "ledger/test_ledger_verify.py", "ledger/test_ledger_levels.py"
ALONE, HERE, WRITING = (
    "ledger/test_ledger_alone.py",
    "ledger/test_ledger_catalogue.py",
    "ledger/test_ledger_writing.py",
)
REVIEW, NOTE = "signing/test_review_attacks.py", "test_note.py"

ON_THE_FILE: Mapping[str, tuple[str, str]] = {
    "1 body": (FILE, "flip a bit in a body"),
    "2 hash": (FILE, "flip a bit in a hash"),
    "3 a column for the time": (FILE, "an extra column"),
    "4 a column for the kind": (FILE, "an extra column"),
    "5 a column for the request": (FILE, "an extra column"),
    "6 a column for the agent": (FILE, "an extra column"),
    "7 a column for the decision": (FILE, "an extra column"),
    "8 NULL where something was": (FILE, "empty a payload"),
    "9 data of a payload": (FILE, "flip a bit of a payload"),
    "10 salt of a payload": (FILE, "flip a bit of a salt"),
    "11 payload deleted": (FILE, "delete a payload"),
    "12 payloads swapped": (FILE, "swap two payloads"),
    "13 payload added": (FILE, "a payload for an entry without one"),
    "14 entries swapped": (FILE, "swap two entries"),
    "15 entry deleted": (FILE, "delete an entry and its payload"),
    "16 and the rest numbered anew": (FILE, "delete an entry and number the rest anew"),
    "17 genesis deleted": (FILE, "delete the genesis"),
    "18 forged entry appended": (LEVEL, "append a forged entry"),
    "19 forged entry inserted": (LEVEL, "insert one and chain all anew"),
    "20 negative number": (FILE, "a negative number"),
    "21 newest cut": (LEVEL, "cut the newest entries off"),
    "22 cut below a checkpoint": (LEVEL, "cut below the newest checkpoint"),
    "23 and the checkpoints deleted": (
        LEVEL, "test_a_place_that_keeps_nothing_of_this_ledger_is_no_reason_to_trust_it"),
    "24 all but the genesis": (LEVEL, "cut everything but the genesis"),
    "25 cut and gone on with": (LEVEL, "cut, and append forged entries"),
    "26 cut to the newest checkpoint": (LEVEL, "cut to the newest checkpoint"),
    "27 edited with its hash": (FILE, "edit an entry and its hash"),
    "28 edited, all chained anew": (LEVEL, "edit an entry and chain all anew"),
    "29 the newest edited": (LEVEL, "edit one of the newest and chain anew"),
    "30 signed with the stolen key": (LEVEL, "edit, chain anew and sign with the stolen key"),
    "31 another ledger, own key": (LEVEL, "another ledger with its own key"),
    "32 another ledger, stolen key": (LEVEL, "another ledger signed with the stolen key"),
    "33 backup put back": (LEVEL, "an older copy put back"),
    "34 fork": (LEVEL, "a fork that goes on honestly"),
    "35 checkpoints deleted": (
        LEVEL, "test_a_place_that_keeps_nothing_of_this_ledger_is_no_reason_to_trust_it"),
    "36 head deleted": (LEVEL, "the head taken away"),
    "37 another key of that name": (LEVEL, "the head signed by another key of that name"),
    "38 checkpoint of another size": (LEVEL, "a head of another size"),
    "39 note written in another way": (LEVEL, "a note with other base64"),
    "40 key twice, other value": (FILE, "a key twice, another value"),
    "41 key twice, same value": (FILE, "a key twice, the same value"),
    "42 white space": (FILE, "a space"),
    "43 1.0": (FILE, "1 as 1.0"),
    "44 1E400": (FILE, "1E400"),
    "45 escape in a key": (FILE, "an escaped key"),
    "46 normal form": (FILE, "another normal form"),
    "47 no UTF-8, half a pair": (FILE, "half a surrogate pair"),
    "48 text, not strict": (FILE, "text in place of bytes"),
    "49 integer over 2^53": (FILE, "an integer beyond 2^53"),
    "50 table": (FILE, "an extra table"),
    "51 view": (FILE, "a view in front of the entries"),
    "52 trigger": (FILE, "a trigger that deletes"),
    "53 triggers dropped": (FILE, "test_triggers_that_were_dropped_are_found"),
    "54 column": (FILE, "an extra column"),
    "55 index": (FILE, "an extra index"),
    "56 version": (FILE, "another version"),
    "57 another b-tree": (HERE, "test_a_table_that_begins_at_another_page_is_found"),
    "58 byte in a page": (FILE, "test_bytes_of_the_file_that_were_harmed_are_found"),
    "59 garbage behind": (FILE, "test_bytes_of_the_file_that_were_harmed_are_found"),
    "60 half the file": (FILE, "test_bytes_of_the_file_that_were_harmed_are_found"),
    "61 planted log of writes": (LEVEL, "a log of writes that was planted"),
    "62 planted journal": (FILE, "test_a_planted_journal_is_not_played_back"),
    "63 dated earlier": (FILE, "an entry dated earlier"),
    "64 dated later": (FILE, "an entry dated in the future"),
    "65 outcome of nothing": (FILE, "an outcome without a decision"),
    "66 second genesis": (FILE, "a second genesis"),
}  # fmt: skip

ON_AN_EXPORT: Mapping[str, tuple[str, str]] = {
    "X1 field": (FILE, "edit a field"),
    "X2 line removed": (FILE, "remove a line"),
    "X3 line twice": (FILE, "a line twice"),
    "X4 lines swapped": (FILE, "swap two lines"),
    "X5 end cut": (FILE, "cut the end"),
    "X6 end cut, count corrected": (FILE, "cut the end, correct the count"),
    "X7 beginning cut": (FILE, "cut the beginning"),
    "X8 CRLF": (FILE, "CRLF"),
    "X9 byte order mark": (FILE, "a byte order mark"),
    "X10 normal form": (HERE, "test_another_normal_form_in_an_export_is_found"),
    "X11 escape": (FILE, "an escape"),
    "X12 spaces": (FILE, "spaces"),
    "X13 checkpoint of another ledger": (HERE, "test_a_checkpoint_of_another_ledger_anchors_no_export"),
    "X14 invented hash": (FILE, "an invented hash"),
    "X15 frontier": (ALONE, "test_what_was_pruned_is_what_the_entry_about_it_says"),
}

OF_OTHER_KINDS: Mapping[str, tuple[str, str]] = {
    "forged rotation of the log's key": (
        "ledger/test_ledger_rekey.py", "test_a_key_that_the_one_before_has_not_signed_is_found"),
    "forged rotation of a reviewer's key": (REVIEW, "a forged rotation"),
    "cosignature of another log": (
        NOTE, "test_a_witness_names_the_time_it_saw_a_checkpoint_and_signs_that_too"),
    "revoked reviewer": (REVIEW, "a review with a revoked key"),
    "signature for another purpose": (REVIEW, "a signature for another purpose"),
    "signature of another principal": (REVIEW, "test_only_signed_answers_are_exported_for_openssh"),
    "signature after valid-before": (REVIEW, "test_only_signed_answers_are_exported_for_openssh"),
    "signer who was never enrolled": (REVIEW, "test_a_forged_enrolment_starts_no_gate_and_is_no_signer"),
    "statement for another hold": (REVIEW, "a review under another hold"),
    "statement for another order": ("signing/test_order_attacks.py", "another hold erased"),
    "other bytes than were approved": (REVIEW, "another request let through"),
    "other bytes than were edited": (
        "edit/test_desk_edits.py",
        "test_an_edit_counts_for_the_request_that_was_taken_and_the_one_that_was_confirmed"),
    "sqlite_sequence": (FILE, "numbers that count by themselves"),
    "the last of all rowids": (FILE, "the last of all numbers"),
    "WITHOUT ROWID": (FILE, "no rowids"),
    "UTF-16": (FILE, "text in UTF-16"),
    "attached shadow": (FILE, "test_a_table_of_another_file_is_not_looked_at"),
    "symbolic link": (WRITING, "_symlink"),
    "a link in an auditor's hands": (
        "ledger/test_ledger_reading.py", "test_a_link_leads_to_all_that_belongs_to_the_ledger"),
    "hard link": (WRITING, "_hard_link"),
    "names that differ by case": ("signing/test_roll.py", "a name that is none"),
    "note with too many signatures": (NOTE, "test_what_is_no_note_is_refused"),
    "note with CR": (NOTE, "test_what_is_no_note_is_refused"),
    "empty origin, size 01": (NOTE, "test_what_is_no_checkpoint_is_refused"),
    "file names out of an export": (HERE, "test_a_reviewers_name_is_no_path"),
    "formula in a cell": ("ledger/test_ledger_reading.py", "test_a_cell_that_would_be_a_formula_is_text"),
    "sizes beyond any machine": (HERE, "test_a_number_of_entries_beyond_any_machine_costs_nothing"),
    "size of a proof beyond any machine": (
        "ledger/test_ledger_prove.py", "test_a_size_no_machine_could_hold_costs_nothing"),
    "any byte of the file": (FILE, "test_any_byte_that_was_changed_is_found_or_changes_no_entry"),
    "any byte of an export": (ALONE, "test_two_verifiers_agree_on_every_byte_that_was_changed"),
}  # fmt: skip


@cache
def _names(file: str) -> frozenset[str]:
    """The functions of a file, and the keys of its tables."""
    found = set()
    for node in ast.walk(ast.parse((TESTS / file).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Dict):
            found |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
    return frozenset(map(str, found))


@pytest.mark.parametrize(
    ("attack", "where"), [*ON_THE_FILE.items(), *ON_AN_EXPORT.items(), *OF_OTHER_KINDS.items()]
)
def test_each_attack_that_is_known_is_performed(attack: str, where: tuple[str, str]) -> None:
    file, name = where
    assert name in _names(file)


def test_none_is_left_out() -> None:
    assert [name.split()[0] for name in ON_THE_FILE] == [str(number) for number in range(1, 67)]
    assert [name.split()[0] for name in ON_AN_EXPORT] == [f"X{number}" for number in range(1, 16)]


# -- what is performed here


@pytest.mark.parametrize(("table", "other"), [("payload", "head"), ("head", "payload"), ("entry", "payload")])
async def test_a_table_that_begins_at_another_page_is_found(kit: Kit, table: str, other: str) -> None:
    """The schema reads as it must, and what is looked up lies elsewhere."""
    connection = tamper(kit.path)
    put_back(connection)
    connection = sqlite3.connect(kit.path, isolation_level=None)
    connection.execute("PRAGMA writable_schema=ON")
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (other,)).fetchone()
    connection.execute("UPDATE sqlite_schema SET rootpage = ? WHERE name = ?", (page, table))
    connection.execute("PRAGMA writable_schema=RESET")
    connection.close()
    for level in ("chain", "signed", "anchored"):
        assert "sqlite" in codes(kit.report(level))
    kit.path.chmod(0o600)
    with pytest.raises(Exception, match=r"ledger|database"):
        await SqliteLedger.open(kit.path)


def alone(*words: object) -> int:
    script = TESTS.parent / "scripts" / "verify_export.py"
    command = [sys.executable, "-I", "-S", str(script), *map(str, words)]
    return subprocess.run(command, capture_output=True, timeout=30).returncode


def test_another_normal_form_in_an_export_is_found(kit: Kit, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    export_to(kit.path, out, "jsonl")
    lines = out.read_bytes().splitlines()
    composed, decomposed = "\u00e9".encode(), "e\u0301".encode()
    text = chain.canonical(json.loads(lines[-2]) | {"why": "\u00e9"})
    end = {**json.loads(lines[-1]), "head": chain.digest(text).hex(), "self": ""}
    end["self"] = hashlib.sha256(chain.canonical(end)).hexdigest()
    whole = b"\n".join([*lines[:-2], text, chain.canonical(end), b""])
    out.write_bytes(whole)
    assert alone(out) == 0
    assert verify(out, NOW + 3600).ok
    out.write_bytes(whole.replace(composed, decomposed))
    assert alone(out) == 1
    assert not verify(out, NOW + 3600).ok


async def test_a_checkpoint_of_another_ledger_anchors_no_export(kit: Kit, tmp_path: Path) -> None:
    """As many entries, and signed by the key of that ledger: it says nothing of this one."""
    (tmp_path / "other").mkdir(mode=0o700)
    await fill(tmp_path / "other" / "ledger.db", 30)
    note, out = tmp_path / "other" / "note", tmp_path / "out.jsonl"
    note.write_bytes(checkpoint(tmp_path / "other" / "ledger.db"))
    export_to(kit.path, out, "jsonl")
    assert alone(out, "--note", note) == 1
    assert alone(out, "--note", note, "--key", kit.vkey) == 1
    report = verified(out, NOW + 3600, keys=[kit.vkey], against=[FilePlace(note)])
    assert codes(report) == {"anchor_none"}


def test_a_number_of_entries_beyond_any_machine_costs_nothing(kit: Kit, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    export_to(kit.path, out, "jsonl")
    lines = out.read_bytes().splitlines(keepends=True)
    for before in (2**53 - 1, 2**40, 10**9):
        frontier, head = ["0" * 64] * before.bit_count(), json.loads(lines[1])["prev"]
        said = {"before": before, "frontier": frontier, "genesis": head, "head": head, "kind": "omitted"}
        gone = chain.canonical(said) + b"\n"
        for size in (before - 1, before):
            end = {
                **json.loads(lines[-1]),
                "count": size,
                "filters": {"agent": "x"},
                "head": head,
                "self": "",
            }
            end["self"] = hashlib.sha256(chain.canonical(end)).hexdigest()
            out.write_bytes(lines[0] + gone + chain.canonical(end) + b"\n")
            began = time.monotonic()
            report = verify(out, NOW + 3600, keys=[kit.vkey], against=[FilePlace(kit.notes)])
            assert "anchor_none" in codes(report)
            assert alone(out, "--note", kit.notes) == 1
            assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "name",
    ["../evil", "/tmp/evil", "a/b", "..", ".", "", "-x", "a b", "$(id)", "a\nb", "*", "Ada", "\u00e5da"],
)
def test_a_reviewers_name_is_no_path(name: str) -> None:
    """Nor an option, a pattern of OpenSSH, a command, or another's name in capitals."""
    said = {
        "about": {}, "act": "approve", "key": f"SHA256:{'A' * 43}", "ledger": "0" * 32, "reviewer": name,
        "time": "2026-11-22T12:00:00.000000Z", "v": 1,
    }  # fmt: skip
    assert Statement.parse(chain.canonical({**said, "reviewer": "ada"})).reviewer == "ada"
    with pytest.raises(ProofError):
        Statement.parse(chain.canonical(said))
