"""One API and one gate for all that needs nothing else; rules that are told by their paths."""

from __future__ import annotations

import itertools
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.authority import Authority

from .product import Gate, policy, up
from .upstream import Upstream

HOST = "api.books.example"
DOWN = "api.down.example"

RULES = f"""\
version: 1
default: {{read: allow, write: hold, new_host: allow}}
rules:
  - name: drafts-flow
    why: A draft changes nothing.
    match: {{host: {HOST}, method: POST, path: [/free/**, /lost/**]}}
    then: allow
  - name: never-close
    why: Accounts are never closed by agents.
    match: {{host: {HOST}, path: /never/**}}
    then: deny
  - name: soon-over
    why: Silence refuses.
    match: {{host: {HOST}, path: /soon/**}}
    then: hold
    hold: {{timeout: 1s}}
  - name: large-orders-wait
    why: A large order cannot be taken back.
    match: {{host: {HOST}, method: POST, path: /orders/**, where: {{json.amount: {{above: 100}}}}}}
    then: hold
    show: [json.amount]
    hold: {{rejoin: 1s}}
  - name: down
    why: To be tried.
    match: {{host: {DOWN}, method: POST}}
    then: allow
"""

BODY_LIMIT = 64 * 1024

type Started = Callable[..., Future[Any]]


def sent(gate: Gate) -> Counter[tuple[str, str]]:
    """What was sent upstream by the ledger's account: method and path of what was let through and reached."""
    entries = gate.entries()
    failed = {entry["id"] for entry in entries if entry["kind"] == "failed"}
    let = ("allowed", "watched", "approved")
    return Counter(
        (entry["method"], entry["url"].partition(HOST)[2].partition("?")[0])
        for entry in entries
        if entry["kind"] == "decided" and entry["decision"] in let and entry["id"] not in failed
    )


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The CA of the APIs."""
    return Authority.make()


@pytest.fixture(scope="session")
def upstream_ca(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The flag by which a gate trusts it."""
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    file.write_bytes(authority.certificate)
    return f"--upstream-ca={file}"


@pytest.fixture(scope="module")
def upstream(authority: Authority) -> Iterator[Upstream]:
    with Upstream(authority, [HOST]) as api:
        yield api


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the account under which a module's gate runs."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def nowhere() -> Iterator[int]:
    """A port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def gate(home: Path, upstream: Upstream, upstream_ca: str, nowhere: int) -> Iterator[Gate]:
    """
    A gate with the rules above.

    At its end it is held to its word: it stops in order, its ledger verifies, and what arrived
    is what the ledger says was let through, no more and no less.
    """
    rules = policy(home, RULES)
    where = [*upstream.flags, f"--resolve={DOWN}:443:127.0.0.1:{nowhere}", upstream_ca]
    with up(home, "--policy", rules, f"--body-limit={BODY_LIMIT}", *where) as running:
        yield running
        assert running.stop() == 0
        verified = running.sluice("ledger", "verify")
        assert verified.status == 0, verified.out
        arrived = Counter((one.method, one.target.partition("?")[0]) for one in upstream.arrivals)
        assert arrived == sent(running)


@pytest.fixture(scope="session")
def started() -> Iterator[Started]:
    """Start what waits in a thread: `started(ask, ...)` is its future."""
    with ThreadPoolExecutor(max_workers=64) as threads:
        yield threads.submit


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def mark(request: pytest.FixtureRequest, _numbers: Iterator[int]) -> str:
    """A path segment that no other test uses."""
    return f"t{next(_numbers):04}"
