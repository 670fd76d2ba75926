"""
Every format that is understood, and how their answers come together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from proxy.action import Document
from proxy.decode import aws, batch, blast, graphql, grpc, http, kubernetes, mail, rpc
from proxy.decode.aws_routes import Services
from proxy.decode.decoded import Body, Decoded, Head

type Decoder = Callable[[Head, Body], Decoded | None]

DECODERS: Final[tuple[Decoder, ...]] = (
    rpc.decode,
    graphql.decode,
    kubernetes.decode,
    grpc.decode,
    batch.decode,
    mail.decode,
)

ROOTS: Final = ("graphql", "rpc", "mcp", "aws", "grpc", "kubernetes", "email")
"""The roots of fields that a container has of its members."""

# Fields that come from a JSON body: absent where one was read and is not in the format.
_IN_JSON: Final = ("graphql", "rpc", "mcp")
# Fields that the head alone tells.
_BY_HEAD: Final[Mapping[str, Document]] = dict.fromkeys(("aws", "grpc", "kubernetes"), http.absent)


def decode(head: Head, body: Body, services: Services) -> tuple[Decoded, ...]:
    """What each format says of a request that is in it."""
    found = [one for decoder in DECODERS if (one := decoder(head, body)) is not None]
    if (one := aws.decode(head, body, services)) is not None:
        found.append(one)
    return tuple(found)


def documents(head: Head, body: Body, decoded: tuple[Decoded, ...]) -> dict[str, Document]:
    """What answers for the fields of every format."""
    in_json: Document = http.absent if body.empty or body.is_json else http.unknown
    in_mail: Document = http.absent if body.empty else http.unknown
    found: dict[str, Document] = {
        **dict.fromkeys(_IN_JSON, in_json),
        **_BY_HEAD,
        "email": in_mail,
        "blast": blast.document(head, body, decoded),
    }
    for one in decoded:
        found.update(one.documents)
    return found
