"""The client table: what it counts as broken, and a run of seconds with the clients that tests have."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def named(name: str) -> ModuleType:
        return importlib.import_module(f"clients.{name}")

    return named


@pytest.mark.slow
def test_real_clients_with_5_seconds_are_still_there_after_more(tmp_path: Path) -> None:
    page = tmp_path / "clients.md"
    kinds = ["requests", "httpx", "httpx-h2", "aiohttp", "stripe", "boto3-dynamodb", "http.client"]
    words = [word for kind in kinds for word in ("--only", kind)]
    command = [sys.executable, str(SCRIPTS / "clients.py"), "--seconds", "5.5", "--no-fetch", *words]

    done = subprocess.run([*command, "--out", str(page)], capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stdout + done.stderr
    text = page.read_text()
    rows = [line for line in text.splitlines() if "| 5 s | 100 |" in line]
    assert rows and all("| yes | once, 200 | once |" in row for row in rows), text
    assert "| 5 s | none | no, gave up after" in text  # http.client, which does not say who it is


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, ""),
        ({"answers": (102,)}, "an interim answer was taken for the answer"),
        ({"answers": (200, 200)}, "it was answered [200, 200]"),
        ({"answers": (503,)}, "it was answered [503]"),
        ({"sent": 2}, "it was sent 2 times"),
        ({"survived": False}, "it was sent for a client that had gone"),
        ({"answers": (), "sent": 0, "raised": "ReadTimeout"}, "ReadTimeout"),
        ({"holds": 2}, "2 holds"),
    ],
)
def test_whatever_is_not_one_answer_and_one_sending_is_told(
    part: Any, change: dict[str, Any], wrong: str
) -> None:
    result, row = part("result"), part("catalogue").Row("python", "requests", patience=5, fed=True)
    statuses = change.pop("answers", (200,))
    kept = {"survived": True, "sent": 1, "holds": 1} | change
    found = result.Result(row, answers=tuple(result.Answer(each, True) for each in statuses), **kept)
    told = "; ".join(result.broken(found, 90))
    assert wrong in told and bool(wrong) == bool(told)


def test_a_client_that_cannot_wait_may_give_up_and_is_never_sent(part: Any) -> None:
    result, row = part("result"), part("catalogue").Row("node", "axios", read=5, patience=5)
    gone = result.Result(row, raised="timeout", lasted=5.0, holds=1)
    assert result.broken(gone, 90) == []
    assert result.broken(gone, 3) != []
    assert "| no, gave up after 5 s | no | no |" in result.table([gone])


def test_each_clients_own_way_of_telling_is_read(part: Any) -> None:
    heard, answer = part("result").heard, part("result").Answer
    assert heard("python", '{"status": 200, "saw": "released"}\n', "", 0) == ((answer(200, True),), "")
    assert heard("python", '{"raised": "ReadTimeout"}\n', "", 0) == ((), "ReadTimeout")
    assert heard("curl", '{"status": "000", "saw": "released"}\n', "late", 28) == ((), "exit 28: late")
    assert heard("wget", "", "  HTTP/1.1 100 Continue\n  HTTP/1.1 200 OK\n", 0) == ((answer(200, True),), "")
    assert heard("wget", "", "", 4) == ((), "exit 4")
