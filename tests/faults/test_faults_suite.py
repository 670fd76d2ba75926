"""The fault suite itself: nothing is wrong with the product, and planted bugs are found."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from faults.cases import Fault
from faults.findings import Wrong
from faults.plants import PLANTS

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "faults.py"


def faults(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_nothing_is_wrong_under_any_fault_at_any_transition() -> None:
    done = faults("--short")
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert re.fullmatch(r"\| all \| [\d,]+( \| 0){7} \| [\d,]+ \|", last), last


# Under which fault of the short version each is found; most are found under others too.
FOUND = {
    "release-before-write": (Fault.LOCKED, Wrong.GHOST),
    "no-disconnect-watch": (Fault.RST, Wrong.GHOST),
    "one-reviewer-counts-twice": (Fault.TWO, Wrong.GHOST),
    "sent-again-when-the-answer-is-lost": (Fault.RESET, Wrong.DOUBLE),
    "silence-told-as-a-denial": (Fault.NONE, Wrong.LIE),
    "end-not-written": (Fault.NONE, Wrong.END),
    "grant-without-end": (Fault.HALF, Wrong.OVER),
    "uses-forgotten-at-a-start": (Fault.HALF, Wrong.OVER),
    "revoked-in-words-alone": (Fault.NONE, Wrong.GHOST),
    "budget-taken-by-the-answer": (Fault.NONE, Wrong.OVER),
    "budget-never-given-back": (Fault.NONE, Wrong.LIE),
    "budgets-begin-anew": (Fault.NONE, Wrong.OVER),
    "original-sent-for-an-edit": (Fault.NONE, Wrong.GHOST),
    "one-denial-is-enough": (Fault.NONE, Wrong.LIE),
    "excluded-counts": (Fault.NONE, Wrong.GHOST),
    "unsigned-counts": (Fault.NONE, Wrong.GHOST),
    "nobody-told-as-a-denial": (Fault.NONE, Wrong.LIE),
    "pause-for-those-who-wait": (Fault.PAUSE, Wrong.GHOST),
}


@pytest.mark.slow
@pytest.mark.parametrize("plant", sorted(PLANTS))
def test_a_planted_bug_is_found_by_the_short_version(plant: str) -> None:
    fault, wrong = FOUND[plant]
    done = faults("--short", "--fault", fault, "--plant", plant)
    assert done.returncode == 1, done.stdout
    assert re.search(rf"  {wrong}: m\d+[xy]\d+: .*\[--seed \d+ --runs 1\]", done.stderr), done.stderr
