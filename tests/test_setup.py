"""Setting up says in one line what is missing."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def checkout(folder: Path) -> Path:
    """As much of a checkout as setting up looks at."""
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "setup.sh", folder / "scripts" / "setup.sh")
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def tools(folder: Path, python: str) -> Path:
    """A PATH that holds what the script uses, and a Python of our making."""
    folder.mkdir()
    for name in ("bash", "dirname", "cat", "sha256sum", "id", "rm"):
        (folder / name).symlink_to(shutil.which(name) or "")
    for name in ("python3", "python"):
        (folder / name).write_text(f"#!/bin/sh\n{python}\n")
        (folder / name).chmod(0o755)
    return folder


def set_up(checkout: Path, path: Path) -> subprocess.CompletedProcess[str]:
    command = [str(checkout / "scripts" / "setup.sh"), "run"]
    return subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, timeout=30)


def test_a_python_that_is_too_old_gets_one_clear_line(tmp_path: Path) -> None:
    old = tools(tmp_path / "bin", 'case "$1" in --version) echo "Python 3.9.2";; *) exit 1;; esac')
    done = set_up(checkout(tmp_path / "sluice"), old)
    assert done.returncode == 2
    assert done.stderr == "sluice: error: Python 3.12 or newer is needed, this is Python 3.9.2\n"


def test_a_python_without_venv_is_told_how_to_get_it(tmp_path: Path) -> None:
    bare = tools(tmp_path / "bin", 'case "$1" in --version) echo "Python 3.12.3";; -m) exit 1;; esac')
    (tmp_path / "bin" / "id").unlink()
    (tmp_path / "bin" / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "bin" / "id").chmod(0o755)
    done = set_up(checkout(tmp_path / "sluice"), bare)
    assert done.returncode == 2
    assert "sluice: fix: sudo apt install python3-venv\n" in done.stderr


def test_what_is_set_up_already_is_left_alone(tmp_path: Path) -> None:
    there = checkout(tmp_path / "sluice")
    (there / ".venv" / "bin").mkdir(parents=True)
    (there / ".venv" / "bin" / "sluice").write_text("#!/bin/sh\n")
    (there / ".venv" / "bin" / "sluice").chmod(0o755)
    wanted = subprocess.run(
        "cat requirements.lock pyproject.toml | sha256sum",
        shell=True,
        cwd=there,
        capture_output=True,
        text=True,
    ).stdout
    (there / ".venv" / ".sluice-run").write_text(wanted)
    done = subprocess.run([there / "scripts" / "setup.sh"], capture_output=True, text=True, env=os.environ)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_lock_files_name_versions_with_hashes_and_no_registry() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert "http" not in "\n".join(line for line in text.splitlines() if "://" in line)
        assert "--index-url" not in text
        pinned = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert pinned and all("==" in line and line.rstrip().endswith("\\") for line in pinned)
