"""
A desk that signs: what a reviewer decides goes out with the reviewer's proof.

What is signed of a hold is what this desk has shown of it last, so that an answer to something
that has changed since counts for nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace

from proxy.chain import stamp
from proxy.errors import Exit, SluiceError, fail
from proxy.keyring import Signer
from proxy.keyring.finding import apart
from proxy.ledger.roll import ACTS
from proxy.signing.statement import Proof, Statement
from proxy.wire import UNSIGNED, Answer, Call, Change, Desk, HoldView, RollView, Snapshot, Verb
from proxy.wire.orders import ANSWERING, about, act

type Find = Callable[[RollView], Signer | None]
"""The key to sign with, by who is enrolled; may ask a person. None where this person has none."""


class SigningDesk(Desk):
    """
    `inner`, its decisions signed where reviewers are enrolled.

    `find` is asked once, apart from everything else; `clock` gives Unix time in seconds.
    """

    def __init__(self, inner: Desk, find: Find, *, clock: Callable[[], float]) -> None:
        self._inner = inner
        self._find = find
        self._clock = clock
        self._signer: Signer | None = None
        self._shown: dict[str, HoldView] = {}

    async def changes(self) -> AsyncIterator[Snapshot | Change]:
        """As the inner desk's; what goes by is what was shown."""
        changes = self._inner.changes()
        try:
            async for change in changes:
                self._note(change)
                yield change
        finally:
            if isinstance(changes, AsyncGenerator):
                await changes.aclose()

    def _note(self, change: Snapshot | Change) -> None:
        if isinstance(change, Snapshot):
            self._shown = {view.id: view for view in change.holds}
        elif change.hold is not None and change.kind == "settled":
            self._shown.pop(change.hold.id, None)
        elif change.hold is not None:
            self._shown[change.hold.id] = change.hold

    async def snapshot(self) -> Snapshot:
        """As the inner desk's."""
        return await self._inner.snapshot()

    async def take(self, call: Call) -> Answer:
        """As the inner desk's, with a proof where one is needed."""
        if call.verb in UNSIGNED:
            return self._seen(await self._inner.take(call))
        roll = await self._inner.roll()
        if not roll.reviewers and act(call) not in ACTS:
            return await self._inner.take(call)
        view = await self._view(call)
        signer = await self.ready(roll)
        if view is not None:
            call = replace(call, prefix=view.id, digest=call.digest or view.digest)
        proof = await self._signed(call, view, signer, roll)
        answer = self._seen(await self._inner.take(replace(call, proof=proof)))
        return await self._confirmed(call, answer) if call.verb is Verb.EDIT else answer

    async def _confirmed(self, edit: Call, answer: Answer) -> Answer:
        """Sign the approval of what was edited, if it became what was confirmed, and is this person's."""
        if not isinstance(answer, HoldView) or answer.digest != edit.becomes:
            return answer
        approval = Call(
            Verb.REVIEW, prefix=answer.id, approves=True, reason=edit.reason, digest=answer.digest
        )
        try:
            return await self.take(approval)
        except SluiceError as error:
            if error.exit is not Exit.NO:
                raise
            return answer  # edited, and for others to approve

    def _seen(self, answer: Answer) -> Answer:
        if isinstance(answer, HoldView):
            self._shown[answer.id] = answer
        return answer

    async def _view(self, call: Call) -> HoldView | None:
        if call.verb not in ANSWERING:
            return None
        return self._shown.get(call.prefix) or await self.show(call.prefix)

    async def ready(self, roll: RollView | None = None) -> Signer:
        """The key that signs, opened; SluiceError (exit 1) where this person has none."""
        if self._signer is None:
            enrolled = roll or await self._inner.roll()
            self._signer = await apart(lambda: self._find(enrolled))
        if self._signer is None:
            raise fail(
                "none of your keys is enrolled here, and only what a reviewer signs counts",
                "an agent of this account could answer otherwise",
                "sluice reviewer list; sluice reviewer add NAME --new",
                exit=Exit.NO,
            )
        return self._signer

    async def _signed(self, call: Call, view: HoldView | None, signer: Signer, roll: RollView) -> Proof:
        statement = Statement(
            act=act(call),
            ledger=roll.ledger,
            reviewer=signer.name,
            key=signer.key.id,
            time=stamp(int(self._clock() * 1_000_000)),
            about=about(call, view),
        )
        data = statement.data
        return Proof(data.decode(), await apart(lambda: signer.sign(data)))
