"""The stand-alone verifier says what the product says: of honest exports, and of every attack on one."""

from __future__ import annotations

import ast
import asyncio
import json
import random
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ledgers import NOW, Clock
from test_ledger_levels import Kit, kit, whole
from test_ledger_verify import EXPORT_ATTACKS

from proxy import chain
from proxy.ledger.export import export_to
from proxy.ledger.prove import checkpoint
from proxy.ledger.read import Filter
from proxy.ledger.removal import Pruned
from proxy.ledger.retention import prune
from proxy.ledger.seal import KEY
from proxy.ledger.verify import verify
from proxy.merkle import Tree

__all__ = ["kit", "whole"]
SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "verify_export.py"


def alone(*words: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.fixture
def out(kit: Kit, tmp_path: Path) -> Path:
    out = tmp_path / "out.jsonl"
    export_to(kit.path, out, "jsonl")
    return out


def test_it_is_short_and_needs_nothing() -> None:
    lines = SCRIPT.read_text().splitlines()
    assert len(lines) < 300
    imported = {line.split()[1] for line in lines if line.startswith(("import ", "from "))}
    assert imported <= {"argparse", "base64", "hashlib", "json", "sys", "pathlib"}


def test_an_honest_export_holds_and_it_says_how_far(kit: Kit, out: Path, tmp_path: Path) -> None:
    status, said = alone(out)
    assert status == 0
    assert "nothing shows that no newer entries were cut off" in said
    note = tmp_path / "note"
    for data in (kit.anchored.note, checkpoint(kit.path)):
        note.write_bytes(data)
        status, said = alone(out, "--note", note)
        assert (status, "NOT checked" in said) == (0, True)
        status, said = alone(out, "--note", note, "--key", kit.vkey)
        assert (status, "signed by that key" in said) == (0, True)


def test_a_filtered_export_and_one_of_a_pruned_ledger_hold(kit: Kit, tmp_path: Path) -> None:
    out, note = tmp_path / "some.jsonl", tmp_path / "note"
    key = kit.path.with_name(KEY)
    for _ in range(2):
        export_to(kit.path, out, "jsonl", Filter(kinds=frozenset({"held"})))
        note.write_bytes(checkpoint(kit.path))
        assert alone(out, "--note", note, "--key", kit.vkey)[0] == 0
        if not (tmp_path / "archive").exists():
            asyncio.run(prune(kit.path, 30, tmp_path / "archive", key=key, clock=Clock(NOW + 600)))
            assert alone(tmp_path / "archive")[0] == 0


@pytest.mark.parametrize("name", EXPORT_ATTACKS)
def test_every_attack_on_an_export_is_found(out: Path, name: str) -> None:
    attack, _ = EXPORT_ATTACKS[name]
    out.write_bytes(b"".join(attack(out.read_bytes().splitlines(keepends=True))))
    status, said = alone(out)
    assert (status, said.startswith("WRONG: ")) == (1, True)


def pruned(lines: list[bytes], before: int, **more: object) -> bytes:
    """The line that stands in the place of entries that were pruned; with whatever else in it."""
    tree = Tree()
    for line in lines[:before]:
        tree.add(chain.digest(line[:-1]))
    fields = Pruned(
        before, chain.Head(before - 1, chain.digest(lines[before - 1][:-1])), b"", tree.peaks
    ).fields
    genesis = chain.digest(lines[0][:-1]).hex()
    return chain.canonical({**fields, "genesis": genesis, "kind": "omitted", **more}) + b"\n"


FORGED: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "entries taken out as if they had been pruned": lambda lines: [lines[0], pruned(lines, 12), *lines[12:]],
    "a run left out with something said beside it": lambda lines: [
        *lines[:5], b'{"hashes":["' + b"0" * 64 + b'"],"kind":"omitted","more":1}\n', *lines[6:]],
    "a run of nothing left out": lambda lines: [*lines[:5], b'{"hashes":[],"kind":"omitted"}\n', *lines[5:]],
    "a line left out that says nothing": lambda lines: [*lines[:5], b'{"kind":"omitted"}\n', *lines[5:]],
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_two_verifiers_agree_on_what_is_not_there(out: Path, name: str) -> None:
    out.write_bytes(b"".join(FORGED[name](out.read_bytes().splitlines(keepends=True))))
    assert alone(out)[0] == 1
    assert not verify(out, time.time()).ok


@pytest.mark.parametrize(
    "change",
    [
        {"before": 29},
        {"frontier": [*["0" * 64] * 4]},
        {"genesis": "0" * 64},
        {"head": "0" * 64},
        {"before": True},
        {"approved": "by the board"},
    ],
    ids=str,
)
def test_what_was_pruned_is_what_the_entry_about_it_says(
    kit: Kit, tmp_path: Path, change: dict[str, object]
) -> None:
    key, out = kit.path.with_name(KEY), tmp_path / "out.jsonl"
    asyncio.run(prune(kit.path, 30, tmp_path / "archive", key=key, clock=Clock(NOW + 600)))
    export_to(kit.path, out, "jsonl")
    lines = out.read_bytes().splitlines(keepends=True)
    assert alone(out)[0] == 0
    lines[1] = chain.canonical({**json.loads(lines[1]), **change}) + b"\n"
    out.write_bytes(b"".join(lines))
    assert alone(out)[0] == 1
    assert not verify(out, time.time()).ok


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.14"])
def test_it_is_written_for_every_python_that_it_names(version: str) -> None:
    ast.parse(SCRIPT.read_text(), feature_version=tuple(map(int, version.split("."))))  # type: ignore[arg-type]
    assert "Python 3.9 or newer" in SCRIPT.read_text()


def test_two_verifiers_agree_on_every_byte_that_was_changed(out: Path) -> None:
    script = runpy.run_path(str(SCRIPT))
    whole, chance = out.read_bytes(), random.Random(1)
    for _ in range(300):
        at = chance.randrange(len(whole))
        harmed = bytearray(whole)
        harmed[at] ^= 1 << chance.randrange(8)
        out.write_bytes(harmed)
        with pytest.raises(script["Wrong"]), out.open("rb") as file:
            script["verify"](file, script["Chain"](None))
        assert not verify(out, time.time()).ok, at
    assert len(whole) > 300


def test_what_only_a_checkpoint_shows_is_found_with_it(kit: Kit, tmp_path: Path) -> None:
    from test_ledger_levels import fork, roll_back

    out, note = tmp_path / "out.jsonl", tmp_path / "note"
    note.write_bytes(kit.anchored.note)
    for attack in (roll_back, fork):
        attack(kit)
        kit.path.chmod(0o600)
        export_to(kit.path, out, "jsonl")
        assert alone(out)[0] == 0
        status, said = alone(out, "--note", note, "--key", kit.vkey)
        assert (status, "cut off or changed" in said) == (1, True)


def test_a_checkpoint_that_was_changed_or_is_signed_by_another_is_refused(
    kit: Kit, out: Path, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    whole = kit.anchored.note
    other = str(kit.vkey)[:-6] + "AAAAAA"
    for at in range(0, len(whole), 17):
        note.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert alone(out, "--note", note, "--key", kit.vkey)[0] == 1
    note.write_bytes(whole)
    assert alone(out, "--note", note, "--key", other)[0] == 1
    assert alone(out, "--key", other)[0] == 2
    assert alone(tmp_path / "none")[0] == 2
