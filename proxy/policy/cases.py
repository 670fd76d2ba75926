"""
Cases: requests written down beside the rules, with the answer that each should get.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from urllib.parse import quote_plus

from proxy.action import Request
from proxy.decode import Facts
from proxy.errors import Exit, Problem, SluiceError
from proxy.policy import asked, keys, shape
from proxy.policy.asked import BODY_LIMIT, NO_FACTS
from proxy.policy.evaluate import Policy
from proxy.policy.keys import NAME, Keys
from proxy.policy.limits import ZERO
from proxy.policy.operands import OperandError, literal
from proxy.policy.rule import Operand
from proxy.policy.source import Broken, Listing, Mistakes, Node, Scalar, Table, read
from proxy.policy.verdict import Claim, Effect

EXPECTED: Final = (*map(str, Effect), "unreadable", "too_large")

CASES: Final = "_cases.yaml"
"""How the names of files end that hold cases alone."""

FILE: Final[Keys] = {"cases": "The cases.", "version": "Always 1; may be left out."}
CASE: Final[Keys] = {
    "name": "A sentence about what should happen.",
    "request": "Method and URL, as in: POST https://api.stripe.com/v1/refunds",
    "headers": "Header names with one value or a list.",
    "form": "A body as application/x-www-form-urlencoded.",
    "json": "A body as application/json.",
    "body": "A body as it is, in UTF-8.",
    "body_base64": "A body in base64.",
    "expect": f"One of {', '.join(EXPECTED)}.",
    "rule": "A rule that must be among those that decided.",
    "used": "How much is used already of each budget that the request draws on.",
}
_BODIES: Final = ("form", "json", "body", "body_base64")


@dataclass(frozen=True, slots=True)
class Case:
    """One case; `at` is ``file:line:column``."""

    name: str
    request: Request
    expect: str
    rule: str | None
    at: str
    used: Decimal = ZERO

    def spent(self, _: Claim) -> Decimal:
        """What is used of any budget, as the case says it."""
        return self.used


@dataclass(frozen=True, slots=True)
class Result:
    """What a case expected and what it got."""

    name: str
    expected: str
    got: str
    rule: str | None
    rules: tuple[str, ...]
    why: str
    at: str

    @property
    def passed(self) -> bool:
        """Whether the decision is the expected one, and the rule among those that made it."""
        return self.expected == self.got and (self.rule is None or self.rule in self.rules)


def run_cases(
    policy: Policy,
    files: Mapping[str, bytes | str],
    facts: Facts = NO_FACTS,
    *,
    body_limit: int = BODY_LIMIT,
) -> list[Result]:
    """The result of each case; SluiceError for files with mistakes, and where there is no case at all."""
    return [_run(policy, case, facts, body_limit) for case in load_cases(files)]


def _run(policy: Policy, case: Case, facts: Facts, body_limit: int) -> Result:
    got = asked.answer(policy, case.request, facts, body_limit=body_limit, used=case.spent)
    return Result(case.name, case.expect, got.decision, case.rule, got.rules, got.why, case.at)


def load_cases(files: Mapping[str, bytes | str]) -> list[Case]:
    """The cases of all files, in their order."""
    mistakes = Mistakes()
    cases: list[Case] = []
    for name, raw in files.items():
        node = read(name, raw, mistakes)
        known = FILE if name.endswith(CASES) else keys.FILE
        found = None if node is None else shape.table(node, known, "a case file", mistakes)
        if node is None or found is None:
            continue
        if "cases" in found:
            cases += read_list(found["cases"], mistakes)
        elif known is FILE:
            mistakes.add(node.at, "no cases", fix="begin with: cases:")
    if mistakes.problems:
        raise SluiceError(*mistakes.in_order())
    if not cases:
        raise SluiceError(
            Problem(
                "no case found", "a policy without cases is untested", "write one into a file *_cases.yaml"
            ),
            exit=Exit.NO,
        )
    return cases


def read_list(node: Node, mistakes: Mistakes) -> Iterator[Case]:
    """The cases that stand under `cases`, in a file of theirs or in a policy file."""
    seen: set[str] = set()
    for item in shape.items(node, "cases", mistakes, limit=100_000) or ():
        case = _case(item, mistakes)
        if case is None:
            continue
        if case.name in seen:
            mistakes.add(case.at, f"a second case named '{case.name}'", fix="give it a name of its own")
        seen.add(case.name)
        yield case


def _case(node: Node, mistakes: Mistakes) -> Case | None:
    found = shape.table(node, CASE, "a case", mistakes)
    if found is None:
        return None
    missing = [key for key in ("name", "request", "expect") if key not in found]
    for key in missing:
        mistakes.add(node.at, f"a case without {key}", fix=f"add: {key}:")
    if missing:
        return None
    name = shape.text(found["name"], "the case's name", mistakes)
    expect = shape.one_of(found["expect"], EXPECTED, "expect", mistakes)
    rule = shape.name(found["rule"], "the rule", NAME, "kebab-case", mistakes) if "rule" in found else None
    request = _request(found, mistakes)
    used = _used(found["used"], mistakes) if "used" in found else ZERO
    if name is None or expect is None or request is None or ("rule" in found and rule is None):
        return None
    return Case(name, request, expect, rule, found["name"].at, used)


def _used(node: Node, mistakes: Mistakes) -> Decimal:
    try:
        used = literal(node) if isinstance(node, Scalar) else ""
    except OperandError:
        used = ""
    if isinstance(used, Decimal) and used >= 0:
        return used
    mistakes.add(node.at, "used is no number, 0 or above", fix="write what is used already, as in used: 180")
    return ZERO


# -- the request -----------------------------------------------------------------------


def _request(found: Mapping[str, Node], mistakes: Mistakes) -> Request | None:
    line = shape.text(found["request"], "request", mistakes)
    headers = _headers(found["headers"], mistakes) if "headers" in found else []
    bodies = [key for key in _BODIES if key in found]
    if len(bodies) > 1:
        mistakes.add(
            found[bodies[1]].at, f"both {' and '.join(bodies)}", "a request has one body", "keep one of them"
        )
    body, kind = _body(bodies[0], found[bodies[0]], mistakes) if bodies else (b"", None)
    if line is None or body is None or headers is None:
        return None
    method, _, url = line.partition(" ")
    if kind and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("content-type", kind))
    try:
        return asked.request(method, url.strip(), headers, body)
    except SluiceError as error:
        for problem in error.problems:
            mistakes.add(found["request"].at, problem.what, problem.why, problem.fix)
        return None


def _headers(node: Node, mistakes: Mistakes) -> list[tuple[str, str]] | None:
    if not isinstance(node, Table):
        shape.table(node, ("NAME: VALUE",), "headers", mistakes)
        return None
    return [
        (key.text, one.text)
        for key, value in node.entries
        for one in shape.one_or_more(value, f"the header {key.text}", mistakes)
    ]


def _body(key: str, node: Node, mistakes: Mistakes) -> tuple[bytes | None, str | None]:
    """A body and the media type that it declares."""
    try:
        match key:
            case "json":
                return _json(node).encode("utf-8"), "application/json"
            case "form":
                return _form(node).encode("ascii"), "application/x-www-form-urlencoded"
            case _ if not isinstance(node, Scalar):
                raise OperandError(f"{key} is no text", fix="write text, or use json: or form:")
            case "body":
                return node.text.encode("utf-8"), None
            case _:
                return base64.b64decode(re.sub(r"\s", "", node.text), validate=True), None
    except OperandError as error:
        mistakes.add(node.at, str(error), error.why, error.fix)
    except (binascii.Error, UnicodeEncodeError) as error:
        mistakes.add(node.at, f"{key} cannot be read: {error}")
    return None, None


def _json(node: Node) -> str:
    """JSON with its numbers as they are written."""
    match node:
        case Table():
            entries = [f"{json.dumps(key.text)}: {_json(value)}" for key, value in node.entries]
            return f"{{{', '.join(entries)}}}"
        case Listing():
            return f"[{', '.join(map(_json, node.items))}]"
        case Broken():
            return "null"
        case Scalar():
            value: Operand = literal(node)
            bare = not isinstance(value, str) or (node.plain and value in ("true", "false", "null"))
            return node.text if bare else json.dumps(value)


def _form(node: Node) -> str:
    if not isinstance(node, Table):
        raise OperandError("form is no table", fix="write it as in {charge: ch_1, amount: 9000}")
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in _pairs(node))


def _pairs(table: Table) -> Iterator[tuple[str, str]]:
    """A list repeats its name; below that brackets are steps, as Stripe writes them."""
    for key, value in table.entries:
        if isinstance(value, Listing) and all(isinstance(one, Scalar) for one in value.items):
            yield from ((key.text, one.text) for one in value.items if isinstance(one, Scalar))
        else:
            yield from _nested(key.text, value)


def _nested(name: str, node: Node) -> Iterator[tuple[str, str]]:
    match node:
        case Scalar():
            yield name, node.text
        case Listing():
            for number, one in enumerate(node.items):
                yield from _nested(f"{name}[{number}]", one)
        case Table():
            for key, value in node.entries:
                yield from _nested(f"{name}[{key.text}]", value)
        case Broken():
            pass
