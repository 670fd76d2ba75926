"""
HTTP: each note is posted to an endpoint; any 2xx says that it is kept.

No redirect is followed and no proxy of the environment is used: it would be this one.
"""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from proxy.errors import Problem, fail
from proxy.ledger.anchors import Place
from proxy.ledger.seal import Seal
from proxy.witness import RefusedError

_TIMEOUT: Final = 20.0
_ANSWER: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, the media type in lower case, and the first 64 KiB of the body."""

    status: int
    media: str
    body: bytes


class Endpoint:
    """An address to post to; a user and a password in it become basic authentication (RFC 7617)."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.fragment:
            raise fail(f"'{parts.scheme}://…' is no address of a witness", fix="https://host/path is one")
        self._secure = parts.scheme == "https"
        self.host, self.port = parts.hostname, port
        self.path = parts.path or "/"
        self._query = f"?{parts.query}" if parts.query else ""
        self._headers: dict[str, str] = {}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"

    @property
    def name(self) -> str:
        """The address without what may be secret in it."""
        port = "" if self.port is None else f":{self.port}"
        return f"{'https' if self._secure else 'http'}://{self.host}{port}{self.path}"

    def post(self, body: bytes, below: str = "") -> Answer:
        """Post to the address, or to a path below it. OSError where there is no answer."""
        path = self.path.rstrip("/") + below if below else self.path
        connection = self._connection()
        headers: Mapping[str, str] = {"Content-Type": "text/plain; charset=utf-8", **self._headers}
        try:
            connection.request("POST", path + self._query, body, dict(headers))
            answer = connection.getresponse()
            media = (answer.headers.get("content-type") or "").partition(";")[0].strip().lower()
            return Answer(answer.status, media, answer.read(_ANSWER))
        except http.client.HTTPException as error:
            raise OSError(f"it does not speak HTTP: {error!r}") from None
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self.host, self.port, timeout=_TIMEOUT, context=context)
        return http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT)


class HttpWitness:
    """Posts each head."""

    every: float = 10.0
    renew: float = 0.0
    place: Place | None = None

    def __init__(self, url: str) -> None:
        self._endpoint = Endpoint(url)
        self.name = self._endpoint.name

    def send(self, seals: Sequence[Seal]) -> None:
        """See `Witness.send`."""
        for seal in seals:
            answer = self._endpoint.post(seal.note)
            if not 200 <= answer.status < 300:
                raise RefusedError(Problem(f"it answered {answer.status}"))
