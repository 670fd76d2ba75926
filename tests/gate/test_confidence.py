"""What an agent says to the gate alone stays there."""

from __future__ import annotations

from proxy.gate.framing import outgoing


def test_an_agents_own_confidence_is_not_forwarded():
    sent = [
        (b"Host", b"x"),
        (b"X-Sluice-Confidence", b"0.9"),
        (b"x-sluice-confidence", b"no"),
        (b"X-A", b"1"),
    ]
    for http2 in (False, True):
        kept, _ = outgoing(sent, length=0, body=False, http2=http2, upgrade=False)
        assert kept == [(b"Host", b"x"), (b"X-A", b"1")]
