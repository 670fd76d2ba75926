"""Verbs for the people who write rules: lint, diff, replay, new."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from proxy import chain
from proxy import policy as room
from proxy import replay as replay_room
from proxy.action import Request
from proxy.awsmodels import models
from proxy.changes import UNKNOWN, Change, of_recorded, of_requests
from proxy.decode import Facts
from proxy.errors import Exit, fail
from proxy.ledger import Fields, read
from proxy.ledger.cipher import cipher_in, key_of
from proxy.ledger.payload import opened
from proxy.paths import looked_at_paths
from proxy.policy import draft, openapi
from proxy.policy.cases import Case, load_cases
from proxy.policy.difference import Step, steps
from proxy.policy.lines import read_requests
from proxy.policy.lint import as_fields
from proxy.render import change_line, emit, finding_lines, printer, replay_lines, step_line, visible
from proxy.replay import STAND_IN, Replay, Tally, recorded, replay
from proxy.state import state_folder


def lint(arguments: argparse.Namespace) -> int:
    """What loads and still looks like a mistake; 1 where there is anything."""
    paths = looked_at_paths(arguments.paths)
    policy = room.load(paths)
    found = room.lint(policy, _cases(paths), _facts())
    if arguments.json:
        _print_json(map(as_fields, found))
    else:
        _emit([line for one in found for line in finding_lines(one.problem)])
        findings = "1 finding" if len(found) == 1 else f"{len(found)} findings"
        _say(f"{findings} in {len(policy.rules)} rules")
    return int(Exit.NO if found else Exit.YES)


def _cases(paths: tuple[Path, ...]) -> list[Case] | None:
    """The cases beside the policies, None where there is no file of them."""
    files = room.read_cases(paths, required=False)
    return load_cases(files) if files else None


# -- diff --------------------------------------------------------------------------------


def diff(arguments: argparse.Namespace) -> int:
    """What became looser or stricter: by the rules, and on requests where some are given."""
    old, new = (room.load(looked_at_paths([path])) for path in (arguments.old, arguments.new))
    found = steps(old, new)
    if arguments.json:
        _print_json(map(_step_json, found))
    else:
        _emit(list(map(step_line, found)))
        if not found:
            _say("the two mean the same")
    if arguments.ledger is not None:
        _tell(of_recorded(old, new, recorded(_entries(arguments.ledger), _facts())), arguments)
    elif arguments.requests is not None:
        with _opened(arguments.requests) as lines:
            _tell(of_requests(old, new, read_requests(lines), _facts()), arguments)
    return int(Exit.YES)


def _tell(changes: Iterable[Change], arguments: argparse.Namespace) -> None:
    """Each request that gets another answer, as far as there is room, and how many there are."""
    counts = {"looser": 0, "stricter": 0, "same": 0, UNKNOWN: 0}
    for change in changes:
        way = (
            str(change.way) if change.way else UNKNOWN if UNKNOWN in (change.before, change.after) else "same"
        )
        counts[way] += 1
        if change.way is None:
            continue
        if arguments.json:
            _print_json([_change_json(change)])
        elif counts["looser"] + counts["stricter"] <= arguments.show:
            _emit([change_line(change)])
    if arguments.json:
        _print_json([{"requests": counts}])
        return
    more = counts["looser"] + counts["stricter"] - arguments.show
    if more > 0:
        print(f"and {more} more: --show {arguments.show + more}")
    print(
        f"of {sum(counts.values())} requests {counts['looser']} looser, {counts['stricter']} stricter,"
        f" {counts['same']} the same, {counts[UNKNOWN]} that nobody can say"
    )


def _step_json(step: Step) -> dict[str, str]:
    return {"change": str(step.way), "rule": step.rule, "what": step.what}


def _change_json(change: Change) -> dict[str, object]:
    return {
        "change": str(change.way),
        "method": change.method,
        "url": change.url,
        "before": {"decision": change.before, "rule": change.before_rule},
        "after": {"decision": change.after, "rule": change.after_rule},
    }


# -- replay ------------------------------------------------------------------------------


def replayed(arguments: argparse.Namespace) -> int:
    """How many holds a policy would have added to a ledger's decisions, and removed."""
    policy = room.load(looked_at_paths(arguments.policy))
    was = room.load(looked_at_paths(arguments.was)) if arguments.was else None
    found = replay(recorded(_entries(arguments.file), _facts()), policy, was)
    if arguments.json:
        _print_json(_replay_json(found))
    else:
        _emit(list(replay_lines(found)))
        if found.total.unknown and was is None:
            _say("name the policy that was in force with --was: what has not changed in it settles more")
    return int(Exit.YES)


