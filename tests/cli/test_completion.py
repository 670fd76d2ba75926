"""Completion for shells."""

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from proxy.cli.examples import EXAMPLES
from proxy.cli.parser import build
from proxy.errors import SluiceError


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_every_verb(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "completion", shell], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for verb in (*verbs(build()), "--hold-memory"):
        assert re.search(rf"(?<![\w-]){re.escape(verb)}(?![\w-])", done.stdout), verb


def verbs(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every verb, and every verb below one."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield name
                yield from verbs(below)


def test_every_verb_says_what_it_is_for() -> None:
    assert {"up", "run", "report", "approve", "explain"} <= set(verbs(build()))
    help = subprocess.run(
        [sys.executable, "-m", "proxy", "--help"], capture_output=True, text=True, timeout=60
    )
    (shown,) = [one for one in build()._actions if isinstance(one, argparse._SubParsersAction)]
    for name in shown.choices:
        assert re.search(rf"^    {name} +\S|^    {name}$", help.stdout, re.MULTILINE), name


def test_every_verb_has_an_example_in_its_help_and_every_example_is_understood() -> None:
    shown = [shlex.split(line) for line in EXAMPLES]
    for words in leaves(build(), ("sluice",)):
        assert any(tuple(line[: len(words)]) == words for line in shown), words
    for line in shown:
        build().parse_args(line[1:])


def test_a_decision_that_no_entry_can_have_is_refused() -> None:
    assert build().parse_args(["ledger", "show", "--decision", "denied"]).decision == "denied"
    with pytest.raises(SluiceError, match="'deny'"):
        build().parse_args(["ledger", "show", "--decision", "deny"])


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every verb with those above it, but for verbs that only have others below them."""
    inner = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not inner:
        yield words
    for action in inner:
        for name, below in action.choices.items():
            yield from leaves(below, (*words, name))


def test_bash_takes_its_completion_and_completes_with_it() -> None:
    script = (
        f'eval "$({sys.executable} -m proxy completion bash)"; '
        "complete -p sluice; COMP_WORDS=(sluice app); COMP_CWORD=1; _shtab_sluice sluice app; "
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1].strip() == "approve", done.stderr
