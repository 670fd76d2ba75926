"""`sluice budgets`: how much of each budget is used, by the ledger."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxy.budget import Standing
from proxy.chain import stamp
from proxy.cli.parser import folder
from proxy.errors import Exit
from proxy.ledger.spent import spent
from proxy.render import emit, printer, standing_line


def _budgets(arguments: argparse.Namespace) -> int:
    path: Path = arguments.file or folder(arguments) / "ledger.db"
    standings = spent(path).standings(int(time.time() * 1_000_000))
    if arguments.json:
        for one in standings:
            print(json.dumps(_as_json(one)))
        return int(Exit.YES)
    emit(printer(sys.stdout, os.environ), [standing_line(one) for one in standings])
    if not standings:
        print("sluice: nothing is used of any budget", file=sys.stderr)
    return int(Exit.YES)


def _as_json(standing: Standing) -> dict[str, object]:
    """Amounts are texts, exact; `room_at` is null where there is room now."""
    return {
        "rule": standing.account.rule,
        "owner": standing.account.owner,
        "unit": standing.account.unit,
        "used": format(standing.used, "f"),
        "limit": format(standing.limit, "f"),
        "per": standing.per,
        "room_at": None if standing.room_at is None else stamp(standing.room_at),
    }


VERBS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {"budgets": _budgets}
