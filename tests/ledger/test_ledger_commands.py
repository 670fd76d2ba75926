"""The commands around evidence, as a person types them, on a gate that really ran."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ledgers import Clock, fill, kinds, said, until

from proxy.ledger.seal import KEY

SLUICE = [sys.executable, "-m", "proxy"]
POLICY = "version: 1\ndefault: {read: allow, write: hold}\n"


def sluice(state: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SLUICE_STATE": str(state), "HOME": str(state), "NO_COLOR": "1"}
    command = [*SLUICE, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def up(state: Path, *words: object) -> tuple[int, str]:
    """Start a gate, and stop it once it is ready; its exit status and what it said."""
    policy = state.with_name("policy.yaml")
    policy.write_text(POLICY)
    command = [
        *SLUICE,
        "up",
        "--no-console",
        "--listen",
        "127.0.0.1:0",
        "--policy",
        str(policy),
        *map(str, words),
    ]
    environment = {**os.environ, "SLUICE_STATE": str(state), "HOME": str(state)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as gate:
        assert gate.stdout is not None
        if gate.stdout.readline():
            gate.send_signal(signal.SIGTERM)
        _, said = gate.communicate(timeout=20)
        return gate.returncode, said


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A state folder after two runs with two witnesses, and the key that was printed."""
    folder = tmp_path_factory.mktemp("ran")
    state = folder / "state"
    state.mkdir(mode=0o700)
    subprocess.run(["git", "init", "-q", "--bare", str(folder / "repository")], check=True)
    witnesses = ("--witness", f"file:{folder / 'notes'}", "--witness", f"git:{folder / 'repository'}")
    for _ in range(2):
        status, said = up(state, *witnesses)
        assert status == 0, said
    vkey = next(word for word in said.split() if word.startswith("sluice/")).rstrip(";")
    return state, vkey


def test_up_prints_the_key_and_verify_names_the_level_that_it_reaches(ran: tuple[Path, str]) -> None:
    state, vkey = ran
    plain = sluice(state, "ledger", "verify")
    assert plain.returncode == 0
    assert "level chain only" in plain.stdout
    assert vkey in plain.stdout
    assert "level signed" in sluice(state, "ledger", "verify", "--key", vkey).stdout
    for against in (state.with_name("notes"), f"git:{state.with_name('repository')}"):
        anchored = sluice(state, "ledger", "verify", "--key", vkey, "--against", against)
        assert anchored.returncode == 0, anchored.stdout
        assert "level anchored: up to entry 4" in anchored.stdout
        assert "could have been cut off" in anchored.stderr
    report = json.loads(
        sluice(state, "ledger", "verify", "--json", "--against", state.with_name("notes")).stdout
    )
    assert (report["level"], report["anchored"]["size"], report["vkey"]) == ("anchored", 5, vkey)


def test_a_key_that_was_mistyped_or_is_another_never_passes(ran: tuple[Path, str]) -> None:
    state, vkey = ran
    assert sluice(state, "ledger", "verify", "--key", vkey[:-2]).returncode == 2
    other = state.with_name("other")
    other.mkdir(mode=0o700, exist_ok=True)
    assert up(other)[0] == 0
    theirs = json.loads(sluice(other, "ledger", "verify", "--json").stdout)["vkey"]
    refused = sluice(state, "ledger", "verify", "--key", theirs)
    assert refused.returncode == 1
    assert "another key than the pinned one" in refused.stdout
    nothing = sluice(other, "ledger", "verify", "--against", state.with_name("notes"))
    assert (nothing.returncode, "keeps no checkpoint of this ledger" in nothing.stdout) == (1, True)


def test_an_entry_is_proven_and_the_proof_verified_elsewhere(ran: tuple[Path, str], tmp_path: Path) -> None:
    state, vkey = ran
    proof = tmp_path / "entry.tlog-proof"
    assert sluice(state, "ledger", "prove", 1, "-o", proof).returncode == 0
    done = sluice(tmp_path, "ledger", "verify-proof", proof, "--key", vkey, "--json")
    proven = json.loads(done.stdout)
    assert (proven["ok"], proven["signed"], proven["entry"]["kind"]) == (True, True, "started")
    assert "nobody vouches" in sluice(tmp_path, "ledger", "verify-proof", proof).stderr
    proof.write_text(proof.read_text().replace("index 1\n", "index 2\n"))
    assert sluice(tmp_path, "ledger", "verify-proof", proof, "--key", vkey).returncode == 1
    assert json.loads(sluice(tmp_path, "ledger", "verify-proof", proof, "--json").stdout)["ok"] is False
    assert sluice(state, "ledger", "prove").returncode == 2
    assert sluice(state, "ledger", "prove", 99).returncode == 1


