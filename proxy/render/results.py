"""What the command line prints of problems, ledgers and policies, a line at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final

from rich.console import Console
from rich.text import Text

from proxy.budget import Standing
from proxy.chain import stamp
from proxy.errors import Problem
from proxy.policy.limits import usage
from proxy.render.text import safe

_EFFECTS: Final = {"allow": "green", "watch": "cyan", "hold": "yellow", "deny": "red"}


@dataclass(frozen=True, slots=True)
class CaseResult:
    """A policy case and how it came out; `where` is ``file:line:column``, `why` says why it failed."""

    name: str
    passed: bool
    where: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a policy says of one request, and the steps that led there."""

    decision: str
    rule: str
    rules: Sequence[str]
    why: str
    operation: str
    steps: Sequence[str] = ()
    consequence: str = ""
    budgets: Sequence[str] = ()


def printer(file: IO[str], environ: Mapping[str, str]) -> Console:
    """Where results go: coloured only on a terminal without NO_COLOR; nothing in text is markup."""
    tty = file.isatty()
    return Console(
        file=file,
        color_system="auto" if tty and not environ.get("NO_COLOR") else None,
        force_terminal=tty,
        markup=False,
        emoji=False,
        highlight=False,
        _environ=environ,
    )


def emit(console: Console, rows: Iterator[Text] | Sequence[Text]) -> None:
    """Print lines as they are, never wrapped or cut, so that they can be searched."""
    for row in rows:
        console.print(row, soft_wrap=True)


def problem_lines(problem: Problem) -> Iterator[Text]:
    """What, why and fix, each behind the program's name."""
    head = f"{problem.where}: {problem.what}" if problem.where else problem.what
    yield Text.assemble(("sluice: ", "bold"), ("error: ", "bold red"), safe(head))
    for label, text in (("why", problem.why), ("fix", problem.fix)):
        if text:
            yield Text.assemble(("sluice: ", "bold"), (f"{label}: ", "dim"), safe(text))


def finding_lines(problem: Problem) -> Iterator[Text]:
    """A finding as a result: its place and what, then why and fix, indented."""
    yield Text.assemble((f"{problem.where}: " if problem.where else "", "bold"), safe(problem.what))
    for label, text in (("why", problem.why), ("fix", problem.fix)):
        if text:
            yield Text.assemble((f"    {label}: ", "dim"), safe(text))


def case_lines(results: Sequence[CaseResult]) -> Iterator[Text]:
    """`sluice policy test`: the cases that failed, then how many passed."""
    failed = [result for result in results if not result.passed]
    for result in failed:
        yield Text.assemble(
            ("failed ", "red"), safe(f"{result.where}: " if result.where else ""), safe(result.name)
        )
        yield safe(f"       {result.why}")
    passed = f"{len(results) - len(failed)} of {len(results)} cases passed"
    yield Text(passed, "red" if failed or not results else "green")


def explain_lines(explanation: Explanation) -> Iterator[Text]:
    """`sluice policy explain`: the decision, the rule and its why, then each step."""
    yield safe(explanation.decision, f"bold {_EFFECTS.get(explanation.decision, 'red')}")
    if rules := ", ".join(explanation.rules) or explanation.rule:
        yield Text.assemble(("rule       ", "dim"), safe(rules))
    yield Text.assemble(("why        ", "dim"), safe(explanation.why))
    yield Text.assemble(("operation  ", "dim"), safe(explanation.operation))
    if explanation.consequence:
        yield Text.assemble(("taken for  ", "dim"), safe(explanation.consequence))
    for budget in explanation.budgets:
        yield Text.assemble(("budget     ", "dim"), safe(budget))
    for step in explanation.steps:
        yield Text.assemble(("           ", "dim"), safe(step))


def standing_line(standing: Standing) -> Text:
    """`sluice budgets`: one account, what is used of it, and when it has room again."""
    account = standing.account
    full = standing.room_at is not None
    until = f"; room again at {stamp(standing.room_at)}" if standing.room_at is not None else ""
    return Text.assemble(
        (account.rule, "bold"),
        safe(f"  {account.owner or 'everyone'}  "),
        (usage(account, standing.used, standing.limit, standing.per), "yellow" if full else ""),
        until,
    )
