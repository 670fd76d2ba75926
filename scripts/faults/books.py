"""
The books: what the suite did and saw, what upstream counted and what the ledger says, compared. Pure.

Six things must be nought in every run: ghosts (a held request left without an approval, or for an
agent that had gone), double sends, grants and budgets overspent, lies (about who decided, or whether
it may be sent again), ends lost or written twice, and chains that do not verify. A seventh is an
agent that waited, at a gate that lived or was stopped in order, and was told nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from faults.cases import LEAVES, Fault, Need
from faults.findings import Finding, Wrong
from faults.journal import Arrival, Attempt, Call, Found, Journal
from faults.rules import BRIEF, WAIT, WINDOW
from faults.scene import mark_of
from faults.settled import settled
from faults.ways import Way
from proxy.hold import Event, State

type Entry = dict[str, Any]


# What the agent is told, and what the ledger may say of that hold. Where it could not be written, or
# the gate ended first, the next start says so of it: cut off.
_UNWRITTEN: Final = frozenset({Fault.KILL, Fault.TERM, Fault.FULL, Fault.LOCKED})
_LEFT_OPEN: Final = frozenset({Fault.KILL, Fault.FULL, Fault.LOCKED})
_OPEN: Final = frozenset({"approved", "watched"})


_SAME: Final = {
    "": _OPEN,
    "failed": _OPEN,
    "unknown": _OPEN,
    "unavailable": frozenset({"unavailable", "cut_off"}),
}


class Book(NamedTuple):
    """All there is about one run."""

    journal: Journal
    arrivals: list[Arrival]
    held: list[Entry]
    decided: list[Entry]
    reviewed: list[Entry]
    deferred: list[Entry]

    def ends(self, hold: str) -> list[str]:
        """How a hold ended, in the ledger's words; one is right."""
        return [
            entry["decision"]
            for entry in self.decided
            if entry.get("hold") == hold and entry["decision"] != "pending"
        ]


def findings(found: Found) -> list[Finding]:
    """Everything that is wrong with a batch."""
    wrong = [one for book in _books(found, found.journals) for check in _CHECKS for one in check(book)]
    wrong += [one for book in _books(found, found.walks) for check in _OF_ANY for one in check(book)]
    wrong += [*settled(found), *_while_paused(found)]
    known = {journal.case.mark for journal in (*found.journals, *found.walks)}
    wrong += [
        Finding(Wrong.GHOST, one.mark, "a request that nobody sent")
        for one in found.arrivals
        if one.mark not in known
    ]
    if found.verified:
        wrong.append(Finding(Wrong.CHAIN, found.batch.name, found.verified))
    return wrong


def brought_about(found: Found) -> set[Way]:
    """The ways that a run has gone to the end though nothing went wrong: the desk or the ledger shows it."""
    return {
        book.journal.case.way
        for book in _books(found, found.journals)
        if book.journal.case.fault is Fault.NONE and _reached(book)
    }


_ENDS: Final = {State.CUT_OFF: {"unavailable", "cut_off"}, State.PROCEEDED: {"watched"}}


def _reached(book: Book) -> bool:
    target = book.journal.case.way.target
    words = _ENDS.get(target, {str(target)})
    return book.journal.arrived or any(words & set(book.ends(entry["hold"])) for entry in book.held)


def _books(found: Found, journals: Iterable[Journal]) -> Iterator[Book]:
    arrivals: defaultdict[str, list[Arrival]] = defaultdict(list)
    entries: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    marks: dict[str, str] = {}
    for arrival in found.arrivals:
        arrivals[arrival.mark].append(arrival)
    for entry in found.entries:
        kind, hold = str(entry["kind"]), str(entry.get("hold", ""))
        mark = mark_of(str(entry.get("url", ""))) or marks.get(hold, "")
        if hold and mark:
            marks[hold] = mark
        entries[mark, kind].append(entry)
    for journal in journals:
        mark = journal.case.mark
        parts = [entries[mark, kind] for kind in ("held", "decided", "reviewed", "deferred")]
        yield Book(journal, arrivals[mark], *parts)


