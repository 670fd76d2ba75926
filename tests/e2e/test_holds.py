"""Holds: what waits beside them, who may answer, and that each ends once."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pexpect
import pytest
import requests

from .clients import with_requests
from .conftest import HOST, RULES, Started
from .product import PATIENCE, SLUICE, Gate, environment, policy, until, up
from .upstream import Upstream

ORDER = b'{"amount": 250}'


def order(mark: str) -> str:
    return f"https://{HOST}/orders/{mark}"


def curl(gate: Gate, version: str, url: str) -> subprocess.Popen[bytes]:
    """An agent in a process of its own, which can be killed."""
    return subprocess.Popen(
        [
            *("curl", "--silent", f"--http{version}", "--proxy", gate.proxy, "--cacert", gate.ca),
            *("--header", "content-type: application/json", "--data-binary", ORDER.decode(), url),
        ],
        stdout=subprocess.DEVNULL,
    )


def answering(gate: Gate, verb: str, id: str) -> subprocess.Popen[str]:
    """A reviewer at a terminal of their own."""
    return subprocess.Popen(
        [SLUICE, verb, id, "--state", gate.state],
        env=environment(gate.home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_a_hold_stops_no_other_stream_of_its_connection(
    gate: Gate, upstream: Upstream, mark: str
) -> None:
    tls = ssl.create_default_context(cafile=gate.ca)
    async with httpx.AsyncClient(proxy=gate.proxy, verify=tls, http2=True, timeout=PATIENCE) as client:
        await client.get(f"https://{HOST}/first/{mark}")
        waiting = asyncio.create_task(client.post(order(mark), json={"amount": 250}))
        hold = await asyncio.to_thread(gate.held, mark)
        beside = await asyncio.gather(*(client.get(f"https://{HOST}/books/{mark}/{n}") for n in range(5)))
        assert [answer.status_code for answer in beside] == [200] * 5
        assert not waiting.done()
        await asyncio.to_thread(gate.answer, hold, True)
        held = await waiting
        assert held.status_code == 200
        streams = [answer.extensions["stream_id"] for answer in (held, *beside)]
        assert len(set(streams)) == 6, "they were not on one connection"
    assert len(upstream.got(f"orders/{mark}")) == 1


def test_a_hold_stops_no_other_connection(gate: Gate, mark: str, started: Started) -> None:
    waiting = started(with_requests, gate, "POST", order(mark), ORDER)
    hold = gate.held(mark)
    assert with_requests(gate, "GET", f"https://{HOST}/books/{mark}").status == 200
    assert not waiting.done()
    gate.answer(hold, False)
    assert waiting.result(PATIENCE).status == 403


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_hold_ends_when_its_agent_is_killed_and_cannot_be_approved(
    gate: Gate, upstream: Upstream, mark: str, version: str
) -> None:
    agent = curl(gate, version, order(mark))
    hold = gate.held(mark)
    agent.kill()
    agent.wait()
    assert gate.ended(hold.id).state == "abandoned"
    late = gate.sluice("approve", hold.id)
    assert (late.status, late.out) == (1, "")
    assert "gone: abandoned" in late.err
    assert upstream.got(mark) == []
    assert [entry["kind"] for entry in gate.entries(hold=hold.id)] == ["held", "unattended", "decided"]
    [entry] = gate.entries(kind="decided", hold=hold.id)
    assert (entry["decision"], entry["by"]) == ("abandoned", "agent")


def test_a_hold_ends_when_its_agent_runs_out_of_patience(gate: Gate, upstream: Upstream, mark: str) -> None:
    with requests.Session() as agent:
        agent.trust_env, agent.proxies, agent.verify = False, {"https": gate.proxy}, gate.ca
        with pytest.raises(requests.ReadTimeout):
            agent.post(order(mark), json={"amount": 250}, timeout=(PATIENCE, 1))
        [held] = until(lambda: [entry for entry in gate.entries(kind="held") if mark in entry["url"]])
        assert gate.ended(held["hold"]).state == "abandoned"
        assert agent.get(f"https://{HOST}/books/{mark}", timeout=PATIENCE).status_code == 200
    assert upstream.got(f"orders/{mark}") == []


async def test_a_hold_ends_when_its_connection_ends_that_carried_others(
    gate: Gate, upstream: Upstream, mark: str
) -> None:
    """httpx gives up a stream of HTTP/2 without a word; only the end of the connection tells."""
    tls = ssl.create_default_context(cafile=gate.ca)
    async with httpx.AsyncClient(proxy=gate.proxy, verify=tls, http2=True) as client:
        patience = httpx.Timeout(PATIENCE, read=0.3)
        with pytest.raises(httpx.ReadTimeout):
            await client.post(order(mark), json={"amount": 250}, timeout=patience)
        hold = await asyncio.to_thread(gate.held, mark)
        assert (await client.get(f"https://{HOST}/books/{mark}")).status_code == 200
    assert (await asyncio.to_thread(gate.ended, hold.id)).state == "abandoned"
    assert upstream.got(f"orders/{mark}") == []


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_an_approval_and_a_hang_up_at_the_same_moment_have_one_end(
    gate: Gate, upstream: Upstream, mark: str, version: str
) -> None:
    """What was approved arrived, but for an agent that left before it was sent: the ledger says so."""
    for turn in range(6):
        url = f"{order(mark)}-{turn}"
        agent = curl(gate, version, url)
        hold = gate.held(f"{mark}-{turn}")
        reviewer = answering(gate, "approve", hold.id)
        if turn % 2:
            reviewer.wait(PATIENCE)
        agent.kill()
        agent.wait()
        _, said = reviewer.communicate(timeout=PATIENCE)
        gate.ended(hold.id)
        arrived = len(upstream.got(f"{mark}-{turn}"))
        [decided] = until(lambda id=hold.id: gate.entries(kind="decided", hold=id))
        if decided["decision"] == "approved":
            assert reviewer.returncode == 0
            failed = gate.entries(kind="failed", id=decided["id"])
            assert len(failed) + len(upstream.got(f"{mark}-{turn}")) == 1
        else:
            assert (decided["decision"], reviewer.returncode, arrived) == ("abandoned", 1, 0), said


@pytest.mark.parametrize("verbs", [("approve", "approve"), ("approve", "deny")], ids="-".join)
def test_of_two_reviewers_at_the_same_moment_one_wins_and_the_other_is_told(
    gate: Gate, upstream: Upstream, mark: str, started: Started, verbs: tuple[str, str]
) -> None:
    waiting = started(with_requests, gate, "POST", order(mark), ORDER)
    hold = gate.held(mark)
    both = [answering(gate, verb, hold.id) for verb in verbs]
    said = [one.communicate(timeout=PATIENCE)[1] for one in both]
    assert sorted(one.returncode for one in both) == [0, 1]
    won = [one.returncode for one in both].index(0)
    assert "is gone" in said[1 - won]
    told = waiting.result(PATIENCE)
    assert told.status == (200 if verbs[won] == "approve" else 403)
    assert len(upstream.got(mark)) == (verbs[won] == "approve")


def test_nobody_can_answer_twice(gate: Gate, upstream: Upstream, mark: str, started: Started) -> None:
    waiting = started(with_requests, gate, "POST", order(mark), ORDER)
    hold = gate.held(mark)
    denied = gate.sluice("deny", hold.id, "--reason", "no\x1b[2Jway")
    assert denied.status == 0
    assert waiting.result(PATIENCE).problem["detail"] == "no\x1b[2Jway"
    again = gate.sluice("approve", hold.id)
    assert again.status == 1
    assert "\x1b" not in again.err
    assert upstream.got(mark) == []


def test_a_reason_that_is_no_text_reaches_the_agent_as_text(gate: Gate, mark: str, started: Started) -> None:
    waiting = started(with_requests, gate, "POST", order(mark), ORDER)
    hold = gate.held(mark)
    assert gate.sluice("deny", hold.id, "--reason", os.fsdecode(b"caf\xe9")).status == 0
    assert waiting.result(PATIENCE).problem["detail"] == "caf\\udce9"


def test_silence_refuses_and_cannot_be_approved_after_the_fact(
    gate: Gate, upstream: Upstream, mark: str, started: Started
) -> None:
    waiting = started(with_requests, gate, "POST", f"https://{HOST}/soon/{mark}", ORDER)
    hold = gate.held(mark)
    assert waiting.result(PATIENCE).problem["decision"] == "expired"
    late = gate.sluice("approve", hold.id)
    assert (late.status, "gone: expired" in late.err) == (1, True)
    assert upstream.got(mark) == []


CONTRACT = {
    *("id", "rule", "rules", "why", "agent", "method", "url", "operation", "show", "digest", "opened"),
    *("deadline", "approvals_needed", "reviews", "attempts", "agent_waiting"),
}


def test_the_commands_speak_json_and_exit_as_promised(gate: Gate, mark: str, started: Started) -> None:
    waiting = started(with_requests, gate, "POST", order(mark), ORDER)
    hold = gate.held(mark)
    [listed] = [line for line in gate.sluice("holds", "--json").lines if mark in line["url"]]
    assert set(listed) == CONTRACT
    assert (listed["id"], listed["method"], listed["agent_waiting"]) == (hold.id, "POST", True)
    assert listed["show"] == {"json.amount": ["250"]}
    [shown] = gate.sluice("show", hold.id, "--json").lines
    assert set(shown) > CONTRACT
    assert json.loads(shown["body"]) == {"amount": 250}
    [approved] = gate.sluice("approve", hold.id[:12], "--json", "--reason", "fine").lines
    assert approved["reviews"][0]["approves"] is True
    assert waiting.result(PATIENCE).status == 200
    assert gate.sluice("show", hold.id[:12]).status == 0
    assert gate.sluice("show", "zzzz").status == 1
    assert gate.sluice("approve").status == 2
    assert gate.sluice("holds", "--state", gate.home / "elsewhere").status == 3


def test_a_pause_refuses_everything_until_it_ends(
    gate: Gate, upstream: Upstream, mark: str, started: Started
) -> None:
    waiting = started(with_requests, gate, "POST", order(mark), ORDER)
    gate.held(mark)
    assert gate.sluice("pause").status == 0
    assert waiting.result(PATIENCE).problem["decision"] == "refused"
    for method in ("GET", "POST"):
        told = with_requests(gate, method, f"https://{HOST}/free/{mark}", ORDER)
        assert (told.status, told.problem["decision"]) == (403, "refused")
    assert gate.status().paused == ("*",)
    assert gate.sluice("resume").status == 0
    assert with_requests(gate, "POST", f"https://{HOST}/free/{mark}", ORDER).status == 200
    assert len(upstream.got(mark)) == 1


def test_many_wait_at_once_and_each_gets_its_own_answer(gate: Gate, upstream: Upstream, mark: str) -> None:
    with ThreadPoolExecutor(max_workers=30) as agents:
        asking = [
            agents.submit(with_requests, gate, "POST", f"{order(mark)}-{n:02}", ORDER) for n in range(30)
        ]
        gate.held(mark, count=30)
        for hold in gate.holds():
            if mark in hold.url:
                gate.answer(hold, int(hold.url[-2:]) % 2 == 0, hold.url[-2:])
        told = [one.result(PATIENCE) for one in asking]
    assert [one.status for one in told] == [200, 403] * 15
    assert [one.problem["detail"] for one in told[1::2]] == [f"{n:02}" for n in range(1, 30, 2)]
    assert sorted(one.target[-2:] for one in upstream.got(mark)) == [f"{n:02}" for n in range(0, 30, 2)]


def test_a_retry_of_the_clients_own_is_asked_anew(gate: Gate, upstream: Upstream, mark: str) -> None:
    """A refusal that says `retry: false` is what a retrying client sees, not a loop of holds."""
    adapter = requests.adapters.HTTPAdapter(
        max_retries=requests.adapters.Retry(3, status_forcelist=[502, 503], allowed_methods=None)
    )
    with requests.Session() as session:
        session.mount("https://", adapter)
        told = session.post(
            f"https://{HOST}/never/{mark}", proxies={"https": gate.proxy}, verify=gate.ca, timeout=PATIENCE
        )
    assert told.status_code == 403
    decided = [entry for entry in gate.entries(kind="decided") if mark in entry["url"]]
    assert len(decided) == 1
    assert upstream.got(mark) == []


def test_only_the_request_that_was_shown_is_approved(
    gate: Gate, upstream: Upstream, mark: str, started: Started
) -> None:
    asked = started(with_requests, gate, "POST", order(mark), ORDER)
    hold = gate.held(mark)
    for wanted in ("0" * 16, hold.digest[:7], ""):
        refused = gate.sluice("approve", hold.id, "--digest", wanted)
        assert (refused.status, "may have been edited since you saw it" in refused.err) == (1, True)
        assert gate.sluice("approve", hold.id, "--like", "--digest", wanted).status == 1
    assert gate.sluice("approve", hold.id, hold.id, "--digest", hold.digest).status == 2
    assert not asked.done() and not upstream.got(mark)
    assert gate.sluice("approve", hold.id, "--digest", hold.digest[:16]).status == 0
    assert asked.result(PATIENCE).status == 200


def test_what_somebody_has_edited_is_shown_and_agreed_to_before_it_is_approved(
    tmp_path: Path, upstream: Upstream, upstream_ca: str, mark: str, started: Started
) -> None:
    two = RULES.replace("hold: {rejoin: 1s}", "hold: {rejoin: 1s, approvals: 2}")
    with up(tmp_path, f"--policy={policy(tmp_path, two)}", *upstream.flags, upstream_ca) as gate:
        asked = started(with_requests, gate, "POST", order(mark), ORDER)
        hold = gate.held(mark)
        sheet = asyncio.run(gate.desk.sheet(hold.id))
        text = sheet.text.replace("250", "150")
        becomes = asyncio.run(gate.desk.preview(sheet, text)).digest
        asyncio.run(gate.desk.edit(sheet, text, becomes=becomes))
        assert gate.sluice("approve", hold.id, "--digest", hold.digest).status == 1
        assert '+  "amount": 150' in gate.sluice("approve", hold.id).err
        child = pexpect.spawn(
            SLUICE,
            ["approve", hold.id],
            env={**environment(tmp_path), "SLUICE_STATE": str(gate.state), "TERM": "dumb"},
            timeout=PATIENCE,
            encoding="utf-8",
        )
        child.expect_exact('+  "amount": 150')
        child.expect_exact("edited it; approve what it has become (y/N)? ")
        child.sendline("n")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 1
        gate.sluice("deny", hold.id)
        assert asked.result(PATIENCE).problem["decision"] == "denied"
