"""
What an ssh-agent holds (draft-miller-ssh-agent): asked only to find out what must not be there.

A key in an agent signs for any process of the account that asks, and nobody sees it.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Final

from proxy.signing import ProofError
from proxy.signing.blob import Blob

_PATIENCE: Final = 2.0
_ASKED: Final = b"\0\0\0\x01\x0b"  # SSH_AGENTC_REQUEST_IDENTITIES
_ANSWERED: Final = b"\x0c"  # SSH_AGENT_IDENTITIES_ANSWER
_LONGEST: Final = 256 * 1024


def held(environment: Mapping[str, str]) -> frozenset[bytes]:
    """The public keys, as SSH writes them, that the agent of this session holds; none where there is none."""
    path = environment.get("SSH_AUTH_SOCK")
    if not path:
        return frozenset()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(_PATIENCE)
            agent.connect(path)
            agent.sendall(_ASKED)
            return _keys(_exactly(agent, int.from_bytes(_exactly(agent, 4))))
    except (OSError, ProofError):
        return frozenset()


def _exactly(agent: socket.socket, count: int) -> bytes:
    if count > _LONGEST:
        raise ProofError("form", "the agent's answer is too long")
    data = b""
    while len(data) < count:
        piece = agent.recv(count - len(data))
        if not piece:
            raise ProofError("form", "the agent's answer ends too soon")
        data += piece
    return data


def _keys(answer: bytes) -> frozenset[bytes]:
    data = Blob(answer, "the agent's answer")
    if data.take(1) != _ANSWERED:
        return frozenset()
    found = set()
    for _ in range(data.uint32()):
        found.add(data.string())
        data.string()  # its comment
    return frozenset(found)
