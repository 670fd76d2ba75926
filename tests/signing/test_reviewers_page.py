"""docs/reviewers.md says how it is: whoever follows it with other tools comes to the same."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from proxy.ledger.roll import KINDS
from proxy.signing import shown
from proxy.wire import UNSIGNED, Call, Verb
from proxy.wire.orders import act

from .making_keys import statement
from .test_statement import VIEW

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "reviewers.md").read_text()


def test_the_statement_on_the_page_is_one() -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    said = json.loads(block)
    assert said.keys() == json.loads(statement().data).keys()
    assert said["about"].keys() == shown.about(VIEW, "").keys()


def test_the_page_names_every_act() -> None:
    (row,) = re.findall(r"^\| `act` \| (.*) \|$", PAGE, re.MULTILINE)
    acts = {act(Call(verb, approves=yes)) for verb in Verb if verb not in UNSIGNED for yes in (True, False)}
    assert set(re.findall(r"`([a-z-]+)`", row)) == acts


def test_the_page_names_every_kind_and_every_finding() -> None:
    for kind in (*KINDS, "ordered", "reviewed"):
        assert f"`{kind}`" in PAGE
    codes = set()
    for path in [*(ROOT / "proxy" / "signing").glob("*.py"), ROOT / "proxy/ledger/roll.py"]:
        codes |= set(re.findall(r'ProofError\(\s*"([a-z]+)"', path.read_text()))
    codes -= {"name", "uid", "groups", "full", "last", "account"}  # what cannot be enrolled at all
    assert {f"review_{code}" for code in codes} <= set(re.findall(r"`(review_[a-z]+)`", PAGE))


def test_the_commitments_are_made_as_the_page_says() -> None:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return [[name, plain(item)] for name, item in value.items()]
        return [plain(item) for item in value] if isinstance(value, list) else value

    progress = {
        "state",
        "cause",
        "by",
        "reviews",
        "approvals_needed",
        "attempts",
        "agent_waiting",
        "deadline",
    }
    left_out = {*progress, "headers", "body", "body_note", "salt"}
    view = {name: plain(value) for name, value in VIEW.items() if name not in left_out}
    data = json.dumps(view, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    salt = bytes.fromhex(VIEW["salt"])
    about = shown.about(VIEW, "")
    assert about["view"] == hashlib.sha256(b"sluice.review.view.v1\0" + salt + data).hexdigest()
    asked = bytes.fromhex(VIEW["digest"])
    assert about["request"] == hashlib.sha256(b"sluice.ledger.request.v1\0" + salt + asked).hexdigest()
