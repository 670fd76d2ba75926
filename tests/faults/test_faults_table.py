"""What the suite writes: where each run belongs, and the table's place in README."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.batches import Batch, batch
from faults.errands import STEPS, Leg
from faults.findings import Finding, Wrong
from faults.journal import Found, Journal, Walk
from faults.run import ACTS
from faults.table import BEGIN, END, Tally, page, put, summary
from faults.ways import ways

from proxy.hold import TRANSITIONS

ROOT = Path(__file__).parent.parent.parent
KNOWN = ways(TRANSITIONS, ACTS)


def found(seed: int) -> Found:
    one: Batch = batch(seed, 72, KNOWN)
    journals = [Journal(case, placed=True) for case in one.cases]
    walks = [Walk(errand, placed=True) for errand in one.errands]
    return Found(one, journals, walks=walks, seconds=3.2)


def test_every_run_is_counted_once_for_its_fault_and_its_state() -> None:
    tally = Tally()
    for seed in range(2):
        tally.add(found(seed), ())
    rows, steps = tally.by_state(), tally.by_step()
    struck = sum(int(number or 0) for row in steps for number in row[2:5])
    assert sum(int(row[2]) + int(row[3] or 0) for row in rows) + struck == tally.runs == 144
    assert struck == 36
    assert {row[0] for row in rows} == {"nothing", "kill -9"}
    assert {row[1] for row in rows} >= {"pending", "spendable", "approved"}
    assert tally.by_fault()[-1] == ["all", "144", *"0000000", "6"]


def test_a_hold_that_did_not_get_there_in_time_is_counted_for_no_state() -> None:
    tally, one = Tally(), found(1)
    one.journals[0].placed = False
    tally.add(one, ())
    assert (tally.runs, tally.placed) == (72, 71)


def test_what_is_wrong_is_counted_where_it_was_found() -> None:
    tally, one = Tally(), found(1)
    mark = one.journals[0].case.mark
    tally.add(one, [Finding(Wrong.LIE, mark, "x"), Finding(Wrong.CHAIN, one.batch.name, "y")])
    assert tally.by_fault()[0] == ["kill -9", "72", "0", "0", "0", "1", "0", "0", "1", "3"]
    assert [row[4:] for row in tally.by_state()].count(["0", "0", "0", "1", "0", "0", "0"]) == 1


def test_what_is_wrong_with_an_errand_is_counted_at_its_step() -> None:
    tally, one = Tally(), found(1)
    tally.add(one, [Finding(Wrong.OVER, one.walks[0].case.mark, "x")])
    assert tally.by_fault()[0] == ["kill -9", "72", "0", "0", "1", "0", "0", "0", "0", "3"]
    [row] = [row for row in tally.by_step() if row[6:] == ["0", "0", "1", "0", "0", "0", "0"]]
    errand = one.walks[0].case
    assert row[:2] == [str(errand.leg), STEPS[errand.leg][errand.step]]


def test_a_way_that_nothing_went_wrong_on_and_none_went_to_the_end_is_named() -> None:
    tally, one = Tally(), found(0)
    one.journals[3].arrived = True
    tally.add(one, ())
    ways = [way for way in KNOWN if way is not one.journals[3].case.way]
    assert tally.missed(KNOWN) == [*ways, *sorted(set(Leg) - {Leg.SIGNED})]


def test_where_every_run_had_a_fault_nothing_is_missed() -> None:
    tally = Tally()
    tally.add(found(1), ())
    assert tally.missed(KNOWN) == []


def test_the_page_has_all_tables() -> None:
    tally = Tally()
    tally.add(found(1), ())
    text = page(tally, KNOWN, "Today.")
    assert "| kill -9 | 72 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 3 |" in text
    assert f"## The {len(TRANSITIONS)} transitions" in text
    assert "| a budget | spend |" in text
    assert "- `grant-without-end`: never count the uses of a grant" in text


def test_the_table_is_put_between_its_marks_and_nowhere_else() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert put(text, "| new |") == f"before\n{BEGIN}\n\n| new |\n\n{END}\nafter\n"
    assert put(put(text, "| a |"), "| b |") == put(text, "| b |")
    with pytest.raises(ValueError, match="0 places"):
        put("nothing", "| new |")


def test_readme_has_a_place_for_the_table() -> None:
    tally = Tally()
    tally.add(found(1), ())
    assert summary(tally) in put((ROOT / "README.md").read_text(), summary(tally))
