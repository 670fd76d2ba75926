"""The starter policies for models: an agent may think, at the places and with the key that it began with."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from proxy.action import Request
from proxy.decode import Facts, decode, fingerprint
from proxy.policy import Policy, Rule, answer, load, request
from proxy.policy.verdict import Effect

FOLDER = Path(__file__).parents[1] / "policies"
KEY = b"k" * 32


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load([FOLDER])


def operands(rule: Rule, name: str) -> list[str]:
    return [str(one) for line in rule.match if line.field == (name,) for one in line.operands]


def thinking(policy: Policy) -> list[Rule]:
    return [rule for rule in policy.rules if rule.name.endswith("-thinks")]


def test_models_are_asked_at_exact_hosts_by_post_and_at_listed_paths(policy: Policy) -> None:
    rules = thinking(policy)
    assert len(rules) >= 10
    for rule in rules:
        assert operands(rule, "method") == ["POST"]
        assert not any("*" in host for host in operands(rule, "host"))
        paths = operands(rule, "path")
        assert paths and not any("**" in path for path in paths)
        account = "file|batch(es)?$|key|tun|assistant|organi|admin|upload|store"
        assert not [path for path in paths if re.search(account, path)]


def test_both_guards_of_the_models_know_every_host_of_the_models(policy: Policy) -> None:
    hosts = {host for rule in thinking(policy) for host in operands(rule, "host")}
    for guard in ("model-calls-another-server", "model-credential-changed"):
        rule = next(rule for rule in policy.rules if rule.name == guard)
        assert set(operands(rule, "host")) == hosts


def test_a_server_in_the_body_waits_at_every_endpoint_that_reads_json(policy: Policy) -> None:
    body = b'{"model": "m", "tools": [{"type": "mcp", "server_url": "https://example.org/mcp"}]}'
    takes_a_file = re.compile(r"/audio/trans|/images/(edits|variations)")
    kind = [("content-type", "application/json")]
    asked = 0
    for rule in thinking(policy):
        for host in operands(rule, "host"):
            for path in operands(rule, "path"):
                if takes_a_file.search(path):
                    continue
                url = f"https://{host}{path.replace('*', 'm')}"
                assert answer(policy, request("POST", url, kind, b'{"model": "m"}')).decision == "allow", url
                assert answer(policy, request("POST", url, kind, body)).decision == "hold", url
                asked += 1
    assert asked > 60


# Every place in a body where a provider may read the name of a server or of somebody else's service.
SERVERS = [
    '{"mcp_servers": [{"url": "https://example.org"}]}',
    '{"mcp_servers": [{"name": "stored"}]}',
    '{"mcpServers": {"a": {"url": "https://example.org"}}}',
    '{"connectors": [{"id": "a"}]}',
    '{"tools": [{"server_url": "https://example.org"}]}',
    '{"tools": {"server_url": "https://example.org"}}',
    '{"tools": [{"SERVER_URL": "https://example.org"}]}',
    '{"tools": [{"server_url": ""}]}',
    '{"tools": [{"tunnel_id": "a"}]}',
    '{"tools": [{"connector_id": "a"}]}',
    '{"tools": [{"type": "mcp_server", "url": "https://example.org"}]}',
    '{"tools": [{"mcp_servers": [{"name": "a"}]}]}',
    '{"tools": [{"mcpServers": [{"name": "a"}]}]}',
    '{"tools": [{"type": "namespace", "tools": [{"server_url": "https://example.org"}]}]}',
    '{"tools": [{"type": "namespace", "tools": [{"connector_id": "a"}]}]}',
    '{"tools": [{"environment": {"network_policy": {"allowed_domains": ["example.org"]}}}]}',
    '{"tools": [{"container": {"network_policy": {"allowed_domains": ["example.org"]}}}]}',
    '{"session": {"tools": [{"server_url": "https://example.org"}]}}',
    '{"response": {"tools": [{"server_url": "https://example.org"}]}}',
    '{"additionalModelRequestFields": {"mcp_servers": [{"url": "https://example.org"}]}}',
]
NO_SERVERS = [
    "{}",
    '{"mcp_servers": [], "tools": []}',
    '{"tools": [{"type": "function", "function": {"name": "f", "parameters": {"url": "https://example.org"}}}]}',
    '{"messages": [{"role": "user", "content": "server_url: https://example.org"}]}',
    '{"messages": [{"content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]}]}',
]


@pytest.mark.parametrize(
    ("body", "expected"), [(b, "hold") for b in SERVERS] + [(b, "allow") for b in NO_SERVERS]
)
def test_a_body_waits_when_it_names_a_server_wherever_that_stands(
    policy: Policy, body: str, expected: str
) -> None:
    asked = request(
        "POST", "https://api.openai.com/v1/responses", [("content-type", "application/json")], body.encode()
    )
    got = answer(policy, asked)
    assert got.decision == expected
    assert ("model-calls-another-server" in got.rules) == (expected == "hold")


@dataclass
class History:
    """What one agent has been let do: the hosts, each with the credential that it began with."""

    began: dict[str, str] = field(default_factory=dict)

    def new_host(self, agent: str | None, host: str) -> bool:
        return host not in self.began

    def new_operation(self, agent: str | None, host: str, operation: str) -> bool:
        return False

    def other_credential(self, agent: str | None, host: str, credential: str) -> bool:
        return self.began.get(host, credential) != credential


def asked_with(key: str) -> Request:
    headers = [("authorization", f"Bearer {key}"), ("content-type", "application/json")]
    return request("POST", "https://api.openai.com/v1/responses", headers, b'{"model": "m"}')


def decided(policy: Policy, key: str, history: History) -> tuple[str, tuple[str, ...]]:
    got = answer(policy, asked_with(key), Facts(history, KEY))
    return got.decision, got.rules


def test_the_first_credential_at_a_model_is_the_agents_own_and_a_second_one_waits(policy: Policy) -> None:
    history = History()
    assert decided(policy, "one", history) == ("allow", ("openai-thinks",))
    history.began["api.openai.com"] = fingerprint("Bearer one", KEY)
    assert decided(policy, "one", history) == ("allow", ("openai-thinks",))
    assert decided(policy, "two", history) == ("hold", ("model-credential-changed",))


def test_a_new_host_is_watched_and_a_named_one_is_not(policy: Policy) -> None:
    history = Facts(History(), KEY)
    assert answer(policy, request("GET", "https://example.org/"), history).decision == "watch"
    assert answer(policy, request("GET", "https://api.github.com/user"), history).decision == "allow"


@pytest.mark.parametrize(
    "url", ["https://github.com/o/r.git/git-upload-pack", "https://production.plaid.com/accounts/get"]
)
def test_reads_by_post_are_settled_before_their_body_is_read(policy: Policy, url: str) -> None:
    head = replace(request("POST", url, [("content-type", "application/x-thing")], b"x"), body=None)
    verdict = policy.judge(decode(head))
    assert (verdict.effect, verdict.settled) == (Effect.ALLOW, True)
