"""Verbs about policies: check, test, explain, accept, schema."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Final

from proxy import policy as room
from proxy.action import Values
from proxy.awsmodels import models
from proxy.cli import authoring
from proxy.cli.deciding import LEAST, agrees, desk, names, say
from proxy.decode import ALL_SEEN, Facts
from proxy.errors import Exit, SluiceError, fail
from proxy.keyring.finding import terminal_as_it_was
from proxy.ledger import read, seen
from proxy.ledger.spent import spent
from proxy.paths import looked_at_paths
from proxy.policy.limits import Used, shortage, unused, usage
from proxy.policy.verdict import Claim
from proxy.render import CaseResult, case_lines, emit, explain_lines, printer
from proxy.render import Explanation as Shown
from proxy.wire import Status

_MAX_BODY: Final = 64 * 2**20
_STEPS: Final = 10
_STEP: Final = 160
_SHORT: Final = 12


def _check(arguments: argparse.Namespace) -> int:
    paths = looked_at_paths(arguments.paths)
    try:
        policy = room.load(paths)
    except SluiceError as error:
        if arguments.json:
            for problem in error.problems:
                print(
                    json.dumps(
                        {"where": problem.where, "what": problem.what, "why": problem.why, "fix": problem.fix}
                    )
                )
        else:
            raise
        return int(error.exit)
    _say(f"{_named(paths)}: {len(policy.rules)} rules, no mistakes")
    if arguments.json:
        print(json.dumps({"rules": len(policy.rules), "policy": policy.digest}))
    return int(Exit.YES)


def _test(arguments: argparse.Namespace) -> int:
    paths = looked_at_paths(arguments.paths)
    results = room.run_cases(room.load(paths), room.read_cases(paths), _facts(None))
    if arguments.json:
        for one in results:
            print(json.dumps(_case_json(one)))
    else:
        emit(printer(sys.stdout, os.environ), list(case_lines([_case(one) for one in results])))
    return int(Exit.YES if results and all(one.passed for one in results) else Exit.NO)


def _case(one: room.Result) -> CaseResult:
    rule = f" by {one.rule}" if one.rule else ""
    rules = f" by {', '.join(one.rules)}" if one.rules else ""
    why = f"expected {one.expected}{rule}, got {one.got}{rules}: {one.why}"
    return CaseResult(one.name, one.passed, one.at, why)


def _case_json(one: room.Result) -> dict[str, object]:
    return {
        "name": one.name,
        "passed": one.passed,
        "expected": one.expected,
        "got": one.got,
        "rule": one.rule,
        "rules": one.rules,
        "where": one.at,
        "why": one.why,
    }


def _explain(arguments: argparse.Namespace) -> int:
    policy = room.load(looked_at_paths(arguments.policy))
    facts, used = _facts(arguments.ledger), _used(arguments.ledger)
    if arguments.source is not None:
        return _explain_lines(policy, facts, used, arguments.source)
    if arguments.method is None or arguments.url is None:
        raise fail("no request to explain", fix="sluice policy explain METHOD URL, or --from FILE.jsonl")
    asked = room.request(
        arguments.method, arguments.url, _headers(arguments.headers), _body(arguments), agent=arguments.agent
    )
    found = room.explain(policy, asked, facts, every_rule=arguments.all, used=used)
    if arguments.json:
        print(json.dumps(_explained(found)))
    else:
        emit(printer(sys.stdout, os.environ), list(explain_lines(_shown(found, whole=arguments.all))))
    return int(Exit.YES)


def _explained(found: room.Explanation) -> dict[str, object]:
    answer = found.answer
    return {
        "decision": answer.decision,
        "rule": answer.rule,
        "rules": answer.rules,
        "why": answer.why,
        "operation": answer.action.operation,
        "consequence": _texts(answer, "consequence"),
        "consequence_why": " ".join(_texts(answer, "consequence_why")),
        "readings": [
            {"rule": one.rule, "then": str(one.then), "applies": one.applies, "line": one.line, "at": one.at}
            for one in found.readings
        ],
        "budgets": [_budget_json(claim, used) for claim, used in found.budgets],
    }


def _budget_json(claim: Claim, used: Decimal | None) -> dict[str, object]:
    """What a release would draw on; amounts are texts, exact. `used` is null where there is no place."""
    return {
        "rule": claim.account.rule,
        "owner": claim.account.owner,
        "unit": claim.account.unit,
        "amount": None if claim.amount is None else format(claim.amount, "f"),
        "used": None if used is None else format(used, "f"),
        "limit": format(claim.limit, "f"),
        "per": claim.per,
        "over": shortage(claim, used),
    }


def _budget_words(claim: Claim, used: Decimal | None) -> str:
    owner = f" of {claim.account.owner}" if claim.account.owner else ""
    over = shortage(claim, used)
    if over or used is None or claim.amount is None:
        return f"{claim.account.rule}{owner}: {over}"
    words = usage(claim.account, used, claim.limit, claim.per)
    return f"{claim.account.rule}{owner}: {words}, and this takes {claim.amount:f}: there is room"


def _shown(found: room.Explanation, *, whole: bool) -> Shown:
    answer = found.answer
    why = " ".join(_texts(answer, "consequence_why"))
    likely = " or ".join(_texts(answer, "consequence")) or "nobody can say"
    taken_for = f"{likely}: {why}" if why else likely
    return Shown(
        answer.decision,
        answer.rule,
        answer.rules,
        answer.why,
        answer.action.operation,
        _steps(found.readings, whole=whole),
        taken_for,
        [_budget_words(claim, used) for claim, used in found.budgets],
    )


def _steps(readings: Sequence[room.RuleReading], *, whole: bool) -> list[str]:
    """What rules say, those first that have a say; of the others only as many as are read, unless `whole`."""
    if whole:
        return [_step(one, None) for one in readings]
    speak = [one for one in readings if one.applies is not False]
    others = [one for one in readings if one.applies is False]
    left = max(0, _STEPS - len(speak))
    steps = [_step(one, _STEP) for one in (*speak, *others[:left])]
    more = len(others) - left
    return [*steps, f"{more} more do not apply: --all"] if more > 0 else steps


def _step(one: room.RuleReading, most: int | None) -> str:
    words = {True: "applies", False: "does not apply", None: "unknown"}
    line = one.line if most is None or len(one.line) <= most else f"{one.line[:most]}…"
    return f"{one.then} {one.rule}: {words[one.applies]}{f': {line}' if line else ''}  ({one.at})"


def _texts(answer: room.Answer, field: str) -> list[str]:
    found = answer.action.read((field,))
    return [one for one in found.items if one] if isinstance(found, Values) else []


def _explain_lines(policy: room.Policy, facts: Facts, used: Used, source: Path) -> int:
    try:
        opened = nullcontext(sys.stdin.buffer) if str(source) == "-" else source.open("rb")
    except OSError as error:
        raise fail(f"'{source}' cannot be read: {error.strerror}") from None
    with opened as lines:
        for answer in room.from_lines(policy, lines, facts, used=used):
            sys.stdout.write(answer + "\n")
    return int(Exit.YES)


def _facts(ledger: Path | None) -> Facts:
    """What a ledger says has been seen; without one nothing is first seen."""
    if ledger is None:
        return Facts(ALL_SEEN, services=models())
    with read.reading(ledger) as connection:
        decided = read.entries(connection, read.Filter(kinds=frozenset({"decided"})))
        return Facts(seen.fold(fields for _, fields in decided), services=models())


def _used(ledger: Path | None) -> Used:
    """How much of each budget a ledger leaves used now; without one nothing is."""
    if ledger is None:
        return unused
    budgets, now = spent(ledger), int(time.time() * 1_000_000)
    return lambda claim: budgets.used(claim.account, claim.per, now)


def _headers(given: Iterable[str]) -> list[tuple[str, str]]:
    pairs = []
    for line in given:
        name, colon, value = line.partition(":")
        if not colon:
            raise fail(f"'{line[:100]}' is no header", fix="write it as -H 'Name: value'")
        pairs.append((name.strip(), value.strip()))
    return pairs


def _body(arguments: argparse.Namespace) -> bytes:
    if arguments.data_file is None:
        return (arguments.data or "").encode("utf-8", "surrogateescape")
    try:
        with arguments.data_file.open("rb") as file:
            body: bytes = file.read(_MAX_BODY + 1)
    except OSError as error:
        raise fail(f"'{arguments.data_file}' cannot be read: {error.strerror}") from None
    if len(body) > _MAX_BODY:
        raise fail(
            f"'{arguments.data_file}' is over {_MAX_BODY} bytes", fix="cut it: it would be too_large anyway"
        )
    return body


def _accept(arguments: argparse.Namespace) -> int:
    at = desk(arguments)

    async def accept() -> str:
        shown = await at.status()
        if shown.policy_next:
            _check_shown(shown, arguments.digest)
        after = await at.accept(shown.policy_next)
        return after.policy

    with terminal_as_it_was():
        _say(f"in force: policy {asyncio.run(accept())[:12]}")
    return int(Exit.YES)


def _check_shown(shown: Status, wanted: str | None) -> None:
    """Show the policy that waits; SluiceError (exit 1) where it is not the one that is wanted."""
    say(f"policy {shown.policy_next[:_SHORT]} would take the place of {shown.policy[:_SHORT]}:")
    for line in shown.policy_change.splitlines():
        say(line)
    if wanted is not None:
        if not names(wanted, shown.policy_next):
            raise fail(
                f"the policy that waits is not '{wanted[:70]}'",
                "it may have changed again since you saw it",
                f"look at it again; at least {LEAST} digits of its digest name it",
                exit=Exit.NO,
            )
    elif sys.stdin.isatty() and not agrees("take it"):
        raise fail("it is not taken; what was in force stays", exit=Exit.NO)


def _schema(_: argparse.Namespace) -> int:
    print(json.dumps(room.schema(), indent=2))
    return int(Exit.YES)


def _say(text: str) -> None:
    print(f"sluice: {text}", file=sys.stderr)


def _named(paths: Iterable[Path]) -> str:
    return ", ".join(map(str, paths))


VERBS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "check": _check,
    "test": _test,
    "explain": _explain,
    "accept": _accept,
    "schema": _schema,
    "lint": authoring.lint,
    "diff": authoring.diff,
    "replay": authoring.replayed,
    "new": authoring.new,
}