def _replay_json(found: Replay) -> Iterator[dict[str, object]]:
    yield {
        "requests": found.judged,
        "holds_then": found.then,
        "holds_now": found.now,
        **_tally(found.total),
        "unjudged": dict(found.unjudged),
    }
    for rule, tally in found.by_rule.items():
        yield {"rule": rule, **_tally(tally)}
    for agent, tally in found.by_agent.items():
        yield {"agent": agent, **_tally(tally)}


def _tally(tally: Tally) -> dict[str, object]:
    return {"added": tally.added, "removed": tally.removed, "unknown": tally.unknown}


# -- new ---------------------------------------------------------------------------------


def new(arguments: argparse.Namespace) -> int:
    """Drafts of rules with their cases, as one policy file on stdout."""
    if arguments.ledger is not None:
        if arguments.id is None:
            raise fail(
                "no request is named",
                fix="sluice policy new --ledger FILE ID; sluice ledger show has the ids",
            )
        asked = _request_of(arguments.ledger, arguments.id)
        drafted = draft.write([draft.from_request(asked, STAND_IN, _facts())], _COMMENT, _facts())
    else:
        name = str(arguments.openapi)
        with _opened(arguments.openapi) as file:
            source = openapi.Source(
                openapi.parse(file.read(openapi.MAX_BYTES + 1), name), arguments.server, _facts()
            )
        drafted = draft.write(
            openapi.drafts(source, arguments.operation),
            f"{_COMMENT}\nFrom {arguments.openapi.name}.",
            _facts(),
        )
    sys.stdout.write(drafted.text)
    _say(f"{drafted.rules} rules drafted, each with a case")
    for why, count in drafted.left_out.items():
        _say(f"{count} left out: {visible(why)}")
    return int(Exit.YES)


_COMMENT = "Drafted by sluice policy new: read each rule, and say in its why what your people should know."


def _request_of(path: Path, id: str) -> Request:
    """The request of an entry, as far as the ledger keeps it; `id` is any unique prefix."""
    found: dict[str, tuple[Fields, bytes | None]] = {}
    for fields, payload in _entries(path):
        name = str(fields.get("hold") or fields.get("id") or "")
        if (
            fields.get("kind") in ("held", "decided")
            and name.startswith(id)
            and (payload or name not in found)
        ):
            found[name] = (fields, payload)
    if len(found) != 1:
        many = "no request" if not found else f"{len(found)} requests"
        raise fail(
            f"{many} in '{path}' with an id that begins with '{id}'", fix="sluice ledger show", exit=Exit.NO
        )
    ((fields, payload),) = found.values()
    try:
        return replay_room.kept(fields, payload)[0] if payload else replay_room.addressed(fields)
    except (ValueError, TypeError, KeyError):
        raise fail(f"what the ledger keeps of '{id}' is no request", exit=Exit.NO) from None


def _facts() -> Facts:
    """What is known of services beside a request; nothing is first seen."""
    return Facts(services=models())


# -- files -------------------------------------------------------------------------------


def _entries(path: Path) -> Iterator[tuple[Fields, bytes | None]]:
    """The entries of a ledger with what is kept beside them, oldest first."""
    closed = 0
    with read.reading(path) as connection:
        cipher = cipher_in(connection, key_of(path, state_folder(None, os.environ)))
        for seq, body, _, _, data in read.rows(connection):
            if isinstance(body, bytes):
                fields = chain.parse(body)
                payload = opened(cipher, seq, fields, data)
                closed += payload is None and data is not None
                yield fields, payload
    if closed:
        _say(f"{closed} payloads are encrypted, and their key is not here: of these only the entry is read")


def _opened(path: Path) -> Any:
    try:
        return nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb")
    except OSError as error:
        raise fail(f"'{path}' cannot be read: {error.strerror}") from None


def _print_json(objects: Iterable[object]) -> None:
    for one in objects:
        print(json.dumps(one))


def _emit(lines: list[Any]) -> None:
    emit(printer(sys.stdout, os.environ), lines)


def _say(text: str) -> None:
    print(f"sluice: {text}", file=sys.stderr)
