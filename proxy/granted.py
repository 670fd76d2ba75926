"""What a reviewer asks about grants, and what is answered: calls in, views out."""

from __future__ import annotations

from proxy.admission.granting import Granting
from proxy.errors import Exit, SluiceError, fail
from proxy.grant import Grant, Limits
from proxy.grant.scope import free
from proxy.hold import Hold
from proxy.people import Reviewer
from proxy.signing.statement import Proof
from proxy.wire import Call, GrantView, Offer, Standing


def offer(granting: Granting, call: Call) -> Offer:
    """What approving the like of a hold would let through; SluiceError (exit 1) where nothing may be."""
    hold, scope = granting.offer(call.prefix, call.fields)
    return Offer(hold.id, hold.digest.hex(), scope.text, free(scope.whole))


async def grant(granting: Granting, call: Call, reviewer: Reviewer, proof: Proof | None) -> Hold:
    """Approve a hold and its like, as a call asks."""
    try:
        limits = Limits(call.seconds, call.uses)
    except SluiceError as error:
        raise SluiceError(*error.problems, exit=Exit.NO) from None
    return await granting.grant(
        call.prefix,
        reviewer,
        reason=call.reason,
        seen=_seen(call.digest),
        limits=limits,
        fields=call.fields,
        rule=call.rule,
        proof=proof,
    )


async def revoke(granting: Granting, call: Call, reviewer: Reviewer) -> Standing:
    """Take back one grant, or all; those that still stand."""
    await granting.revoke(call.prefix, reviewer.name)
    return standing(granting)


def standing(granting: Granting) -> Standing:
    """The grants that stand."""
    return Standing(tuple(map(_view, granting.standing)))


def _view(grant: Grant) -> GrantView:
    return GrantView(
        id=grant.id,
        hold=grant.hold,
        agent=grant.agent,
        by=grant.by,
        rule=grant.text,
        free=free(bool(grant.mark)),
        uses=grant.uses,
        left=grant.left,
        until=grant.until,
    )


def _seen(digest: str | None) -> bytes | None:
    try:
        return None if digest is None else bytes.fromhex(digest)
    except ValueError:
        raise fail(
            f"'{digest}' is no digest", fix="give the 64 hex digits that holds show", exit=Exit.NO
        ) from None
