"""
Score what is said of APIs that nobody wrote a rule for.

    .venv/bin/python scripts/leave_one_out.py CORPUS [--policy PATH]... [-- SCORER OPTIONS]

Each provider of the corpus is judged as if it were unknown: the rules that name one of its
hosts, and those in a file of its name, are switched off. What is left is the generic reading
(`docs/consequence.md`) under the default ``{read: allow, write: watch}``, all else held.
``--half 0`` or ``--half 1`` takes every other provider alone: a lexicon that was grown on one
half shows on the other how far it reaches.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from proxy.decode import Facts
from proxy.policy import Default, Policy, Rule, load
from proxy.policy.verdict import Effect

sys.path.insert(0, str(Path(__file__).resolve().parent))
import score

from proxy.awsmodels import models

DEFAULT: Final = Default(
    {
        "read": Effect.ALLOW,
        "write": Effect.WATCH,
        "payment": Effect.HOLD,
        "message": Effect.HOLD,
        "delete": Effect.HOLD,
        "permission": Effect.HOLD,
    }
)


def without(policy: Policy, provider: str, hosts: set[str]) -> Policy:
    """The policy as if nobody had written a rule for a provider."""
    own = {rule.name for host in hosts for rule in policy.naming(host) if names_host(rule)}
    own |= {rule.name for rule in policy.rules if Path(rule.at.partition(":")[0]).stem in provider.split("-")}
    return Policy([rule for rule in policy.rules if rule.name not in own], DEFAULT)


def names_host(rule: Rule) -> bool:
    """Whether a rule is for hosts that it names."""
    return any(line.field == ("host",) for line in rule.match)


def half(rows: Sequence[dict[str, Any]], wanted: int | None) -> list[dict[str, Any]]:
    """The rows of every other provider, in the order of their names; all where none is wanted."""
    providers = sorted({row["provider"] for row in rows})
    kept = set(providers if wanted is None else providers[wanted::2])
    return [row for row in rows if row["provider"] in kept]


def main() -> int:
    """Judge every provider without its own rules, then score."""
    own, options = score.split(sys.argv[1:])
    parser = score.arguments("Score what is said of APIs that nobody wrote a rule for.")
    parser.add_argument("--half", type=int, choices=(0, 1), help="every other provider alone")
    given = parser.parse_args(own)
    policy = load(given.policy or [score.ROOT / "policies"])
    rows = half(list(score.emitted(given.corpus, given.split)), given.half)
    hosts: dict[str, set[str]] = {}
    for row in rows:
        hosts.setdefault(row["provider"], set()).add(row["host"].partition(":")[0].lower())
    policies = {provider: without(policy, provider, found) for provider, found in hosts.items()}
    decisions = score.decided(iter(rows), lambda row: policies[row["provider"]], Facts(services=models()))
    return score.score(given.corpus, decisions, ["--split", given.split, *options])


if __name__ == "__main__":
    sys.exit(main())
