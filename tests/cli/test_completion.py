"""Completion for shells."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_every_verb(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "completion", shell], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for verb in ("up", "run", "approve", "policy", "ledger", "explain", "--hold-memory"):
        assert verb in done.stdout


def test_bash_takes_its_completion_and_completes_with_it() -> None:
    script = (
        f'eval "$({sys.executable} -m proxy completion bash)"; '
        "complete -p sluice; COMP_WORDS=(sluice app); COMP_CWORD=1; _shtab_sluice sluice app; "
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1].strip() == "approve", done.stderr
