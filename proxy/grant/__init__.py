"""
Grants: what people have approved beforehand, the like of a request that they saw.

`scope` says what is like a request; `Grants` are those that stand, a fold over ledger entries.
"""

from proxy.grant.fold import DAY, Grant, Grants, Limits, contents, mark_of
from proxy.grant.scope import Scope, not_offered, refusal, scope

__all__ = [
    "DAY",
    "Grant",
    "Grants",
    "Limits",
    "Scope",
    "contents",
    "mark_of",
    "not_offered",
    "refusal",
    "scope",
]
