"""What others read: a SIEM its events, a person a page; neither runs or computes what an agent wrote."""

from __future__ import annotations

import asyncio
import io
import json
import re
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ledgers import NOW, Clock, completed, decided, fill, held, reviewed, said

from proxy.chain import Entry, canonical, digest
from proxy.ledger import Draft
from proxy.ledger.export import FORMATS, export
from proxy.ledger.page import Asked, row
from proxy.ledger.read import Filter
from proxy.ledger.sqlite import SqliteLedger

NASTY = 'a|b\\c=d\ne"<script>alert(1)</script>\u202egnp.exe\x1b[31m&amp;'


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    path = tmp_path / "ledger.db"
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    for draft in (
        held("h1"),
        Draft(
            "held", {"hold": "h2", "agent": NASTY, "url": NASTY, "show": [[NASTY, [NASTY]]], "says": NASTY}
        ),
        reviewed("h1"),
        decided("h1", "approved", hold="h1", by="reviewer", reviewers=["bob"], url="https://x/1"),
        completed("h1"),
        decided("n", "denied", url=NASTY, why=NASTY, rules=["other", "r"], hold="h2", by="reviewer"),
        decided("r", "refused"),
        Draft(
            "counted",
            {"requests": 3, "reads": [{"agent": NASTY, "host": NASTY, "rule": NASTY, "requests": 3}]},
        ),
    ):
        await ledger.queue(draft)
    await ledger.close()
    return path


def exported(path: Path, format: str, wanted: Filter | None = None) -> str:
    out = io.BytesIO()
    export(path, out, format, wanted or Filter())
    return out.getvalue().decode()


def test_ocsf_has_what_the_class_asks_for_and_the_exact_bytes(path: Path) -> None:
    events = [json.loads(line) for line in exported(path, "ocsf").splitlines()]
    entries = said(path)
    assert len(events) == len(entries)
    for event, entry in zip(events, entries, strict=True):
        assert {"activity_id", "category_uid", "class_uid", "type_uid", "severity_id", "time"} <= event.keys()
        assert {"actor", "api", "src_endpoint", "metadata"} <= event.keys()
        assert event["type_uid"] == 600_300 + event["activity_id"]
        assert json.loads(event["raw_data"]) == entry
        assert event["unmapped"]["hash"] == digest(event["raw_data"].encode()).hex()
        assert event["metadata"]["sequence"] == entry["seq"]
        assert event["time"] == 1_785_000_000_000 + (event["time"] - 1_785_000_000_000)
    approved = next(one for one in events if one.get("disposition") == "Approved")
    assert (approved["action_id"], approved["actor"]["user"]["name"], approved["activity_name"]) == (
        1,
        "bob",
        "Create",
    )
    assert [one["disposition"] for one in events if one["metadata"]["event_code"] == "held"] == [
        "Delayed"
    ] * 2
    assert next(one for one in events if "http_response" in one)["http_response"] == {"code": 200}
    [counted] = [one for one in events if one["metadata"]["event_code"] == "counted"]
    assert (counted["count"], counted["activity_name"], counted["severity_id"]) == (3, "Read", 1)
    assert {one["disposition"] for one in events if "disposition" in one} == {
        "Allowed",
        "Approved",
        "Delayed",
        "Rejected",
        "Blocked",
    }


REQUIRED: dict[str, type | dict[str, Any]] = {
    "activity_id": int, "category_uid": int, "class_uid": int, "severity_id": int, "time": int,
    "type_uid": int,
    "metadata": {"product": {"name": str, "vendor_name": str}, "version": str},
    "actor": {"user": {"name": str}}, "api": {"operation": str}, "src_endpoint": {"name": str},
}  # fmt: skip
"""What an event of class 6003 must have, and what its objects must."""
ENUMS: dict[str, set[int]] = {
    "activity_id": {0, 1, 2, 3, 4, 99},
    "severity_id": {0, 1, 2, 3, 4, 5, 6, 99},
    "action_id": {0, 1, 2},
    "disposition_id": {*range(28), 99},
    "status_id": {0, 1, 2, 99},
}


def lacking(value: Any, wanted: type | dict[str, Any], at: str = "") -> list[str]:
    if not isinstance(wanted, dict):
        return [] if type(value) is wanted and value != "" else [at]
    return [
        one for name, part in wanted.items() for one in lacking((value or {}).get(name), part, f"{at}.{name}")
    ]


