"""
Which addresses the gate never dials, and which ports are no business of HTTP.

Judged on the address that a name resolved to, by the code that then dials exactly that address:
a name that resolves differently the next time (rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

type Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


class Guarded(str):
    """An error of dialling that is the gate's own refusal."""

    __slots__ = ()


_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, GCP, Azure and most others
        "169.254.170.2",  # ECS
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "168.63.129.16",  # Azure's host
        "fd00:ec2::254",
        "fd20:ce::254",
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_SITE_LOCAL: Final = ipaddress.IPv6Network("fec0::/10")
_THIS_NETWORK: Final = ipaddress.IPv4Network("0.0.0.0/8")
_RESERVED: Final = ipaddress.IPv4Network("240.0.0.0/4")


@dataclass(frozen=True, slots=True)
class Guard:
    """
    The rules for one gate.

    `ports` are the ports it listens on, `is_local` tells whether an address is this machine's.
    `beyond_loopback` says that agents on other machines use the gate: then what only this
    machine or network can reach is not for them. `resolve` maps an address to the one that is
    dialled in its place, and permits it.
    """

    ports: frozenset[int]
    is_local: Callable[[str], bool]
    beyond_loopback: bool = False
    resolve: Mapping[tuple[str, int], tuple[str, int]] = field(default_factory=dict)

    def refuses(self, address: str, port: int, *, named: bool) -> Guarded | None:
        """Why this address is not dialled, or None; `named` where `resolve` gave it."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return Guarded("this is no address")
        for real in _meant(ip):
            if real in _METADATA:
                return Guarded("a metadata service is never dialled")
            if why := _kind(real):
                return Guarded(f"{why} addresses are never dialled")
            if port in self.ports and self.is_local(str(real)):
                return Guarded("the gate does not dial itself")
            if self.beyond_loopback and not named and (real.is_private or real.is_loopback):
                return Guarded("private addresses are not dialled for other machines")
        return None


def _meant(ip: Ip) -> list[Ip]:
    """An address, and the IPv4 addresses that it carries."""
    if isinstance(ip, ipaddress.IPv4Address):
        return [ip]
    carried: list[Ip] = [ip]
    if ip.ipv4_mapped is not None:
        # The same address in the other family's clothes: only the inner one is judged.
        return [ip.ipv4_mapped]
    if ip.sixtofour is not None:
        carried.append(ip.sixtofour)
    if ip.teredo is not None:
        carried += ip.teredo
    if ip in _NAT64 or ip in _NAT64_LOCAL or (ip in _COMPATIBLE and int(ip) > 1):
        carried.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return carried


def _kind(ip: Ip) -> str | None:
    if ip.is_multicast:
        return "multicast"
    if ip.is_link_local or (isinstance(ip, ipaddress.IPv6Address) and ip in _SITE_LOCAL):
        return "link-local"
    if ip.is_unspecified or (isinstance(ip, ipaddress.IPv4Address) and ip in _THIS_NETWORK):
        return "unspecified"
    if isinstance(ip, ipaddress.IPv4Address) and ip in _RESERVED:
        return "broadcast and reserved"
    return None


_FOREIGN: Final[Mapping[int, str]] = {
    **dict.fromkeys((7, 9, 13, 17, 19, 37), "old test services"),
    **dict.fromkeys((20, 21, 989, 990), "FTP"),
    22: "SSH",
    23: "Telnet",
    **dict.fromkeys((25, 465, 587, 2525), "SMTP"),
    43: "whois",
    **dict.fromkeys((53, 853, 5353), "DNS"),
    69: "TFTP",
    79: "finger",
    **dict.fromkeys((88, 464), "Kerberos"),
    **dict.fromkeys((110, 995), "POP3"),
    **dict.fromkeys((111, 2049), "NFS"),
    **dict.fromkeys((119, 563), "NNTP"),
    123: "NTP",
    **dict.fromkeys((135, 137, 138, 139, 445), "SMB"),
    **dict.fromkeys((143, 993), "IMAP"),
    **dict.fromkeys((161, 162), "SNMP"),
    179: "BGP",
    **dict.fromkeys((194, 6665, 6666, 6667, 6668, 6669, 6697), "IRC"),
    **dict.fromkeys((389, 636, 3268, 3269), "LDAP"),
    **dict.fromkeys((512, 513, 514), "remote shells"),
    **dict.fromkeys((515, 9100), "printing"),
    **dict.fromkeys((543, 544), "Kerberos shells"),
    548: "AFP",
    554: "RTSP",
    873: "rsync",
    **dict.fromkeys((1080, 1085), "SOCKS"),
    **dict.fromkeys((1433, 1434), "SQL Server"),
    **dict.fromkeys((1521, 1526, 2483, 2484), "Oracle"),
    **dict.fromkeys((1883, 8883), "MQTT"),
    **dict.fromkeys((2181,), "ZooKeeper"),
    **dict.fromkeys((3306, 33060), "MySQL"),
    3389: "RDP",
    **dict.fromkeys((4222,), "NATS"),
    **dict.fromkeys((5060, 5061), "SIP"),
    **dict.fromkeys((5222, 5223, 5269), "XMPP"),
    **dict.fromkeys((5432, 5433, 6432), "PostgreSQL"),
    **dict.fromkeys((5671, 5672), "AMQP"),
    **dict.fromkeys((5900, 5901, 5902, 5903), "VNC"),
    **dict.fromkeys((6000, 6001), "X11"),
    **dict.fromkeys((6379, 6380, 16379, 26379), "Redis"),
    **dict.fromkeys((9042, 9142), "Cassandra"),
    **dict.fromkeys((9092, 9093), "Kafka"),
    11211: "memcached",
    **dict.fromkeys((27017, 27018, 27019), "MongoDB"),
    50000: "Db2",
}


def foreign_protocol(port: int) -> str | None:
    """Why no tunnel is opened to this port, or None."""
    protocol = _FOREIGN.get(port)
    return None if protocol is None else f"port {port} is for {protocol}, not for HTTP"
