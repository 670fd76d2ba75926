"""Verbs about the ledger: show, verify, export, prove, and what a person does to one."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from proxy.chain import stamp
from proxy.cli.deciding import desk
from proxy.cli.parser import folder
from proxy.errors import Exit, SluiceError, fail
from proxy.ledger import export as exports
from proxy.ledger import prove, read, retention
from proxy.ledger.bundle import export_reviews
from proxy.ledger.cipher import key_of
from proxy.ledger.rekey import rotate
from proxy.ledger.report import Report
from proxy.ledger.seal import KEY
from proxy.ledger.succession import accept_loss
from proxy.ledger.verify import verify
from proxy.note import Key, NoteError
from proxy.render import emit, entry_line, printer, visible
from proxy.witness.kinds import place

_FOLLOW: Final = 0.25
_SHOWN: Final = 0.1
_BAR: Final = 30
_NOTE: Final = 256 * 1024


def _file(arguments: argparse.Namespace) -> Path:
    return arguments.file or folder(arguments) / "ledger.db"


def _key(arguments: argparse.Namespace) -> Path:
    """The log's key: in the state folder, or beside a ledger that lies elsewhere with its own."""
    beside = _file(arguments).with_name(KEY)
    return (
        beside if arguments.file and arguments.state is None and beside.exists() else folder(arguments) / KEY
    )


def _filter(arguments: argparse.Namespace) -> read.Filter:
    return read.Filter(
        kinds=frozenset(arguments.kind) if arguments.kind else None,
        agent=arguments.agent,
        host=arguments.host,
        decision=arguments.decision,
        hold=arguments.hold,
        reviewer=arguments.reviewer,
        rule=arguments.rule,
        since=arguments.since,
        until=arguments.until,
    )


def _show(arguments: argparse.Namespace) -> int:
    def wait() -> bool:
        if not arguments.follow:
            return False
        sys.stdout.flush()
        time.sleep(_FOLLOW)
        return True

    console, wanted, shown = printer(sys.stdout, os.environ), _filter(arguments), 0
    with read.reading(_file(arguments)) as connection:
        for entry, fields in read.follow(connection, wait, wanted):
            shown += 1
            if arguments.json:
                sys.stdout.write(entry.body.decode() + "\n")
            else:
                emit(console, [entry_line(fields)])
        if not shown:
            print(f"sluice: of {read.head(connection).seq + 1} entries none is as asked for", file=sys.stderr)
    return int(Exit.YES)


def _keys(texts: list[str]) -> list[Key]:
    try:
        return [Key.parse(text) for text in texts]
    except NoteError as error:
        raise fail(str(error), fix="a key is one line, as sluice up prints it: name+id+base64") from None


def _verify(arguments: argparse.Namespace) -> int:
    places = [place(text) for text in arguments.against]
    path = _file(arguments).resolve()  # what belongs to a ledger lies beside it, not beside a link
    with _progress(sys.stderr) as progress:
        report = verify(
            path,
            time.time(),
            keys=_keys(arguments.key),
            against=places,
            progress=progress,
            payloads_key=key_of(path, folder(arguments)),
        )
    if arguments.json:
        print(json.dumps(report.as_dict()))
        return int(report.exit)
    if report.ok:
        for line in _reached(report):
            print(visible(line))
        print(f"sluice: {report.limits}", file=sys.stderr)
        return int(report.exit)
    for finding in report.findings:
        where = "the ledger" if finding.seq is None else f"entry {finding.seq}"
        print(visible(f"{where}: {finding.what} ({finding.code})"))
    if report.more:
        print(f"and {report.more} more")
    return int(report.exit)


def _reached(report: Report) -> list[str]:
    """What is so, and how far that goes: never a bare yes."""
    lines = [f"{report.entries} entries, {report.first} to {report.last}: no change was found"]
    anchor = report.anchor
    if anchor is not None:
        seen = anchor.entry_time if anchor.time is None else stamp(anchor.time * 1_000_000)
        lines.append(f"level anchored: up to entry {anchor.size - 1}, at {seen}, by {anchor.name}")
    elif report.level == "signed":
        lines.append("level signed: the head is signed by the pinned key")
    else:
        lines.append("level chain only")
    lines += _signed(report)
    lines.append(f"head {report.head}")
    if report.vkey is not None:
        lines.append(f"{'pinned key' if report.pinned else 'key, named by the ledger itself,'} {report.vkey}")
    return lines


def _signed(report: Report) -> list[str]:
    """How many answers were signed, and by whom."""
    signed, unsigned = report.reviews.get("signed"), report.reviews.get("unsigned")
    lines = []
    if isinstance(signed, dict) and signed:
        whose = ", ".join(f"{count} by {name}" for name, count in signed.items())
        lines.append(f"reviews signed: {whose}")
    if unsigned:
        lines.append(f"reviews that nobody had to sign, because nobody was enrolled: {unsigned}")
    return lines


def _export(arguments: argparse.Namespace) -> int:
    wanted = _filter(arguments)
    if arguments.output is None:
        with _progress(sys.stderr if not sys.stdout.isatty() else None) as progress:
            exports.export(_file(arguments), sys.stdout.buffer, arguments.format, wanted, progress)
            sys.stdout.flush()
        return int(Exit.YES)
    with _progress(sys.stderr) as progress:
        count = exports.export_to(_file(arguments), arguments.output, arguments.format, wanted, progress)
    print(f"sluice: {count} entries written to {arguments.output}", file=sys.stderr)
    return int(Exit.YES)


