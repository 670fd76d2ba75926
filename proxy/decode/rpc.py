"""
JSON-RPC 2.0, and the Model Context Protocol over streamable HTTP, which is built on it.

A body is JSON-RPC where it says ``"jsonrpc": "2.0"`` and names a method. What MCP promises to
be a read is believed only where the path says that such calls are served there, because a
server of another kind ignores the keys that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from proxy.action import ABSENT, UNKNOWN, Document, Field, Reading, Values
from proxy.decode import http, json
from proxy.decode.decoded import Body, Decoded, Head, member
from proxy.decode.json import Tree

MAX_BATCH: Final = 1_000
MAX_SHOWN: Final = 200

_SERVED: Final = re.compile(r"/?|(?:/[^/]*)*/(?:mcp|sse|rpc|jsonrpc|json-rpc)(?:/[^/]*)?/?", re.IGNORECASE)
_METHOD: Final = re.compile(r"[!-~]{1,200}")
_KEYS: Final = frozenset({"jsonrpc", "id", "method", "params"})
_REPLIES: Final = frozenset({"jsonrpc", "id", "result", "error"})

# What the Model Context Protocol says of its own methods (revision 2025-06-18).
_READS: Final = frozenset(
    {
        "initialize",
        "ping",
        "completion/complete",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "tools/list",
        "notifications/initialized",
        "notifications/progress",
        "notifications/cancelled",
        "notifications/roots/list_changed",
    }
)


def decode(head: Head, body: Body) -> Decoded | None:
    """What a JSON-RPC call asks for; None where a body is none."""
    tree = body.tree
    if isinstance(tree, list):
        return _batch(head, tree)
    if not isinstance(tree, dict) or "jsonrpc" not in tree:
        return None
    if "method" not in tree and tree.keys() <= _REPLIES and tree.get("jsonrpc") == "2.0":
        return Decoded("rpc", "rpc:a reply", reading="write", documents=_NO_CALL)
    method = tree.get("method")
    if tree.get("jsonrpc") != "2.0" or not isinstance(method, str) or not _METHOD.fullmatch(method):
        return _OPAQUE
    if not tree.keys() <= _KEYS:
        return _OPAQUE
    reads = method in _READS and _is_served(head)
    name = _tool(method, tree.get("params"))
    tool = f" {name[:MAX_SHOWN]}" if name else ""
    return Decoded(
        "mcp" if method in _READS or method == "tools/call" else "rpc",
        operation=f"rpc:{method}{tool}",
        names=(name,) if name else (method,),
        reading="read" if reads else "write",
        documents={"rpc": _rpc(method), "mcp": _mcp(method, tree.get("params"))},
    )


def _is_served(head: Head) -> bool:
    return head.host.startswith("mcp.") or bool(_SERVED.fullmatch(head.path))


def _tool(method: str, params: Tree) -> str | None:
    if method != "tools/call" or not isinstance(params, dict):
        return None
    name = params.get("name")
    return name if isinstance(name, str) else None


def _rpc(method: str) -> Document:
    return lambda name: Values((method,)) if name == ("method",) else UNKNOWN


def _mcp(method: str, params: Tree) -> Document:
    """The tool that is called, and its arguments; unknown where the call is malformed."""
    if method != "tools/call":
        return http.absent
    given: Mapping[str, Tree] = params if isinstance(params, dict) else {}
    tool = _tool(method, params)
    arguments = given.get("arguments", {})
    if tool is None or not isinstance(arguments, dict | None):
        return http.unknown
    read_argument = json.document(arguments or {})

    def read(name: Field) -> Reading:
        match name:
            case ("tool",):
                return Values((tool,))
            case ("argument", *below):
                return read_argument(tuple(below))
            case _:
                return ABSENT

    return read


def _batch(head: Head, trees: Sequence[Tree]) -> Decoded | None:
    """Calls in an array, each of which is judged on its own."""
    calls = [isinstance(tree, dict) and "jsonrpc" in tree for tree in trees]
    if not any(calls):
        return None
    if not all(calls) or len(trees) > MAX_BATCH:
        return replace(_OPAQUE, sealed=True)
    members = tuple(member(head.request, tree) for tree in trees)
    return Decoded("rpc", members=members, records=len(members))


_NO_CALL: Final[Mapping[str, Document]] = {"rpc": http.absent, "mcp": http.absent}
_OPAQUE: Final = Decoded(
    "rpc",
    operation="rpc:unknown",
    reading="write",
    documents={"rpc": http.unknown, "mcp": http.unknown},
)
