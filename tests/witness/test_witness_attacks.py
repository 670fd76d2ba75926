"""Whatever kind of witness kept a head: a cut, a rewrite, an older copy and a fork disagree with it."""

from __future__ import annotations

import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from endpoints import Collector, Witness, serving
from ledgers import NOW, codes, verified
from test_ledger_levels import LEVELS, Kit, kit, whole

from proxy.witness.kinds import Nearby, place, witness

__all__ = ["kit", "whole"]

type Keeper = Callable[[Kit, Path], AbstractContextManager[str]]
"""Starts what keeps heads; yields the line that configures it; afterwards `kept` is what can be read."""


@contextmanager
def file(kit: Kit, folder: Path) -> Iterator[str]:
    yield f"file:{folder / 'kept'}"


@contextmanager
def git(kit: Kit, folder: Path) -> Iterator[str]:
    subprocess.run(["git", "init", "-q", "--bare", str(folder / "kept")], check=True)
    yield f"git:{folder / 'kept'}"


@contextmanager
def command(kit: Kit, folder: Path) -> Iterator[str]:
    script = f"cat >> {shlex.quote(str(folder / 'kept'))}"
    yield f"command:sh -c {shlex.quote(script)}"


@contextmanager
def syslog(kit: Kit, folder: Path) -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(5)
        yield f"syslog:127.0.0.1:{collector.getsockname()[1]}"
        heard = [collector.recv(65_536) for _ in (kit.first, kit.anchored)]
        (folder / "kept").write_bytes(b"\n".join(b"Jul 25 17:20:00 host " + line for line in heard))


@contextmanager
def http(kit: Kit, folder: Path) -> Iterator[str]:
    collector = Collector()
    with serving(collector) as url:
        yield f"{url}/notes"
    (folder / "kept").write_bytes(b"\n".join(collector.bodies))


@contextmanager
def c2sp(kit: Kit, folder: Path) -> Iterator[str]:
    remote = Witness(kit.vkey)
    with serving(remote) as url:
        yield f"c2sp:{url}/w {remote.key}"
    (folder / "cosigned.notes").rename(folder / "kept")


KINDS = [file, git, command, syslog, http, c2sp]
ATTACKS = {
    "cut, and sign with the stolen key": ("anchor_cut", "entries 50 to 61 are cut off"),
    "edit, chain anew and sign with the stolen key": ("anchor_root", "entries 0 to 39 are not those"),
    "an older copy put back": ("anchor_cut", "entries 41 to 61 are cut off"),
    "a fork that goes on honestly": ("anchor_root", "entries 40 to 61 are not those"),
}
"""What is found, and the entries that it says are affected: no more than the two heads leave open."""


@pytest.mark.parametrize("keeper", KINDS, ids=lambda keeper: keeper.__name__)
def test_each_kind_shows_each_attack_that_nothing_else_does(kit: Kit, tmp_path: Path, keeper: Keeper) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    with keeper(kit, folder) as line:
        for head in (kit.first, kit.anchored):
            witness(line, Nearby(kit.path, folder)).send([head])
    honest = verified(kit.path, NOW + 3600, keys=[kit.vkey], against=[place(str(folder / "kept"))])
    assert (honest.level, honest.findings) == ("anchored", ())
    before, key = kit.path.read_bytes(), kit.path.with_name("ledger.key").read_bytes()
    assert (kit.first.tree.size, kit.anchored.tree.size) == (40, 62)
    for name, (code, affected) in ATTACKS.items():
        attack, *_ = LEVELS[name]
        attack(kit)
        report = verified(kit.path, NOW + 3600, keys=[kit.vkey], against=[place(str(folder / "kept"))])
        assert codes(report) == {code}, name
        [finding] = report.findings
        assert affected in finding.what and finding.seq == int(affected.split()[1]), name
        assert kit.report("signed").ok, "and without the witness nothing is seen"
        for suffix in ("-wal", "-shm"):
            kit.path.with_name(kit.path.name + suffix).unlink(missing_ok=True)
        kit.path.write_bytes(before)
        kit.path.with_name("ledger.key").write_bytes(key)
