"""
Drafts of rules, each with the case that shows it at work, as a policy file to go on from.

A draft holds what it is about; its why and its sentence are a beginning. What is written is
loaded and its cases are run before anybody gets it: a draft that does not pass is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.action import Action, Request, Values
from proxy.decode import Facts, decode
from proxy.decode.http import operation as called_by_path
from proxy.errors import SluiceError, fail
from proxy.policy.asked import NO_FACTS
from proxy.policy.cases import run_cases
from proxy.policy.fields import parse
from proxy.policy.load import load_texts
from proxy.policy.source import MAX_BYTES
from proxy.redact import is_secret_field

RISKY: Final = ("payment", "message", "delete", "permission")
"""Consequences for which a draft is made without being asked."""

MAX_SHOWN: Final = 6
MAX_BODY: Final = 32 * 1024
_MAX_NAME: Final = 80
_MAX_SENTENCE: Final = 160

_WHY: Final[Mapping[str, str]] = {
    "payment": "Money moves or is committed.",
    "message": "What is sent reaches people and cannot be called back.",
    "delete": "What is deleted may not come back.",
    "permission": "Who may do what is different afterwards.",
}
_RISK: Final[Mapping[str, tuple[str, str]]] = {
    "payment": ("high", "false"),
    "message": ("medium", "false"),
    "delete": ("high", "false"),
    "permission": ("high", "true"),
}
_NAMED: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,60}")


@dataclass(frozen=True, slots=True)
class Draft:
    """
    What a draft is about: a request to try it on, and what of that is meant for others too.

    `path` is a pattern; `shown` are field names as rules write them; `body` is the lines of the
    case that give it one.
    """

    name: str
    sentence: str
    asked: Request
    host: str
    path: str
    consequences: tuple[str, ...]
    shown: tuple[str, ...] = ()
    operation: str = ""
    body: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drafted:
    """A policy file, and how many drafts were left out of it, by reason."""

    text: str
    rules: int
    left_out: Mapping[str, int]


def write(drafts: Iterable[Draft], comment: str, facts: Facts = NO_FACTS) -> Drafted:
    """
    The file of these drafts, all of which load and pass.

    Raises SluiceError where none does, or the file would be too large to load.
    """
    left_out: dict[str, int] = {}
    passing: dict[str, Draft] = {}
    for draft in drafts:
        why = _fails(draft, facts)
        if why:
            left_out[why] = left_out.get(why, 0) + 1
        else:
            name = _unused(draft.name, passing)
            passing[name] = draft
    if not passing:
        reasons = "; ".join(left_out) or "there is nothing risky in it"
        raise fail("no rule could be drafted", reasons, "name one: --operation ID")
    text = _file(passing, comment)
    if len(text.encode()) > MAX_BYTES:
        raise fail(f"the draft is over {MAX_BYTES} bytes", fix="draft some of it: --operation ID")
    load_texts({"draft.yaml": text})
    return Drafted(text, len(passing), left_out)


def _fails(draft: Draft, facts: Facts) -> str:
    """Why a draft is of no use by itself, empty where it is of some."""
    alone = {"draft.yaml": _file({draft.name: draft}, "")}
    try:
        (result,) = run_cases(load_texts(alone), alone, facts)
    except SluiceError as error:
        return error.problems[0].what
    return "" if result.passed else f"its case is answered with {result.got}: {result.why}"


def _unused(name: str, taken: Mapping[str, object]) -> str:
    names = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3)))
    return next(one for one in names if one not in taken)


# -- as YAML -----------------------------------------------------------------------------


def _file(drafts: Mapping[str, Draft], comment: str) -> str:
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += ["version: 1", "", "rules:"]
    for name, draft in drafts.items():
        lines += [*_rule(name, draft), ""]
    lines.append("cases:")
    for name, draft in drafts.items():
        lines += [*_case(name, draft), ""]
    return "\n".join(lines).rstrip() + "\n"


def _rule(name: str, draft: Draft) -> list[str]:
    risks = [_RISK[word] for word in draft.consequences if word in _RISK]
    tier = "high" if any(tier == "high" for tier, _ in risks) else "medium"
    undone = f", reversible: {min(reversible for _, reversible in risks)}" if risks else ""
    why = " ".join(_WHY[word] for word in draft.consequences if word in _WHY)
    where = [f"      where: {{operation: {{is: {quoted(draft.operation)}}}}}"] if draft.operation else []
    return [
        f"  - name: {name}",
        f"    why: {why or 'This changes something.'}",
        "    match:",
        f"      host: {quoted(draft.host)}",
        f"      method: {draft.asked.method.decode('ascii')}",
        f"      path: {quoted(draft.path)}",
        *where,
        "    then: hold",
        f"    risk: {{tier: {tier}{undone}}}",
        f"    says: {quoted(_sentence(draft))}",
        f"    show: [{', '.join(map(quoted, ('path', *draft.shown)))}]",
    ]


def _sentence(draft: Draft) -> str:
    words = " ".join("".join(char if char.isprintable() else " " for char in draft.sentence).split())
    plain = re.sub(r"[{}\[\]]", lambda found: found[0] * 2, words[:_MAX_SENTENCE].rstrip(" ."))
    fields = "".join(f"[, {name.rpartition('.')[2]} {{{name}}}]" for name in draft.shown[:3])
    return f"{plain}: {{path}}{fields}"


def _case(name: str, draft: Draft) -> list[str]:
    url = draft.asked.url
    return [
        f"  - name: {name} waits",
        f"    request: {quoted(f'{draft.asked.method.decode("ascii")} {url}')}",
        *(f"    {line}" for line in draft.body),
        "    expect: hold",
        f"    rule: {name}",
    ]


def quoted(text: str) -> str:
    """A text as it may stand anywhere in a policy file."""
    if re.fullmatch(r"[a-z/][A-Za-z0-9/._-]*", text) and text not in ("true", "false", "null"):
        return text
    escaped = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in escaped)


def kebab(text: str) -> str:
    """A rule's name out of an operation's: ``createRefund`` is ``create-refund``."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", text)
    name = re.sub(r"[^a-z0-9]+", "-", split.lower()).strip("-")
    name = name[:_MAX_NAME].strip("-")
    return name if name and name != "default" else f"rule-{name}".rstrip("-")


