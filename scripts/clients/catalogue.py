"""Which clients are held, and with which settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proxy.policy.verdict import Keepalive


@dataclass(frozen=True, slots=True)
class Row:
    """
    One client with one setting.

    `read` is its read timeout in seconds, None for its own default; `agent` another User-Agent
    than its own. `said` is the rule's word on interim answers. `patience` is how many seconds it
    waits by itself, where that is known, without an interim answer; `fed` says whether interim
    answers keep it waiting on.
    """

    tool: str
    kind: str
    read: float | None = None
    agent: str = ""
    said: Keepalive = Keepalive.AUTO
    patience: float | None = None
    fed: bool = False

    def waits(self, seconds: float) -> bool:
        """Whether it has to be there still after a hold of so many seconds."""
        return self.fed or self.patience is None or self.patience > seconds

    @property
    def setting(self) -> str:
        """What is set, in words."""
        words = ["its defaults" if self.read is None else f"{self.read:g} s"]
        if self.agent:
            words.append(f"as `{self.agent}`")
        if self.said is not Keepalive.AUTO:
            words.append(f"`keepalive: {self.said}`")
        return ", ".join(words)


def _python() -> list[Row]:
    """All but http.client say who they are; the patience is that of their documentation."""
    own: dict[str, float | None] = {
        "requests": None,
        "urllib3": None,
        "urllib": None,
        "httpx": 5,
        "httpx-h2": 5,
        "httpx-async": 5,
        "aiohttp": 300,
        "openai": 600,
        "openai-async": 600,
        "anthropic": 600,
        "google-genai": None,
        "stripe": 80,
        "boto3-dynamodb": 60,
        "boto3-s3": 60,
    }
    rows = [Row("python", kind, patience=seconds, fed=True) for kind, seconds in own.items()]
    rows += [Row("python", kind, read=SHORT, patience=SHORT, fed=True) for kind in own]
    rows += [Row("python", "http.client"), Row("python", "http.client", read=SHORT, patience=SHORT)]
    rows.append(Row("python", "http.client", read=SHORT, said=Keepalive.CONTINUE, patience=SHORT, fed=True))
    rows += [Row("python", "requests", agent=agent) for agent in ("node", "MyAgent/1")]
    rows.append(Row("python", "requests", said=Keepalive.PROCESSING))
    return rows


SHORT: Final = 5.0
"""Seconds of a read timeout that is too short for any person."""

_NODE: Final = [
    Row("node", "fetch", patience=300, fed=True),
    Row("node", "fetch", agent="python-requests/2.34.2", patience=300, fed=True),
    Row("node", "fetch", said=Keepalive.CONTINUE, patience=300),
    Row("node", "undici-fetch", read=SHORT, patience=SHORT, fed=True),
    Row("node", "undici-request", patience=300),
    Row("node", "undici-request", read=SHORT, patience=SHORT),
    Row("node", "undici-request", said=Keepalive.CONTINUE, patience=0),
    Row("node", "http"),
    Row("node", "http", read=SHORT, patience=SHORT),
    Row("node", "http", read=SHORT, said=Keepalive.CONTINUE, patience=SHORT, fed=True),
    Row("node", "axios"),
    Row("node", "axios", read=SHORT, patience=SHORT),
    Row("node", "openai", patience=300, fed=True),
    Row("node", "anthropic", patience=300, fed=True),
    Row("node", "stripe", patience=80),
    Row("node", "stripe", said=Keepalive.CONTINUE, patience=80, fed=True),
]

ROWS: Final = [
    *_python(),
    Row("curl", "curl"),
    Row("curl", "curl", read=SHORT, patience=SHORT),
    Row("curl", "curl", said=Keepalive.CONTINUE),
    Row("wget", "wget", patience=900, fed=True),
    Row("wget", "wget", read=SHORT, patience=SHORT, fed=True),
    *_NODE,
    Row("go", "net/http"),
    Row("go", "net/http", read=SHORT, patience=SHORT),
    Row("java", "HttpClient"),
    Row("java", "HttpClient", read=SHORT, patience=SHORT),
    Row("java", "HttpURLConnection", fed=True),
    Row("java", "HttpURLConnection", read=SHORT, patience=SHORT, fed=True),
]
