"""
Everything that can happen to holds, in any order and at one moment, on a disk that is late or fails.

A real admission on a loop whose time is set, over a ledger on paper. Whatever happens: what leaves
has its approval on the disk, by as many different people as its rule says; nothing leaves twice
for one decision; each hold ends in one `decided`; who waits is told; and nothing is kept of what
has ended.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy import chain
from proxy.action import Request, digest
from proxy.admission import Admission
from proxy.admission.editing import edit, propose, sheet
from proxy.approvals import Approvals
from proxy.approvals.kept import Amount, Limits, size_of
from proxy.chain import Findings
from proxy.decision import Decision, Happened, Outcome
from proxy.decode import Facts
from proxy.errors import SluiceError
from proxy.grant import Limits as GrantLimits
from proxy.hold import OPEN, Hold, Review, Reviewer, State, unmet
from proxy.ledger import Draft, UnavailableError
from proxy.ledger.seen import Seen
from proxy.ledger.story import Story
from proxy.policy import Policy, load_texts
from proxy.policy.verdict import Effect

BEGAN = 1_800_000_000.0
ADA = Reviewer("uid:1", "ada", ("finance",), "ada")
ADA_AT_NIGHT = replace(ADA, name="ada-at-night")
BOB = Reviewer("uid:2", "bob", ("finance",), "bob")
EVE = Reviewer("uid:3", "eve", (), "eve")
OWNER = Reviewer("uid:4", "me", ("finance",), "me")
PEOPLE = (ADA, BOB, ADA_AT_NIGHT, EVE, OWNER)

RULES = """
version: 1
default: {{read: allow, write: hold}}
rules:
  - name: plain
    why: Someone looks.
    match: {{host: api.example.com, path: /plain}}
    {plain}
  - name: later
    why: Someone looks, once there is time.
    match: {{host: api.example.com, path: [/later, /spent]}}
    then: hold
    hold: {{timeout: {later}, wait: 3s, rejoin: 5s, remember: 10s, idempotency: Idempotency-Key}}
  - name: four-eyes
    why: One person alone moves no money.
    match: {{host: api.example.com, path: /four}}
    then: hold
    hold: {{approvals: 2, reviewers: [finance], not: [agent-owner], timeout: 20s, wait: 4s}}
  - name: window
    why: Someone may stop it.
    match: {{host: api.example.com, path: /window}}
    then: watch
    window: 4s
  - name: budget
    why: So many are routine.
    match: {{host: api.example.com, method: POST, path: [/budget, /spent, /window]}}
    then: allow
    budget: {{count: 2, per: 1h, over: hold}}
    hold: {{reviewers: [finance], timeout: 20s, wait: 3s}}
"""
HOLD = "then: hold\n    hold: {timeout: 20s, rejoin: 5s, remember: 10s}"
STRICTER = HOLD.replace("{timeout", "{approvals: 2, reviewers: [finance], timeout")
POLICIES: tuple[Policy, ...] = tuple(
    load_texts({"policy.yaml": RULES.format(plain=plain, later=later)})
    for plain, later in ((HOLD, "30s"), (HOLD, "29s"), ("then: deny", "30s"), (STRICTER, "30s"))
)
PATHS = ("/plain", "/later", "/four", "/window", "/budget", "/spent")


class SetTime(asyncio.SelectorEventLoop):
    """A loop whose time stands still until it is set, and that has no threads."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except BaseException as error:
            done.set_exception(error)
        return done

    def until(self) -> float:
        """When something happens by itself next."""
        times = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        return min(times, default=self.now)


