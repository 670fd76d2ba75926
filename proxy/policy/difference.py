"""
How two policies differ, in words, for whoever is asked to take the new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from proxy.policy.evaluate import Policy
from proxy.policy.rule import Default, Rule

_MOST = 120


def difference(old: Policy, new: Policy) -> str:
    """A line for each rule added, removed or changed, and for the default; empty where nothing differs."""
    return "\n".join([*_default(old.default, new.default), *_rules(old, new)])


def _default(old: Default, new: Default) -> Iterator[str]:
    before, after = old.content(), new.content()
    for word in dict.fromkeys([*before, *after]):
        if before.get(word) != after.get(word):
            yield f"default for {word}: {before.get(word, 'off')} -> {after.get(word, 'off')}"


def _rules(old: Policy, new: Policy) -> Iterator[str]:
    before = {rule.name: rule for rule in old.rules}
    after = {rule.name: rule for rule in new.rules}
    for name in sorted({*before, *after}):
        if name not in after:
            yield f"removed {_called(before[name])}"
        elif name not in before:
            yield f"added {_called(after[name])}"
        elif changes := list(_changes(before[name].content(), after[name].content())):
            yield f"changed {name}: {'; '.join(changes)}"


def _called(rule: Rule) -> str:
    return f"{rule.name} ({rule.then}): {rule.why}"


def _changes(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    """Short values with what they were and are; lines and sentences only by their name."""
    for key, value in before.items():
        if value == after[key]:
            continue
        if isinstance(value, str | int | bool | None) and len(f"{value}{after[key]}") <= _MOST:
            yield f"{key} {_word(value)} -> {_word(after[key])}"
        else:
            yield f"another {key}"


def _word(value: object) -> str:
    match value:
        case None:
            return "unsaid"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)
