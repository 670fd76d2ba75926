"""Actions made by hand, so that what is unread or unknown can be chosen freely."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.action import ABSENT, UNKNOWN, Action, Field, Reading, Request, Values
from proxy.policy import Policy, load_texts

HOST = "api.example.com"


def action(
    readings: Mapping[Field, Reading] | None = None,
    *,
    host: str = HOST,
    port: int = 443,
    scheme: str = "https",
    method: str = "POST",
    path: str = "/v1/items",
    consequence: str = "write",
    complete: bool = True,
    first: str = "false",
) -> Action:
    """An action whose documents hold exactly these readings; other fields of theirs are absent."""
    given = dict(readings or {})
    request = Request(None, method.encode(), scheme, host, port, path.encode(), (), b"" if complete else None)
    scalars: dict[str, Reading] = {
        "host": Values((host,)),
        "port": Values((str(port),)),
        "scheme": Values((scheme,)),
        "method": Values((method,)),
        "path": Values((path,)),
        "consequence": Values((consequence,)) if complete else UNKNOWN,
        "gravest": Values((consequence,)),
        "agent": UNKNOWN,
    }
    scalars |= {field[0]: reading for field, reading in given.items() if len(field) == 1}

    def document(root: str) -> object:
        return lambda steps: given.get((root, *steps), ABSENT)

    documents = {
        root: document(root) for root in ("header", "query", "json", "form", "body", "email", "blast")
    }
    documents["first_seen"] = lambda steps: given.get(("first_seen", *steps), Values((first,)))
    return Action(
        request=request,
        complete=complete,
        method=method,
        host=host,
        path=path,
        operation=f"{method} {path}",
        documents=documents,  # type: ignore[arg-type]
        scalars=scalars,
    )


def policy(*rules: str, default: str = "{read: allow, write: allow}") -> Policy:
    """A policy of rules in YAML, each without its leading dash; every one gets a why."""
    text = f"version: 1\ndefault: {default}\n"
    if rules:
        text += "rules:\n"
    for rule in rules:
        first, *rest = rule.strip().split("\n")
        text += f"  - {first}\n    why: because\n" + "".join(f"    {line}\n" for line in rest)
    return load_texts({"policy.yaml": text})


def rule(name: str, then: str, where: str = "", *, match: str = f"host: {HOST}", unless: str = "") -> str:
    """One rule in YAML; `where` and `unless` in flow style."""
    where = f", where: {where}" if where else ""
    unless = f"\nunless: {unless}" if unless else ""
    return f"name: {name}\nmatch: {{{match}{where}}}\nthen: {then}{unless}"
