"""A reviewer's keys: made, kept, opened by who knows the passphrase, and nowhere else to be had."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.errors import SluiceError
from proxy.keyring.agent import held
from proxy.keyring.asking import ask, new_passphrase
from proxy.keyring.files import KeyFile, Keys, is_encrypted, read_public
from proxy.keyring.opening import check_plain, opened
from proxy.signing import sshsig

from .agent import agent
from .making_keys import Key, ed25519, sk_ecdsa, sk_ed25519

PASSPHRASE = "correct horse"
KEYGEN = shutil.which("ssh-keygen")
needs_keygen = pytest.mark.skipif(KEYGEN is None, reason="ssh-keygen is not there")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "config" / "keys")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    """A key of ada's; nobody changes it."""
    return Keys(tmp_path_factory.mktemp("kept") / "keys").make("ada", PASSPHRASE)


def typed(*answers: str) -> tuple[object, list[str]]:
    """Somebody who types these, and the prompts that were seen."""
    left, seen = list(answers), []

    def answer(prompt: str) -> str:
        seen.append(prompt)
        return left.pop(0)

    return answer, seen


def said(caught: pytest.ExceptionInfo[SluiceError]) -> str:
    problem = caught.value.problems[0]
    return f"{problem.what} {problem.why} {problem.fix}"


def test_a_new_key_is_encrypted_and_its_owners_alone(keys: Keys) -> None:
    made = keys.make("ada", PASSPHRASE)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.folder.stat().st_mode) == 0o700
    assert is_encrypted(made.path.read_bytes())
    assert read_public(made.pub) == made.public
    assert PASSPHRASE.encode() not in made.path.read_bytes()


def test_a_key_never_takes_the_place_of_another(keys: Keys) -> None:
    first, second = keys.make("ada", PASSPHRASE), keys.make("ada", PASSPHRASE)
    assert (first.path.name, second.path.name) == ("ada", "ada-2")
    assert {one.public for one in keys} == {first.public, second.public}
    assert keys.find((second.public,)) == second
    keys.remove(second)
    assert keys.find((second.public,)) is None and keys.find((first.public,)) == first


def test_whoever_knows_the_passphrase_signs(kept: KeyFile) -> None:
    person, seen = typed("wrong", PASSPHRASE)
    signer = opened("ada", kept, person, {})
    assert sshsig.check(signer.sign(b"this"), b"this") == kept.public == signer.key
    assert len(seen) == 2 and seen[1].startswith("wrong;") and kept.public.id in seen[0]


def test_whoever_does_not_know_it_does_not(kept: KeyFile) -> None:
    person, seen = typed("a", "", "c")
    with pytest.raises(SluiceError, match="not the passphrase"):
        opened("ada", kept, person, {})
    assert len(seen) == 3


@needs_keygen
def test_ssh_keygen_opens_a_key_of_ours_and_we_open_one_of_its(kept: KeyFile, tmp_path: Path) -> None:
    words = [str(KEYGEN), "-y", "-P", PASSPHRASE, "-f", str(kept.path)]
    shown = subprocess.run(words, capture_output=True, check=True).stdout.decode()
    assert shown.startswith(kept.public.line)
    for kind in ("ed25519", "ecdsa", "rsa"):
        path = tmp_path / kind
        subprocess.run([str(KEYGEN), "-q", "-t", kind, "-N", PASSPHRASE, "-f", str(path)], check=True)
        file = KeyFile(read_public(path.with_suffix(".pub")), path)
        person, _ = typed(PASSPHRASE)
        assert sshsig.check(opened("ada", file, person, {}).sign(b"m"), b"m") == file.public


