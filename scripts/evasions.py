"""
Send adversarial requests through a real gate, and see what each comes to.

    .venv/bin/python scripts/evasions.py CORPUS [--policy PATH]... [--only ID]...

CORPUS is a file (or a folder with ``evasions.jsonl``) of one case a line: ``id``, ``title``,
``transport``, ``raw_b64`` (bytes of HTTP/1.1) or ``structured`` (HTTP/2 and tunnels), and
``acceptable``, a list of hold, reject and allow. The bytes go over a real connection to
``sluice up``, whose upstreams are one server on loopback; nothing leaves this machine.
A table is printed; the exit status is 1 where a case came to something else.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import re
import ssl
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from socket import create_connection, create_server, socket
from typing import Any, Final

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from proxy.control import ControlDesk
from proxy.demo.authority import Authority

ROOT: Final = Path(__file__).resolve().parent.parent
PATIENCE: Final = 15.0
STEP: Final = 0.02
ALLOW, HOLD, REJECT = "allow", "hold", "reject"
_REFUSALS: Final = re.compile(rb'sluice-decision: *(\w+)|"decision": *"(\w+)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Case:
    """One adversarial request."""

    id: str
    title: str
    category: str
    acceptable: tuple[str, ...]
    transport: dict[str, Any]
    raw: bytes | None
    structured: dict[str, Any]

    @classmethod
    def read(cls, line: str) -> Case:
        """A case from its line."""
        row = json.loads(line)
        raw = base64.b64decode(row["raw_b64"]) if row.get("raw_b64") else None
        return cls(
            row["id"],
            row["title"],
            row["category"],
            tuple(row["acceptable"]),
            row["transport"],
            raw,
            row.get("structured") or {},
        )

    @property
    def address(self) -> tuple[str, int] | None:
        """Where a CONNECT goes; None for a request straight to the proxy."""
        named = self.transport.get("connect_host")
        if not named or self.transport.get("forward_proxy"):
            return None
        host, _, port = named.partition(":")
        return host, int(port or (443 if self.transport.get("scheme") == "https" else 80))


class Sink:
    """Every upstream there is: takes a request, remembers that one came, says 200."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._listener = create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.arrivals = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket) -> None:
        client.settimeout(PATIENCE)
        with contextlib.suppress(OSError), client:
            wire = self._context.wrap_socket(client, server_side=True) if self._context else client
            with wire:
                while wire.recv(65_536):
                    self.arrivals += 1
                    wire.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    def close(self) -> None:
        """Take no more."""
        self._listener.close()


@dataclass
class Gate:
    """A running gate, and its upstreams."""

    port: int
    desk: ControlDesk
    trust: ssl.SSLContext
    sinks: Sequence[Sink]
    seen: set[tuple[str, int]] = field(default_factory=set)

    @property
    def arrivals(self) -> int:
        """How many times bytes have come to an upstream."""
        return sum(sink.arrivals for sink in self.sinks)

    def held(self) -> bool:
        """Whether a hold has opened since then, or was joined: two cases may be the same request."""
        holds = {(hold.id, hold.attempts) for hold in asyncio.run(self.desk.snapshot()).holds}
        fresh = holds - self.seen
        self.seen |= fresh
        return bool(fresh)


