"""What is judged is what is dialled, and some addresses never are."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.decision import Happened, Word
from proxy.gate.framing import Head, UnreadableError
from proxy.gate.guard import Guard, foreign_protocol
from proxy.gate.reading import Address, Tunnel, authority, read_authority, read_host, read_request

from .conftest import Listen, Open, Pki, SmallDoor, Upstream, get


def guard(*, beyond: bool = False) -> Guard:
    return Guard(frozenset({8080}), lambda host: host.startswith("127.") or host == "::1", beyond)


NEVER = {
    "metadata": "169.254.169.254",
    "ECS": "169.254.170.2",
    "Alibaba": "100.100.100.200",
    "IPv6 metadata": "fd00:ec2::254",
    "link-local": "169.254.1.1",
    "IPv6 link-local": "fe80::1",
    "IPv6 link-local with a zone": "fe80::1%lo",
    "site-local": "fec0::1",
    "multicast": "224.0.0.1",
    "IPv6 multicast": "ff02::1",
    "unspecified": "0.0.0.0",
    "this network": "0.1.2.3",
    "IPv6 unspecified": "::",
    "broadcast": "255.255.255.255",
    "mapped": "::ffff:169.254.169.254",
    "mapped multicast": "::ffff:224.0.0.1",
    "compatible": "::169.254.169.254",
    "6to4": "2002:a9fe:a9fe::1",
    "NAT64": "64:ff9b::a9fe:a9fe",
    "local NAT64": "64:ff9b:1::a9fe:a9fe",
    "Teredo": "2001:0:a9fe:a9fe::1",
    "no address": "nonsense",
}


@pytest.mark.parametrize("name", NEVER)
def test_an_address_that_is_never_dialled(name: str) -> None:
    assert guard().refuses(NEVER[name], 80, named=False)
    assert guard().refuses(NEVER[name], 80, named=True)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd00::1", "1.1.1.1", "2606::1"]
)
def test_loopback_and_private_addresses_are_as_any_for_agents_on_this_machine(address: str) -> None:
    assert guard().refuses(address, 80, named=False) is None


def test_beyond_loopback_private_addresses_have_to_be_named() -> None:
    for address in ("127.0.0.1", "10.0.0.1", "::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"):
        assert guard(beyond=True).refuses(address, 80, named=False)
        assert guard(beyond=True).refuses(address, 80, named=True) is None
    assert guard(beyond=True).refuses("1.1.1.1", 80, named=False) is None


def test_the_gate_never_dials_itself() -> None:
    for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        assert guard().refuses(address, 8080, named=True)
        assert guard().refuses(address, 8081, named=True) is None
    assert guard().refuses("1.1.1.1", 8080, named=False) is None


@given(st.ip_addresses())
def test_every_address_is_judged_without_failing(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    why = guard().refuses(str(ip), 80, named=False)
    if ip.is_multicast or ip.is_link_local or ip.is_unspecified:
        assert why


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_gains_nothing_by_ipv6_clothes(ip: ipaddress.IPv4Address) -> None:
    if guard().refuses(str(ip), 80, named=False) is None:
        return
    for clothes in (
        f"::ffff:{ip}",
        f"64:ff9b::{ip}",
        str(ipaddress.IPv6Address((0x2002 << 112) | int(ip) << 80)),
    ):
        assert guard().refuses(clothes, 80, named=False), clothes


@pytest.mark.parametrize("port", [22, 23, 25, 53, 110, 143, 465, 587, 993, 995, 1433, 1521, 2049, 3306, 3389])
def test_ports_of_other_protocols_are_named(port: int) -> None:
    assert f"port {port} is for" in (foreign_protocol(port) or "")


@pytest.mark.parametrize("port", [80, 443, 8080, 8443, 3000, 5000, 9000])
def test_ports_that_http_uses_are_open(port: int) -> None:
    assert foreign_protocol(port) is None


@given(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,9}[a-z])?){1,3}", fullmatch=True)
)
def test_a_plain_name_is_itself_in_any_case(name: str) -> None:
    assert read_authority(name.upper().encode(), 80) == Address(name, 80)


@given(st.text(max_size=40))
def test_any_text_is_one_host_or_unreadable(text: str) -> None:
    try:
        host = read_host(text.lower())
    except UnreadableError:
        return
    assert read_host(authority("http", Address(host, 80)).decode()) == host


@given(st.ip_addresses())
def test_an_address_has_one_spelling(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        return
    assert read_authority(authority("https", Address(str(ip), 8443)), None) == Address(str(ip), 8443)
    if isinstance(ip, ipaddress.IPv6Address) and ip.exploded != str(ip):
        with pytest.raises(UnreadableError):
            read_host(f"[{ip.exploded}]")


@pytest.mark.parametrize("host", [b"api.test", b"API.test:443", b"api.TEST"])
def test_a_host_that_says_the_same_in_another_way_is_the_same(host: bytes) -> None:
    head = Head(b"GET", b"/", ((b"Host", host),), "HTTP/1.1", 0)
    request = read_request(head, Tunnel(Address("api.test", 443), tls=True), "uid:x", "API.test")
    assert (request.host, request.port, request.scheme) == ("api.test", 443, "https")


async def test_a_connect_to_the_port_of_another_protocol_is_refused_and_recorded(
    open_gate: Open, door: SmallDoor
) -> None:
    gate = await open_gate()
    agent = await gate.send(b"CONNECT mail.test:25 HTTP/1.1\r\nHost: mail.test:25\r\n\r\n")
    status, _, body = await agent.answer()
    assert (status, json.loads(body)["decision"]) == (403, "refused")
    assert door.words == ["refused"]


@pytest.mark.parametrize("host", ["169.254.169.254", "0.0.0.0", "[fe80::1]", "224.0.0.1"])
async def test_a_guarded_address_is_refused_though_a_rule_allowed_it(
    open_gate: Open, door: SmallDoor, host: str
) -> None:
    gate = await open_gate()
    agent = await gate.send(get(80, "/stream", host=host))
    status, _, body = await agent.answer()
    assert (status, json.loads(body)["decision"]) == (403, "refused")
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.FAILED
    assert door.outcomes[0].decision is Word.REFUSED


async def test_a_name_that_resolves_to_a_guarded_address_is_refused(
    open_gate: Open, door: SmallDoor, monkeypatch: pytest.MonkeyPatch, upstream: Upstream
) -> None:
    answers = iter([["127.0.0.1"], ["169.254.169.254"], ["169.254.169.254", "127.0.0.1"]])
    monkeypatch.setattr("proxy.gate.dial._lookup", lambda host, port: next(answers))
    gate = await open_gate()
    for expected in (200, 403, 200):
        agent = await gate.send(get(upstream.port, "/stream", host="rebinding.test"))
        assert (await agent.answer())[0] == expected
    assert upstream.connections == 2


async def test_the_gate_refuses_to_dial_itself(open_gate: Open, door: SmallDoor) -> None:
    gate = await open_gate()
    for host in ("127.0.0.1", "127.3.2.1"):
        agent = await gate.send(get(gate.port, "/stream", host=host))
        assert (await agent.answer())[0] == 403


async def test_resolve_changes_where_a_name_is_dialled_and_nothing_else(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    seen: list[str | None] = []
    context = pki.server("api.test")
    context.sni_callback = lambda _, name, __: seen.append(name)  # type: ignore[assignment]
    raw = Upstream()
    port = await listen(raw.serve, context)
    gate = await open_gate(resolve={("api.test", 443): ("127.0.0.1", port)})
    agent = await gate.tls("api.test", 443)
    agent.send(b"GET /stream HTTP/1.1\r\nHost: api.test\r\n\r\n")
    assert (await agent.answer())[0] == 200
    assert seen == ["api.test"]
    assert b"Host: api.test\r\n" in raw.seen
    assert door.heard[0].request.host == "api.test"


async def test_connections_are_not_shared_between_names_that_go_to_one_address(
    open_gate: Open, upstream: Upstream
) -> None:
    there = ("127.0.0.1", upstream.port)
    gate = await open_gate(resolve={("a.test", 80): there, ("b.test", 80): there})
    agent = await gate.connect()
    for name in ("a.test", "b.test", "a.test"):
        agent.send(f"GET http://{name}/stream HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        assert (await agent.answer())[0] == 200
    assert upstream.connections == 2


@pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's table of sockets")
async def test_a_waiting_name_does_not_keep_others_waiting(
    open_gate: Open, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    never = threading.Event()

    def lookup(host: str, port: int) -> list[str]:
        if host == "slow.test":
            never.wait(5)
            raise socket.gaierror(socket.EAI_AGAIN, "later")
        return ["127.0.0.1"]

    monkeypatch.setattr("proxy.gate.dial._lookup", lookup)
    gate = await open_gate()
    slow = [await gate.send(get(80, "/stream", host="slow.test")) for _ in range(10)]
    agent = await gate.send(get(upstream.port, "/stream", host="fast.test"))
    async with asyncio.timeout(2):
        assert (await agent.answer())[0] == 200
    never.set()
    assert (await slow[0].answer())[0] == 502


async def test_a_connects_own_host_is_no_address_and_what_is_inside_still_is(
    open_gate: Open, door: SmallDoor
) -> None:
    gate = await open_gate()
    agent = await gate.send(b"CONNECT api.test:8080 HTTP/1.1\r\nHost: 127.0.0.1:3128\r\n\r\n")
    assert b" 200 " in await agent.head()
    agent.writer.write(b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:3128\r\n\r\n")
    status, _, body = await agent.answer()
    assert (status, json.loads(body)["decision"]) == (421, "unreadable")