def nothing_in(value: Any) -> bool:
    """Whether there is a null anywhere, which OCSF has no place for."""
    if isinstance(value, dict):
        return any(map(nothing_in, value.values()))
    return any(map(nothing_in, value)) if isinstance(value, list) else value is None


def test_ocsf_has_every_required_attribute_and_no_value_out_of_its_list(path: Path) -> None:
    events = [json.loads(line) for line in exported(path, "ocsf").splitlines()]
    for event in events:
        assert lacking(event, REQUIRED) == []
        assert not nothing_in(event)
        assert (event["category_uid"], event["class_uid"]) == (6, 6003)
        assert all(event[name] in known for name, known in ENUMS.items() if name in event)
        assert ("action_id" in event) == ("disposition_id" in event) == ("disposition" in event)
        assert "code" in event.get("http_response", {"code": 0})
    assert {event.get("action_id") for event in events} == {None, 0, 1, 2}


def test_cef_escapes_what_would_end_a_field(path: Path) -> None:
    lines = exported(path, "cef").split("\n")[:-1]
    assert len(lines) == len(said(path))
    for line, entry in zip(lines, said(path), strict=True):
        assert line.startswith("CEF:0|Sluice|Sluice|")
        fields = re.split(r"(?<!\\)\|", line, maxsplit=7)
        assert len(fields) == 8
        pairs = dict(re.findall(r"(?:^| )(\w+)=((?:[^\\=]|\\.)*?)(?=(?: \w+=)|$)", fields[7]))
        assert pairs["cn1"] == str(entry["seq"])
        assert pairs["externalId"].endswith(f":{entry['seq']}")
        if entry.get("why") == NASTY:
            assert pairs["reason"] == NASTY.replace("\\", "\\\\").replace("=", "\\=").replace(
                "\n", "\\n"
            ).replace("\x1b", " ")
            assert pairs["cs1"] == "other r"


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.said = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data


def test_the_page_is_one_file_that_runs_and_loads_nothing(path: Path) -> None:
    whole = exported(path, "html")
    page = Page()
    page.feed(whole)
    assert page.open == []
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "link", "iframe", "a", "form", "object", "svg"}
    assert not [
        name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "src"
    ]
    (policy,) = [found["content"] for tag, found in page.tags if "http-equiv" in found]
    assert (policy or "").startswith("default-src 'none'")
    assert "<script>alert(1)</script>" in page.said  # as text
    assert "\u202e" not in whole
    assert "\x1b" not in whole
    assert "‹U+202E›" in page.said
    assert sum(tag == "tr" for tag, _ in page.tags) == 1 + len(said(path))
    assert "bob" in page.said


def test_what_a_reviewer_was_shown_stands_with_the_answer_where_the_hold_is_left_out(path: Path) -> None:
    url = "https://api.stripe.com/v1/refunds"
    for wanted in (Filter(reviewer="bob"), Filter(kinds=frozenset({"reviewed"}))):
        whole = exported(path, "html", wanted)
        assert url in whole
        assert "uid:alice" in whole
    assert "not signed" in exported(path, "html", Filter(reviewer="bob"))
    assert exported(path, "html").count(url) == 1  # the hold itself is there, and says it once


def signed(view: object) -> dict[str, object]:
    said = {
        "about": {"view": view}, "act": "deny", "key": f"SHA256:{'A' * 43}", "ledger": "0" * 32,
        "reviewer": "eve", "time": "2026-11-22T12:00:00.000000Z", "v": 1,
    }  # fmt: skip
    return {"kind": "reviewed", "statement": canonical(said).decode(), "signature": "x", "person": NASTY}


@pytest.mark.parametrize(
    "view", [NASTY, '"><script>', "\u202e" * 12, 7, ["x"], "0" * 63, "0" * 65, None], ids=repr
)
def test_a_view_that_is_none_breaks_no_page(view: object) -> None:
    for fields in (signed(view), signed(view) | {"statement": "{}"}, signed(view) | {"statement": view}):
        page = Page()
        page.feed(row(Entry(1, b"", bytes(32)), fields).decode())
        assert page.open == []
        assert {tag for tag, _ in page.tags} <= {"tr", "td", "b", "br", "span", "code"}
        assert {name for _, found in page.tags for name in found} <= {"class", "title"}
        assert "signed, " in page.said
    good = row(Entry(1, b"", bytes(32)), signed("ab" * 32)).decode()
    assert f'title="{"ab" * 32}">{"ab" * 6}<' in good


