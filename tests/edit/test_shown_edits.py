"""An edited hold is shown as that first, and an edit counts as an approval wherever that matters."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from e2e.conftest import Started
from e2e.product import PATIENCE, Gate

from proxy.control import ControlDesk
from proxy.control.guard import opens
from proxy.errors import SluiceError
from proxy.render import hold_lines, in_full
from proxy.wire import UNSIGNED, Call, HoldView, Sheet, Verb, decode, encode

from .test_edit_command import order

VIEW = HoldView(
    id="k" * 26,
    rule="refunds-wait",
    rules=("refunds-wait",),
    why="A refund moves money.",
    agent="uid:agent",
    method="POST",
    url="https://api.example.com/v1/refunds",
    operation="refund",
    says="Refund 40",
    show={"json.amount": ("40",)},
    digest="0" * 64,
    opened=1000.0,
    deadline=2000.0,
    approvals_needed=1,
    edited_by=("ada", "bob"),
    difference=("…", " {", '-  "amount": 5000', '+  "amount": 40\x1b[2J', "+" + "a" * 500, " }"),
    body='{"amount": 40}',
)


def test_who_edited_and_what_changed_come_first() -> None:
    shown = [line.plain for line in hold_lines(VIEW, 1000.0)]
    assert shown[1].split() == ["edited", "by", "ada,", "bob"]
    assert '-  "amount": 5000' in shown[2]
    assert "\\x1b[2J" in shown[3]
    assert not any("\x1b" in line for line in shown)
    assert any("see the whole difference" in line for line in shown[:8])
    whole = [line.plain for line in in_full(VIEW)]
    assert whole[0].startswith("edited by ada, bob")
    assert whole.index("+" + "a" * 500) < whole.index("POST https://api.example.com/v1/refunds")


def test_an_edit_is_guarded_as_an_approval_is_and_looking_at_one_is_not() -> None:
    assert opens(Call(Verb.EDIT))
    assert Verb.EDIT not in UNSIGNED
    for verb in (Verb.SHEET, Verb.PREVIEW):
        assert not opens(Call(verb))
        assert verb in UNSIGNED


@pytest.mark.parametrize("message", [Sheet("k" * 26, "0" * 64, "POST é\n\x1b"), VIEW])
def test_what_is_edited_crosses_the_socket_as_it_is(message: Sheet | HoldView) -> None:
    assert decode(encode(message)) == message


def test_a_text_that_is_too_long_for_the_socket_is_refused_before_it_is_sent(
    gate: Gate, mark: str, started: Started
) -> None:
    asked = started(order, gate, mark)
    hold = gate.held(mark)
    for length in (100_000, 2_000_000):

        async def preview(length: int = length) -> None:
            sheet = await gate.desk.sheet(hold.id)
            await gate.desk.preview(sheet, sheet.text + "é" * length)

        with pytest.raises(SluiceError, match="longer than 262144 bytes"):
            asyncio.run(preview())
    gate.answer(hold, False)
    assert asked.result(PATIENCE).status_code == 403


def test_without_a_gate_the_command_says_so(tmp_path: Path) -> None:
    with pytest.raises(SluiceError) as caught:
        asyncio.run(ControlDesk(tmp_path / "control.sock").sheet("k"))
    assert caught.value.exit == 3
