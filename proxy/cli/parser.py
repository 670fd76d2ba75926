"""Verbs and flags of the command line, with their help texts."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from proxy import __version__
from proxy.cli import parser_grants, parser_ledger, parser_reviewer
from proxy.cli.examples import Help, epilog
from proxy.config import Config, Resolve
from proxy.errors import fail
from proxy.state import state_folder

_SIZE: Final = re.compile(r"(\d{1,12})\s*(B|KiB|MiB|GiB|K|M|G)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "b": 1, "k": 2**10, "kib": 2**10, "m": 2**20, "mib": 2**20, "g": 2**30, "gib": 2**30}

_EPILOG: Final = """\
the two things to know:
  sluice run -- COMMAND     start an agent behind the gate
  sluice up                 the gate and the reviewer's console in this terminal

exit status: 0 yes, 1 no, 2 wrong usage or input, 3 no running proxy could be reached
"""


class Parser(argparse.ArgumentParser):
    """argparse with our form of message: what, and how to get help."""

    def error(self, message: str) -> NoReturn:
        """Wrong usage: exit 2."""
        raise fail(message, fix=f"{self.prog} --help")


def build() -> Parser:
    """The whole command line."""
    parser = Parser(
        prog="sluice",
        description="Holds an agent's risky API calls until a person decides.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sluice {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)
    _running(verbs)
    _deciding(verbs)
    _policy(verbs)
    _ledger(verbs)
    _reviewer(verbs)
    says = "how people decided: by rule, agent and reviewer, and what need not have been asked"
    parser_ledger.add_report(_verb(verbs, "report", says, state=True, json=True))
    says = "how much of each budget is used, and when there is room again"
    parser_ledger.add_budgets(_verb(verbs, "budgets", says, state=True, json=True))
    completion = _verb(verbs, "completion", 'completion for your shell: eval "$(sluice completion bash)"')
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    return parser


type Verbs = argparse._SubParsersAction[Parser]


def _verb(verbs: Verbs, name: str, help: str, *, state: bool = False, json: bool = False) -> Parser:
    said = help[:1].upper() + help[1:] + "."
    parser = verbs.add_parser(name, help=help, description=said, formatter_class=Help)
    parser.epilog = epilog(parser.prog)
    if state:
        _state(parser)
    if json:
        parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="state folder (default: $SLUICE_STATE, else ~/.local/state/sluice)",
    )


def _gate_flags(parser: argparse.ArgumentParser) -> None:
    _state(parser)
    add = parser.add_argument
    add(
        "--policy",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="policy file or folder; repeatable",
    )
    add(
        "--listen",
        type=_address,
        default=("127.0.0.1", 8080),
        metavar="HOST:PORT",
        help="default 127.0.0.1:8080; port 0 takes a free one",
    )
    add("--ledger", type=Path, metavar="FILE", help="default: ledger.db in the state folder")
    add("--no-console", action="store_true", help="print one JSON line when ready, and nothing after it")
    add("--shadow", action="store_true", help="let everything flow, record what would have been held")
    add(
        "--resolve",
        type=_resolve,
        action="append",
        default=[],
        metavar="HOST:PORT:ADDR:PORT",
        help="connect to ADDR:PORT for HOST:PORT; repeatable",
    )
    add("--upstream-ca", type=Path, metavar="FILE", help="a CA more that upstreams may present (PEM)")
    add("--review-group", metavar="GROUP", help="members of this group may review")
    _gate_limits(parser)
    parser_ledger.add_to_gate(parser)


def _gate_limits(parser: argparse.ArgumentParser) -> None:
    """How much is kept, and what waits for what."""
    add = parser.add_argument
    add(
        "--body-limit",
        type=_size,
        default=10 * 2**20,
        metavar="SIZE",
        help="longest body that is read to be judged (default 10MiB)",
    )
    add(
        "--hold-memory",
        type=_size,
        default=256 * 2**20,
        metavar="SIZE",
        help="memory that waiting bodies share (default 256MiB)",
    )
    add(
        "--reload",
        choices=("ask", "auto"),
        default="ask",
        help="a changed policy waits for a reviewer, or is in force at once",
    )
    add(
        "--record",
        choices=("fast", "strict"),
        default="fast",
        help="allowed requests wait for the disk too (strict)",
    )
    add(
        "--record-reads",
        choices=("each", "counts"),
        default="each",
        help="an entry for each allowed read (90 GB a day at 1,000 a second), or one a minute with counts",
    )


def _running(verbs: Verbs) -> None:
    _gate_flags(_verb(verbs, "up", "the gate, and the reviewer's console in this terminal"))
    run = _verb(verbs, "run", "start an agent behind a gate: the one running on --state, or its own")
    _gate_flags(run)
    run.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the agent, and its arguments"
    )
    demo = _verb(verbs, "demo", "a fake bank, mail and file API, an agent that uses them, and the console")
    demo.add_argument("--yes", action="store_true", help="decide by itself: needs no terminal")
    doctor = _verb(
        verbs, "doctor", "proves the path end to end and says what is wrong", state=True, json=True
    )
    doctor.add_argument(
        "--listen",
        type=_address,
        default=("127.0.0.1", 8080),
        metavar="HOST:PORT",
        help="the address to look at",
    )


def _deciding(verbs: Verbs) -> None:
    review = _verb(verbs, "review", "the reviewer's console on a running proxy", state=True)
    _verb(verbs, "holds", "what is waiting", state=True, json=True)
    show = _verb(verbs, "show", "one hold, whole", state=True, json=True)
    show.add_argument("id", metavar="ID", help="any unique prefix of the hold's id")
    answers: list[argparse.ArgumentParser] = [review]
    for name, help in (
        ("approve", "release a hold"),
        ("deny", "refuse a hold, with a reason for the agent"),
        ("edit", "correct a request in your editor ($VISUAL, $EDITOR), and release it once confirmed"),
    ):
        answer = _verb(verbs, name, help, state=True, json=True)
        several = None if name == "edit" else "+"
        answer.add_argument("id", metavar="ID", nargs=several, help="any unique prefix of the hold's id")
        answer.add_argument(
            "--reason", default="", metavar="TEXT", help="goes to the agent and into the ledger"
        )
        answers.append(answer)
        if name == "approve":
            parser_grants.add_to_approve(answer)
    answers += parser_grants.add(lambda name, help, json: _verb(verbs, name, help, state=True, json=json))
    for one in answers:
        one.add_argument("--as", dest="name", metavar="NAME", help="which of your names in reviewers.yaml")
    for name, help in (("pause", "refuse everything until: sluice resume"), ("resume", "end a pause")):
        pause = _verb(verbs, name, help, state=True)
        pause.add_argument(
            "--agent", metavar="NAME", help="of this agent only, as the holds name it (uid:NAME)"
        )


def _policy(verbs: Verbs) -> None:
    inner = _verb(verbs, "policy", "check, test, explain, compare, draft and accept policies").add_subparsers(
        dest="action", metavar="ACTION", required=True, parser_class=Parser
    )
    for name, help in (
        ("check", "every error as file:line:column: what; then why and fix"),
        ("test", "the cases beside the policies; no case found is a failure"),
        ("lint", "what loads and still looks like a mistake: exit 1 where there is anything"),
    ):
        verb = _verb(inner, name, help, json=True)
        verb.add_argument(
            "paths",
            nargs="*",
            type=Path,
            metavar="PATH",
            help="default: ./policies, else your own, else the packaged ones",
        )
    accept = _verb(inner, "accept", "take the changed policy", state=True)
    accept.add_argument(
        "digest", nargs="?", metavar="DIGEST", help="only the one whose digest begins so, as it was shown"
    )
    accept.add_argument("--as", dest="name", metavar="NAME", help="which of your names in reviewers.yaml")
    _verb(inner, "schema", "the JSON Schema for editors")
    _explaining(inner)
    _comparing(inner)
    _drafting(inner)


def _explaining(inner: Verbs) -> None:
    explain = _verb(inner, "explain", "what the policy says of a request, and why", json=True)
    add = explain.add_argument
    add(
        "--policy",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="policy file or folder; repeatable",
    )
    add("--ledger", type=Path, metavar="FILE", help="for first-seen markers")
    add("--agent", metavar="NAME", help="who asks, as the ledger names it (uid:NAME)")
    add("--all", action="store_true", help="every rule, also those that do not name the host, each in full")
    add(
        "-H",
        dest="headers",
        action="append",
        default=[],
        metavar="'Name: value'",
        help="a header; repeatable",
    )
    body = explain.add_mutually_exclusive_group()
    body.add_argument("-d", dest="data", metavar="BODY", help="the body")
    body.add_argument("--data-file", type=Path, metavar="FILE", help="the body from a file")
    add(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE.jsonl",
        help="a decision for each line, as JSON lines (- for stdin)",
    )
    add("method", nargs="?", metavar="METHOD")
    add("url", nargs="?", metavar="URL")


def _comparing(inner: Verbs) -> None:
    diff = _verb(inner, "diff", "what became looser or stricter from one policy to another", json=True)
    diff.add_argument("old", type=Path, metavar="OLD")
    diff.add_argument("new", type=Path, metavar="NEW")
    on = diff.add_mutually_exclusive_group()
    on.add_argument("--ledger", type=Path, metavar="FILE", help="also on the requests of a ledger")
    on.add_argument(
        "--requests", type=Path, metavar="FILE.jsonl", help="also on requests, one a line (- for stdin)"
    )
    diff.add_argument("--show", type=int, default=20, metavar="N", help="requests to show (default 20)")
    replay = _verb(
        inner, "replay", "how many holds a policy would have added to a ledger, and removed", json=True
    )
    replay.add_argument("file", type=Path, metavar="LEDGER")
    replay.add_argument(
        "--policy",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="the policy to try; repeatable",
    )
    replay.add_argument(
        "--was", type=Path, action="append", default=[], metavar="PATH", help="what was in force; repeatable"
    )


def _drafting(inner: Verbs) -> None:
    new = _verb(inner, "new", "a draft rule and its case, from a request or an API's description")
    of = new.add_mutually_exclusive_group(required=True)
    of.add_argument("--ledger", type=Path, metavar="FILE", help="from the request ID of this ledger")
    of.add_argument(
        "--openapi", type=Path, metavar="FILE", help="from an OpenAPI 3 description, JSON or YAML"
    )
    new.add_argument(
        "--operation", default="", metavar="ID", help="only this one, by its operationId or as 'POST /path'"
    )
    new.add_argument("--server", default="", metavar="URL", help="where the API is, if FILE does not say so")
    new.add_argument("id", nargs="?", metavar="ID", help="any unique prefix of a decision's or a hold's id")


def _ledger(verbs: Verbs) -> None:
    inner = _verb(verbs, "ledger", "show, verify, prove and export the ledger").add_subparsers(
        dest="action", metavar="ACTION", required=True, parser_class=Parser
    )
    parser_ledger.add(lambda name, help, json: _verb(inner, name, help, state=True, json=json))


def _reviewer(verbs: Verbs) -> None:
    says = "reviewers and their keys: what they sign is what counts"
    inner = _verb(verbs, "reviewer", says).add_subparsers(
        dest="action", metavar="ACTION", required=True, parser_class=Parser
    )
    parser_reviewer.add(lambda name, help, json: _verb(inner, name, help, state=True, json=json))


# -- values ----------------------------------------------------------------------------


def folder(arguments: argparse.Namespace) -> Path:
    """The state folder that a command line means."""
    return state_folder(arguments.state, os.environ)


def config(arguments: argparse.Namespace, policy: Callable[[list[Path]], tuple[Path, ...]]) -> Config:
    """The flags of `up` and `run` as a Config; `policy` finds the files where none are named."""
    _check_record(arguments)
    host, port = arguments.listen
    state = folder(arguments)
    return Config(
        policy=policy(arguments.policy),
        host=host,
        port=port,
        state=state,
        ledger=arguments.ledger or state / "ledger.db",
        console=not arguments.no_console,
        shadow=arguments.shadow,
        resolve=tuple(arguments.resolve),
        upstream_ca=arguments.upstream_ca,
        body_limit=arguments.body_limit,
        hold_memory=arguments.hold_memory,
        reload=arguments.reload,
        strict=arguments.record == "strict",
        record_reads=arguments.record_reads,
        review_group=arguments.review_group,
        witnesses=tuple(arguments.witness),
        max_unanchored=arguments.max_unanchored,
        keep_payloads=arguments.keep_payloads,
        encrypt_payloads=arguments.encrypt_payloads,
    )


def _check_record(arguments: argparse.Namespace) -> None:
    if arguments.record == "strict" and arguments.record_reads == "counts":
        raise fail(
            "--record strict and --record-reads counts exclude each other",
            "with strict every request waits until its entry is on disk, and a counted one has none",
            "leave one of them out",
        )


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no size; write 10MiB or 512K")
    return int(match[1]) * _UNITS[(match[2] or "").lower()]


def _address(text: str) -> tuple[str, int]:
    host, port = _host_port(text)
    return host, port


def _host_port(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+)):(\d{1,5})", text)
    if match is None or int(match[3]) > 65_535:
        raise argparse.ArgumentTypeError(f"'{text}' is no HOST:PORT; write 127.0.0.1:8080 or [::1]:8080")
    return match[1] or match[2], int(match[3])


def _resolve(text: str) -> Resolve:
    match = re.fullmatch(r"((?:\[[^\]]+\]|[^:\[\]]+):\d{1,5}):((?:\[[^\]]+\]|[^:\[\]]+):\d{1,5})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no HOST:PORT:ADDR:PORT; IPv6 stands in brackets")
    host, port = _host_port(match[1])
    address, to = _host_port(match[2])
    return Resolve(host.lower(), port, address, to)
