"""Proofs verify offline, by nobody's word but the key's; nothing else does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ledgers import Clock, fill, said
from test_ledger_levels import Kit, kit, whole

from proxy.errors import Exit, SluiceError
from proxy.ledger.prove import LIMIT, checkpoint, prove, prove_since, verify_proof
from proxy.note import Key, NoteError, open_note

__all__ = ["kit", "whole"]


def test_every_entry_is_proven_to_be_in_the_ledger(kit: Kit) -> None:
    for entry in said(kit.path):
        proof = prove(kit.path, int(str(entry["seq"])))
        proven = verify_proof(proof, [kit.vkey])
        assert json.loads(proven.entry or b"") == entry
        assert (proven.seq, proven.signed, proven.origin) == (entry["seq"], True, kit.vkey.name)
        assert proof.startswith(b"c2sp.org/tlog-proof@v1\nextra ")


def test_without_a_key_nobody_vouches_for_the_root(kit: Kit) -> None:
    proven = verify_proof(prove(kit.path, 5))
    assert (proven.signed, proven.as_dict()["signed"]) == (False, False)


async def test_a_proof_under_another_key_does_not_hold(kit: Kit, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    await fill(other / "ledger.db", 3)
    key = Key.parse(str(said(other / "ledger.db")[0]["vkey"]))
    with pytest.raises(NoteError, match="no known key"):
        verify_proof(prove(kit.path, 5), [key])


def test_a_proof_with_any_byte_changed_does_not_hold(kit: Kit) -> None:
    proof = prove(kit.path, 9)
    for at in range(len(proof)):
        for other in (proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :], proof[:at]):
            with pytest.raises(NoteError):
                verify_proof(other, [kit.vkey])


def test_a_proof_of_one_entry_is_none_of_another(kit: Kit) -> None:
    one, two = prove(kit.path, 9).split(b"\n"), prove(kit.path, 10).split(b"\n")
    for mixed in ([one[0], two[1], *one[2:]], [*one[:2], two[2], *one[3:]], [*one[:3], *two[3:]]):
        with pytest.raises(NoteError):
            verify_proof(b"\n".join(mixed), [kit.vkey])


def test_the_head_is_proven_to_go_on_from_every_checkpoint_that_was_kept(kit: Kit) -> None:
    notes = kit.notes.read_bytes().split(b"\n\n\n")
    for note in (notes[0] + b"\n", kit.anchored.note, checkpoint(kit.path)):
        note = note.rstrip(b"\n") + b"\n"
        proof = prove_since(kit.path, note)
        proven = verify_proof(proof, [kit.vkey], note)
        assert proven.since == int(note.split(b"\n")[1])
        assert proven.size == len(said(kit.path))
        with pytest.raises(NoteError, match="which checkpoint"):
            verify_proof(proof, [kit.vkey])
    with pytest.raises(NoteError, match="another checkpoint"):
        verify_proof(prove_since(kit.path, kit.anchored.note), [kit.vkey], checkpoint(kit.path))


async def test_after_pruning_everything_that_is_left_is_still_proven(kit: Kit, tmp_path: Path) -> None:
    from ledgers import NOW

    from proxy.ledger.retention import prune
    from proxy.ledger.seal import KEY

    key = kit.path.with_name(KEY)
    await prune(kit.path, 43, tmp_path / "archive", key=key, clock=Clock(NOW + 600))
    for entry in said(kit.path)[1:]:
        assert verify_proof(prove(kit.path, int(str(entry["seq"]))), [kit.vkey]).seq == entry["seq"]
    proof = prove_since(kit.path, kit.anchored.note)
    assert verify_proof(proof, [kit.vkey], kit.anchored.note).since == kit.anchored.tree.size
    first = kit.notes.read_bytes().split(b"\n\n\n")[0].rstrip(b"\n") + b"\n"
    for seq in (0, 20):
        with pytest.raises(SluiceError) as caught:
            prove(kit.path, seq)
        assert caught.value.exit is Exit.NO
    # One from before the pruning, too, where the frontier has all that it takes.
    assert verify_proof(prove_since(kit.path, first), [kit.vkey], first).since == 40


def test_a_history_that_goes_another_way_is_not_proven_to_go_on(kit: Kit) -> None:
    from test_ledger_levels import fork, roll_back

    fork(kit)
    proof = prove_since(kit.path, kit.anchored.note)
    with pytest.raises(NoteError, match="do not go on"):
        verify_proof(proof, [kit.vkey], kit.anchored.note)
    roll_back(kit)
    with pytest.raises(SluiceError, match="the checkpoint is of") as caught:
        prove_since(kit.path, kit.anchored.note)
    assert caught.value.exit is Exit.NO


def test_a_checkpoint_is_a_note_that_the_key_opens(kit: Kit) -> None:
    assert open_note(checkpoint(kit.path), [kit.vkey]).text.split("\n")[1] == str(len(said(kit.path)))


@pytest.mark.parametrize("seq", [-1, 10_000])
def test_what_is_not_there_is_not_proven(kit: Kit, seq: int) -> None:
    with pytest.raises(SluiceError) as caught:
        prove(kit.path, seq)
    assert caught.value.exit is Exit.NO


@pytest.mark.parametrize(
    "data",
    [b"", b"\n\n", b"x" * (LIMIT + 1), b"c2sp.org/tlog-proof@v1\n\n", b"\xff\n\nx", b"old 5\n\n" + b"x" * 90],
)
def test_what_is_no_proof_is_refused(kit: Kit, data: bytes) -> None:
    for keys in ([], [kit.vkey]):
        with pytest.raises(NoteError):
            verify_proof(data, keys)


def test_a_size_no_machine_could_hold_costs_nothing(kit: Kit) -> None:
    note = kit.anchored.note.split(b"\n")
    note[1] = b"9" * 18
    head = prove(kit.path, 9).partition(b"\n\n")[0]
    with pytest.raises(NoteError):
        verify_proof(head + b"\n\n" + b"\n".join(note))


async def test_a_ledger_of_version_1_has_nothing_to_prove_with_until_it_is_upgraded(tmp_path: Path) -> None:
    import shutil

    from proxy.ledger.sqlite import SqliteLedger

    tmp_path.chmod(0o700)
    path = tmp_path / "ledger.db"
    shutil.copy(Path(__file__).parent / "fixtures" / "version1.db", path)
    path.chmod(0o600)
    with pytest.raises(SluiceError, match="not signed"):
        prove(path, 3)
    ledger, _ = await SqliteLedger.open(path, clock=Clock(1_785_000_060.0))
    await ledger.close()
    assert verify_proof(prove(path, 3), [Key.parse(ledger.vkey)]).seq == 3