def body_lines(kind: str, value: object) -> tuple[str, ...]:
    """A case's body: ``json``, ``form``, or text of another media type; none where there is none."""
    if not kind or value is None:
        return ()
    if kind in ("json", "form"):
        flow = json.dumps(value, ensure_ascii=False)
        return (f"{kind}: {''.join(c if c.isprintable() else f'\\u{ord(c):04x}' for c in flow)}",)
    return (f"headers: {{content-type: {quoted(kind)}}}", f"body: {quoted(str(value))}")


def field_names(root: str, keys: Iterable[str]) -> tuple[str, ...]:
    """The first keys of a body that may be shown to a reviewer, as rules name them."""
    plain = [key for key in keys if _NAMED.fullmatch(key)]
    named = [f"{root}.{key}" for key in plain if not is_secret_field(parse(f"{root}.{key}"))]
    return tuple(dict.fromkeys(named))[:MAX_SHOWN]


# -- from a request ----------------------------------------------------------------------


def from_request(asked: Request, stands_in: str, facts: Facts = NO_FACTS) -> Draft:
    """
    A draft about one request; `stands_in` is what stands where a secret was.

    Segments that look like ids are any segment. Raises SluiceError for a request that cannot
    be read.
    """
    action = decode(asked, facts)
    if action.unreadable is not None:
        raise fail(f"the request cannot be read: {action.unreadable}", "it was never judged by a rule")
    pattern = called_by_path(action.method, action.path).partition(" ")[2]
    pattern = "/".join("*" if stands_in and stands_in in one else one for one in pattern.split("/"))
    named = action.operation != called_by_path(action.method, action.path)
    root, keys, lines = _body(asked)
    return Draft(
        name=kebab(action.operation if named else f"{action.method} {pattern.replace('*', '')}"),
        sentence=action.operation if named else action.method,
        asked=_without_query(asked, action, facts),
        host=action.host,
        path=pattern,
        consequences=consequences(action),
        shown=field_names(root, keys) if root else (),
        operation=action.operation if named and not action.members else "",
        body=lines,
    )


def consequences(action: Action) -> tuple[str, ...]:
    """What an action may do, the gravest first; where nobody can say, what it is taken for."""
    found = action.read(("consequence",))
    words = tuple(one for one in found.items if one) if isinstance(found, Values) else ()
    return words or (action.consequence,)


def _without_query(asked: Request, action: Action, facts: Facts) -> Request:
    """The address alone, unless the query says what is done."""
    bare = Request(
        asked.agent, asked.method, asked.scheme, asked.host, asked.port,
        asked.target.partition(b"?")[0], asked.headers, asked.body,
    )  # fmt: skip
    return bare if decode(bare, facts).operation == action.operation else asked


def _body(asked: Request) -> tuple[str, Sequence[str], tuple[str, ...]]:
    """Root and names of the fields of a body, and the lines that give it to a case."""
    raw = asked.body or b""
    kind = b"".join(asked.header(b"content-type")).decode("latin-1")
    if not raw or len(raw) > MAX_BODY:
        return "", (), ()
    text = raw.decode("utf-8", "replace")
    as_it_is = body_lines(kind or "text/plain", text)
    if "urlencoded" in kind:
        pairs = [one.partition("=")[0] for one in text.split("&")]
        return "form", pairs, as_it_is
    try:
        value = json.loads(text) if "json" in kind else None
    except (ValueError, RecursionError):
        value = None
    keys = (
        [key for key, one in value.items() if not isinstance(one, dict | list)]
        if isinstance(value, dict)
        else []
    )
    return "json" if isinstance(value, dict) else "", keys, as_it_is
