"""
`sluice doctor`: proves the path end to end, and says what is wrong.

Every check is a function that returns what it found, why that matters and how to fix it.
Nothing of the state folder is changed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import ssl
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from proxy.control.client import ControlDesk
from proxy.doctor import here
from proxy.doctor.check import Check, Finding, failed, note, ok, wrong
from proxy.doctor.path import HOST, path
from proxy.errors import Exit, SluiceError
from proxy.gate.ca import CERTIFICATE
from proxy.wire import Status

__all__ = ["Check", "Finding", "checks", "doctor", "text"]

_ANSWERS_WITHIN: Final = 5.0  # seconds
_INDENT: Final = 21


def doctor(
    state: Path, listen: tuple[str, int], *, as_json: bool = False, environment: Mapping[str, str]
) -> int:
    """Run every check, print each as it ends; 0 where nothing is wrong, else 1."""
    good = True
    for check in checks(state, listen, environment):
        good = good and check.finding is not Finding.WRONG
        print(json.dumps(check.as_dict()) if as_json else text(check, _columns()), flush=True)
    return int(Exit.YES if good else Exit.NO)


def checks(state: Path, listen: tuple[str, int], environment: Mapping[str, str]) -> Iterator[Check]:
    """Every check in turn: this machine, the gate that runs on `state` if one does, the path."""
    yield here.state_folder(state, os.geteuid())
    yield here.authority(state, time.time())
    yield here.clock(state, time.time())
    yield here.sqlite()
    yield here.files()
    try:
        status = asyncio.run(ControlDesk(state / "control.sock").status())
    except SluiceError as error:
        if error.exit is not Exit.UNREACHABLE:
            yield failed("gate", error)
        else:
            yield note("gate", f"none runs on '{state}'", fix="sluice up, or sluice run -- COMMAND")
            yield here.port(*listen)
    else:
        yield from here.gate(status)
        yield answering(status, state / CERTIFICATE)
    yield from path(environment)


def answering(status: Status, ca: Path) -> Check:
    """The running gate answers with a certificate of its CA; no request is made of it."""
    name = "port"
    address = urlsplit(status.proxy)
    try:
        context = ssl.create_default_context(cafile=str(ca))
        with socket.create_connection((address.hostname, address.port), _ANSWERS_WITHIN) as connection:
            connection.sendall(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode())
            said = connection.recv(4096)
            if not said.startswith(b"HTTP/1.1 200"):
                return wrong(
                    name, f"{status.proxy} answers {said[:40]!r}", "no gate answers so", "restart it"
                )
            with context.wrap_socket(connection, server_hostname=HOST):
                return ok(name, f"the gate answers at {status.proxy}, under its CA")
    except OSError as error:
        why = "agents would see the same"
        return wrong(name, f"{status.proxy} does not answer as the gate should: {error}", why, "restart it")


def text(check: Check, columns: int | None = None) -> str:
    """A check as people read it, wrapped between words where the terminal's width is given."""
    lines = [(f"{check.finding:<6} {check.name:<13} ", check.what)]
    lines += [
        (f"{'':<21}{label}: ", said) for label, said in (("why", check.why), ("fix", check.fix)) if said
    ]
    return "\n".join(
        textwrap.fill(
            said, columns or sys.maxsize, initial_indent=label, subsequent_indent=" " * _INDENT,
            break_long_words=False, break_on_hyphens=False,
        )
        for label, said in lines
    )  # fmt: skip


def _columns() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
