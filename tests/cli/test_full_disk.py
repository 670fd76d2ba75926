"""A result that cannot be written: said in a line, and never with the status of an answer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from commands import SLUICE, environment


@pytest.mark.parametrize(
    "words",
    [
        ("policy", "schema"),
        ("policy", "explain", "GET", "https://api.example.com/"),
        ("completion", "bash"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_a_result_that_cannot_be_written_is_no_answer(tmp_path: Path, words: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [SLUICE, *words],
            env=environment(tmp_path),
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    said = done.stderr.decode()
    assert done.returncode == 2, said
    assert "sluice: error: the result cannot be written: No space left on device\nsluice: fix:" in said
    assert "Traceback" not in said and "ignored" not in said
