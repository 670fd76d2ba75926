"""
Real HTTP clients, each set up as its users do behind a proxy: one URL, one CA, nothing more.

A client is a function: a gate, a method, a URL, a body in, what it saw out.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import ssl
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests

from .product import PATIENCE, Gate

JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Told:
    """An answer as a client saw it; `raised` is how the client itself complains, "" for success."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    raised: str = ""

    @property
    def problem(self) -> Any:
        """The refusal in it (RFC 9457)."""
        assert self.headers["content-type"] == "application/problem+json"
        return json.loads(self.body)


type Client = Callable[[Gate, str, str, bytes | None], Told]


def with_requests(gate: Gate, method: str, url: str, body: bytes | None = None) -> Told:
    answer = requests.request(
        method, url, data=body, headers=JSON, proxies={"https": gate.proxy}, verify=gate.ca, timeout=PATIENCE
    )
    told = Told(answer.status_code, _lower(answer.headers), answer.content)
    try:
        answer.raise_for_status()
    except requests.HTTPError as error:
        return _raised(told, error)
    return told


def _with_httpx(http2: bool) -> Client:
    def ask(gate: Gate, method: str, url: str, body: bytes | None = None) -> Told:
        tls = ssl.create_default_context(cafile=gate.ca)
        with httpx.Client(proxy=gate.proxy, verify=tls, http2=http2, timeout=PATIENCE) as client:
            answer = client.request(method, url, content=body, headers=JSON)
        assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        told = Told(answer.status_code, _lower(answer.headers), answer.content)
        try:
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            return _raised(told, error)
        return told

    return ask


def with_aiohttp(gate: Gate, method: str, url: str, body: bytes | None = None) -> Told:
    async def ask() -> Told:
        tls = ssl.create_default_context(cafile=gate.ca)
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE)) as session,
            session.request(method, url, data=body, headers=JSON, proxy=gate.proxy, ssl=tls) as answer,
        ):
            told = Told(answer.status, _lower(answer.headers), await answer.read())
            try:
                answer.raise_for_status()
            except aiohttp.ClientResponseError as error:
                return _raised(told, error)
            return told

    return asyncio.run(ask())


def _with_curl(version: str) -> Client:
    def ask(gate: Gate, method: str, url: str, body: bytes | None = None) -> Told:
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        words = [
            *("curl", "--silent", "--show-error", "--globoff", "--fail-with-body", f"--http{version}"),
            *("--proxy", gate.proxy, "--cacert", gate.ca, "--max-time", str(PATIENCE)),
            *("--include", "--suppress-connect-headers", "--header", "content-type: application/json"),
            *(["--head"] if method == "HEAD" else ["--request", method]),
            *([] if body is None else ["--data-binary", "@-"]),
        ]
        done = subprocess.run([*words, url], input=body, capture_output=True, timeout=60, check=False)
        head, rest = "", done.stdout
        while rest.startswith(b"HTTP/"):  # 100 Continue comes before the answer
            raw, _, rest = rest.partition(b"\r\n\r\n")
            head = raw.decode()
        first, *lines = head.split("\r\n")
        assert first.startswith(f"HTTP/{version} "), done.stderr.decode()
        headers = _lower(dict(line.split(": ", 1) for line in lines))
        raised = done.stderr.decode().strip() if done.returncode else ""
        return Told(int(first.split()[1]), headers, rest, raised)

    return ask


def with_node_fetch(gate: Gate, method: str, url: str, body: bytes | None = None) -> Told:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    asked = {"method": method, "url": url, "headers": JSON, "body": None}
    if body is not None:
        asked["body"] = base64.b64encode(body).decode()
    done = subprocess.run(
        ["node", Path(__file__).with_name("fetch.mjs")],
        input=json.dumps(asked).encode(),
        capture_output=True,
        timeout=60,
        check=False,
        env={"HTTPS_PROXY": gate.proxy, "NODE_USE_ENV_PROXY": "1", "NODE_EXTRA_CA_CERTS": gate.ca}
        | {"PATH": _path()},
    )
    assert done.stdout, done.stderr.decode()
    said = json.loads(done.stdout)
    raised = f"exit {done.returncode}" if done.returncode else ""
    return Told(said["status"], dict(said["headers"]), base64.b64decode(said["body"]), raised)


def _path() -> str:
    return str(Path(shutil.which("node") or "").parent)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _raised(told: Told, error: Exception) -> Told:
    return Told(told.status, told.headers, told.body, f"{type(error).__name__}: {error}")


CLIENTS: dict[str, Client] = {
    "requests": with_requests,
    "httpx-h1": _with_httpx(http2=False),
    "httpx-h2": _with_httpx(http2=True),
    "aiohttp": with_aiohttp,
    "curl-h1": _with_curl("1.1"),
    "curl-h2": _with_curl("2"),
    "node-fetch": with_node_fetch,
}
