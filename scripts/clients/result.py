"""What became of each client, what that breaks, and the page: pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from clients.catalogue import Row

_STATUS_LINE = re.compile(r"^\s*HTTP/[\d.]+ (\d{3})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Answer:
    """One final answer as the client's program saw it: a status and whether the body was upstream's."""

    status: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Result:
    """
    What became of one row.

    `interim` is the status that the gate kept it waiting with. `lasted` is how long the client
    was there in seconds, from its first hold to its end or the release; `sent` is counted
    upstream, `holds` and `attempts` at the gate. `missing` says why it was not run.
    """

    row: Row
    version: str = ""
    interim: int | None = None
    answers: tuple[Answer, ...] = ()
    raised: str = ""
    survived: bool = False
    lasted: float = 0.0
    sent: int = 0
    holds: int = 0
    attempts: int = 1
    missing: str = ""


def heard(tool: str, out: str, err: str, status: int) -> tuple[tuple[Answer, ...], str]:
    """(the answers, the error) that a client's program has told of."""
    if tool == "wget":
        found = [int(code) for code in _STATUS_LINE.findall(err)]
        said = tuple(Answer(code, True) for code in found[-1:]) if status in (0, 8) else ()
        return said, "" if status == 0 else f"exit {status}"
    answers, raised = [], f"exit {status}: {err.strip()[-200:]}" if status else ""
    for line in out.splitlines():
        told = json.loads(line)
        if "raised" in told:
            raised = str(told["raised"])
        elif not (tool == "curl" and status):  # its line comes even where there was no answer
            answers.append(Answer(int(told["status"]), "released" in str(told["saw"])))
    return tuple(answers), raised


def broken(result: Result, seconds: float) -> list[str]:
    """Which promises this result breaks; empty for none."""
    if result.missing:
        return []
    wrong = []
    if any(answer.status < 200 for answer in result.answers):
        wrong.append("an interim answer was taken for the answer")
    if result.sent > 1:
        wrong.append(f"it was sent {result.sent} times")
    if result.sent and not result.survived:
        wrong.append("it was sent for a client that had gone")
    good = [answer for answer in result.answers if answer.status == 200 and answer.whole]
    if len(result.answers) > 1 or (result.answers and not good):
        wrong.append(f"it was answered {[answer.status for answer in result.answers]}")
    found = {
        "answers": len(good),
        "sent": result.sent,
        "holds": result.holds,
        "attempts": result.attempts,
    }
    if result.row.waits(seconds) and set(found.values()) != {1}:
        counts = ", ".join(f"{count} {name}" for name, count in found.items())
        wrong.append(f"it should have waited: {counts}, {result.raised or 'no error'}")
    return wrong


def table(results: Sequence[Result]) -> str:
    """The rows as they stand on the page."""
    head = ["client", "timeout", "interim", "survived", "answered", "sent"]
    lines = [head, ["---"] * len(head), *(_line(result) for result in results)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(result: Result) -> list[str]:
    row = result.row
    name = f"{_names(row)}{f' ({result.version})' if result.version else ''}"
    if result.missing:
        return [name, row.setting, f"not run: {result.missing}", "", "", ""]
    interim = "none" if result.interim is None else str(result.interim)
    survived = "yes" if result.survived else f"no, gave up after {result.lasted:.0f} s"
    if result.survived and result.attempts > 1:
        survived = f"yes, asking {result.attempts} times"
    statuses = sorted({answer.status for answer in result.answers})
    times = {0: "no", 1: "once"}.get(len(result.answers), f"{len(result.answers)} times")
    answered = f"{times}, {', '.join(map(str, statuses))}" if statuses else times
    sent = {0: "no", 1: "once"}.get(result.sent, f"{result.sent} times")
    return [name, row.setting, interim, survived, answered, sent]


def _names(row: Row) -> str:
    prefix = {"node": "Node: ", "go": "Go: ", "java": "Java: "}.get(row.tool, "")
    kinds = {
        "httpx": "httpx, HTTP/1.1",
        "httpx-h2": "httpx, HTTP/2",
        "httpx-async": "httpx, async",
        "openai-async": "openai, async",
        "boto3-dynamodb": "boto3, DynamoDB",
        "boto3-s3": "boto3, S3",
        "undici-fetch": "undici fetch",
        "undici-request": "undici request",
        "fetch": "built-in fetch",
    }
    return prefix + kinds.get(row.kind, row.kind)
