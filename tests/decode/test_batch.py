"""Containers of requests: each member is decoded as a request of its own."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from proxy.action import UNKNOWN, Action, Values

from .asking import FORM, asked, read

GRAPH = "https://graph.microsoft.com/v1.0/$batch"
GMAIL = "https://www.googleapis.com/batch/gmail/v1"
MIXED = "multipart/mixed; boundary=b"


def inside(action: Action) -> list[tuple[str, str]]:
    return [(one.method, one.path) for one in action.members]


def parts(*requests: str, kind: str = "application/http") -> bytes:
    made = [f"--b\r\nContent-Type: {kind}\r\n\r\n{one}\r\n" for one in requests]
    return ("".join(made) + "--b--\r\n").encode()


def test_a_json_batch_is_its_members() -> None:
    items = [
        {"id": "1", "method": "GET", "url": "/me"},
        {"id": "2", "method": "POST", "url": "/me/sendMail", "body": {"a": 1}},
    ]
    got = asked("POST", GRAPH, {"requests": items}, headers={"authorization": "Bearer x"})
    assert inside(got) == [("GET", "/v1.0/me"), ("POST", "/v1.0/me/sendMail")]
    assert [one.consequence == "read" for one in got.members] == [True, False]
    assert got.consequence != "read"
    assert read(got.members[1], "json.a") == ("1",)
    assert read(got.members[1], "credential") == read(got, "credential") != ()
    assert read(got, "blast.records") == ("2",)
    assert got.operation == "batch: GET /v1.0/me, POST /v1.0/me/sendMail"


def test_a_batch_of_reads_is_a_read() -> None:
    got = asked("POST", GRAPH, {"requests": [{"id": "1", "method": "GET", "url": "/me"}]})
    assert got.consequence == "read"
    assert asked("POST", GRAPH.replace("$", "%24"), {"requests": [{"method": "GET", "url": "me"}]}).members


def test_a_member_with_a_body_or_another_method_is_no_read() -> None:
    for more in (
        {"body": {"a": 1}},
        {"headers": {"X-HTTP-Method-Override": "DELETE"}},
        {"url": "/me?_method=x"},
    ):
        item = {"method": "GET", "url": "/me"} | more
        assert asked("POST", GRAPH, {"requests": [item]}).consequence != "read"


@pytest.mark.parametrize(
    "body",
    [
        None,
        {"requests": [{"method": "GET", "url": "https://evil.example/x"}]},
        {"requests": [{"method": "GET", "url": "$1/me"}]},
        {"requests": [{"method": "GET", "url": "/me", "relativeUrl": "/you"}]},
        {"requests": [{"url": "/me"}]},
        {"requests": [{"method": "GET", "url": "/mé"}]},
        {"requests": [{"method": "PUT", "url": "/p", "body": "aG", "headers": {"content-type": "a/b"}}]},
        {"requests": [{"method": "GET", "url": "/me"}], "also": 1},
        {"requests": [{"method": "GET", "url": "/me"}] * 1_001},
        {"requests": "x"},
        [],
    ],
)  # fmt: skip
def test_what_cannot_be_opened_may_be_anything(body: Any) -> None:
    got = asked("POST", GRAPH, body, "application/json")
    assert got.unreadable is None
    sealed = got.members[-1]
    assert sealed.read(("method",)) is UNKNOWN and sealed.read(("consequence",)) is UNKNOWN
    assert sealed.read(("host",)) == Values(("graph.microsoft.com",))
    assert got.consequence != "read"


@pytest.mark.parametrize("path", ["/v1.0/$batch;v=1", "/v1.0%2F$batch", "/v1.0%2f%24batch/"])
def test_a_container_in_another_spelling_stays_shut(path: str) -> None:
    got = asked("POST", f"https://graph.microsoft.com{path}", {"requests": [{"method": "GET", "url": "/me"}]})
    assert got.members[-1].read(("consequence",)) is UNKNOWN
    assert got.consequence != "read"
    assert not asked("POST", "https://api.example.org/v1%2Fbatch", {"requests": []}).members


def test_a_malformed_member_makes_the_batch_unreadable() -> None:
    assert asked("POST", GRAPH, {"requests": [{"method": "GET", "url": "/a/../b"}]}).unreadable
    assert asked("POST", GRAPH, {"requests": [{"method": "G T", "url": "/a"}]}).unreadable
    assert asked("POST", GRAPH, {"requests": [{"method": "GET", "url": "//evil.example/x"}]}).unreadable


def test_multipart_parts_are_requests() -> None:
    body = parts("DELETE /gmail/v1/users/me/messages/1 HTTP/1.1\r\n\r\n", "GET /gmail/v1/x\r\n\r\n")
    got = asked("POST", GMAIL, body, MIXED)
    assert inside(got) == [("DELETE", "/gmail/v1/users/me/messages/1"), ("GET", "/gmail/v1/x")]
    assert got.consequence != "read"
    assert asked("POST", GMAIL, parts("GET /x\r\n\r\n"), MIXED).consequence == "read"
    bare = parts("GET /x\r\n\r\n").replace(b"\r\n", b"\n")
    assert inside(asked("POST", GMAIL, bare, MIXED)) == [("GET", "/x")]


def test_change_sets_are_opened_too_but_not_without_end() -> None:
    head = "POST /v1.0/me/sendMail HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 7"
    request = f'{head}\r\n\r\n{{"a":1}}'
    inner = f"--c\r\nContent-Type: application/http\r\n\r\n{request}\r\n--c--"
    got = asked("POST", GRAPH, parts(inner, kind="multipart/mixed; boundary=c"), MIXED)
    assert inside(got) == [("POST", "/v1.0/me/sendMail")]
    assert read(got.members[0], "json.a") == ("1",)
    for name in "defg":
        kind = f"multipart/mixed; boundary={chr(ord(name) - 1)}"
        inner = f"--{name}\r\nContent-Type: {kind}\r\n\r\n{inner}\r\n--{name}--"
    got = asked("POST", GRAPH, parts(inner, kind="multipart/mixed; boundary=g"), MIXED)
    assert inside(got) == [("", "")]


@pytest.mark.parametrize(
    "body",
    [
        parts("GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
        parts("GET https://evil.example/x HTTP/1.1\r\n\r\n"),
        parts("GET /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        parts("GET /x HTTP/1.1\r\nA: 1\r\nA: 2\r\n\r\n"),
        parts("POST /x HTTP/1.1\r\nContent-Length: 1\r\n\r\nabc"),
        parts("not a request"),
        parts("GET /x HTTP/1.1\r\n\r\n", kind="text/plain"),
        parts("GET /x HTTP/1.1\r\n\r\n")[:-8],
        b"--x--",
    ],
    ids=range(9),
)
def test_a_part_that_cannot_be_opened_may_be_anything(body: bytes) -> None:
    got = asked("POST", GMAIL, body, MIXED)
    assert got.unreadable is None and inside(got) == [("", "")]


def test_a_hidden_method_in_a_part_counts() -> None:
    body = parts("POST /x HTTP/1.1\r\nX-HTTP-Method-Override: DELETE\r\n\r\n")
    assert read(asked("POST", GMAIL, body, MIXED).members[0], "method") == ("POST", "DELETE")


def test_batches_of_other_makers() -> None:
    batch = [
        {"method": "DELETE", "relative_url": "123"},
        {"method": "POST", "relative_url": "me/feed", "body": "message=hi"},
    ]
    form = f"batch={quote(json.dumps(batch))}".encode()
    got = asked("POST", "https://graph.facebook.com/v23.0/", form, FORM)
    assert inside(got) == [("DELETE", "/v23.0/123"), ("POST", "/v23.0/me/feed")]
    assert read(got.members[1], "form.message") == ("hi",)
    asana = {"data": {"actions": [{"method": "delete", "relative_path": "/tasks/1"}]}}
    got = asked("POST", "https://app.asana.com/api/1.0/batch", asana)
    assert ("DELETE", "/api/1.0/tasks/1") in inside(got)
    azure = {"requests": [{"httpMethod": "DELETE", "relativeUrl": "/subscriptions/1?api-version=1"}]}
    assert inside(asked("POST", "https://management.azure.com/batch?api-version=1", azure)) == [
        ("DELETE", "/subscriptions/1")
    ]


def test_a_path_called_batch_vouches_for_nothing() -> None:
    got = asked("POST", "https://api.example.com/batch", {"requests": [{"method": "GET", "url": "/x"}]})
    assert inside(got) == [("GET", "/x")] and got.consequence != "read"
    other = asked("POST", "https://api.example.com/zones/1/batch", {"deletes": [{"id": "1"}]})
    assert other.members == () and other.consequence != "read"


BULK = "application/x-ndjson"


def test_a_bulk_is_one_member_for_each_kind_of_act() -> None:
    lines = [
        '{"index": {"_index": "logs", "_id": "1"}}',
        '{"delete": {"_index": "not an act but a document"}}',
        '{"delete": {"_index": "logs", "_id": "2"}}',
        '{"delete": {"_id": "3"}}',
        '{"delete": {"_index": "logs", "_id": "4"}}',
        "",
    ]
    got = asked("POST", "https://es.example:9200/other/_bulk", "\n".join(lines).encode(), BULK)
    assert inside(got) == [("PUT", "/logs/_doc/1"), ("DELETE", "/logs/_doc/2"), ("DELETE", "/other/_doc/3")]
    assert read(got, "blast.records") == ("4",)


@pytest.mark.parametrize(
    "body", [b"x", b"{}", b'{"delete": 1}', b'{"a": {}}', b"", b'{"delete":{}}\n' * 2_001]
)
def test_a_bulk_that_cannot_be_read_may_be_anything(body: bytes) -> None:
    assert inside(asked("POST", "https://es.example/_bulk", body, BULK))[-1:] == [("", "")]


def nested(depth: int) -> dict[str, Any]:
    item = (
        {"method": "POST", "url": "/$batch", "body": nested(depth - 1)}
        if depth
        else {"method": "GET", "url": "/a"}
    )
    return {"requests": [item]}


def test_batches_in_batches_end_at_three() -> None:
    got = asked("POST", GRAPH, nested(2))
    assert got.consequence == "read"
    assert asked("POST", GRAPH, nested(3)).consequence != "read"


def test_all_containers_share_one_budget_of_members() -> None:
    many = {"requests": [{"method": "GET", "url": "/a"}] * 40}
    for _ in range(2):
        many = {"requests": [{"method": "POST", "url": "/$batch", "body": many}] * 40}

    def count(action: Action) -> int:
        return len(action.members) + sum(map(count, action.members))

    assert count(asked("POST", GRAPH, many)) < 2_100