# -- (1) no held request leaves without an approval on disk before it ------------------


def _ghosts(book: Book) -> Iterator[Finding]:
    for arrival in book.arrivals:
        for what in _unapproved(book, arrival):
            yield Finding(Wrong.GHOST, arrival.mark, f"attempt {arrival.attempt} came, {what}")


def _unapproved(book: Book, arrival: Arrival) -> Iterator[str]:
    """What was missing when a request came."""
    case, calls = book.journal.case, book.journal.calls
    opened = [entry.get("hold") for entry in book.decided if entry["decision"] in _OPEN]
    if not arrival.approved:
        yield "and no approval was on disk"
    elif not opened:
        yield "and its approval is not in the ledger"
    people = {call.person for call in calls if call.counts and call.sent < arrival.time}
    if len(people) < case.people:
        yield f"and {len(people)} of {case.people} people had approved it"
    # Of two that ask the same at once, each is decided for itself.
    if any(call.state == "denied" and (call.hold in opened or not case.twin) for call in calls):
        yield "and a person had denied it"
    if left := _left_before(book.journal, arrival):
        yield f"and its agent had gone: {left}"


def _out_of_turn(book: Book) -> Iterator[Finding]:
    """Only the last attempt's own bytes leave, and never by an approval from before a restart."""
    journal, case = book.journal, book.journal.case
    for arrival in book.arrivals:
        asked = [one for one in journal.attempts if one.asked and one.asked < arrival.time]
        if asked and asked[-1].number != arrival.attempt and not case.twin:
            what = f"attempt {arrival.attempt} came, and attempt {asked[-1].number} had asked meanwhile"
            yield Finding(Wrong.GHOST, case.mark, what)
        revived = any(one.revived and one.number == arrival.attempt for one in journal.attempts)
        if revived and case.people:
            yield Finding(
                Wrong.GHOST, case.mark, f"attempt {arrival.attempt} came after a restart, unapproved"
            )


def _left_before(journal: Journal, arrival: Arrival) -> str:
    """Whether an agent had hung up before the last person who was needed began to answer."""
    attempt = next((one for one in journal.attempts if one.number == arrival.attempt), None)
    if attempt is None:
        return "there was no such attempt"
    opened = _opened(journal, attempt)
    if attempt.left is None or attempt.left >= opened:
        return ""
    return f"{(opened - attempt.left) * 1000:.1f} ms before it could leave"


def _opened(journal: Journal, attempt: Attempt) -> float:
    """The earliest moment at which an attempt could leave: a window's end, or the last approval needed."""
    if not journal.case.people:
        return attempt.asked + WINDOW * 0.9
    first: dict[str, float] = {}
    for call in journal.calls:
        if call.counts:
            first.setdefault(call.person, call.sent)
    return max(sorted(first.values())[: journal.case.people], default=0.0)


# -- (2) nothing leaves twice for one approval -----------------------------------------


def _doubles(book: Book) -> Iterator[Finding]:
    mark, came = book.journal.case.mark, len(book.arrivals)
    approved = len({entry.get("hold") for entry in book.decided if entry["decision"] in _OPEN})
    if came > max(approved, 1):
        yield Finding(Wrong.DOUBLE, mark, f"{came} requests came for {approved} approvals")
    for attempt, count in Counter(one.attempt for one in book.arrivals).items():
        if count > 1 and came <= approved:
            yield Finding(Wrong.DOUBLE, mark, f"attempt {attempt} came {count} times")


# -- (3) no answer lies about who decided ----------------------------------------------


def _lies_to_agents(book: Book) -> Iterator[Finding]:
    for attempt in book.journal.attempts:
        if attempt.answer is not None:
            for what in (*_untrue(book, attempt), *_against_the_ledger(book, attempt)):
                yield Finding(Wrong.LIE, book.journal.case.mark, f"attempt {attempt.number} {what}")


