"""Ends, good and bad: stopped, killed, out of disk. Whoever waits is told, and nothing slips out."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, as_completed, wait
from pathlib import Path
from typing import Any

import pytest
import requests

from .clients import with_requests
from .conftest import HOST, RULES, Started
from .product import PATIENCE, Gate, policy, sluice, until, up
from .upstream import Upstream

ORDER = b'{"amount": 250}'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def flags(home: Path, upstream: Upstream, upstream_ca: str) -> list[str]:
    return [f"--policy={policy(home, RULES)}", *upstream.flags, upstream_ca]


@pytest.fixture
def waiting(started: Started) -> Callable[[Gate, str, int], list[Future[Any]]]:
    """Agents of which each waits for a hold."""

    def begin(gate: Gate, mark: str, count: int) -> list[Future[Any]]:
        url = f"https://{HOST}/orders/{mark}"
        asking = [started(with_requests, gate, "POST", f"{url}-{n:02}.", ORDER) for n in range(count)]
        # On disk, not only on the desk.
        until(lambda: sum(mark in entry.get("url", "") for entry in gate.entries(kind="held")) >= count)
        return asking

    return begin


type Waiting = Callable[[Gate, str, int], list[Future[Any]]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_on_a_stop_everyone_who_waits_is_told_that_nobody_decided(
    home: Path, flags: list[str], upstream: Upstream, waiting: Waiting, mark: str, number: int
) -> None:
    with up(home, *flags) as gate:
        asking = waiting(gate, mark, 50)
        began = time.monotonic()
        assert gate.stop(number) == 0
        assert time.monotonic() - began < 5
        told = [one.result(PATIENCE) for one in asking]
    assert {(one.status, one.problem["decision"], one.problem["retry"]) for one in told} == {
        (503, "unavailable", True)
    }
    assert upstream.got(mark) == []
    assert gate.sluice("ledger", "verify").status == 0
    assert gate.entries()[-1]["kind"] == "stopped"
    assert len(gate.entries(kind="decided", decision="unavailable")) == 50
    assert gate.sluice("holds").status == 3


def test_a_stop_waits_for_no_stream_and_says_that_its_end_is_unknown(
    home: Path, flags: list[str], upstream: Upstream
) -> None:
    with up(home, *flags) as gate:
        proxies = {"https": gate.proxy}
        url = f"https://{HOST}/events"
        with requests.get(url, proxies=proxies, verify=gate.ca, stream=True, timeout=PATIENCE) as answer:
            upstream.say(b"data: 1\n\n")
            parts = answer.iter_content(None)
            assert next(parts) == b"data: 1\n\n"
            assert gate.stop() == 0
            with pytest.raises(requests.RequestException):
                list(parts)
        [decided] = gate.entries(kind="decided")
        assert [entry["id"] for entry in gate.entries(kind="unknown")] == [decided["id"]]
        assert gate.sluice("ledger", "verify").status == 0


def test_answers_and_a_stop_at_the_same_moment_have_one_end_each(
    home: Path, flags: list[str], upstream: Upstream, waiting: Waiting, started: Started, mark: str
) -> None:
    with up(home, *flags) as gate:
        asking = waiting(gate, mark, 20)
        answering = [started(gate.answer, hold, True) for hold in gate.holds()]
        next(as_completed(answering))
        assert gate.stop() == 0
        wait([*answering, *asking], PATIENCE)
        decided = {entry["url"].rpartition("/")[2]: entry for entry in gate.entries(kind="decided")}
        assert len(decided) == 20
        for url, entry in decided.items():
            arrived = len(upstream.got(url))
            lost = gate.entries(kind="failed", id=entry["id"]) + gate.entries(kind="unknown", id=entry["id"])
            if entry["decision"] == "approved":
                assert arrived == 1 or lost
            else:
                assert (entry["decision"], arrived) == ("unavailable", 0)
        assert gate.sluice("ledger", "verify").status == 0


def test_after_a_kill_the_next_start_says_what_was_cut_off_and_nothing_was_sent(
    home: Path, flags: list[str], upstream: Upstream, waiting: Waiting, mark: str
) -> None:
    with up(home, *flags) as gate:
        asking = waiting(gate, mark, 3)
        assert with_requests(gate, "GET", f"https://{HOST}/books/{mark}").status == 200
        gate.stop(signal.SIGKILL)
        assert all(one.exception(PATIENCE) for one in asking)
    assert gate.sluice("ledger", "verify").status == 0
    with up(home, *flags) as gate:
        assert re.search("3 holds .*cut off", gate.talk)
        assert "did not stop in order" in gate.talk
        cut = gate.entries(kind="decided", decision="cut_off")
        assert len(cut) == 3
        assert {entry["hold"] for entry in cut} == {entry["hold"] for entry in gate.entries(kind="held")}
        late = gate.sluice("approve", cut[0]["hold"])
        assert late.status == 1
        assert gate.holds() == ()
        assert gate.stop() == 0
    assert gate.sluice("ledger", "verify").status == 0
    assert upstream.got(f"orders/{mark}") == []


def test_an_agent_may_ask_again_after_a_kill_and_is_held_again(
    home: Path, flags: list[str], upstream: Upstream, waiting: Waiting, mark: str
) -> None:
    """An approval belongs to one hold: it does not outlive it."""
    with up(home, *flags) as gate:
        waiting(gate, mark, 1)
        gate.stop(signal.SIGKILL)
    with up(home, *flags) as gate:
        [asking] = waiting(gate, mark, 1)
        gate.answer(gate.held(mark), True)
        assert asking.result(PATIENCE).status == 200
    assert len(upstream.got(mark)) == 1


def test_a_pause_outlives_a_kill_until_somebody_ends_it(
    home: Path, flags: list[str], upstream: Upstream, mark: str
) -> None:
    url = f"https://{HOST}/free/{mark}"
    with up(home, *flags) as gate:
        assert gate.sluice("pause").status == 0
        until(lambda: gate.entries(kind="paused"))
        gate.stop(signal.SIGKILL)
    with up(home, *flags) as gate:
        assert gate.status().paused == ("*",)
        assert with_requests(gate, "POST", url, ORDER).problem["decision"] == "refused"
        assert "paused since before this start: *" in "".join(gate.said)
        assert gate.sluice("resume").status == 0
        assert with_requests(gate, "POST", url, ORDER).status == 200
    assert len(upstream.got(mark)) == 1


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command of whoever looks after disks: these lie where not everybody's PATH leads."""
    places = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/sbin"]
    command = shutil.which(str(words[0]), path=os.pathsep.join(places))
    if command is None:
        pytest.skip(f"there is no {words[0]} here")
    return subprocess.run([command, *words[1:]], capture_output=True, text=True)


