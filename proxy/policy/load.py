"""
From files to a policy: every mistake of every file at once, each with its place.

Pure: `proxy.policy.files` does the reading. Nothing is skipped and nothing guessed: a policy
loads whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping

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
    mistakes = Mistakes()
    rules: list[Rule] = []
    defaults: list[tuple[str, Default]] = []
    for name, raw in files.items():
        node = read(name, raw, mistakes)
        if node is not None:
            _read_file(node, rules, defaults, mistakes)
    _check_names(rules, mistakes)
    for at, _ in defaults[1:]:
        mistakes.add(at, f"a second default; the first stands at {defaults[0][0]}", fix="keep one of them")
    if len(rules) > keys.MAX_RULES:
        mistakes.add(rules[-1].at, f"more than {keys.MAX_RULES} rules", fix="use lists of hosts and paths")
    if mistakes.problems:
        raise SluiceError(*mistakes.in_order())
    return Policy(rules, defaults[0][1] if defaults else HOLD_ALL)


def _read_file(
    node: Node, rules: list[Rule], defaults: list[tuple[str, Default]], mistakes: Mistakes
) -> None:
    found = shape.table(node, keys.FILE, "a policy file", mistakes)
    if found is None:
        return
    check_version(found, node, mistakes)
    if "default" in found:
        defaults.append((found["default"].at, _default(found["default"], mistakes)))
    if "cases" in found:
        list(cases.read_list(found["cases"], mistakes))  # they decide nothing, but a mistake is one
    if "rules" not in found:
        return
    for item in shape.items(found["rules"], "rules", mistakes, limit=keys.MAX_RULES) or ():
        rule = read_rule(item, mistakes)
        if rule is not None:
            rules.append(rule)


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
