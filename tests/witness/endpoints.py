"""Real endpoints on loopback: one that collects what is posted, one that is a C2SP witness."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from proxy.merkle import is_extended
from proxy.note import COSIGNED, Checkpoint, Key, decode64, encode64, open_note


class Collector:
    """Keeps every body that is posted; answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[bytes] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        self.paths.append(path)
        self.headers.append(headers)
        if self.status < 300:
            self.bodies.append(body)
        return self.status, "text/plain", b"\xff not UTF-8" * 10


class Witness:
    """What tlog-witness asks for: the newest checkpoint of each log, and a proof before a newer one."""

    def __init__(self, log: Key, time: int = 1_785_000_000) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.key = Key("witness.example/w1", COSIGNED, self._private.public_key().public_bytes_raw())
        self.log = log
        self.time = time
        self.size, self.root = 0, b""
        self.asked: list[int] = []

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        head, _, note = body.partition(b"\n\n")
        old, *proof = head.decode().split("\n")
        size = int(old.removeprefix("old "))
        self.asked.append(size)
        found = Checkpoint.parse(open_note(note, [self.log]).text)
        if path != "/w/add-checkpoint":
            return 404, "text/plain", b""
        if found.origin != self.log.name:
            return 404, "text/plain", b""
        if size != self.size:
            return 409, "text/x.tlog.size", b"%d\n" % self.size
        if size == found.size and self.root != found.root:
            return 409, "text/plain", b""
        hashes = [decode64(line) for line in proof]
        if size and not is_extended(size, found.size, hashes, self.root, found.root):
            return 422, "text/plain", b""
        self.size, self.root = found.size, found.root
        signed = self._private.sign(f"cosignature/v1\ntime {self.time}\n{found.text}".encode())
        raw = self.key.id + struct.pack(">Q", self.time) + signed
        lines = f"\u2014 other.example AAAAAAAA\n\u2014 {self.key.name} {encode64(raw)}\n"
        return 200, "text/plain", lines.encode()


@contextmanager
def serving(what: Any) -> Iterator[str]:
    """An address at which it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, media, answer = what.answer(self.path, dict(self.headers), body)
            self.send_response(status)
            self.send_header("content-type", media)
            self.send_header("content-length", str(len(answer)))
            if status == 302:
                self.send_header("location", "/elsewhere")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
