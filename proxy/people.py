"""
People: who may answer a hold, and whose answers count.

Reviews are counted by person, however many names one person has. Whoever runs the agent can be
excluded, and what is not known about an account counts as if it were theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proxy.policy.verdict import Demand
from proxy.signing.statement import Proof

AGENT_OWNER: Final = "agent-owner"
"""Under `not:`: whoever has the account that the agent runs as."""


@dataclass(frozen=True, slots=True)
class Reviewer:
    """
    A person, as the kernel and `reviewers.yaml` know them; `person` is what is counted.

    `account` is what the system calls the account that they came by, empty where nobody can say.
    """

    person: str
    name: str
    groups: tuple[str, ...] = ()
    account: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """
    One person's answer to one hold, for the digest that this person saw.

    `proof` is their signature, where reviewers are enrolled.
    """

    reviewer: Reviewer
    approves: bool
    reason: str
    digest: bytes
    time: float
    proof: Proof | None = None


def fits(demand: Demand, reviewer: Reviewer) -> bool:
    """Whether a demand is this person's to answer, by group."""
    return not demand.reviewers or not set(demand.reviewers).isdisjoint(reviewer.groups)


def counts(demand: Demand, reviewer: Reviewer, agent: str | None) -> bool:
    """Whether this person's approval is one that the demand asks for."""
    return fits(demand, reviewer) and not _barred(demand, reviewer, agent)


def stands(demands: tuple[Demand, ...], then: Reviewer, now: Reviewer | None, agent: str | None) -> bool:
    """
    Whether an approval counts as it did when `then` gave it, for every demand that it served.

    `now` is the same person as they are known today, None where they may not review any more.
    """
    return now is not None and all(
        counts(demand, now, agent) for demand in demands if counts(demand, then, agent)
    )


def _barred(demand: Demand, reviewer: Reviewer, agent: str | None) -> bool:
    if not demand.excluded:
        return False
    # An agent or an account that nobody can name may be this person's: unknown never helps.
    owner = agent is None or not reviewer.account or agent == f"uid:{reviewer.account}"
    return (AGENT_OWNER in demand.excluded and owner) or not set(demand.excluded).isdisjoint(reviewer.groups)


def excluded(demands: tuple[Demand, ...], reviewer: Reviewer, agent: str | None) -> str:
    """Why this person's approval does not count, in words."""
    for demand in demands:
        if not fits(demand, reviewer):
            continue
        for group in demand.excluded:
            if group in reviewer.groups:
                return f"rule '{demand.rule}' excludes {group}"
    return "its rule excludes whoever runs the agent, and that is your account as far as is known"


def present(demands: tuple[Demand, ...], people: tuple[Reviewer, ...], agent: str | None) -> bool:
    """Whether these people could meet every demand, each counted once for each."""
    different = {reviewer.person: reviewer for reviewer in people}.values()
    return bool(different) and all(
        sum(counts(demand, reviewer, agent) for reviewer in different) >= demand.approvals
        for demand in demands
    )


def unmet(
    demands: tuple[Demand, ...], reviews: tuple[Review, ...], agent: str | None = None
) -> list[tuple[Demand, int]]:
    """
    The demands that the approvals so far do not meet, each with the number still missing.

    One person may serve several rules, but counts once for each; without a demand one
    approval is enough.
    """
    people = {review.reviewer.person: review.reviewer for review in reviews if review.approves}
    missing = []
    for demand in demands or (Demand("default"),):
        have = sum(counts(demand, reviewer, agent) for reviewer in people.values())
        if have < demand.approvals:
            missing.append((demand, demand.approvals - have))
    return missing
