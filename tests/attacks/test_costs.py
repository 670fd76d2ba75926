"""Attacks on the gate's time and memory: what one request may cost everybody else."""

from __future__ import annotations

import time

from proxy.action import ABSENT, Request
from proxy.decode import decode
from proxy.decode.json import MAX_CONTAINERS


def asked(body: bytes) -> Request:
    headers = ((b"content-type", b"application/json"),)
    return Request("uid:ada", b"POST", "https", "api.books.example", 443, b"/orders", headers, body)


def test_reading_many_fields_of_a_body_of_many_objects_stops_nobody() -> None:
    body = b"[" + b",".join([b'{"a":1}'] * (MAX_CONTAINERS - 1)) + b"]"
    action = decode(asked(body))
    begun = time.monotonic()
    assert {action.read(("json", f"field{at}")) for at in range(200)} == {ABSENT}
    assert time.monotonic() - begun < 3  # a walk for each took 15 s
