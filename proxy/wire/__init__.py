"""
What a reviewer sees and does, as values, and the lines in which they cross the control socket.
"""

from proxy.wire.calls import UNSIGNED, Answer, Call, Desk, Failure, Listing, Message, Verb, strange
from proxy.wire.lines import (
    CALL_LIMIT,
    LINE_LIMIT,
    decode,
    encode,
    grant_json,
    hold_json,
    rfc3339,
    snapshot_lines,
    whole_json,
)
from proxy.wire.views import (
    Change,
    Enrollee,
    GrantView,
    HoldView,
    Offer,
    ReviewView,
    RollView,
    Sheet,
    Snapshot,
    Standing,
    Status,
)

__all__ = [
    "CALL_LIMIT",
    "LINE_LIMIT",
    "UNSIGNED",
    "Answer",
    "Call",
    "Change",
    "Desk",
    "Enrollee",
    "Failure",
    "GrantView",
    "HoldView",
    "Listing",
    "Message",
    "Offer",
    "ReviewView",
    "RollView",
    "Sheet",
    "Snapshot",
    "Standing",
    "Status",
    "Verb",
    "decode",
    "encode",
    "grant_json",
    "hold_json",
    "rfc3339",
    "snapshot_lines",
    "strange",
    "whole_json",
]
