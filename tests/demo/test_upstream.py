"""The fake APIs: what arrives is counted, and answered as the real ones do."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator

import pytest

from proxy.demo.authority import Authority
from proxy.demo.fakes import BANK, FILES, HOSTS, MAIL, fakes
from proxy.demo.upstream import Upstream


class Served:
    def __init__(self, upstream: Upstream, authority: Authority) -> None:
        self.upstream = upstream
        self.context = ssl.create_default_context(cadata=authority.certificate.decode())

    def connect(self, host: str) -> http.client.HTTPConnection:
        plain = socket.create_connection(("127.0.0.1", self.upstream.port), 10)
        connection = http.client.HTTPConnection(host)
        connection.sock = self.context.wrap_socket(plain, server_hostname=host)
        return connection

    def ask(self, method: str, host: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        connection = self.connect(host)
        connection.request(method, path, body)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        return answer.status, said


@pytest.fixture
def served() -> Iterator[Served]:
    authority = Authority.make()
    with fakes(authority).serve() as upstream:
        yield Served(upstream, authority)


def test_a_strict_client_trusts_each_host_under_the_throw_away_ca(served: Served) -> None:
    served.context.verify_flags |= ssl.VERIFY_X509_STRICT
    for host in HOSTS:
        assert served.ask("GET", host, "/")[0] in (200, 404)


def test_every_request_that_arrives_is_counted_with_its_body(served: Served) -> None:
    served.ask("POST", BANK, "/v1/refunds?expand=1", b"charge=ch_1&amount=5")
    (arrival,) = served.upstream.arrivals
    assert (arrival.host, arrival.method, arrival.path) == (BANK, "POST", "/v1/refunds")
    assert arrival.body == b"charge=ch_1&amount=5"
    assert served.upstream.count(BANK, "POST") == 1
    assert served.upstream.count(MAIL, "POST") == 0


def test_each_api_answers_as_the_real_one_does(served: Served) -> None:
    assert json.loads(served.ask("GET", BANK, "/v1/balance")[1])["object"] == "balance"
    assert json.loads(served.ask("POST", BANK, "/v1/refunds", b"amount=5")[1])["status"] == "succeeded"
    assert served.ask("POST", MAIL, "/v3/mail/send", b"{}") == (202, b"")
    assert b"<Key>" in served.ask("GET", FILES, "/?list-type=2")[1]
    assert served.ask("DELETE", FILES, "/") == (204, b"")
    assert served.ask("GET", BANK, "/v1/nothing")[0] == 404


def test_a_connection_is_kept_for_the_next_request(served: Served) -> None:
    connection = served.connect(BANK)
    for _ in range(2):
        connection.request("GET", "/v1/balance")
        assert connection.getresponse().read()
    assert served.upstream.count(BANK, "GET") == 2
    connection.close()


def test_a_body_over_the_limit_is_not_read(served: Served) -> None:
    connection = served.connect(BANK)
    connection.putrequest("POST", "/v1/refunds")
    connection.putheader("content-length", str(2**40))
    connection.endheaders()
    assert connection.getresponse().status == 413
    assert served.upstream.arrivals == ()
    connection.close()


def test_a_client_that_breaks_off_does_not_stop_the_others(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.upstream.port), 10) as broken:
        broken.sendall(b"no TLS at all\r\n\r\n")
        assert served.ask("GET", BANK, "/v1/balance")[0] == 200


def test_the_flags_send_each_host_to_the_port(served: Served) -> None:
    flags = served.upstream.resolve_flags()
    assert flags[0] == f"--resolve={BANK}:443:127.0.0.1:{served.upstream.port}"
    assert len(flags) == len(HOSTS)