def _untrue(book: Book, attempt: Attempt) -> Iterator[str]:
    """What an agent was told, beside what really happened."""
    answer, journal, case = attempt.answer, book.journal, book.journal.case
    assert answer is not None
    came = any(one.attempt == attempt.number for one in book.arrivals)
    if not answer.decision and not came:
        yield f"got {answer.status} from nobody: it never came to upstream"
    if came and (answer.retry or answer.decision not in ("", "unknown")):
        yield f"came to upstream, and its agent was told {answer.decision!r}, retry {answer.retry}"
    match answer.decision:
        case "" | "failed" | "unknown" | "unavailable":
            return
        case "denied":
            reasons = [call.reason for call in journal.calls if not call.approves]
            if answer.detail not in reasons:
                yield f"was told that a person denied it ({answer.detail!r}), and nobody did"
        case "expired":
            waited = (attempt.answered or 0.0) - journal.attempts[0].asked
            if Event.EXPIRE not in (*case.way.path, case.way.event) or waited < BRIEF * 0.9:
                yield f"was told after {waited:.2f} s that nobody answered in time"
        case "pending":
            waited = (attempt.answered or 0.0) - attempt.asked
            if Need.WAIT not in case.needs or waited < WAIT * 0.9:
                yield f"was told after {waited:.2f} s to ask again"
        case "refused":
            if journal.barred is None and case.fault is not Fault.PAUSE:
                yield "was told that a rule refuses it, and none does"
        case _:
            yield f"was told {answer.decision!r}, which nothing here leads to"


def _against_the_ledger(book: Book, attempt: Attempt) -> Iterator[str]:
    """What an agent was told, beside what is written."""
    answer = attempt.answer
    assert answer is not None
    told, unwritten = answer.decision, book.journal.case.fault in _UNWRITTEN
    written = {entry["decision"] for entry in book.decided}
    if told == "pending":
        if not unwritten and answer.hold not in {entry["hold"] for entry in book.deferred}:
            yield "was told to ask again, and the ledger does not say so"
        return
    if answer.hold:
        written = set(book.ends(answer.hold))
    elif unwritten:
        return
    allowed = _SAME.get(told, {told})
    if unwritten and told and told not in ("failed", "unknown"):
        allowed = allowed | {"cut_off"}
    if not written & allowed and not (told == "unavailable" and not written):
        yield f"was told {told!r}, and the ledger says {', '.join(sorted(written)) or 'nothing'}"


_BY: Final = {
    "approved": "reviewer",
    "denied": "reviewer",
    "expired": "deadline",
    "watched": "deadline",
    "abandoned": "agent",
    "unspent": "agent",
    "unavailable": "fault",
    "cut_off": "fault",
}


def _lies_to_auditors(book: Book) -> Iterator[Finding]:
    """Who decided, as the ledger has it, beside who really did."""
    mark = book.journal.case.mark
    for entry in book.decided:
        word, by = entry["decision"], entry["by"]
        if entry.get("hold") and by != _BY.get(word, by):
            yield Finding(Wrong.LIE, mark, f"the ledger says {word!r} by {by}")
        if word in ("approved", "denied") and not entry.get("grant"):
            # A denial may be of another hold for the same request, which then stands under `again`.
            holds, approves = {entry.get("hold"), entry.get("again")}, word == "approved"
            calls = [one for one in book.journal.calls if one.hold in holds and one.approves == approves]
            names = {one.name for one in calls if one.taken}
            named = entry.get("reviewers") or []
            if not set(named) <= names or not named:
                said, did = ", ".join(named), ", ".join(sorted(names))
                yield Finding(
                    Wrong.LIE, mark, f"the ledger says {word!r} by {said or 'nobody'}; {did or 'nobody'} did"
                )


def _lies_to_reviewers(book: Book) -> Iterator[Finding]:
    for call in book.journal.calls:
        what = _untold(book, call)
        if what:
            yield Finding(Wrong.LIE, book.journal.case.mark, f"{call.name} {what}")


