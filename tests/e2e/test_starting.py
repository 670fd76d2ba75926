"""What a start refuses: it says what is wrong, why that matters and what to do, and does not start."""

from __future__ import annotations

import re
import shutil
import socket
import sqlite3
from pathlib import Path

import pytest

from .clients import with_requests
from .conftest import HOST, RULES
from .product import Done, policy, sluice, up
from .upstream import Upstream


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the state folder of a gate that was started once and stopped in order."""
    home = tmp_path_factory.mktemp("stopped")
    with up(home, "--policy", policy(home, RULES)) as gate:
        assert gate.stop() == 0
    return home


@pytest.fixture
def home(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(stopped, tmp_path / "home"))


def start(home: Path, *flags: str | Path) -> Done:
    """A start that does not come up."""
    words = ("up", "--no-console", "--state", home / "state", "--policy", home / "policy.yaml")
    done = sluice(*words, "--listen", "127.0.0.1:0", *flags, home=home)
    assert done.out == ""
    assert "Traceback" not in done.err
    assert re.search("^sluice: error: ", done.err, re.MULTILINE)
    return done


MISTAKEN = """\
version: 1
rules:
  - name: refunds-wait
    why: A refund moves money.
    match: {host: api.stripe.com, metod: POST}
    then: hold
  - name: deletes-wait
    why: What is deleted is gone.
    match: {method: DELETE}
    then: hodl
"""


def test_every_mistake_of_a_policy_is_named_with_its_place(home: Path) -> None:
    file = policy(home, MISTAKEN)
    done = start(home)
    assert done.status == 2
    assert f"{file}:5:35: unknown field 'metod'" in done.err
    assert "did you mean 'method'?" in done.err
    assert f"{file}:10:11: " in done.err
    assert "hodl" in done.err
    checked = sluice("policy", "check", file, home=home)
    assert checked.status == 2
    assert f"{file}:5:35: " in checked.err
    assert f"{file}:10:11: " in checked.err


def test_a_policy_that_is_not_there_is_no_policy(home: Path) -> None:
    (home / "policy.yaml").unlink()
    assert start(home).status == 2


def test_a_port_in_use_is_named(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = start(home, "--listen", f"127.0.0.1:{port}")
    assert done.status == 2
    assert f"127.0.0.1:{port}" in done.err
    assert "fix: " in done.err


def test_a_state_folder_that_others_can_write_is_refused(home: Path) -> None:
    (home / "state").chmod(0o777)
    done = start(home)
    assert done.status == 2
    assert "can be written by others (mode 0777)" in done.err
    assert "chmod 700" in done.err


def test_a_ledger_from_a_newer_version_is_refused(home: Path) -> None:
    with sqlite3.connect(home / "state" / "ledger.db") as ledger:
        [version] = ledger.execute("PRAGMA user_version").fetchone()
        ledger.execute(f"PRAGMA user_version = {version + 1}")
    ledger.close()
    done = start(home)
    assert done.status == 2
    assert f"version {version + 1}" in done.err
    assert sluice("ledger", "verify", home / "state" / "ledger.db", home=home).status == 2


def test_a_ledger_with_a_broken_chain_is_refused(home: Path) -> None:
    file = home / "state" / "ledger.db"
    whole = file.read_bytes()
    assert whole.count(b'"shadow":false') == 1
    file.write_bytes(whole.replace(b'"shadow":false', b'"shadow":falze'))
    done = start(home)
    assert done.status == 1
    assert "is broken: entry 1" in done.err
    assert "sluice ledger verify" in done.err
    verified = sluice("ledger", "verify", file, home=home)
    assert (verified.status, verified.out.startswith("entry 1: ")) == (1, True)


def test_a_file_that_is_no_ledger_is_refused(home: Path) -> None:
    (home / "state" / "ledger.db").write_bytes(b"notes\n" * 1000)
    assert start(home).status in (1, 2)


def test_a_ca_that_does_not_match_its_key_is_refused(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with up(other, "--policy", policy(other, RULES)):
        pass
    shutil.copy(other / "state" / "ca.key", home / "state" / "ca.key")
    done = start(home)
    assert done.status == 2
    assert "ca.pem" in done.err
    assert "fix: " in done.err


def test_a_second_gate_on_the_same_state_folder_is_refused(home: Path) -> None:
    with up(home, "--policy", home / "policy.yaml") as first:
        done = start(home)
        assert done.status == 2
        assert f"already, at {first.proxy}" in done.err and "fix: sluice review; " in done.err
        assert first.status().proxy == first.proxy


@pytest.mark.parametrize(
    "flags",
    [
        ("--listen", "0.0.0.0:0"),
        ("--listen", "127.0.0.1"),
        ("--resolve", "api.example:443"),
        ("--body-limit", "ten"),
        ("--upstream-ca", "missing.pem"),
        ("--review-group", "no-such-group"),
        ("--lissen", "127.0.0.1:0"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_refused(home: Path, flags: tuple[str, str]) -> None:
    assert start(home, *flags).status == 2


def test_a_console_needs_a_terminal(home: Path) -> None:
    done = sluice("up", "--state", home / "state", "--policy", home / "policy.yaml", home=home)
    assert done.status == 2
    assert "--no-console" in done.err


def test_what_was_refused_can_be_put_right(
    home: Path, upstream: Upstream, upstream_ca: str, mark: str
) -> None:
    """The fix that a refusal names is one."""
    (home / "state").chmod(0o777)
    assert "chmod 700" in start(home).err
    (home / "state").chmod(0o700)
    with up(home, "--policy", home / "policy.yaml", *upstream.flags, upstream_ca) as gate:
        assert with_requests(gate, "GET", f"https://{HOST}/books/{mark}").status == 200
        assert gate.stop() == 0
        assert gate.sluice("ledger", "verify").status == 0