@contextmanager
def _progress(out: TextIO | None) -> Iterator[exports.Progress]:
    """
    One line that is written over, ten times a second at most, and gone in the end.

    Nothing at all where `out` is no terminal.
    """
    if out is None or not out.isatty():
        yield lambda _, __: None
        return
    last = 0.0

    def show(count: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SHOWN and total:
            last = now
            said = f"sluice: {'━' * (_BAR * count // total):{_BAR}} {count:,} of {total:,} entries"
            print(
                f"\r{said[: os.get_terminal_size(out.fileno()).columns - 1]}\x1b[K",
                end="\r",
                file=out,
                flush=True,
            )

    try:
        yield show
    finally:
        print("\r\x1b[K", end="", file=out, flush=True)


def _checkpoint(arguments: argparse.Namespace) -> int:
    sys.stdout.write(prove.checkpoint(_file(arguments)).decode())
    return int(Exit.YES)


def _prove(arguments: argparse.Namespace) -> int:
    if (arguments.seq is None) == (arguments.since is None):
        raise fail("what is to be proven?", fix="sluice ledger prove SEQ, or: prove --since NOTE")
    ledger = _file(arguments)
    if arguments.since is None:
        proof = prove.prove(ledger, arguments.seq)
    else:
        proof = prove.prove_since(ledger, _read(arguments.since))
    if arguments.output is None:
        sys.stdout.write(proof.decode())
        return int(Exit.YES)
    try:
        arguments.output.write_bytes(proof)
    except OSError as error:
        raise fail(f"'{arguments.output}' cannot be written: {error.strerror}") from None
    print(f"sluice: the proof is in {arguments.output}: sluice ledger verify-proof", file=sys.stderr)
    return int(Exit.YES)


def _verify_proof(arguments: argparse.Namespace) -> int:
    since = None if arguments.since is None else _read(arguments.since)
    keys, proof = _keys(arguments.key), _read(arguments.proof)
    try:
        proven = prove.verify_proof(proof, keys, since)
    except SluiceError as error:
        if not arguments.json:
            raise
        print(json.dumps({"ok": False, "what": str(error)}))
        return int(error.exit)
    if arguments.json:
        print(json.dumps(proven.as_dict()))
        return int(Exit.YES)
    what = f"they go on from the first {proven.since}" if proven.seq is None else f"entry {proven.seq} is in"
    print(visible(f"{proven.origin}, {proven.size} entries: {what}"))
    if proven.entry is not None:
        print(visible(proven.entry.decode()))
    if proven.signed:
        when = "" if proven.time is None else f", and a witness at {stamp(proven.time * 1_000_000)}"
        print(f"the pinned key has signed the checkpoint{when}")
    else:
        print(
            f"sluice: nobody vouches for the root {proven.root.hex()}: pin the log's key with --key",
            file=sys.stderr,
        )
    return int(Exit.YES)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_NOTE + 1)
    except OSError as error:
        raise fail(f"'{path}' cannot be opened: {error.strerror}") from None


def _erase(arguments: argparse.Namespace) -> int:
    if arguments.file is None:
        try:
            asyncio.run(desk(arguments).erase(arguments.hold, arguments.reason))
        except SluiceError as error:
            if error.exit is not Exit.UNREACHABLE:
                raise  # else no gate is running: the ledger is free
        else:
            print(f"sluice: what hold {visible(arguments.hold)} kept is erased", file=sys.stderr)
            return int(Exit.YES)
    key, by = _key(arguments), getpass.getuser()
    erasing = retention.erase(_file(arguments), key, arguments.hold, arguments.reason, by, clock=time.time)
    hold, count = asyncio.run(erasing)
    print(f"sluice: what {count} entries of hold {hold} kept beside them is erased", file=sys.stderr)
    return int(Exit.YES)


def _prune(arguments: argparse.Namespace) -> int:
    key, target = _key(arguments), arguments.archive
    digest = asyncio.run(
        retention.prune(_file(arguments), arguments.before, target, key=key, clock=time.time)
    )
    print(
        f"sluice: entries before {arguments.before} are in {target} now, sha256 {digest.hex()}",
        file=sys.stderr,
    )
    return int(Exit.YES)


def _rotate_key(arguments: argparse.Namespace) -> int:
    path = _file(arguments)
    vkey = asyncio.run(rotate(path, _key(arguments), clock=time.time))
    print(f"sluice: {path} is signed by another key from here on: {vkey}", file=sys.stderr)
    print("sluice: who pinned the old one can follow; tell C2SP witnesses the new one", file=sys.stderr)
    return int(Exit.YES)


def _accept_loss(arguments: argparse.Namespace) -> int:
    places = [place(text) for text in arguments.against]
    path, key = _file(arguments), _key(arguments)
    away, vkey = accept_loss(path, key, places, arguments.reason, int(time.time() * 1_000_000))
    if away is not None:
        print(f"sluice: the old ledger is kept as {away}", file=sys.stderr)
    print(f"sluice: {path} is a new one, signed by {vkey}", file=sys.stderr)
    return int(Exit.YES)


def _export_review(arguments: argparse.Namespace) -> int:
    ledger = arguments.ledger or folder(arguments) / "ledger.db"
    for one in export_reviews(ledger, arguments.hold, arguments.output):
        print(one.command)
        print(
            f"sluice: the answer of {visible(one.reviewer)} is in {visible(str(one.file))}", file=sys.stderr
        )
    print(f"sluice: run that in {visible(str(arguments.output))}", file=sys.stderr)
    return int(Exit.YES)


VERBS: Final = {
    "show": _show,
    "verify": _verify,
    "export": _export,
    "export-review": _export_review,
    "checkpoint": _checkpoint,
    "prove": _prove,
    "verify-proof": _verify_proof,
    "erase": _erase,
    "prune": _prune,
    "rotate-key": _rotate_key,
    "accept-loss": _accept_loss,
}