def test_one_checkpoint_is_proven_to_go_on_from_another(ran: tuple[Path, str], tmp_path: Path) -> None:
    state, vkey = ran
    first = state.with_name("notes").read_bytes().split(b"\n\n\n")[0].rstrip(b"\n") + b"\n"
    note, proof = tmp_path / "note", tmp_path / "proof"
    note.write_bytes(first)
    assert sluice(state, "ledger", "prove", "--since", note, "-o", proof).returncode == 0
    done = sluice(tmp_path, "ledger", "verify-proof", proof, "--since", note, "--key", vkey)
    assert (done.returncode, "go on from" in done.stdout) == (0, True)
    checkpoint = sluice(state, "ledger", "checkpoint").stdout
    assert checkpoint.startswith(vkey.split("+")[0] + "\n5\n")


def test_entries_are_chosen_by_time_kind_and_name(ran: tuple[Path, str]) -> None:
    state, _ = ran

    def shown(*words: str) -> list[str]:
        lines = sluice(state, "ledger", "show", "--json", *words).stdout.splitlines()
        return [json.loads(line)["kind"] for line in lines]

    assert shown() == ["genesis", "started", "stopped", "started", "stopped"]
    assert shown("--kind", "started") == ["started", "started"]
    assert shown("--since", "1h") == shown()
    assert shown("--until", "2026-01-01") == []
    assert shown("--agent", "nobody") == []
    assert sluice(state, "ledger", "show", "--since", "yesterday").returncode == 2


@pytest.mark.parametrize("format", ["jsonl", "csv", "ocsf", "cef", "html"])
def test_every_format_is_written(ran: tuple[Path, str], tmp_path: Path, format: str) -> None:
    state, _ = ran
    out = tmp_path / "out"
    done = sluice(state, "ledger", "export", "--format", format, "-o", out, "--since", "2020")
    assert (done.returncode, "5 entries" in done.stderr) == (0, True)
    assert out.stat().st_size > 500


@pytest.mark.parametrize(
    "words", [("verify",), ("verify", "--json"), ("show",), ("export",), ("checkpoint",), ("prove", "1")]
)
def test_a_result_that_cannot_be_written_is_not_a_no(ran: tuple[Path, str], words: tuple[str, ...]) -> None:
    state, _ = ran
    environment = {**os.environ, "SLUICE_STATE": str(state), "HOME": str(state), "NO_COLOR": "1"}
    with open("/dev/full", "wb") as full:
        command = [*SLUICE, "ledger", *words]
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 2
    said = done.stderr.decode()
    assert "sluice: error: the result cannot be written: No space left on device\nsluice: fix:" in said
    assert "Traceback" not in said and "ignored" not in said


def test_that_nothing_is_as_asked_for_is_said(ran: tuple[Path, str]) -> None:
    state, _ = ran
    for words in (("--kind", "hold"), ("--hold", "abc"), ("--json", "--agent", "nobody")):
        done = sluice(state, "ledger", "show", *words)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == "sluice: of 5 entries none is as asked for\n"


