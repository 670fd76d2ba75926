"""
TLS on both sides: towards the agent with leaves of the gate's CA, towards upstream verified.

Contexts are made once: for each host that agents speak to, and one for all upstreams. Nothing
here is ever insecure: a server that cannot be verified is not spoken to.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import certifi
from cryptography.hazmat.primitives.asymmetric import ec
from mitmproxy.connection import Client, Connection, Server
from OpenSSL import SSL

from proxy.errors import fail
from proxy.gate.ca import Authority

_LEAVES: Final = 1024
"""Hosts whose leaves are kept."""
_RENEW: Final = datetime.timedelta(days=1)


class Tls:
    """Makes the OpenSSL connections of a gate; `clock` tells the time of day in UTC."""

    def __init__(
        self, authority: Authority, upstream_ca: Path | None, clock: Callable[[], datetime.datetime]
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaves: OrderedDict[str, tuple[SSL.Context, datetime.datetime]] = OrderedDict()
        self._upstream = _upstream_context(upstream_ca)

    def towards_agent(self, host: str) -> SSL.Connection:
        """Our end of the agent's TLS connection, with a leaf for `host`."""
        connection = SSL.Connection(self._context_for(host))
        connection.set_accept_state()
        return connection

    def towards_upstream(self, server: Connection, client: Client) -> SSL.Connection:
        """Our end of a connection to `server`, which has to prove that it is its `sni`."""
        if not isinstance(server, Server) or not server.sni:
            raise RuntimeError("a server without a name")
        connection = SSL.Connection(self._upstream)
        _expect(connection, server.sni)
        # What the agent speaks: HTTP/2 upstream only for an agent that speaks it too.
        server.alpn_offers = (b"h2", b"http/1.1") if client.alpn == b"h2" else (b"http/1.1",)
        connection.set_alpn_protos(list(server.alpn_offers))
        connection.set_connect_state()
        return connection

    def _context_for(self, host: str) -> SSL.Context:
        now = self._clock()
        known = self._leaves.get(host)
        if known is not None and known[1] > now:
            self._leaves.move_to_end(host)
            return known[0]
        context = self._leaf_context(host, now)
        self._leaves[host] = (context, now + _RENEW)
        if len(self._leaves) > _LEAVES:
            self._leaves.popitem(last=False)
        return context

    def _leaf_context(self, host: str, now: datetime.datetime) -> SSL.Context:
        context = _context(SSL.TLS_SERVER_METHOD)
        context.use_privatekey(self._key)
        context.use_certificate(self._authority.leaf(host, self._key.public_key(), now))
        context.set_alpn_select_callback(_choose)
        return context


def _context(method: int) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    # A connection that waits for a person gives its buffers (34 KiB) back.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


def _upstream_context(extra: Path | None) -> SSL.Context:
    context = _context(SSL.TLS_CLIENT_METHOD)
    context.load_verify_locations(certifi.where())
    if extra is not None:
        try:
            context.load_verify_locations(str(extra))
        except SSL.Error as error:
            raise fail(
                f"'{extra}' cannot be used as a CA for upstreams",
                "it is missing, or holds no certificate in PEM",
                f"look at it: openssl x509 -in '{extra}' -noout -text",
            ) from error
    context.set_verify(SSL.VERIFY_PEER)
    return context


def _expect(connection: SSL.Connection, name: str) -> None:
    """Send the name, and accept a certificate only for it (RFC 6066, RFC 9525)."""
    # pyOpenSSL has no call of its own for this.
    lib: Any = SSL._lib  # type: ignore[attr-defined]
    parameters = lib.SSL_get0_param(connection._ssl)
    lib.X509_VERIFY_PARAM_set_hostflags(
        parameters, lib.X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | lib.X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
    )
    try:
        packed = ipaddress.ip_address(name).packed
    except ValueError:
        host = name.encode("ascii")
        connection.set_tlsext_host_name(host)
        done = lib.X509_VERIFY_PARAM_set1_host(parameters, host, len(host))
    else:
        done = lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed))
    if done != 1:
        raise RuntimeError("OpenSSL does not take the name to verify")


def _choose(connection: SSL.Connection, offers: list[bytes]) -> Any:
    for protocol in (b"h2", b"http/1.1"):
        if protocol in offers:
            return protocol
    return SSL.NO_OVERLAPPING_PROTOCOLS
