"""docs/ledger.md says how it is: its commands run, and other tools come to what it says."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from ledgers import DIGEST, Clock, fill

from proxy.chain import ENCRYPTED_TAG, PAYLOAD_TAG, REQUEST_TAG
from proxy.ledger.files import TABLES
from proxy.ledger.seal import KEY, read_key
from proxy.ledger.sqlite import SqliteLedger

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "ledger.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A state folder with a ledger, an export of it, and a checkpoint from before."""
    tmp_path.chmod(0o700)
    ledger = tmp_path / "ledger.db"
    await fill(ledger, 8)
    (tmp_path / "old.note").write_text(shell(tmp_path, "sluice ledger checkpoint"))
    await fill_more(ledger)
    shell(tmp_path, "sluice ledger export --format jsonl -o ledger.jsonl")
    return tmp_path


async def fill_more(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock(1_785_000_060.0))
    await ledger.close()


def shell(folder: Path, command: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SLUICE_STATE": str(folder), "HOME": str(folder)}
    done = subprocess.run(
        ["sh", "-euc", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def vkey(folder: Path) -> str:
    return str(json.loads((folder / "ledger.jsonl").read_text().splitlines()[0])["vkey"])


def test_the_hash_of_a_line_is_what_the_next_one_names(state: Path) -> None:
    (command,) = (block for block in BLOCKS if "sha256sum" in block)
    lines = (state / "ledger.jsonl").read_text().splitlines()
    assert shell(state, command).split()[0] == json.loads(lines[5])["prev"]


def test_every_command_of_the_page_does_what_it_says(state: Path) -> None:
    ran = 0
    for block in BLOCKS:
        for command in block.splitlines():
            words = command.split()
            if words[:1] != ["sluice"] or words[1] == "up":
                continue
            said = shell(state, command.replace("VKEY", vkey(state)))
            assert "verify-proof" not in words or "the pinned key has signed" in said
            ran += 1
    assert ran >= 4
    for command in re.findall(r"`(sluice ledger (?:verify|checkpoint|rotate-key)[^`[]*)`", PAGE):
        shell(state, command.split(" --")[0])
        ran += 1
    assert ran >= 6


def test_the_script_verifies_what_the_page_exports(state: Path) -> None:
    shell(state, "sluice ledger checkpoint > note")
    script = ROOT / "scripts" / "verify_export.py"
    said = shell(state, f"{sys.executable} {script} ledger.jsonl --note note --key {vkey(state)}")
    assert "signed by that key" in said


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not there")
def test_any_tool_verifies_the_signature_of_the_head(state: Path) -> None:
    note = shell(state, "sluice ledger checkpoint")
    text, _, line = note.rstrip("\n").rpartition("\n\n")
    (state / "text").write_text(text + "\n")
    (state / "signature").write_bytes(base64.b64decode(line.split()[-1])[4:])
    public = read_key(state / KEY).public_key()
    (state / "key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    command = "openssl pkeyutl -verify -rawin -pubin -inkey key.pem -in text -sigfile signature"
    assert "Verified" in shell(state, command)


def test_the_root_is_made_of_the_hashes_as_the_page_says(state: Path) -> None:
    """RFC 6962, section 2.1, by its recursive definition."""

    def root(leaves: list[bytes]) -> bytes:
        if len(leaves) == 1:
            return leaves[0]
        split = 1 << (len(leaves) - 1).bit_length() - 1
        return hashlib.sha256(b"\1" + root(leaves[:split]) + root(leaves[split:])).digest()

    lines = (state / "ledger.jsonl").read_bytes().splitlines()[:-1]
    origin, size, said = shell(state, "sluice ledger checkpoint").splitlines()[:3]
    assert (origin, int(size)) == (f"sluice/{json.loads(lines[0])['ledger']}", len(lines))
    assert base64.b64decode(said) == root([hashlib.sha256(b"\0" + line).digest() for line in lines])


def test_the_commitments_are_those_of_the_page(state: Path) -> None:
    tags = dict(
        re.findall(r'^(request|payload|encrypted) += SHA-256\("([a-z0-9.]+)" 0x00', PAGE, re.MULTILINE)
    )
    assert tags == {
        "request": REQUEST_TAG.decode().rstrip("\0"),
        "payload": PAYLOAD_TAG.decode().rstrip("\0"),
        "encrypted": ENCRYPTED_TAG.decode().rstrip("\0"),
    }
    connection = sqlite3.connect(f"file:{state / 'ledger.db'}?mode=ro", uri=True)
    query = "SELECT body, salt, data FROM entry JOIN payload USING (seq)"
    checked = 0
    for body, salt, data in connection.execute(query):
        for name, value in (("request", DIGEST), ("payload", data)):
            if name in json.loads(body):
                made = hashlib.sha256(tags[name].encode() + b"\0" + salt + value).hexdigest()
                assert made == json.loads(body)[name]
                checked += 1
    assert checked > 8


def test_the_tables_are_those_of_the_page() -> None:
    wanted = dict(re.findall(r"^(entry|payload|head) +\((.*?)\) +--", PAGE, re.MULTILINE))
    for sql in TABLES:
        if found := re.match(r"CREATE TABLE (\w+) \((.*)\) STRICT", sql, re.DOTALL):
            columns = [" ".join(line.split()[:2]) for line in found[2].strip().splitlines()]
            said = [" ".join(column.split()[:2]) for column in wanted.pop(found[1]).split(", ")]
            assert said == columns
    assert wanted == {}


def calls(folder: Path, *names: str) -> list[ast.Call]:
    found = []
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            called = getattr(node, "func", None)
            if isinstance(node, ast.Call) and getattr(called, "attr", getattr(called, "id", "")) in names:
                found.append(node)
    return found


def words(node: ast.Call, first: int) -> list[str]:
    """The texts among the first arguments that are written as such."""
    texts = [one.value for one in node.args[:first] if isinstance(one, ast.Constant)]
    return [one for one in texts if isinstance(one, str) and re.fullmatch("[a-z][a-z0-9_]*", one)]


def test_the_page_names_every_kind_of_entry() -> None:
    kinds = {word for call in calls(ROOT / "proxy", "Draft") for word in words(call, 1)}
    assert len(kinds) > 20
    kinds |= {"paused", "resumed", "completed", "failed", "counted", "rekeyed", "genesis"}
    assert {kind for kind in kinds if f"`{kind}`" not in PAGE} == set()


def test_the_page_names_every_finding() -> None:
    places = [ROOT / "proxy" / "ledger", ROOT / "proxy"]
    named = ("UnfitError", "_nothing", "Finding")
    found = [word for call in calls(places[0], "add", *named) for word in words(call, 2)]
    found += [word for call in calls(places[1], "UnfitError") for word in words(call, 1)]
    codes = {word for word in found if not word.startswith("review_")}
    assert len(codes) > 20
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()
