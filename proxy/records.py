"""
What is written down of each thing that happens: the fields of every kind of entry.

Pure. Secrets are removed here, on the way to the ledger (`proxy.redact`), and long text is
cut, so that an agent cannot make an entry that does not fit.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from proxy.action import Action, Field, Reading, Request, Values
from proxy.budget import RETURNED, entered
from proxy.chain import REQUEST_TAG, commitment, cut
from proxy.decision import Decision, Outcome
from proxy.decode import Unreadable
from proxy.decode import body as bodies
from proxy.grant import Grant
from proxy.hold import Hold, Review, Reviewer, State
from proxy.ledger import Draft
from proxy.policy.values import number
from proxy.policy.verdict import Effect, Tier, Verdict
from proxy.redact import Redacted, redact, redact_url, redact_value

MAX_TEXT: Final = 2_000
MAX_URL: Final = 4_000
_PATH: Final = re.compile(r"/[^\s,]*")
MAX_SHOWN: Final = 20
MAX_ENTERED: Final = 4_000
MAX_RECIPIENTS: Final = 100
MAX_TYPED: Final = 80

_REACH: Final = ("recipients", "records", "amount", "currency")
_MARKERS: Final = ("host", "operation", "recipient", "credential")
_WHOM: Final = ("to", "recipient", "recipients", "email", "destination", "channel", "payee", "account")
_TRUE: Final = Values(("true",))
_ABSENT_TEXTS: Final = ("‹none›",)


def iso(time: float) -> str:
    """Unix seconds as RFC 3339 in UTC, in microseconds."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def decided(
    id: str, action: Action, verdict: Verdict | None, decision: Decision, policy: str, *, shadow: bool = False
) -> Draft:
    """The decision on one request, whatever it was."""
    request = action.request
    fields: dict[str, object] = {
        "id": id,
        "decision": str(decision.word),
        "by": str(decision.by),
        "rule": decision.rule,
        "rules": list(decision.rules[:100]),
        "why": cut(decision.why, MAX_TEXT),
        "policy": policy,
        "agent": request.agent,
        "method": cut(action.method, 100),
        "url": cut(redact_url(request.url), MAX_URL),
        "host": cut(action.host, 300),
        "operation": cut(operation(action), 500),
    }
    fields.update(_for_replay(action))
    if verdict is not None:
        fields["effect"] = str(verdict.effect)
        if shadow:
            fields["shadow"] = True
        if decision.word.opens and (taken := entered(verdict.budgets)):
            fields["budgets"] = taken
    if decision.hold is not None:
        fields["hold"] = decision.hold
    if decision.hold is not None or decision.again or decision.grant:
        fields["reviewers"] = list(decision.reviewers)
    if decision.again:
        fields["again"] = decision.again
    if decision.grant:
        fields["grant"] = decision.grant
    credential = action.read(("credential",))
    if isinstance(credential, Values) and credential.items:
        fields["credential"] = credential.items[0]
    if reached := sorted(_recipients(action))[:MAX_RECIPIENTS]:
        fields["recipients"] = reached
    return Draft("decided", fields, digest=decision.digest or None, salt=decision.salt or None)


def operation(action: Action) -> str:
    """What an action is called, without the secrets of the paths that it may be called by."""
    host = f"{action.request.scheme}://{action.host}"
    return _PATH.sub(lambda path: redact_url(host + path[0]).removeprefix(host), action.operation)


def _recipients(action: Action) -> set[str]:
    """Keyed hashes of whom an action and its members reach."""
    found = action.read(("first_seen", "recipient", "marks"))
    own = {item for item in found.items if item} if isinstance(found, Values) else set()
    return own.union(*map(_recipients, action.members))


def _for_replay(action: Action) -> dict[str, object]:
    """What else is needed to judge the request again: `sluice policy replay` reads it."""
    told: dict[str, object] = {}
    does = action.read(("consequence",))
    if action.complete and isinstance(does, Values):
        told["consequence"] = list(does.items)
    if action.request.body is not None:
        told["body"] = len(action.request.body)
    methods = action.read(("method",))
    if isinstance(methods, Values) and len(methods.items) > 1:
        told["methods"] = [None if one is None else cut(one, 100) for one in methods.items[:20]]
    if action.request.header(b"upgrade"):
        told["upgrade"] = True
    return told


def fault(id: str, agent: str | None, decision: Decision) -> Draft:
    """A refusal before anything was understood: bytes that are no request, or an error of ours."""
    fields = {
        "id": id,
        "decision": str(decision.word),
        "by": str(decision.by),
        "why": decision.why,
        "agent": agent,
    }
    return Draft("decided", fields)


