"""
The product as an account without any rights has it, where the tests run as root.

Root may open what nobody else may, so that a wrong mode or a missing right is seen by others only.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy.demo.authority import Authority

from .clients import with_requests
from .conftest import HOST, RULES, Started
from .product import PATIENCE, SLUICE, Gate, environment, policy, until, up
from .upstream import Upstream

NOBODY = 65_534
SOMEBODY, STRANGER = 65_533, 65_532
"""Accounts that no file knows: the kernel names them by number."""
ROOT = Path(__file__).parents[2]
NEEDED = tuple(dict.fromkeys(Path(one).resolve() for one in (sys.base_prefix, sys.prefix, ROOT)))


def _possible() -> bool:
    tools = all(shutil.which(tool) for tool in ("unshare", "setpriv", "mount", "curl"))
    if os.geteuid() != 0 or not tools:
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _possible(), reason="only root can be someone else")


def _closed(path: Path) -> Path | None:
    """The topmost folder on the way to a path that others may not pass."""
    way = [*reversed(path.parents), path]
    return next((one for one in way if not one.stat().st_mode & stat.S_IXOTH), None)


def _opened(below: Path) -> str:
    """
    A script that opens the way to Python and to the product, seen in its own mount namespace alone.

    What lies in a closed folder besides stays out of reach.
    """
    needed = [path for path in NEEDED if _closed(path)]
    closed = {str(_closed(path)) for path in needed}
    aside = [(str(below / str(number)), str(path)) for number, path in enumerate(needed)]
    lines = [f"mkdir {shlex.quote(away)}; mount --bind {shlex.quote(path)} {away}" for away, path in aside]
    lines += [f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(folder)}" for folder in sorted(closed)]
    lines += [
        f"mkdir -p {shlex.quote(path)}; mount --bind {away} {shlex.quote(path)}" for away, path in aside
    ]
    return "\n".join(["set -e", *lines, 'exec "$@"'])


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The home of that account, where it can reach it."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-account-"))
    (folder / "aside").mkdir(mode=0o755)
    os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def start(home: Path, *words: str | Path, uid: int = NOBODY, gid: int = NOBODY) -> subprocess.Popen[str]:
    """A command as that account, in that group alone, with no capability left."""
    aside = Path(tempfile.mkdtemp(dir=home / "aside"))
    aside.chmod(0o755)
    someone = [f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
    become = ["setpriv", *someone, "--inh-caps=-all", "--bounding-set=-all", "--"]
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", _opened(aside), "sh", *become, *map(str, words)],
        env=environment(home) | {"SLUICE_STATE": str(home / "state"), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ran(home: Path, *words: str | Path) -> str:
    """What a command that ends well prints."""
    process = start(home, *words)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return out


@contextmanager
def running(home: Path, *words: str | Path) -> Iterator[subprocess.Popen[str]]:
    process = start(home, *words)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def gate(home: Path, authority: Authority) -> Iterator[dict[str, Any]]:
    """The line of a gate that is ready; it stops in order."""
    ca = home / "upstream.pem"
    ca.write_bytes(authority.certificate)
    with Upstream(authority, [HOST]) as upstream:
        rules = ["--policy", policy(home, RULES), f"--upstream-ca={ca}", *upstream.flags]
        with running(home, SLUICE, "up", "--no-console", "--listen", "127.0.0.1:0", *rules) as process:
            assert process.stdout
            assert process.stderr
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield json.loads(line)
        assert process.returncode == 0
    assert "no change was found" in ran(home, SLUICE, "ledger", "verify")


def test_a_command_behind_the_gate_waits_until_that_account_approves(
    home: Path, gate: dict[str, Any]
) -> None:
    curl = ["curl", "-sS", "-d", '{"amount": 500}', "-H", "content-type: application/json"]
    with running(home, SLUICE, "run", "--", *curl, f"https://{HOST}/orders/1") as agent:
        hold = json.loads(until(lambda: ran(home, SLUICE, "holds", "--json")))
        assert (hold["agent"], hold["rule"]) == (f"uid:{pwd.getpwuid(NOBODY).pw_name}", "large-orders-wait")
        ran(home, SLUICE, "approve", hold["id"])
        out, err = agent.communicate(timeout=PATIENCE)
    assert (agent.returncode, json.loads(out)) == (0, {"ok": True}), err


def test_what_lies_in_the_state_folder_is_that_accounts_alone(home: Path, gate: dict[str, Any]) -> None:
    state = home / "state"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [state, *state.iterdir()]}
    assert modes["state"] == 0o700
    assert modes["control.sock"] == modes["ledger.db"] == modes["ca.key"] == modes["ledger.key"] == 0o600
    assert not [name for name, mode in modes.items() if mode & 0o022]
    assert {path.stat().st_uid for path in [state, *state.iterdir()]} == {NOBODY}


def test_another_account_gets_nothing_through_it_not_even_root(home: Path, gate: dict[str, Any]) -> None:
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(f"http://{HOST}/free/1", proxies={"http": gate["proxy"]}, timeout=PATIENCE)
    assert "/free/1" not in ran(home, SLUICE, "ledger", "show", "--json")


def test_an_account_that_is_not_let_in_is_told_who_can_change_that(home: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)  # another account's state folder
    process = start(home, SLUICE, "holds", "--state", tmp_path)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3
    assert "does not let this account in" in err and "sluice up --review-group" in err


TWO = f"""\
version: 1
default: {{read: allow, write: hold, new_host: allow}}
rules:
  - name: two-eyes-are-not-enough
    why: It takes two, and neither of them runs the agent.
    match: {{host: {HOST}, path: /two/**}}
    then: hold
    hold: {{approvals: 2, reviewers: [finance], not: [agent-owner]}}
"""


@pytest.fixture
def shared(authority: Authority) -> Iterator[tuple[Gate, Upstream]]:
    """A gate of root's, which the accounts of a group review; its folder is where they can reach it."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-two-"))
    folder.chmod(0o755)
    (folder / "aside").mkdir(mode=0o755)
    (folder / ".config" / "sluice").mkdir(parents=True)
    (folder / ".config" / "sluice" / "reviewers.yaml").write_text(
        "version: 1\nreviewers:\n  - {name: root, uid: 0, groups: [finance]}\n"
        f"  - {{name: ada, uid: {NOBODY}, groups: [finance]}}\n"
        f"  - {{name: ada-too, uid: {NOBODY}, groups: [finance]}}\n"
        f"  - {{name: bob, uid: {SOMEBODY}, groups: [finance]}}\n"
    )
    ca = folder / "upstream.pem"
    ca.write_bytes(authority.certificate)
    group = f"--review-group={grp.getgrgid(NOBODY).gr_name}"
    with Upstream(authority, [HOST]) as upstream:
        flags = [f"--policy={policy(folder, TWO)}", f"--upstream-ca={ca}", *upstream.flags, group]
        with up(folder, *flags) as running:
            yield running, upstream
    shutil.rmtree(folder)


def tried(gate: Gate, uid: int, *words: str, gid: int = NOBODY) -> tuple[int, str]:
    """A reviewer's command as that account: its status, and what it says."""
    process = start(gate.home, SLUICE, *words, uid=uid, gid=gid)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out + err


def test_it_takes_two_accounts_and_not_the_one_that_runs_the_agent(
    shared: tuple[Gate, Upstream], started: Started, mark: str
) -> None:
    gate, upstream = shared
    asked = started(with_requests, gate, "POST", f"https://{HOST}/two/{mark}", b"{}")
    hold = gate.held(mark)
    own = gate.sluice("approve", hold.id)
    assert (own.status, "excludes whoever runs the agent" in own.err) == (1, True)
    assert tried(gate, STRANGER, "holds", gid=STRANGER)[0] == 3, "who is not of the group reaches nothing"
    status, said = tried(gate, NOBODY, "approve", hold.id)
    assert (status, "1 more needed" in said) == (0, True), said
    status, said = tried(gate, NOBODY, "approve", hold.id, "--as", "ada-too")
    assert (status, "already approved" in said) == (1, True), said
    status, said = tried(gate, NOBODY, "approve", hold.id, "--as", "bob")
    assert (status, "has no name 'bob'" in said) == (1, True), said
    status, said = tried(gate, STRANGER, "approve", hold.id)
    assert (status, "is no reviewer" in said) == (1, True), said
    assert not asked.done() and upstream.got(mark) == []
    status, said = tried(gate, SOMEBODY, "approve", hold.id)
    assert (status, "approved and released" in said) == (0, True), said
    assert asked.result(PATIENCE).status == 200
    [entry] = gate.entries(kind="decided", hold=hold.id)
    assert entry["reviewers"] == ["ada", "bob"]
    assert tried(gate, NOBODY, "ledger", "show")[0] == 2, "the ledger is its owner's alone"


def test_the_demo_decides_by_itself(home: Path) -> None:
    out = ran(home, SLUICE, "demo", "--yes")
    assert re.search(r"a refund of 4,200\.00 USD +approved +once", out)
    assert "and its chain holds" in out
