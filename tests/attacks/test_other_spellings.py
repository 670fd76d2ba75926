"""Attacks on rules by another spelling of the same request."""

from __future__ import annotations

import pytest

from proxy.action import Request
from proxy.decode import decode
from proxy.policy import load_texts
from proxy.policy.verdict import Effect

POLICY = load_texts({"policy.yaml": "version: 1\ndefault: {read: allow, write: hold}\n"})


def get(target: str, *headers: tuple[str, str]) -> Request:
    sent = tuple((name.encode(), value.encode()) for name, value in headers)
    return Request("uid:ada", b"GET", "https", "api.books.example", 443, target.encode(), sent, b"")


@pytest.mark.parametrize(
    "target",
    [
        "/orders/1?$httpMethod=DELETE",
        "/orders/1?%24httpMethod=delete",
        "/orders/1?$httpHeaders=X-HTTP-Method-Override%3ADELETE%0D%0A",
        "/orders/1?%24%68ttpHeaders=X-HTTP-Method-Override%3ADELETE",
        "/orders/1?a=1;$httpMethod=DELETE",
    ],
)
def test_a_read_that_names_another_method_in_its_query_is_a_write(target: str) -> None:
    assert POLICY.judge(decode(get(target))).effect is Effect.HOLD


@pytest.mark.parametrize(
    "name",
    [
        "X_HTTP_Method_Override",
        "x-http_method-override",
        "Content_Type",
        "Transfer_Encoding",
        "Content_Length",
    ],
)
def test_a_header_that_some_servers_take_for_one_that_matters_is_unreadable(name: str) -> None:
    assert decode(get("/orders/1", (name, "DELETE"))).unreadable


@pytest.mark.parametrize("name", ["X-Original-URL", "X-Rewrite-URL", "X_Original_URL"])
def test_a_header_that_names_another_path_is_unreadable(name: str) -> None:
    assert decode(get("/orders/1", (name, "/accounts/1"))).unreadable


def test_an_underscore_elsewhere_is_a_header_like_any_other() -> None:
    assert decode(get("/orders/1", ("api_key", "k"))).unreadable is None