class Paper:
    """A `proxy.ledger.Ledger` whose disk writes, and fails, when it is told to."""

    def __init__(self) -> None:
        self.disk: list[Draft] = [Draft("started", {})]
        self.waiting: list[tuple[Draft, asyncio.Future[int] | None]] = []
        self.broken = False
        self.missed = 0
        self.lost = False

    def queue(self, draft: Draft, *, patient: bool = False) -> asyncio.Future[int]:
        if self.broken:
            raise UnavailableError()
        ticket: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._add(draft, ticket)
        return ticket

    def note(self, draft: Draft) -> None:
        if self.broken:
            self.missed += 1
        else:
            self._add(draft, None)

    def _add(self, draft: Draft, ticket: asyncio.Future[int] | None) -> None:
        chain.check(draft.kind, draft.fields)
        self.waiting.append((draft, ticket))

    @property
    def head(self) -> tuple[int, bytes]:
        return len(self.disk) - 1, b""

    async def close(self) -> None:
        self.write(len(self.waiting))

    def write(self, count: int) -> None:
        written, self.waiting = self.waiting[:count], self.waiting[count:]
        for draft, ticket in written:
            self.disk.append(draft)
            if ticket is not None and not ticket.done():
                ticket.set_result(len(self.disk) - 1)

    def fail(self) -> None:
        self.broken = self.lost = True
        self.missed += len(self.waiting)
        for _, ticket in self.waiting:
            if ticket is not None and not ticket.done():
                ticket.set_exception(UnavailableError())
                ticket.exception()
        self.waiting = []

    def mend(self) -> None:
        if self.broken:
            self.disk.append(Draft("recovered", {"in_doubt": self.missed}))
            self.broken, self.missed = False, 0

    def entries(self, kind: str) -> Iterator[Draft]:
        return (draft for draft in self.disk if draft.kind == kind)

    def fields(self, kind: str) -> Iterator[Mapping[str, Any]]:
        return (draft.fields for draft in self.entries(kind))


class Connection:
    """One attempt of an agent, as the gate would carry it."""

    def __init__(self, world: World, asked: Request) -> None:
        self.world, self.asked = world, asked
        self.hearing: Any = None
        self.left = self.sent = False
        self.decision: Decision | None = None
        self.task = asyncio.ensure_future(self._go())

    async def _go(self) -> None:
        admission = self.world.admission
        self.hearing = await admission.receive(replace(self.asked, body=None))
        decision = self.hearing.decision
        if self.left:
            self.hearing.leave("gone")
        self.decision = decision or await self.hearing.judge(self.asked)
        if self.decision.word.opens:
            self._release(self.decision)

    def _release(self, decision: Decision) -> None:
        if self.left:
            self.hearing.conclude(Outcome(Happened.FAILED, why="the agent left"))
            return
        self.sent = True
        self.world.leaves(self, decision)

    def leave(self) -> None:
        self.left = True
        if self.hearing is not None:
            self.hearing.leave("gone")

    def conclude(self, outcome: Outcome) -> None:
        if self.sent:
            self.hearing.conclude(outcome)


