"""An ssh-agent in a thread (draft-miller-ssh-agent) that holds the keys it is given."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from proxy.signing.blob import Blob, string

from .making_keys import Key


@contextmanager
def agent(folder: Path, keys: Sequence[Key], answer: bytes | None = None) -> Iterator[dict[str, str]]:
    """The environment in which ssh finds it; `answer` is what it says whatever is asked."""
    path = str(folder / "agent.sock")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    serving = threading.Thread(target=_serve, args=(listening, keys, answer))
    serving.start()
    try:
        yield {"SSH_AUTH_SOCK": path}
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        serving.join(5)


def _serve(listening: socket.socket, keys: Sequence[Key], answer: bytes | None) -> None:
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        with client, client.makefile("rb") as asked:
            while head := asked.read(4):
                said = _answer(asked.read(int.from_bytes(head)), keys)
                client.sendall(answer if answer is not None else string(said))
                if answer is not None:
                    break


def _answer(asked: bytes, keys: Sequence[Key]) -> bytes:
    request = Blob(asked[1:], "the request")
    if asked[0] == 11:
        pairs = b"".join(string(key.public.blob) + string(b"a comment") for key in keys)
        return b"\x0c" + len(keys).to_bytes(4) + pairs
    if asked[0] == 13:
        blob, data = request.string(), request.string()
        for key in keys:
            if key.public.blob == blob:
                return b"\x0e" + string(key.sign(data))
    return b"\x05"
