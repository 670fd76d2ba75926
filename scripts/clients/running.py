"""One run: an upstream that counts, a gate that holds everything, every client at once."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from clients.catalogue import Row
from clients.result import Result, heard
from clients.tools import Missing, Tool, Tools
from proxy.action import Request
from proxy.childenv import child_environment, write_bundle
from proxy.control import ControlDesk
from proxy.demo.authority import Authority
from proxy.demo.upstream import Answer, Arrival, Upstream
from proxy.errors import SluiceError
from proxy.gate.keepalive import interim
from proxy.policy.verdict import Keepalive
from proxy.wire import HoldView

DOMAIN: Final = "clients.example"
_AT_ONCE: Final = 4
"""Programs that may be starting at once: on a small machine they would take each other's time."""
_STARTING: Final = 60.0
_ENDING: Final = 60.0
_BETWEEN: Final = 0.2
"""Seconds between two approvals: whoever is released takes the machine's time from the gate."""

_RULE: Final = """\
  - name: {name}
    why: A person has to look at it first.
    match: {{host: "*.{name}.{domain}"}}
    then: hold
    hold: {{timeout: 1h, keepalive: {said}}}
"""

_SAID: Final = {
    "/chat/completions": {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "released"}}
        ],
    },
    "/v1/messages": {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "released"}],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
    "/v1/refunds": {"id": "re_released", "object": "refund", "amount": 100},
    ":generateContent": {"candidates": [{"content": {"role": "model", "parts": [{"text": "released"}]}}]},
}


def policy() -> str:
    """Everything waits; the host says which word on interim answers counts."""
    rules = [_RULE.format(name=f"say-{said}", domain=DOMAIN, said=said) for said in Keepalive]
    return "version: 1\nrules:\n" + "".join(rules)


def said(arrival: Arrival) -> Answer:
    """What the API says to a client that came through."""
    if arrival.method == "PUT":
        return Answer(200)
    for end, body in _SAID.items():
        if arrival.path.endswith(end):
            return Answer(200, json.dumps(body).encode())
    return Answer(200, b'{"ok": "released", "TableNames": ["released"]}')


@dataclass(slots=True)
class Client:
    """A client's program while it runs."""

    row: Row
    version: str
    host: str
    process: subprocess.Popen[str]
    seen: dict[str, HoldView] = field(default_factory=dict)
    ended: float = 0.0
    told: tuple[str, str] = ("", "")
    released: bool = False

    def listen(self) -> None:
        """Wait for its end; runs in a thread of its own, so that no pipe fills up."""
        self.told = self.process.communicate()
        self.ended = time.time()

    @property
    def settled(self) -> bool:
        """Whether it has got as far as it gets without a person."""
        return bool(self.seen or self.ended)

    def result(self, sent: int, headers: dict[str, list[tuple[str, str]]]) -> Result:
        """What became of it."""
        answers, raised = heard(self.row.tool, *self.told, self.process.returncode)
        first = next(iter(self.seen), None)
        return Result(
            self.row,
            self.version,
            _interim(headers.get(first or "", []), self.row.said),
            answers,
            raised,
            self.released,
            max(0.0, self.ended - self.seen[first].opened) if first else 0.0,
            sent,
            len(self.seen),
            max((hold.attempts for hold in self.seen.values()), default=1),
        )


def _interim(headers: Sequence[tuple[str, str]], said: Keepalive) -> int | None:
    pairs = tuple((name.encode(), value.encode()) for name, value in headers)
    return interim(Request(None, b"POST", "https", DOMAIN, 443, b"/", pairs), said)