class World:
    """A gate's inside, everyone around it, and what may never be."""

    def __init__(self, loop: SetTime) -> None:
        self.loop, self.paper = loop, Paper()
        self.clock = lambda: BEGAN + loop.now
        ids = itertools.count()
        seen = Seen()
        self.admission = Admission(
            POLICIES[0],
            Approvals(self.clock, Limits(holds=5, size=3_000)),
            self.paper,
            facts=Facts(seen, b"k" * 32),
            clock=self.clock,
            new_id=lambda: f"{next(ids):06}id",
            released=seen.add,
            draw=lambda count: b"s" * count,
        )
        self.connections: list[Connection] = []
        self.answers: list[asyncio.Task[Any]] = []
        self.released: Counter[str] = Counter()
        self.void: list[Review] = []

    # -- what happens ------------------------------------------------------------------

    def ask(self, path: int, body: int, agent: int, more: int) -> None:
        name = ("uid:me", "uid:me", "uid:me", "uid:other", None)[agent % 5]
        key = ((b"idempotency-key", b"theirs"),) if more % 4 == 1 else ()
        key += ((b"prefer", b"respond-async"),) if more % 4 == 2 else ()
        headers = ((b"content-type", b"application/x-www-form-urlencoded"), *key)
        target = PATHS[path % len(PATHS)].encode()
        asked = Request(
            name, b"POST", "https", "api.example.com", 443, target, headers, b"amount=%d" % (body % 4 == 3)
        )
        self.connections.append(Connection(self, asked))

    def again(self, which: int, *_: int) -> None:
        """The same request once more, as clients do that gave up."""
        if self.connections:
            self.connections.append(Connection(self, self.connections[which % len(self.connections)].asked))

    def leave(self, which: int, *_: int) -> None:
        if self.connections:
            self.connections[which % len(self.connections)].leave()

    def tear(self, which: int, *_: int) -> None:
        """The connection's task ends, with or without a word before."""
        if self.connections:
            one = self.connections[which % len(self.connections)]
            one.left = True
            one.task.cancel()

    def conclude(self, which: int, how: int, *_: int) -> None:
        if self.connections:
            happened = (Happened.COMPLETED, Happened.FAILED, Happened.UNKNOWN)[how % 3]
            status = (200, 402)[how % 2] if happened is Happened.COMPLETED else None
            self.connections[which % len(self.connections)].conclude(Outcome(happened, status))

    def _hold(self, which: int) -> Hold | None:
        found = self.admission.approvals.open_holds or tuple(self.admission.approvals._ended.values())
        return found[which % len(found)] if found else None

    def approve(self, which: int, who: int, stale: int, *_: int) -> None:
        self._answer(which, who, stale, approves=True)

    def deny(self, which: int, who: int, stale: int, *_: int) -> None:
        self._answer(which, who, stale, approves=False)

    def _answer(self, which: int, who: int, stale: int, *, approves: bool) -> None:
        hold = self._hold(which)
        if hold is not None:
            seen = b"x" * 32 if stale % 8 == 7 else hold.digest
            person = PEOPLE[who % len(PEOPLE)]
            answer = self.admission.review(hold.id, person, approves=approves, reason="so", seen=seen)
            self.answers.append(asyncio.ensure_future(answer))

    def withdraw(self, which: int, who: int, *_: int) -> None:
        """A reviewer loses the key by which they have approved so far."""
        person = PEOPLE[who % len(PEOPLE)]
        for hold in self.admission.approvals.open_holds:
            self.void += [one for one in hold.reviews if one.approves and one.reviewer.name == person.name]
        self.admission.reviewer_changed(
            person.name, lambda one: None if one.reviewer.name == person.name else one.reviewer
        )

    def _counts_void(self, hold: Hold) -> bool:
        return any(one is void for one in hold.reviews for void in self.void)

    def grant(self, which: int, who: int, *_: int) -> None:
        hold = self._hold(which)
        if hold is not None:
            granted = self.admission.granting.grant(
                hold.id,
                PEOPLE[who % len(PEOPLE)],
                reason="",
                seen=hold.digest,
                limits=GrantLimits(30, 1 + which % 2),
            )
            self.answers.append(asyncio.ensure_future(granted))

    def revoke(self, *_: int) -> None:
        self.answers.append(asyncio.ensure_future(self.admission.granting.revoke("", "ada")))

    def edit(self, which: int, who: int, *_: int) -> None:
        hold = self._hold(which)
        if hold is not None:
            self.answers.append(asyncio.ensure_future(self._edit(hold, PEOPLE[who % len(PEOPLE)])))

    async def _edit(self, hold: Hold, who: Reviewer) -> None:
        _, text = await sheet(self.admission, hold.id)
        text = text.replace("amount=", "amount=3")
        made = await propose(self.admission, hold.id, who, seen=hold.digest, text=text)
        await edit(
            self.admission, hold.id, who, seen=hold.digest, text=text, becomes=made.edited.digest, reason="e"
        )

    def extend(self, which: int, who: int, *_: int) -> None:
        hold = self._hold(which)
        if hold is not None:
            with suppress(SluiceError):
                self.admission.extend(hold.id, PEOPLE[who % len(PEOPLE)], 5)

    def pause(self, which: int, *_: int) -> None:
        if which % 4 == 0:
            self.admission.pause((None, "uid:me")[which % 2], "ada")

    def resume(self, *_: int) -> None:
        self.admission.resume(None, "ada")

    def change(self, which: int, *_: int) -> None:
        self.admission.change_policy(POLICIES[which % len(POLICIES)], "ada", "")

    def write(self, count: int, *_: int) -> None:
        self.paper.write(1 + count)

    def write_all(self, *_: int) -> None:
        self.paper.write(len(self.paper.waiting))

    def fail(self, which: int, *_: int) -> None:
        if which % 3 == 0:
            self.paper.fail()

    def mend(self, *_: int) -> None:
        self.paper.mend()

    def wait(self, which: int, *_: int) -> None:
        """Time goes on to what happens by itself next, or a little."""
        self.loop.now = max(self.loop.now, self.loop.until()) if which % 2 else self.loop.now + 0.7

    # -- what may never be -------------------------------------------------------------

    def leaves(self, connection: Connection, decision: Decision) -> None:
        """A request leaves the gate, in this very moment."""
        paper = self.paper
        id = connection.hearing._id
        written = [one for one in paper.entries("decided") if one.fields["id"] == id]
        waits = any(draft.fields.get("id") == id for draft, _ in paper.waiting)
        if decision.hold is None and decision.grant == "" and not written:
            assert waits, "what is allowed is at least queued"
            return
        (entry,) = written
        assert entry.fields["decision"] == str(decision.word) in ("approved", "watched", "allowed")
        self.released[id] += 1
        assert self.released[id] == 1, "one decision is one request"
        if entry.fields["by"] == "grant":
            self._granted(entry)
        elif entry.fields["decision"] == "approved":
            self._approved(connection, decision, entry)

    def _granted(self, entry: Draft) -> None:
        (grant,) = [one for one in self.paper.fields("granted") if one["grant"] == entry.fields["grant"]]
        uses = [one for one in self.paper.fields("decided") if one.get("grant") == grant["grant"]]
        assert len(uses) <= grant["uses"]

    def _approved(self, connection: Connection, decision: Decision, entry: Draft) -> None:
        hold = entry.fields["hold"]
        (_,) = [one for one in self.paper.fields("held") if one["hold"] == hold]
        sent = decision.sends or connection.asked
        ended = self.admission.approvals._ended.get(hold)
        assert ended is None or not self._counts_void(ended), "who approved could still do so when it ended"
        yes = {
            one.fields["person"]
            for one in self.paper.entries("reviewed")
            if one.fields["hold"] == hold and one.fields["answer"] == "approve" and one.digest == entry.digest
        }
        names = {one.name for one in PEOPLE if one.person in yes}
        assert yes and set(entry.fields["reviewers"]) <= names, "who approved is who is said to have"
        if "four-eyes" in entry.fields["rules"]:
            owner = OWNER.person if connection.asked.agent in ("uid:me", None) else ""
            assert len(yes - {EVE.person, owner}) >= 2
        if "budget" in entry.fields["rules"]:
            assert yes - {EVE.person}
        if not decision.sends:
            assert digest(sent) == entry.digest

    def check(self) -> None:
        """What holds whenever nothing is under way."""
        approvals = self.admission.approvals
        states = {one.id: one for one in approvals.open_holds}
        for index, of in (
            (approvals._kept.attended, {State.PENDING}),
            (approvals._kept.spendable, {State.SPENDABLE}),
            (approvals._kept.alone, OPEN - {State.PENDING, State.SPENDABLE}),
        ):
            ids = {id for same in index._ids.values() for id in same}
            assert ids == {id for id, hold in states.items() if hold.state in of}
            assert len(index) == len(ids)
        denied = self.admission.recall._denied
        for hold in states.values():
            self._asks_enough(hold)
            assert not self._counts_void(hold)
            if hold.state is State.SPENDABLE:
                assert not unmet(hold.verdict.demands, hold.reviews, hold.agent)
            until = denied[hold.asked][0] if hold.asked in denied else 0.0
            assert until <= self.clock() or hold.edit or "had edited" in "".join(hold.notices), (
                "it was denied"
            )
        kept = [hold for hold in states.values() if hold.state is not State.PENDING]
        amounts = {agent: Amount() for agent in {one.agent for one in kept}}
        for one in kept:
            amounts[one.agent] = amounts[one.agent].of(one)
        assert approvals._kept.by_agent == amounts
        assert approvals._kept.total == Amount(len(kept), sum(map(size_of, kept)))
        assert len(kept) <= 6
        ended = Counter(
            str(draft.fields["hold"])
            for draft in (*self.paper.disk, *(draft for draft, _ in self.paper.waiting))
            if draft.kind == "decided" and draft.fields.get("hold") and draft.fields["decision"] != "pending"
        )
        assert max(ended.values(), default=0) <= 1, "a hold ends once"
        assert not set(ended) & set(states), "what has ended is not open"

    def _asks_enough(self, hold: Hold) -> None:
        """What waits on a connection waits for all whom the policy in force names."""
        if hold.state is State.PENDING:
            verdict = self.admission.policy.judge(self.admission.understood(hold.action.request))
            assert verdict.effect is not Effect.DENY
            if hold.verdict.effect is Effect.HOLD and verdict.effect is Effect.HOLD:
                assert set(verdict.demands) <= set(hold.verdict.demands)

    def close(self) -> None:
        """Everyone goes, the disk is well, and all deadlines pass: nothing is left."""
        self.loop.run_until_complete(self._go_away())
        self.settle()
        self.loop.run_until_complete(self._go_away())
        for _ in range(60):
            self.loop.now = max(self.loop.now, self.loop.until())
            self.settle()
        assert self.admission.approvals.open_holds == ()
        assert self.admission._recorded == {} == self.admission._answers
        assert all(one.task.done() for one in self.connections)
        for one in self.connections:
            if not one.task.cancelled():
                assert one.task.exception() is None
        for answer in self.answers:
            assert answer.done()
            if not answer.cancelled():
                assert answer.exception() is None or isinstance(answer.exception(), SluiceError)
        self.check()
        self._books()

    async def _go_away(self) -> None:
        self.paper.mend()
        for one in self.connections:
            one.conclude(Outcome(Happened.COMPLETED, 200))
            one.leave()

    def _books(self) -> None:
        story = Story(Findings())
        for seq, draft in enumerate(self.paper.disk):
            story.take(seq, {"kind": draft.kind, **draft.fields})
        if self.paper.lost:
            return
        assert [one.what for one in story.findings.kept] == []
        assert story.holds == {}, "every hold ends"
        assert story.running == {}, "what was let through has an outcome"

    def settle(self) -> None:
        for _ in range(6):
            self.paper.write(len(self.paper.waiting))
            self.loop.run_until_complete(turns(12))


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


