"""A person's editor has one file, which is nobody else's to read, and which is gone afterwards."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from proxy import editor
from proxy.errors import SluiceError


def script(folder: Path, text: str) -> str:
    """An editor that is a shell script; ``$1`` is the file."""
    path = folder / "an editor"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def left(state: Path) -> list[str]:
    folder = state / editor.FOLDER
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"VISUAL": "code --wait", "EDITOR": "ed"}, ("code", "--wait")),
        ({"EDITOR": "'my editor' -x"}, ("my editor", "-x")),
        ({"VISUAL": " ", "EDITOR": "ed"}, ("ed",)),
    ],
)
def test_the_editor_is_the_one_that_its_user_names(
    environment: dict[str, str], words: tuple[str, ...]
) -> None:
    assert editor.editor(environment) == words


def test_without_a_name_it_is_vi_or_nano_and_without_those_an_error(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match="there is no editor"):
        editor.editor({"PATH": str(tmp_path)})
    for name in ("nano", "vi"):
        (tmp_path / name).touch(0o700)
        assert editor.editor({"PATH": str(tmp_path)}) == (name,)
    with pytest.raises(SluiceError, match="EDITOR cannot be read"):
        editor.editor({"EDITOR": "'"})


def test_the_file_is_its_owners_alone_and_is_gone_afterwards(tmp_path: Path) -> None:
    with editor.draft(tmp_path, "text é\n") as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for folder in (path.parent, path.parent.parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert editor.read(path) == "text é\n"
        (path.parent / ".request.txt.swp").write_text("what an editor leaves")
    assert left(tmp_path) == []


def test_the_file_is_gone_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), editor.draft(tmp_path, "text"):
        raise ZeroDivisionError
    assert left(tmp_path) == []


def test_what_a_killed_command_left_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom proxy import editor\n"
        "with editor.draft(Path(sys.argv[1]), 'x'):\n    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert editor.FILE in left(tmp_path)
    with editor.draft(tmp_path, "mine") as path:
        assert left(tmp_path) == [path.parent.name, editor.FILE]
        editor.sweep(tmp_path)
        assert editor.read(path) == "mine"


def test_a_link_in_the_place_of_a_left_over_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / editor.FOLDER).mkdir(mode=0o700)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / editor.FOLDER / "edit-x").symlink_to(kept)
    editor.sweep(tmp_path)
    assert (kept / "file").exists()


def test_a_folder_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / editor.FOLDER).mkdir(mode=0o755)
    (tmp_path / editor.FOLDER).chmod(0o755)
    with pytest.raises(SluiceError, match="not a folder of yours alone"), editor.draft(tmp_path, "x"):
        pass


def test_no_other_can_hold_the_lock_of_a_file_in_use(tmp_path: Path) -> None:
    with editor.draft(tmp_path, "x") as path:
        other = os.open(path.parent, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)


async def test_the_editor_changes_the_file(tmp_path: Path) -> None:
    with editor.draft(tmp_path, "amount 5000\n") as path:
        await editor.run([script(tmp_path, 'sed -i s/5000/40/ "$1"')], path)
        assert editor.read(path) == "amount 40\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("exit 3", "ended with status 3"),
        ("kill -9 $$", "killed by SIGKILL"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
    ],
)
async def test_an_editor_that_does_not_end_well_has_edited_nothing(
    tmp_path: Path, text: str, why: str
) -> None:
    with editor.draft(tmp_path, "x") as path, pytest.raises(SluiceError, match=why):
        await editor.run([script(tmp_path, text)], path)


async def test_an_editor_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with editor.draft(tmp_path, "x") as path, pytest.raises(SluiceError, match="cannot be started"):
        await editor.run([str(tmp_path / "none")], path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('rm "$1"', "No such file"),
        ('rm "$1"; ln -s /etc/hostname "$1"', "cannot be read"),
        ('rm "$1"; mkfifo "$1"', "it is no file"),
        ('printf "\\377" > "$1"', "no UTF-8"),
        ('head -c 1100000 /dev/zero > "$1"', "over 1048576 bytes"),
    ],
)
async def test_what_is_no_file_of_text_is_not_read(tmp_path: Path, text: str, why: str) -> None:
    with editor.draft(tmp_path, "x") as path:
        await editor.run([script(tmp_path, text)], path)
        with pytest.raises(SluiceError, match=why):
            editor.read(path)


@pytest.mark.parametrize("text", ["sleep 60", "trap '' TERM HUP; sleep 60 & wait; sleep 60"])
async def test_an_editor_that_nobody_waits_for_is_ended(tmp_path: Path, text: str) -> None:
    with editor.draft(tmp_path, "x") as path:
        told = script(tmp_path, f'echo $$ > "{tmp_path}/pid"\n{text}')
        running = asyncio.ensure_future(editor.run([told], path))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert left(tmp_path) == []


_RUN = """
import asyncio, os, signal, sys
from pathlib import Path
from proxy import editor
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"INTERRUPTED\\n"))
with editor.draft(Path(sys.argv[1]), "x\\n") as path:
    asyncio.run(editor.run([sys.argv[2]], path))
    print("EDITED", editor.read(path).strip(), flush=True)
print("OURS", os.tcgetpgrp(0) == os.getpgrp(), input(), flush=True)
"""


def test_keys_in_the_editor_reach_the_editor_alone_and_the_terminal_comes_back(tmp_path: Path) -> None:
    """Ctrl-C is the editor's, Ctrl-Z stops nobody for good, and modes it leaves are put back."""
    told = script(
        tmp_path,
        'trap "echo CAUGHT" INT; stty -echo; echo READY\n'
        'until [ -n "$word" ]; do read word; done; echo "$word" > "$1"',
    )
    child = pexpect.spawn(sys.executable, ["-c", _RUN, str(tmp_path), told], timeout=10, encoding="utf-8")
    try:
        child.expect("READY")
        child.send("\x1a")
        child.send("\x03")
        assert child.expect(["CAUGHT", "INTERRUPTED"]) == 0
        child.sendline("done")
        child.expect("EDITED done")
        child.sendline("echoed")
        child.expect("OURS True echoed")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)
    assert left(tmp_path) == []
