"""What people type: examples for the help of each verb. A test parses every one of them."""

from __future__ import annotations

import argparse
import shlex
from typing import Final

_TEXT: Final = """\
sluice up
sluice up --policy policies --listen 127.0.0.1:9000
sluice up --no-console --record-reads counts --witness file:/mnt/elsewhere/heads
sluice run -- claude
sluice run --policy policies -- python my_agent.py
sluice demo
sluice demo --yes
sluice doctor
sluice doctor --json
sluice review
sluice review --as ada
sluice holds
sluice holds --json
sluice show 7f3k
sluice approve 7f3k
sluice approve 7f3k 81qd a0vm --reason "as agreed"
sluice approve 7f3k --like --for 1h --uses 20
sluice deny 7f3k --reason "amount too high"
sluice edit 7f3k --reason "40 is enough"
sluice grants
sluice revoke 9c2e
sluice revoke --all
sluice extend 7f3k 10m
sluice pause
sluice pause --agent uid:ci
sluice resume
sluice policy check policies
sluice policy test policies
sluice policy lint
sluice policy accept
sluice policy schema
sluice policy explain DELETE https://api.github.com/repos/acme/site
sluice policy explain POST https://api.stripe.com/v1/refunds -d 'amount=9000&charge=ch_1' \
-H 'Content-Type: application/x-www-form-urlencoded'
sluice policy explain --from requests.jsonl
sluice policy diff old new --ledger ledger.db
sluice policy replay ledger.db --policy new
sluice policy new --ledger ledger.db 7f3k
sluice policy new --openapi api.yaml --operation 'POST /orders'
sluice ledger show --since 2h --decision denied
sluice ledger show --follow
sluice ledger verify
sluice ledger verify ledger.jsonl --against /mnt/elsewhere/heads
sluice ledger export --format jsonl -o ledger.jsonl
sluice ledger export --format html --since 7d -o week.html
sluice ledger checkpoint
sluice ledger export-review 7f3k -o review
sluice ledger prove 17 -o entry.tlog-proof
sluice ledger verify-proof entry.tlog-proof
sluice ledger erase --hold 7f3k --reason "asked for by the customer"
sluice ledger prune --before 50000 --archive old.jsonl
sluice ledger rotate-key
sluice ledger accept-loss --reason "restored after a broken disk"
sluice reviewer list
sluice reviewer add ada --new --groups finance
sluice reviewer add bob --key bob.pub --uid 1001
sluice reviewer regroup bob --groups finance,security
sluice reviewer rotate --new
sluice reviewer revoke bob --reason "left the company"
sluice report --since 7d
sluice report --rule large-refunds-wait --json
sluice budgets
sluice completion bash
"""

_TITLE: Final = "examples:"

EXAMPLES: Final = tuple(_TEXT.splitlines())
"""Command lines, as a shell takes them."""


class Help(argparse.HelpFormatter):
    """argparse's own layout, with examples left in their lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(_TITLE) else super()._fill_text(text, width, indent)


def epilog(prog: str) -> str | None:
    """The examples of one verb (``sluice ledger show``), or of all below it."""
    words = prog.split()
    found = [line for line in EXAMPLES if shlex.split(line)[: len(words)] == words]
    return "\n".join([_TITLE, *(f"  {line}" for line in found)]) if found else None
