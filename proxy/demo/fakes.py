"""A bank, a mail and a file API that are none: they answer as the real ones do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qs

from proxy.demo.authority import Authority
from proxy.demo.upstream import Answer, Arrival, Upstream

BANK: Final = "api.stripe.com"
MAIL: Final = "api.sendgrid.com"
FILES: Final = "customer-backups.s3.amazonaws.com"
HOSTS: Final = (BANK, MAIL, FILES)

_LISTING: Final = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>customer-backups</Name>\
<KeyCount>2</KeyCount><IsTruncated>false</IsTruncated>\
<Contents><Key>2026-01.tar.zst</Key><Size>48318382080</Size></Contents>\
<Contents><Key>2026-02.tar.zst</Key><Size>51539607552</Size></Contents></ListBucketResult>
"""


def answer(arrival: Arrival) -> Answer:
    """What the real API would answer, as far as the agent looks."""
    known = _ROUTES.get((arrival.host, arrival.method, arrival.path))
    return known(arrival) if known else _json({"error": {"message": "Unrecognized request URL"}}, 404)


def _json(value: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode())


def _balance(_: Arrival) -> Answer:
    return _json({"object": "balance", "available": [{"amount": 1834000, "currency": "usd"}]})


def _charges(_: Arrival) -> Answer:
    charges = [
        {"id": "ch_3Qk81", "object": "charge", "amount": 420000, "currency": "usd", "paid": True},
        {"id": "ch_3Qk7f", "object": "charge", "amount": 1900, "currency": "usd", "paid": True},
    ]
    return _json({"object": "list", "data": charges, "has_more": False})


def _refund(arrival: Arrival) -> Answer:
    form = parse_qs(arrival.body.decode(errors="replace"))
    amount = form.get("amount", ["0"])[0]
    return _json({"id": "re_1Qk9a", "object": "refund", "amount": amount, "status": "succeeded"})


def _sent(_: Arrival) -> Answer:
    return Answer(202)


def _listed(_: Arrival) -> Answer:
    return Answer(200, _LISTING.encode(), "application/xml")


def _deleted(_: Arrival) -> Answer:
    return Answer(204)


_ROUTES: Final[Mapping[tuple[str, str, str], Callable[[Arrival], Answer]]] = {
    (BANK, "GET", "/v1/balance"): _balance,
    (BANK, "GET", "/v1/charges"): _charges,
    (BANK, "POST", "/v1/refunds"): _refund,
    (MAIL, "POST", "/v3/mail/send"): _sent,
    (FILES, "GET", "/"): _listed,
    (FILES, "DELETE", "/"): _deleted,
}


def fakes(authority: Authority) -> Upstream:
    """The three APIs as one server."""
    return Upstream(authority, HOSTS, answer)
