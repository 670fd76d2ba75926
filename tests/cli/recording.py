"""A ledger with decisions in it, made by a real admission."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from proxy.action import Request
from proxy.admission import Admission
from proxy.approvals import Approvals
from proxy.decode import Facts
from proxy.hold import Reviewer
from proxy.ledger.seen import Seen
from proxy.ledger.sqlite import SqliteLedger
from proxy.policy import load_texts, request

BOB = Reviewer("bob", "bob")


def post(
    url: str, form: str = "", *, agent: str = "uid:ann", method: str = "POST", **headers: str
) -> Request:
    """A request with a form, as an agent would send it."""
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    if form and "content_type" not in headers:
        pairs.append(("content-type", "application/x-www-form-urlencoded"))
    return request(method, url, pairs, form.encode(), agent=agent)


def record(path: Path, policy: str, requests: Iterable[Request], *, approves: bool = True) -> Path:
    """The ledger of these requests under this policy; each hold is answered at once."""
    path.parent.chmod(0o700)
    asyncio.run(_record(path, policy, list(requests), approves))
    return path


async def _record(path: Path, policy: str, requests: list[Request], approves: bool) -> None:
    ledger, _ = await SqliteLedger.open(path)
    numbers, seen = itertools.count(), Seen()
    admission = Admission(
        load_texts({"policy.yaml": policy}),
        Approvals(time.time),
        ledger,
        facts=Facts(seen, b"k" * 32),
        clock=time.time,
        new_id=lambda: f"id{next(numbers):024}",
        released=seen.add,
    )
    for one in requests:
        hearing = await admission.receive(replace(one, body=None) if one.body else one)
        if hearing.decision is None:
            judged = asyncio.create_task(hearing.judge(one))
            async with asyncio.timeout(10):
                while not judged.done():
                    for hold in admission.approvals.pending:
                        await admission.review(hold.id, BOB, approves=approves, reason="", seen=None)
                    await asyncio.sleep(0)
            await judged
    await ledger.close()
