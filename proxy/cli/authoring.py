"""Verbs for the people who write rules: lint, diff, replay, new."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from proxy import policy as room
from proxy.errors import Exit
from proxy.paths import looked_at_paths
from proxy.policy.cases import Case, load_cases
from proxy.policy.lint import as_fields
from proxy.render import emit, finding_lines, printer


def lint(arguments: argparse.Namespace) -> int:
    """What loads and still looks like a mistake; 1 where there is anything."""
    paths = looked_at_paths(arguments.paths)
    policy = room.load(paths)
    found = room.lint(policy, _cases(paths))
    if arguments.json:
        for one in found:
            print(json.dumps(as_fields(one)))
    else:
        emit(printer(sys.stdout, os.environ), [line for one in found for line in finding_lines(one.problem)])
        print(f"sluice: {len(found)} findings in {len(policy.rules)} rules", file=sys.stderr)
    return int(Exit.NO if found else Exit.YES)


def _cases(paths: tuple[Path, ...]) -> list[Case] | None:
    """The cases beside the policies, None where there is no file of them."""
    files = room.read_cases(paths, required=False)
    return load_cases(files) if files else None
