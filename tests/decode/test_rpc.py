"""JSON-RPC and MCP: which tool is called, with what, and what only asks."""

from typing import Any

import pytest

from proxy.action import UNKNOWN

from .asking import asked, read

URL = "https://mcp.example.com/mcp"


def call(method: str, params: Any = None, **more: Any) -> dict[str, Any]:
    found = {"jsonrpc": "2.0", "id": 1, "method": method, **more}
    return found if params is None else {**found, "params": params}


def test_a_tool_is_called_by_name_with_arguments() -> None:
    params = {"name": "create_refund", "arguments": {"amount": 900, "to": {"id": "x"}}}
    got = asked("POST", URL, call("tools/call", params))
    assert read(got, "rpc.method") == ("tools/call",)
    assert read(got, "mcp.tool") == ("create_refund",)
    assert read(got, "mcp.argument.amount") == ("900",)
    assert read(got, "mcp.argument.to.id") == ("x",)
    assert read(got, "mcp.argument.other") == ()
    assert got.operation == "rpc:tools/call create_refund"
    assert got.consequence != "read"


def test_a_notification_calls_too() -> None:
    body = {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "x"}}
    got = asked("POST", URL, body)
    assert read(got, "mcp.tool") == ("x",) and got.consequence != "read"


@pytest.mark.parametrize("method", ["initialize", "ping", "tools/list", "resources/read", "prompts/get"])
def test_what_the_protocol_promises_to_be_a_read_is_one(method: str) -> None:
    got = asked("POST", URL, call(method))
    assert got.consequence == "read"
    assert read(got, "mcp.tool") == ()


@pytest.mark.parametrize("url", ["https://api.example.com/v1/accounts/7/close", "https://a.example/mcp2/x"])
def test_a_body_alone_makes_no_read(url: str) -> None:
    assert asked("POST", url, call("tools/list")).consequence != "read"


def test_a_host_of_its_own_or_a_path_vouches() -> None:
    assert asked("POST", "https://mcp.example.com/v1/sse-1", call("tools/list")).consequence == "read"
    assert asked("POST", "https://a.example/", call("tools/list")).consequence == "read"
    assert asked("POST", "https://a.example/fetch/mcp", call("tools/list")).consequence == "read"


@pytest.mark.parametrize("method", ["eth_sendRawTransaction", "resources/subscribe", "tools/list2", "Ping"])
def test_any_other_method_may_change_something(method: str) -> None:
    got = asked("POST", URL, call(method))
    assert got.consequence != "read" and read(got, "rpc.method") == (method,)


@pytest.mark.parametrize(
    "body",
    [
        call(" tools/list"),
        call("tools/list", also=1),
        {**call("tools/list"), "jsonrpc": "1.0"},
        {**call("x"), "method": ["x"]},
        {"jsonrpc": "2.0", "id": 1},
        {"jsonrpc": "2.0"},
        [call("tools/list"), "x"],
        [call("tools/list")] * 1_001,
    ],
    ids=range(8),
)
def test_what_is_malformed_is_no_read(body: Any) -> None:
    assert asked("POST", URL, body).consequence != "read"


def test_a_malformed_tool_call_has_an_unknown_tool() -> None:
    for params in (None, {}, {"name": True}, {"name": "x", "arguments": [1]}, "x"):
        assert read(asked("POST", URL, call("tools/call", params)), "mcp.tool") is UNKNOWN


def test_an_answer_to_the_server_may_confirm_something() -> None:
    got = asked("POST", URL, {"jsonrpc": "2.0", "id": 7, "result": {"action": "accept"}})
    assert got.consequence != "read" and read(got, "mcp.tool") == ()


def test_a_batch_is_judged_call_by_call() -> None:
    got = asked("POST", URL, [call("tools/list"), call("tools/call", {"name": "delete_file"})])
    assert [member.consequence == "read" for member in got.members] == [True, False]
    assert read(got, "mcp.tool") == ("delete_file",)
    assert asked("POST", URL, [call("ping"), call("tools/list")]).consequence == "read"


def test_json_without_the_mark_is_no_call() -> None:
    got = asked("POST", URL, {"method": "tools/call", "params": {"name": "x"}})
    assert read(got, "mcp.tool") == () and read(got, "rpc.method") == ()
    assert read(asked("POST", URL, b"x", "text/plain"), "mcp.tool") is UNKNOWN
    assert read(asked("POST", URL, None, "application/json"), "mcp.tool") is UNKNOWN