def test_a_gate_does_not_start_on_an_older_copy_until_the_loss_is_accepted(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    witness = ("--witness", f"file:{tmp_path / 'notes'}")
    assert up(state, *witness)[0] == 0
    backup = (state / "ledger.db").read_bytes()
    assert up(state, *witness)[0] == 0
    (state / "ledger.db").write_bytes(backup)
    status, said = up(state, *witness)
    assert status == 1
    assert "2 entries" not in said
    assert (
        "fix: find out what happened; to go on with a new ledger that says so: sluice ledger accept-loss"
        in said
    )
    done = sluice(state, "ledger", "accept-loss", "--reason", "restored", "--against", tmp_path / "notes")
    assert done.returncode == 0, done.stderr
    assert len(list(state.glob("ledger.db.lost-*"))) == 1
    assert up(state, *witness)[0] == 0
    genesis = json.loads(sluice(state, "ledger", "show", "--json").stdout.splitlines()[0])
    assert genesis["previous"]["reason"] == "restored"


def test_a_witness_that_is_none_and_a_time_that_is_none_stop_the_start(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    assert up(state, "--witness", "nowhere")[0] == 2
    assert up(state, "--keep-payloads", "5m")[0] == 2
    assert up(state, "--max-unanchored", "soon")[0] == 2
    assert not (state / "ledger.db").exists()


@pytest.mark.parametrize("by_policy", [False, True])
def test_a_gate_lets_payloads_expire_that_are_older_than_it_was_told(tmp_path: Path, by_policy: bool) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    path = state / "ledger.db"
    long_ago = time.time() - 31 * 86_400
    asyncio.run(fill(path, 3, clock=Clock(long_ago)))
    assert b"9000" in path.read_bytes()
    (tmp_path / "policy.yaml").write_text(POLICY)
    words = ("up", "--no-console", "--listen", "127.0.0.1:0", "--policy", str(tmp_path / "policy.yaml"))
    environment = {**os.environ, "SLUICE_STATE": str(state), "HOME": str(state)}
    for keep, expires in (("40d", False), ("30d", True)):
        command = [*SLUICE, *words, "--keep-payloads", "99d" if by_policy else keep]
        if by_policy:
            (tmp_path / "policy.yaml").write_text(f"{POLICY}retention: {{payloads: {keep}}}\n")
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as gate:
            try:
                assert gate.stdout is not None
                assert gate.stdout.readline()
                if expires:
                    asyncio.run(until(lambda: "erased" in kinds(path)))
            finally:
                gate.send_signal(signal.SIGTERM)
            assert gate.wait(20) == 0
        assert ("erased" in kinds(path)) is expires
    assert b'{"amount": 9000}' not in path.read_bytes()
    [erased] = [line for line in said(path) if line["kind"] == "erased"]
    assert erased["by"] == "retention"
    verified = sluice(state, "ledger", "verify", "--json")
    assert verified.returncode == 0 and json.loads(verified.stdout)["ok"]


def test_a_running_gate_is_asked_to_erase(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (tmp_path / "policy.yaml").write_text(POLICY)
    environment = {**os.environ, "SLUICE_STATE": str(state), "HOME": str(state)}
    command = [
        *SLUICE,
        "up",
        "--no-console",
        "--listen",
        "127.0.0.1:0",
        "--policy",
        str(tmp_path / "policy.yaml"),
    ]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as gate:
        assert gate.stdout is not None
        url = json.loads(gate.stdout.readline())["proxy"]
        asking = [
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "--proxy",
            url,
            "-d",
            "canary=a+secret+thing",
            "http://api.example/pay",
        ]
        with subprocess.Popen(asking) as agent:
            for _ in range(200):
                held = sluice(state, "holds", "--json").stdout
                if held:
                    break
            hold = json.loads(held)["id"]
            assert sluice(state, "deny", hold).returncode == 0
            agent.wait(10)
        assert sluice(state, "ledger", "erase", "--hold", "none", "--reason", "x").returncode == 1
        done = sluice(state, "ledger", "erase", "--hold", hold[:8], "--reason", "art. 17")
        assert done.returncode == 0, done.stderr
        gate.send_signal(signal.SIGTERM)
        gate.wait(10)
    assert not any(b"secret+thing" in file.read_bytes() for file in state.glob("ledger.db*"))
    shown = sluice(state, "ledger", "show", "--json", "--kind", "erased").stdout
    assert (json.loads(shown)["hold"], json.loads(shown)["reason"]) == (hold, "art. 17")
    assert sluice(state, "ledger", "verify").returncode == 0


def test_a_ledger_is_pruned_and_its_archive_verifies(ran: tuple[Path, str], tmp_path: Path) -> None:
    import shutil

    state, vkey = ran
    copy = tmp_path / "state"
    copy.mkdir(mode=0o700)
    for name in ("ledger.db", KEY):
        shutil.copy(state / name, copy / name)
    archive = tmp_path / "archive.jsonl"
    done = sluice(copy, "ledger", "prune", "--before", 3, "--archive", archive)
    assert done.returncode == 0, done.stderr
    assert sluice(copy, "ledger", "verify", archive).returncode == 0
    after = sluice(copy, "ledger", "verify", "--key", vkey, "--against", state.with_name("notes"))
    assert after.returncode == 0, after.stdout
    assert "2 entries were pruned" in after.stderr
    assert sluice(copy, "ledger", "erase", "--hold", "none", "--reason", "x").returncode == 1
