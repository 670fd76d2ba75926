"""
Fuzz the decoders: never an exception, never two answers for the same bytes.

    .venv/bin/python scripts/fuzz.py [--seconds N] [CORPUS_FOLDER]

With atheris (coverage-guided) where it is installed, else with random mutations of the same
seeds. Ends with status 1 at the first finding, and writes what it was to ``fuzz-finding.bin``.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from proxy.action import Action, Request, Values
from proxy.decode import decode
from proxy.policy.fields import FIXED

FINDING: Final = Path("fuzz-finding.bin")
NAMES: Final = tuple(
    tuple(name.split(".")) for name in (*FIXED, "json.a", "form.a", "multipart.a", "query.a")
)

# The first byte chooses host and path, the second the media type, the third method and coding.
PLACES: Final = (
    ("api.example.com", "/v1/x"),
    ("api.example.com", "/graphql"),
    ("mcp.example.com", "/mcp"),
    ("graph.microsoft.com", "/v1.0/$batch"),
    ("graph.microsoft.com", "/v1.0/me/sendMail"),
    ("www.googleapis.com", "/batch"),
    ("gmail.googleapis.com", "/gmail/v1/users/me/messages/send"),
    ("graph.facebook.com", "/v23.0"),
    ("ec2.us-east-1.amazonaws.com", "/"),
    ("b.s3.amazonaws.com", "/k?delete"),
    ("email.us-east-1.amazonaws.com", "/v2/email/outbound-emails"),
    ("kubernetes", "/api/v1/namespaces/a/pods/b"),
    ("es.example.com", "/_bulk"),
    ("api.mailgun.net", "/v3/x.org/messages"),
)
KINDS: Final = (
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "multipart/mixed; boundary=b",
    "application/graphql",
    "application/x-ndjson",
    "message/rfc822",
    "application/xml",
    "application/x-amz-json-1.1",
    "application/grpc",
)
METHODS: Final = ("POST", "GET", "PUT", "DELETE")
CODINGS: Final = ("", "gzip", "deflate", "br", "zstd", "aws-chunked")
SEEDS: Final = (
    b'\0\0\0{"amount": 5, "a": [{"b": "c"}]}',
    b"\1\0\0" + b'{"query": "mutation M { a: b(c: {d: $e}) { ...F } } fragment F on T { x }"}',
    b"\2\0\0" + b'[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{}}}]',
    b"\3\0\0" + b'{"requests":[{"method":"POST","url":"/$batch","body":{"requests":[]}}]}',
    b"\5\3\0" + b"--b\r\nContent-Type: application/http\r\n\r\nDELETE /x HTTP/1.1\r\n\r\n\r\n--b--",
    b"\6\6\0" + b"To: A <a@b.c>\r\nSubject: =?utf-8?q?x?=\r\n\r\nhello",
    b"\6\0\0" + b'{"raw": "VG86IGFAYi5jDQoNCmhp"}',
    b"\7\1\0" + b"batch=%5B%7B%22method%22%3A%22DELETE%22%2C%22relative_url%22%3A%221%22%7D%5D",
    b"\x08\1\0" + b"Action=TerminateInstances&DryRun=true&InstanceId.1=a",
    b"\x0c\5\0" + b'{"delete":{"_index":"a","_id":"1"}}\n{"index":{}}\n{}\n',
    b"\x0d\2\0" + b'--b\r\nContent-Disposition: form-data; name="to"; filename="x"\r\n\r\na@b.c\r\n--b--',
)


class FoundError(Exception):
    """A finding: an exception inside a decoder, or two answers."""


def requested(data: bytes) -> Request:
    """The request that some bytes stand for."""
    choice, body = data[:3].ljust(3, b"\0"), data[3:]
    host, path = PLACES[choice[0] % len(PLACES)]
    kind, method = KINDS[choice[1] % len(KINDS)], METHODS[choice[2] % len(METHODS)]
    headers = [(b"content-type", kind.encode())]
    if coding := CODINGS[choice[2] // len(METHODS) % len(CODINGS)]:
        headers.append((b"content-encoding", coding.encode()))
    return Request(None, method.encode(), "https", host, 443, path.encode(), tuple(headers), body)


def one(data: bytes) -> None:
    """Decode twice, read everything twice."""
    request = requested(data)
    first, second = decode(request), decode(request)
    if "could not be decoded" in (first.unreadable or ""):
        raise FoundError(first.unreadable)
    if summary(first) != summary(second):
        raise FoundError("two answers for the same bytes")


def summary(action: Action) -> list[Any]:
    """Everything that rules can ask of an action."""
    readings = [action.read(name) for name in NAMES]
    told = [reading.items if isinstance(reading, Values) else None for reading in readings]
    told.append((action.unreadable, action.operation, action.consequence))
    return [told, [summary(member) for member in action.members]]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A seed, changed in a few places."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(made) + 1)
        match chance.randrange(4):
            case 0:
                del made[at : at + chance.randint(1, 4)]
            case 1:
                made[at:at] = bytes(
                    chance.choices(b'{}[]",:=&%\\\r\n-.@<>/\0\xff09aZ', k=chance.randint(1, 3))
                )
            case 2 if at < len(made):
                made[at] = chance.randrange(256)
            case _:
                other = chance.choice(SEEDS)
                cut = chance.randrange(len(other))
                made[at:at] = other[cut : cut + chance.randint(1, 20)]
    return bytes(made)


def by_chance(seconds: float) -> int:
    """Random mutations for so many seconds; how many were tried."""
    chance, ends, tried = random.Random(), time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        data = mutated(chance.choice(SEEDS), chance)
        _guarded(one, data)
        tried += 1
    return tried


def _guarded(test: Callable[[bytes], None], data: bytes) -> None:
    try:
        test(data)
    except Exception:
        FINDING.write_bytes(data)
        raise


def main() -> int:
    """Fuzz; the exit status."""
    parser = argparse.ArgumentParser(description="Fuzz the decoders.")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("corpus", nargs="?", help="a folder of inputs for atheris to start from and add to")
    given = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print(f"{by_chance(given.seconds)} inputs, nothing found (atheris is not installed: by chance alone)")
        return 0
    import atheris

    atheris.instrument_all()
    flags = [f"-max_total_time={given.seconds}", "-max_len=4096", *([given.corpus] if given.corpus else [])]
    atheris.Setup([sys.argv[0], *flags], lambda data: _guarded(one, data))
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
