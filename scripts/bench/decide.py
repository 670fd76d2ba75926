"""
How long the decision alone takes, in this process; and what bombs cost, each in a process of its own.

    python -m bench.decide NAME     one of `BOMBS`; prints milliseconds, bytes and what came of it
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.agent import BrokenError
from bench.table import median
from proxy.action import Request
from proxy.decode import decode
from proxy.policy import Policy, load_texts

MANY_RULES: Final = 10_000
MANY_HOSTS: Final = 500
FEW_RULES: Final = 200
FEW_HOSTS: Final = 40
SCRIPTS: Final = Path(__file__).resolve().parent.parent
_IN_A_FILE: Final = 2_500
_DEFAULT: Final = "default: {read: allow, write: watch}\n"
_HEAD: Final = "version: 1\nrules:\n"
_MEMORY: Final = re.compile(r"Vm(HWM|RSS):\s+(\d+) kB")


@dataclass(frozen=True, slots=True)
class Burst:
    """What one bomb cost: milliseconds, bytes of memory beyond the request itself, and the answer."""

    milliseconds: float
    memory: int
    answer: str


@dataclass(frozen=True, slots=True)
class Decided:
    """
    Microseconds at the median: the decision on an action that is decoded, with many rules over
    many hosts and with as many for its own host alone; decoding and deciding, with a body and without.
    """

    many: float
    own: float
    body: float
    bare: float
    size: int
    bombs: Mapping[str, Burst]


def decided(times: int) -> Decided:
    """Measure everything, each so many times."""
    here = MANY_RULES // MANY_HOSTS
    many, own, few = rules(MANY_RULES, MANY_HOSTS), rules(here, 1), rules(FEW_RULES, FEW_HOSTS)
    asked, bare, body = post(body_of_2_kb()), get(), post(body_of_2_kb())
    return Decided(
        _median(times, lambda: decode(asked), many.judge),
        _median(times, lambda: decode(asked), own.judge),
        _median(times, lambda: body, lambda request: few.judge(decode(request))),
        _median(times, lambda: bare, lambda request: few.judge(decode(request))),
        len(body.body or b""),
        {name: _apart(name) for name in BOMBS},
    )


def _median[T](times: int, given: Callable[[], T], measured: Callable[[T], object]) -> float:
    """Microseconds; what is `given` is made anew each time, and not counted."""
    took = []
    for _ in range(times):
        made = given()
        began = time.perf_counter_ns()
        measured(made)
        took.append((time.perf_counter_ns() - began) / 1e3)
    return median(took)


def rules(count: int, hosts: int) -> Policy:
    """So many rules over so many hosts, all of which have to look at the body."""
    texts = [*_rules(count, hosts)]
    files = {f"bench-{at}.yaml": texts[at : at + _IN_A_FILE] for at in range(0, count, _IN_A_FILE)}
    heads = dict.fromkeys(files, _HEAD) | {"bench-0.yaml": _HEAD.replace("rules", _DEFAULT + "rules")}
    return load_texts({name: heads[name] + "".join(some) for name, some in files.items()})


def _rules(count: int, hosts: int) -> Iterator[str]:
    for at in range(count):
        yield (
            f"  - name: rule-{at}\n    why: The bench needs a rule here.\n    then: hold\n"
            f"    match: {{host: h{at % hosts}.example.com, method: POST, path: /v1/things-{at}/*,"
            f" where: {{json.amount: {{above: {at}}}}}}}\n"
        )


_ADDRESS: Final = ("https", "h0.example.com", 443)
_HEADERS: Final = (
    (b"host", b"h0.example.com"),
    (b"authorization", b"Bearer abcdefghij"),
    (b"user-agent", b"bench/1"),
    (b"accept", b"*/*"),
)


def get() -> Request:
    """A request without a body."""
    return Request("uid:bench", b"GET", *_ADDRESS, b"/v1/things-0/abc", _HEADERS, b"")


def post(body: bytes, coding: bytes = b"", path: bytes = b"/v1/things-0/abc") -> Request:
    """A request with a JSON body."""
    about = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    about += [(b"content-encoding", coding)] if coding else []
    return Request("uid:bench", b"POST", *_ADDRESS, path, (*_HEADERS, *about), body)


def body_of_2_kb() -> bytes:
    """An order as APIs have it: some objects, a list of some dozen."""
    line = {"sku": "s-100", "quantity": 3, "price": "12.50", "note": "lorem ipsum dolor sit"}
    order = {
        "amount": 120,
        "currency": "eur",
        "customer": {"name": "A B", "address": {"city": "X", "line1": "some street 1"}},
        "items": [line] * 20,
        "metadata": {f"key-{at}": f"value {at}" for at in range(10)},
    }
    return json.dumps(order).encode()


# -- bombs ---------------------------------------------------------------------------------------


def _fragments(count: int) -> bytes:
    made = "".join(f"fragment F{at} on Q {{ ...F{at + 1} ...F{at + 1} }} " for at in range(count))
    return json.dumps({"query": f"{{ ...F0 }} {made} fragment F{count} on Q {{ id }}"}).encode()


BOMBS: Final[Mapping[str, Callable[[], Request]]] = {
    "a regex that runs away": lambda: post(json.dumps({"text": "a" * 100_000 + "!"}).encode()),
    "100 MB of JSON": lambda: post(b"".join((b"[", b"1," * 52_428_800, b"1]"))),
    "an array 10,000 deep": lambda: post(b"[" * 10_000 + b"]" * 10_000),
    "a zip bomb": lambda: post(gzip.compress(bytes(100 * 1024 * 1024)), b"gzip"),
    "fragments that double 60 times": lambda: post(_fragments(60), path=b"/graphql"),
}
_REGEX: Final = (
    "  - name: runs-away\n    why: The bench needs a rule here.\n    then: hold\n"
    "    match: {host: h0.example.com, where: {json.text: {matches: '(a|a)*b'}}}\n"
)


def burst(name: str) -> Burst:
    """Let one bomb go off here; memory is what the process had at most, more than before (Linux)."""
    policy = load_texts({"bench.yaml": _HEAD + _REGEX})
    policy.judge(decode(post(b"{}")))
    request = BOMBS[name]()
    Path("/proc/self/clear_refs").write_text("5")  # from here on the peak counts anew
    before, began = _memory()["RSS"], time.perf_counter()
    action = decode(request)
    verdict = policy.judge(action)
    took = time.perf_counter() - began
    answer = str(verdict.effect) if action.unreadable is None else "unreadable"
    return Burst(took * 1e3, max(0, _memory()["HWM"] - before), answer)


def _memory() -> dict[str, int]:
    status = Path("/proc/self/status").read_text()
    return {name: int(size) * 1024 for name, size in _MEMORY.findall(status)}


def _apart(name: str) -> Burst:
    command = [sys.executable, "-m", "bench.decide", name]
    done = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise BrokenError(f"{name} was too much:\n{done.stderr[-2000:]}")
    return Burst(**json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(asdict(burst(sys.argv[1]))))
