"""Waiting is kept up with what each client was measured with, at the pace that a gate really has."""

from __future__ import annotations

import re
import ssl
import subprocess
import time
from concurrent.futures import Future
from typing import Any

import httpx
import requests

from .clients import JSON
from .conftest import HOST, Started
from .product import PATIENCE, Gate
from .upstream import Upstream

ORDER = b'{"amount": 250}'
HELD = 5.0
"""Seconds for which people think: two interim answers, and longer than the clients' timeouts."""
SHORT = 3.0

FETCH = ("-H", "sec-fetch-mode: cors", "-H", "accept-language: *")
REQUESTS = ("-A", "python-requests/2.34.2")
TOLD: dict[tuple[str, ...], set[int]] = {
    ("--http1.1", *REQUESTS): {100},
    ("--http2", "-A", "python-httpx/0.28.1"): {100},
    ("--http1.1", *FETCH): {102},
    ("--http2", *FETCH, *REQUESTS): {102},
    ("--http1.1",): set(),
    ("--http2",): set(),
    ("--http1.1", "-A", "node"): set(),
    ("--http1.1", "-A", "MyAgent/1"): set(),
    ("--http1.1", *REQUESTS, "-H", "via: 1.1 other"): set(),
    ("--http2", *FETCH, "-H", "via: 1.1 other"): set(),
    ("--http1.0", *REQUESTS): set(),
}


def curl(gate: Gate, url: str, words: tuple[str, ...]) -> list[tuple[int, float]]:
    """The statuses that come inside TLS, each with the seconds since the connection stood."""
    command = ["curl", "-sv", "--trace-time", "--proxy", gate.proxy, "--cacert", gate.ca, "-o", "/dev/null"]
    asked = [*command, "-H", "content-type: application/json", "-d", ORDER.decode(), *words, url]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True)
    found = re.findall(r"^(\d+):(\d+):([\d.]+) < HTTP/[\d.]+ (\d{3})", done.stderr, re.MULTILINE)
    at = [(int(status), int(h) * 3600 + int(m) * 60 + float(s)) for h, m, s, status in found]
    return [(status, (seconds - at[0][1]) % 86_400) for status, seconds in at[1:]]


def test_each_is_told_what_it_was_measured_with_and_the_first_time_after_two_seconds(
    gate: Gate, upstream: Upstream, mark: str, started: Started
) -> None:
    asked: dict[tuple[str, ...], Future[Any]] = {
        words: started(curl, gate, f"https://{HOST}/orders/{mark}-{at:02}", words)
        for at, words in enumerate(TOLD)
    }
    gate.held(mark, count=len(asked))
    time.sleep(HELD)
    for hold in gate.holds():
        gate.answer(hold, True)
    for words, one in asked.items():
        *interims, (last, _) = one.result(PATIENCE)
        assert last == 200, words
        assert {status for status, _ in interims} == TOLD[words], words
        assert len(interims) in ((2, 3) if TOLD[words] else (0,)), words
        assert all(seconds > 1.9 for _, seconds in interims), words
    assert len(upstream.got(mark)) == len(TOLD)


def with_requests(gate: Gate, url: str) -> int:
    answer = requests.post(
        url, data=ORDER, headers=JSON, proxies={"https": gate.proxy}, verify=gate.ca, timeout=SHORT
    )
    return answer.status_code


def with_httpx2(gate: Gate, url: str) -> int:
    context = ssl.create_default_context(cafile=gate.ca)
    with httpx.Client(http2=True, proxy=gate.proxy, verify=context, trust_env=False) as client:
        return client.post(url, content=ORDER, headers=JSON, timeout=SHORT).status_code


def test_clients_that_give_up_sooner_than_people_decide_are_still_there(
    gate: Gate, upstream: Upstream, mark: str, started: Started
) -> None:
    asked = [
        started(ask, gate, f"https://{HOST}/orders/{mark}-{ask.__name__}")
        for ask in (with_requests, with_httpx2)
    ]
    gate.held(mark, count=2)
    time.sleep(HELD)
    for hold in gate.holds():
        assert gate.whole(hold.id).attempts == 1
        gate.answer(hold, True)
    assert [one.result(PATIENCE) for one in asked] == [200, 200]
    assert len(upstream.got(mark)) == 2
