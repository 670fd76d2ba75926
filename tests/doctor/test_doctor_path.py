"""The doctor's proof of the path: a real gate, a real upstream, and the tools that are installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.childenv import child_environment, write_bundle
from proxy.childgate import ChildGate, start_gate
from proxy.demo.authority import Authority
from proxy.demo.upstream import Upstream
from proxy.doctor.check import Finding
from proxy.doctor.path import _POLICY, HOST, TOOLS, answer, look

SLUICE = [sys.executable, "-P", "-m", "proxy"]
BY_NAME = {tool.name: tool for tool in TOOLS}


def run_doctor(state: Path, *flags: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = subprocess.run(
        [*SLUICE, "doctor", "--state", str(state), "--json", *flags],
        capture_output=True,
        text=True,
        timeout=60,
    )
    checks = [json.loads(line) for line in done.stdout.splitlines()]
    assert checks, done.stderr
    return done.returncode, {check["check"]: check for check in checks}


def test_it_proves_the_path_and_its_exit_status_says_whether_anything_is_wrong(tmp_path: Path) -> None:
    status, checks = run_doctor(tmp_path / "state", "--listen", "127.0.0.1:0")
    assert checks["hold"]["finding"] == "ok"
    for tool in TOOLS:
        assert tool.name in checks
    # Which Node is installed is the machine's business.
    wrong = {name for name, check in checks.items() if check["finding"] == "wrong"}
    assert wrong <= {"Node"}
    assert status == (1 if wrong else 0)
    assert not (tmp_path / "state").exists()


def test_it_looks_at_the_gate_that_runs(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with start_gate(state, ["--listen=127.0.0.1:0"]) as gate:
        _, checks = run_doctor(state)
        assert checks["gate"]["finding"] == "ok"
        assert gate.ready.proxy in checks["port"]["what"]
        assert checks["port"]["finding"] == "ok"


@pytest.fixture(scope="module")
def path_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ChildGate, Upstream, Path]]:
    folder = tmp_path_factory.mktemp("path")
    authority = Authority.make()
    (folder / "upstream.pem").write_bytes(authority.certificate)
    (folder / "policy.yaml").write_text(_POLICY)
    flags = ["--listen=127.0.0.1:0", f"--policy={folder}/policy.yaml", f"--upstream-ca={folder}/upstream.pem"]
    with (
        Upstream(authority, [HOST], answer) as upstream,
        start_gate(folder / "state", [*flags, *upstream.resolve_flags()]) as gate,
    ):
        upstream.serve()
        yield gate, upstream, folder


def environment(path_: tuple[ChildGate, Upstream, Path], **changes: str) -> dict[str, str]:
    gate, _, folder = path_
    bundle = write_bundle(folder / "state", gate.ready.ca)
    child = child_environment(os.environ, proxy=gate.ready.proxy, ca=gate.ready.ca, bundle=bundle)
    return {**child, "HOME": str(folder), **changes}


@pytest.mark.parametrize("name", ["curl", "Python", "git"])
def test_a_tool_that_does_not_trust_the_ca_is_found(
    path_: tuple[ChildGate, Upstream, Path], name: str
) -> None:
    tool = BY_NAME[name]
    if not shutil.which(tool.command):
        pytest.skip(f"no {tool.command} here")
    system = dict.fromkeys(
        ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"), str(path_[2] / "upstream.pem")
    )
    check = look(tool, environment(path_, **system), path_[1], path_[2])
    assert check.finding is Finding.WRONG
    assert check.what.startswith("does not trust the gate's CA")
    assert check.fix


@pytest.mark.parametrize("name", ["curl", "Python", "git"])
def test_a_tool_that_goes_around_the_gate_is_found(
    path_: tuple[ChildGate, Upstream, Path], name: str
) -> None:
    tool = BY_NAME[name]
    if not shutil.which(tool.command):
        pytest.skip(f"no {tool.command} here")
    check = look(tool, environment(path_, NO_PROXY=HOST, no_proxy=HOST), path_[1], path_[2])
    assert check.finding is Finding.WRONG
    assert check.what.startswith("does not use the proxy")
    assert check.why and check.fix


def test_a_tool_that_is_not_there_is_a_note(path_: tuple[ChildGate, Upstream, Path]) -> None:
    check = look(BY_NAME["curl"], environment(path_, PATH=str(path_[2])), path_[1], path_[2])
    assert check.finding is Finding.NOTE


@pytest.mark.parametrize(
    ("said", "old"),
    [
        ("v18.19.0\n", True),
        ("v20.20.2\n", True),
        ("v22.20.0\n", True),
        ("v22.21.0\n", False),
        ("v23.11.0\n", True),
        ("v24.4.1\n", True),
        ("v24.5.0\n", False),
        ("v26.0.0\n", False),
        ("nonsense", True),
    ],
)
def test_which_node_reads_the_proxy(said: str, old: bool) -> None:
    assert bool(BY_NAME["Node"].too_old(said)) is old
