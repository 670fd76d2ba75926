"""Reviewers with keys: what they sign counts, and nothing that an agent of the same account can send."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pexpect
import pytest

from .clients import with_requests
from .conftest import HOST, RULES, Started
from .product import PATIENCE, SLUICE, Gate, environment, policy, up
from .upstream import Upstream

PASSPHRASE = "correct horse"
PROMPT = r"sluice: [^\r\n]*passphrase[^\r\n]*: $"


def typed(gate: Gate, *words: str, passphrases: int = 1, status: int = 0, secret: str = PASSPHRASE) -> str:
    """Run a command on a terminal, type the passphrase whenever it is asked for; what was printed."""
    child = pexpect.spawn(
        SLUICE,
        [*words],
        env={**environment(gate.home), "SLUICE_STATE": str(gate.state), "TERM": "dumb"},
        cwd=str(gate.home),
        timeout=PATIENCE,
        encoding="utf-8",
        dimensions=(50, 200),
    )
    said = ""
    for _ in range(passphrases):
        child.expect(PROMPT)
        said += str(child.before)
        child.sendline(secret)
    child.expect(pexpect.EOF)
    said += str(child.before)
    child.close()
    assert child.exitstatus == status, said
    assert secret not in said
    return said


def _spawned(gate: Gate, *words: str) -> Any:
    """A command with a terminal of its own."""
    return pexpect.spawn(
        SLUICE,
        [*words],
        env={**environment(gate.home), "SLUICE_STATE": str(gate.state), "TERM": "xterm"},
        cwd=str(gate.home),
        timeout=PATIENCE,
        encoding="utf-8",
        dimensions=(40, 120),
    )


def _press(child: Any, asked: Future[Any]) -> None:
    """Approve what is on the screen; a key that comes too soon decides nothing."""
    give_up = time.monotonic() + PATIENCE
    while not asked.done():
        assert time.monotonic() < give_up
        child.send("a")
        with suppress(pexpect.TIMEOUT):
            child.expect("approved", timeout=1)


def _without_a_terminal(gate: Gate, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [SLUICE, *words],
        env={**environment(gate.home), "SLUICE_STATE": str(gate.state)},
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, upstream_ca: str) -> Iterator[Gate]:
    """A gate in whose ledger ada is enrolled."""
    home = tmp_path_factory.mktemp("enrolled")
    with up(home, f"--policy={policy(home, RULES)}", *upstream.flags, upstream_ca) as gate:
        said = typed(gate, "reviewer", "add", "ada", "--new", "--groups", "finance", passphrases=2)
        assert "'ada' is enrolled" in said
        yield gate
        assert gate.stop() == 0
        verified = gate.sluice("ledger", "verify", "--json")
        assert verified.status == 0, verified.out


def test_an_agent_that_reaches_the_socket_cannot_approve_itself(
    gate: Gate, started: Started, mark: str
) -> None:
    asked = started(with_requests, gate, "POST", f"https://{HOST}/orders/{mark}", b'{"amount": 500}')
    hold = gate.held(mark)
    # The very bytes that a reviewer's client would send, by a process of the same account.
    call = {"message": "call", "verb": "review", "name": None, "prefix": hold.id, "approves": True}
    with socket.socket(socket.AF_UNIX) as agent:
        agent.connect(str(gate.state / "control.sock"))
        agent.sendall(
            json.dumps({**call, "reason": "", "digest": hold.digest, "proof": None}).encode() + b"\n"
        )
        answer = json.loads(agent.makefile().readline())
    assert answer["message"] == "failure" and "not signed" in answer["problems"][0]["what"]
    # The command does no better without the passphrase, nor with a wrong one.
    for words in (("approve", hold.id), ("deny", hold.id), ("resume",)):
        refused = _without_a_terminal(gate, *words)
        assert refused.returncode == 1 and b"on a terminal" in refused.stderr
    typed(gate, "approve", hold.id, passphrases=3, status=1, secret="not this one")
    # It cannot enrol itself either.
    said = typed(gate, "reviewer", "add", "eve", "--new", passphrases=5, status=1, secret="evil passphrase")
    assert "not the passphrase" in said
    assert not asked.done() and not gate.entries(kind="reviewed", hold=hold.id)

    said = typed(gate, "approve", hold.id, "--reason", "fine")
    assert "approved and released" in said and hold.url in said
    assert asked.result().status == 200
    [entry] = gate.entries(kind="reviewed", hold=hold.id)
    assert entry["reviewer"] == "ada" and "SSH SIGNATURE" in entry["signature"]


def test_the_key_is_kept_encrypted_and_private(gate: Gate) -> None:
    folder = gate.home / ".config" / "sluice" / "keys"
    assert folder.stat().st_mode & 0o077 == 0
    assert [path.name for path in sorted(folder.iterdir())] == ["ada", "ada.pub"]
    assert (folder / "ada").stat().st_mode & 0o777 == 0o600


def test_the_list_says_who_is_enrolled(gate: Gate) -> None:
    listed = gate.sluice("reviewer", "list", "--json")
    [one] = listed.lines
    assert (one["name"], one["uid"], one["groups"]) == ("ada", os.getuid(), ["finance"])
    assert "SHA256:" in gate.sluice("reviewer", "list").out


def test_orders_ask_for_the_passphrase_and_a_pause_does_not(gate: Gate) -> None:
    assert gate.sluice("pause").status == 0
    typed(gate, "resume")
    assert [entry["by"] for entry in gate.entries(kind="ordered", act="resume")] == ["ada"]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not there")
def test_an_exported_review_verifies_with_ssh_keygen(
    gate: Gate, started: Started, mark: str, tmp_path: Path
) -> None:
    asked = started(with_requests, gate, "POST", f"https://{HOST}/orders/{mark}", b'{"amount": 500}')
    hold = gate.held(mark)
    typed(gate, "deny", hold.id, "--reason", "too much")
    assert asked.result().status == 403
    done = gate.sluice("ledger", "export-review", hold.id, "-o", str(tmp_path / "out"))
    assert done.status == 0, done.err
    command = done.out.strip()
    assert command.startswith("ssh-keygen -Y verify")
    checked = subprocess.run(command, shell=True, cwd=tmp_path / "out", capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert b'Good "review@sluice" signature for ada' in checked.stdout
    statement = next((tmp_path / "out").glob("*.json"))
    statement.write_bytes(statement.read_bytes().replace(b"too much", b"too  much"))
    assert subprocess.run(command, shell=True, cwd=tmp_path / "out", capture_output=True).returncode


def test_the_console_asks_once_and_signs_what_it_decides(gate: Gate, started: Started, mark: str) -> None:
    asked = started(with_requests, gate, "POST", f"https://{HOST}/orders/{mark}", b'{"amount": 500}')
    hold = gate.held(mark)
    child = _spawned(gate, "review")
    child.expect(PROMPT)
    child.sendline(PASSPHRASE)
    child.expect(mark)
    _press(child, asked)
    assert asked.result().status == 200
    child.send("q")
    child.expect(pexpect.EOF)
    child.close()
    [entry] = gate.entries(kind="reviewed", hold=hold.id)
    assert entry["reviewer"] == "ada" and entry["statement"]


def test_a_console_whose_key_was_not_opened_says_so_and_reads_no_passphrase(
    gate: Gate, started: Started, mark: str
) -> None:
    asked = started(with_requests, gate, "POST", f"https://{HOST}/orders/{mark}", b'{"amount": 500}')
    hold = gate.held(mark)
    child = _spawned(gate, "review")
    child.expect(PROMPT)
    child.sendeof()
    child.expect(mark)
    give_up = time.monotonic() + PATIENCE
    seen = False
    while not seen:  # a key that comes too soon decides nothing
        assert time.monotonic() < give_up
        child.send("a")
        with suppress(pexpect.TIMEOUT):
            seen = child.expect("your key is not open here", timeout=1) == 0
    child.send("qq")
    child.expect(pexpect.EOF)
    child.close()
    assert not gate.entries(kind="reviewed", hold=hold.id)
    typed(gate, "deny", hold.id)
    assert asked.result().status == 403


def test_the_console_of_up_asks_once_too(
    tmp_path: Path, upstream: Upstream, upstream_ca: str, started: Started, mark: str
) -> None:
    rules = policy(tmp_path, RULES)
    with up(tmp_path, f"--policy={rules}", *upstream.flags, upstream_ca) as gate:
        typed(gate, "reviewer", "add", "ada", "--new", passphrases=2)
        assert gate.stop() == 0
    words = ["up", "--state", str(gate.state), "--listen=127.0.0.1:0", f"--policy={rules}"]
    child = _spawned(gate, *words, *map(str, upstream.flags), upstream_ca)
    try:
        child.expect(PROMPT)
        child.sendline(PASSPHRASE)
        child.expect(r"waiting.*(http://127\.0\.0\.1:\d+)")
        ready = {**gate.ready, "proxy": child.match[1]}
        again = replace(gate, ready=ready, process=gate.process)
        asked = started(with_requests, again, "POST", f"https://{HOST}/orders/{mark}", b'{"amount": 500}')
        hold = again.held(mark)
        refused = _without_a_terminal(again, "approve", hold.id)
        assert refused.returncode == 1
        _press(child, asked)
        assert asked.result().status == 200
        [entry] = again.entries(kind="reviewed", hold=hold.id)
        assert entry["reviewer"] == "ada" and entry["statement"]
    finally:
        child.terminate()
        child.expect(pexpect.EOF)
        child.close()
    assert again.sluice("ledger", "verify").status == 0


def test_a_key_is_rotated_and_the_old_one_counts_no_more(gate: Gate) -> None:
    before = gate.sluice("reviewer", "list", "--json").lines[0]["keys"]
    # Twice for the new key, once for the old one that signs.
    typed(gate, "reviewer", "rotate", "--new", passphrases=3)
    after = gate.sluice("reviewer", "list", "--json").lines[0]["keys"]
    assert len(after) == 1 and after != before
    typed(gate, "reviewer", "regroup", "ada", "--groups", "finance,security")
    assert gate.sluice("reviewer", "list", "--json").lines[0]["groups"] == ["finance", "security"]
    said = typed(gate, "reviewer", "revoke", "ada", status=1)
    assert "the last key" in said


def test_the_console_asks_for_the_passphrase_once_however_much_it_decides(
    gate: Gate, started: Started, mark: str
) -> None:
    child = _spawned(gate, "review")
    child.expect(PROMPT)
    child.sendline(PASSPHRASE)
    asked = []
    for number in range(3):
        url = f"https://{HOST}/orders/{mark}-{number}"
        asked.append(started(with_requests, gate, "POST", url, b'{"amount": 500}'))
        gate.held(f"{mark}-{number}")
    give_up = time.monotonic() + PATIENCE
    said = ""
    while not all(one.done() for one in asked):  # a key that comes too soon decides nothing
        assert time.monotonic() < give_up
        child.send("aj")
        with suppress(pexpect.TIMEOUT):
            child.expect("approved", timeout=1)
            said += child.before
    assert [one.result().status for one in asked] == [200] * 3
    child.send("q")
    child.expect(pexpect.EOF)
    assert "passphrase" not in said + child.before
    child.close()
    reviews = [one for one in gate.entries(kind="reviewed") if mark in gate.whole(one["hold"]).url]
    assert len({one["statement"] for one in reviews}) == 3


def test_nobody_is_enrolled_first_while_an_agent_is_connected_that_asks_nothing(
    tmp_path: Path, upstream: Upstream, upstream_ca: str
) -> None:
    with up(tmp_path, f"--policy={policy(tmp_path, RULES)}", *upstream.flags, upstream_ca) as gate:
        with socket.create_connection(("127.0.0.1", gate.port), PATIENCE):
            said = typed(gate, "reviewer", "add", "eve", "--new", passphrases=2, status=1)
            assert "an agent is connected" in said
        assert not gate.entries(kind="enrolled") and gate.sluice("reviewer", "list", "--json").lines == []
        assert "'ada' is enrolled" in typed(gate, "reviewer", "add", "ada", "--new", passphrases=2)


def test_nobody_is_enrolled_first_while_an_agent_waits(
    tmp_path: Path, upstream: Upstream, upstream_ca: str, started: Started, mark: str
) -> None:
    with up(tmp_path, f"--policy={policy(tmp_path, RULES)}", *upstream.flags, upstream_ca) as gate:
        asked = started(with_requests, gate, "POST", f"https://{HOST}/orders/{mark}", b'{"amount": 500}')
        hold = gate.held(mark)
        said = typed(gate, "reviewer", "add", "eve", "--new", passphrases=2, status=1)
        assert "an agent is connected" in said
        assert not list((tmp_path / ".config" / "sluice" / "keys").glob("*"))
        assert gate.sluice("deny", hold.id).status == 0
        assert asked.result().status == 403
