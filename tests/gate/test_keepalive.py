"""Which interim answer a held request gets: a table, and what must never be whatever it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.action import Header, Request
from proxy.gate.keepalive import interim
from proxy.policy.verdict import Keepalive

FETCH = ((b"sec-fetch-mode", b"cors"), (b"accept-language", b"*"))


def asked(*headers: Header, agent: bytes | None = None, version: str = "HTTP/1.1") -> Request:
    named = () if agent is None else ((b"User-Agent", agent),)
    return Request(None, b"POST", "https", "api.test", 443, b"/", (*named, *headers), b"", version)


WAITS_ON_100 = [
    b"python-requests/2.34.2",
    b"python-urllib3/2.8.0",
    b"Python-urllib/3.13",
    b"python-httpx/0.28.1",
    b"Python/3.13 aiohttp/3.14.5",
    b"OpenAI/Python 3.54.0",
    b"AsyncOpenAI/Python 3.54.0",
    b"Anthropic/Python 2.12.0",
    b"AsyncAnthropic/Python 2.12.0",
    b"google-genai-sdk/1.20.0 gl-python/3.13.1",
    b"Stripe/v1 PythonBindings/16.1.0",
    b"Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux#6.18 md/arch#x86_64 lang/python#3.13.1",
    b"Botocore/1.44.5 ua/2.1",
    b"aws-cli/2.31.0 md/awscrt#0.27.6 ua/2.1",
    b"Wget/1.21.3",
    b"Java/17.0.15",
]

NONE = [
    b"",
    b"Go-http-client/1.1",
    b"Go-http-client/2.0",
    b"curl/8.15.0",
    b"Java-http-client/17.0.15",
    b"axios/1.21.1",
    b"node",
    b"node-fetch/1.0",
    b"undici",
    b"got (https://github.com/sindresorhus/got)",
    b"OpenAI/JS 6.9.1",
    b"Anthropic/JS 0.70.0",
    b"google-genai-sdk/1.30.0 gl-node/v24.1.0",
    b"Stripe/v1 NodeBindings/19.0.0",
    b"aws-sdk-js/3.900.0",
    b"aws-sdk-java/2.30.0",
    b"MyAgent/1",
    b"Mozilla/5.0 (X11; Linux x86_64)",
    b"PYTHON-REQUESTS/2.34.2",
    b"python-requests",
    b"my-python-requests/2.34",
    b"MyAgent/1 python-requests/2.34.2",
    b"python-requests/2.34.2 node",
    b"Python/3.13 websockets/15.0",
    b"Wget2/2.2.0",
    b"Java/17 undici",
    b"Boto3/1.44.5 md/Botocore#1.44.5 CRTS3NativeClient/0.1.x",
]


@pytest.mark.parametrize("agent", WAITS_ON_100)
def test_a_client_measured_with_100_gets_it(agent: bytes) -> None:
    assert interim(asked(agent=agent), Keepalive.AUTO) == 100
    assert interim(asked(agent=agent, version="HTTP/2"), Keepalive.AUTO) == 100


@pytest.mark.parametrize("agent", NONE)
def test_every_other_name_gets_none(agent: bytes) -> None:
    assert interim(asked(agent=agent), Keepalive.AUTO) is None


def test_a_request_without_a_name_gets_none() -> None:
    assert interim(asked(), Keepalive.AUTO) is None


@pytest.mark.parametrize("agent", [None, *WAITS_ON_100, *NONE])
def test_what_shows_itself_as_nodes_fetch_gets_102_whatever_its_name(agent: bytes | None) -> None:
    assert interim(asked(*FETCH, agent=agent), Keepalive.AUTO) == 102


@pytest.mark.parametrize(
    "headers",
    [
        FETCH[:1],
        FETCH[1:],
        (*FETCH, FETCH[0]),
        (*FETCH, FETCH[1]),
        (*FETCH, (b"Sec-Fetch-Mode", b"navigate")),
        (*FETCH, (b"accept-language", b"de")),
        ((b"sec-fetch-mode", b"cors"), (b"accept-language", b"en-US,en;q=0.9")),
        ((b"sec-fetch-mode", b"cors, cors"), (b"accept-language", b"*")),
        ((b"sec-fetch-mode", b"CORS"), (b"accept-language", b"*")),
        ((b"sec-fetch-mode", b"navigate"), (b"accept-language", b"*")),
    ],
)
def test_half_of_nodes_fetch_or_twice_of_it_never_gets_102(headers: tuple[Header, ...]) -> None:
    assert interim(asked(*headers), Keepalive.AUTO) is None
    named = interim(asked(*headers, agent=b"python-requests/2.34.2"), Keepalive.AUTO)
    assert named == (100 if headers == FETCH[1:] else None)


def test_two_names_are_none() -> None:
    twice = asked((b"user-agent", b"python-requests/2.34.2"), agent=b"python-requests/2.34.2")
    assert interim(twice, Keepalive.AUTO) is None
    assert interim(twice, Keepalive.PROCESSING) is None


def test_a_websocket_gets_none_by_itself() -> None:
    assert interim(asked((b"Upgrade", b"websocket"), agent=WAITS_ON_100[0]), Keepalive.AUTO) is None


OVERRIDES = [
    (Keepalive.NONE, WAITS_ON_100[0], (), None),
    (Keepalive.NONE, None, FETCH, None),
    (Keepalive.CONTINUE, b"curl/8", (), 100),
    (Keepalive.CONTINUE, None, (), 100),
    (Keepalive.CONTINUE, None, FETCH, None),  # breaks Node's fetch at once
    (Keepalive.CONTINUE, b"MyAgent/1", FETCH[:1], None),
    (Keepalive.PROCESSING, b"got (x)", (), 102),
    (Keepalive.PROCESSING, None, FETCH, 102),
    (Keepalive.PROCESSING, WAITS_ON_100[0], (), None),  # requests takes it for the answer
    (Keepalive.PROCESSING, b"MyAgent/1 python-requests/2.34.2", (), None),
]


@pytest.mark.parametrize(("said", "agent", "headers", "status"), OVERRIDES)
def test_a_rule_decides_for_the_clients_that_nothing_is_known_of(
    said: Keepalive, agent: bytes | None, headers: tuple[Header, ...], status: int | None
) -> None:
    assert interim(asked(*headers, agent=agent), said) == status


names = st.sampled_from([None, *WAITS_ON_100, *NONE])
heads = st.lists(
    st.sampled_from(
        [*FETCH, (b"Sec-Fetch-Mode", b"navigate"), (b"Accept-Language", b"de"), (b"upgrade", b"websocket")]
    ),
    max_size=4,
)


@given(names, heads, st.sampled_from(Keepalive))
def test_nothing_goes_to_http_1_0_or_through_another_proxy(
    agent: bytes | None, headers: list[Header], said: Keepalive
) -> None:
    assert interim(asked(*headers, agent=agent, version="HTTP/1.0"), said) is None
    assert interim(asked(*headers, (b"via", b"1.1 other"), agent=agent), said) is None
    assert interim(asked(*headers, (b"VIA", b""), agent=agent, version="HTTP/2"), said) is None


@given(names, heads, st.sampled_from(Keepalive))
def test_no_guess_is_ever_a_false_answer(agent: bytes | None, headers: list[Header], said: Keepalive) -> None:
    """102 is final to those that wait on 100, and 100 breaks whatever may be Node's fetch."""
    status = interim(asked(*headers, agent=agent), said)
    shown = [(name.lower(), value) for name, value in headers if name.lower() != b"upgrade"]
    fetch = sorted(shown) == sorted((name.lower(), value) for name, value in FETCH)
    assert status in (None, 100, 102)
    if status == 102 and not fetch:
        assert said is Keepalive.PROCESSING
        assert agent not in WAITS_ON_100
    if status == 100:
        assert not any(name.lower() == b"sec-fetch-mode" for name, _ in headers)
