"""`sluice edit` as people use it: a real gate, a real terminal, a scripted editor, a counting API."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import shutil
import signal
import ssl
import stat
import subprocess
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pexpect
import pytest
import requests
from e2e.conftest import HOST
from e2e.product import PATIENCE, SLUICE, Gate, environment, until
from e2e.upstream import Arrival, Upstream

type Started = Callable[..., Future[Any]]

KEY = "sk_live_AbCdEf0123456789"
BODY = json.dumps({"amount": 5000, "to": "bob", "api_key": KEY})


def order(gate: Gate, mark: str, **more: Any) -> requests.Response:
    """An order that waits, as an agent sends it over HTTP/1.1."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(
            "POST",
            f"https://{HOST}/orders/{mark}",
            **{
                "data": BODY,
                "headers": {"content-type": "application/json", "authorization": f"Bearer {KEY}"},
                "timeout": PATIENCE,
                **more,
            },
            proxies={"https": gate.proxy},
            verify=gate.ca,
        )


def asking(gate: Gate, mark: str) -> http.client.HTTPSConnection:
    """The same, sent and left open: closing it is leaving."""
    proxy = urlsplit(gate.proxy)
    context = ssl.create_default_context(cafile=gate.ca)
    agent = http.client.HTTPSConnection(str(proxy.hostname), proxy.port, context=context, timeout=PATIENCE)
    agent.set_tunnel(HOST, 443)
    agent.request("POST", f"/orders/{mark}", BODY, {"content-type": "application/json"})
    return agent


def order2(gate: Gate, mark: str) -> httpx.Response:
    """The same over HTTP/2."""
    context = ssl.create_default_context(cafile=gate.ca)
    with httpx.Client(http2=True, proxy=gate.proxy, verify=context, trust_env=False) as client:
        headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
        url = f"https://{HOST}/orders/{mark}"
        return client.post(url, content=BODY, headers=headers, timeout=PATIENCE)


def editor(home: Path, text: str) -> str:
    """An editor that is a shell script; ``$1`` is the file, a copy of which is kept as ``seen``."""
    path = home / "editor.sh"
    path.write_text(f'#!/bin/sh\ncp "$1" "{home}/seen"\n{text}\n')
    path.chmod(0o700)
    return str(path)


def edit(gate: Gate, id: str, script: str, *words: str) -> pexpect.spawn:
    """The command in a terminal of its own."""
    env = environment(gate.home) | {
        "EDITOR": editor(gate.home, script),
        "SLUICE_STATE": str(gate.state),
        "TERM": "xterm",
        "NO_COLOR": "1",
    }
    return pexpect.spawn(SLUICE, ["edit", id, *words], env=env, timeout=PATIENCE, encoding="utf-8")


def left(gate: Gate) -> list[str]:
    return [path.name for path in (gate.state / "edits").rglob("*")]


def ended(child: pexpect.spawn) -> int:
    child.expect(pexpect.EOF)
    child.close()
    return int(child.exitstatus if child.exitstatus is not None else -child.signalstatus)


def one(upstream: Upstream, mark: str) -> Arrival:
    [arrival] = upstream.got(mark)
    return arrival


