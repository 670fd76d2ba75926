"""Checks of this machine and of the state folder; each looks, and changes nothing."""

from __future__ import annotations

import resource
import socket
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from proxy.doctor.check import Check, failed, note, ok, wrong
from proxy.errors import SluiceError
from proxy.gate.ca import CERTIFICATE, KEY, open_authority
from proxy.ledger.library import SAFE_WITH_TWO_WRITERS, VERSION
from proxy.wire import Status

# No gate of this version ran before then: a clock that says so is wrong.
_FIRST_DAY: Final = datetime(2025, 1, 1, tzinfo=UTC)
_SOON: Final = timedelta(days=30)
_AHEAD: Final = 120.0  # seconds that a file may be of the future before the clock is doubted
_FILES_WANTED: Final = 4096


def state_folder(state: Path, uid: int) -> Check:
    """The folder with ledger, keys and control socket is this account's alone."""
    name = "state folder"
    try:
        found = state.stat()
    except FileNotFoundError:
        return ok(name, f"'{state}' is not there yet; the first start makes it")
    except OSError as error:
        return wrong(name, f"'{state}' cannot be opened: {error.strerror}", fix="name another with --state")
    mode = stat.S_IMODE(found.st_mode)
    why = "it holds the ledger, the keys and the control socket"
    if not stat.S_ISDIR(found.st_mode):
        return wrong(name, f"'{state}' is no folder", why, "name another with --state")
    if found.st_uid != uid:
        return wrong(
            name, f"'{state}' belongs to uid {found.st_uid}, not {uid}", why, "name your own: --state"
        )
    if mode & 0o067:
        return wrong(name, f"'{state}' is open to others (mode {mode:04o})", why, f"chmod 700 '{state}'")
    for folder in _exchangeable(state.resolve(), uid):
        what = f"'{folder}', above '{state}', can be written by others"
        return wrong(name, what, "they could put another folder in its place", f"chmod go-w '{folder}'")
    return ok(name, f"'{state}' is yours alone")


def _exchangeable(state: Path, uid: int) -> Iterator[Path]:
    for folder in state.parents:
        found = folder.stat()
        shared = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
        if shared or found.st_uid not in (0, uid):
            yield folder


def authority(state: Path, now: float) -> Check:
    """The CA matches its key, is valid today, and its key is readable for nobody else."""
    name = "CA"
    if not (state / KEY).exists() and not (state / CERTIFICATE).exists():
        return ok(name, "there is none yet; the first start makes one")
    moment = datetime.fromtimestamp(now, UTC)
    try:
        certificate = open_authority(state, moment).certificate
    except SluiceError as error:
        return failed(name, error)
    end = certificate.not_valid_after_utc
    if end - moment < _SOON:
        fix = f"remove '{state / KEY}' and '{state / CERTIFICATE}'; new ones are made at the next start"
        return note(name, f"it ends on {end:%Y-%m-%d}", "agents refuse the gate from then on", fix)
    return ok(name, f"it matches its key and is valid until {end:%Y-%m-%d}")


def clock(state: Path, now: float) -> Check:
    """The clock has not gone back: certificates, deadlines and entries carry its time."""
    name = "clock"
    why = "certificates, deadlines and the entries of the ledger carry its time"
    if now < _FIRST_DAY.timestamp():
        return wrong(name, f"it says {datetime.fromtimestamp(now, UTC):%Y-%m-%d}", why, "set it: timedatectl")
    for file in (state / "ledger.db", state / "ledger.db-wal"):
        if file.exists() and file.stat().st_mtime > now + _AHEAD:
            minutes = (file.stat().st_mtime - now) / 60
            what = f"'{file}' was written {minutes:.0f} minutes from now"
            return wrong(name, what, why, "set it: timedatectl")
    return ok(name, f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC")


def port(host: str, number: int) -> Check:
    """The address that `sluice up` would listen on is free (where no gate runs)."""
    name = "port"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            fix = f"stop what listens there (ss -ltnp 'sport = :{number}'), or take any: --listen {host}:0"
            return wrong(name, f"{host}:{number} cannot be had: {error.strerror}", "sluice up needs it", fix)
    return ok(name, f"{host}:{number} is free")


def gate(status: Status) -> list[Check]:
    """What the running gate says of itself."""
    name = "gate"
    found = []
    if status.locked:
        fix = "see that it has ended, then press u in the console of sluice up, or start the gate anew"
        found.append(wrong(name, "no decision is taken over its socket", status.locked, fix))
    if status.ledger_error:
        found.append(wrong(name, f"its ledger cannot be written: {status.ledger_error}", "so it refuses"))
    if status.policy_error:
        why = "the one in force has not changed"
        found.append(wrong(name, f"a changed policy does not load: {status.policy_error}", why))
    if status.paused:
        found.append(note(name, f"paused: {', '.join(status.paused)}", "it refuses", "sluice resume"))
    if status.shadow:
        found.append(note(name, "in shadow mode: everything flows", "", "start it without --shadow"))
    return found or [ok(name, f"it runs at {status.proxy} and decides")]


def sqlite() -> Check:
    """Which SQLite keeps the ledger."""
    version = ".".join(map(str, VERSION))
    if SAFE_WITH_TWO_WRITERS > VERSION:
        why = "with two writers it can lose commits; the gate has one, so leave the ledger to it"
        return note(
            "SQLite", f"version {version} is before 3.51.3", why, "open ledger.db read-only, if at all"
        )
    return ok("SQLite", f"version {version}")


def files() -> Check:
    """How many connections the gate may hold open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _FILES_WANTED:
        why = "a waiting request keeps one or two open"
        return note("open files", f"at most {hard} at once", why, f"raise it: ulimit -Hn {_FILES_WANTED}")
    return ok("open files", "enough for thousands of waiting requests")
