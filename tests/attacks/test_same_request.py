"""What counts as the same request: no more and no less than what would be sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.action import Request, digest, passing
from proxy.gate.framing import outgoing

ASKED = Request(
    "uid:me", b"POST", "https", "api.example.com", 443, b"/v1/refunds", ((b"x-a", b"1"),), b"amount=5"
)


@pytest.mark.parametrize("spelled", [b"x-sluice-confidence", b"X-Sluice-Confidence"])
def test_how_sure_an_agent_says_it_is_makes_no_other_request(spelled: bytes) -> None:
    asked = {
        digest(replace(ASKED, headers=(*ASKED.headers, *((spelled, said) for said in sure))))
        for sure in ((), (b"0.2",), (b"0.9",), (b"0.2", b"0.9"))
    }
    assert asked == {digest(ASKED)}


@pytest.mark.parametrize(
    "name", [b"x-sluice-confidenc", b"x-sluice-confidence-2", b"x-sluice", b"authorization"]
)
def test_what_is_sent_upstream_is_part_of_the_request(name: bytes) -> None:
    said = replace(ASKED, headers=(*ASKED.headers, (name, b"1")))
    assert digest(said) != digest(ASKED)
    kept, _ = outgoing(said.headers, length=8, body=True, http2=False, upgrade=False)
    assert (name, b"1") in kept


def test_what_is_for_the_gate_alone_is_neither_reviewed_nor_sent() -> None:
    assert passing(b"x-sluice-confidence")
    said = ((b"x-sluice-confidence", b"0.5"),)
    assert outgoing(said, length=0, body=False, http2=False, upgrade=False) == ([], False)