@pytest.mark.parametrize("ask", [order, order2])
def test_an_amount_is_corrected_and_what_was_confirmed_is_what_arrives(
    gate: Gate, upstream: Upstream, mark: str, started: Started, ask: Callable[..., Any]
) -> None:
    asked = started(ask, gate, mark)
    hold = gate.held(mark)
    child = edit(gate, hold.id, 'sed -i \'s/"amount": 5000/"amount": 40/\' "$1"', "--reason", "less")
    child.expect('-  "amount": 5000')
    child.expect(r'\+  "amount": 40')
    child.expect("yes sends the edited request")
    assert upstream.got(mark) == []
    child.sendline("yes")
    child.expect("edited and released")
    assert ended(child) == 0
    assert asked.result(PATIENCE).status_code == 200
    arrival = one(upstream, mark)
    assert arrival.body == BODY.replace("5000", "40").encode()
    assert arrival.header("content-length") == str(len(arrival.body))
    assert arrival.header("authorization") == f"Bearer {KEY}"
    seen = (gate.home / "seen").read_text()
    assert KEY not in seen
    assert "Bearer ‹secret 1›" in seen
    assert left(gate) == []
    [edited] = gate.entries(kind="edited", hold=hold.id)
    [reviewed] = gate.entries(kind="reviewed", hold=hold.id)
    assert (reviewed["answer"], reviewed["reason"]) == ("approve", "less")
    assert edited["seq"] < reviewed["seq"]
    assert gate.sluice("ledger", "verify").status == 0


def test_a_coded_body_arrives_coded(gate: Gate, upstream: Upstream, mark: str, started: Started) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    asked = started(order, gate, mark, data=gzip.compress(BODY.encode()), headers=headers)
    child = edit(gate, gate.held(mark).id, 'sed -i s/5000/40/ "$1"')
    child.expect("yes sends")
    child.sendline("y")
    assert ended(child) == 0
    assert asked.result(PATIENCE).status_code == 200
    arrival = one(upstream, mark)
    assert gzip.decompress(arrival.body) == BODY.replace("5000", "40").encode()
    assert arrival.header("content-length") == str(len(arrival.body))


@pytest.mark.parametrize(
    ("script", "answers", "says", "status"),
    [
        ('sed -i s/5000/40/ "$1"', ["no"], "yes sends", 1),
        ("true", [], "nothing was changed", 1),
        ("exit 1", [], "the editor ended with status 1", 1),
        ("kill -SEGV $$", [], "killed by SIGSEGV", 1),
        (': > "$1"', [""], "last lines of the text", 1),
        ('sed -i s/{HOST}/evil.example/ "$1"', [""], "where the request goes cannot be edited", 1),
        ('sed -i \'s/"bob"/"‹secret 1›"/\' "$1"', [""], "a secret goes nowhere", 1),
        ("sed -i 's/5000,/5000,,/' \"$1\"", [""], "no longer JSON", 1),
        ('sed -i s,/orders/,/never/, "$1"', [""], "rule 'never-close' denies the edited request", 1),
    ],
)
def test_what_is_not_confirmed_or_not_allowed_leaves_the_hold_as_it_was(
    gate: Gate,
    upstream: Upstream,
    mark: str,
    started: Started,
    script: str,
    answers: list[str],
    says: str,
    status: int,
) -> None:
    asked = started(order, gate, mark)
    hold = gate.held(mark)
    child = edit(gate, hold.id, script.replace("{HOST}", HOST))
    child.expect(says)
    for answer in answers:
        child.expect("anything else leaves")
        child.sendline(answer)
    assert ended(child) == status
    assert left(gate) == []
    assert gate.entries(kind="edited", hold=hold.id) == []
    gate.answer(hold, True)
    assert asked.result(PATIENCE).status_code == 200
    assert one(upstream, mark).body == BODY.encode()


def test_what_was_refused_can_be_edited_again_where_it_was_left(
    gate: Gate, upstream: Upstream, mark: str, started: Started
) -> None:
    asked = started(order, gate, mark)
    script = (
        'if grep -q 5000,, "$1"; then sed -i \'s/5000,,/40,/\' "$1"; else sed -i \'s/5000,/5000,,/\' "$1"; fi'
    )
    child = edit(gate, gate.held(mark).id, script)
    child.expect("no longer JSON")
    child.sendline("e")
    child.expect(r'\+  "amount": 40')
    child.expect("yes sends")
    child.sendline("yes")
    assert ended(child) == 0
    assert asked.result(PATIENCE).status_code == 200
    assert one(upstream, mark).body == BODY.replace("5000", "40").encode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_editor_too_and_leaves_nothing(
    gate: Gate, upstream: Upstream, mark: str, started: Started, number: int
) -> None:
    asked = started(order, gate, mark)
    hold = gate.held(mark)
    pids = gate.home / "pid"
    pids.unlink(missing_ok=True)
    child = edit(gate, hold.id, f'echo $$ > "{pids}"; sleep 60')
    until(lambda: pids.exists() and pids.read_text())
    [folder] = (gate.state / "edits").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "request.txt").stat().st_mode) == 0o600
    os.kill(child.pid, number)
    assert ended(child) != 0
    assert left(gate) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(pids.read_text()), 0)
    gate.answer(hold, False)
    assert asked.result(PATIENCE).status_code == 403


