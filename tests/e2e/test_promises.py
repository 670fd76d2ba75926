"""The promises that no other module here is about: what is unknown, what agents write, who may answer."""

from __future__ import annotations

import gzip
import json
import unicodedata

import pytest
import requests

from .clients import with_requests
from .conftest import HOST, Started
from .product import PATIENCE, SLUICE, Gate
from .upstream import Upstream

ORDER = b'{"amount": 250}'


def send(gate: Gate, mark: str, body: bytes, **headers: str) -> requests.Response:
    """An order in any form."""
    with requests.Session() as session:
        session.trust_env = False
        return session.post(
            f"https://{HOST}/orders/{mark}",
            data=body,
            headers=headers,
            proxies={"https": gate.proxy},
            verify=gate.ca,
            timeout=PATIENCE,
        )


SMALL = b'{"amount": 5}'
UNKNOWN = {
    "of another type": (SMALL, {"content-type": "text/plain"}),
    "of no type": (SMALL, {}),
    "without the field": (b'{"amuont": 5}', {"content-type": "application/json"}),
    "a number in words": (b'{"amount": "five"}', {"content-type": "application/json"}),
    "a float's way out": (b'{"amount": 5e0}', {"content-type": "application/json"}),
    "one of several": (b'{"amount": [5, 250]}', {"content-type": "application/json"}),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_unknown_never_helps(gate: Gate, upstream: Upstream, mark: str, started: Started, case: str) -> None:
    """An amount that cannot be read might be a large one: it waits as one."""
    body, headers = UNKNOWN[case]
    asking = started(send, gate, mark, body, **headers)
    hold = gate.held(mark)
    assert "large-orders-wait" in hold.rules
    gate.answer(hold, False)
    assert asking.result(PATIENCE).status_code == 403
    assert upstream.got(mark) == []


TWO_WAYS = {
    "twice the same name": (b'{"amount": 5, "amount": 250}', {}),
    "not what it says": (b"amount=5", {}),
    "cut": (b'{"amount": 5', {}),
    "not UTF-8": (b'{"amount": 5, "note": "\xff"}', {}),
    "a coding that is none": (SMALL, {"content-encoding": "gzip"}),
    "a coding nobody knows": (SMALL, {"content-encoding": "rot13"}),
    "a bomb": (gzip.compress(b" " * 2**24 + SMALL), {"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("case", TWO_WAYS)
def test_what_can_be_read_in_two_ways_never_leaves(
    gate: Gate, upstream: Upstream, mark: str, case: str
) -> None:
    body, headers = TWO_WAYS[case]
    told = send(gate, mark, body, **{"content-type": "application/json", **headers})
    assert (told.status_code, told.json()["decision"]) in ((400, "unreadable"), (413, "too_large"))
    assert upstream.got(mark) == []


HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202eetirw\u2066\u200b\x9b31m\r\nrule  none"


def test_what_an_agent_wrote_is_shown_and_acts_on_no_terminal(
    gate: Gate, upstream: Upstream, mark: str, started: Started
) -> None:
    body = json.dumps({"amount": 250, HOSTILE: HOSTILE}, ensure_ascii=False).replace("\\u001b", "\x1b")
    asking = started(
        send, gate, f"{mark}?q=%1b%5b2J", body.encode(), **{"content-type": "application/json; x=\x9b31m"}
    )
    # A raw escape is no JSON: it never gets as far as a person.
    assert asking.result(PATIENCE).json()["decision"] == "unreadable"
    asking = started(
        send,
        gate,
        f"{mark}?q=%1b%5b2J",
        json.dumps({"amount": 250, HOSTILE: HOSTILE}, ensure_ascii=False).encode(),
        **{"content-type": "application/json", "x-note": "caf\xe9 \x9b31m"},
    )
    hold = gate.held(mark)
    for words in (("holds",), ("show", hold.id), ("ledger", "show"), ("ledger", "export", "--format", "csv")):
        done = gate.sluice(*words, FORCE_COLOR="", TERM="xterm-256color")
        assert done.status == 0
        acting = {character for character in (done.out + done.err).replace("\r\n", "\n") if acts(character)}
        assert acting == set(), words
        assert mark in done.out
    answered = gate.sluice("deny", hold.id, "--reason", HOSTILE)
    assert not [character for character in answered.err if acts(character)]
    assert asking.result(PATIENCE).json()["detail"] == HOSTILE


def acts(character: str) -> bool:
    """Whether a terminal would do something else than show it."""
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") and character != "\n"


def test_an_agent_in_a_run_tree_cannot_approve_itself(
    gate: Gate, upstream: Upstream, mark: str, started: Started
) -> None:
    asking = started(with_requests, gate, "POST", f"https://{HOST}/orders/{mark}", ORDER)
    hold = gate.held(mark)
    tried = gate.sluice("run", "--", SLUICE, "approve", hold.id)
    assert tried.status == 1
    assert "sluice: error: " in tried.err
    hidden = gate.sluice("run", "--", "sh", "-c", f"setsid {SLUICE} approve {hold.id} & wait $!")
    assert hidden.status == 1
    assert gate.sluice("run", "--", SLUICE, "policy", "accept").status == 1
    assert gate.sluice("run", "--", SLUICE, "pause").status == 1
    assert hold.id in [one.id for one in gate.holds()]
    assert upstream.got(mark) == []
    assert gate.sluice("approve", hold.id).status == 0
    assert asking.result(PATIENCE).status == 200
