"""Each kind of witness keeps what it is sent, says so only then, and can be compared with."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from endpoints import Collector, Witness, serving
from heads import LEAVES, SIGNER, head

from proxy.errors import Exit, SluiceError
from proxy.ledger.anchors import Place
from proxy.ledger.seal import Seal
from proxy.merkle import Tree
from proxy.note import Signer, encode64, open_note
from proxy.witness.c2sp import CosigningWitness
from proxy.witness.command import CommandWitness
from proxy.witness.files import FilePlace, FileWitness
from proxy.witness.git import BRANCH, GitPlace, GitWitness
from proxy.witness.http import HttpWitness
from proxy.witness.kinds import Nearby, place, witness
from proxy.witness.syslog import SyslogWitness


def notes(place: Place) -> list[bytes | None]:
    return [kept.note for kept in place.read()]


# -- files -----------------------------------------------------------------------------


def test_a_file_keeps_every_head_in_order(tmp_path: Path, heads: list[Seal]) -> None:
    path = tmp_path / "notes"
    FileWitness(path).send(heads[:2])
    FileWitness(path).send(heads[2:])
    assert notes(FilePlace(path)) == [one.note for one in heads]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_write_that_a_crash_has_torn_costs_no_other(tmp_path: Path, heads: list[Seal]) -> None:
    path = tmp_path / "notes"
    FileWitness(path).send(heads[:2])
    os.truncate(path, path.stat().st_size - 30)
    FileWitness(path).send(heads[2:])
    found = notes(FilePlace(path))
    assert found[0] == heads[0].note
    assert found[-2:] == [heads[2].note, heads[3].note]


def test_what_is_no_file_is_not_written(tmp_path: Path, heads: list[Seal]) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "none" / "notes", tmp_path / "pipe", Path("/dev/full")):
        with pytest.raises((OSError, SluiceError)):
            FileWitness(path).send(heads)


def test_a_file_that_is_not_there_is_an_error_where_it_was_named_to_compare_with(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match="cannot be read") as caught:
        notes(place(str(tmp_path / "none")))
    assert caught.value.exit is Exit.WRONG
    assert notes(FileWitness(tmp_path / "none").place) == []


# -- git -------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", str(path)], check=True)
    return path


def git(repository: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(repository), *words], check=True, capture_output=True, text=True
    ).stdout


def test_a_repository_keeps_each_head_as_a_commit_and_its_work_tree_is_left_alone(
    repository: Path, heads: list[Seal]
) -> None:
    (repository / "mine").write_text("x")
    hook = repository / ".git" / "hooks" / "reference-transaction"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    git_witness = GitWitness(repository, clock=lambda: 1_785_000_000.0)
    git_witness.send(heads[:1])
    git_witness.send(heads[1:])
    assert [(kept.note, kept.time) for kept in GitPlace(repository).read()] == [
        (one.note, 1_785_000_000) for one in heads
    ]
    assert git(repository, "status", "--porcelain") == "?? mine\n"
    assert git(repository, "show", f"{BRANCH}:checkpoint").encode() == heads[-1].note
    git(repository, "fsck", "--strict")


def test_a_repository_with_a_remote_is_pushed_and_a_remote_that_refuses_is_an_error(
    repository: Path, heads: list[Seal], tmp_path: Path
) -> None:
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", str(remote)], check=True)
    git(repository, "remote", "add", "origin", str(remote))
    GitWitness(repository).send(heads[:2])
    assert notes(place(f"git:{remote}")) == [one.note for one in heads[:2]]
    git(remote, "config", "receive.denyNonFastForwards", "true")
    git(repository, "update-ref", "-d", BRANCH)  # somebody begins the history anew
    with pytest.raises(SluiceError, match="git push"):
        GitWitness(repository).send(heads[2:])
    assert notes(GitPlace(remote)) == [one.note for one in heads[:2]]


def test_what_is_no_repository_is_an_error(tmp_path: Path, heads: list[Seal]) -> None:
    with pytest.raises(SluiceError, match="git fast-import"):
        GitWitness(tmp_path).send(heads)
    with pytest.raises(SluiceError):
        notes(GitPlace(tmp_path))
    with pytest.raises((OSError, SluiceError)):
        notes(GitPlace(tmp_path / "none"))


def test_a_repository_without_checkpoints_keeps_none(repository: Path) -> None:
    assert notes(place(str(repository))) == []


def test_variables_that_point_git_elsewhere_do_not(
    repository: Path, heads: list[Seal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    GitWitness(repository).send(heads[:1])
    assert notes(GitPlace(repository)) == [heads[0].note]


# -- a command -------------------------------------------------------------------------


def test_a_command_gets_each_head_on_stdin(tmp_path: Path, heads: list[Seal]) -> None:
    out = tmp_path / "out put"
    code = f"import sys; open({str(out)!r}, 'ab').write(sys.stdin.buffer.read())"
    CommandWitness([sys.executable, "-c", code]).send(heads)
    assert out.read_bytes() == b"".join(one.note for one in heads)
    assert notes(FilePlace(out)) == [one.note for one in heads]


def test_a_command_that_fails_has_kept_nothing(heads: list[Seal]) -> None:
    code = "import sys; print('no room', file=sys.stderr); sys.exit(3)"
    with pytest.raises(SluiceError, match="ended with 3: no room"):
        CommandWitness([sys.executable, "-c", code]).send(heads)
    with pytest.raises(OSError, match="none"):
        CommandWitness(["/none/none"]).send(heads)
    assert CommandWitness(["/usr/bin/send", "--token=secret"]).name == "command:send"


def test_a_command_that_hangs_is_ended(heads: list[Seal], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.witness.command._TIMEOUT", 0.1)
    with pytest.raises(SluiceError, match="did not end"):
        CommandWitness(["sleep", "30"]).send(heads)


# -- syslog ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["socket", "udp"])
def test_a_log_gets_each_head_as_a_line_and_can_be_compared_with(
    tmp_path: Path, heads: list[Seal], kind: str
) -> None:
    family = socket.AF_UNIX if kind == "socket" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as collector:
        collector.bind(str(tmp_path / "log") if kind == "socket" else ("127.0.0.1", 0))
        collector.settimeout(5)
        address = str(tmp_path / "log") if kind == "socket" else collector.getsockname()
        SyslogWitness(address).send(heads)
        lines = [collector.recv(65_536) for _ in heads]
    assert all(
        line.startswith(b"<85>sluice: sluice-checkpoint ") and line.count(b"\n") == 1 for line in lines
    )
    log = tmp_path / "messages"
    log.write_bytes(
        b"".join(b"Jul 25 17:20:00 host app: something\nJul 25 17:20:00 host " + line for line in lines)
    )
    assert [one for one in notes(FilePlace(log)) if one] == [one.note for one in heads]


def test_a_log_that_is_not_there_is_an_error(tmp_path: Path, heads: list[Seal]) -> None:
    with pytest.raises(OSError):
        SyslogWitness(str(tmp_path / "none")).send(heads)


# -- HTTP ------------------------------------------------------------------------------


def test_an_endpoint_is_posted_each_head_and_a_secret_in_its_address_is_not_shown(heads: list[Seal]) -> None:
    collector = Collector()
    with serving(collector) as url:
        address = url.replace("http://", "http://me:s3cret@") + "/keep/here?token=s3cret"
        HttpWitness(address).send(heads)
        assert "s3cret" not in HttpWitness(address).name
    assert collector.bodies == [one.note for one in heads]
    assert set(collector.paths) == {"/keep/here?token=s3cret"}
    assert collector.headers[0]["Authorization"] == "Basic bWU6czNjcmV0"


@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
def test_any_answer_but_yes_has_kept_nothing(heads: list[Seal], status: int) -> None:
    collector = Collector()
    collector.status = status
    with serving(collector) as url, pytest.raises(SluiceError, match=str(status)):
        HttpWitness(url).send(heads)
    assert len(collector.paths) == 1


def test_an_endpoint_that_does_not_answer_or_is_no_http_is_an_error(heads: list[Seal]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OSError):
        HttpWitness(f"http://127.0.0.1:{port}/").send(heads)
    with pytest.raises(OSError):
        HttpWitness(f"https://127.0.0.1:{port}/").send(heads)


# -- C2SP ------------------------------------------------------------------------------


def cosigning(url: str, remote: Witness, kept: Path) -> CosigningWitness:
    def trees(size: int) -> Tree:
        return head(size).tree

    return CosigningWitness(
        f"{url}/w", remote.key, FileWitness(kept), trees, lambda start, end: LEAVES[start:end]
    )


def test_a_witness_signs_each_head_that_goes_on_from_the_one_it_knows(
    tmp_path: Path, heads: list[Seal]
) -> None:
    remote = Witness(SIGNER.key)
    with serving(remote) as url:
        ours = cosigning(url, remote, tmp_path / "kept")
        for one in heads:
            ours.send([one])
        # After a restart it asks what the witness knows.
        cosigning(url, remote, tmp_path / "kept").send([heads[-1], head(30)])
    assert remote.asked == [0, 1, 2, 5, 0, 9]
    kept = notes(FilePlace(tmp_path / "kept"))
    assert len(kept) == 5
    for note in kept:
        opened = open_note(note or b"", [SIGNER.key, remote.key])
        assert opened.time == remote.time
        assert len(opened.signatures) == 2


def test_a_witness_signs_the_same_head_once_more_at_a_later_time(tmp_path: Path) -> None:
    remote = Witness(SIGNER.key)
    with serving(remote) as url:
        ours = cosigning(url, remote, tmp_path / "kept")
        ours.send([head(9)])
        remote.time += 600
        ours.send([head(9)])
    assert remote.asked == [0, 9]
    times = [
        open_note(note or b"", [SIGNER.key, remote.key]).time for note in notes(FilePlace(tmp_path / "kept"))
    ]
    assert times == [remote.time - 600, remote.time]


def test_a_witness_refuses_a_history_that_was_cut_or_goes_another_way(
    tmp_path: Path, heads: list[Seal]
) -> None:
    remote = Witness(SIGNER.key)
    with serving(remote) as url:
        cosigning(url, remote, tmp_path / "kept").send([head(9)])
        with pytest.raises(SluiceError, match="9 entries, and the ledger has 5"):
            cosigning(url, remote, tmp_path / "kept").send([head(5)])
        remote.root = bytes(32)
        with pytest.raises(SluiceError, match="another history"):
            cosigning(url, remote, tmp_path / "kept").send([head(9)])
        with pytest.raises(SluiceError, match="422"):
            cosigning(url, remote, tmp_path / "kept").send([head(12)])
        remote.log = Signer("sluice/other", Ed25519PrivateKey.from_private_bytes(bytes(32))).key
    assert len(notes(FilePlace(tmp_path / "kept"))) == 1


def test_an_answer_without_the_signature_that_was_asked_for_is_none(tmp_path: Path) -> None:
    remote, other = Witness(SIGNER.key), Witness(SIGNER.key)
    with serving(remote) as url, pytest.raises(SluiceError, match="no signature"):
        cosigning(url, other, tmp_path / "kept").send([head(3)])
    assert not (tmp_path / "kept").exists()


# -- by name ---------------------------------------------------------------------------


def test_a_witness_is_one_line(tmp_path: Path) -> None:
    nearby = Nearby(tmp_path / "ledger.db", tmp_path)
    vkey = str(Witness(SIGNER.key).key)
    for text, kind, name in (
        ("file:/var/notes", FileWitness, "file:/var/notes"),
        ("git:/var/repo", GitWitness, "git:/var/repo"),
        ("command:/bin/send --to 'a b'", CommandWitness, "command:send"),
        ("syslog:", SyslogWitness, "syslog:/dev/log"),
        ("syslog:10.0.0.1:514", SyslogWitness, "syslog:10.0.0.1:514"),
        ("syslog:[::1]:514", SyslogWitness, "syslog:::1:514"),
        ("https://me:x@h.example/keep", HttpWitness, "https://h.example/keep"),
        (f"c2sp:https://w.example/x {vkey}", CosigningWitness, "c2sp:witness.example/w1"),
    ):
        found = witness(text, nearby)
        assert (type(found), found.name) == (kind, name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file",
        "file:",
        "/var/notes",
        "git:",
        "command:",
        "command:'a",
        "syslog:host",
        "syslog:host:0",
        "syslog:host:99999",
        "https://",
        "http://h:x/",
        "c2sp:https://w.example/",
        "c2sp:https://w.example/ nokey",
        f"c2sp:https://w.example/ {SIGNER.key}",
        "ftp://h/",
    ],
)
def test_a_line_that_is_no_witness_is_refused_before_anything_starts(tmp_path: Path, text: str) -> None:
    with pytest.raises(SluiceError) as caught:
        witness(text, Nearby(tmp_path / "ledger.db", tmp_path))
    assert caught.value.exit is Exit.WRONG


def test_only_a_file_or_a_repository_can_be_compared_with(tmp_path: Path) -> None:
    assert isinstance(place(str(tmp_path / "notes")), FilePlace)
    assert isinstance(place("file:notes"), FilePlace)
    assert isinstance(place(str(tmp_path)), GitPlace)
    for text in ("https://h/", "command:x", "syslog:", "file:"):
        with pytest.raises(SluiceError):
            place(text)


def test_base64_of_a_note_in_a_log_is_taken_only_behind_its_mark(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x " + encode64(head(3).note).encode() + b"\nsluice-checkpoint !!!\n")
    assert [one for one in notes(FilePlace(log)) if one] == []
