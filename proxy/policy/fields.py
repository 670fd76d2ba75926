"""
The fields that rules can name, and what is known of each.

One table serves the loader, the evaluation and the editors' schema. Fields that nobody
decodes yet are known names all the same: they read as unknown, and unknown never helps.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

from proxy.action import Field

MAX_STEPS: Final = 32
MAX_NAME: Final = 256

SCALARS: Final = (
    "host", "port", "scheme", "method", "path", "credential", "agent", "operation", "consequence",
)  # fmt: skip
FIXED: Final = (
    "body.size", "body.type",
    "graphql.operation", "graphql.type", "graphql.field",
    "rpc.method", "mcp.tool",
    "aws.service", "aws.action", "aws.dry_run", "grpc.service", "grpc.method",
    "kubernetes.verb", "kubernetes.resource", "kubernetes.name", "kubernetes.namespace", "kubernetes.dry_run",
    "email.to", "email.from", "email.subject", "email.text", "email.attachment",
    "blast.recipients", "blast.records", "blast.amount", "blast.currency",
    "first_seen.host", "first_seen.operation", "first_seen.recipient", "first_seen.credential",
)  # fmt: skip
# Below these any name may stand.
OPEN: Final = ("query", "header", "json", "form", "multipart", "graphql.variable", "mcp.argument")

CONSEQUENCES: Final = ("read", "write", "payment", "message", "delete", "permission")

# Fields with a closed set of values: a word that is none of them would never match.
WORDS: Final[dict[Field, tuple[str, ...]]] = {
    ("scheme",): ("http", "https"),
    ("consequence",): CONSEQUENCES,
    ("graphql", "type"): ("query", "mutation", "subscription"),
    ("aws", "dry_run"): ("true", "false"),
    ("kubernetes", "dry_run"): ("true", "false"),
    ("first_seen", "host"): ("true", "false"),
    ("first_seen", "operation"): ("true", "false"),
    ("first_seen", "recipient"): ("true", "false"),
    ("first_seen", "credential"): ("true", "false"),
}

_HEADER: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z:]+")


class UnknownFieldError(ValueError):
    """A name that is no field; the message says what, `fix` what to write instead."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.fix = fix


def spell(field: Field) -> str:
    """A field's name as rules write it: ``form.amount``; a dot inside a key is ``\\.``."""
    return ".".join(step.replace("\\", "\\\\").replace(".", "\\.") for step in field)


def parse(name: str) -> Field:
    """The steps of a field's name; header names in lower case. Raises UnknownFieldError."""
    if len(name) > MAX_NAME:
        raise UnknownFieldError(f"a field's name of over {MAX_NAME} characters")
    steps = _split(name)
    if len(steps) > MAX_STEPS:
        raise UnknownFieldError(f"a field's name of over {MAX_STEPS} steps")
    if name in SCALARS or name in FIXED:
        return steps
    for root in OPEN:
        depth = root.count(".") + 1
        if ".".join(steps[:depth]) == root:
            return _below(root, name, steps, depth)
    raise UnknownFieldError(f"unknown field '{name}'", _meant(name, steps))


def _split(name: str) -> Field:
    steps = [""]
    escaped = False
    for char in name:
        if escaped:
            if char not in ".\\":
                raise UnknownFieldError(f"'\\{char}' in the field '{name}'", r"only a dot is escaped: a\.b")
            steps[-1] += char
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ".":
            steps.append("")
        else:
            steps[-1] += char
    if escaped:
        raise UnknownFieldError(f"the field '{name}' ends in a backslash", r"write \\ for a backslash")
    return tuple(steps)


def _below(root: str, name: str, steps: Field, depth: int) -> Field:
    below = steps[depth:]
    if not below or not all(below):
        raise UnknownFieldError(f"unknown field '{name}'", f"name what you mean: {root}.NAME")
    if root == "header":
        header = ".".join(below)
        if not _HEADER.fullmatch(header):
            raise UnknownFieldError(f"'{header}' is no header's name", "write it as in header.content-type")
        return ("header", header.lower())
    if any("[*]" in step or step == "*" for step in below):
        plain = ".".join(step for step in name.replace("[*]", "").split(".") if step != "*")
        raise UnknownFieldError(f"'{name}' has a star", f"arrays are walked by themselves: {plain}")
    if root in ("form", "query", "multipart") and any("[" in step for step in below):
        plain = re.sub(
            r"\.*\[([^\[\]]*)\]", lambda m: f".{m[1]}" if m[1] and not m[1].isdigit() else "", name
        )
        raise UnknownFieldError(f"'{name}' has brackets", f"brackets are steps: {plain}")
    return steps


def _meant(name: str, steps: Field) -> str:
    """A nearly right root is set right; else the nearest name there is."""
    roots = dict.fromkeys(known.partition(".")[0] for known in (*SCALARS, *FIXED, *OPEN))
    near = difflib.get_close_matches(steps[0].lower(), roots, n=1)
    if len(steps) > 1 and steps[0] not in roots and near and near[0] not in SCALARS:
        return f"did you mean '{near[0]}.{name.partition('.')[2]}'?"
    return did_you_mean(name, (*SCALARS, *FIXED, *OPEN))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean 'method'?`` for a word that is nearly one of those known, else a few of them."""
    options = list(known)
    if near := difflib.get_close_matches(word.lower(), options, n=1):
        return f"did you mean '{near[0]}'?"
    return f"known: {', '.join(options)}" if len(options) <= 12 else ""


def is_confidence(field: Field) -> bool:
    """Whether a field is the agent's (or its model's) own confidence, which may only tighten."""
    root, *below = field
    if root == "header":
        return "confidence" in below[0]
    return any(step.lower() == "confidence" for step in below)