@needs_keygen
def test_a_key_without_a_passphrase_does_not_review(tmp_path: Path) -> None:
    path = tmp_path / "bare"
    subprocess.run([str(KEYGEN), "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    with pytest.raises(SluiceError) as caught:
        check_plain(KeyFile(read_public(path.with_suffix(".pub")), path), {})
    assert "no passphrase" in said(caught) and "ssh-keygen -p" in said(caught)


def test_a_key_that_others_can_read_does_not_review(keys: Keys) -> None:
    made = keys.make("ada", PASSPHRASE)
    made.path.chmod(0o644)
    with pytest.raises(SluiceError) as caught:
        opened("ada", made, typed(PASSPHRASE)[0], {})
    assert "chmod 600" in said(caught)


def test_a_key_that_an_agent_holds_does_not_review(kept: KeyFile, tmp_path: Path) -> None:
    in_agent = Key(kept.public, lambda data: data)
    with agent(tmp_path, [ed25519(), in_agent]) as environment:
        assert kept.public.blob in held(environment)
        with pytest.raises(SluiceError) as caught:
            opened("ada", kept, typed()[0], environment)
    assert "unseen" in said(caught) and "ssh-add -d" in said(caught)
    assert opened("ada", kept, typed(PASSPHRASE)[0], environment).key == kept.public


@pytest.mark.parametrize("answer", [b"", b"\0\0\0\1\5", b"\0\0\0\5\x0c\0\0\0\7", b"\xff" * 8, b"\0\0\0\1"])
def test_an_agent_that_talks_nonsense_holds_nothing(tmp_path: Path, answer: bytes) -> None:
    with agent(tmp_path, [], answer) as environment:
        assert held(environment) == frozenset()
    assert held({}) == held({"SSH_AUTH_SOCK": "/nowhere"}) == frozenset()


@needs_keygen
@pytest.mark.parametrize("make", [sk_ed25519, sk_ecdsa])
def test_a_security_key_signs_through_the_agent_that_has_it(
    keys: Keys, tmp_path: Path, make: type[Key]
) -> None:
    key = make()
    file = keys.adopt("ada", key.public, tmp_path / "id_sk")
    with agent(tmp_path, [key]) as environment:
        person, seen = typed()
        signer = opened("ada", file, person, environment | {"PATH": os.environ["PATH"]})
        assert sshsig.check(signer.sign(b"this"), b"this") == key.public
    assert not seen
    with pytest.raises(SluiceError, match="has not signed"):
        signer.sign(b"this")


@needs_keygen
def test_a_security_key_that_nobody_touched_has_not_signed(keys: Keys, tmp_path: Path) -> None:
    key = sk_ed25519(flags=0)
    file = keys.adopt("ada", key.public, tmp_path / "id_sk")
    with agent(tmp_path, [key]) as environment, pytest.raises(SluiceError) as caught:
        opened("ada", file, typed()[0], environment | {"PATH": os.environ["PATH"]}).sign(b"this")
    assert "touched" in said(caught)


def test_a_key_that_lies_elsewhere_stays_there(keys: Keys, kept: KeyFile) -> None:
    linked = keys.adopt("ada", kept.public, kept.path)
    assert linked.path.is_symlink() and linked.path.read_bytes() == kept.path.read_bytes()
    assert keys.adopt("ada", kept.public, kept.path) == linked
    assert opened("ada", linked, typed(PASSPHRASE)[0], {}).key == kept.public
    keys.remove(linked)
    assert kept.path.exists()


def test_a_private_key_of_another_public_one_does_not_sign(keys: Keys, kept: KeyFile) -> None:
    with pytest.raises(SluiceError, match="another key"):
        opened("ada", KeyFile(ed25519().public, kept.path), typed(PASSPHRASE)[0], {})


def test_what_is_no_key_is_passed_over_and_said_to_be_none(keys: Keys, kept: KeyFile, tmp_path: Path) -> None:
    keys.adopt("ada", kept.public, kept.path)
    (keys.folder / "junk.pub").write_bytes(b"\xff\xfe")
    assert [one.public for one in keys] == [kept.public]
    with pytest.raises(SluiceError, match="no public key"):
        read_public(keys.folder / "junk.pub")
    with pytest.raises(SluiceError, match="no private key"):
        is_encrypted(b"junk")
    with pytest.raises(SluiceError, match="cannot be opened"):
        read_public(tmp_path / "nothing")


def test_a_folder_that_others_write_to_takes_no_key(keys: Keys) -> None:
    keys.folder.mkdir(parents=True)
    keys.folder.chmod(0o777)
    with pytest.raises(SluiceError, match="others can write"):
        keys.make("ada", PASSPHRASE)


def test_a_new_passphrase_is_long_enough_and_typed_twice() -> None:
    assert new_passphrase(typed(PASSPHRASE, PASSPHRASE)[0]) == PASSPHRASE
    for answers in (("short",), (PASSPHRASE, PASSPHRASE + " ")):
        with pytest.raises(SluiceError):
            new_passphrase(typed(*answers)[0])


@pytest.fixture
def no_terminal() -> Iterator[None]:
    if os.path.exists("/dev/tty"):
        try:
            os.close(os.open("/dev/tty", os.O_RDWR))
        except OSError:
            yield
            return
        pytest.skip("there is a terminal")
    yield


def test_without_a_terminal_nothing_is_asked(no_terminal: None) -> None:
    with pytest.raises(SluiceError, match="there is none"):
        ask("passphrase")