def held(hold: Hold) -> Draft:
    """A hold as it opened; what was asked, secrets removed, lies in the payload beside it."""
    action, verdict = hold.action, hold.verdict
    fields: dict[str, object] = {
        "hold": hold.id,
        "rule": verdict.rule,
        "rules": list(verdict.rules[:100]),
        "why": cut(verdict.why, MAX_TEXT),
        "policy": verdict.policy,
        "agent": action.request.agent,
        "method": action.method,
        "url": cut(redact_url(action.request.url), MAX_URL),
        "operation": cut(operation(action), 500),
        "says": cut(verdict.says, 500),
        "show": _entered(shown(action, verdict)),
        "deadline": iso(hold.deadline),
    }
    return Draft("held", fields, digest=hold.digest, payload=payload(action.request), salt=hold.salt or None)


def _entered(show: dict[str, tuple[str, ...]]) -> list[object]:
    """
    The shown fields as an entry has them: pairs, because an entry's keys may not be any text.

    As much as fits: a mail to thousands must not make an entry that cannot be written. All of
    it is in the payload.
    """
    room = MAX_ENTERED
    pairs: list[object] = []
    for name, values in show.items():
        kept: list[str] = []
        for value in values:
            text = cut(value, 200)
            room -= len(text.encode()) + 8
            if room < 0:
                kept.append("…")
                break
            kept.append(text)
        pairs.append([cut(name, 200), kept])
        if room < 0:
            break
    return pairs


def payload(request: Request) -> bytes:
    """A request, secrets removed, as it may be kept and later erased."""
    clean = readable(request)
    kept = {
        "url": clean.url,
        "headers": [list(pair) for pair in clean.headers],
        "body": clean.body_text,
        "note": clean.body_note,
        "removed": list(clean.removed),
    }
    return json.dumps(kept, ensure_ascii=False).encode("utf-8", "backslashreplace")


def readable(request: Request) -> Redacted:
    """A request as a person can read it: content codings undone, secrets removed."""
    codings = b", ".join(request.header(b"content-encoding")).decode("latin-1")
    if not codings or not request.body:
        return redact(request)
    try:
        plain = bodies.undo(request.body, codings)
    except Unreadable:
        return redact(request)
    headers = tuple(pair for pair in request.headers if pair[0].lower() != b"content-encoding")
    clean = redact(replace(request, headers=headers, body=plain))
    coded = ("content-encoding", codings)
    return replace(
        clean,
        headers=(*clean.headers, coded),
        body_note=f"shown without its {codings} coding; {clean.body_note}",
    )


def shown(action: Action, verdict: Verdict) -> dict[str, tuple[str, ...]]:
    """The fields under `show`, as text: what is unknown or absent says so."""
    return {".".join(name): _texts(action, name) for name in verdict.show[:100]}


def _texts(action: Action, name: Field) -> tuple[str, ...]:
    found = _anywhere(action, name)
    if not isinstance(found, Values):
        return ("‹unknown›",)
    if not found.items:
        return _ABSENT_TEXTS
    texts = tuple(
        "‹unreadable›" if item is None else cut(redact_value(item, name), 500)
        for item in found.items[:MAX_SHOWN]
    )
    rest = len(found.items) - MAX_SHOWN
    return (*texts, f"… and {rest} more") if rest > 0 else texts


def _anywhere(action: Action, name: Field) -> Reading:
    """What an action says under a name: of a container, what its members say where itself says nothing."""
    found = action.read(name)
    if not action.members or (isinstance(found, Values) and found.items):
        return found
    inside = [_anywhere(member, name) for member in action.members]
    items = tuple(item for one in inside if isinstance(one, Values) for item in one.items)
    return Values(items) if items else found


def reach(action: Action) -> dict[str, tuple[str, ...]]:
    """How far an action reaches, as text: what nothing says is left out, what might be is unknown."""
    found = {name: _texts(action, ("blast", name)) for name in _REACH}
    return {name: texts for name, texts in found.items() if texts != _ABSENT_TEXTS}


def first_seen(action: Action) -> tuple[str, ...]:
    """What this agent does for the first time, itself or in a member."""
    return tuple(
        name
        for name in _MARKERS
        if any(one.read(("first_seen", name)) == _TRUE for one in (action, *action.members))
    )


def confirm(action: Action, verdict: Verdict) -> tuple[str, ...]:
    """
    What a person types to approve this at the critical tier, and what it is called; else nothing.

    The amount (of several the largest), the recipient, else the last step of the path, or what it does;
    the host where that would say no more than the method.
    """
    if verdict.tier is not Tier.CRITICAL or verdict.effect is not Effect.HOLD:
        return ()
    amounts = [text for text in _typeable(action, ("blast", "amount")) if number(text) is not None]
    if amounts:
        return "amount", max(amounts, key=lambda text: number(text) or 0)
    shown = [name for name in verdict.show if name[-1].lower() in _WHOM]
    for name in (("email", "to"), *shown, *((root, whom) for root in ("json", "form") for whom in _WHOM)):
        if found := _typeable(action, name):
            return "recipient", found[0]
    step = action.path.rstrip("/").rpartition("/")[2]
    if _can_be_typed(step, ("path",)):
        return "last step of the path", step
    said = operation(action)
    if said == f"{action.method} {action.path}" and _can_be_typed(action.host, ("host",)):
        return "host", action.host
    return "operation", said if _can_be_typed(said, ()) else "yes"


