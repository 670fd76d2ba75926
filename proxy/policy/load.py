"""
From files to a policy: every mistake of every file at once, each with its place.

Pure: `proxy.policy.files` does the reading. Nothing is skipped and nothing guessed: a policy
loads whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.errors import SluiceError
from proxy.policy import cases, keys, shape
from proxy.policy.evaluate import Policy
from proxy.policy.fields import CONSEQUENCES
from proxy.policy.read_rule import read_rule
from proxy.policy.rule import HOLD_ALL, Default, Rule
from proxy.policy.source import Mistakes, Node, Scalar, read
from proxy.policy.verdict import Effect


def load_texts(files: Mapping[str, bytes | str]) -> Policy:
    """
    The policy that the files make together; the names are for messages.

    Raises SluiceError with a Problem for every mistake, in the order of files and lines.
    """
    mistakes, found = Mistakes(), _Found()
    for name, raw in files.items():
        node = read(name, raw, mistakes)
        if node is not None:
            _read_file(node, found, mistakes)
    rules, default = found.rules, _only(found.defaults, "default", mistakes)
    retention = _only(found.retentions, "retention", mistakes)
    _check_names(rules, mistakes)
    if len(rules) > keys.MAX_RULES:
        mistakes.add(rules[-1].at, f"more than {keys.MAX_RULES} rules", fix="use lists of hosts and paths")
    if mistakes.problems:
        raise SluiceError(*mistakes.in_order())
    return Policy(rules, default or HOLD_ALL, retention)


@dataclass(slots=True)
class _Found:
    """What the files say so far; with what may be said once, where it stands."""

    rules: list[Rule] = field(default_factory=list)
    defaults: list[tuple[str, Default]] = field(default_factory=list)
    retentions: list[tuple[str, float]] = field(default_factory=list)


def _only[T](said: list[tuple[str, T]], what: str, mistakes: Mistakes) -> T | None:
    for at, _ in said[1:]:
        mistakes.add(at, f"a second {what}; the first stands at {said[0][0]}", fix="keep one of them")
    return said[0][1] if said else None


def _read_file(node: Node, all: _Found, mistakes: Mistakes) -> None:
    found = shape.table(node, keys.FILE, "a policy file", mistakes)
    if found is None:
        return
    check_version(found, node, mistakes)
    if "default" in found:
        all.defaults.append((found["default"].at, _default(found["default"], mistakes)))
    if "retention" in found and (kept := _retention(found["retention"], mistakes)) is not None:
        all.retentions.append((found["retention"].at, kept))
    if "cases" in found:
        list(cases.read_list(found["cases"], mistakes))  # they decide nothing, but a mistake is one
    if "rules" not in found:
        return
    for item in shape.items(found["rules"], "rules", mistakes, limit=keys.MAX_RULES) or ():
        rule = read_rule(item, mistakes)
        if rule is not None:
            all.rules.append(rule)


def check_version(found: Mapping[str, Node], node: Node, mistakes: Mistakes) -> None:
    """A file of another version might mean something else by the same words."""
    version = found.get("version")
    if version is None:
        mistakes.add(node.at, "no version", fix="begin with: version: 1")
    elif not (isinstance(version, Scalar) and version.plain and version.text == "1"):
        mistakes.add(version.at, "a version other than 1", "this Sluice reads version 1", "write: version: 1")


def _default(node: Node, mistakes: Mistakes) -> Default:
    found = shape.table(node, keys.DEFAULT, "default", mistakes)
    if found is None:
        return HOLD_ALL
    words = tuple(map(str, Effect))
    given: dict[str, Effect] = {}
    for word, value in found.items():
        allowed = words[:-1] if word == "new_host" else words
        effect = shape.one_of(value, allowed, f"the default for {word}", mistakes)
        if effect is not None:
            given[word] = Effect[effect.upper()]
    write = given.get("write", Effect.HOLD)
    effects = {word: given.get(word, Effect.HOLD if word == "read" else write) for word in CONSEQUENCES}
    return Default(effects, given.get("new_host"))


def _retention(node: Node, mistakes: Mistakes) -> float | None:
    """Seconds that payloads are kept."""
    found = shape.table(node, keys.RETENTION, "retention", mistakes)
    if found is None:
        return None
    if "payloads" not in found:
        mistakes.add(node.at, "retention is empty", fix="retention: {payloads: 30d}")
        return None
    kept = shape.duration(found["payloads"], "payloads", mistakes, most=keys.MAX_KEPT)
    if kept is not None and kept < keys.MIN_KEPT:
        why = "people still read what was asked"
        mistakes.add(found["payloads"].at, "payloads are kept for less than an hour", why, "write 1h or more")
        return None
    return kept


def _check_names(rules: list[Rule], mistakes: Mistakes) -> None:
    seen: dict[str, str] = {}
    for rule in rules:
        if rule.name in seen:
            mistakes.add(
                rule.at,
                f"a second rule named '{rule.name}'",
                f"the first stands at {seen[rule.name]}, and a decision names its rule",
                "give it a name of its own",
            )
        seen.setdefault(rule.name, rule.at)
