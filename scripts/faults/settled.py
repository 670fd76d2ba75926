"""
The books of the errands: grants, budgets, edits, and who may say what. Pure.

What is checked rests on the ledger's entries and on upstream's count, and on what the suite itself
did; of the product's own folds and counts nothing is asked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from faults.batches import Batch
from faults.cases import Fault
from faults.errands import AMOUNT, Errand, Leg
from faults.findings import Finding, Wrong
from faults.funds import releases, seconds
from faults.journal import Arrival, Found, Walk
from faults.rules import EXCLUDED
from faults.scene import mark_of

type Entry = dict[str, Any]

OPENS: Final = frozenset({"allowed", "approved", "watched"})
_UNWRITTEN: Final = frozenset({Fault.KILL, Fault.TERM, Fault.FULL, Fault.LOCKED})


class Page(NamedTuple):
    """All there is about one errand: its entries in their order."""

    walk: Walk
    arrivals: list[Arrival]
    entries: list[Entry]
    batch: Batch

    @property
    def errand(self) -> Errand:
        return self.walk.case  # type: ignore[return-value]

    def kind(self, *kinds: str) -> list[Entry]:
        """The entries of some kinds."""
        return [entry for entry in self.entries if entry["kind"] in kinds]

    def decided(self, number: int | None = None) -> list[Entry]:
        """What was decided, of the request of this number."""
        return [one for one in self.kind("decided") if number is None or number_of(one) == number]

    def opened(self, number: int | None = None) -> list[Entry]:
        """What was let through."""
        return [one for one in self.decided(number) if one["decision"] in OPENS]

    def wrong(self, kind: Wrong, what: str) -> Finding:
        return Finding(kind, self.errand.mark, what)


def number_of(entry: Entry) -> int:
    """The number in the URL of an entry, 0 where it has none."""
    return int(str(entry.get("url", "")).partition("?n=")[2] or 0)


def pages(found: Found) -> Iterator[Page]:
    """What is known of each errand."""
    entries: defaultdict[str, list[Entry]] = defaultdict(list)
    marks: dict[str, str] = {}
    for entry in found.entries:
        names = [str(entry[name]) for name in ("hold", "id", "grant") if entry.get(name)]
        mark = mark_of(str(entry.get("url", ""))) or next((marks[one] for one in names if one in marks), "")
        marks.update({name: mark for name in names if mark})
        entries[mark].append(entry)
    arrivals: defaultdict[str, list[Arrival]] = defaultdict(list)
    for arrival in found.arrivals:
        arrivals[arrival.mark].append(arrival)
    for walk in found.walks:
        mark = walk.case.mark
        yield Page(walk, arrivals[mark], entries[mark], found.batch)


def settled(found: Found) -> Iterator[Finding]:
    """Everything that is wrong with the errands of a batch."""
    for page in pages(found):
        for check in (*_ALWAYS, _CHECKS[page.errand.leg]):
            yield from check(page)


# -- of every errand -------------------------------------------------------------------


def _releases(page: Page) -> Iterator[Finding]:
    """Each request that arrived has a decision of its own, on disk before it."""
    came: Counter[int] = Counter()
    for arrival in sorted(page.arrivals, key=lambda one: one.time):
        came[arrival.number] += 1
        if arrival.approved < came[arrival.number]:
            what = f"attempt {arrival.attempt} came, and its release was not on disk"
            yield page.wrong(Wrong.GHOST, what)
    for number, count in came.items():
        if count > len(page.opened(number)):
            yield page.wrong(
                Wrong.DOUBLE, f"{count} came of request {number}, {len(page.opened(number))} may"
            )


def _told(page: Page) -> Iterator[Finding]:
    """What an agent was told, beside what was done and is written."""
    came = {arrival.attempt for arrival in page.arrivals}
    for attempt in page.walk.attempts:
        answer = attempt.answer
        if answer is None:
            continue
        if not answer.decision and attempt.number not in came:
            yield page.wrong(Wrong.LIE, f"attempt {attempt.number} got {answer.status} from nobody")
        if attempt.number in came and answer.decision not in ("", "unknown"):
            yield page.wrong(Wrong.LIE, f"attempt {attempt.number} came, and was told {answer.decision!r}")
        if answer.decision in _SETTLING and answer.decision not in _written(page, answer.hold):
            yield page.wrong(Wrong.LIE, f"attempt {attempt.number} was told {answer.decision!r}, not written")


_SETTLING: Final = frozenset({"denied", "expired", "unattended"})


def _written(page: Page, hold: str) -> set[str]:
    about = [one for one in page.decided() if hold in ("", one.get("hold"), one.get("again"))]
    found = {str(one["decision"]) for one in about}
    return found | (_SETTLING if page.errand.fault in _UNWRITTEN else set())


def _people(page: Page) -> Iterator[Finding]:
    """Who answered, as the ledger has it: somebody who did, signed where that is wanted, and once."""
    # An answer that came as its hold ended is written down, and its reviewer is told that it came to nothing.
    said = {(call.hold, call.name, call.approves) for call in page.walk.calls}
    counted: Counter[tuple[str, ...]] = Counter()
    for entry in page.kind("reviewed"):
        answer = (entry["hold"], entry["reviewer"], entry["answer"] == "approve")
        if answer not in said:
            yield page.wrong(Wrong.LIE, f"the ledger says that {entry['reviewer']} answered; nobody did")
        if page.batch.enrolled and "signature" not in entry:
            yield page.wrong(Wrong.LIE, f"an answer of {entry['reviewer']} counts, and is not signed")
        counted[entry["hold"], entry["person"], entry["answer"], entry.get("request", "")] += 1
    for (hold, person, answer, _), count in counted.items():
        if count > 1:
            yield page.wrong(Wrong.LIE, f"hold {hold[:6]} counts {answer} of {person} {count} times")
    for call in page.walk.calls:
        if call.name.startswith("forged") and call.state:
            yield page.wrong(Wrong.GHOST, f"an answer counts that is {call.name}")


def _approvals(page: Page) -> Iterator[Finding]:
    """A hold is released by as many different people as its rules want, for the very request that left."""
    for entry in page.opened():
        if entry.get("hold") and entry["decision"] == "approved":
            people, wanted = _approving(page, entry), _wanted(page, entry)
            if len(people) < wanted:
                what = f"hold {entry['hold'][:6]} was released by {len(people)} of {wanted} people"
                yield page.wrong(Wrong.GHOST, what)


def _approving(page: Page, entry: Entry) -> set[str]:
    """The people whose last answer to the request of an entry is yes, and who may give it."""
    last: dict[str, str] = {}
    for review in page.kind("reviewed"):
        if (review["hold"], review.get("request")) == (entry["hold"], entry.get("request")):
            last[review["person"]] = review["answer"]
    yes = {person for person, answer in last.items() if answer == "approve"}
    if page.errand.leg is not Leg.EXCLUDED:
        return yes
    return yes - {f"uid:{person.uid}" for person in EXCLUDED}


def _wanted(page: Page, entry: Entry) -> int:
    if page.errand.leg is Leg.EDIT and page.errand.amount > 100 and _edit_of(page, entry) is not None:
        return 2
    return page.errand.people if page.errand.leg in (Leg.EDIT, Leg.EXCLUDED) else 1


# -- grants ----------------------------------------------------------------------------


def _grants(page: Page) -> Iterator[Finding]:
    for grant in page.kind("granted"):
        yield from _grant(page, grant)
    known = {grant["grant"] for grant in page.kind("granted")}
    for entry in page.opened():
        if entry.get("grant") and entry["grant"] not in known:
            yield page.wrong(Wrong.GHOST, "a request went by a grant that is not in the ledger")
    ended = page.walk.ended
    asked = {one.number: one.asked for one in page.walk.attempts}
    for arrival in page.arrivals:
        by_grant = any(one.get("grant") for one in page.opened(arrival.number))
        if by_grant and ended is not None and asked.get(arrival.attempt, 0.0) > ended:
            yield page.wrong(Wrong.GHOST, f"attempt {arrival.attempt} went by a grant that had ended")
        if by_grant and page.walk.amounts.get(arrival.attempt, 0) > AMOUNT:
            yield page.wrong(Wrong.GHOST, f"attempt {arrival.attempt} asked for more than the grant says")


def _grant(page: Page, grant: Entry) -> Iterator[Finding]:
    uses = [one for one in page.opened() if one.get("grant") == grant["grant"]]
    came = {one.number for one in page.arrivals} & {number_of(one) for one in uses}
    if max(len(uses), len(came)) > page.errand.uses:
        what = f"{len(uses)} requests went by a grant for {page.errand.uses}, {len(came)} came"
        yield page.wrong(Wrong.OVER, what)
    revoked = [one["seq"] for one in page.kind("revoked") if one["grant"] == grant["grant"]]
    first = min(revoked, default=None)
    for use in uses:
        if first is not None and use["seq"] > first:
            yield page.wrong(Wrong.GHOST, "a request went by a grant that had been taken back")
        if seconds(use) > seconds({"time": grant["until"]}):
            yield page.wrong(Wrong.GHOST, "a request went by a grant whose time was over")
        if use["reviewers"] != [grant["reviewer"]] or use["by"] != "grant":
            yield page.wrong(Wrong.LIE, f"the ledger says that {use['reviewers']} granted, by {use['by']}")


# -- budgets ---------------------------------------------------------------------------


def _budgets(page: Page) -> Iterator[Finding]:
    errand, amounts = page.errand, page.walk.amounts
    taken = list(releases(page.entries, errand.rule))
    for one in taken:
        if one.entry["by"] != "reviewer" and one.before + one.amount > errand.limit:
            what = f"{one.amount} went where {one.before} of {errand.limit} were used"
            yield page.wrong(Wrong.OVER, what)
        if one.returned != _goes_back(one.outcome):
            word = "was given back" if one.returned else "was kept"
            yield page.wrong(Wrong.LIE, f"{one.amount} {word}, and its outcome was {_outcome(one.outcome)}")
    drawn = {number_of(dict(one.entry)): one.amount for one in taken}
    for number in {arrival.number for arrival in page.arrivals}:
        if drawn.get(number) != (1 if errand.counts else amounts.get(number)):
            yield page.wrong(Wrong.OVER, f"request {number} came, and took {drawn.get(number)} of its budget")
    yield from _spent(page)
    yield from _later(page)


def _later(page: Page) -> Iterator[Finding]:
    """At the next start there is as much room as the ledger says; where nothing is paused."""
    answers = {one.number: one.answer for one in page.walk.attempts}
    for number, fits in page.walk.rooms.items():
        amount, answer = page.walk.amounts[number], answers[number]
        opened = any(one["by"] != "reviewer" for one in page.opened(number))
        if opened and not fits:
            yield page.wrong(Wrong.OVER, f"{amount} went at the next start, and there was no room")
        refused = answer is not None and answer.decision != "unavailable" and not page.batch.kept
        if fits and refused and not opened:
            yield page.wrong(Wrong.OVER, f"{amount} did not go at the next start, and there was room")


def _spent(page: Page) -> Iterator[Finding]:
    """What came to upstream and was not refused there is within the limit, but for what people released."""
    errand = page.errand
    if errand.fault is Fault.CLOCK:
        return  # another day may have begun
    people = {number_of(one) for one in page.opened() if one["by"] == "reviewer"}
    refused = {number_of(one) for one in page.opened() if _refused(page, one)}
    numbers = {arrival.number for arrival in page.arrivals} - people - refused
    total = len(numbers) if errand.counts else sum(page.walk.amounts.get(one, 0) for one in numbers)
    if total > errand.limit:
        yield page.wrong(Wrong.OVER, f"{total} of {errand.limit} came to upstream")


def _refused(page: Page, decided: Entry) -> bool:
    outcomes = [one for one in page.kind("completed") if one["id"] == decided["id"]]
    return any(400 <= (one.get("status") or 0) < 500 for one in outcomes)


def _goes_back(outcome: Mapping[str, Any] | None) -> bool:
    if outcome is None:
        return False
    return outcome["kind"] == "failed" or (outcome["kind"] == "completed" and 400 <= outcome["status"] < 500)


def _outcome(outcome: Mapping[str, Any] | None) -> str:
    return "none" if outcome is None else f"{outcome['kind']} {outcome.get('status') or ''}".strip()


# -- edits -----------------------------------------------------------------------------


def _edits(page: Page) -> Iterator[Finding]:
    held = {one["hold"]: one for one in page.kind("held")}
    for edit in page.kind("edited"):
        before = {held[edit["hold"]].get("request"), *(one.get("request") for one in page.kind("edited"))}
        if not edit.get("request") or edit["request"] == edit.get("before") or edit["before"] not in before:
            yield page.wrong(Wrong.LIE, f"the edit of hold {edit['hold'][:6]} does not name both requests")
    # One hold is released once, so the releases are in the order in which requests left.
    opened = [one for one in page.opened() if one["decision"] == "approved"]
    wanted = Counter(_amount(page, one) for one in opened)
    came = Counter(_body_amount(arrival) for arrival in page.arrivals)
    for amount, count in (came - wanted).items():
        what = f"{count} came with the amount {amount}, and {wanted[amount]} were approved with it"
        yield page.wrong(Wrong.GHOST, what)


def _amount(page: Page, opened: Entry) -> int:
    return AMOUNT if _edit_of(page, opened) is None else page.errand.amount


def _edit_of(page: Page, opened: Entry) -> Entry | None:
    """The edit that made the request which a decision let through."""
    for edit in page.kind("edited"):
        if (edit["hold"], edit.get("request")) == (opened["hold"], opened.get("request")):
            return edit
    return None


def _body_amount(arrival: Arrival) -> int:
    return int(arrival.body.partition('"amount": ')[2].partition(",")[0] or 0)


# -- who may say what ------------------------------------------------------------------


def _denials(page: Page) -> Iterator[Finding]:
    for entry in page.decided():
        if entry["decision"] == "denied":
            holds = {entry.get("hold"), entry.get("again")} - {None}
            about = [one for one in page.kind("reviewed") if one["hold"] in holds]
            against = {one["person"] for one in about if one["answer"] == "deny"}
            if len(against) < 2 and page.errand.fault not in _UNWRITTEN:
                yield page.wrong(Wrong.LIE, "one of two denials has denied a hold")
    deniers = {call.person for call in page.walk.calls if not call.approves and call.taken}
    told = [one for one in page.walk.attempts if one.answer and one.answer.decision == "denied"]
    if told and len(deniers) < 2:
        yield page.wrong(Wrong.LIE, f"attempt {told[0].number} was told that it is denied, by one of two")


def _excluded(page: Page) -> Iterator[Finding]:
    barred = {f"uid:{person.uid}" for person in EXCLUDED}
    for entry in page.kind("reviewed"):
        if entry["answer"] == "approve" and entry["person"] in barred:
            yield page.wrong(Wrong.GHOST, f"an approval of {entry['reviewer']} counts, who is excluded")


def _nobody(page: Page) -> Iterator[Finding]:
    for entry in page.decided():
        if entry["decision"] == "unattended" and (entry["by"] != "rule" or entry.get("reviewers")):
            yield page.wrong(Wrong.LIE, f"nobody was there, and the ledger says by {entry['by']}")
    held = {number_of(entry) for entry in page.kind("held")}
    for attempt in page.walk.attempts:
        if attempt.number not in page.walk.alone or attempt.answer is None:
            continue
        if attempt.number in held:
            yield page.wrong(Wrong.LIE, f"attempt {attempt.number} was held, and nobody was there")
        if attempt.answer.decision not in ("unattended", "unavailable", *_if_paused(page)):
            what = f"attempt {attempt.number} was told {attempt.answer.decision!r}, and nobody was there"
            yield page.wrong(Wrong.LIE, what)


def _if_paused(page: Page) -> tuple[str, ...]:
    return ("refused",) if page.errand.fault is Fault.PAUSE else ()


def _nothing_more(page: Page) -> Iterator[Finding]:
    yield from ()


type Check = Callable[[Page], Iterator[Finding]]

_ALWAYS: Final[tuple[Check, ...]] = (_releases, _told, _people, _approvals)
_CHECKS: Final[Mapping[Leg, Check]] = {
    Leg.GRANT: _grants,
    Leg.BUDGET: _budgets,
    Leg.EDIT: _edits,
    Leg.DENIALS: _denials,
    Leg.EXCLUDED: _excluded,
    Leg.NOBODY: _nobody,
    Leg.SIGNED: _nothing_more,
}


# -- what was brought about ------------------------------------------------------------


def walked(found: Found) -> set[Leg]:
    """The legs that were walked to their ends while nothing went wrong, and what they are about happened."""
    return {
        page.errand.leg
        for page in pages(found)
        if found.batch.fault is Fault.NONE and page.walk.arrived and _HAPPENED[page.errand.leg](page)
    }


def _went(page: Page) -> bool:
    return bool(page.opened())


def _contested(page: Page) -> bool:
    """Whether somebody was refused as a reviewer, and the hold was settled all the same."""
    ends = {str(one["decision"]) for one in page.decided()}
    return any(call.refusal for call in page.walk.calls) and not ends.isdisjoint({"denied", "approved"})


_HAPPENED: Final[Mapping[Leg, Callable[[Page], bool]]] = {
    Leg.GRANT: lambda page: any(one.get("grant") for one in page.opened()),
    Leg.BUDGET: lambda page: 0 < len(page.opened()) < len(page.decided()),
    Leg.EDIT: lambda page: any(_edit_of(page, one) for one in page.opened()),
    Leg.DENIALS: _contested,
    Leg.EXCLUDED: lambda page: _contested(page) and _went(page),
    Leg.NOBODY: lambda page: bool(page.kind("held")) and bool(page.walk.alone),
    Leg.SIGNED: lambda page: _contested(page) and _went(page),
}
