"""Attacks on what is kept: secrets in the names of things."""

from __future__ import annotations

import pytest

from proxy import records
from proxy.action import Request
from proxy.approvals import Approvals
from proxy.decision import By, Decision, Word
from proxy.decode import decode
from proxy.desk import summary
from proxy.policy.verdict import Effect, Verdict

# Without a digit, so that no part of it looks like the number of a thing.
SECRETS = {
    "https://hooks.slack.com/services/TABCDEFGH/BABCDEFGH/abcdefghijklmnopqrstuvwx": "abcdefghijklmnop",
    "https://hooks.slack.com/services/T0BCDEFGH/B0BCDEFGH/abcdefghijklmnopqrstuvwx": "abcdefghijklmnop",
    "https://hooks.zapier.com/hooks/catch/abcdef/ghijklmn": "ghijklmn",
}


@pytest.mark.parametrize("url", SECRETS)
async def test_a_secret_in_a_path_is_not_kept_as_the_name_of_what_was_asked(url: str) -> None:
    host, _, path = url.removeprefix("https://").partition("/")
    action = decode(Request("uid:ada", b"POST", "https", host, 443, f"/{path}".encode(), (), b""))
    verdict = Verdict(Effect.HOLD, "r", ("r",), "why", "0" * 64)
    hold = Approvals(lambda: 0.0).open("a" * 26, action, verdict)
    kept = (
        records.decided("a", action, verdict, Decision(Word.ALLOWED, By.RULE), "0"),
        records.held(hold),
        summary(hold),
    )
    assert SECRETS[url] in action.operation
    assert SECRETS[url] not in repr(kept)
    assert summary(hold).operation.startswith("POST /")