def _typeable(action: Action, name: Field) -> list[str]:
    found = _anywhere(action, name)
    items = found.items if isinstance(found, Values) else ()
    return [text for text in items[:MAX_SHOWN] if text is not None and _can_be_typed(text, name)]


def _can_be_typed(text: str, name: Field) -> bool:
    """Whether a person can see the text as it is, and type it."""
    plain = text.isascii() and text.isprintable() and text == text.strip()
    return plain and 0 < len(text) <= MAX_TYPED and redact_value(text, name) == text


def reviewed(hold: Hold, review: Review) -> Draft:
    """One person's answer, for the digest that this person saw."""
    fields: dict[str, object] = {
        "hold": hold.id,
        "reviewer": cut(review.reviewer.name, 200),
        "person": cut(review.reviewer.person, 200),
        "answer": "approve" if review.approves else "deny",
        "reason": cut(review.reason, MAX_TEXT),
    }
    if review.proof is not None:
        fields.update(statement=review.proof.statement, signature=review.proof.signature)
    return Draft("reviewed", fields, digest=review.digest, salt=hold.salt or None)


def moved(hold: Hold) -> Draft | None:
    """That nobody waits on a hold any more, or somebody again; None where a review says it already."""
    match hold.state:
        case State.UNATTENDED:
            return Draft("unattended", {"hold": hold.id, "why": cut(hold.cause, 500)})
        case State.DEFERRED:
            return Draft("deferred", {"hold": hold.id, "why": cut(hold.cause, 500)})
        case State.PENDING:
            return Draft("rejoined", {"hold": hold.id, "attempt": hold.attempts})
        case _:
            return None


def edited(hold: Hold, by: Reviewer, before: bytes) -> Draft:
    """
    A reviewer put another request in the place of a hold's; `before` is the digest until then.

    The entry is about the edited request; `before` commits to the other one, as the entries do that
    were about that. The difference lies beside it.
    """
    clean = redact_url(hold.action.request.url)
    fields = {
        "hold": hold.id,
        "by": cut(by.name, 200),
        "person": cut(by.person, 200),
        "method": cut(hold.action.method, 100),
        "url": cut(clean, MAX_URL),
        "rule": hold.verdict.rule,
    }
    if hold.salt:
        fields["before"] = commitment(REQUEST_TAG, hold.salt, before)
    kept = {
        "before": before.hex(),
        "after": hold.digest.hex(),
        "difference": list(hold.edit.difference if hold.edit else ()),
    }
    data = json.dumps(kept, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Draft("edited", fields, digest=hold.digest, payload=data, salt=hold.salt or None)


def extended(hold: Hold, by: str) -> Draft:
    """A reviewer gave a hold more time."""
    return Draft("extended", {"hold": hold.id, "deadline": iso(hold.deadline), "by": cut(by, 200)})


def granted(grant: Grant) -> Draft:
    """The like of a hold may go without a prompt, within limits."""
    return Draft("granted", grant.fields())


def revoked(grant: Grant, why: str, by: str) -> Draft:
    """A grant stands no more before its time; `by` is who ended it, empty where its rules did."""
    fields = {"grant": grant.id, "hold": grant.hold, "why": cut(why, 500), "by": cut(by, 200)}
    return Draft("revoked", fields)


def outcome(id: str, decision: Decision, outcome: Outcome, *, returned: bool = False) -> Draft:
    """What happened upstream after a decision that opened; `returned` where its budgets are given back."""
    fields: dict[str, object] = {
        "id": id,
        "status": outcome.status,
        "sent": outcome.sent,
        "received": outcome.received,
        "microseconds": int(outcome.seconds * 1_000_000),
    }
    if decision.hold is not None:
        fields["hold"] = decision.hold
    if decision.grant:
        fields["grant"] = decision.grant
    if returned:
        fields["budgets"] = RETURNED
    if outcome.why:
        fields["why"] = cut(outcome.why, 500)
    if outcome.decision is not None:
        fields["decision"] = str(outcome.decision)
    return Draft(str(outcome.happened), fields)


def paused(agent: str | None, begins: bool, by: str = "") -> Draft:
    """A pause, or its end."""
    return Draft("paused" if begins else "resumed", {"agent": agent or "*", "by": by})


def policy_changed(before: str, after: str, by: str, difference: str) -> Draft:
    """Another policy is in force from here on."""
    said = cut(difference, MAX_TEXT)
    return Draft("policy_changed", {"before": before, "policy": after, "by": by, "difference": said})