@contextlib.contextmanager
def gate(cases: Sequence[Case], policies: Sequence[str], state: Path) -> Iterator[Gate]:
    """A gate that sends every host of the cases to a sink."""
    authority = Authority.make()
    plain, addresses = Sink(None), _addresses(cases)
    names = sorted({host for host, _ in addresses})
    tls = Sink(authority.server_context(names))
    ca = state / "upstream.pem"
    ca.write_bytes(authority.certificate)
    flags = [f"--policy={one}" for one in policies] + [f"--upstream-ca={ca}"]
    for host, port in addresses:
        sink = plain if port == 80 else tls
        flags.append(f"--resolve={host}:{port}:127.0.0.1:{sink.port}")
    command = [sys.executable, "-m", "proxy", "up", "--no-console", "--listen", "127.0.0.1:0"]
    said = state / "said.txt"
    with (
        said.open("w") as talk,
        subprocess.Popen(
            [*command, f"--state={state / 'gate'}", *flags],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=talk,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"the gate did not start:\n{said.read_text()[-2_000:]}")
            ready = json.loads(line)
            port = int(ready["proxy"].rpartition(":")[2])
            trust = ssl.create_default_context(cafile=ready["ca"])
            yield Gate(port, ControlDesk(Path(ready["control"])), trust, (plain, tls))
        finally:
            process.terminate()
            process.wait(PATIENCE)
            plain.close()
            tls.close()


def _addresses(cases: Sequence[Case]) -> list[tuple[str, int]]:
    found: dict[tuple[str, int], None] = {}
    for case in cases:
        if case.address:
            found[case.address] = None
        for host in re.findall(rb"(?:Host: *|://)([A-Za-z][A-Za-z0-9.-]+[A-Za-z])", case.raw or b""):
            found[host.decode().lower(), 80] = None
            found[host.decode().lower(), 443] = None
    return list(found)


# -- one case ---------------------------------------------------------------------------------


def outcome(case: Case, gate: Gate) -> tuple[str, str]:
    """What a case comes to, and what the agent was told."""
    before = gate.arrivals
    try:
        with _connection(case, gate) as wire:
            _send(case, wire)
            return _wait(case, gate, wire, before)
    except _RefusedError as refusal:
        return REJECT, str(refusal)


class _RefusedError(Exception):
    pass


@contextlib.contextmanager
def _connection(case: Case, gate: Gate) -> Iterator[socket]:
    """A connection to the proxy, or through it by CONNECT (and TLS) to a host."""
    with create_connection(("127.0.0.1", gate.port), PATIENCE) as wire:
        if case.address is None:
            yield wire
            return
        host, port = case.address
        wire.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        answer = wire.recv(65_536)
        if b" 200 " not in answer.partition(b"\r\n")[0]:
            raise _RefusedError(_said(answer))
        if case.transport.get("scheme") != "https":
            yield wire
            return
        context = gate.trust
        wants_h2 = case.structured.get("protocol") == "h2"
        context.set_alpn_protocols(["h2"] if wants_h2 else ["http/1.1"])
        context.check_hostname = "sni" not in case.transport
        name = case.transport.get("sni", host)
        try:
            with context.wrap_socket(wire, server_hostname=name) as inner:
                yield inner
        except ssl.SSLError as error:
            raise _RefusedError(f"TLS: {error.reason}") from None


def _send(case: Case, wire: socket) -> None:
    if case.raw is not None:
        wire.sendall(case.raw)
        return
    given = case.structured
    match given:
        case {"protocol": "h2"}:
            wire.sendall(_h2(given))
        case {"upgrade": _}:
            path = re.sub(r"^\w+://[^/]+", "", given["url"])
            host = case.address[0] if case.address else ""
            lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket"]
            lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
            lines += [f"Sec-WebSocket-Protocol: {given['subprotocol']}", "", ""]
            wire.sendall("\r\n".join(lines).encode())
        case {"steps": [first, *_]}:
            wire.sendall(f"{first} HTTP/1.1\r\nHost: {first.split()[1]}\r\n\r\n".encode())
        case _:
            raise SystemExit(f"{case.id}: no way is known to send {sorted(given)}")


def _h2(given: dict[str, Any]) -> bytes:
    """The frames of one request, as odd as they are asked for."""
    config = h2.config.H2Configuration(
        client_side=True,
        header_encoding="utf-8",
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    fields = {**given["pseudo"], **given.get("headers", {})}
    ordered = [(name, fields[name]) for name in given.get("order", fields)]
    body = given.get("body", "").encode() or base64.b64decode(given.get("body_b64", ""))
    connection.send_headers(1, ordered, end_stream=not body)
    if body:
        connection.send_data(1, body, end_stream=True)
    return connection.data_to_send()


def _wait(case: Case, gate: Gate, wire: socket, before: int) -> tuple[str, str]:
    """Whichever comes first: a hold, an arrival upstream, an answer, or the end of the connection."""
    wire.settimeout(STEP)
    said = b""
    for _ in range(int(PATIENCE / STEP)):
        if gate.held():
            return HOLD, ""
        if gate.arrivals > before:
            return ALLOW, ""
        try:
            more = wire.recv(65_536)
        except TimeoutError:
            continue
        except OSError as error:
            return REJECT, type(error).__name__
        said += more
        if not more or _REFUSALS.search(said) or (case.raw and said.startswith(b"HTTP/1.1 4")):
            # An arrival may be on its way to be counted; nothing is rejected that arrived.
            return (ALLOW if gate.arrivals > before else REJECT), _said(said)
        if case.structured.get("protocol") == "h2" and (ended := _h2_end(said)):
            return (ALLOW if gate.arrivals > before else REJECT), ended
    return "nothing", _said(said)


def _h2_end(said: bytes) -> str:
    """How a stream ended, by the frames that came; empty while it has not."""
    agent = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    agent.initiate_connection()
    agent.send_headers(
        1, [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")], True
    )
    try:
        events = agent.receive_data(said)
    except h2.exceptions.ProtocolError:
        return "closed"
    for event in events:
        match event:
            case h2.events.ResponseReceived():
                return dict(event.headers).get("sluice-decision", dict(event.headers)[":status"])
            case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                return "reset"
    return ""


def _said(answer: bytes) -> str:
    found = _REFUSALS.search(answer)
    if found:
        return (found[1] or found[2]).decode()
    return answer.partition(b"\r\n")[0].decode("latin-1")[:60] or "closed"


# -- all of them --------------------------------------------------------------------------------


def main() -> int:
    """Run the cases; the exit status."""
    parser = argparse.ArgumentParser(description="Send adversarial requests through a real gate.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--policy", action="append", metavar="PATH")
    parser.add_argument("--only", action="append", metavar="ID")
    given = parser.parse_args()
    file = given.corpus / "evasions.jsonl" if given.corpus.is_dir() else given.corpus
    cases = [Case.read(line) for line in file.read_text().splitlines() if line.strip()]
    cases = [case for case in cases if not given.only or case.id in given.only]
    policies = given.policy or [str(ROOT / "policies")]
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, gate(cases, policies, Path(folder)) as running:
        for case in cases:
            got, told = outcome(case, running)
            right = got in case.acceptable
            counts["acceptable" if right else "MISSED"] += 1
            mark = "  " if right else "! "
            wanted = "|".join(case.acceptable)
            print(f"{mark}{case.id}  {case.category:9} {got:7} of {wanted:12} {told:14.14} {case.title}")
    print(f"{counts['acceptable']} of {len(cases)} acceptable, {counts['MISSED']} missed")
    return 1 if counts["MISSED"] else 0


if __name__ == "__main__":
    sys.exit(main())
