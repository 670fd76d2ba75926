"""
gRPC: service and method, from the path. Nothing is guessed about the body.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.action import UNKNOWN, Document, Field, Reading, Values
from proxy.decode import http
from proxy.decode.decoded import Body, Decoded, Head

_PATH: Final = re.compile(r"/([A-Za-z_][\w.]{0,199})/([A-Za-z_]\w{0,199})", re.ASCII)


def decode(head: Head, body: Body) -> Decoded | None:
    """The call that a gRPC (or gRPC-Web) request makes; None for any other media type."""
    if not head.kind.startswith("application/grpc"):
        return None
    found = _PATH.fullmatch(head.path)
    if found is None:
        return Decoded("grpc", "grpc:unknown", reading="write", documents={"grpc": http.unknown})
    service, method = found[1], found[2]
    return Decoded(
        "grpc",
        operation=f"grpc:{service}/{method}",
        names=(method, service),
        documents={"grpc": _document(service, method)},
    )


def _document(service: str, method: str) -> Document:
    readings: dict[Field, Reading] = {("service",): Values((service,)), ("method",): Values((method,))}
    return lambda name: readings.get(name, UNKNOWN)
