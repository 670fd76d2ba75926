"""
Score the policy on a corpus of labelled requests.

    .venv/bin/python scripts/score.py CORPUS [--policy PATH]... [--split NAME] [-- SCORER OPTIONS]

CORPUS is a folder whose ``score.py`` emits requests without their labels (``--emit``) and
scores the decisions that it reads, one JSON object a line. Each request is judged as the gate
would judge it, in this process; nothing is sent. What follows ``--`` goes to the scorer, such
as ``--no-borderline`` or ``--misses 40``.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from proxy.awsmodels import models
from proxy.decode import Facts
from proxy.errors import SluiceError
from proxy.policy import Policy, answer, load, request

ROOT: Final = Path(__file__).resolve().parent.parent
_STOPPED: Final = {"unreadable": "reject", "too_large": "reject"}

type Chosen = Callable[[dict[str, Any]], Policy]
"""The policy that a request is judged by."""


def emitted(corpus: Path, split: str) -> Iterator[dict[str, Any]]:
    """The corpus' requests, as it emits them: without labels."""
    command = [sys.executable, str(corpus / "score.py"), "--emit", "--split", split]
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    yield from map(json.loads, found.stdout.splitlines())


def decided(rows: Iterator[dict[str, Any]], chosen: Chosen, facts: Facts) -> Iterator[str]:
    """A decision for each request, as the scorer reads it."""
    for row in rows:
        decision = _decision(row, chosen(row), facts)
        yield json.dumps(
            {"provider": row["provider"], "operation_id": row["operation_id"], "decision": decision}
        )


def _decision(row: dict[str, Any], policy: Policy, facts: Facts) -> str:
    coded = row.get("body_b64")
    body = base64.b64decode(coded) if coded else (row.get("body") or "").encode()
    try:
        asked = request(row["method"], row["example_url"], list((row.get("headers") or {}).items()), body)
    except SluiceError:
        return "reject"
    decision = answer(policy, asked, facts).decision
    return _STOPPED.get(decision, "allow" if decision == "watch" else decision)


def score(corpus: Path, decisions: Iterator[str], options: Sequence[str]) -> int:
    """Let the corpus' own scorer print what the decisions are worth; its exit status."""
    command = [sys.executable, str(corpus / "score.py"), *options]
    return subprocess.run(command, input="\n".join(decisions), text=True, check=False).returncode


def arguments(about: str) -> argparse.ArgumentParser:
    """What both scoring scripts take."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("corpus", type=Path, help="the folder of the corpus, with its score.py")
    parser.add_argument("--policy", type=Path, action="append", help="files and folders (default: policies)")
    parser.add_argument("--split", default="public")
    return parser


def split(command: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Our own options, and those for the corpus' scorer behind ``--``."""
    at = list(command).index("--") if "--" in command else len(command)
    return command[:at], command[at + 1 :]


def main() -> int:
    """Judge, then score."""
    own, options = split(sys.argv[1:])
    given = arguments("Score the policy on a corpus of labelled requests.").parse_args(own)
    policy = load(given.policy or [ROOT / "policies"])
    decisions = decided(emitted(given.corpus, given.split), lambda _: policy, Facts(services=models()))
    return score(given.corpus, decisions, ["--split", given.split, *options])


if __name__ == "__main__":
    sys.exit(main())
