"""A pause stands until somebody ends it: over every restart, and over a pruning."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledgers import NOW, Clock, decided

from proxy.errors import SluiceError
from proxy.known import known
from proxy.ledger import Draft
from proxy.ledger.paused import standing
from proxy.ledger.retention import prune
from proxy.ledger.seal import KEY
from proxy.ledger.sqlite import SqliteLedger

ADA, BOB = "uid:ada", "uid:bob"


@pytest.mark.parametrize(
    ("said", "stands"),
    [
        ([], {}),
        ([("paused", "*")], {"*": 0}),
        ([("paused", ADA), ("paused", ADA)], {ADA: 0}),
        ([("paused", ADA), ("paused", "*"), ("resumed", ADA)], {"*": 1}),
        ([("paused", ADA), ("paused", "*"), ("resumed", "*")], {}),
        ([("paused", ADA), ("resumed", BOB)], {ADA: 0}),
        ([("paused", ADA), ("resumed", ADA), ("paused", ADA)], {ADA: 2}),
        ([("paused", None), ("decided", ADA)], {}),
    ],
)
def test_a_pause_ends_by_its_own_end_or_by_the_end_of_all(
    said: list[tuple[str, object]], stands: dict[str, int]
) -> None:
    entries = [{"seq": seq, "kind": kind, "agent": agent} for seq, (kind, agent) in enumerate(said)]
    assert standing(entries) == stands


async def write(path: Path, *drafts: Draft) -> None:
    """One life of a ledger."""
    ledger, _ = await SqliteLedger.open(path, key=path.with_name(KEY), started={}, clock=Clock())
    for draft in drafts:
        await ledger.queue(draft)
    await ledger.close("killed")


def pause(kind: str, agent: str) -> Draft:
    return Draft(kind, {"agent": agent, "by": "ada"})


async def test_the_next_start_knows_who_is_paused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await write(path, pause("paused", ADA), pause("paused", BOB), pause("resumed", BOB))
    await write(path, decided("a"))
    assert known(path, NOW).paused == {ADA}
    await write(path, pause("resumed", "*"))
    assert known(path, NOW).paused == frozenset()


async def test_what_is_paused_cannot_be_pruned_away(tmp_path: Path) -> None:
    path, archive = tmp_path / "ledger.db", tmp_path / "archive.jsonl"
    await write(path, pause("paused", ADA), decided("a"), decided("b"))

    async def pruned() -> None:
        await prune(path, 4, archive, key=path.with_name(KEY), clock=lambda: NOW + 60)

    with pytest.raises(SluiceError, match="entry 2 pauses what is still paused"):
        await pruned()
    await write(path, pause("resumed", ADA))
    await pruned()
    assert known(path, NOW).paused == frozenset()
