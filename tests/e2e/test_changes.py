"""A policy that changes while the gate runs, and the two ways of running it otherwise."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pexpect
import pytest

from proxy.errors import SluiceError

from .clients import with_requests
from .conftest import HOST, RULES, Started
from .product import PATIENCE, SLUICE, Gate, environment, policy, until, up
from .upstream import Upstream

ORDER = b'{"amount": 250}'
CLOSED = RULES.replace("name: drafts-flow", "name: drafts-stop").replace("then: allow", "then: deny", 1)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def flags(home: Path, upstream: Upstream, upstream_ca: str) -> list[str]:
    return [f"--policy={policy(home, RULES)}", *upstream.flags, upstream_ca]


def draft(gate: Gate, mark: str) -> int:
    """Ask for what `RULES` allows and `CLOSED` denies; the status."""
    return with_requests(gate, "POST", f"https://{HOST}/free/{mark}", ORDER).status


def test_a_changed_policy_is_shown_and_in_force_once_a_reviewer_takes_it(
    home: Path, flags: list[str], mark: str
) -> None:
    with up(home, *flags) as gate:
        before = gate.status().policy
        assert gate.sluice("policy", "accept").status == 1  # there is nothing to take
        policy(home, CLOSED)
        change = until(lambda: gate.status().policy_change)
        assert "drafts-flow" in change
        assert "drafts-stop" in change
        assert (gate.status().policy, draft(gate, mark)) == (before, 200)
        taken = gate.sluice("policy", "accept")
        assert taken.status == 0
        assert "drafts-stop" in taken.err
        assert draft(gate, mark) == 403
        [entry] = gate.entries(kind="policy_changed")
        assert (entry["before"], entry["policy"]) == (before, gate.status().policy)
        assert "drafts-stop" in entry["difference"]


def test_only_the_policy_that_was_shown_is_taken(home: Path, flags: list[str]) -> None:
    with up(home, *flags) as gate:
        before = gate.status().policy
        policy(home, CLOSED)
        shown = until(lambda: gate.status().policy_next)
        policy(home, CLOSED.replace("never-close", "nearly-never-close"))
        other = until(lambda: (found := gate.status().policy_next) != shown and found)
        for wanted in (shown, shown[:12], other[:7], ""):
            refused = gate.sluice("policy", "accept", wanted)
            assert (refused.status, "changed again since you saw it" in refused.err) == (1, True), wanted
        with pytest.raises(SluiceError, match="changed again since you saw it"):
            asyncio.run(gate.desk.accept(""))
        assert gate.status().policy == before
        assert gate.sluice("policy", "accept", other[:8]).status == 0
        assert gate.status().policy == other


def test_at_a_terminal_it_is_shown_and_asked_about(home: Path, flags: list[str]) -> None:
    with up(home, *flags) as gate:
        policy(home, CLOSED)
        shown = until(lambda: gate.status().policy_next)
        for answer, status in (("", 1), ("n", 1), ("y", 0)):
            child = pexpect.spawn(
                SLUICE,
                ["policy", "accept"],
                env={**environment(home), "SLUICE_STATE": str(gate.state), "TERM": "dumb"},
                timeout=PATIENCE,
                encoding="utf-8",
            )
            child.expect(f"policy {shown[:12]} would take the place of")
            child.expect("drafts-stop")
            child.expect_exact("take it (y/N)? ")
            assert gate.status().policy != shown
            child.sendline(answer)
            child.expect(pexpect.EOF)
            child.close()
            assert child.exitstatus == status
        assert gate.status().policy == shown


def test_a_changed_policy_judges_again_what_waits(
    home: Path, flags: list[str], upstream: Upstream, mark: str, started: Started
) -> None:
    with up(home, *flags, "--reload=auto") as gate:
        denied = started(with_requests, gate, "POST", f"https://{HOST}/orders/{mark}-denied", ORDER)
        looser = started(with_requests, gate, "POST", f"https://{HOST}/other/{mark}-looser", ORDER)
        gate.held(mark, 2)
        rules = RULES.replace("where: {json.amount: {above: 100}}", "where: {json.amount: {above: 200}}")
        rules = rules.replace(
            "    then: hold\n    show: [json.amount]\n    hold: {rejoin: 1s}",
            "    then: deny\n    show: [json.amount]",
        )
        policy(home, rules.replace("/free/**", "/free/**, /other/**"))
        assert denied.result(PATIENCE).problem["decision"] == "refused"
        # Now it would be allowed; who asked before still waits for a person.
        assert not looser.done()
        gate.answer(gate.held(f"{mark}-looser"), True)
        assert looser.result(PATIENCE).status == 200
    assert [one.target for one in upstream.got(mark)] == [f"/other/{mark}-looser"]


def test_a_policy_that_breaks_changes_nothing_and_is_shown(home: Path, flags: list[str], mark: str) -> None:
    with up(home, *flags, "--reload=auto") as gate:
        before = gate.status().policy
        policy(home, CLOSED + "  - name: broken\n")
        error = until(lambda: gate.status().policy_error)
        assert str(home / "policy.yaml") in error
        assert "broken" in error
        assert (gate.status().policy, draft(gate, mark)) == (before, 200)
        policy(home, CLOSED)
        until(lambda: gate.status().policy != before, patience=3)
        assert gate.status().policy_error == ""
        assert draft(gate, mark) == 403


def test_in_the_shadow_everything_flows_and_what_would_have_been_held_is_recorded(
    home: Path, flags: list[str], upstream: Upstream, mark: str
) -> None:
    with up(home, *flags, "--shadow", "--record=strict") as gate:
        assert gate.status().shadow
        for path in ("orders", "never", "free"):
            assert with_requests(gate, "POST", f"https://{HOST}/{path}/{mark}", ORDER).status == 200
        # Bytes that two servers could read differently are refused all the same.
        assert with_requests(gate, "POST", f"https://{HOST}/free%5C/{mark}", ORDER).status == 400
        decided = gate.entries(kind="decided")
        assert [(one["decision"], one.get("effect"), one.get("shadow")) for one in decided] == [
            ("watched", "hold", True),
            ("watched", "deny", True),
            ("watched", "allow", True),
            ("unreadable", None, None),
        ]
    assert len(upstream.got(mark)) == 3


def test_a_strict_record_has_every_entry_on_disk_before_the_request_leaves(
    home: Path, flags: list[str], upstream: Upstream, mark: str, started: Started
) -> None:
    with up(home, *flags, "--record=strict") as gate:
        asking = started(with_requests, gate, "POST", f"https://{HOST}/lost/{mark}", ORDER)
        upstream.wait_for(mark)
        assert [one["decision"] for one in gate.entries(kind="decided")] == ["allowed"]
        assert asking.result(PATIENCE).problem["decision"] == "unknown"
        [entry] = until(lambda: gate.entries(kind="unknown"))
        assert entry["id"] == gate.entries(kind="decided")[0]["id"]
