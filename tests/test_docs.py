"""The documents say what is so: their commands parse and run, their policies load."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli.parser import build
from proxy.decision import By, Decision, Word
from proxy.policy import load_texts, run_cases

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, list[str]]]:
    found = []
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.partition(" > ")[0], comments=True)
                if words[:1] == ["sluice"]:
                    found.append((page.name, words[1:]))
    return found


@pytest.mark.parametrize(("page", "words"), commands(), ids=lambda value: str(value)[:60])
def test_every_command_in_the_documents_is_one(page: str, words: list[str]) -> None:
    build().parse_args(words)


def test_there_are_commands_in_the_documents() -> None:
    assert len(commands()) > 15


def policies() -> list[tuple[str, str]]:
    return [
        (page.name, block)
        for page in PAGES
        for block in blocks(page, "yaml")
        if re.search(r"^rules:$", block, re.MULTILINE)
    ]


@pytest.mark.parametrize(("page", "text"), policies(), ids=lambda value: str(value)[:40])
def test_every_policy_in_the_documents_loads(page: str, text: str) -> None:
    assert load_texts({page: text}).rules


def test_the_readmes_policy_can_be_checked_tested_and_explained(tmp_path: Path) -> None:
    (text,) = [text for page, text in policies() if page == "README.md"]
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "mine.yaml").write_text(text)
    (folder / "mine_cases.yaml").write_text(
        "cases:\n"
        "  - name: a large refund waits\n"
        "    request: POST https://api.stripe.com/v1/refunds\n"
        "    form: {charge: ch_1, amount: 9000}\n"
        "    expect: hold\n"
        "    rule: large-refunds-wait\n"
    )
    assert all(
        one.passed
        for one in run_cases(load_texts({"a": text}), {"b": (folder / "mine_cases.yaml").read_text()})
    )
    ran = 0
    for page, words in commands():
        if (
            page == "README.md"
            and words[0] == "policy"
            and words[1] in ("check", "test", "explain", "schema")
        ):
            done = sluice(words, tmp_path)
            assert done.returncode == 0, done.stderr
            ran += 1
            if words[1] == "explain":
                assert done.stdout.startswith("hold\n")
    assert ran >= 4


def sluice(words: list[str], here: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(here), "XDG_CONFIG_HOME": str(here / "none"), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "proxy", *words]
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=60)


def test_the_readmes_refusal_is_what_an_agent_gets() -> None:
    (shown,) = [json.loads(block) for block in blocks(ROOT / "README.md", "json")]
    decision = Decision(
        Word.DENIED, By.REVIEWER, rule=shown["rule"], detail=shown["detail"], hold=shown["hold"]
    )
    assert json.loads(decision.answer().body) == shown


def test_every_link_to_a_file_leads_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_promises_are_the_same_in_every_document() -> None:
    def promises(page: str) -> list[str]:
        return re.findall(r"^\d+\. (.+)$", (ROOT / page).read_text(), re.MULTILINE)

    assert len(promises("README.md")) == 10
    assert promises("README.md") == promises("SECURITY.md")
