"""
What is measured, each in a process of its own: the upstream, stock mitmdump, and sluice.

With two cores or more, upstream and load have the first ones to themselves and a proxy has the
last: neither takes from the other what is to be measured.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench import process, rules
from bench.agent import HOST, BrokenError, Way
from bench.load import Loaded
from proxy.gate.ca import open_authority

SCRIPTS: Final = Path(__file__).resolve().parent.parent
_READY: Final = 30.0
_STOPPED: Final = 20.0
_UNDER_WAY: Final = 0.5
_ENDLESS: Final = 3600.0


def cores() -> tuple[frozenset[int], frozenset[int]]:
    """(for upstream and load, for the proxy)."""
    ours = sorted(os.sched_getaffinity(0))
    return (frozenset(ours[:-1]), frozenset(ours[-1:])) if len(ours) > 1 else (frozenset(ours),) * 2


@contextmanager
def _on(wanted: frozenset[int]) -> Iterator[None]:
    """What is started inside runs on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _running(command: Sequence[str], log: Path, wanted: frozenset[int]) -> Iterator[subprocess.Popen[str]]:
    """A program with pipes to it; stopped at the end, its stderr in `log`."""
    with log.open("w") as errors, _on(wanted):
        started = subprocess.Popen(
            command, cwd=SCRIPTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.communicate(timeout=_STOPPED)
        except subprocess.TimeoutExpired:
            started.kill()
            started.communicate()


def _first_line(started: subprocess.Popen[str], log: Path) -> dict[str, object]:
    """The JSON line with which a program says that it is ready."""
    assert started.stdout is not None
    ready, _, _ = select.select([started.stdout], [], [], _READY)
    line = started.stdout.readline() if ready else ""
    if not line:
        raise BrokenError(f"{started.args!r} did not start:\n{log.read_text()[-2000:]}")
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


@dataclass(frozen=True, slots=True)
class Upstream:
    """Its ports, and the CA (a file, PEM) that its certificate is of."""

    plain: int
    tls: int
    ca: Path


@contextmanager
def upstream(folder: Path) -> Iterator[Upstream]:
    """An upstream that is `HOST`."""
    ca, chain = _certificates(folder)
    log = folder / "upstream.log"
    command = [sys.executable, "-m", "bench.upstream", str(chain)]
    with _running(command, log, cores()[0]) as started:
        ports = _first_line(started, log)
        yield Upstream(int(str(ports["plain"])), int(str(ports["tls"])), ca)


def _certificates(folder: Path) -> tuple[Path, Path]:
    """(the CA's certificate, a server's key and certificate), as files."""
    state = folder / "upstream-ca"
    state.mkdir(mode=0o700)
    now = datetime.datetime.now(datetime.UTC)
    authority = open_authority(state, now)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf: x509.Certificate = authority.leaf(HOST, key.public_key(), now)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = state / "server.pem"
    chain.touch(0o600)
    chain.write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
    return state / "ca.pem", chain


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy: its port, its process, the CA that agents trust, its state folder where it has one."""

    port: int
    pid: int
    ca: Path
    state: Path

    def cpu(self) -> float:
        """Seconds of CPU that it has taken so far."""
        return process.cpu(self.pid)

    def memory(self) -> int:
        """Bytes of memory that it has now."""
        return process.memory(self.pid)


@contextmanager
def sluice(name: str, folder: Path, upstream: Upstream, *flags: str) -> Iterator[Proxy]:
    """Sluice with the bench's rules and a ledger."""
    state, policy, log = folder / name, folder / f"{name}.yaml", folder / f"{name}.log"
    policy.write_text(rules.policy(HOST))
    program = Path(sys.executable).with_name("sluice")
    command = [
        *(str(program), "up", "--no-console", "--listen", "127.0.0.1:0", "--state", str(state)),
        *("--policy", str(policy), "--upstream-ca", str(upstream.ca), *flags),
    ]
    with _running(command, log, cores()[1]) as started:
        ready = _first_line(started, log)
        port = int(str(ready["proxy"]).rpartition(":")[2])
        yield Proxy(port, started.pid, Path(str(ready["ca"])), state)


@contextmanager
def mitmdump(folder: Path, upstream: Upstream) -> Iterator[Proxy]:
    """Stock `mitmdump -q`, told no more than where to listen and whom to trust."""
    state, log = folder / "mitmdump", folder / "mitmdump.log"
    state.mkdir()
    port = _free_port()
    options = (f"confdir={state}", f"ssl_verify_upstream_trusted_ca={upstream.ca}")
    program = Path(sys.executable).with_name("mitmdump")
    command = [str(program), "-q", "--listen-host", "127.0.0.1", "--listen-port", str(port)]
    command += [word for option in options for word in ("--set", option)]
    with _running(command, log, cores()[1]) as started:
        _wait_for(port, started, log)
        yield Proxy(port, started.pid, state / "mitmproxy-ca-cert.pem", state)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait_for(port: int, started: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + _READY
    while time.monotonic() < deadline and started.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise BrokenError(f"{started.args!r} did not start:\n{log.read_text()[-2000:]}")


def load(way: Way, connections: int, warm: float, seconds: float, pid: int | None) -> Loaded:
    """Run the load generator; `pid` is the proxy's, of which the CPU is counted."""
    command = _load_command(way, connections, warm, seconds, pid)
    with _on(cores()[0]):
        done = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise BrokenError(f"the load generator failed: {command[-1]}\n{done.stderr[-2000:]}")
    return Loaded(**json.loads(done.stdout))


@contextmanager
def busy(folder: Path, way: Way, connections: int) -> Iterator[None]:
    """Load without end while the block runs."""
    log = folder / "busy.log"
    with _running(_load_command(way, connections, 0, _ENDLESS, None), log, cores()[0]) as started:
        time.sleep(_UNDER_WAY)
        yield
        if started.poll() is not None:
            raise BrokenError(f"the load generator failed:\n{log.read_text()[-2000:]}")


def _load_command(way: Way, connections: int, warm: float, seconds: float, pid: int | None) -> list[str]:
    plan: dict[str, object] = {"port": way.port, "proxy": way.proxy, "ca": way.ca, "connections": connections}
    plan |= {"warm": warm, "seconds": seconds, "pid": pid}
    return [sys.executable, "-m", "bench.load", json.dumps(plan)]


def entries(state: Path) -> int:
    """How many entries a ledger has; BrokenError unless it verifies."""
    program = Path(sys.executable).with_name("sluice")
    command = [str(program), "ledger", "verify", "--json", str(state / "ledger.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise BrokenError(f"the ledger of the bench does not verify:\n{done.stdout}{done.stderr}")
    return int(json.loads(done.stdout)["entries"])