def mount(folder: Path, *words: str | Path) -> None:
    """Mount a file system, or skip the test where that is not allowed."""
    folder.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("mounting a disk needs root")
    mounted = run("mount", *words, folder)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    folder = home / "disk"
    mount(folder, "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs")
    yield folder
    run("umount", "--lazy", folder)


class Worn:
    """An ext4 in a file, mounted so that its first error makes it read-only, as most systems do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._image = folder.with_name("disk.img")
        with self._image.open("wb") as file:
            file.truncate(24 * 1024 * 1024)
        if run("mkfs.ext4", "-q", "-F", "-m", "0", self._image).returncode:
            pytest.skip("no ext4 can be made here")
        self.mount()
        folder.chmod(0o700)

    def mount(self) -> None:
        mount(self.folder, "-o", "loop,errors=remount-ro", self._image)

    def fail(self) -> None:
        """An error, by the switch that the kernel has for tests."""
        device = Path(run("findmnt", "-no", "SOURCE", self.folder).stdout.strip())
        switch = Path("/sys/fs/ext4") / device.name / "trigger_fs_error"
        if not switch.exists():
            pytest.skip("this kernel has no switch for an error of ext4")
        switch.write_text("1")
        with pytest.raises(OSError, match="Read-only file system"):
            (self.folder / "probe").touch()

    def mend(self) -> None:
        """What an operator does: unmount, check, mount again."""
        assert run("umount", self.folder).returncode == 0
        assert run("e2fsck", "-fy", self._image).returncode in (0, 1)
        self.mount()


@pytest.fixture
def worn_disk(home: Path) -> Iterator[Worn]:
    disk = Worn(home / "worn")
    yield disk
    run("umount", "--lazy", disk.folder)


def test_on_a_full_disk_an_approval_is_none_and_room_brings_it_back(
    home: Path, flags: list[str], upstream: Upstream, waiting: Waiting, mark: str, small_disk: Path
) -> None:
    with up(home, *flags, ledger=small_disk / "ledger.db") as gate:
        [asking] = waiting(gate, mark, 1)
        with (
            pytest.raises(OSError, match="No space"),
            (small_disk / "filler").open("wb", buffering=0) as filler,
        ):
            while True:
                filler.write(bytes(4096))
        cannot_approve(gate, asking, mark)
        assert upstream.got(mark) == []
        (small_disk / "filler").unlink()
        recovers(gate, upstream, mark)
        assert gate.stop() == 0
        assert gate.sluice("ledger", "verify", gate.ledger).status == 0


def test_while_the_ledger_cannot_grow_nothing_leaves_and_everyone_is_told(
    home: Path, flags: list[str], upstream: Upstream, waiting: Waiting, mark: str
) -> None:
    with up(home, *flags) as gate:
        [asking] = waiting(gate, mark, 1)
        before = resource.prlimit(gate.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(gate.process.pid, resource.RLIMIT_FSIZE, (4096, before[1]))
        cannot_approve(gate, asking, mark)
        for method, path in (("GET", "books"), ("POST", "free"), ("POST", "orders")):
            told = with_requests(gate, method, f"https://{HOST}/{path}/{mark}", ORDER)
            assert (told.status, told.problem["decision"]) == (503, "unavailable")
        assert upstream.got(mark) == []
        assert gate.status().ledger_error
        resource.prlimit(gate.process.pid, resource.RLIMIT_FSIZE, before)
        recovers(gate, upstream, mark)
        assert gate.stop() == 0
        assert gate.sluice("ledger", "verify").status == 0


def test_a_disk_that_its_kernel_has_made_read_only_loses_nothing_and_lets_nothing_out(
    home: Path, flags: list[str], upstream: Upstream, waiting: Waiting, mark: str, worn_disk: Worn
) -> None:
    ledger = worn_disk.folder / "ledger.db"
    with up(home, *flags, ledger=ledger) as gate:
        [answered] = waiting(gate, f"{mark}/yes", 1)
        gate.answer(gate.held(mark), True)
        assert answered.result(PATIENCE).status == 200
        until(lambda: gate.entries(kind="completed"))
        first, second = waiting(gate, f"{mark}/no", 2)
        acknowledged = gate.entries()
        worn_disk.fail()
        cannot_approve(gate, first, f"{mark}/no-00")
        for method, path in (("GET", "books"), ("POST", "free"), ("POST", "orders")):
            told = with_requests(gate, method, f"https://{HOST}/{path}/{mark}", ORDER)
            assert (told.status, told.problem["decision"]) == (503, "unavailable")
        assert "ead-only" in gate.status().ledger_error or "I/O" in gate.status().ledger_error
        assert gate.stop() == 0
        assert second.result(PATIENCE).problem["decision"] == "unavailable"
    assert len(upstream.got(mark)) == 1

    worn_disk.mend()

    with up(home, *flags, ledger=ledger) as gate:
        assert gate.entries()[: len(acknowledged)] == acknowledged
        ended = {
            entry["hold"]: entry["decision"] for entry in gate.entries(kind="decided") if "hold" in entry
        }
        assert sorted(ended.values()) == ["approved", "cut_off", "cut_off"]
        [again] = waiting(gate, f"{mark}/no", 1)
        gate.answer(gate.held(mark), True)
        assert again.result(PATIENCE).status == 200
        assert gate.stop() == 0
        assert gate.sluice("ledger", "verify", ledger).status == 0
    assert len(upstream.got(mark)) == 2


def test_a_ledger_on_a_read_only_disk_is_read_and_not_written(
    home: Path, flags: list[str], upstream: Upstream, waiting: Waiting, mark: str, small_disk: Path
) -> None:
    def remount(how: str) -> int:
        return run("mount", "-o", f"remount,{how}", small_disk).returncode

    ledger = small_disk / "ledger.db"
    with up(home, *flags, ledger=ledger) as gate:
        [asking] = waiting(gate, mark, 1)
        assert remount("ro") != 0, "the kernel takes no disk away that is written to"
        gate.answer(gate.held(mark), True)
        assert asking.result(PATIENCE).status == 200
        assert gate.stop() == 0
        before = gate.entries()
    assert remount("ro") == 0
    with (
        pytest.raises(AssertionError, match=r"Read-only file system\nsluice: why: .*\nsluice: fix: "),
        up(home, *flags, ledger=ledger),
    ):
        pass
    for words in (("verify",), ("show",), ("export", "-o", home / "out.jsonl"), ("checkpoint",)):
        done = gate.sluice("ledger", words[0], ledger, *words[1:])
        assert (done.status, words) == (0, words), done.err
    assert sluice("ledger", "verify", home / "out.jsonl", home=home).status == 0
    assert remount("rw") == 0
    with up(home, *flags, ledger=ledger) as gate:
        assert gate.entries()[: len(before)] == before
        assert gate.stop() == 0


def cannot_approve(gate: Gate, asking: Future[Any], mark: str) -> None:
    """An approval that cannot be written down is none."""
    answered = gate.sluice("approve", gate.held(mark).id)
    assert answered.status == 1
    assert "could not be written down, so nothing was sent" in answered.err
    assert asking.result(PATIENCE).problem["decision"] == "unavailable"


def recovers(gate: Gate, upstream: Upstream, mark: str) -> None:
    """Once it can write again, it says so in the ledger and goes on."""
    until(lambda: not gate.status().ledger_error)
    assert with_requests(gate, "GET", f"https://{HOST}/books/{mark}").status == 200
    assert len(upstream.got(mark)) == 1
    assert gate.entries(kind="recovered")