def test_an_edit_is_not_told_by_what_was_shown_before_it() -> None:
    asked = Asked()
    asked.told(
        {"kind": "held", "hold": "h", "url": "https://x/1", "show": [["amount", ["5"]]]}, admitted=False
    )
    asked.told({"kind": "edited", "hold": "h", "url": "https://x/2"}, admitted=False)
    told = asked.told({"kind": "reviewed", "hold": "h"}, admitted=True)
    assert (told["url"], "show" in told) == ("https://x/2", False)
    asked.told({"kind": "decided", "hold": "h", "decision": "pending"}, admitted=True)
    assert asked.told({"kind": "decided", "hold": "h", "decision": "denied"}, admitted=True)["url"]
    assert "url" not in asked.told({"kind": "reviewed", "hold": "h"}, admitted=True)


def test_of_holds_without_end_the_newest_are_known() -> None:
    asked = Asked()
    for number in range(10_500):
        asked.told({"kind": "held", "hold": f"h{number}", "url": "u"}, admitted=False)
    assert "url" not in asked.told({"kind": "reviewed", "hold": "h499"}, admitted=True)
    assert "url" in asked.told({"kind": "reviewed", "hold": "h500"}, admitted=True)


@pytest.mark.parametrize("format", ["csv", "ocsf", "cef", "html"])
@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Filter(reviewer="bob"), 2),
        (Filter(rule="other"), 1),
        (Filter(agent="uid:alice", decision="refused"), 1),
        (Filter(hold="h1"), 3),
        (Filter(since="2027"), 0),
        (Filter(until="2027"), 11),
    ],
)
def test_every_format_takes_the_same_filters(path: Path, format: str, wanted: Filter, count: int) -> None:
    assert export(path, io.BytesIO(), format, wanted) == count


async def test_a_long_export_tells_how_far_it_is_and_streams(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    await fill(tmp_path / "ledger.db", 900)
    told: list[tuple[int, int]] = []

    class Out(io.RawIOBase):
        longest = 0

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.longest = max(self.longest, len(data))
            return len(data)

    for format in ("jsonl", "csv", "ocsf", "cef", "html"):
        told.clear()
        out = Out()
        count = export(tmp_path / "ledger.db", out, format, progress=lambda *how: told.append(how))  # type: ignore[arg-type]
        assert told[-1] == (count, count)
        assert [one for one, _ in told] == sorted(one for one, _ in told)
        assert out.longest < 1_500_000


class Counting(io.RawIOBase):
    """Takes everything, keeps nothing, and knows how much it was."""

    taken = 0

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.taken += len(data)
        return len(data)


@pytest.fixture(scope="module")
def grows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Ledgers of 5,000 and of 10,000 entries: more than are read at once, in as many runs as it takes."""
    paths = []
    for runs in (2, 4):
        folder = tmp_path_factory.mktemp("grows")
        folder.chmod(0o700)
        for run in range(runs):
            asyncio.run(fill(folder / "ledger.db", 1_000, clock=Clock(NOW + 60 * run)))
        paths.append(folder / "ledger.db")
    return paths[0], paths[1]


@pytest.mark.parametrize(
    ("format", "wanted"), [*((format, Filter()) for format in FORMATS), ("jsonl", Filter(decision="denied"))]
)
def test_the_memory_of_an_export_does_not_grow_with_the_ledger(
    grows: tuple[Path, Path], format: str, wanted: Filter
) -> None:
    export(grows[0], io.BytesIO(), format, Filter(until="2020"))  # what is loaded once is not counted
    took, wrote = [], []
    for path in grows:
        out = Counting()
        tracemalloc.start()
        try:
            export(path, out, format, wanted)  # type: ignore[arg-type]
            took.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        wrote.append(out.taken)
    assert took[1] - took[0] < 200_000
    if wanted == Filter():
        assert wrote[1] - wrote[0] > 800_000, "the test has something to find"