def test_without_a_terminal_an_answer_is_read_from_the_input(
    gate: Gate, upstream: Upstream, mark: str, started: Started
) -> None:
    asked = started(order, gate, mark)
    env = environment(gate.home) | {
        "EDITOR": editor(gate.home, 'sed -i s/5000/40/ "$1"'),
        "SLUICE_STATE": str(gate.state),
    }
    command = [SLUICE, "edit", gate.held(mark).id, "--json"]
    silent = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (silent.returncode, silent.stdout) == (1, b"")
    done = subprocess.run(command, env=env, input=b"yes\n", capture_output=True, timeout=60)
    assert (done.returncode, json.loads(done.stdout)["agent_waiting"]) == (0, False)
    assert asked.result(PATIENCE).status_code == 200
    assert one(upstream, mark).body == BODY.replace("5000", "40").encode()


def test_a_signed_request_is_not_edited_and_the_command_says_why(
    gate: Gate, mark: str, started: Started
) -> None:
    headers = {"content-type": "application/json", "x-hub-signature-256": "sha256=00"}
    asked = started(order, gate, mark, headers=headers)
    hold = gate.held(mark)
    child = edit(gate, hold.id, "true")
    child.expect("this request is signed: the header x-hub-signature-256 signs it")
    assert ended(child) == 1
    gate.answer(hold, False)
    assert asked.result(PATIENCE).status_code == 403


def test_an_agent_that_left_meanwhile_is_sent_nothing(gate: Gate, upstream: Upstream, mark: str) -> None:
    agent = asking(gate, mark)
    hold = gate.held(mark)
    child = edit(gate, hold.id, 'sed -i s/5000/40/ "$1"')
    child.expect("yes sends")
    agent.close()
    until(lambda: gate.entries(kind="unattended", hold=hold.id))
    child.sendline("yes")
    child.expect("cannot be edited while its agent is not there|is gone")
    assert ended(child) == 1
    assert upstream.got(mark) == []


@pytest.mark.skipif(shutil.which("vi") is None, reason="vi is not here")
def test_it_works_with_vi(gate: Gate, upstream: Upstream, mark: str, started: Started) -> None:
    """Its keys, its screen and its temporary files; settings that a body holds for it do nothing."""
    body = BODY[:-1] + ', "note": "\\n vim: set ff=dos noeol :"}'
    asked = started(order, gate, mark, data=body)
    env = environment(gate.home) | {"EDITOR": "vi", "SLUICE_STATE": str(gate.state), "TERM": "xterm"}
    words = ["edit", gate.held(mark).id]
    child = pexpect.spawn(SLUICE, words, env=env, timeout=PATIENCE, encoding="utf-8", dimensions=(50, 120))
    child.expect("the request ends above this line")
    child.send(":%s/5000/40/\r")
    child.expect("40")
    child.send(":wq\r")
    child.expect(r'\+  "amount": 40')
    child.expect("yes sends")
    child.sendline("yes")
    assert ended(child) == 0
    assert asked.result(PATIENCE).status_code == 200
    assert one(upstream, mark).body == body.replace("5000", "40").encode()
    assert left(gate) == []