def _untold(book: Book, call: Call) -> str:
    """What is wrong with what a reviewer was told."""
    if not call.state:
        return ""
    answer = "approve" if call.approves else "deny"
    written = [
        entry
        for entry in book.reviewed
        if (entry["hold"], entry["reviewer"], entry["answer"]) == (call.hold, call.name, answer)
    ]
    if not written:
        return f"was told that the answer ({answer}) counts, and it is not in the ledger"
    ends = book.ends(call.hold)
    if call.state == "denied" and ends == ["cut_off"] and book.journal.case.fault in _UNWRITTEN:
        return ""  # the answer is on disk, and only what came of it could not be written
    if call.state in ("approved", "denied") and call.state not in ends:
        return f"was told {call.state!r}, and the ledger says {', '.join(ends) or 'nothing'}"
    return ""


# -- (4) every hold ends in exactly one entry ------------------------------------------


def _ends(book: Book) -> Iterator[Finding]:
    case = book.journal.case
    for entry in book.held:
        ends = book.ends(entry["hold"])
        if ends == ["cut_off"] and case.fault not in _LEFT_OPEN:
            yield Finding(
                Wrong.END,
                case.mark,
                f"hold {entry['hold'][:6]} was left open by a gate that stopped in order",
            )
        if len(ends) != 1:
            said = ", ".join(ends) or "none"
            yield Finding(
                Wrong.END, book.journal.case.mark, f"hold {entry['hold'][:6]} has {len(ends)} ends: {said}"
            )
    # A refusal is told whether or not its hold could be written down; nothing else is.
    sent = {"failed", "unknown"}
    told = [attempt.answer for attempt in book.journal.attempts if attempt.answer]
    if case.fault in (Fault.FULL, Fault.LOCKED):
        answers = {answer.hold for answer in told if answer.decision in sent}
    else:
        answers = {answer.hold for answer in told if answer.decision != "unavailable"}
    for hold in answers - {""} - {entry["hold"] for entry in book.held}:
        yield Finding(
            Wrong.END, book.journal.case.mark, f"hold {hold[:6]} was told of and is not in the ledger"
        )


# -- (6) who waits is told -------------------------------------------------------------


def _silence(book: Book) -> Iterator[Finding]:
    journal, case = book.journal, book.journal.case
    if journal.broken and case.fault not in (Fault.KILL, Fault.TERM):
        yield Finding(Wrong.SILENT, case.mark, f"the agent could not ask: {journal.broken}")
    for attempt in journal.attempts:
        excused = attempt.left is not None or case.fault in (Fault.KILL, *LEAVES)
        if attempt.heard and attempt.answer is None and not excused:
            how = "was hung up on" if attempt.lost else "still waits"
            yield Finding(Wrong.SILENT, case.mark, f"attempt {attempt.number} {how}, and was told nothing")


# -- (7) a pause lets nothing through --------------------------------------------------


def _while_paused(found: Found) -> Iterator[Finding]:
    """Nothing leaves that was asked for, or approved, while everything was paused; a start ends no pause."""
    if found.paused is None:
        return
    begun, ended = found.paused
    arrivals = {(one.mark, one.attempt) for one in found.arrivals}
    for journal in (*found.journals, *found.walks):
        mark = journal.case.mark
        for attempt in journal.attempts:
            if begun < attempt.asked < ended and (mark, attempt.number) in arrivals:
                yield Finding(Wrong.GHOST, mark, f"attempt {attempt.number} came while everything was paused")
            if begun < attempt.asked < ended - _SOON and not _refused_at_once(attempt):
                yield Finding(Wrong.LIE, mark, f"attempt {attempt.number} was not refused by the pause")
        for call in journal.calls:
            if begun < call.sent < ended and call.approves and call.state:
                yield Finding(Wrong.LIE, mark, f"{call.name} could approve while everything was paused")


def _refused_at_once(attempt: Attempt) -> bool:
    """Whether a request was refused and had no hold, or its agent cannot say."""
    answer = attempt.answer
    return answer is None or (answer.decision in ("refused", "unavailable") and not answer.hold)


_SOON: Final = 1.0
"""Seconds within which a gate reads a request."""
_OF_ANY: Final = (_lies_to_reviewers, _lies_to_auditors, _ends, _silence)
_CHECKS: Final = (_ghosts, _out_of_turn, _doubles, _lies_to_agents, *_OF_ANY)