@dataclass(slots=True)
class Run:
    """All clients of one run."""

    desk: ControlDesk
    upstream: Upstream
    environment: dict[str, str]
    clients: list[Client] = field(default_factory=list)
    _headers: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def start(self, row: Row, tool: Tool, version: str, host: str) -> None:
        """Start one client, as soon as few enough others are starting."""
        self._until(lambda: sum(not each.settled for each in self.clients) < _AT_ONCE, _STARTING)
        words = {"TARGET": f"https://{host}", "CA": self.environment["SSL_CERT_FILE"]}
        command = [words.get(word, word).replace("=CA", f"={words['CA']}") for word in tool.command(row)]
        more = {"READ": "" if row.read is None else f"{row.read:g}", "AGENT": row.agent}
        started = subprocess.Popen(
            command,
            env=self.environment | words | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        client = Client(row, version, host, started)
        self.clients.append(client)
        threading.Thread(target=client.listen, daemon=True).start()

    def hold(self, seconds: float) -> None:
        """Keep all of them waiting, so many seconds from when the last has come."""
        self._until(lambda: all(each.settled for each in self.clients), _STARTING)
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            self._look()
            time.sleep(0.5)
        self._look()

    def release(self) -> None:
        """Approve what still waits, then wait for every program's end."""
        for hold in self._look():
            client = self._client(hold)
            client.released = client.released or not client.ended
            try:
                asyncio.run(self.desk.review(hold.id, approves=True, reason="", digest=hold.digest))
            except SluiceError as error:
                client.released = False
                print(f"clients: not released: {client.row.kind}: {error}", file=sys.stderr, flush=True)
            time.sleep(_BETWEEN)
        self._until(lambda: all(each.ended for each in self.clients), _ENDING)

    def results(self) -> list[Result]:
        """What became of each."""
        sent = Counter(arrival.host for arrival in self.upstream.arrivals)
        return [client.result(sent[client.host], self._headers) for client in self.clients]

    def stop(self) -> None:
        """End what is still there."""
        for client in self.clients:
            if not client.ended:
                client.process.kill()

    def _client(self, hold: HoldView) -> Client:
        return next(each for each in self.clients if f"//{each.host}/" in hold.url)

    def _look(self) -> list[HoldView]:
        """The holds of clients that are there; each new one is looked at whole."""
        holds = [hold for hold in asyncio.run(self.desk.snapshot()).holds if hold.state == "pending"]
        for hold in holds:
            client = self._client(hold)
            new, client.seen[hold.id] = hold.id not in client.seen, hold
            if new:
                self._headers[hold.id] = list(asyncio.run(self.desk.show(hold.id)).headers)
        return holds

    def _until(self, is_so: Callable[[], bool], patience: float) -> None:
        give_up = time.monotonic() + patience
        while not is_so() and time.monotonic() < give_up:
            self._look()
            time.sleep(0.1)


@contextmanager
def opened(folder: Path, hosts: Sequence[str]) -> Iterator[Run]:
    """A gate and an upstream that is all of `hosts`, for as long as the block runs."""
    authority = Authority.make()
    ca, rules, state, log = folder / "ca.pem", folder / "policy.yaml", folder / "state", folder / "gate.log"
    ca.write_bytes(authority.certificate)
    rules.write_text(policy())
    with Upstream(authority, hosts, said).serve() as upstream, log.open("w") as errors:
        words = ("up", "--no-console", "--listen", "127.0.0.1:0", "--state", state, "--policy", rules)
        gate = subprocess.Popen(
            [sys.executable, "-m", "proxy", *words, f"--upstream-ca={ca}", *upstream.resolve_flags()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            assert gate.stdout
            line = gate.stdout.readline()
            if not line:
                raise Missing(f"the gate did not start: {log.read_text()[-500:]}")
            ready = json.loads(line)
            bundle = write_bundle(state, Path(ready["ca"]))
            environment = child_environment(
                os.environ, proxy=ready["proxy"], ca=Path(ready["ca"]), bundle=bundle
            )
            run = Run(ControlDesk(state / "control.sock"), upstream, environment)
            try:
                yield run
            finally:
                run.stop()
        finally:
            gate.terminate()
            gate.wait(30)


def ran(rows: Sequence[Row], tools: Tools, seconds: float, folder: Path) -> list[Result]:
    """Hold every row's client for so many seconds, then let it through."""
    ready: list[tuple[Row, Tool, str]] = []
    missing: list[Result] = []
    for row in rows:
        try:
            tool = tools.of(row)
            ready.append((row, tool, tool.version(row)))
        except Missing as why:
            missing.append(Result(row, missing=str(why)))
    hosts = [f"c{number:02}.say-{row.said}.{DOMAIN}" for number, (row, *_) in enumerate(ready)]
    with opened(folder, hosts or [DOMAIN]) as run:
        for (row, tool, version), host in zip(ready, hosts, strict=True):
            run.start(row, tool, version, host)
        run.hold(seconds)
        run.release()
        found = {result.row: result for result in [*run.results(), *missing]}
    return [found[row] for row in rows]