OFTEN = {
    "ask": 3,
    "again": 3,
    "leave": 2,
    "approve": 4,
    "deny": 2,
    "grant": 2,
    "resume": 2,
    "write": 2,
    "write_all": 2,
}
SELDOM = ("tear", "withdraw", "revoke", "edit", "extend", "pause", "change", "fail", "conclude")
EVENTS = [name for name, times in {**OFTEN, "mend": 2, "wait": 3}.items() for _ in range(times)] + [*SELDOM]
NUMBER = st.integers(0, 11)
EVENT = st.tuples(st.sampled_from(EVENTS), NUMBER, NUMBER, NUMBER, NUMBER)
STEP = st.tuples(st.lists(EVENT, min_size=1, max_size=3), st.sampled_from((0, 1, 2, 12)))


@contextmanager
def world() -> Iterator[World]:
    loop = SetTime()
    asyncio.set_event_loop(loop)
    try:
        yield World(loop)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()


def play(steps: list[tuple[list[tuple[str, int, int, int, int]], int]]) -> None:
    with world() as found:

        async def at_once(events: list[tuple[str, int, int, int, int]]) -> None:
            for name, *numbers in events:
                getattr(found, name)(*numbers)

        for events, count in steps:
            found.loop.run_until_complete(at_once(events))
            found.loop.run_until_complete(turns(count))
            if count == 12:
                found.check()
        found.close()


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=1, max_size=40))
def test_whatever_happens_in_any_order(steps: list[Any]) -> None:
    play(steps)
