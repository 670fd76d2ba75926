"""What an agent may know of the gate, and of a hold of its own."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from proxy import about
from proxy.about import MAX_HOSTS, Standing, Terms
from proxy.action import Request
from proxy.decision import Answer, Word
from proxy.policy import Policy, load_texts

POLICY = """
version: 1
rules:
  - name: secret-name-of-a-rule
    why: A secret why.
    match: {host: [pay.example.com, "*.bank.example"], path: /a/secret/path}
    then: hold
    hold: {reviewers: [secret-group]}
  - name: below-a-bank
    why: Covered by the one above.
    match: {host: api.bank.example}
    then: deny
  - name: flows
    why: Nothing is gated here.
    match: {host: free.example.com}
    then: allow
  - name: told
    why: Nobody waits here.
    match: {host: told.example.com}
    then: watch
"""


def asked(target: str = "/", method: str = "GET", agent: str | None = "uid:me", **headers: str) -> Request:
    pairs = tuple((name.encode(), value.encode()) for name, value in headers.items())
    return Request(agent, method.encode(), "http", about.HOST, 80, target.encode(), pairs, b"")


def terms(text: str = POLICY) -> Terms:
    return Terms.of(load_texts({"policy.yaml": text}), 1024)


def answered(
    request: Request, holds: Mapping[tuple[str, str | None], Standing] | None = None
) -> tuple[Answer, dict[bytes, bytes]]:
    answer = about.answer(request, terms, lambda id, agent: (holds or {}).get((id, agent)))
    headers = dict(answer.headers)
    assert headers[b"content-length"] == b"%d" % len(answer.body)
    assert headers[b"cache-control"] == b"no-store"
    return answer, headers


def test_it_says_in_json_what_every_decision_means() -> None:
    answer, headers = answered(asked())
    assert (answer.status, headers[b"content-type"]) == (200, b"application/json")
    said = json.loads(answer.body)
    assert said["decisions"]["denied"] == {
        "status": 403,
        "retry": False,
        "means": "a person said no; detail is their reason",
    }
    told = set(said["decisions"])
    unread = {Word.ABANDONED, Word.CUT_OFF}
    assert told >= {"refused", "denied", "expired", "pending", "unavailable", "failed", "unknown"}
    assert not told & {str(word) for word in Word if word.opens or word in unread}
    assert said["body_limit"] == 1024


def test_it_names_the_hosts_that_rules_hold_or_deny_and_nothing_else_of_the_rules() -> None:
    for accept in ("application/json", "text/markdown"):
        body = answered(asked(accept=accept))[0].body.decode()
        for secret in ("secret", "covered", "free.example.com", "told.example.com", "api.bank.example"):
            assert secret not in body.lower()
    assert json.loads(answered(asked())[0].body)["hosts"]["names"] == ["*.bank.example", "pay.example.com"]


def test_it_lists_two_hundred_hosts_and_counts_the_rest() -> None:
    hosts = ", ".join(f"h{number}.example.com" for number in range(MAX_HOSTS + 7))
    text = f"version: 1\nrules:\n  - {{name: many, why: w, match: {{host: [{hosts}]}}, then: hold}}\n"
    assert (len(terms(text).hosts), terms(text).more) == (MAX_HOSTS, 7)
    assert "and 7 more" in about.markdown(terms(text))


def test_a_policy_without_hosts_has_none_to_name() -> None:
    assert Terms.of(Policy(()), 1) == Terms((), 0, 1)
    assert "No host is named." in about.markdown(Terms.of(Policy(()), 1))


@pytest.mark.parametrize(
    ("accept", "markdown"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/markdown", True),
        ("Text/Markdown, */*", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/markdown;q=0.5, application/json", False),
        ("text/markdown, application/json;q=0.5", True),
        ("text/markdown, application/json", False),
        ("text/markdown;q=0", False),
        ("text/*", True),
        ("text/markdown;q=nan", True),
        (";;;,,,=", False),
        ("x" * 2_000 + ", text/markdown", False),
    ],
)
def test_who_asks_for_a_text_gets_markdown(accept: str, markdown: bool) -> None:
    answer, headers = answered(asked(accept=accept) if accept else asked())
    assert (headers[b"content-type"] == b"text/markdown; charset=utf-8") is markdown
    assert answer.body.startswith(b"# Sluice" if markdown else b"{")
    assert headers[b"vary"] == b"accept"


def test_a_query_changes_nothing() -> None:
    assert answered(asked("/?x=1")) == answered(asked())


STANDING = Standing("abc", "pending", "2026-01-01T00:00:00.000000Z", retry_after=5)


def test_an_agent_is_told_how_its_hold_stands() -> None:
    holds = {("abc", "uid:me"): STANDING, ("def", "uid:me"): replace(STANDING, hold="def", retry_after=None)}
    answer, headers = answered(asked("/holds/abc"), holds)
    said = {"hold": "abc", "state": "pending", "deadline": "2026-01-01T00:00:00.000000Z", "retry_after": 5}
    assert (answer.status, json.loads(answer.body)) == (200, said)
    assert headers[b"retry-after"] == b"5"
    assert b"retry-after" not in answered(asked("/holds/def"), holds)[1]


def test_a_reason_that_is_no_text_is_still_json() -> None:
    denied = Standing("abc", "denied", "", "denied", "no \udcff")
    answer, _ = answered(asked("/holds/abc"), {("abc", "uid:me"): denied})
    assert json.loads(answer.body)["detail"] == "no \\udcff"


def test_a_hold_of_another_and_one_that_never_was_look_the_same() -> None:
    holds = {("abc", "uid:other"): STANDING, ("abc", None): STANDING}
    never = answered(asked("/holds/xyz"))
    assert never[0].status == 404
    assert answered(asked("/holds/abc"), holds) == never
    assert answered(asked("/holds/abc", agent=None), holds) == never


@pytest.mark.parametrize(
    "target",
    [
        *("/holds", "/holds/", "/holds/abc/", "/holds/ABC", "/holds/a%62c", "/holds/abc%00", "/holds/ab"),
        *("//", "/x", "/index.html", "/holds/../", f"/holds/{'a' * 10_000}", "/holds/abc;x"),
    ],
)
def test_there_is_nothing_else(target: str) -> None:
    assert answered(asked(target), {("abc", "uid:me"): STANDING})[0].status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "QUERY"])
def test_only_reading_is_answered(method: str) -> None:
    answer, headers = answered(asked("/holds/abc", method), {("abc", "uid:me"): STANDING})
    assert (answer.status, headers[b"allow"]) == (405, b"GET, HEAD")
    assert b"/holds/abc" not in answer.body
