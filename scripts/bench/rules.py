"""
The policy of the bench: 200 rules, of which some dozens concern the host that is called.

Rules that name another host are found by an index and cost next to nothing; these do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

RULES: Final = 200
_OTHERS: Final = 150
_EVERYWHERE: Final = 20
_HEAD: Final = """version: 1
default: {read: allow, write: hold, new_host: watch}
rules:
"""


def policy(host: str) -> str:
    """YAML of `RULES` rules; refunds at `host` are held, reads are allowed by default."""
    rules = [_refunds(host), *_others(), *_everywhere()]
    rules += _here(host, RULES - len(rules))
    return _HEAD + "".join(rules)


def _refunds(host: str) -> str:
    return _rule(
        "refunds-wait",
        f"{{host: {host}, method: POST, path: /v1/refunds, where: {{form.amount: {{above: 5000}}}}}}",
        "hold",
        'says: "Refund {form.amount} of charge {form.charge}"',
        "show: [form.amount, form.charge, form.reason]",
        "risk: {tier: high, reversible: false}",
    )


def _others() -> Iterator[str]:
    for at in range(_OTHERS):
        yield _rule(
            f"other-{at}",
            f"{{host: api{at // 5}.example.com, method: POST, path: /v1/things/*/act-{at},"
            f" where: {{json.amount: {{above: {at}}}}}}}",
            "hold",
        )


def _everywhere() -> Iterator[str]:
    for at in range(_EVERYWHERE):
        line = (
            f"header.x-agent-task: {{like: 'task-{at}-*'}}"
            if at % 2
            else f"query.action: {{in: [drop-{at}, purge-{at}]}}"
        )
        yield _rule(f"everywhere-{at}", f"{{where: {{{line}}}}}", "deny")


def _here(host: str, count: int) -> Iterator[str]:
    for at in range(count):
        method = ("method: [POST, PUT, DELETE], ", "", "method: [GET, POST], ")[at % 3]
        yield _rule(f"here-{at}", f"{{host: {host}, {method}path: /v1/accounts/*/part-{at}/**}}", "hold")


def _rule(name: str, match: str, then: str, *more: str) -> str:
    lines = [f"name: {name}", "why: The bench needs a rule here.", f"match: {match}", f"then: {then}", *more]
    return "  - " + "\n    ".join(lines) + "\n"
